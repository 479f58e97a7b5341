//! `UPDATE`: the rows that match go, and their new versions come, so that a key may move from one row to another within
//! the statement.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::filter_record_batch;
use arrow::datatypes::UInt64Type;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::sqlparser::ast::{
    Assignment, AssignmentTarget, Expr as SqlExpr, SelectItem, Statement, Update, UpdateTableFromKind,
};

use super::insert::{default_expr, is_default, makes_own, no_column, no_instead};
use super::returning;
use super::target::{Target, computed};
use super::write::{Writer, assign};
use crate::catalog::{Event, Table};
use crate::error::{Error, Result, codes};
use crate::sql::bind::Binder;
use crate::sql::fault::{fold, fold_arrow};
use crate::sql::names::split_name;
use crate::sql::outcome::Outcome;
use crate::sql::routine::{Triggers, keep};
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
    let set = assigned.iter().map(|(position, _)| target.table.columns[*position].name.clone()).collect();
    let event = Event::Update(set);
    let triggers = Triggers::of(scope, &target.table, event.clone())?;
    if target.is_view && triggers.is_none() {
        return Err(no_instead(&target.table, &event));
    }
    let mut items = vec![target.row_id()?];
    for (i, column) in target.table.columns.iter().enumerate() {
        let new = assigned.iter().find(|(position, _)| *position == i).map(|(_, expr)| expr.clone());
        let expr = new.unwrap_or_else(|| target.column(&column.name));
        items.push(SelectItem::ExprWithAlias { expr, alias: computed(i) });
    }
    if triggers.is_some() {
        items.extend(target.old_columns());
    }
    let find = target.query(items, others, update.selection)?;
    let plan = Binder::new(scope).plan(Statement::Query(Box::new(find)))?;
    let plan = fit_behind_id(plan, &target.table)?;
    let rows = replace(scope, &target, &plan, triggers)?;
    let affected = rows.iter().map(|batch| batch.num_rows() as u64).sum();
    match update.returning {
        None => Ok(Outcome::changed("UPDATE", affected)),
        Some(items) => returning::outcome(scope, "UPDATE", &target.table, &target.alias, items, rows),
    }
}

/// For each assigned column its position and what it gets.
pub(super) fn assignments(table: &Table, assignments: Vec<Assignment>) -> Result<Vec<(usize, SqlExpr)>> {
    let mut assigned: Vec<(usize, SqlExpr)> = Vec::with_capacity(assignments.len());
    let mut single = Vec::with_capacity(assignments.len());
    for Assignment { target, value } in assignments {
        match (target, value) {
            (AssignmentTarget::ColumnName(name), value) => single.push((name, value)),
            (AssignmentTarget::Tuple(names), SqlExpr::Tuple(values)) if names.len() == values.len() => {
                single.extend(names.into_iter().zip(values));
            }
            (AssignmentTarget::Tuple(names), SqlExpr::Tuple(values)) => {
                let text = format!("{} values for {} columns", values.len(), names.len());
                return Err(Error::new(codes::SYNTAX, text));
            }
            (AssignmentTarget::Tuple(names), SqlExpr::Nested(_)) => {
                return Err(Error::new(codes::SYNTAX, format!("1 values for {} columns", names.len())));
            }
            (AssignmentTarget::Tuple(_), _) => return Err(unsupported("SET (a, b) = (SELECT ...)")),
        }
    }
    for (name, value) in single {
        let (_, name) = split_name(&name)?;
        let position = table.position(&name).ok_or_else(|| no_column(table, &name))?;
        if assigned.iter().any(|(known, _)| *known == position) {
            return Err(Error::new(codes::AMBIGUOUS, format!("the column `{name}` is set twice")));
        }
        if table.columns[position].makes_itself() && !is_default(&value) {
            return Err(makes_own(&name));
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
    let behind = columns.into_iter().skip(1 + table.columns.len());
    items.extend(behind.map(Expr::Column));
    LogicalPlanBuilder::from(plan).project(items).and_then(LogicalPlanBuilder::build).map_err(|error| fold(&error))
}

/// Takes the rows away first, all of them, and stores their new versions then.
fn replace(
    scope: &Arc<Scope>,
    target: &Target,
    plan: &LogicalPlan,
    mut triggers: Option<Triggers>,
) -> Result<Vec<RecordBatch>> {
    let table = &target.table;
    let mut writer = Writer::new(scope, table)?;
    let pool = &scope.state()?.runtime_env().memory_pool;
    let reservation: MemoryReservation = MemoryConsumer::new("UPDATE").register(pool);
    let (mut seen, mut rows) = (HashSet::new(), Vec::new());
    let new_columns: Vec<usize> = (1..=table.columns.len()).collect();
    for batch in query::start(scope, plan)? {
        let mut batch = batch?;
        scope.token.check()?;
        if !target.is_view {
            let ids = batch.column(0).as_primitive::<UInt64Type>();
            // A row that FROM matches more than once is changed once, by the first match.
            let first: BooleanArray = ids.values().iter().map(|id| Some(seen.insert(*id))).collect();
            batch = filter_record_batch(&batch, &first).map_err(|error| fold_arrow(&error))?;
        }
        reservation.try_grow(batch.get_array_memory_size()).map_err(|error| fold(&error))?;
        let mut new = batch.project(&new_columns).map_err(|error| fold_arrow(&error))?;
        let mut old = None;
        if let Some(triggers) = &triggers {
            let old_columns: Vec<usize> = (1 + table.columns.len()..batch.num_columns()).collect();
            let before = batch.project(&old_columns).map_err(|error| fold_arrow(&error))?;
            if target.is_view {
                triggers.instead(Some(&named(&before, table)?), Some(&named(&new, table)?))?;
                rows.push((None, new));
                continue;
            }
            let passed = triggers.before(Some(before), Some(new.clone()))?;
            if let Some(kept) = &passed.rows {
                batch = keep(&batch, kept)?;
            }
            (old, new) = (passed.old, passed.new.unwrap_or(new));
        }
        let ids = batch.column(0).as_primitive::<UInt64Type>().values();
        let new = writer.generate(new)?;
        writer.referential.changing(ids, &new)?;
        scope.unit_of(table)?.with(|transaction| transaction.delete(TableId(table.id), ids))?;
        rows.push((old, new));
    }
    if target.is_view {
        return rows.iter().map(|(_, new)| named(new, table)).collect();
    }
    let mut written = Vec::with_capacity(rows.len());
    for (old, new) in rows {
        let new = writer.write(&new)?;
        if let Some(triggers) = &mut triggers {
            triggers.remember(old, Some(new.clone()));
        }
        written.push(new);
    }
    writer.finish()?;
    triggers.map_or(Ok(()), Triggers::finish)?;
    Ok(written)
}

/// Rows under the table's own names.
pub(super) fn named(rows: &RecordBatch, table: &Table) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(table.arrow_schema(), rows.columns().to_vec(), &options)
        .map_err(|error| fold_arrow(&error))
}
