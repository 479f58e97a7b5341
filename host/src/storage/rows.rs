//! Row ids: which rows a part holds, in ascending order, and which ids come next. It counts and finds, and refuses to
//! hold values.

use std::sync::Arc;

use arrow::array::UInt64Array;
use roaring::RoaringTreemap;
use rpds::RedBlackTreeMapSync;

use super::spec::TableId;
use super::table::Table;
use super::tree::misfit;
use super::{PROVISIONAL, codec};
use crate::error::Result;

/// The ids that the next rows of each table get. Branches share it: rows with the same id are the same row everywhere.
#[derive(Clone, Debug)]
pub(crate) struct RowNumbers {
    next: RedBlackTreeMapSync<TableId, u64>,
    /// No table that is not listed has used this id, or a later one.
    unlisted: u64,
}

impl Default for RowNumbers {
    fn default() -> Self {
        Self { next: RedBlackTreeMapSync::new_sync(), unlisted: 0 }
    }
}

impl RowNumbers {
    /// A table that never was there before.
    pub(crate) fn begin(&mut self, table: TableId) {
        self.next.insert_mut(table, 0);
    }

    /// The id of the next row of a table.
    pub(crate) fn next(&self, table: &Table) -> u64 {
        self.next.get(&table.id).copied().unwrap_or(self.unlisted).max(table.next_row)
    }

    /// A table has used its ids up to its next one.
    pub(crate) fn used(&mut self, table: &Table) -> Result<()> {
        if table.next_row >= PROVISIONAL {
            return Err(misfit("row ids are used up"));
        }
        self.next.insert_mut(table.id, table.next_row);
        Ok(())
    }

    /// Keeps count of these tables alone.
    pub(crate) fn retain(&mut self, is_live: impl Fn(TableId) -> bool) {
        let gone: Vec<(TableId, u64)> =
            self.next.iter().filter(|(table, _)| !is_live(**table)).map(|(&table, &next)| (table, next)).collect();
        for (table, next) in gone {
            self.unlisted = self.unlisted.max(next);
            self.next.remove_mut(&table);
        }
    }

    pub(crate) fn encode(&self, out: &mut codec::Encoder) {
        out.u64(self.unlisted);
        out.count(self.next.size());
        for (table, next) in &self.next {
            out.u64(table.0);
            out.u64(*next);
        }
    }

    pub(crate) fn decode(from: &mut codec::Decoder<'_>) -> Result<Self, codec::Flaw> {
        let mut numbers = Self { unlisted: from.u64()?, ..Self::default() };
        for _ in 0..from.count(16)? {
            numbers.next.insert_mut(TableId(from.u64()?), from.u64()?);
        }
        if numbers.unlisted >= PROVISIONAL || numbers.next.values().any(|&next| next >= PROVISIONAL) {
            return Err("row ids are used up".to_owned());
        }
        Ok(numbers)
    }
}

/// The ids of the rows of a part, ascending by position.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum RowIds {
    /// `first`, `first + 1`, ...: what an append makes.
    Range { first: u64, count: u64 },
    /// With holes: what is left when dead rows are taken out.
    Set(Arc<RoaringTreemap>),
}

impl RowIds {
    pub(crate) fn range(first: u64, count: usize) -> Self {
        Self::Range { first, count: count as u64 }
    }

    /// The most compact form of ascending ids.
    pub(crate) fn collect(ids: impl Iterator<Item = u64>) -> Self {
        let set: RoaringTreemap = ids.collect();
        match (set.min(), set.max()) {
            (Some(first), Some(last)) if last - first + 1 != set.len() => Self::Set(Arc::new(set)),
            (first, _) => Self::Range { first: first.unwrap_or_default(), count: set.len() },
        }
    }

    pub(crate) fn count(&self) -> u64 {
        match self {
            Self::Range { count, .. } => *count,
            Self::Set(set) => set.len(),
        }
    }

    pub(crate) fn first(&self) -> Option<u64> {
        match self {
            Self::Range { first, count } => (*count > 0).then_some(*first),
            Self::Set(set) => set.min(),
        }
    }

    pub(crate) fn last(&self) -> Option<u64> {
        match self {
            Self::Range { first, count } => (*count > 0).then(|| first + count - 1),
            Self::Set(set) => set.max(),
        }
    }

    /// Where the row with this id stands, if it is here.
    pub(crate) fn position(&self, id: u64) -> Option<u32> {
        let position = match self {
            Self::Range { first, count } => id.checked_sub(*first).filter(|position| position < count),
            Self::Set(set) => set.contains(id).then(|| set.rank(id) - 1),
        };
        position.and_then(|position| u32::try_from(position).ok())
    }

    /// The id of the row at a position.
    pub(crate) fn at(&self, position: u32) -> Option<u64> {
        match self {
            Self::Range { first, count } => (u64::from(position) < *count).then(|| first + u64::from(position)),
            Self::Set(set) => set.select(u64::from(position)),
        }
    }

    pub(crate) fn iter(&self) -> Box<dyn Iterator<Item = u64> + '_> {
        match self {
            Self::Range { first, count } => Box::new(*first..first + count),
            Self::Set(set) => Box::new(set.iter()),
        }
    }

    pub(crate) fn to_array(&self) -> UInt64Array {
        UInt64Array::from_iter_values(self.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::RowIds;

    #[test]
    fn ids_and_positions_are_inverse() {
        for ids in [RowIds::collect(5..9), RowIds::collect([1, 4, 9, 1 << 40].into_iter())] {
            for (position, id) in ids.iter().enumerate() {
                let position = position as u32;
                assert_eq!((ids.at(position), ids.position(id)), (Some(id), Some(position)));
            }
            assert_eq!((ids.at(4), ids.position(3), ids.count()), (None, None, 4));
        }
        assert_eq!(RowIds::collect(5..9), RowIds::range(5, 4));
        assert_eq!(RowIds::collect(0..0).first(), None);
    }
}
