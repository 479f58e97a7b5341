//! Row ids: which rows a part holds, in ascending order. It counts and finds, and refuses to hold values.

use std::sync::Arc;

use arrow::array::UInt64Array;
use roaring::RoaringTreemap;

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
