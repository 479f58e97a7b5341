//! A table as an immutable value with structural sharing: its specification and its parts in the order of row ids.
//! It finds rows by id and by key and makes the next value; it refuses to know who asks, transaction or recovery.

use std::sync::{Arc, OnceLock};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, UInt32Array, new_empty_array};
use arrow::compute::{concat_batches, interleave, take};
use arrow::datatypes::{DataType, SchemaRef};
use roaring::{RoaringBitmap, RoaringTreemap};

use super::ROWS_PER_GROUP;
use super::encoding::expose;
use super::finder::{Finder, RowPlace};
use super::keys::{EncodedKeys, IndexList, KeyEncoder, KeyIndex, KeyIndexes, KeyRange};
use super::part::{Part, from_arrow};
use super::rows::RowIds;
use super::spec::{TableId, TableSpec};
use crate::error::{Error, Result, codes};

/// So many small runs of like size are merged into one: each row is copied once per level, and a table has a
/// logarithmic number of runs.
const RUNS_PER_LEVEL: usize = 8;

/// Runs with as many rows are large enough to scan, and are not copied again before a checkpoint.
const MERGED_ROWS_MAX: usize = 4096;

/// One version of a table.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) id: TableId,
    pub(crate) spec: Arc<TableSpec>,
    pub(crate) keys: Arc<[KeyEncoder]>,
    /// Changes with the specification.
    pub(crate) spec_version: u64,
    /// Changes with the rows or the specification.
    pub(crate) version: u64,
    /// The id that the next row gets.
    pub(crate) next_row: u64,
    /// Live rows.
    pub(crate) rows: u64,
    /// Ascending and disjoint by row id.
    pub(crate) parts: Arc<Vec<Part>>,
    finders: Finders,
}

/// For each key how to find rows by it, made when first needed. A clone begins anew, because it is made to be changed.
#[derive(Debug, Default)]
struct Finders(OnceLock<Box<[OnceLock<Arc<Finder>>]>>);

impl Clone for Finders {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Table {
    pub(crate) fn new(id: TableId, spec: Arc<TableSpec>, version: u64) -> Result<Self> {
        let keys = encoders(&spec)?;
        let (parts, finders) = Default::default();
        Ok(Self { id, spec, keys, spec_version: version, version, next_row: 0, rows: 0, parts, finders })
    }

    /// How to find rows by a key.
    pub(crate) fn finder(&self, key: usize) -> Arc<Finder> {
        let made = self.finders.0.get_or_init(|| self.keys.iter().map(|_| OnceLock::new()).collect());
        let fresh = || Arc::new(Finder::new(&self.keys[key], &self.parts));
        match made.get(key) {
            Some(made) => {
                let finder = made.get_or_init(fresh);
                if finder.is_of(&self.parts) { finder.clone() } else { fresh() }
            }
            None => fresh(),
        }
    }

    /// The same rows under another specification.
    pub(crate) fn alter(&mut self, spec: Arc<TableSpec>, columns: &[Option<usize>]) -> Result<()> {
        self.keys = encoders(&spec)?;
        self.finders = Finders::default();
        self.parts = Arc::new(self.parts.iter().map(|part| part.with_columns(spec.schema.clone(), columns)).collect());
        self.spec = spec;
        Ok(())
    }

    /// Puts rows at the end, cut into row groups; `indexes` has what is known of the keys if it is one group.
    pub(crate) fn append(&mut self, batch: &RecordBatch, indexes: IndexList) -> Result<()> {
        let mut indexes = Some(indexes).filter(|_| batch.num_rows() <= ROWS_PER_GROUP);
        for start in (0..batch.num_rows()).step_by(ROWS_PER_GROUP) {
            let slice = batch.slice(start, ROWS_PER_GROUP.min(batch.num_rows() - start));
            let ids = RowIds::range(self.next_row, slice.num_rows());
            let keys = KeyIndexes::new(indexes.take().unwrap_or_default());
            self.push(Part::memory(ids, slice, keys, self.spec.schema.clone()))?;
        }
        Ok(())
    }

    /// Puts a part at the end, whose ids must follow the others.
    pub(crate) fn push(&mut self, part: Part) -> Result<()> {
        self.rows += part.rows() as u64;
        self.next_row = self.next_row.max(part.ids().last().map_or(0, |last| last + 1));
        let parts = Arc::make_mut(&mut self.parts);
        parts.push(part);
        merge_tail(parts, &self.spec.schema)
    }

    /// Replaces the parts from an index on by others with the same rows.
    pub(crate) fn replace_tail(&mut self, start: usize, new: Vec<Part>) {
        let parts = Arc::make_mut(&mut self.parts);
        parts.truncate(start);
        parts.extend(new);
    }

    /// Deletes rows; those that are not there or dead already do not count.
    pub(crate) fn delete(&mut self, ids: impl IntoIterator<Item = u64>) -> u64 {
        let mut deleted = 0;
        let mut emptied = false;
        let mut current: Option<(usize, RoaringBitmap)> = None;
        let parts = Arc::make_mut(&mut self.parts);
        let mut flush = |parts: &mut Vec<Part>, current: &mut Option<(usize, RoaringBitmap)>| {
            if let Some((index, positions)) = current.take() {
                parts[index] = parts[index].with_deleted(positions);
                emptied |= parts[index].rows() == 0;
            }
        };
        for id in ids {
            let Some(index) = locate(parts, id) else { continue };
            let Some(position) = parts[index].ids().position(id) else { continue };
            if current.as_ref().is_none_or(|(at, _)| *at != index) {
                flush(parts, &mut current);
                current = Some((index, parts[index].deleted().cloned().unwrap_or_default()));
            }
            if let Some((_, positions)) = &mut current {
                deleted += u64::from(positions.insert(position));
            }
        }
        flush(parts, &mut current);
        if emptied {
            parts.retain(|part| part.rows() > 0);
        }
        self.rows -= deleted;
        deleted
    }

    /// Puts row groups in the place of the rows with ids in `range`; nothing that anybody sees changes.
    pub(crate) fn rewrite(&mut self, range: (u64, u64), groups: &[Part]) -> Result<()> {
        let (first, last) = range;
        let start = self.parts.partition_point(|part| part.ids().last() < Some(first));
        let end = self.parts.partition_point(|part| part.ids().first() <= Some(last));
        let old = self.parts.get(start..end).unwrap_or_default();
        let mut before = Vec::new();
        let mut after = Vec::new();
        for part in old {
            if part.ids().first() < Some(first) {
                before.push(part.split(|id| id < first)?);
            }
            if part.ids().last() > Some(last) {
                after.push(part.split(|id| id > last)?);
            }
        }
        // Rows may have been deleted since; a part without rows has no place among the others.
        before.retain(|part| part.rows() > 0);
        after.retain(|part| part.rows() > 0);
        let live = |id: u64| {
            locate(old, id)
                .is_some_and(|index| old[index].ids().position(id).is_some_and(|position| old[index].is_live(position)))
        };
        let mut new = Vec::with_capacity(groups.len());
        let mut rows = before.iter().chain(&after).map(|part| part.rows() as u64).sum::<u64>();
        for group in groups {
            let ids = group.ids();
            let inside = ids.first() >= Some(first) && ids.last() <= Some(last);
            if group.stored().is_none_or(|(_, stored)| ids.count() != u64::from(stored.rows)) || !inside {
                return Err(super::tree::misfit("a rewritten segment has other rows than it should"));
            }
            let dead = (0u32..).zip(ids.iter()).filter(|&(_, id)| !live(id)).map(|(position, _)| position).collect();
            let part = group.with_deleted(dead);
            // Rows that only other branches have may come after ours.
            self.next_row = self.next_row.max(ids.last().map_or(0, |last| last + 1));
            rows += part.rows() as u64;
            if part.rows() > 0 {
                new.push(part);
            }
        }
        if rows != old.iter().map(|part| part.rows() as u64).sum::<u64>() {
            return Err(super::tree::misfit("a rewritten segment lacks rows"));
        }
        Arc::make_mut(&mut self.parts).splice(start..end, before.into_iter().chain(new).chain(after));
        Ok(())
    }

    /// Whether the rows with ids in `range` can be taken out of the parts that they are in.
    pub(crate) fn can_rewrite(&self, range: (u64, u64)) -> bool {
        let crosses = |part: &Part| {
            let (first, last) = (part.ids().first(), part.ids().last());
            let outside = first > Some(range.1) || last < Some(range.0);
            !outside && (first < Some(range.0) || last > Some(range.1))
        };
        self.parts.iter().all(|part| part.is_memory() || !crosses(part))
    }

    /// The parts that may have rows with ids in `range`, both ends included.
    pub(crate) fn live_parts(&self, range: (u64, u64)) -> &[Part] {
        let start = self.parts.partition_point(|part| part.ids().last() < Some(range.0));
        let end = self.parts.partition_point(|part| part.ids().first() <= Some(range.1));
        self.parts.get(start..end).unwrap_or_default()
    }

    /// The ids of the live rows with ids in `range`, both ends included.
    pub(crate) fn live_in(&self, range: (u64, u64)) -> RoaringTreemap {
        self.live_parts(range).iter().flat_map(Part::live_ids).filter(|id| (range.0..=range.1).contains(id)).collect()
    }

    /// Whether a row with this id is there and not deleted.
    pub(crate) fn is_live(&self, id: u64) -> bool {
        locate(&self.parts, id).is_some_and(|index| {
            let part = &self.parts[index];
            part.ids().position(id).is_some_and(|position| part.is_live(position))
        })
    }

    /// Which of these ids are not live.
    pub(crate) fn first_dead(&self, ids: &RoaringTreemap) -> Option<u64> {
        ids.iter().find(|&id| !self.is_live(id))
    }

    /// Finds rows by a key, among parts that may hold ids from `from` on.
    pub(crate) fn find(&self, key: usize, keys: &EncodedKeys, from: u64) -> Result<Vec<Option<u64>>> {
        let mut found = vec![None; keys.len()];
        self.finder(key).visit(&self.keys[key], keys, from, |position, _, id| found[position] = Some(id))?;
        Ok(found)
    }

    /// A row with a key, if there is one.
    pub(crate) fn locate(&self, key: usize, values: &[ArrayRef]) -> Result<Option<RowPlace>> {
        let encoder = &self.keys[key];
        let keys = encoder.encode(values.to_vec())?;
        let mut found = None;
        self.finder(key).visit(encoder, &keys, 0, |_, place, _| found = Some(place))?;
        Ok(found)
    }

    /// Refuses rows of which one has a key that is taken; otherwise returns what it learnt of their keys.
    pub(crate) fn check_unique(&self, batch: &RecordBatch) -> Result<IndexList> {
        let mut indexes: IndexList = Vec::with_capacity(self.keys.len());
        for (at, key) in self.keys.iter().enumerate() {
            let values = key.key.columns.iter().map(|&column| batch.column(column).clone()).collect();
            let keys = key.encode(values)?;
            let range = keys.range();
            let taken = match key.key.unique.then(|| keys.duplicate()) {
                None => None,
                Some(Some(position)) => Some(position),
                Some(None) => self.find(at, &keys, 0)?.iter().position(Option::is_some),
            };
            if let Some(position) = taken {
                return Err(key.violation(&self.spec.schema, &keys, position));
            }
            indexes.push((key.key.columns.as_slice().into(), Arc::new(keys.into_index(range))));
        }
        Ok(indexes)
    }

    /// What there is to know of the keys of rows that are known to be unique.
    pub(crate) fn learn_keys(&self, batch: &RecordBatch) -> Result<IndexList> {
        if batch.num_rows() > ROWS_PER_GROUP {
            return Ok(Vec::new());
        }
        let learn = |key: &KeyEncoder| {
            let keys = key.encode(key.key.columns.iter().map(|&column| batch.column(column).clone()).collect())?;
            let range = keys.range();
            Ok((key.key.columns.as_slice().into(), Arc::new(keys.into_index(range))))
        };
        self.keys.iter().map(learn).collect()
    }

    /// The rows with these ids, in this order.
    pub(crate) fn fetch(&self, rows: &[u64], columns: &[usize]) -> Result<RecordBatch> {
        let gone = || Error::new(codes::NO_OBJECT, "a row is not there any more");
        // Of each part only the wanted rows are brought into the table's types.
        let mut parts: Vec<(usize, Vec<u32>)> = Vec::new();
        let mut places = Vec::with_capacity(rows.len());
        for &id in rows {
            let part = locate(&self.parts, id).ok_or_else(gone)?;
            let position = self.parts[part].ids().position(id).filter(|&at| self.parts[part].is_live(at));
            let at = parts.iter().rposition(|(known, _)| *known == part).unwrap_or_else(|| {
                parts.push((part, Vec::new()));
                parts.len() - 1
            });
            places.push((at, parts[at].1.len()));
            parts[at].1.push(position.ok_or_else(gone)?);
        }
        let schema: SchemaRef = Arc::new(self.spec.schema.project(columns).map_err(from_arrow)?);
        let parts: Vec<(usize, UInt32Array)> =
            parts.into_iter().map(|(part, positions)| (part, UInt32Array::from(positions))).collect();
        let mut arrays = Vec::with_capacity(columns.len());
        for (&column, field) in columns.iter().zip(schema.fields()) {
            let sources = parts.iter().map(|(part, positions)| {
                let taken = take(&self.parts[*part].lean(column)?, positions, None).map_err(from_arrow)?;
                expose(&taken, field.data_type())
            });
            let sources = sources.collect::<Result<Vec<_>>>()?;
            let sources: Vec<&dyn Array> = sources.iter().map(|source| source.as_ref()).collect();
            arrays.push(match sources.is_empty() {
                true => new_empty_array(field.data_type()),
                false => interleave(&sources, &places).map_err(from_arrow)?,
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        RecordBatch::try_new_with_options(schema, arrays, &options).map_err(from_arrow)
    }

    /// Whether a live row is null in a column.
    pub(crate) fn has_null(&self, column: usize) -> Result<bool> {
        for part in self.parts.iter() {
            if part.read(&[column])?.column(0).logical_null_count() > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Refuses a table in which two live rows have the same key: for keys that are added later.
    pub(crate) fn check_all_unique(&self) -> Result<()> {
        for key in self.keys.iter().filter(|key| key.key.unique) {
            let mut parts = Vec::with_capacity(self.parts.len());
            for part in self.parts.iter() {
                parts.push(key.encode(part.read(&key.key.columns)?.columns().to_vec())?);
            }
            let valid = || {
                parts
                    .iter()
                    .flat_map(|keys| (0..keys.len()).filter(|&row| keys.is_valid(row)).map(move |row| (keys, row)))
            };
            let mut sorted: Vec<(u64, &[u8], &EncodedKeys, usize)> =
                valid().map(|(keys, row)| (keys.word(row).unwrap_or(0), keys.bytes(row), keys, row)).collect();
            sorted.sort_unstable_by(|one, other| (one.0, one.1).cmp(&(other.0, other.1)));
            if let Some(pair) = sorted.windows(2).find(|pair| (pair[0].0, pair[0].1) == (pair[1].0, pair[1].1)) {
                return Err(key.violation(&self.spec.schema, pair[1].2, pair[1].3));
            }
        }
        Ok(())
    }

    /// Rows in the table's own schema, or an error that says what does not fit.
    pub(crate) fn conform(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let schema = &self.spec.schema;
        if batch.num_columns() != schema.fields().len() {
            return Err(Error::new(
                codes::TYPE,
                format!("the table has {} columns, not {}", schema.fields().len(), batch.num_columns()),
            ));
        }
        for (field, column) in schema.fields().iter().zip(batch.columns()) {
            if field.data_type() != column.data_type() {
                return Err(Error::new(
                    codes::TYPE,
                    format!("column `{}` is {}, not {}", field.name(), field.data_type(), column.data_type()),
                ));
            }
            if !field.is_nullable() && column.logical_null_count() > 0 {
                return Err(Error::new(codes::NOT_NULL, format!("column `{}` must not be null", field.name())));
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(schema.clone(), batch.columns().to_vec(), &options).map_err(from_arrow)
    }
}

fn encoders(spec: &TableSpec) -> Result<Arc<[KeyEncoder]>> {
    spec.keys.iter().map(|key| KeyEncoder::new(&spec.schema, key)).collect()
}

/// The part in which a row with this id would be.
pub(crate) fn locate(parts: &[Part], id: u64) -> Option<usize> {
    let index = parts.partition_point(|part| part.ids().last().is_some_and(|last| last < id));
    parts.get(index).filter(|part| part.ids().first().is_some_and(|first| first <= id)).map(|_| index)
}

/// Merges the runs at the end while enough of them are of like size.
fn merge_tail(parts: &mut Vec<Part>, schema: &SchemaRef) -> Result<()> {
    loop {
        let Some(last) = parts.last().filter(|last| last.rows() < MERGED_ROWS_MAX) else { return Ok(()) };
        let level = level(last);
        let own = last.ids().first() >= Some(super::PROVISIONAL);
        let like = parts
            .iter()
            .rev()
            .take_while(|part| {
                part.is_memory()
                    && self::level(part) <= level
                    && (part.ids().first() >= Some(super::PROVISIONAL)) == own
            })
            .count();
        let rows: usize = parts[parts.len() - like..].iter().map(Part::rows).sum();
        if like < RUNS_PER_LEVEL || rows > ROWS_PER_GROUP {
            return Ok(());
        }
        let tail = parts.split_off(parts.len() - like);
        parts.push(merge(&tail, schema)?);
    }
}

fn level(part: &Part) -> u32 {
    part.rows().max(1).ilog2() / RUNS_PER_LEVEL.ilog2()
}

/// One run of the live rows of several.
fn merge(runs: &[Part], schema: &SchemaRef) -> Result<Part> {
    let all: Vec<usize> = (0..schema.fields().len()).collect();
    let batches = runs.iter().map(|run| run.read(&all)).collect::<Result<Vec<_>>>()?;
    let batch = compact(&concat_batches(schema, &batches).map_err(from_arrow)?)?;
    let ids = RowIds::collect(runs.iter().flat_map(Part::live_ids));
    Ok(Part::memory(ids, batch, KeyIndexes::new(merged_ranges(runs)), schema.clone()))
}

/// What follows for the keys of rows that stood in these parts, one after the other.
pub(crate) fn merged_ranges(runs: &[Part]) -> IndexList {
    let plain = runs.iter().all(|run| run.columns().is_none());
    let mut known = runs.iter().map(|run| run.body().keys.ranges());
    let Some(first) = known.next().filter(|_| plain) else { return Vec::new() };
    let known: Vec<_> = known.collect();
    let chain = |columns: &[usize], range: KeyRange| {
        known.iter().try_fold(range, |range, next| {
            next.iter().find(|(of, _)| **of == *columns).map(|(_, next)| range.then(next))
        })
    };
    first
        .into_iter()
        .filter_map(|(columns, range)| {
            let range = chain(&columns, range)?;
            Some((columns, Arc::new(KeyIndex::with_range(range))))
        })
        .collect()
}

/// Drops what views point to without need: merged views would otherwise keep every buffer of every run.
pub(crate) fn compact(batch: &RecordBatch) -> Result<RecordBatch> {
    let columns: Vec<ArrayRef> = batch
        .columns()
        .iter()
        .map(|column| match column.data_type() {
            DataType::Utf8View => Arc::new(column.as_string_view().gc()) as ArrayRef,
            DataType::BinaryView => Arc::new(column.as_binary_view().gc()) as ArrayRef,
            _ => column.clone(),
        })
        .collect();
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(batch.schema(), columns, &options).map_err(from_arrow)
}
