//! `UPDATE`: the rows that match go, and their new versions come, so that a key may move from one row to another within
//! the statement.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::UInt64Type;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::sqlparser::ast::{
    Assignment, AssignmentTarget, Expr as SqlExpr, SelectItem, Statement, Update, UpdateTableFromKind,
};

use super::insert::{default_expr, is_default, no_column};
use super::returning;
use super::target::{Target, computed};
use super::write::{Writer, assign};
use crate::catalog::Table;
use crate::error::{Error, Result, codes};
use crate::sql::bind::Binder;
use crate::sql::fault::{fold, fold_arrow};
use crate::sql::names::split_name;
use crate::sql::outcome::Outcome;
use crate::sql::scan::ROW_ID;
use crate::sql::scope::Scope;
use crate::sql::{query, unsupported};
use crate::storage::TableId;

/// `UPDATE t SET ... [FROM ...] [WHERE ...] [RETURNING ...]`.
pub(crate) fn update(scope: &Arc<Scope>, update: Update) -> Result<Outcome> {
    if update.or.is_some() || update.output.is_some() || !update.order_by.is_empty() || update.limit.is_some() {
        return Err(unsupported("OR, OUTPUT, ORDER BY and LIMIT in UPDATE"));
    }
    let target = Target::new(scope, &update.table)?;
    let others = match update.from {
        Some(UpdateTableFromKind::BeforeSet(from) | UpdateTableFromKind::AfterSet(from)) => from,
        None => Vec::new(),
    };
    let assigned = assignments(&target.table, update.assignments)?;
    let mut items = vec![target.row_id()];
    for (i, column) in target.table.columns.iter().enumerate() {
        let new = assigned.iter().find(|(position, _)| *position == i).map(|(_, expr)| expr.clone());
        let expr = new.unwrap_or_else(|| target.column(&column.name));
        items.push(SelectItem::ExprWithAlias { expr, alias: computed(i) });
    }
    let find = target.query(items, others, update.selection)?;
    let plan = Binder::new(scope).plan(Statement::Query(Box::new(find)))?;
    let plan = fit_behind_id(plan, &target.table)?;
    let rows = replace(scope, &target.table, &plan)?;
    let affected = rows.iter().map(|batch| batch.num_rows() as u64).sum();
    match update.returning {
        None => Ok(Outcome::changed("UPDATE", affected)),
        Some(items) => returning::outcome(scope, "UPDATE", &target.table, &target.alias, items, rows),
    }
}

/// For each assigned column its position and what it gets.
pub(super) fn assignments(table: &Table, assignments: Vec<Assignment>) -> Result<Vec<(usize, SqlExpr)>> {
    let mut assigned: Vec<(usize, SqlExpr)> = Vec::with_capacity(assignments.len());
    for Assignment { target, value } in assignments {
        let AssignmentTarget::ColumnName(name) = target else { return Err(unsupported("SET (a, b) = ...")) };
        let (_, name) = split_name(&name)?;
        let position = table.position(&name).ok_or_else(|| no_column(table, &name))?;
        if assigned.iter().any(|(known, _)| *known == position) {
            return Err(Error::new(codes::AMBIGUOUS, format!("the column `{name}` is set twice")));
        }
        let value = if is_default(&value) { default_expr(table, position)? } else { value };
        assigned.push((position, value));
    }
    Ok(assigned)
}

/// Casts the computed columns to the table's types and leaves the row id in front.
fn fit_behind_id(plan: LogicalPlan, table: &Table) -> Result<LogicalPlan> {
    let columns = plan.schema().columns();
    let schema = Arc::clone(plan.schema());
    let mut items = vec![Expr::Column(columns[0].clone()).alias(ROW_ID)];
    for (column, source) in table.columns.iter().zip(&columns[1..]) {
        let cast = assign(Expr::Column(source.clone()), column, &schema)?;
        items.push(cast.alias(&column.name));
    }
    LogicalPlanBuilder::from(plan).project(items).and_then(LogicalPlanBuilder::build).map_err(|error| fold(&error))
}

/// Takes the rows away first, all of them, and stores their new versions then.
fn replace(scope: &Arc<Scope>, table: &Table, plan: &LogicalPlan) -> Result<Vec<RecordBatch>> {
    let mut writer = Writer::new(scope, table)?;
    let pool = &scope.state()?.runtime_env().memory_pool;
    let reservation: MemoryReservation = MemoryConsumer::new("UPDATE").register(pool);
    let (mut seen, mut rows) = (HashSet::new(), Vec::new());
    for batch in query::start(scope, plan)? {
        let batch = batch?;
        scope.token.check()?;
        let ids = batch.column(0).as_primitive::<UInt64Type>();
        // A row that FROM matches more than once is changed once, by the first match.
        let first: BooleanArray = ids.values().iter().map(|id| Some(seen.insert(*id))).collect();
        let batch = filter_record_batch(&batch, &first).map_err(|error| fold_arrow(&error))?;
        reservation.try_grow(batch.get_array_memory_size()).map_err(|error| fold(&error))?;
        let ids = batch.column(0).as_primitive::<UInt64Type>().values();
        let columns: Vec<usize> = (1..batch.num_columns()).collect();
        let new = batch.project(&columns).map_err(|error| fold_arrow(&error))?;
        writer.referential.changing(ids, &new)?;
        scope.unit.with(|transaction| transaction.delete(TableId(table.id), ids))?;
        rows.push(new);
    }
    let written = rows.iter().map(|batch| writer.write(batch)).collect::<Result<Vec<_>>>()?;
    writer.finish()?;
    Ok(written)
}
