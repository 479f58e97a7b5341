//! Unique keys: whether rows with the same key exist, and where, without scanning. A key is compared by Arrow's row
//! encoding; per part it has bounds, a note whether the rows lie in its order, and, built when first needed, a sorted
//! array of hashes. It refuses to decide what a violation means for the caller.
//!
//! A row in which any column of the key is null has no key: it is never found and never in the way of another.

use std::hash::Hasher;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arrow::array::{Array, ArrayRef, make_comparator};
use arrow::buffer::NullBuffer;
use arrow::compute::SortOptions;
use arrow::datatypes::Schema;
use arrow::row::{RowConverter, Rows, SortField};
use arrow::util::display::array_value_to_string;

use super::ROWS_PER_GROUP;
use super::part::{Part, from_arrow};
use super::spec::Key;
use crate::error::{Error, Result, codes};

/// The low bits of an entry of the array of hashes are the row's position, the others its hash.
const POSITION_BITS: u32 = 17;
const POSITION: u64 = (1 << POSITION_BITS) - 1;
const _: () = assert!(ROWS_PER_GROUP < 1 << POSITION_BITS);

/// Up to so many lookups in a part that lies in key order, binary search beats building the array of hashes.
const BINARY_SEARCHES_MAX: usize = 64;

/// A key of a table, ready to encode values.
#[derive(Debug)]
pub(crate) struct KeyEncoder {
    pub(crate) key: Key,
    converter: RowConverter,
}

impl KeyEncoder {
    pub(crate) fn new(schema: &Schema, key: &Key) -> Result<Self> {
        let fields = key.columns.iter().map(|&column| SortField::new(schema.field(column).data_type().clone()));
        let converter = RowConverter::new(fields.collect()).map_err(from_arrow)?;
        Ok(Self { key: key.clone(), converter })
    }

    /// Encodes values given in the order of the key's columns.
    pub(crate) fn encode(&self, values: Vec<ArrayRef>) -> Result<EncodedKeys> {
        let rows = self.converter.convert_columns(&values).map_err(|source| {
            Error::new(codes::TYPE, format!("values do not fit key `{}`: {source}", self.key.name))
        })?;
        let mut valid: Option<NullBuffer> = None;
        for column in &values {
            valid = NullBuffer::union(valid.as_ref(), column.logical_nulls().as_ref());
        }
        Ok(EncodedKeys { values, rows, valid, hashes: OnceLock::new() })
    }

    /// Encodes the keys of all rows of a part; `None` if the part is older than one of the key's columns.
    pub(crate) fn encode_part(&self, part: &Part) -> Result<Option<EncodedKeys>> {
        if self.body_columns(part).is_none() {
            return Ok(None);
        }
        let values = self.key.columns.iter().map(|&column| part.column(column)).collect::<Result<_>>()?;
        self.encode(values).map(Some)
    }

    fn body_columns(&self, part: &Part) -> Option<Box<[usize]>> {
        self.key.columns.iter().map(|&column| part.body_column(column)).collect()
    }

    /// Finds the ids of the live rows with these keys. `found` has a place for each key; a filled place is not
    /// looked up again. Only rows that `accept` admits count.
    pub(crate) fn find(
        &self,
        part: &Part,
        keys: &EncodedKeys,
        found: &mut [Option<u64>],
        accept: impl Fn(u64) -> bool,
    ) -> Result<()> {
        let Some(columns) = self.body_columns(part) else { return Ok(()) };
        let index = part.body().keys.of(&columns);
        let wanted = |position: usize, found: &[Option<u64>]| {
            found[position].is_none() && keys.get(position).is_some_and(|key| index.admits(key))
        };
        let candidates = (0..keys.len()).filter(|&position| wanted(position, found)).count();
        if candidates == 0 {
            return Ok(());
        }
        let same = self.comparator(part, keys)?;
        let mut take = |position: usize, row: u32| {
            if part.is_live(row)
                && let Some(id) = part.ids().at(row)
                && accept(id)
            {
                found[position] = Some(id);
            }
        };
        if index.is_sorted() && candidates <= BINARY_SEARCHES_MAX && index.hashes.get().is_none() {
            let count = usize::try_from(part.ids().count()).unwrap_or_default();
            for position in 0..keys.len() {
                if keys.get(position).is_none_or(|key| !index.admits(key)) {
                    continue;
                }
                let row = partition_point(count, |row| same(row, position).is_lt());
                if row < count && same(row, position).is_eq() {
                    take(position, u32::try_from(row).unwrap_or(u32::MAX));
                }
            }
            return Ok(());
        }
        let hashes = index.hashes(|| self.encode_part(part))?;
        if candidates <= hashes.len() / 16 {
            for position in 0..keys.len() {
                let Some(key) = keys.get(position).filter(|key| index.admits(key)) else { continue };
                let hash = hash(key);
                let start = hashes.partition_point(|&entry| entry & !POSITION < hash);
                for &entry in hashes[start..].iter().take_while(|&&entry| entry & !POSITION == hash) {
                    let row = (entry & POSITION) as u32;
                    if same(row as usize, position).is_eq() {
                        take(position, row);
                    }
                }
            }
        } else {
            meet(hashes, keys.hashes(), |row, position| {
                if same(row as usize, position as usize).is_eq() {
                    take(position as usize, row);
                }
            });
        }
        Ok(())
    }

    fn comparator(
        &self,
        part: &Part,
        keys: &EncodedKeys,
    ) -> Result<impl Fn(usize, usize) -> std::cmp::Ordering + use<>> {
        let mut columns = Vec::with_capacity(self.key.columns.len());
        for (&column, values) in self.key.columns.iter().zip(&keys.values) {
            let column = part.column(column)?;
            columns.push(make_comparator(&column, values, SortOptions::default()).map_err(from_arrow)?);
        }
        Ok(move |left, right| {
            columns
                .iter()
                .map(|column| column(left, right))
                .find(|order| order.is_ne())
                .unwrap_or(std::cmp::Ordering::Equal)
        })
    }

    /// The error for a key that exists already.
    pub(crate) fn violation(&self, schema: &Schema, keys: &EncodedKeys, position: usize) -> Error {
        let names: Vec<_> = self.key.columns.iter().map(|&column| schema.field(column).name().as_str()).collect();
        let values: Vec<_> = keys
            .values
            .iter()
            .map(|column| array_value_to_string(column, position).unwrap_or_else(|_| "?".to_owned()))
            .collect();
        Error::new(
            codes::UNIQUE,
            format!("key `{}` exists already: ({}) = ({})", self.key.name, names.join(", "), values.join(", ")),
        )
    }
}

/// Keys of a batch of rows.
#[derive(Debug)]
pub(crate) struct EncodedKeys {
    values: Vec<ArrayRef>,
    rows: Rows,
    valid: Option<NullBuffer>,
    hashes: OnceLock<Box<[u64]>>,
}

impl EncodedKeys {
    pub(crate) fn len(&self) -> usize {
        self.rows.num_rows()
    }

    /// The bytes of a row's key; `None` if it has none.
    fn get(&self, position: usize) -> Option<&[u8]> {
        let valid = self.valid.as_ref().is_none_or(|valid| valid.is_valid(position));
        valid.then(|| self.rows.row(position).data())
    }

    fn hashes(&self) -> &[u64] {
        self.hashes.get_or_init(|| {
            let mut hashes: Box<[u64]> =
                (0..self.len()).filter_map(|position| Some(hash(self.get(position)?) | position as u64)).collect();
            hashes.sort_unstable();
            hashes
        })
    }

    /// Bounds and order of these keys.
    pub(crate) fn range(&self) -> KeyRange {
        let mut sorted = true;
        let mut bounds: Option<(&[u8], &[u8])> = None;
        let mut previous: Option<&[u8]> = None;
        for position in 0..self.len() {
            let Some(key) = self.get(position) else {
                sorted = false;
                continue;
            };
            sorted &= previous.is_none_or(|previous| previous < key);
            previous = Some(key);
            bounds = Some(bounds.map_or((key, key), |(min, max)| (min.min(key), max.max(key))));
        }
        KeyRange { bounds: bounds.map(|(min, max)| (min.into(), max.into())), sorted }
    }

    /// The position of a row whose key another row of the batch has too.
    pub(crate) fn duplicate(&self, range: &KeyRange) -> Option<usize> {
        if range.sorted {
            return None;
        }
        let hashes = self.hashes();
        let mut start = 0;
        while start < hashes.len() {
            let hash = hashes[start] & !POSITION;
            let end = start + hashes[start..].iter().take_while(|&&entry| entry & !POSITION == hash).count();
            let mut same: Vec<(&[u8], usize)> = hashes[start..end]
                .iter()
                .map(|entry| (entry & POSITION) as usize)
                .filter_map(|position| Some((self.get(position)?, position)))
                .collect();
            if same.len() > 1 {
                same.sort_unstable();
                if let Some(pair) = same.windows(2).find(|pair| pair[0].0 == pair[1].0) {
                    return Some(pair[1].1);
                }
            }
            start = end;
        }
        None
    }

    /// What is known of a part that consists of exactly these rows.
    pub(crate) fn into_index(self, range: KeyRange) -> KeyIndex {
        KeyIndex { range: Some(range), hashes: self.hashes }
    }
}

/// Least and greatest key.
pub(crate) type KeyBounds = (Box<[u8]>, Box<[u8]>);

/// Indexes by the columns of the body that make the key.
pub(crate) type IndexList = Vec<(Box<[usize]>, Arc<KeyIndex>)>;

/// Bounds of the keys of a part, and whether its rows lie in strictly ascending order of the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyRange {
    /// Least and greatest key; `None` if no row has a key.
    pub(crate) bounds: Option<KeyBounds>,
    pub(crate) sorted: bool,
}

impl KeyRange {
    /// What holds for the rows of both, one after the other.
    pub(crate) fn then(self, next: &Self) -> Self {
        let (bounds, in_order) = match (self.bounds, next.bounds.clone()) {
            (Some((min, max)), Some((next_min, next_max))) => {
                let in_order = max < next_min;
                (Some((min.min(next_min), max.max(next_max))), in_order)
            }
            (one, other) => (one.or(other), true),
        };
        Self { bounds, sorted: self.sorted && next.sorted && in_order }
    }
}

/// One key's index of one part.
#[derive(Debug, Default)]
pub(crate) struct KeyIndex {
    pub(crate) range: Option<KeyRange>,
    hashes: OnceLock<Box<[u64]>>,
}

impl KeyIndex {
    pub(crate) fn with_range(range: KeyRange) -> Self {
        Self { range: Some(range), hashes: OnceLock::new() }
    }

    fn admits(&self, key: &[u8]) -> bool {
        match &self.range {
            Some(KeyRange { bounds: Some((min, max)), .. }) => **min <= *key && *key <= **max,
            Some(KeyRange { bounds: None, .. }) => false,
            None => true,
        }
    }

    fn is_sorted(&self) -> bool {
        self.range.as_ref().is_some_and(|range| range.sorted)
    }

    fn hashes(&self, keys: impl FnOnce() -> Result<Option<EncodedKeys>>) -> Result<&[u64]> {
        if self.hashes.get().is_none() {
            let hashes = keys()?.map(|keys| keys.hashes().into()).unwrap_or_default();
            return Ok(self.hashes.get_or_init(|| hashes));
        }
        Ok(self.hashes.get().map_or(&[], |hashes| hashes))
    }
}

/// The indexes of a part, by the columns of its body.
#[derive(Debug, Default)]
pub(crate) struct KeyIndexes(Mutex<IndexList>);

impl KeyIndexes {
    pub(crate) fn new(indexes: IndexList) -> Self {
        Self(Mutex::new(indexes))
    }

    fn of(&self, columns: &[usize]) -> Arc<KeyIndex> {
        let mut indexes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, index)) = indexes.iter().find(|(of, _)| **of == *columns) {
            return index.clone();
        }
        let index = Arc::new(KeyIndex::default());
        indexes.push((columns.into(), index.clone()));
        index
    }

    /// Every range that is known, for a part that takes over these rows or for the manifest.
    pub(crate) fn ranges(&self) -> Vec<(Box<[usize]>, KeyRange)> {
        let indexes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        indexes.iter().filter_map(|(columns, index)| Some((columns.clone(), index.range.clone()?))).collect()
    }
}

fn hash(key: &[u8]) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    hasher.write(key);
    hasher.finish() & !POSITION
}

fn partition_point(count: usize, before: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low + (high - low) / 2;
        if before(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

/// Calls for each pair of entries with equal hashes, by walking both sorted arrays once.
fn meet(left: &[u64], right: &[u64], mut pair: impl FnMut(u32, u32)) {
    let (mut l, mut r) = (0, 0);
    while l < left.len() && r < right.len() {
        let (a, b) = (left[l] & !POSITION, right[r] & !POSITION);
        match a.cmp(&b) {
            std::cmp::Ordering::Less => l += 1,
            std::cmp::Ordering::Greater => r += 1,
            std::cmp::Ordering::Equal => {
                for &other in right[r..].iter().take_while(|&&other| other & !POSITION == a) {
                    pair((left[l] & POSITION) as u32, (other & POSITION) as u32);
                }
                l += 1;
            }
        }
    }
}
