//! Queries: planned, started, and handed out as rows while they run.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::execution::{SessionState, SessionStateBuilder, TaskContext};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::sql::sqlparser::ast::Statement;

use super::bind::Binder;
use super::names::shown;
use super::outcome::{Outcome, Rows};
use super::run::{self, Batches};
use super::scope::Scope;
use super::token::Token;
use super::{apply, unsupported};
use crate::error::{Result, codes};

/// `SELECT`, `VALUES`, `WITH`.
pub(super) fn select(scope: &Arc<Scope>, statement: Statement) -> Result<Outcome> {
    let plan = Binder::new(scope).plan(statement)?;
    Ok(Outcome::rows("SELECT", rows(scope, &plan)?))
}

/// `EXPLAIN [ANALYZE]` of a query.
pub(super) fn explain(scope: &Arc<Scope>, statement: Statement) -> Result<Outcome> {
    if let Statement::Explain { options, estimate, query_plan, statement, .. } = &statement {
        if options.as_ref().is_some_and(|options| !options.is_empty()) || *estimate || *query_plan {
            return Err(unsupported("options of EXPLAIN").help("EXPLAIN [ANALYZE] [VERBOSE] [FORMAT f] query"));
        }
        if !matches!(statement.as_ref(), Statement::Query(_)) {
            return Err(unsupported("EXPLAIN of anything but a query"));
        }
    }
    let plan = Binder::new(scope).plan(statement)?;
    Ok(Outcome::rows("EXPLAIN", rows(scope, &plan)?))
}

/// The rows of a plan, under the names that users see.
pub(super) fn rows(scope: &Scope, plan: &LogicalPlan) -> Result<Rows> {
    let batches = start(scope, plan)?;
    Ok(Rows::running(visible(batches.schema()), batches))
}

/// Starts a plan whose rows are to be stored. What only passes rows on keeps their order: keys that ascend in a file then
/// ascend in the table, which need not look them up.
pub(super) fn start_to_store(scope: &Scope, plan: &LogicalPlan) -> Result<Batches> {
    let passes_on = |plan: &LogicalPlan| {
        use LogicalPlan as P;
        matches!(plan, P::Projection(_) | P::Filter(_) | P::SubqueryAlias(_) | P::TableScan(_))
    };
    let mut below = vec![plan];
    while let Some(next) = below.pop() {
        if !passes_on(next) {
            return start(scope, plan);
        }
        below.extend(next.inputs());
    }
    let state = scope.state()?;
    let config = state.config().clone().with_target_partitions(1);
    run_on(scope, &SessionStateBuilder::new_from_existing(state.clone()).with_config(config).build(), plan)
}

/// Starts a plan.
pub(super) fn start(scope: &Scope, plan: &LogicalPlan) -> Result<Batches> {
    run_on(scope, scope.state()?, plan)
}

fn run_on(scope: &Scope, state: &SessionState, plan: &LogicalPlan) -> Result<Batches> {
    let physical = physical(state, &scope.token, plan)?;
    let task = Arc::new(TaskContext::from(state));
    run::start(physical, task, &scope.token, scope.session.is_inside())
}

/// Makes the plan that runs. Subqueries become joins where the optimizer knows how, else they run row by row.
pub(super) fn physical(state: &SessionState, token: &Token, plan: &LogicalPlan) -> Result<Arc<dyn ExecutionPlan>> {
    let made = match apply::must_unfold(plan) {
        true => Err(unsupported("a window over rows that the outer query chooses")),
        false => run::wait(state.create_physical_plan(plan)),
    };
    made.or_else(|error| {
        if !apply::is_correlated(plan) || token.check().is_err() {
            return Err(error);
        }
        let unfolded = apply::unfold(state, token, plan.clone())?;
        run::wait(state.create_physical_plan(&unfolded)).map_err(|again| {
            // The query's own columns are resolved by now; one that is lost later was lost when it was unfolded.
            let lost = again.is(codes::NO_COLUMN) || again.is(codes::INTERNAL);
            if lost { unsupported("a subquery that refers to the outer query in this way") } else { again }
        })
    })
}

/// The schema under the names that users see.
pub(super) fn visible(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| Field::clone(field).with_name(shown(field.name())));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}
