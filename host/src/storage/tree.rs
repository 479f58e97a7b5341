//! A tree: all tables and entries at one version of one branch, as an immutable value. Branches, pins and versions
//! share trees, and trees share tables and rows. It refuses to judge: a record was validated before it was written, so
//! one that does not fit means damage.

use std::sync::Arc;

use bytes::Bytes;
use rpds::RedBlackTreeMapSync;

use super::record::Operation;
use super::rows::{RowIds, RowNumbers};
use super::spec::TableId;
use super::table::Table;
use crate::error::{Error, Result, codes};

/// What the database holds at a version. Cloning shares everything.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    /// The commit that made it, counted over all branches; 0 for the empty one. It names this content for ever.
    pub(crate) version: u64,
    /// When that was, in microseconds since 1970 (UTC).
    pub(crate) time: i64,
    pub(crate) tables: RedBlackTreeMapSync<TableId, Arc<Table>>,
    pub(crate) entries: RedBlackTreeMapSync<Bytes, Entry>,
}

/// A value of the key-value space, and the version that wrote it, by which conflicts are seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) value: Bytes,
    pub(crate) version: u64,
}

impl Tree {
    pub(crate) fn empty() -> Self {
        Self { version: 0, time: 0, tables: RedBlackTreeMapSync::new_sync(), entries: RedBlackTreeMapSync::new_sync() }
    }

    /// Makes one change of a commit.
    pub(crate) fn change(&mut self, operation: &Operation, numbers: &mut RowNumbers) -> Result<()> {
        let version = self.version;
        match operation {
            Operation::CreateTable { table, spec } => {
                if self.tables.contains_key(table) {
                    return Err(misfit(&format!("table {} is created twice", table.0)));
                }
                spec.validate()?;
                numbers.begin(*table);
                self.tables.insert_mut(*table, Arc::new(Table::new(*table, spec.clone(), version)?));
            }
            Operation::DropTable { table } => {
                if !self.tables.remove_mut(table) {
                    return Err(absent(*table));
                }
            }
            Operation::AlterTable { table, spec, columns } => {
                spec.validate()?;
                self.with_table(*table, |next| {
                    let known = next.spec.schema.fields().len();
                    if columns.len() != spec.schema.fields().len() || columns.iter().flatten().any(|&old| old >= known)
                    {
                        return Err(misfit("a table is altered that looks different"));
                    }
                    next.spec_version = version;
                    next.alter(spec.clone(), columns)
                })?;
            }
            Operation::Attach { table, attached } => self.with_table(*table, |next| {
                next.next_row = numbers.next(next);
                let ids = RowIds::range(next.next_row, attached.group.rows as usize);
                let columns = attached.columns.as_ref().map_or(attached.group.columns.len(), Vec::len);
                if columns != next.spec.schema.fields().len() {
                    return Err(misfit("a segment has other columns than its table"));
                }
                next.push(attached.part(ids, &next.spec.schema))?;
                numbers.used(next)
            })?,
            Operation::Append { table, batch } => {
                self.with_table(*table, |next| {
                    next.next_row = numbers.next(next);
                    let batch = batch.rows(&next.spec.schema).map_err(|flaw| misfit(&flaw))?;
                    let batch = next.conform(&batch)?;
                    let indexes = next.learn_keys(&batch)?;
                    next.append(&batch, indexes)?;
                    numbers.used(next)
                })?;
            }
            Operation::Delete { table, rows } => self.with_table(*table, |next| {
                if next.delete(rows.iter()) == rows.len() {
                    return Ok(());
                }
                Err(misfit(&format!("a row of table {} is deleted that is not there", next.id.0)))
            })?,
            Operation::Put { key, value } => {
                self.entries.insert_mut(key.clone(), Entry { value: value.clone(), version });
            }
            Operation::Remove { key } => {
                self.entries.remove_mut(key);
            }
            Operation::Rewrite(_) | Operation::Refer(_) => return Err(misfit("a change of no branch is made to one")),
        }
        Ok(())
    }

    /// Changes one table, which gets this tree's version.
    fn with_table(&mut self, table: TableId, change: impl FnOnce(&mut Table) -> Result<()>) -> Result<()> {
        let mut next = Table::clone(self.tables.get(&table).ok_or_else(|| absent(table))?);
        next.version = self.version;
        change(&mut next)?;
        self.tables.insert_mut(table, Arc::new(next));
        Ok(())
    }
}

fn absent(table: TableId) -> Error {
    misfit(&format!("there is no table {}", table.0))
}

/// A record that does not fit the state it meets.
pub(crate) fn misfit(what: &str) -> Error {
    Error::new(codes::CORRUPT, format!("the log does not fit the database: {what}"))
}
