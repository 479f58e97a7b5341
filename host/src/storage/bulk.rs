//! Rows on their way into segment files: a transaction's when they are many, and a checkpoint's. Memory holds at most
//! about one row group. It refuses to decide when rows are committed.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;

use super::PROVISIONAL;
use super::index;
use super::keys::{KeyEncoder, KeyIndexes};
use super::lock::WriterLock;
use super::part::{Part, from_arrow};
use super::record::Attached;
use super::rows::RowIds;
use super::segment::{Group, SegmentFile, SegmentWriter, Segments, facts, shapes};
use super::spec::{Options, TableId};
use super::table::{Table, compact};
use crate::error::{Error, Result, codes};

/// A row group ends here even if it has few rows.
const GROUP_BYTES_MAX: usize = 64 << 20;

/// Files being written, at most one a table.
#[derive(Debug, Default)]
pub(crate) struct Writers(HashMap<TableId, Open>);

/// A file being written, and what was written to it.
#[derive(Debug)]
struct Open {
    writer: SegmentWriter,
    file: Option<Arc<SegmentFile>>,
    groups: Vec<Arc<Group>>,
    keys: Arc<[KeyEncoder]>,
}

impl Open {
    fn finish(self) -> Result<()> {
        self.writer.finish()?;
        if let Some(file) = &self.file {
            index::write(file.directory(), file, &self.groups, &self.keys);
        }
        Ok(())
    }
}

/// Where files are written to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'a> {
    pub(crate) segments: &'a Segments,
    pub(crate) lock: &'a WriterLock,
    pub(crate) options: &'a Options,
}

/// How much of a transaction's own rows goes to files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spill {
    /// Full row groups: more are coming.
    Full,
    /// Everything, if it is much; little travels in the log.
    AllOfMuch,
}

impl Writers {
    /// Moves a transaction's own rows from memory to a file.
    pub(crate) fn spill(&mut self, target: Target<'_>, table: &mut Table, spill: Spill) -> Result<()> {
        let own = |part: &&Part| part.ids().first() >= Some(PROVISIONAL);
        let start = table.parts.iter().rposition(|part| !part.is_memory() || !own(&part)).map_or(0, |last| last + 1);
        let rows: usize = table.parts[start..].iter().map(Part::rows).sum();
        let bytes: usize = table.parts[start..].iter().map(Part::memory_bytes).sum();
        let has_files = start > 0 && own(&&table.parts[start - 1]);
        let options = target.options;
        let is_due = match spill {
            Spill::Full => rows >= options.group_rows || bytes >= GROUP_BYTES_MAX,
            Spill::AllOfMuch => {
                rows > 0 && (has_files || rows > options.spill_rows_max || bytes > options.spill_bytes_max)
            }
        };
        if !is_due {
            return Ok(());
        }
        let whole = spill == Spill::AllOfMuch || bytes >= GROUP_BYTES_MAX;
        let tail = table.parts[start..].to_vec();
        let mut new = Vec::new();
        let mut cutter = Cutter::new(options.group_rows);
        let all: Vec<usize> = (0..table.spec.schema.fields().len()).collect();
        for part in &tail {
            cutter.add(part.read(&all)?, part.live_ids());
        }
        while let Some((batch, ids)) = cutter.cut(&table.spec.schema, whole)? {
            new.push(self.write(target, table, &batch, ids)?);
        }
        if let Some((batch, ids)) = cutter.cut(&table.spec.schema, true)? {
            let indexes = table.learn_keys(&batch)?;
            new.push(Part::memory(ids, batch, KeyIndexes::new(indexes), table.spec.schema.clone()));
        }
        table.replace_tail(start, new);
        Ok(())
    }

    /// Writes one row group.
    pub(crate) fn write(
        &mut self,
        target: Target<'_>,
        table: &Table,
        batch: &RecordBatch,
        ids: RowIds,
    ) -> Result<Part> {
        let schema = &table.spec.schema;
        let mut facts = facts(batch);
        let mut encoded = None;
        let mut current = self.0.remove(&table.id);
        if let Some(open) = current.as_ref().filter(|open| !open.writer.is_full() && open.writer.schema() == schema) {
            match open.writer.encode(batch, facts)? {
                Ok(fitting) => (encoded, facts) = (Some(fitting), Vec::new()),
                Err(back) => facts = back,
            }
        }
        let (mut open, encoded) = match (current.take(), encoded) {
            (Some(open), Some(encoded)) => (open, encoded),
            (full, _) => {
                full.map_or(Ok(()), Open::finish)?;
                let shapes = shapes(batch, &facts);
                // Nobody may take the file for a leftover before it is locked.
                let held = target.lock.hold()?;
                let writer = SegmentWriter::create(target.segments, schema, shapes)?;
                drop(held);
                let encoded = writer.encode(batch, facts)?;
                let encoded =
                    encoded.map_err(|_| Error::new(codes::INTERNAL, "rows do not fit the shape made for them"))?;
                (Open { writer, file: None, groups: Vec::new(), keys: Arc::clone(&table.keys) }, encoded)
            }
        };
        let (file, group) = open.writer.write(batch, encoded, &table.keys)?;
        open.file = Some(file.clone());
        open.groups.push(group.clone());
        open.keys = Arc::clone(&table.keys);
        self.0.insert(table.id, open);
        Ok(Part::segment(ids, file, group, schema.clone()))
    }

    /// Completes every file and makes it durable.
    pub(crate) fn finish(&mut self) -> Result<()> {
        self.0.drain().try_for_each(|(_, open)| open.finish())
    }
}

/// Writes the live rows of parts into new row groups, under the ids that they have.
pub(crate) fn rewrite(target: Target<'_>, table: &Table, parts: &[Part]) -> Result<Vec<(Attached, RowIds)>> {
    let all: Vec<usize> = (0..table.spec.schema.fields().len()).collect();
    let mut writers = Writers::default();
    let mut new = Vec::new();
    let mut cutter = Cutter::new(target.options.group_rows);
    for (index, part) in parts.iter().enumerate() {
        cutter.add(part.read(&all)?, part.live_ids());
        let is_last = index + 1 == parts.len();
        while let Some((batch, ids)) = cutter.cut(&table.spec.schema, is_last || cutter.bytes >= GROUP_BYTES_MAX)? {
            new.push((writers.write(target, table, &batch, ids.clone())?, ids));
        }
    }
    writers.finish()?;
    Ok(new.into_iter().filter_map(|(part, ids)| Some((Attached::of(&part)?, ids))).collect())
}

/// Collects rows and cuts row groups off.
struct Cutter {
    group_rows: usize,
    batches: VecDeque<RecordBatch>,
    ids: VecDeque<u64>,
    rows: usize,
    bytes: usize,
}

impl Cutter {
    fn new(group_rows: usize) -> Self {
        Self { group_rows, batches: Default::default(), ids: Default::default(), rows: 0, bytes: 0 }
    }

    fn add(&mut self, batch: RecordBatch, ids: impl Iterator<Item = u64>) {
        self.rows += batch.num_rows();
        self.bytes += batch.get_array_memory_size();
        self.batches.push_back(batch);
        self.ids.extend(ids);
    }

    /// The next full row group, or whatever is left if `whole`.
    fn cut(&mut self, schema: &SchemaRef, whole: bool) -> Result<Option<(RecordBatch, RowIds)>> {
        if self.rows == 0 || (self.rows < self.group_rows && !whole) {
            return Ok(None);
        }
        let mut taken = Vec::new();
        let mut missing = self.rows.min(self.group_rows);
        while missing > 0 {
            let Some(batch) = self.batches.pop_front() else { break };
            let size = batch.num_rows().min(missing);
            if size < batch.num_rows() {
                self.batches.push_front(batch.slice(size, batch.num_rows() - size));
            }
            taken.push(batch.slice(0, size));
            missing -= size;
        }
        let batch = compact(&concat_batches(schema, &taken).map_err(from_arrow)?)?;
        self.rows -= batch.num_rows();
        self.bytes = self.batches.iter().map(RecordBatch::get_array_memory_size).sum();
        let ids = RowIds::collect(self.ids.drain(..batch.num_rows()));
        Ok(Some((batch, ids)))
    }
}
