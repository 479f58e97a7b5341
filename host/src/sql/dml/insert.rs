//! `INSERT`: values or a query, columns in any order, defaults for the rest.

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::sqlparser::ast::{
    Expr as SqlExpr, Insert, ObjectName, Query, SetExpr, Statement, TableObject, Value as Literal,
};

use super::conflict::Conflict;
use super::returning;
use super::write::{Writer, fit};
use crate::catalog::{Event, Generated, Table};
use crate::error::{Error, Result, codes};
use crate::sql::bind::Binder;
use crate::sql::fault::fold;
use crate::sql::names::{fold_ident, split_name};
use crate::sql::nearest::nearest;
use crate::sql::outcome::Outcome;
use crate::sql::routine::Triggers;
use crate::sql::scope::Scope;
use crate::sql::{identity, parse, query, unsupported};

/// `INSERT INTO t [(columns)] VALUES ... | SELECT ... | DEFAULT VALUES`.
pub(crate) fn insert(scope: &Arc<Scope>, insert: Insert) -> Result<Outcome> {
    let TableObject::TableName(name) = &insert.table else {
        return Err(unsupported("INSERT into anything but a table"));
    };
    refuse_rest(&insert)?;
    let (schema, name) = split_name(name)?;
    let (table, is_view) = scope.target(&scope.schema_or_default(schema), &name)?;
    let alias = insert.table_alias.as_ref().map_or_else(|| table.name.clone(), |alias| fold_ident(&alias.alias));
    let positions = insert_positions(&table, &insert)?;
    let plan = match insert.source {
        Some(query) => given(scope, &table, positions, *query)?,
        None if insert.columns.is_empty() => {
            let row = LogicalPlanBuilder::empty(true).build().map_err(|error| fold(&error))?;
            fill(scope, &table, row, &[])?
        }
        None => return Err(Error::new(codes::SYNTAX, "expected VALUES, a query or DEFAULT VALUES")),
    };
    if is_view && insert.on.is_some() {
        return Err(unsupported("ON CONFLICT on a view"));
    }
    let mut triggers = Triggers::of(scope, &table, Event::Insert)?;
    let mut conflict = insert.on.map(|on| Conflict::new(scope, &table, &alias, on)).transpose()?;
    let mut writer = Writer::new(scope, &table)?;
    let (mut changed, mut kept) = (0, Vec::new());
    for batch in query::start_to_store(scope, &plan)? {
        let batch = before_insert(triggers.as_ref(), batch?)?;
        let (updated, inserted) = match &mut conflict {
            None if is_view => (None, instead_of_insert(triggers.as_ref(), &table, batch)?),
            None => (None, writer.write(&batch)?),
            Some(conflict) => conflict.write(&mut writer, &batch)?,
        };
        if let Some(triggers) = &mut triggers {
            triggers.remember(None, Some(inserted.clone()));
        }
        kept.extend(updated);
        kept.push(inserted);
        if insert.returning.is_none() {
            changed += kept.drain(..).map(|batch| batch.num_rows() as u64).sum::<u64>();
        }
    }
    conflict.map_or(Ok(()), Conflict::finish)?;
    writer.finish()?;
    triggers.map_or(Ok(()), Triggers::finish)?;
    match insert.returning {
        None => Ok(Outcome::changed("INSERT", changed)),
        Some(items) => returning::outcome(scope, "INSERT", &table, &alias, items, kept),
    }
}

/// Inserts the rows of a plan whose columns stand in the order of the table's `positions`.
pub(crate) fn insert_plan(scope: &Arc<Scope>, table: &Table, plan: LogicalPlan, positions: &[usize]) -> Result<u64> {
    let plan = fill(scope, table, plan, positions)?;
    let mut triggers = Triggers::of(scope, table, Event::Insert)?;
    let mut writer = Writer::new(scope, table)?;
    for batch in query::start_to_store(scope, &plan)? {
        let written = writer.write(&before_insert(triggers.as_ref(), batch?)?)?;
        if let Some(triggers) = &mut triggers {
            triggers.remember(None, Some(written));
        }
    }
    let rows = writer.finish()?;
    triggers.map_or(Ok(()), Triggers::finish)?;
    Ok(rows)
}

/// The rows as triggers that come before leave them.
fn before_insert(triggers: Option<&Triggers>, batch: RecordBatch) -> Result<RecordBatch> {
    let Some(triggers) = triggers else { return Ok(batch) };
    let passed = triggers.before(None, Some(batch))?;
    passed.new.ok_or_else(|| Error::new(codes::INTERNAL, "rows were lost between triggers"))
}

fn instead_of_insert(triggers: Option<&Triggers>, table: &Table, batch: RecordBatch) -> Result<RecordBatch> {
    let Some(triggers) = triggers else { return Err(no_instead(table, &Event::Insert)) };
    triggers.instead(None, Some(&batch))?;
    Ok(batch)
}

/// The error for a view whose triggers do something else.
pub(super) fn no_instead(view: &Table, event: &Event) -> Error {
    let text = format!("`{}` is a view and has no trigger INSTEAD OF {}", view.name, event.name());
    Error::new(codes::UNSUPPORTED, text)
}

/// The parser knows forms of other systems; none may pass unheard.
fn refuse_rest(insert: &Insert) -> Result<()> {
    let others = [
        (insert.or.is_some() || insert.ignore || insert.replace_into, "INSERT OR ... and REPLACE"),
        (insert.overwrite, "INSERT OVERWRITE"),
        (insert.partitioned.is_some() || !insert.after_columns.is_empty(), "INSERT with PARTITION"),
        (!insert.assignments.is_empty(), "INSERT ... SET"),
        (insert.output.is_some(), "OUTPUT"),
        (insert.insert_alias.is_some() || insert.priority.is_some(), "this form of INSERT"),
        (insert.settings.is_some() || insert.format_clause.is_some(), "SETTINGS and FORMAT"),
        (insert.multi_table_insert_type.is_some(), "INSERT into several tables"),
    ];
    others.iter().find(|(there, _)| *there).map_or(Ok(()), |(_, what)| Err(unsupported(what)))
}

/// Where the named columns stand in the table; without names all, in order.
pub(super) fn positions(table: &Table, names: &[ObjectName]) -> Result<Vec<usize>> {
    if names.is_empty() {
        return Ok((0..table.columns.len()).collect());
    }
    let mut positions = Vec::with_capacity(names.len());
    for name in names {
        let (_, name) = split_name(name)?;
        let position = table.position(&name).ok_or_else(|| no_column(table, &name))?;
        if positions.contains(&position) {
            return Err(Error::new(codes::AMBIGUOUS, format!("the column `{name}` is named twice")));
        }
        positions.push(position);
    }
    Ok(positions)
}

/// As [`positions`], but nobody says what a column that makes its own values shall hold.
fn insert_positions(table: &Table, insert: &Insert) -> Result<Vec<usize>> {
    let makes_itself = |at: &usize| table.columns[*at].makes_itself();
    let mut positions = positions(table, &insert.columns)?;
    if !positions.iter().any(makes_itself) {
        return Ok(positions);
    }
    let values = insert.source.as_ref().and_then(|query| match query.body.as_ref() {
        SetExpr::Values(values) => Some(&values.rows),
        _ => None,
    });
    let wide = values.and_then(|rows| rows.first()).is_some_and(|row| row.content.len() == positions.len());
    if insert.columns.is_empty() && !wide {
        // Expressions are left out, as DuckDB does; an identity keeps its place.
        positions.retain(|at| !matches!(table.columns[*at].generated, Some(Generated::Stored(_))));
    }
    for (place, at) in positions.iter().enumerate().filter(|(_, at)| makes_itself(at)) {
        let defaults = values.is_some_and(|rows| rows.iter().all(|row| row.content.get(place).is_some_and(is_default)));
        if !defaults {
            return Err(makes_own(&table.columns[*at].name));
        }
    }
    Ok(positions)
}

/// The error for a value that nobody but the column itself may give.
pub(super) fn makes_own(column: &str) -> Error {
    let text = format!("the column `{column}` makes its own values");
    Error::new(codes::PLAN, text).with_sqlstate("428C9").help("leave it out, or say DEFAULT")
}

/// The error for a column that the table does not have.
pub(crate) fn no_column(table: &Table, name: &str) -> Error {
    let error = Error::new(codes::NO_COLUMN, format!("no column `{name}` in table `{}`", table.label()));
    match nearest(name, table.columns.iter().map(|column| &column.name)) {
        Some(near) => error.help(format!("did you mean `{near}`?")),
        None => error,
    }
}

/// The plan of what is given, with the table's columns.
fn given(scope: &Arc<Scope>, table: &Table, mut positions: Vec<usize>, mut query: Query) -> Result<LogicalPlan> {
    if let SetExpr::Values(values) = query.body.as_mut() {
        for row in &mut values.rows {
            for (value, position) in row.content.iter_mut().zip(&positions) {
                if is_default(value) {
                    *value = default_expr(table, *position)?;
                }
            }
        }
    }
    let plan = Binder::new(scope).plan(Statement::Query(Box::new(query)))?;
    let columns = plan.schema().fields().len();
    if columns > positions.len() {
        let message = format!("{columns} values for {} columns of table `{}`", positions.len(), table.label());
        return Err(Error::new(codes::PLAN, message));
    }
    if columns < positions.len() {
        let message = format!("{columns} values for {} columns of table `{}`", positions.len(), table.label());
        return Err(Error::new(codes::PLAN, message).help("name the columns: INSERT INTO t (a, b) ..."));
    }
    positions.truncate(columns);
    fill(scope, table, plan, &positions)
}

/// Puts the plan's columns at their positions and defaults everywhere else.
fn fill(scope: &Arc<Scope>, table: &Table, plan: LogicalPlan, positions: &[usize]) -> Result<LogicalPlan> {
    let given = plan.schema().columns();
    let sources =
        (0..table.columns.len()).map(|position| match positions.iter().position(|known| *known == position) {
            Some(at) => Ok(Expr::Column(given[at].clone())),
            None => default(scope, table, position),
        });
    let sources = sources.collect::<Result<Vec<_>>>()?;
    fit(plan, table, sources)
}

/// A column's default as an expression of the planner.
pub(super) fn default(scope: &Arc<Scope>, table: &Table, position: usize) -> Result<Expr> {
    refuse_far_identity(table, position)?;
    match &table.columns[position].default {
        None => Ok(Expr::Literal(ScalarValue::Null, None)),
        Some(text) => Binder::new(scope).expression(parse::expression(text)?, &DFSchema::empty()),
    }
}

/// A column's default as it was written.
pub(super) fn default_expr(table: &Table, position: usize) -> Result<SqlExpr> {
    refuse_far_identity(table, position)?;
    match &table.columns[position].default {
        None => Ok(SqlExpr::Value(Literal::Null.into())),
        Some(text) => parse::expression(text),
    }
}

/// The numbers of an identity come from the session's own database; in another they would be others' rows'.
fn refuse_far_identity(table: &Table, position: usize) -> Result<()> {
    let counts = |text: &String| text.starts_with(identity::FUNCTION);
    if table.database.is_some() && table.columns[position].default.as_ref().is_some_and(counts) {
        return Err(unsupported("new numbers of an identity column in an attached database"));
    }
    Ok(())
}

/// Whether the expression is the word DEFAULT.
pub(super) fn is_default(expr: &SqlExpr) -> bool {
    matches!(expr, SqlExpr::Identifier(ident) if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("default"))
}
