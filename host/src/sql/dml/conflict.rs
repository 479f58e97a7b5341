//! `ON CONFLICT DO NOTHING | DO UPDATE`: rows whose key exists are found by the key's index before anything is stored.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::{filter_record_batch, take_record_batch};
use arrow::row::{OwnedRow, RowConverter, SortField};
use datafusion::common::DFSchema;
use datafusion::logical_expr::Expr;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::sql::sqlparser::ast::{ConflictTarget, DoUpdate, OnConflictAction, OnInsert};

use super::update::assignments;
use super::write::{Writer, assign};
use crate::catalog::{Event, Table};
use crate::error::{Error, Result, codes};
use crate::sql::bind::Binder;
use crate::sql::fault::{fold, fold_arrow};
use crate::sql::names::{fold_ident, split_name};
use crate::sql::routine::{Passed, Triggers};
use crate::sql::scope::Scope;
use crate::sql::unsupported;
use crate::storage::TableId;

/// What to do with rows whose key exists.
pub(super) struct Conflict<'a> {
    scope: &'a Scope,
    table: &'a Table,
    /// The keys that are looked up; others still refuse the row.
    keys: Vec<usize>,
    update: Option<Change>,
    /// Those that the update sets off.
    triggers: Option<Triggers>,
}

/// New values, as expressions over the old row and, behind it, the row that was to be inserted.
struct Change {
    values: Vec<Arc<dyn PhysicalExpr>>,
    condition: Option<Arc<dyn PhysicalExpr>>,
    schema: DFSchema,
    /// The columns that are set.
    columns: Vec<String>,
}

impl<'a> Conflict<'a> {
    pub(super) fn new(scope: &'a Arc<Scope>, table: &'a Table, alias: &str, on: OnInsert) -> Result<Self> {
        let OnInsert::OnConflict(on) = on else { return Err(unsupported("ON DUPLICATE KEY")) };
        let stored = table.stored_keys();
        let keys = match &on.conflict_target {
            None => (0..stored.len()).filter(|&key| stored[key].unique).collect(),
            Some(target) => vec![key(table, target)?],
        };
        let update = match on.action {
            OnConflictAction::DoNothing => None,
            OnConflictAction::DoUpdate(_) if on.conflict_target.is_none() => {
                return Err(Error::new(codes::SYNTAX, "ON CONFLICT DO UPDATE needs the columns of a key")
                    .help("ON CONFLICT (id) DO UPDATE SET ..."));
            }
            OnConflictAction::DoUpdate(update) => Some(Change::new(scope, table, alias, update)?),
        };
        let set = update.as_ref().map(|update| Event::Update(update.columns.clone()));
        let triggers = set.map(|event| Triggers::of(scope, table, event)).transpose()?.flatten();
        Ok(Self { scope, table, keys, update, triggers })
    }

    /// Shows what was changed to the triggers that come after.
    pub(super) fn finish(self) -> Result<()> {
        self.triggers.map_or(Ok(()), Triggers::finish)
    }

    /// Stores the rows of a batch, each in its way; gives those that were changed, and those that were inserted.
    pub(super) fn write(
        &mut self,
        writer: &mut Writer<'_>,
        batch: &RecordBatch,
    ) -> Result<(Option<RecordBatch>, RecordBatch)> {
        let batch = writer.accept(batch)?;
        let (mut insert, mut old) = (vec![true; batch.num_rows()], Vec::new());
        let view = self.scope.unit_of(self.table)?.snapshot()?.table(TableId(self.table.id))?;
        for &key in &self.keys {
            let stored = self.table.stored_keys()[key];
            let positions = self.table.positions_of(stored.columns);
            let values = batch.project(&positions).map_err(|error| fold_arrow(&error))?;
            for (row, found) in view.find(key, &values)?.into_iter().enumerate() {
                if let Some(id) = found
                    && insert[row]
                {
                    insert[row] = false;
                    old.push((row, id));
                }
            }
            for row in repeated(&values, &insert)? {
                if self.update.is_some() {
                    let message = format!("two of the rows have the same key `{}`", stored.name);
                    return Err(
                        Error::new(codes::UNIQUE, message).detail("ON CONFLICT DO UPDATE changes a row only once")
                    );
                }
                insert[row] = false;
            }
        }
        let mut written = None;
        let fresh = filter_record_batch(&batch, &BooleanArray::from(insert)).map_err(|error| fold_arrow(&error))?;
        if let Some(update) = &self.update
            && !old.is_empty()
        {
            let columns: Vec<usize> = (0..self.table.columns.len()).collect();
            let ids: Vec<u64> = old.iter().map(|(_, id)| *id).collect();
            let rows: UInt32Array = old.iter().map(|(row, _)| u32::try_from(*row).unwrap_or(u32::MAX)).collect();
            let proposed = take_record_batch(&batch, &rows).map_err(|error| fold_arrow(&error))?;
            let before = view.fetch(&ids, &columns)?;
            let (mut changed, keep) = update.apply(&before, &proposed)?;
            let mut ids: Vec<u64> =
                ids.into_iter().zip(keep.iter()).filter(|(_, keep)| *keep == Some(true)).map(|(id, _)| id).collect();
            let mut before = filter_record_batch(&before, &keep).map_err(|error| fold_arrow(&error))?;
            if let Some(triggers) = &self.triggers {
                let Passed { rows, old, new } = triggers.before(Some(before.clone()), Some(changed.clone()))?;
                (before, changed) = (old.unwrap_or(before), new.unwrap_or(changed));
                if let Some(rows) = rows {
                    ids = rows.into_iter().filter_map(|row| ids.get(row).copied()).collect();
                }
            }
            let changed = writer.generate(changed)?;
            writer.referential.changing(&ids, &changed)?;
            self.scope.unit_of(self.table)?.with(|transaction| transaction.delete(TableId(self.table.id), &ids))?;
            let changed = writer.write(&changed)?;
            if let Some(triggers) = &mut self.triggers {
                triggers.remember(Some(before), Some(changed.clone()));
            }
            written = Some(changed);
        }
        Ok((written, writer.write(&fresh)?))
    }
}

impl Change {
    fn new(scope: &Arc<Scope>, table: &Table, alias: &str, update: DoUpdate) -> Result<Self> {
        let columns = table.arrow_schema();
        let qualified = |name: &str| DFSchema::try_from_qualified_schema(name, &columns);
        let schema =
            qualified(alias).and_then(|old| old.join(&qualified("excluded")?)).map_err(|error| fold(&error))?;
        let binder = Binder::new(scope);
        let state = scope.state()?;
        let physical = |expr: Expr| state.create_physical_expr(expr, &schema).map_err(|error| fold(&error));
        let assigned = assignments(table, update.assignments)?;
        let mut values = Vec::with_capacity(table.columns.len());
        for (position, column) in table.columns.iter().enumerate() {
            let new = assigned.iter().find(|(known, _)| *known == position);
            let expr = match new {
                Some((_, expr)) => binder.expression(expr.clone(), &schema)?,
                None => Expr::Column(schema.columns()[position].clone()),
            };
            values.push(physical(assign(expr, column, &schema)?)?);
        }
        let columns = assigned.iter().map(|(position, _)| table.columns[*position].name.clone()).collect();
        let condition = update.selection.map(|expr| physical(binder.expression(expr, &schema)?)).transpose()?;
        Ok(Self { values, condition, schema, columns })
    }

    /// The new rows, and for each old row whether it is changed at all.
    fn apply(&self, old: &RecordBatch, proposed: &RecordBatch) -> Result<(RecordBatch, BooleanArray)> {
        let columns = old.columns().iter().chain(proposed.columns()).cloned().collect();
        let both =
            RecordBatch::try_new(Arc::clone(self.schema.inner()), columns).map_err(|error| fold_arrow(&error))?;
        let evaluate = |expr: &Arc<dyn PhysicalExpr>, rows: &RecordBatch| {
            expr.evaluate(rows).and_then(|value| value.into_array(rows.num_rows())).map_err(|error| fold(&error))
        };
        let keep = match &self.condition {
            None => BooleanArray::from(vec![true; both.num_rows()]),
            Some(condition) => {
                let mask = evaluate(condition, &both)?;
                let mask = mask.as_any().downcast_ref::<BooleanArray>().cloned();
                mask.ok_or_else(|| Error::new(codes::TYPE, "the condition of ON CONFLICT is not a boolean"))?
            }
        };
        let both = filter_record_batch(&both, &keep).map_err(|error| fold_arrow(&error))?;
        let values = self.values.iter().map(|expr| evaluate(expr, &both)).collect::<Result<Vec<_>>>()?;
        let fields = self.schema.inner().fields().iter().take(values.len()).cloned();
        let schema = arrow::datatypes::Schema::new(
            fields.map(|field| field.as_ref().clone().with_nullable(true)).collect::<Vec<_>>(),
        );
        let rows = RecordBatch::try_new(Arc::new(schema), values).map_err(|error| fold_arrow(&error))?;
        Ok((rows, keep))
    }
}

/// The key that the target names.
fn key(table: &Table, target: &ConflictTarget) -> Result<usize> {
    let stored = table.stored_keys();
    let found = match target {
        ConflictTarget::OnConstraint(name) => {
            let (_, name) = split_name(name)?;
            stored.iter().position(|key| key.unique && key.name == name)
        }
        ConflictTarget::Columns(columns) => {
            let mut wanted = columns.iter().map(fold_ident).map(|name| table.position(&name)).collect::<Vec<_>>();
            wanted.sort_unstable();
            stored.iter().position(|key| {
                let mut positions: Vec<_> = table.positions_of(key.columns).into_iter().map(Some).collect();
                positions.sort_unstable();
                key.unique && positions == wanted
            })
        }
    };
    found.ok_or_else(|| {
        Error::new(codes::NO_OBJECT, format!("table `{}` has no such key, which ON CONFLICT needs", table.label()))
    })
}

/// Rows to be inserted whose key an earlier one of them has already; a key with a NULL equals none.
fn repeated(values: &RecordBatch, insert: &[bool]) -> Result<Vec<usize>> {
    let fields = values.schema().fields().iter().map(|field| SortField::new(field.data_type().clone())).collect();
    let converter = RowConverter::new(fields).map_err(|error| fold_arrow(&error))?;
    let rows = converter.convert_columns(values.columns()).map_err(|error| fold_arrow(&error))?;
    let mut seen: HashMap<OwnedRow, usize> = HashMap::new();
    let mut again = Vec::new();
    for (row, _) in insert.iter().enumerate().filter(|(_, insert)| **insert) {
        if values.columns().iter().any(|column| column.is_null(row)) {
            continue;
        }
        if seen.insert(rows.row(row).owned(), row).is_some() {
            again.push(row);
        }
    }
    Ok(again)
}
