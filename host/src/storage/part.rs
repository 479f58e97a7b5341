//! A part of a table: at most one row group of rows, whether in memory or in a mapped segment, with what was deleted
//! from it since. It hands out live rows and refuses to change: a change makes another part that shares the values.

use std::sync::{Arc, OnceLock};

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, UInt64Array, new_null_array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{filter, filter_record_batch};
use arrow::datatypes::SchemaRef;
use roaring::RoaringBitmap;

use super::encoding::expose;
use super::hot::Slot;
use super::keys::KeyIndex;
use super::keys::KeyIndexes;
use super::rows::RowIds;
use super::segment::{Group, SegmentFile};
use super::statistics::ColumnStatistics;
use crate::error::{Error, Result, codes};

/// Rows of a table that are read together. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Part(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    body: Arc<Body>,
    deleted: Option<Arc<RoaringBitmap>>,
    /// For each column of the table the body's column, or `None` where the column is younger than the rows.
    columns: Option<Arc<[Option<usize>]>>,
    schema: SchemaRef,
}

/// What never changes about a part: its values, ids and what was derived from them.
#[derive(Debug)]
pub(crate) struct Body {
    pub(crate) ids: RowIds,
    pub(crate) values: Values,
    pub(crate) keys: KeyIndexes,
}

/// Where the values are.
#[derive(Debug)]
pub(crate) enum Values {
    /// In memory; statistics are made when first asked for.
    Memory { batch: RecordBatch, statistics: Vec<OnceLock<ColumnStatistics>> },
    /// In a row group of a file; columns that were read are kept while there is room for them.
    Segment { file: Arc<SegmentFile>, group: Arc<Group>, columns: Vec<Arc<Slot>> },
}

impl Values {
    pub(crate) fn memory(batch: RecordBatch) -> Self {
        let statistics = (0..batch.num_columns()).map(|_| OnceLock::new()).collect();
        Self::Memory { batch, statistics }
    }

    pub(crate) fn segment(file: Arc<SegmentFile>, group: Arc<Group>) -> Self {
        let columns = group.columns.iter().map(|_| Arc::default()).collect();
        Self::Segment { file, group, columns }
    }

    fn lean(&self, column: usize) -> Result<ArrayRef> {
        match self {
            Self::Memory { batch, .. } => batch.columns().get(column).cloned().ok_or_else(missing),
            Self::Segment { file, group, columns } => {
                let slot = columns.get(column).ok_or_else(missing)?;
                file.hot().get(slot, || file.lean(group, column))
            }
        }
    }

    fn statistics(&self, column: usize) -> Option<&ColumnStatistics> {
        match self {
            Self::Memory { batch, statistics } => {
                Some(statistics.get(column)?.get_or_init(|| ColumnStatistics::of(batch.column(column))))
            }
            Self::Segment { group, .. } => group.statistics(column),
        }
    }
}

fn missing() -> Error {
    Error::new(codes::INTERNAL, "a part of a table has fewer columns than its table")
}

impl Part {
    pub(crate) fn new(body: Body, schema: SchemaRef) -> Self {
        Self(Arc::new(Inner { body: Arc::new(body), deleted: None, columns: None, schema }))
    }

    /// A part in memory.
    pub(crate) fn memory(ids: RowIds, batch: RecordBatch, keys: KeyIndexes, schema: SchemaRef) -> Self {
        Self::new(Body { ids, values: Values::memory(batch), keys }, schema)
    }

    /// A part in a file.
    pub(crate) fn segment(ids: RowIds, file: Arc<SegmentFile>, group: Arc<Group>, schema: SchemaRef) -> Self {
        let ranges = group.ranges.iter().cloned();
        let keys = KeyIndexes::new(ranges.map(|(of, range)| (of, Arc::new(KeyIndex::with_range(range)))).collect());
        Self::new(Body { ids, values: Values::segment(file, group), keys }, schema)
    }

    /// Live rows.
    pub fn rows(&self) -> usize {
        let count = usize::try_from(self.0.body.ids.count()).unwrap_or(usize::MAX);
        count - self.deleted_count()
    }

    /// The live rows of these columns of the table, in the order asked for. Without deletions nothing is copied.
    ///
    /// # Errors
    /// `CORRUPT`, naming the file, when a segment is damaged; `INTERNAL` for a column that the table does not have.
    pub fn read(&self, columns: &[usize]) -> Result<RecordBatch> {
        let schema = self.0.schema.project(columns).map_err(|_| missing())?;
        let arrays = columns.iter().map(|&column| self.column(column)).collect::<Result<Vec<_>>>()?;
        let count = usize::try_from(self.0.body.ids.count()).unwrap_or_default();
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        let batch = RecordBatch::try_new_with_options(Arc::new(schema), arrays, &options).map_err(from_arrow)?;
        match self.live() {
            Some(live) => filter_record_batch(&batch, &live).map_err(from_arrow),
            None => Ok(batch),
        }
    }

    /// The ids of the live rows, in the order of `read`.
    ///
    /// # Errors
    /// None today; it may have to read a file one day.
    pub fn row_ids(&self) -> Result<UInt64Array> {
        let ids = self.0.body.ids.to_array();
        match self.live() {
            Some(live) => {
                let ids = filter(&ids, &live).map_err(from_arrow)?;
                Ok(UInt64Array::from(ids.to_data()))
            }
            None => Ok(ids),
        }
    }

    /// Bounds and nulls of a column of the table, over the rows as written; `None` where nothing is known.
    pub fn statistics(&self, column: usize) -> Option<&ColumnStatistics> {
        self.0.body.values.statistics(self.body_column(column)?)
    }

    /// How many rows were deleted from this part: while it is 0, the statistics' bounds are attained.
    pub fn deleted_count(&self) -> usize {
        self.0.deleted.as_ref().map_or(0, |deleted| usize::try_from(deleted.len()).unwrap_or(usize::MAX))
    }

    pub(crate) fn body(&self) -> &Arc<Body> {
        &self.0.body
    }

    pub(crate) fn ids(&self) -> &RowIds {
        &self.0.body.ids
    }

    pub(crate) fn deleted(&self) -> Option<&RoaringBitmap> {
        self.0.deleted.as_deref()
    }

    pub(crate) fn columns(&self) -> Option<&[Option<usize>]> {
        self.0.columns.as_deref()
    }

    /// The live rows in memory whose ids pass, as a part of their own.
    pub(crate) fn split(&self, keep: impl Fn(u64) -> bool) -> Result<Self> {
        let all: Vec<usize> = (0..self.0.schema.fields().len()).collect();
        let rows = self.read(&all)?;
        let mask: BooleanArray = self.live_ids().map(|id| Some(keep(id))).collect();
        let rows = filter_record_batch(&rows, &mask).map_err(from_arrow)?;
        let ids = RowIds::collect(self.live_ids().filter(|&id| keep(id)));
        Ok(Self::memory(ids, rows, KeyIndexes::default(), self.0.schema.clone()))
    }

    /// Bytes of memory that the values take.
    pub(crate) fn memory_bytes(&self) -> usize {
        match &self.0.body.values {
            Values::Memory { batch, .. } => batch.get_array_memory_size(),
            Values::Segment { .. } => 0,
        }
    }

    /// The file and row group behind it; `None` in memory.
    pub(crate) fn stored(&self) -> Option<(&Arc<SegmentFile>, &Arc<Group>)> {
        match &self.0.body.values {
            Values::Memory { .. } => None,
            Values::Segment { file, group, .. } => Some((file, group)),
        }
    }

    /// File and offset of the row group; `None` in memory.
    pub(crate) fn place(&self) -> Option<(ulid::Ulid, u64)> {
        self.stored().map(|(file, group)| (file.id, group.metadata.offset))
    }

    /// Whether it is the same rows of the same row group, seen in the same way.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.place().is_some()
            && self.place() == other.place()
            && self.deleted() == other.deleted()
            && self.columns() == other.columns()
            && self.ids() == other.ids()
    }

    pub(crate) fn is_memory(&self) -> bool {
        matches!(self.0.body.values, Values::Memory { .. })
    }

    pub(crate) fn is_live(&self, position: u32) -> bool {
        self.deleted().is_none_or(|deleted| !deleted.contains(position))
    }

    pub(crate) fn live_ids(&self) -> impl Iterator<Item = u64> + '_ {
        let mut position = 0;
        self.ids().iter().filter(move |_| {
            position += 1;
            self.is_live(position - 1)
        })
    }

    /// The body's column behind a column of the table.
    pub(crate) fn body_column(&self, column: usize) -> Option<usize> {
        match &self.0.columns {
            Some(columns) => columns.get(column).copied().flatten(),
            None => Some(column),
        }
    }

    /// All rows of a column, dead ones too.
    pub(crate) fn column(&self, column: usize) -> Result<ArrayRef> {
        let field = self.0.schema.fields().get(column).ok_or_else(missing)?;
        expose(&self.lean(column)?, field.data_type())
    }

    /// All rows of a column as they lie in memory, dead ones too: in the column's type or a smaller one, from which
    /// [`expose`] makes it. Words that repeat come as a dictionary.
    ///
    /// # Errors
    /// `CORRUPT`, naming the file, when a segment is damaged; `INTERNAL` for a column that the table does not have.
    pub fn lean(&self, column: usize) -> Result<ArrayRef> {
        let field = self.0.schema.fields().get(column).ok_or_else(missing)?;
        match self.body_column(column) {
            Some(column) => self.0.body.values.lean(column),
            None => Ok(new_null_array(field.data_type(), self.written())),
        }
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.0.schema
    }

    /// Columns of the table.
    pub fn columns_count(&self) -> usize {
        self.0.schema.fields().len()
    }

    /// Rows as they were written, dead ones too.
    pub fn written(&self) -> usize {
        usize::try_from(self.ids().count()).unwrap_or_default()
    }

    /// The ids of all rows, dead ones too, in the order of `lean`.
    pub fn written_ids(&self) -> UInt64Array {
        self.ids().to_array()
    }

    /// This part with other rows deleted.
    pub(crate) fn with_deleted(&self, deleted: RoaringBitmap) -> Self {
        Self(Arc::new(Inner {
            body: self.0.body.clone(),
            deleted: (!deleted.is_empty()).then(|| Arc::new(deleted)),
            columns: self.0.columns.clone(),
            schema: self.0.schema.clone(),
        }))
    }

    /// This part seen through another schema: for each new column the old one.
    pub(crate) fn with_columns(&self, schema: SchemaRef, columns: &[Option<usize>]) -> Self {
        let columns = columns.iter().map(|old| old.and_then(|old| self.body_column(old))).collect();
        Self(Arc::new(Inner {
            body: self.0.body.clone(),
            deleted: self.0.deleted.clone(),
            columns: Some(columns),
            schema,
        }))
    }

    /// This part with another mapping of the table's columns to the body's.
    pub(crate) fn with_body_columns(&self, columns: Arc<[Option<usize>]>) -> Self {
        Self(Arc::new(Inner {
            body: self.0.body.clone(),
            deleted: self.0.deleted.clone(),
            columns: Some(columns),
            schema: self.0.schema.clone(),
        }))
    }

    /// Which of the written rows are live; `None` if all are.
    pub fn live(&self) -> Option<BooleanArray> {
        let deleted = self.deleted()?;
        let count = self.written();
        let mut live = arrow::array::BooleanBufferBuilder::new(count);
        live.append_n(count, true);
        for position in deleted {
            live.set_bit(position as usize, false);
        }
        let live: BooleanBuffer = live.finish();
        Some(BooleanArray::new(live, None))
    }
}

/// An error of Arrow's that is neither the user's nor the disk's fault.
pub(crate) fn from_arrow(source: arrow::error::ArrowError) -> Error {
    Error::new(codes::INTERNAL, format!("rows cannot be put together: {source}"))
}
