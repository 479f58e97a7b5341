//! Sorted runs: the rows of one part, or of all row groups of a file, in the order of a key. A run has for each row a
//! word of 64 bits that orders like its key, or like the first bytes of it, and the row's place; so that a search
//! touches few words and, where words are not the whole key, few rows. It refuses to hold values.

use std::cmp::Ordering;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::buffer::{BooleanBuffer, ScalarBuffer};
use arrow::datatypes::{self as types, DataType, TimeUnit};

use super::ROWS_PER_GROUP;

/// The low bits of a place are the row within its group, the others the group within its file.
pub(crate) const ROW_BITS: u32 = 17;
const ROW: u32 = (1 << ROW_BITS) - 1;
const _: () = assert!(ROWS_PER_GROUP < 1 << ROW_BITS);

/// The place of a row.
pub(crate) fn place(group: usize, row: usize) -> u32 {
    ((group as u32) << ROW_BITS) | row as u32
}

/// Group and row of a place.
pub(crate) fn group_and_row(place: u32) -> (usize, u32) {
    ((place >> ROW_BITS) as usize, place & ROW)
}

/// Values of at most 64 bits, each as a word that orders as they do: the number that Arrow's row encoding of the value
/// spells in its bytes. Zero has one sign, and there is one NaN, above all numbers.
#[derive(Clone, Debug)]
pub(crate) enum Words {
    Signed8(ScalarBuffer<i8>),
    Signed16(ScalarBuffer<i16>),
    Signed32(ScalarBuffer<i32>),
    Signed64(ScalarBuffer<i64>),
    Unsigned8(ScalarBuffer<u8>),
    Unsigned16(ScalarBuffer<u16>),
    Unsigned32(ScalarBuffer<u32>),
    Unsigned64(ScalarBuffer<u64>),
    Float32(ScalarBuffer<f32>),
    Float64(ScalarBuffer<f64>),
    Boolean(BooleanBuffer),
    /// Integers that lie in a smaller type than they have; a word is that of the value in its own type.
    Narrow(Box<Words>, Wide),
}

/// The type of integers that lie in a smaller one.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wide {
    Signed16,
    Signed32,
    Signed64,
    Unsigned16,
    Unsigned32,
    Unsigned64,
}

/// The one zero and the one NaN.
pub(crate) fn canonical64(value: f64) -> f64 {
    if value.is_nan() { f64::NAN.abs() } else { value + 0.0 }
}

/// Likewise.
pub(crate) fn canonical32(value: f32) -> f32 {
    if value.is_nan() { f32::NAN.abs() } else { value + 0.0 }
}

impl Words {
    /// The words of a column; `None` if its type has none.
    pub(crate) fn of(column: &dyn Array) -> Option<Self> {
        use DataType as D;
        macro_rules! values {
            ($kind:ident, $type:ident) => {
                Self::$kind(column.as_primitive_opt::<types::$type>()?.values().clone())
            };
        }
        Some(match column.data_type() {
            D::Boolean => Self::Boolean(column.as_boolean_opt()?.values().clone()),
            D::Int8 => values!(Signed8, Int8Type),
            D::Int16 => values!(Signed16, Int16Type),
            D::Int32 => values!(Signed32, Int32Type),
            D::Int64 => values!(Signed64, Int64Type),
            D::UInt8 => values!(Unsigned8, UInt8Type),
            D::UInt16 => values!(Unsigned16, UInt16Type),
            D::UInt32 => values!(Unsigned32, UInt32Type),
            D::UInt64 => values!(Unsigned64, UInt64Type),
            D::Float32 => values!(Float32, Float32Type),
            D::Float64 => values!(Float64, Float64Type),
            D::Date32 => values!(Signed32, Date32Type),
            D::Date64 => values!(Signed64, Date64Type),
            D::Time32(TimeUnit::Second) => values!(Signed32, Time32SecondType),
            D::Time32(TimeUnit::Millisecond) => values!(Signed32, Time32MillisecondType),
            D::Time64(TimeUnit::Microsecond) => values!(Signed64, Time64MicrosecondType),
            D::Time64(TimeUnit::Nanosecond) => values!(Signed64, Time64NanosecondType),
            D::Timestamp(TimeUnit::Second, _) => values!(Signed64, TimestampSecondType),
            D::Timestamp(TimeUnit::Millisecond, _) => values!(Signed64, TimestampMillisecondType),
            D::Timestamp(TimeUnit::Microsecond, _) => values!(Signed64, TimestampMicrosecondType),
            D::Timestamp(TimeUnit::Nanosecond, _) => values!(Signed64, TimestampNanosecondType),
            _ => return None,
        })
    }

    /// The words of a column of some type as it lies in memory, perhaps in a smaller type.
    pub(crate) fn of_lean(lean: &dyn Array, kind: &DataType) -> Option<Self> {
        use DataType as D;
        if lean.data_type() == kind {
            return Self::of(lean);
        }
        let wide = match kind {
            D::Int16 => Wide::Signed16,
            D::Int32 => Wide::Signed32,
            D::Int64 => Wide::Signed64,
            D::UInt16 => Wide::Unsigned16,
            D::UInt32 => Wide::Unsigned32,
            D::UInt64 => Wide::Unsigned64,
            _ => return None,
        };
        let narrow =
            Self::of(lean).filter(|words| matches!(words, Self::Signed8(_) | Self::Signed16(_) | Self::Signed32(_)));
        Some(Self::Narrow(Box::new(narrow?), wide))
    }

    /// Whether values of a type have words.
    pub(crate) fn has(kind: &DataType) -> bool {
        Self::of(&arrow::array::new_empty_array(kind)).is_some()
    }

    /// Bytes that the word takes in Arrow's row encoding.
    pub(crate) fn width(&self) -> usize {
        match self {
            Self::Signed8(_) | Self::Unsigned8(_) | Self::Boolean(_) => 1,
            Self::Signed16(_) | Self::Unsigned16(_) => 2,
            Self::Signed32(_) | Self::Unsigned32(_) | Self::Float32(_) => 4,
            Self::Signed64(_) | Self::Unsigned64(_) | Self::Float64(_) => 8,
            Self::Narrow(_, Wide::Signed16 | Wide::Unsigned16) => 2,
            Self::Narrow(_, Wide::Signed32 | Wide::Unsigned32) => 4,
            Self::Narrow(_, Wide::Signed64 | Wide::Unsigned64) => 8,
        }
    }

    /// The word of a row, whatever it is worth if the row is null.
    pub(crate) fn at(&self, row: usize) -> u64 {
        match self {
            Self::Signed8(values) => u64::from(values[row] as u8 ^ 0x80),
            Self::Signed16(values) => u64::from(values[row] as u16 ^ 0x8000),
            Self::Signed32(values) => u64::from(values[row] as u32 ^ 0x8000_0000),
            Self::Signed64(values) => values[row] as u64 ^ (1 << 63),
            Self::Unsigned8(values) => u64::from(values[row]),
            Self::Unsigned16(values) => u64::from(values[row]),
            Self::Unsigned32(values) => u64::from(values[row]),
            Self::Unsigned64(values) => values[row],
            Self::Float32(values) => {
                let bits = canonical32(values[row]).to_bits();
                u64::from(if bits >> 31 == 1 { !bits } else { bits ^ 0x8000_0000 })
            }
            Self::Float64(values) => {
                let bits = canonical64(values[row]).to_bits();
                if bits >> 63 == 1 { !bits } else { bits ^ (1 << 63) }
            }
            Self::Boolean(values) => u64::from(values.value(row)),
            Self::Narrow(narrow, wide) => {
                let value = match narrow.as_ref() {
                    Self::Signed8(values) => i64::from(values[row]),
                    Self::Signed16(values) => i64::from(values[row]),
                    Self::Signed32(values) => i64::from(values[row]),
                    other => return other.at(row),
                };
                match wide {
                    Wide::Signed16 => u64::from(value as u16 ^ 0x8000),
                    Wide::Signed32 => u64::from(value as u32 ^ 0x8000_0000),
                    Wide::Signed64 => value as u64 ^ (1 << 63),
                    Wide::Unsigned16 | Wide::Unsigned32 | Wide::Unsigned64 => value as u64,
                }
            }
        }
    }

    /// The word that a key's bytes in Arrow's row encoding spell; they begin with a mark that it is not null.
    pub(crate) fn from_bytes(bytes: &[u8]) -> u64 {
        bytes.iter().skip(1).take(8).fold(0, |word, byte| word << 8 | u64::from(*byte))
    }

    /// The other way round.
    pub(crate) fn to_bytes(word: u64, width: usize) -> Box<[u8]> {
        let mut bytes = vec![1];
        bytes.extend_from_slice(&word.to_be_bytes()[8 - width..]);
        bytes.into()
    }
}

/// The first row from which on words are not less, of `count` rows with ascending words. Where they are spread evenly,
/// that is found in a few steps.
pub(crate) fn lower_bound(range: std::ops::Range<usize>, at: impl Fn(usize) -> u64, word: u64) -> usize {
    let (mut low, mut high) = (range.start, range.end);
    if low == high {
        return low;
    }
    let (first, last) = (at(low), at(high - 1));
    if word <= first {
        return low;
    }
    if word > last {
        return high;
    }
    let share = u128::from(word - first) * (high - 1 - low) as u128 / u128::from(last - first).max(1);
    let guess = low + share as usize;
    // From the guess on in growing steps, because a near row costs less than one in the middle of what is left.
    let mut step = 1;
    if at(guess) < word {
        low = guess + 1;
        while low + step < high {
            if at(low + step) >= word {
                high = low + step;
                break;
            }
            low += step + 1;
            step *= 2;
        }
    } else {
        high = guess;
        while high >= low + step {
            if at(high - step) < word {
                low = high - step + 1;
                break;
            }
            high -= step;
            step *= 2;
        }
    }
    partition_point(low..high, |row| at(row) < word)
}

/// The first place in a range at which `before` does not hold any more.
pub(crate) fn partition_point(range: std::ops::Range<usize>, before: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (range.start, range.end);
    while low < high {
        let middle = low + (high - low) / 2;
        if before(middle) { low = middle + 1 } else { high = middle }
    }
    low
}

/// Rows in the order of a key.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) words: ScalarBuffer<u64>,
    pub(crate) places: ScalarBuffer<u32>,
    /// Rows at the beginning whose first column is null; they have no words.
    pub(crate) nulls: usize,
    /// What all keys begin with in Arrow's row encoding; words are of what comes then. Empty when words are values.
    pub(crate) shared: Box<[u8]>,
    /// Whether equal words mean equal keys.
    pub(crate) is_exact: bool,
}

/// The rows of a group, ready to be sorted.
pub(crate) enum Sortable<'a> {
    /// Keys that are words, and which of them are null.
    Words(&'a [u64], Option<&'a arrow::buffer::NullBuffer>),
    /// Keys in Arrow's row encoding, and the key's first column.
    Rows(&'a arrow::row::Rows, &'a ArrayRef),
}

impl Sortable<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Words(words, _) => words.len(),
            Self::Rows(rows, _) => rows.num_rows(),
        }
    }

    fn is_null(&self, row: usize) -> bool {
        match self {
            Self::Words(_, valid) => valid.is_some_and(|valid| valid.is_null(row)),
            Self::Rows(_, first) => first.is_null(row),
        }
    }
}

impl Run {
    /// Sorts the rows of groups, which come with their numbers within the file.
    pub(crate) fn build(groups: &[(usize, Sortable<'_>)]) -> Self {
        let count = groups.iter().map(|(_, rows)| rows.len()).sum();
        let mut places: Vec<u32> = Vec::with_capacity(count);
        for (group, rows) in groups {
            places.extend((0..rows.len()).filter(|&row| rows.is_null(row)).map(|row| place(*group, row)));
        }
        let nulls = places.len();
        let mut words = vec![0; nulls];
        words.reserve(count - nulls);
        places.reserve(count - nulls);
        let valid = || {
            groups.iter().flat_map(|(group, rows)| {
                (0..rows.len()).filter(|&row| !rows.is_null(row)).map(move |row| (*group, rows, row))
            })
        };
        let is_exact = groups.iter().all(|(_, rows)| matches!(rows, Sortable::Words(..)));
        if is_exact {
            let word = |rows: &Sortable<'_>, row: usize| match rows {
                Sortable::Words(words, _) => words[row],
                Sortable::Rows(..) => 0,
            };
            let mut sorted: Vec<(u64, u32)> =
                valid().map(|(group, rows, row)| (word(rows, row), place(group, row))).collect();
            if !sorted.is_sorted() {
                sorted.sort_unstable();
            }
            words.extend(sorted.iter().map(|(word, _)| *word));
            places.extend(sorted.iter().map(|(_, place)| *place));
            return Self { words: words.into(), places: places.into(), nulls, shared: Box::default(), is_exact };
        }
        let mut shared: Option<&[u8]> = None;
        for (_, rows) in groups {
            let Sortable::Rows(encoded, _) = rows else { continue };
            for row in (0..rows.len()).filter(|&row| !rows.is_null(row)) {
                let key = encoded.row(row).data();
                shared = Some(match shared {
                    None => key,
                    Some(known) => {
                        let same = known.iter().zip(key).take_while(|(one, other)| one == other).count();
                        &known[..same]
                    }
                });
            }
        }
        let shared: Box<[u8]> = shared.map(|shared| shared[..shared.len().min(SHARED_MAX)].into()).unwrap_or_default();
        let mut sorted: Vec<(u64, &[u8], u32)> = Vec::with_capacity(count - nulls);
        for (group, rows) in groups {
            let Sortable::Rows(encoded, _) = rows else { continue };
            for row in (0..rows.len()).filter(|&row| !rows.is_null(row)) {
                let key = encoded.row(row).data();
                sorted.push((word_after(key, shared.len()), key, place(*group, row)));
            }
        }
        if !sorted.is_sorted() {
            sorted.sort_unstable();
        }
        words.extend(sorted.iter().map(|(word, _, _)| *word));
        places.extend(sorted.iter().map(|(_, _, place)| *place));
        Self { words: words.into(), places: places.into(), nulls, shared, is_exact }
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// Where rows with this word, or a greater one, begin; only for runs whose words are keys.
    pub(crate) fn lower_bound(&self, word: u64) -> usize {
        lower_bound(self.nulls..self.words.len(), |row| self.words[row], word)
    }

    /// Where rows that do not come before a key begin. `key` is the encoding of the key or of its first columns;
    /// `compare` compares the row at a place with it, and is asked only where words do not tell.
    pub(crate) fn bound(&self, key: &[u8], after_equal: bool, compare: impl Fn(u32) -> Ordering) -> usize {
        let known = key.len().min(self.shared.len());
        let (first, end) = (self.nulls, self.words.len());
        let hint = match key[..known].cmp(&self.shared[..known]) {
            Ordering::Less => return first,
            Ordering::Greater => return end,
            Ordering::Equal => (key.len() > self.shared.len())
                .then(|| (word_after(key, self.shared.len()), key.len() >= self.shared.len() + 8)),
        };
        let order = |row: usize| match hint {
            Some((word, _)) if self.words[row] < word => Ordering::Less,
            Some((word, true)) if self.words[row] > word => Ordering::Greater,
            _ => compare(self.places[row]),
        };
        partition_point(first..end, |row| match order(row) {
            Ordering::Less => true,
            Ordering::Equal => after_equal,
            Ordering::Greater => false,
        })
    }
}

/// A longer beginning is not worth keeping.
const SHARED_MAX: usize = 256;

/// The eight bytes from a place on as a word, with zeros where there are none.
fn word_after(key: &[u8], from: usize) -> u64 {
    let mut word = [0; 8];
    let rest = key.get(from..).unwrap_or_default();
    let length = rest.len().min(8);
    word[..length].copy_from_slice(&rest[..length]);
    u64::from_be_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Float64Array, Int32Array};
    use proptest::prelude::*;

    #[test]
    fn words_order_as_values_do_and_are_arrows_encoding() {
        let floats =
            Float64Array::from(vec![f64::NEG_INFINITY, -1.5, -0.0, 0.0, 2.0, f64::INFINITY, f64::NAN, -f64::NAN]);
        let words = Words::of(&floats).unwrap();
        let found: Vec<u64> = (0..floats.len()).map(|row| words.at(row)).collect();
        assert!(found.is_sorted());
        assert_eq!((found[2], found[6]), (found[3], found[7]));
        let numbers = Int32Array::from(vec![i32::MIN, -1, 0, 7, i32::MAX]);
        let converter = arrow::row::RowConverter::new(vec![arrow::row::SortField::new(DataType::Int32)]).unwrap();
        let rows = converter.convert_columns(&[std::sync::Arc::new(numbers.clone())]).unwrap();
        let words = Words::of(&numbers).unwrap();
        for row in 0..numbers.len() {
            assert_eq!(Words::from_bytes(rows.row(row).data()), words.at(row));
            assert_eq!(&*Words::to_bytes(words.at(row), 4), rows.row(row).data());
        }
    }

    proptest! {
        #[test]
        fn a_lower_bound_is_that_of_binary_search(mut words in proptest::collection::vec(0u64..400, 0..300), probe in 0u64..420, spread in 1u64..1_000_000_000_000) {
            words.sort_unstable();
            let words: Vec<u64> = words.into_iter().map(|word| word * spread).collect();
            for probe in [probe, probe * spread, u64::MAX, 0] {
                let expected = words.partition_point(|&word| word < probe);
                prop_assert_eq!(lower_bound(0..words.len(), |row| words[row], probe), expected);
            }
        }
    }
}
