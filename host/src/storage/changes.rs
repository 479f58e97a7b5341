//! What changed in a table between two versions. Row ids are one row on every branch, so that equal parts are skipped
//! without a look, rows that only moved between files are known by their ids, and only rows that differ are read. It
//! refuses to merge.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{RecordBatch, UInt64Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::SchemaRef;
use roaring::RoaringTreemap;

use super::keys::{EncodedKeys, KeyEncoder};
use super::part::from_arrow;
use super::snapshot::Snapshot;
use super::spec::TableId;
use super::table::Table;
use crate::error::{Error, Result, codes};

/// What became of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// It is new.
    Insert,
    /// It is gone.
    Delete,
    /// It was this, and its primary key has another row now.
    UpdateBefore,
    /// That other row.
    UpdateAfter,
}

/// The rows that differ.
#[derive(Clone, Debug)]
pub struct Changes {
    /// The table's columns at the later version, or at the earlier one if it is gone.
    pub schema: SchemaRef,
    /// Rows; the two sides of updates are in the same order.
    pub batches: Vec<(Change, RecordBatch)>,
}

impl Snapshot {
    /// What changed in a table since `before`, which may be of another branch, and may be later. A row that was deleted
    /// and inserted again under its primary key is an update, or nothing if it is equal.
    ///
    /// # Errors
    /// `NO_TABLE` when neither has the table, `UNSUPPORTED` when its columns changed, `CORRUPT` on damage.
    pub fn changes_since(&self, before: &Self, table: TableId) -> Result<Changes> {
        let (old, new) = (before.find_table(table), self.find_table(table));
        let either = new.or(old).ok_or_else(|| Error::new(codes::NO_TABLE, "neither version has the table"))?;
        let schema = either.spec.schema.clone();
        if let (Some(old), Some(new)) = (old, new)
            && old.spec.schema.fields() != new.spec.schema.fields()
        {
            let message = "the columns of the table changed between the two versions";
            return Err(Error::new(codes::UNSUPPORTED, message).help("compare each with AS OF VERSION"));
        }
        let (gone, come) = differing(old, new);
        let columns: Vec<usize> = (0..schema.fields().len()).collect();
        let fetch = |table: Option<&Arc<Table>>, ids: &RoaringTreemap| match table {
            Some(table) => table.fetch(&ids.iter().collect::<Vec<_>>(), &columns),
            None => Ok(RecordBatch::new_empty(schema.clone())),
        };
        let (gone, come) = (fetch(old, &gone)?, fetch(new, &come)?);
        let primary = either.keys.iter().find(|key| key.key.primary);
        let batches = match primary {
            Some(key) if gone.num_rows() > 0 && come.num_rows() > 0 => pair(key, &gone, &come)?,
            _ => vec![(Change::Delete, gone), (Change::Insert, come)],
        };
        let batches = batches.into_iter().filter(|(_, rows)| rows.num_rows() > 0).collect();
        Ok(Changes { schema, batches })
    }
}

/// The ids of rows that only the one, and only the other, has.
fn differing(old: Option<&Arc<Table>>, new: Option<&Arc<Table>>) -> (RoaringTreemap, RoaringTreemap) {
    let (mut gone, mut come) = (RoaringTreemap::new(), RoaringTreemap::new());
    let parts = |table: Option<&Arc<Table>>| table.map(|table| table.parts.clone()).unwrap_or_default();
    let (old, new) = (parts(old), parts(new));
    let known: HashMap<_, usize> = new.iter().enumerate().filter_map(|(at, part)| Some((part.place()?, at))).collect();
    let mut is_done = vec![false; new.len()];
    for part in old.iter() {
        let like = part.place().and_then(|place| known.get(&place)).copied();
        if let Some(like) = like.filter(|&like| new[like].is_same(part)) {
            is_done[like] = true;
        } else {
            gone.extend(part.live_ids());
        }
    }
    for (part, _) in new.iter().zip(is_done).filter(|(_, is_done)| !is_done) {
        come.extend(part.live_ids());
    }
    (&gone - &come, &come - &gone)
}

/// Brings rows with the same primary key together.
fn pair(key: &KeyEncoder, gone: &RecordBatch, come: &RecordBatch) -> Result<Vec<(Change, RecordBatch)>> {
    let encode =
        |rows: &RecordBatch| key.encode(key.key.columns.iter().map(|&column| rows.column(column).clone()).collect());
    let (old, new) = (encode(gone)?, encode(come)?);
    let of = |keys: &EncodedKeys, row: usize| (keys.word(row), keys.bytes(row).to_vec());
    let by_key: HashMap<(Option<u64>, Vec<u8>), usize> = (0..new.len()).map(|row| (of(&new, row), row)).collect();
    let mut is_paired = vec![false; come.num_rows()];
    let (mut deleted, mut before, mut after) = (Vec::new(), Vec::new(), Vec::new());
    for row in 0..old.len() {
        match by_key.get(&of(&old, row)) {
            Some(&other) => {
                is_paired[other] = true;
                if gone.slice(row, 1) != come.slice(other, 1) {
                    before.push(row as u64);
                    after.push(other as u64);
                }
            }
            None => deleted.push(row as u64),
        }
    }
    let inserted = is_paired.iter().zip(0u64..).filter(|(is_paired, _)| !**is_paired).map(|(_, row)| row).collect();
    let take = |rows: &RecordBatch, at: Vec<u64>| take_record_batch(rows, &UInt64Array::from(at)).map_err(from_arrow);
    Ok(vec![
        (Change::Delete, take(gone, deleted)?),
        (Change::UpdateBefore, take(gone, before)?),
        (Change::UpdateAfter, take(come, after)?),
        (Change::Insert, take(come, inserted)?),
    ])
}
