//! Fires triggers. A statement that changes rows asks once which triggers its table has; without any nothing else
//! happens. With some, the rows pass through `before` on their way to storage, are remembered, and are shown to the
//! triggers that come after when the statement is done. They fire in the order of their names, rows in batches.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array, new_null_array};
use arrow::compute::{cast, concat_batches, filter_record_batch, take_record_batch};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::{DFSchema, TableReference};
use datafusion::logical_expr::planner::ContextProvider;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::sql::sqlparser::ast::Expr as SqlExpr;

use super::function::holds;
use super::language_of;
use crate::catalog::{Column, Event, Level, Relation, Returns, Routine, SqlType, Table, Timing, Trigger};
use crate::error::{Error, Result, codes};
use crate::sql::bind::Binder;
use crate::sql::claim::{Fired, Firing, Language};
use crate::sql::fault::{fold, fold_arrow};
use crate::sql::names::shown;
use crate::sql::parse;
use crate::sql::scope::Scope;

/// Triggers that set each other off.
const FIRING_MAX: usize = 16;
/// What transition tables are called when the trigger does not say.
const OLD_ROWS: &str = "old_rows";
const NEW_ROWS: &str = "new_rows";

/// The triggers of one table for what one statement does.
pub(crate) struct Triggers {
    scope: Arc<Scope>,
    schema: SchemaRef,
    event: Event,
    armed: Vec<Armed>,
    /// What was done, for the triggers that come after; both sides of a change stand at the same place.
    done: Vec<Change>,
}

/// Rows before and after.
type Change = (Option<RecordBatch>, Option<RecordBatch>);

struct Armed {
    trigger: Trigger,
    routine: Routine,
    language: Arc<dyn Language>,
    when: Option<Arc<dyn PhysicalExpr>>,
}

/// What is left of a batch after the triggers that come before.
pub(crate) struct Passed {
    /// The numbers of the rows that go on; none when all do.
    pub(crate) rows: Option<Vec<usize>>,
    pub(crate) old: Option<RecordBatch>,
    pub(crate) new: Option<RecordBatch>,
}

/// The columns of a table or view.
pub(super) fn columns(scope: &Arc<Scope>, relation: &Relation) -> Result<SchemaRef> {
    match relation {
        Relation::Table(table) => Ok(table.arrow_schema()),
        Relation::View(view) => {
            let name = TableReference::partial(view.schema.as_str(), view.name.as_str());
            let source = Binder::new(scope).get_table_source(name).map_err(|error| fold(&error))?;
            let found = source.schema();
            let fields = found.fields().iter().map(|field| {
                let kind =
                    SqlType::of(field.data_type()).map_or_else(|| field.data_type().clone(), |kind| kind.arrow());
                arrow::datatypes::Field::new(shown(field.name()), kind, true)
            });
            Ok(Arc::new(Schema::new(fields.collect::<Vec<_>>())))
        }
    }
}

/// A view in the shape of a table, for statements on a view whose triggers do the work; storage does not know it.
pub(crate) fn view_as_table(scope: &Arc<Scope>, schema: &str, name: &str) -> Result<Option<Table>> {
    let relation = scope.relation(schema, name)?;
    let Relation::View(_) = relation.as_ref() else { return Ok(None) };
    let triggers = scope.catalog.triggers(schema, name)?;
    if !triggers.iter().any(|trigger| trigger.timing == Timing::Instead) {
        return Ok(None);
    }
    let fields = columns(scope, &relation)?;
    let mut table = Table {
        id: u64::MAX,
        schema: schema.to_owned(),
        name: name.to_owned(),
        columns: Vec::new(),
        keys: Vec::new(),
        checks: Vec::new(),
        indexes: Vec::new(),
        references: Vec::new(),
        next_column: 0,
        owner: None,
        database: None,
    };
    for field in fields.fields() {
        let kind = SqlType::of(field.data_type());
        let kind =
            kind.ok_or_else(|| Error::new(codes::TYPE, format!("the column `{}` has no SQL type", field.name())))?;
        let id = table.next_column;
        table.next_column += 1;
        table.columns.push(Column {
            id,
            name: field.name().clone(),
            kind,
            not_null: false,
            default: None,
            generated: None,
        });
    }
    Ok(Some(table))
}

impl Triggers {
    /// Those that the statement sets off; none is the common case.
    pub(crate) fn of(scope: &Arc<Scope>, table: &Table, event: Event) -> Result<Option<Self>> {
        let mut triggers = scope.catalog_of(table)?.triggers(&table.schema, &table.name)?;
        if table.database.is_some() && !triggers.is_empty() {
            return Err(crate::sql::unsupported("changing a table with triggers in an attached database"));
        }
        if triggers.is_empty() {
            return Ok(None);
        }
        let firing = scope.session.frame().map(|frame| frame.firing.clone()).unwrap_or_default();
        // A trigger does not set itself off; that is what recursion would be.
        triggers.retain(|one| {
            !one.disabled && one.events.iter().any(|own| own.covers(&event)) && !firing.contains(&label(one))
        });
        if triggers.is_empty() {
            return Ok(None);
        }
        if firing.len() >= FIRING_MAX {
            let text = format!("triggers set each other off more than {FIRING_MAX} deep");
            return Err(Error::new(codes::TOO_DEEP, text).detail(format!("at last on `{}`", table.label())));
        }
        let schema = table.arrow_schema();
        let armed = triggers.into_iter().map(|trigger| arm(scope, trigger, &schema, table));
        let armed = armed.collect::<Result<Vec<_>>>()?;
        let triggers = Self { scope: Arc::clone(scope), schema, event, armed, done: Vec::new() };
        triggers.statement(Timing::Before)?;
        Ok(Some(triggers))
    }

    /// Shows a batch to the row triggers that come before: they may change rows, or skip them.
    pub(crate) fn before(&self, old: Option<RecordBatch>, new: Option<RecordBatch>) -> Result<Passed> {
        let relabelled = |rows: Option<RecordBatch>| rows.map(|rows| relabel(&rows, &self.schema)).transpose();
        let mut passed = Passed { rows: None, old: relabelled(old)?, new: relabelled(new)? };
        for armed in self.of_kind(Timing::Before, Level::Row) {
            let rows = passed.old.as_ref().or(passed.new.as_ref()).map_or(0, RecordBatch::num_rows);
            let asked = armed.asked(&self.schema, passed.old.as_ref(), passed.new.as_ref(), rows)?;
            if asked.is_empty() {
                continue;
            }
            let (old, new) = (pick(passed.old.as_ref(), &asked)?, pick(passed.new.as_ref(), &asked)?);
            if let Some(fired) = self.fire(armed, old, new)? {
                passed = self.apply(armed, passed, &asked, &fired, rows)?;
            }
        }
        Ok(passed)
    }

    /// Puts what a trigger made of the rows that it was asked about in their places.
    fn apply(&self, armed: &Armed, passed: Passed, asked: &[u32], fired: &Fired, rows: usize) -> Result<Passed> {
        let bad = || {
            let text = format!("the trigger `{}` gave rows that it was not asked about", armed.trigger.name);
            Error::new(codes::BAD_DATA, text)
        };
        let ascending = fired.rows.windows(2).all(|pair| pair[0] < pair[1]);
        if !ascending || fired.rows.last().is_some_and(|last| *last >= asked.len()) {
            return Err(bad());
        }
        // For each row its place in the batch, or behind it in what the trigger made; skipped rows have none.
        let mut places: Vec<Option<u32>> = (0..rows).map(|row| u32::try_from(row).ok()).collect();
        for row in asked {
            places[*row as usize] = None;
        }
        for (made, row) in fired.rows.iter().enumerate() {
            let row = asked[*row] as usize;
            let place = if fired.new.is_some() { rows + made } else { row };
            places[row] = u32::try_from(place).ok();
        }
        let kept: Vec<u32> = (0..).zip(&places).filter(|(_, place)| place.is_some()).map(|(row, _)| row).collect();
        let new = match (passed.new, &fired.new) {
            (Some(new), Some(made)) => {
                if made.num_rows() != fired.rows.len() {
                    return Err(bad());
                }
                let made = self.shaped(armed, made)?;
                let all = concat_batches(&nullable(&self.schema), [&relabel(&new, &self.schema)?, &made]);
                let at: UInt32Array = places.iter().flatten().copied().collect();
                Some(take_record_batch(&all.map_err(|e| fold_arrow(&e))?, &at).map_err(|error| fold_arrow(&error))?)
            }
            (new, _) => pick(new.as_ref(), &kept)?,
        };
        let before = passed.rows.unwrap_or_else(|| (0..rows).collect());
        let rows = kept.iter().map(|row| before[*row as usize]).collect();
        Ok(Passed { rows: Some(rows), old: pick(passed.old.as_ref(), &kept)?, new })
    }

    /// What a trigger made, in the table's types.
    fn shaped(&self, armed: &Armed, made: &RecordBatch) -> Result<RecordBatch> {
        if made.num_columns() != self.schema.fields().len() {
            let text = format!("the trigger `{}` gave rows of {} columns", armed.trigger.name, made.num_columns());
            return Err(
                Error::new(codes::BAD_DATA, text).detail(format!("the table has {}", self.schema.fields().len()))
            );
        }
        let columns = made.columns().iter().zip(self.schema.fields());
        let columns =
            columns.map(|(column, field)| cast(column, field.data_type()).map_err(|error| fold_arrow(&error)));
        batch(&nullable(&self.schema), columns.collect::<Result<_>>()?, made.num_rows())
    }

    /// Remembers what was done, if anybody wants to see it.
    pub(crate) fn remember(&mut self, old: Option<RecordBatch>, new: Option<RecordBatch>) {
        if self.armed.iter().any(|armed| armed.trigger.timing == Timing::After) {
            self.done.push((old, new));
        }
    }

    /// Lets the triggers of a view do what was asked of it.
    pub(crate) fn instead(&self, old: Option<&RecordBatch>, new: Option<&RecordBatch>) -> Result<()> {
        for armed in self.of_kind(Timing::Instead, Level::Row) {
            self.fire(armed, old.cloned(), new.cloned())?;
        }
        Ok(())
    }

    /// Shows everything that was done to the triggers that come after.
    pub(crate) fn finish(self) -> Result<()> {
        for armed in self.of_kind(Timing::After, Level::Row) {
            for (old, new) in &self.done {
                let rows = old.as_ref().or(new.as_ref()).map_or(0, RecordBatch::num_rows);
                let asked = armed.asked(&self.schema, old.as_ref(), new.as_ref(), rows)?;
                if !asked.is_empty() {
                    self.fire(armed, pick(old.as_ref(), &asked)?, pick(new.as_ref(), &asked)?)?;
                }
            }
        }
        self.statement(Timing::After)
    }

    fn statement(&self, timing: Timing) -> Result<()> {
        for armed in self.of_kind(timing, Level::Statement) {
            if let Some(when) = &armed.when {
                let holds_for = armed.evaluate(when, &self.schema, None, None, 1)?;
                if !holds_for.value(0) {
                    continue;
                }
            }
            let (mut old, mut new) = (None, None);
            if timing == Timing::After {
                let nullable = nullable(&self.schema);
                let side = |side: fn(&Change) -> Option<&RecordBatch>| {
                    let all = self.done.iter().filter_map(side).map(|one| relabel(one, &nullable));
                    concat_batches(&nullable, &all.collect::<Result<Vec<_>>>()?).map_err(|error| fold_arrow(&error))
                };
                old = Some(side(|(old, _)| old.as_ref())?);
                new = Some(side(|(_, new)| new.as_ref())?);
            }
            self.fire(armed, old, new)?;
        }
        Ok(())
    }

    fn of_kind(&self, timing: Timing, level: Level) -> impl Iterator<Item = &Armed> {
        self.armed.iter().filter(move |one| one.trigger.timing == timing && one.trigger.level == level)
    }

    fn fire(&self, armed: &Armed, old: Option<RecordBatch>, new: Option<RecordBatch>) -> Result<Option<Fired>> {
        let trigger = &armed.trigger;
        let names = (
            trigger.old_name.clone().unwrap_or_else(|| OLD_ROWS.to_owned()),
            trigger.new_name.clone().unwrap_or_else(|| NEW_ROWS.to_owned()),
        );
        let firing = Firing {
            trigger: trigger.name.clone(),
            schema: trigger.schema.clone(),
            table: trigger.table.clone(),
            timing: trigger.timing,
            level: trigger.level,
            event: self.event.clone(),
            arguments: trigger.arguments.clone(),
            names,
            old,
            new,
        };
        let caller = self.scope.caller().deeper()?.firing(label(trigger));
        let fired = armed.language.fire(&caller, &armed.routine, &firing);
        fired.map_err(|error| {
            let place = format!("in the trigger `{}` of `{}`", trigger.name, trigger.table);
            error.replace_place(None).detail(place)
        })
    }
}

impl Armed {
    /// The numbers of the rows for which the condition holds.
    fn asked(
        &self,
        schema: &SchemaRef,
        old: Option<&RecordBatch>,
        new: Option<&RecordBatch>,
        rows: usize,
    ) -> Result<Vec<u32>> {
        let all = 0..u32::try_from(rows).unwrap_or(u32::MAX);
        match &self.when {
            None => Ok(all.collect()),
            Some(when) => {
                let mask = self.evaluate(when, schema, old, new, rows)?;
                Ok(all.filter(|row| mask.value(*row as usize)).collect())
            }
        }
    }

    fn evaluate(
        &self,
        when: &Arc<dyn PhysicalExpr>,
        schema: &SchemaRef,
        old: Option<&RecordBatch>,
        new: Option<&RecordBatch>,
        rows: usize,
    ) -> Result<BooleanArray> {
        let both = both(schema)?;
        let side = |side: Option<&RecordBatch>| match side {
            Some(batch) => batch.columns().to_vec(),
            None => schema.fields().iter().map(|field| new_null_array(field.data_type(), rows)).collect(),
        };
        let columns = side(old).into_iter().chain(side(new)).collect();
        let rows_of = batch(both.inner(), columns, rows)?;
        let value = when.evaluate(&rows_of).and_then(|value| value.into_array(rows)).map_err(|error| fold(&error))?;
        holds(&value)
    }
}

fn label(trigger: &Trigger) -> String {
    format!("{}.{}.{}", trigger.schema, trigger.table, trigger.name)
}

fn arm(scope: &Arc<Scope>, trigger: Trigger, schema: &SchemaRef, table: &Table) -> Result<Armed> {
    let in_trigger = |error: Error| {
        let text = format!("the table `{}` has the trigger `{}`; it can be read", table.label(), trigger.name);
        error.detail(text).replace_place(None)
    };
    let found = scope.catalog.routines(&trigger.function.0, &trigger.function.1)?;
    let routine = found
        .into_iter()
        .find(|routine| routine.returns == Returns::Trigger)
        .ok_or_else(|| in_trigger(Error::new(codes::NO_FUNCTION, format!("no function `{}`", trigger.function.1))))?;
    let language = language_of(scope, &routine).map_err(in_trigger)?;
    let when = match &trigger.when {
        None => None,
        Some(text) => Some(condition(scope, schema, parse::expression(text)?).map_err(in_trigger)?),
    };
    Ok(Armed { trigger, routine, language, when })
}

/// `old` and `new` side by side.
fn both(schema: &SchemaRef) -> Result<DFSchema> {
    let nullable = nullable(schema);
    let qualified = |name: &str| DFSchema::try_from_qualified_schema(name, &nullable);
    qualified("old").and_then(|old| old.join(&qualified("new")?)).map_err(|error| fold(&error))
}

fn condition(scope: &Arc<Scope>, schema: &SchemaRef, expr: SqlExpr) -> Result<Arc<dyn PhysicalExpr>> {
    let both = both(schema)?;
    let expr = Binder::new(scope).expression(expr, &both)?;
    scope.state()?.create_physical_expr(expr, &both).map_err(|error| fold(&error))
}

/// A condition must be one, over rows that the trigger's events have.
pub(super) fn check_condition(scope: &Arc<Scope>, trigger: &Trigger, schema: &SchemaRef, expr: SqlExpr) -> Result<()> {
    use datafusion::logical_expr::ExprSchemable;
    let both = both(schema)?;
    let planned = Binder::new(scope).expression(expr, &both)?;
    let kind = planned.get_type(&both).map_err(|error| fold(&error))?;
    if !matches!(kind, arrow::datatypes::DataType::Boolean | arrow::datatypes::DataType::Null) {
        return Err(Error::new(
            codes::TYPE,
            format!("the condition of the trigger `{}` is not a boolean", trigger.name),
        ));
    }
    for column in planned.column_refs() {
        let side = column.relation.as_ref().map(|relation| relation.table().to_owned()).unwrap_or_default();
        let (wrong, event) = match side.as_str() {
            _ if trigger.level == Level::Statement => (true, "a statement"),
            "old" => (trigger.events.contains(&Event::Insert), "INSERT"),
            _ => (trigger.events.contains(&Event::Delete), "DELETE"),
        };
        if wrong {
            let text = format!("the condition of the trigger `{}` uses {}", trigger.name, side.to_uppercase());
            return Err(Error::new(codes::PLAN, text).detail(format!("{event} has no such row")));
        }
    }
    Ok(())
}

fn nullable(schema: &SchemaRef) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn batch(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options).map_err(|error| fold_arrow(&error))
}

fn relabel(rows: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    batch(&nullable(schema), rows.columns().to_vec(), rows.num_rows())
}

fn pick(rows: Option<&RecordBatch>, at: &[u32]) -> Result<Option<RecordBatch>> {
    let Some(rows) = rows else { return Ok(None) };
    if at.len() == rows.num_rows() {
        return Ok(Some(rows.clone()));
    }
    let at = UInt32Array::from(at.to_vec());
    take_record_batch(rows, &at).map(Some).map_err(|error| fold_arrow(&error))
}

/// The rows of a batch that go on.
pub(crate) fn keep(rows: &RecordBatch, kept: &[usize]) -> Result<RecordBatch> {
    let mut mask = vec![false; rows.num_rows()];
    kept.iter().for_each(|row| mask[*row] = true);
    filter_record_batch(rows, &BooleanArray::from(mask)).map_err(|error| fold_arrow(&error))
}
