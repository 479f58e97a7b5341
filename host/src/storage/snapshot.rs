//! What readers see: one version of everything, for as long as they hold it. It refuses to change.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use bytes::Bytes;

use super::ROWS_PER_GROUP;
use super::finder::{KeySpan, RowPlace};
use super::keys::KeyEncoder;
use super::part::Part;
use super::readers::Hold;
use super::spec::{TableId, TableSpec};
use super::table::Table;
use super::tree::Tree;
use crate::error::{Error, Result, codes};

/// One immutable version of a database. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Snapshot {
    tree: Arc<Tree>,
    /// Keeps its files; within a transaction, that does.
    _hold: Option<Arc<Hold>>,
}

impl Snapshot {
    pub(crate) fn new(tree: Arc<Tree>) -> Self {
        Self { tree, _hold: None }
    }

    /// A snapshot on its own.
    pub(crate) fn held(tree: Arc<Tree>, hold: Hold) -> Self {
        Self { tree, _hold: Some(Arc::new(hold)) }
    }

    pub(crate) fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The version that this is, or upon which the transaction stands that this belongs to.
    pub fn version(&self) -> u64 {
        self.tree.version
    }

    pub(crate) fn find_table(&self, table: TableId) -> Option<&Arc<Table>> {
        self.tree.tables.get(&table)
    }

    /// The value of a key.
    pub fn get(&self, key: &[u8]) -> Option<Bytes> {
        self.tree.entries.get(key).map(|entry| entry.value.clone())
    }

    /// All keys that begin with `prefix`, in ascending order, with their values.
    pub fn scan(&self, prefix: &[u8]) -> Vec<(Bytes, Bytes)> {
        let from = (std::ops::Bound::Included(prefix), std::ops::Bound::Unbounded);
        self.tree
            .entries
            .range::<[u8], _>(from)
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, entry)| (key.clone(), entry.value.clone()))
            .collect()
    }

    /// A table as it is in this version.
    ///
    /// # Errors
    /// `NO_TABLE` if it is not there.
    pub fn table(&self, table: TableId) -> Result<TableView> {
        let table = self.tree.tables.get(&table).cloned();
        let table = table.ok_or_else(|| Error::new(codes::NO_TABLE, "the table is not there any more"))?;
        Ok(TableView { table })
    }
}

/// One version of a table: what a scan reads. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct TableView {
    table: Arc<Table>,
}

impl TableView {
    /// Its columns and keys.
    pub fn spec(&self) -> &TableSpec {
        &self.table.spec
    }

    /// Live rows.
    pub fn rows(&self) -> u64 {
        self.table.rows
    }

    /// A number that changes if and only if the table's rows or columns changed.
    pub fn version(&self) -> u64 {
        self.table.version
    }

    /// Row groups of segments, logged runs and a transaction's own rows, in the order of their row ids.
    pub fn parts(&self) -> &[Part] {
        &self.table.parts
    }

    /// The ids of the rows that have these values in the columns of a key: one answer for each row of `values`, whose
    /// columns come in the order of the key. A null is never found.
    ///
    /// # Errors
    /// `NO_OBJECT` for a key that the table does not have, `TYPE` for values of other types, `CORRUPT` on damage.
    pub fn find(&self, key: usize, values: &RecordBatch) -> Result<Vec<Option<u64>>> {
        let encoder = self.encoder(key)?;
        let mut found = Vec::with_capacity(values.num_rows());
        for start in (0..values.num_rows()).step_by(ROWS_PER_GROUP) {
            let slice = values.slice(start, ROWS_PER_GROUP.min(values.num_rows() - start));
            let keys = encoder.encode(slice.columns().to_vec())?;
            found.extend(self.table.find(key, &keys, 0)?);
        }
        Ok(found)
    }

    /// Those of the ids whose rows are there, ascending, each once.
    pub fn live(&self, ids: &[u64]) -> Vec<u64> {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        ids.dedup();
        ids.retain(|&id| self.table.is_live(id));
        ids
    }

    /// As `find`, for a key that need not be unique: for each row that has one of the values, which one, and its id.
    ///
    /// # Errors
    /// As [`TableView::find`].
    pub fn find_all(&self, key: usize, values: &RecordBatch) -> Result<Vec<(usize, u64)>> {
        let encoder = self.encoder(key)?;
        let keys = encoder.encode(values.columns().to_vec())?;
        let mut found = Vec::new();
        self.table.finder(key).visit(encoder, &keys, 0, |position, _, id| found.push((position, id)))?;
        Ok(found)
    }

    /// The place of a row that has these values, arrays of one row each, in the columns of a key. A null is never found.
    ///
    /// # Errors
    /// As [`TableView::find`].
    pub fn locate(&self, key: usize, values: &[ArrayRef]) -> Result<Option<RowPlace>> {
        self.encoder(key)?;
        self.table.locate(key, values)
    }

    /// A column of the row at a place, as an array of one row that shares the table's memory.
    ///
    /// # Errors
    /// `INTERNAL` for a place of another version of the table, `CORRUPT` on damage.
    pub fn value(&self, place: RowPlace, column: usize) -> Result<ArrayRef> {
        let part = self.table.parts.get(place.part);
        let values = part.ok_or_else(|| Error::new(codes::INTERNAL, "a row of another version of the table"))?;
        Ok(values.column(column)?.slice(place.row as usize, 1))
    }

    /// The ids of the rows in a span of a key, ascending; `None` if more than `rows_max` come into question, so that a
    /// scan is better.
    ///
    /// # Errors
    /// As [`TableView::find`].
    pub fn select(&self, key: usize, span: &KeySpan, rows_max: usize) -> Result<Option<Vec<u64>>> {
        let encoder = self.encoder(key)?;
        let given = span.equal.len() + usize::from(span.lower.is_some() || span.upper.is_some());
        if given > encoder.key.columns.len() {
            return Err(Error::new(codes::TYPE, format!("key `{}` has fewer columns", encoder.key.name)));
        }
        self.table.finder(key).select(encoder, span, rows_max)
    }

    fn encoder(&self, key: usize) -> Result<&KeyEncoder> {
        self.table.keys.get(key).ok_or_else(|| Error::new(codes::NO_OBJECT, format!("the table has no key {key}")))
    }

    /// The rows with these ids, in this order, in the given columns: for what `find` found.
    ///
    /// # Errors
    /// `NO_OBJECT` if a row is not there, `CORRUPT` on damage.
    pub fn fetch(&self, rows: &[u64], columns: &[usize]) -> Result<RecordBatch> {
        self.table.fetch(rows, columns)
    }
}
