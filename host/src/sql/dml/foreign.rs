//! Foreign keys while rows change: rows that come must refer to rows that are there, and when rows go or change their
//! keys, what refers to them is refused, goes too, or changes. Checked when the statement is done, so that it may mend
//! itself what it broke, or at commit, where the constraint says so. What others commit meanwhile, storage compares.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array, new_null_array};
use arrow::compute::{cast, concat_batches, filter_record_batch, take};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::row::{RowConverter, SortField};
use arrow::util::display::array_value_to_string;
use datafusion::common::DFSchema;

use super::insert::default;
use super::write::{Writer, assign};
use crate::catalog::{Action, Reference, Relation, Table};
use crate::error::{Error, Result, codes};
use crate::sql::fault::{fold, fold_arrow};
use crate::sql::scope::Scope;
use crate::storage::{Link, TableId, TableView};

/// How deep rows may refer to rows that refer to rows before a cascade is refused.
const DEPTH_MAX: usize = 100;

/// A foreign key that was broken when its statement ended and must not be when the transaction commits.
#[derive(Clone, Debug)]
pub(crate) struct Deferred {
    child: u64,
    name: String,
    /// Values of the key, in the types of the table that refers.
    values: RecordBatch,
}

/// What a statement does to one table, as far as foreign keys go.
pub(crate) struct Referential {
    scope: Arc<Scope>,
    table: Table,
    /// Its own foreign keys, and what they refer to.
    parents: Vec<(Reference, Table)>,
    /// Foreign keys that refer to it.
    children: Vec<Child>,
    /// For each of its own: values that are judged when the statement is done.
    added: Vec<Vec<RecordBatch>>,
}

struct Child {
    table: Table,
    reference: Reference,
    /// Keys of rows that went.
    removed: Vec<RecordBatch>,
    /// Keys before and after.
    changed: Vec<(RecordBatch, RecordBatch)>,
}

impl Referential {
    pub(crate) fn new(scope: &Arc<Scope>, table: &Table) -> Result<Self> {
        let catalog = scope.catalog_of(table)?;
        let here = |other: &Table| Table { database: table.database.clone(), ..other.clone() };
        let mut parents = Vec::with_capacity(table.references.len());
        for reference in &table.references {
            let parent = match reference.table == table.id {
                true => table.clone(),
                false => match catalog.table_by_id(reference.table)?.as_deref() {
                    Some(Relation::Table(parent)) => here(parent),
                    _ => return Err(lost(reference)),
                },
            };
            parents.push((reference.clone(), parent));
        }
        let mut children = Vec::new();
        for child in catalog.referring(table.id)? {
            let Relation::Table(child) = child.as_ref() else { continue };
            for reference in child.references.iter().filter(|reference| reference.table == table.id) {
                let (table, reference) = (here(child), reference.clone());
                children.push(Child { table, reference, removed: Vec::new(), changed: Vec::new() });
            }
        }
        let added = parents.iter().map(|_| Vec::new()).collect();
        let this = Self { scope: Arc::clone(scope), table: table.clone(), parents, children, added };
        this.watch()?;
        Ok(this)
    }

    /// Asks storage to look at the links again when the transaction commits.
    fn watch(&self) -> Result<()> {
        let links = self.parents.iter().map(|(reference, parent)| link(&self.table, reference, parent));
        let others = self.children.iter().map(|child| link(&child.table, &child.reference, &self.table));
        for link in links.chain(others) {
            let link = link?;
            self.scope.unit_of(&self.table)?.with(|transaction| {
                transaction.watch(link);
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Rows came, with all columns of the table.
    pub(crate) fn added(&mut self, rows: &RecordBatch) -> Result<()> {
        for (at, (reference, parent)) in self.parents.iter().enumerate() {
            let values = project(rows, &self.table.positions_of(&reference.columns))?;
            let missing = missing(&self.scope, parent, reference, &values)?;
            if missing.num_rows() == 0 {
                continue;
            }
            // What the statement has not done yet may bring it, if it is the same table; what is deferred, later ones.
            if parent.id != self.table.id && !is_put_off(&self.scope, &self.table, reference) {
                return Err(absent(&self.table, reference, parent, &missing));
            }
            self.added[at].push(missing);
        }
        Ok(())
    }

    /// Rows are about to go. Ids that are gone already do not count.
    pub(crate) fn removing(&mut self, ids: &[u64]) -> Result<()> {
        if self.children.is_empty() {
            return Ok(());
        }
        let view = self.view()?;
        let ids = view.live(ids);
        for child in &mut self.children {
            child.removed.push(view.fetch(&ids, &self.table.positions_of(&child.reference.key))?);
        }
        Ok(())
    }

    /// Rows are about to be replaced by others, in the same order, with all columns of the table.
    pub(crate) fn changing(&mut self, ids: &[u64], rows: &RecordBatch) -> Result<()> {
        if self.children.is_empty() {
            return Ok(());
        }
        let view = self.view()?;
        for child in &mut self.children {
            let columns = self.table.positions_of(&child.reference.key);
            let (old, new) = (view.fetch(ids, &columns)?, project(rows, &columns)?);
            let differs = differing(&old, &new)?;
            if differs.true_count() > 0 {
                let filter = |batch| filter_record_batch(batch, &differs).map_err(|error| fold_arrow(&error));
                let plain = |batch: &RecordBatch| as_types_of(batch, &self.table, &child.reference.key);
                let pair = (plain(&filter(&old)?)?, plain(&filter(&new)?)?);
                child.changed.push(pair);
            }
        }
        Ok(())
    }

    /// The statement is done: whatever refers to what went is seen to, and what came is judged.
    pub(crate) fn finish(self) -> Result<()> {
        self.finish_at(0)
    }

    fn finish_at(mut self, depth: usize) -> Result<()> {
        if depth > DEPTH_MAX {
            let message = format!("foreign keys of table `{}` cascade too deep", self.table.label());
            return Err(Error::new(codes::FOREIGN_KEY, message));
        }
        for child in std::mem::take(&mut self.children) {
            for old in &child.removed {
                let gone = missing_keys(&self.scope, &self.table, &child.reference, old)?;
                let old = filter_record_batch(old, &gone).map_err(|error| fold_arrow(&error))?;
                self.follow(&child, child.reference.on_delete, &old, None, depth)?;
            }
            let Some((first, _)) = child.changed.first() else { continue };
            // All at once: a row that follows a key must not follow the next one that moves to where it went.
            let joined = |part: fn(&(RecordBatch, RecordBatch)) -> &RecordBatch| {
                concat_batches(&first.schema(), child.changed.iter().map(part)).map_err(|error| fold_arrow(&error))
            };
            let (mut old, mut new) = (joined(|changed| &changed.0)?, joined(|changed| &changed.1)?);
            if matches!(child.reference.on_update, Action::NoAction | Action::Restrict) {
                // Another row may have the key now.
                let gone = missing_keys(&self.scope, &self.table, &child.reference, &old)?;
                let filter = |batch| filter_record_batch(batch, &gone).map_err(|error| fold_arrow(&error));
                (old, new) = (filter(&old)?, filter(&new)?);
            }
            self.follow(&child, child.reference.on_update, &old, Some(&new), depth)?;
        }
        for (at, (reference, parent)) in self.parents.iter().enumerate() {
            for values in &self.added[at] {
                judge(&self.scope, &self.table, reference, parent, values)?;
            }
        }
        Ok(())
    }

    /// Sees to the rows of a table that refer to keys which are no more.
    fn follow(
        &self,
        child: &Child,
        action: Action,
        gone: &RecordBatch,
        new: Option<&RecordBatch>,
        depth: usize,
    ) -> Result<()> {
        if gone.num_rows() == 0 {
            return Ok(());
        }
        let (scope, Child { table, reference, .. }) = (&self.scope, child);
        let values = as_types_of(gone, table, &reference.columns)?;
        let found = referring(scope, table, reference, &values)?;
        let Some(&(first, _)) = found.first() else { return Ok(()) };
        let ids: Vec<u64> = found.iter().map(|(_, id)| *id).collect();
        let rows = || -> Result<UInt32Array> {
            Ok(found.iter().map(|(row, _)| u32::try_from(*row).unwrap_or(u32::MAX)).collect())
        };
        let positions = table.positions_of(&reference.columns);
        let fresh: Vec<ArrayRef> = match (action, new) {
            (Action::NoAction, _) if is_put_off(scope, table, reference) => {
                scope.session.defer(Deferred { child: table.id, name: reference.name.clone(), values });
                return Ok(());
            }
            (Action::NoAction | Action::Restrict, _) => {
                return Err(still_referred(&self.table, table, reference, gone, first));
            }
            (Action::Cascade, None) => {
                let mut further = Self::new(scope, table)?;
                further.removing(&ids)?;
                scope.unit_of(table)?.with(|transaction| transaction.delete(TableId(table.id), &ids))?;
                return further.finish_at(depth + 1);
            }
            (Action::Cascade, Some(new)) => {
                let new = as_types_of(new, table, &reference.columns)?;
                let (rows, mut fresh) = (rows()?, Vec::new());
                for column in new.columns() {
                    fresh.push(take(column, &rows, None).map_err(|error| fold_arrow(&error))?);
                }
                fresh
            }
            (Action::SetNull, _) => {
                positions.iter().map(|&at| new_null_array(&table.columns[at].kind.arrow(), ids.len())).collect()
            }
            (Action::SetDefault, _) => {
                positions.iter().map(|&at| default_values(scope, table, at, ids.len())).collect::<Result<_>>()?
            }
        };
        let all: Vec<usize> = (0..table.columns.len()).collect();
        let old = scope.unit_of(table)?.snapshot()?.table(TableId(table.id))?.fetch(&ids, &all)?;
        let mut columns = old.columns().to_vec();
        positions.into_iter().zip(fresh).for_each(|(at, values)| columns[at] = values);
        let rows = RecordBatch::try_new(nullable(&old.schema()), columns).map_err(|error| fold_arrow(&error))?;
        let mut writer = Writer::new(scope, table)?;
        let rows = writer.generate(rows)?;
        writer.referential.changing(&ids, &rows)?;
        scope.unit_of(table)?.with(|transaction| transaction.delete(TableId(table.id), &ids))?;
        writer.write(&rows)?;
        writer.into_referential().finish_at(depth + 1)
    }

    fn view(&self) -> Result<TableView> {
        self.scope.unit_of(&self.table)?.snapshot()?.table(TableId(self.table.id))
    }
}

/// Judges what was broken when its statement ended; the transaction is about to commit.
pub(crate) fn check_deferred(scope: &Arc<Scope>, deferred: &[Deferred]) -> Result<()> {
    for Deferred { child, name, values } in deferred {
        let Some(child) = scope.catalog.table_by_id(*child)? else { continue };
        let Relation::Table(child) = child.as_ref() else { continue };
        let Some(reference) = child.references.iter().find(|reference| reference.name == *name) else { continue };
        let Some(parent) = scope.catalog.table_by_id(reference.table)? else { return Err(lost(reference)) };
        let Relation::Table(parent) = parent.as_ref() else { return Err(lost(reference)) };
        let missing = missing(scope, parent, reference, values)?;
        if let Some((row, _)) = referring(scope, child, reference, &missing)?.first() {
            return Err(absent(child, reference, parent, &missing.slice(*row, 1)));
        }
    }
    Ok(())
}

/// Judges the rows that are there by constraints that were just added: checks and foreign keys from these numbers on.
pub(crate) fn check_all(scope: &Arc<Scope>, table: &Table, checks: usize, references: usize) -> Result<()> {
    let view = scope.unit_of(table)?.snapshot()?.table(TableId(table.id))?;
    let writer = Writer::new(scope, table)?;
    let all: Vec<usize> = (0..table.columns.len()).collect();
    for part in view.parts() {
        scope.token.check()?;
        let rows = part.read(&all)?;
        if checks < table.checks.len() {
            writer.accept(&rows)?;
        }
        for reference in table.references.iter().skip(references) {
            let Some(parent) = scope.catalog.table_by_id(reference.table)? else { return Err(lost(reference)) };
            let Relation::Table(parent) = parent.as_ref() else { return Err(lost(reference)) };
            let values = project(&rows, &table.positions_of(&reference.columns))?;
            let missing = missing(scope, parent, reference, &values)?;
            if missing.num_rows() > 0 {
                return Err(absent(table, reference, parent, &missing));
            }
        }
    }
    Ok(())
}

/// Values that were missing when their rows came: right if they are there now, or no row has them any more.
fn judge(scope: &Arc<Scope>, table: &Table, reference: &Reference, parent: &Table, values: &RecordBatch) -> Result<()> {
    let missing = missing(scope, parent, reference, values)?;
    let Some(&(row, _)) = referring(scope, table, reference, &missing)?.first() else { return Ok(()) };
    if is_put_off(scope, table, reference) {
        scope.session.defer(Deferred { child: table.id, name: reference.name.clone(), values: missing });
        return Ok(());
    }
    Err(absent(table, reference, parent, &missing.slice(row, 1)))
}

/// Those of the values, none of whose columns is null, that are not in the table that is referred to.
fn missing(scope: &Scope, parent: &Table, reference: &Reference, values: &RecordBatch) -> Result<RecordBatch> {
    let wanted = as_types_of(values, parent, &reference.key)?;
    let mask = missing_keys(scope, parent, reference, &wanted)?;
    let whole: Vec<bool> =
        (0..values.num_rows()).map(|row| values.columns().iter().all(|column| column.is_valid(row))).collect();
    let mask = arrow::compute::and(&mask, &whole.into()).map_err(|error| fold_arrow(&error))?;
    filter_record_batch(values, &mask).map_err(|error| fold_arrow(&error))
}

/// For each key whether no row has it.
fn missing_keys(scope: &Scope, parent: &Table, reference: &Reference, keys: &RecordBatch) -> Result<BooleanArray> {
    let view = scope.unit_of(parent)?.snapshot()?.table(TableId(parent.id))?;
    let key = parent.stored_key(&reference.key).ok_or_else(|| lost(reference))?;
    Ok(view.find(key, keys)?.iter().map(|found| Some(found.is_none())).collect())
}

/// Rows of the table that refer to one of the values: which one, and the row's id.
fn referring(scope: &Scope, table: &Table, reference: &Reference, values: &RecordBatch) -> Result<Vec<(usize, u64)>> {
    let view = scope.unit_of(table)?.snapshot()?.table(TableId(table.id))?;
    let key = table.stored_key(&reference.columns).ok_or_else(|| lost(reference))?;
    let mut found = view.find_all(key, values)?;
    found.sort_unstable_by_key(|(_, id)| *id);
    found.dedup_by_key(|(_, id)| *id);
    Ok(found)
}

/// Whether a constraint is judged at commit; in an attached database with the statement.
fn is_put_off(scope: &Scope, table: &Table, reference: &Reference) -> bool {
    reference.deferred && table.database.is_none() && scope.session.in_transaction()
}

fn link(child: &Table, reference: &Reference, parent: &Table) -> Result<Link> {
    let key = |table: &Table, columns: &[u32]| {
        let stored = table.stored_keys();
        let key = stored.iter().find(|key| key.columns == columns);
        key.map(|key| (TableId(table.id), key.name.to_owned())).ok_or_else(|| lost(reference))
    };
    Ok(Link { child: key(child, &reference.columns)?, parent: key(parent, &reference.key)? })
}

fn project(rows: &RecordBatch, columns: &[usize]) -> Result<RecordBatch> {
    rows.project(columns).map_err(|error| fold_arrow(&error))
}

/// The values in the types of other columns; a value that these cannot hold becomes null, and so is never found there.
fn as_types_of(values: &RecordBatch, table: &Table, ids: &[u32]) -> Result<RecordBatch> {
    let kinds = table.positions_of(ids).into_iter().map(|at| table.columns[at].kind.arrow());
    let columns = values.columns().iter().zip(kinds).map(|(column, kind)| match *column.data_type() == kind {
        true => Ok((String::new(), Arc::clone(column))),
        false => cast(column, &kind).map(|column| (String::new(), column)),
    });
    let columns = columns.collect::<Result<Vec<_>, _>>().map_err(|error| fold_arrow(&error))?;
    let fields = columns
        .iter()
        .map(|(name, column)| arrow::datatypes::Field::new(name.as_str(), column.data_type().clone(), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let options = RecordBatchOptions::new().with_row_count(Some(values.num_rows()));
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    RecordBatch::try_new_with_options(schema, columns, &options).map_err(|error| fold_arrow(&error))
}

fn nullable(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The rows in which two batches differ.
fn differing(old: &RecordBatch, new: &RecordBatch) -> Result<BooleanArray> {
    let fields = old.columns().iter().map(|column| SortField::new(column.data_type().clone())).collect();
    let converter = RowConverter::new(fields).map_err(|error| fold_arrow(&error))?;
    let rows = |batch: &RecordBatch| converter.convert_columns(batch.columns()).map_err(|error| fold_arrow(&error));
    let (old, new) = (rows(old)?, rows(new)?);
    Ok(old.iter().zip(new.iter()).map(|(old, new)| Some(old != new)).collect())
}

/// A column's default, so many times.
fn default_values(scope: &Arc<Scope>, table: &Table, at: usize, rows: usize) -> Result<ArrayRef> {
    let empty = DFSchema::empty();
    let expr = assign(default(scope, table, at)?, &table.columns[at], &empty)?;
    let physical = scope.state()?.create_physical_expr(expr, &empty).map_err(|error| fold(&error))?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let batch = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options);
    let value = physical.evaluate(&batch.map_err(|error| fold_arrow(&error))?).map_err(|error| fold(&error))?;
    value.into_array(rows).map_err(|error| fold(&error))
}

fn shown(values: &RecordBatch, row: usize) -> String {
    let values = values.columns().iter().map(|column| match column.is_null(row) {
        true => "NULL".to_owned(),
        false => array_value_to_string(column, row).unwrap_or_else(|_| "?".to_owned()),
    });
    values.collect::<Vec<_>>().join(", ")
}

fn absent(child: &Table, reference: &Reference, parent: &Table, values: &RecordBatch) -> Error {
    let names = child.names_of(&reference.columns);
    let message = format!("foreign key `{}`: ({names}) = ({}) is not there", reference.name, shown(values, 0));
    let detail = format!("in table `{}`, to which `{}` refers", parent.label(), child.label());
    Error::new(codes::FOREIGN_KEY, message).detail(detail)
}

fn still_referred(parent: &Table, child: &Table, reference: &Reference, keys: &RecordBatch, row: usize) -> Error {
    let names = parent.names_of(&reference.key);
    let message = format!("foreign key `{}`: ({names}) = ({}) is still needed", reference.name, shown(keys, row));
    let detail = format!("table `{}` refers to it in `{}`", child.label(), parent.label());
    Error::new(codes::FOREIGN_KEY, message).detail(detail)
}

fn lost(reference: &Reference) -> Error {
    Error::new(codes::CORRUPT, format!("what the foreign key `{}` refers to is not there", reference.name))
}
