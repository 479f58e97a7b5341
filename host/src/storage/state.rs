//! The state of a database as an immutable value, and `apply`, the one function that makes the next one. It refuses to
//! judge: a record was validated before it was written, so one that does not fit means damage.

use std::sync::Arc;

use bytes::Bytes;
use rpds::RedBlackTreeMapSync;

use super::record::{Kind, Operation, Record};
use super::rows::RowIds;
use super::spec::TableId;
use super::table::Table;
use crate::error::{Error, Result, codes};

/// A version of the whole database. Cloning shares everything.
#[derive(Clone, Debug)]
pub(crate) struct State {
    /// Counts commits.
    pub(crate) version: u64,
    /// Counts records.
    pub(crate) lsn: u64,
    pub(crate) tables: RedBlackTreeMapSync<TableId, Arc<Table>>,
    pub(crate) entries: RedBlackTreeMapSync<Bytes, Entry>,
}

/// A value of the key-value space, and the version that wrote it, by which conflicts are seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) value: Bytes,
    pub(crate) version: u64,
}

impl State {
    pub(crate) fn empty() -> Self {
        Self { version: 0, lsn: 0, tables: RedBlackTreeMapSync::new_sync(), entries: RedBlackTreeMapSync::new_sync() }
    }

    /// The state after a record.
    ///
    /// # Errors
    /// `CORRUPT` when the record does not follow this state or names what is not there.
    pub(crate) fn apply(&self, record: &Record) -> Result<Self> {
        if record.lsn != self.lsn + 1 {
            return Err(misfit(&format!("record {} follows record {}", record.lsn, self.lsn)));
        }
        let mut next = self.clone();
        next.lsn = record.lsn;
        next.version += u64::from(record.kind == Kind::Commit);
        for operation in &record.operations {
            next.change(operation)?;
        }
        Ok(next)
    }

    fn change(&mut self, operation: &Operation) -> Result<()> {
        let version = self.version;
        match operation {
            Operation::CreateTable { table, spec } => {
                if self.tables.contains_key(table) {
                    return Err(misfit(&format!("table {} is created twice", table.0)));
                }
                spec.validate()?;
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
                let ids = RowIds::range(next.next_row, attached.group.rows as usize);
                let columns = attached.columns.as_ref().map_or(attached.group.columns.len(), Vec::len);
                if columns != next.spec.schema.fields().len() {
                    return Err(misfit("a segment has other columns than its table"));
                }
                next.push(attached.part(ids, &next.spec.schema))
            })?,
            Operation::Append { table, batch } => {
                self.with_table(*table, |next| {
                    let batch = batch.rows(&next.spec.schema).map_err(|flaw| misfit(&flaw))?;
                    let batch = next.conform(&batch)?;
                    let indexes = next.learn_keys(&batch)?;
                    next.append(&batch, indexes)
                })?;
            }
            Operation::Delete { table, rows } => self.with_table(*table, |next| {
                if next.delete(rows.iter()) == rows.len() {
                    return Ok(());
                }
                Err(misfit(&format!("a row of table {} is deleted that is not there", next.id.0)))
            })?,
            Operation::Rewrite { table, range, groups } => {
                let mut next = Table::clone(self.tables.get(table).ok_or_else(|| absent(*table))?);
                next.rewrite(*range, groups)?;
                self.tables.insert_mut(*table, Arc::new(next));
            }
            Operation::Put { key, value } => {
                self.entries.insert_mut(key.clone(), Entry { value: value.clone(), version });
            }
            Operation::Remove { key } => {
                self.entries.remove_mut(key);
            }
        }
        Ok(())
    }

    /// Changes one table, which gets this state's version.
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
