//! Facts about a column of a row group: least and greatest value, number of nulls, size, and a sketch of how many values
//! are different. All but the sketch are exact for the rows that were written, so a part from which rows were deleted
//! since has bounds that still hold but may not be attained. It refuses to guess how values are spread.

use std::hash::Hasher;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray, RecordBatch, StringViewArray, UInt32Array,
    downcast_primitive_array, make_comparator,
};
use arrow::compute::{SortOptions, concat, max, max_string_view, min, min_string_view, take};
use arrow::datatypes::{ArrowNativeType, DataType, ToByteSlice};
use arrow::ipc::writer::StreamWriter;

use super::codec::{Decoder, Encoder, Flaw, read_stream};
use super::encoding::Mix;
use super::part::from_arrow;
use crate::error::Result;

/// Longer texts are not worth keeping in every version of the database.
const BOUND_BYTES_MAX: usize = 256;

/// Registers of a sketch: the estimate is off by about 1.04 / √256, 6.5 percent.
const REGISTERS: usize = 256;

/// Flags of a column's facts on disk.
const HAS_BOUNDS: u8 = 1;
const HAS_SKETCH: u8 = 2;

/// Facts about one column in one part.
#[derive(Clone, Debug, Default)]
pub struct ColumnStatistics {
    /// The least value as an array of one row, in the column's type; floats in their total order, where NaN is greatest.
    pub min: Option<ArrayRef>,
    /// The greatest value, likewise.
    pub max: Option<ArrayRef>,
    /// Number of nulls among the rows as written.
    pub nulls: u64,
    /// Bytes of the values: the characters of texts, the width of numbers; 0 for kinds of which nobody asks.
    pub bytes: u64,
    /// How many values are different, about; for kinds of values that can be hashed.
    pub distinct: Option<Sketch>,
}

/// A count of different values that can be joined with others: HyperLogLog, by Flajolet, Fusy, Gandouet and Meunier, 2007,
/// with linear counting where it is small.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sketch(Box<[u8; REGISTERS]>);

impl Sketch {
    fn new() -> Self {
        Self(Box::new([0; REGISTERS]))
    }

    fn add(&mut self, hash: u64) {
        let register = &mut self.0[(hash >> 56) as usize];
        // The bit at the end bounds the run of zeros.
        *register = (*register).max((hash << 8 | 0x80).leading_zeros() as u8 + 1);
    }

    /// From now on it counts the values of both.
    pub fn merge(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0.iter()).for_each(|(one, other)| *one = (*one).max(*other));
    }

    /// About how many different values there are.
    pub fn estimate(&self) -> f64 {
        let count = REGISTERS as f64;
        let sum: f64 = self.0.iter().map(|&register| 2_f64.powi(-i32::from(register))).sum();
        let raw = 0.7213 / (1.0 + 1.079 / count) * count * count / sum;
        let empty = self.0.iter().filter(|&&register| register == 0).count();
        if raw <= 2.5 * count && empty > 0 { count * (count / empty as f64).ln() } else { raw }
    }

    fn of(column: &ArrayRef) -> Option<Self> {
        let mut sketch = Self::new();
        let mut add = |write: &dyn Fn(&mut Mix)| {
            let mut hasher = Mix::default();
            write(&mut hasher);
            sketch.add(hasher.finish());
        };
        let column = column.as_ref();
        downcast_primitive_array!(
            column => add_numbers(column, &mut sketch),
            DataType::Utf8View => {
                let texts = column.as_string_view();
                texts.iter().flatten().for_each(|text| add(&|hasher| hasher.write(text.as_bytes())));
            },
            DataType::BinaryView => {
                let values = column.as_binary_view();
                values.iter().flatten().for_each(|bytes| add(&|hasher| hasher.write(bytes)));
            },
            _ => return None,
        );
        Some(sketch)
    }
}

fn add_numbers<T: ArrowPrimitiveType>(column: &PrimitiveArray<T>, sketch: &mut Sketch) {
    // Floats and other kinds have no whole number to hash; their bytes do as well.
    let hash = |value: T::Native| {
        let mut hasher = Mix::default();
        match value.to_i64() {
            Some(number) if T::DATA_TYPE.is_integer() || T::DATA_TYPE.is_temporal() => hasher.write_u64(number as u64),
            _ => hasher.write(value.to_byte_slice()),
        }
        hasher.finish()
    };
    match column.null_count() {
        0 => column.values().iter().for_each(|&value| sketch.add(hash(value))),
        _ => column.iter().flatten().for_each(|value| sketch.add(hash(value))),
    }
}

impl ColumnStatistics {
    /// Looks at every value.
    pub(crate) fn of(column: &ArrayRef) -> Self {
        let (min, max) = bounds(column).unzip();
        let bytes = match column.data_type() {
            // What lies below a null is anybody's guess.
            DataType::Utf8View => column.as_string_view().iter().flatten().map(|text| text.len() as u64).sum(),
            DataType::BinaryView => column.as_binary_view().iter().flatten().map(|bytes| bytes.len() as u64).sum(),
            // How much memory lists and the like take depends on how they came about, which is no fact about them.
            kind => (kind.primitive_width().unwrap_or_default() * column.len()) as u64,
        };
        Self { min, max, nulls: column.logical_null_count() as u64, bytes, distinct: Sketch::of(column) }
    }

    /// Whether both say the same.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let same = |one: &Option<ArrayRef>, other: &Option<ArrayRef>| match (one, other) {
            (Some(one), Some(other)) => one.to_data() == other.to_data(),
            (None, None) => true,
            _ => false,
        };
        self.nulls == other.nulls
            && self.bytes == other.bytes
            && self.distinct == other.distinct
            && same(&self.min, &other.min)
            && same(&self.max, &other.max)
    }
}

/// Facts of all columns: for each its nulls, bytes, what follows, and the registers of its sketch; then one stream of
/// Arrow rows with the least value of every column that has bounds in the first row and the greatest in the second.
pub(crate) fn encode(statistics: &[ColumnStatistics]) -> Result<Vec<u8>> {
    let mut out = Encoder::default();
    let mut bounds: Vec<(String, ArrayRef)> = Vec::new();
    out.count(statistics.len());
    for (column, facts) in statistics.iter().enumerate() {
        out.u64(facts.nulls);
        out.u64(facts.bytes);
        let has_bounds = facts.min.is_some() && facts.max.is_some();
        out.u8(if has_bounds { HAS_BOUNDS } else { 0 } | if facts.distinct.is_some() { HAS_SKETCH } else { 0 });
        if let Some(sketch) = &facts.distinct {
            out.raw(&sketch.0[..]);
        }
        if let (Some(min), Some(max)) = (&facts.min, &facts.max) {
            bounds.push((column.to_string(), concat(&[min, max]).map_err(from_arrow)?));
        }
    }
    if !bounds.is_empty() {
        let batch = RecordBatch::try_from_iter(bounds).map_err(from_arrow)?;
        let mut bytes = Vec::new();
        let mut writer = StreamWriter::try_new(&mut bytes, &batch.schema()).map_err(from_arrow)?;
        writer.write(&batch).and_then(|()| writer.finish()).map_err(from_arrow)?;
        drop(writer);
        out.raw(&bytes);
    }
    Ok(out.finish())
}

/// The other way round.
pub(crate) fn decode(bytes: &[u8]) -> Result<Vec<ColumnStatistics>, Flaw> {
    let mut from = Decoder::new(bytes);
    let columns = (0..from.count(17)?).map(|_| {
        let (nulls, bytes, flags) = (from.u64()?, from.u64()?, from.u8()?);
        let sketch = (flags & HAS_SKETCH != 0).then(|| from.array::<REGISTERS>());
        let distinct = sketch.transpose()?.map(|registers| Sketch(Box::new(registers)));
        Ok((ColumnStatistics { min: None, max: None, nulls, bytes, distinct }, flags & HAS_BOUNDS != 0))
    });
    let columns = columns.collect::<Result<Vec<_>, Flaw>>()?;
    let rest = from.raw(from.left())?;
    let bounds = match rest.is_empty() {
        true => None,
        false => read_stream(rest)?,
    };
    let mut next = 0;
    let columns = columns.into_iter().map(|(mut facts, has_bounds)| {
        if has_bounds {
            let column = bounds.as_ref().and_then(|bounds| bounds.columns().get(next));
            let column = column.filter(|column| column.len() == 2).ok_or("bounds are missing")?;
            (facts.min, facts.max) = (Some(column.slice(0, 1)), Some(column.slice(1, 1)));
            next += 1;
        }
        Ok(facts)
    });
    columns.collect()
}

fn bounds(column: &ArrayRef) -> Option<(ArrayRef, ArrayRef)> {
    use DataType as D;
    if column.logical_null_count() == column.len() {
        return None;
    }
    let column = column.as_ref();
    downcast_primitive_array!(
        column => match column.data_type() {
            D::Interval(_) => None,
            _ => Some((single(column, min(column)?), single(column, max(column)?))),
        },
        D::Utf8View => {
            let texts = column.as_string_view();
            let bound = |text: &str| -> Option<ArrayRef> {
                (text.len() <= BOUND_BYTES_MAX).then(|| Arc::new(StringViewArray::from(vec![text])) as ArrayRef)
            };
            Some((bound(min_string_view(texts)?)?, bound(max_string_view(texts)?)?))
        },
        D::Boolean | D::Utf8 | D::LargeUtf8 | D::Binary | D::LargeBinary | D::BinaryView | D::FixedSizeBinary(_) => {
            by_comparison(column)
        },
        _ => None,
    )
}

fn single<T: ArrowPrimitiveType>(like: &PrimitiveArray<T>, value: T::Native) -> ArrayRef {
    Arc::new(PrimitiveArray::<T>::from_value(value, 1).with_data_type(like.data_type().clone()))
}

fn by_comparison(column: &dyn Array) -> Option<(ArrayRef, ArrayRef)> {
    let compare = make_comparator(column, column, SortOptions::default()).ok()?;
    let mut valid = (0..column.len()).filter(|&row| column.is_valid(row));
    let first = valid.next()?;
    let (least, greatest) = valid.fold((first, first), |(least, greatest), row| {
        (
            if compare(row, least).is_lt() { row } else { least },
            if compare(row, greatest).is_gt() { row } else { greatest },
        )
    });
    let bound = |row: usize| {
        let value = take(column, &UInt32Array::from(vec![u32::try_from(row).ok()?]), None).ok()?;
        (value.to_data().get_slice_memory_size().ok()? <= BOUND_BYTES_MAX).then_some(value)
    };
    Some((bound(least)?, bound(greatest)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{BinaryArray, BooleanArray, Decimal128Array, Float64Array, Int32Array, Int64Array};

    #[test]
    fn bounds_are_the_least_and_greatest_value_of_each_kind() {
        let columns: Vec<(ArrayRef, ArrayRef, ArrayRef)> = vec![
            (
                Arc::new(Int32Array::from(vec![Some(3), None, Some(-7)])),
                Arc::new(Int32Array::from(vec![-7])),
                Arc::new(Int32Array::from(vec![3])),
            ),
            (
                Arc::new(StringViewArray::from(vec![Some("pear"), None, Some("a longer fruit name")])),
                Arc::new(StringViewArray::from(vec!["a longer fruit name"])),
                Arc::new(StringViewArray::from(vec!["pear"])),
            ),
            (
                Arc::new(BinaryArray::from_opt_vec(vec![Some(b"b"), None, Some(b"a")])),
                Arc::new(BinaryArray::from_vec(vec![b"a"])),
                Arc::new(BinaryArray::from_vec(vec![b"b"])),
            ),
            (
                Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)])),
                Arc::new(BooleanArray::from(vec![false])),
                Arc::new(BooleanArray::from(vec![true])),
            ),
            (
                Arc::new(
                    Decimal128Array::from(vec![Some(5), None, Some(4)]).with_data_type(DataType::Decimal128(9, 2)),
                ),
                Arc::new(Decimal128Array::from(vec![4]).with_data_type(DataType::Decimal128(9, 2))),
                Arc::new(Decimal128Array::from(vec![5]).with_data_type(DataType::Decimal128(9, 2))),
            ),
        ];
        for (column, least, greatest) in columns {
            let facts = ColumnStatistics::of(&column);
            assert_eq!(
                (facts.min, facts.max, facts.nulls),
                (Some(least), Some(greatest), 1),
                "{:?}",
                column.data_type()
            );
        }
    }

    #[test]
    fn nothing_is_claimed_where_nothing_is_known() {
        let nulls: ArrayRef = Arc::new(Float64Array::from(vec![None, None]));
        let facts = ColumnStatistics::of(&nulls);
        assert!(facts.min.is_none() && facts.max.is_none() && facts.nulls == 2);
        let long: ArrayRef = Arc::new(StringViewArray::from(vec!["x".repeat(300)]));
        assert!(ColumnStatistics::of(&long).min.is_none());
    }

    #[test]
    fn different_values_are_counted_about_right_and_together() {
        for count in [1, 10, 100, 1000, 50_000] {
            let numbers = |range: std::ops::Range<i64>| {
                let column: ArrayRef = Arc::new(Int64Array::from_iter_values(range.flat_map(|number| [number; 3])));
                ColumnStatistics::of(&column).distinct.expect("a sketch")
            };
            let mut both = numbers(0..count);
            both.merge(&numbers(count / 2..count * 2));
            let texts: ArrayRef =
                Arc::new(StringViewArray::from_iter_values((0..2 * count).map(|n| format!("no {n}"))));
            for estimate in [both.estimate(), ColumnStatistics::of(&texts).distinct.expect("a sketch").estimate()] {
                let error = estimate / (2 * count) as f64 - 1.0;
                assert!(error.abs() < 0.25, "{estimate} for {}", 2 * count);
            }
        }
    }

    #[test]
    fn facts_come_back_from_their_bytes() {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int32Array::from(vec![Some(3), None])),
            Arc::new(BooleanArray::from(vec![true, false])),
            Arc::new(StringViewArray::from(vec!["x".repeat(300), "y".to_owned()])),
            Arc::new(Float64Array::from(vec![f64::NAN, -0.0])),
        ];
        let facts: Vec<_> = columns.iter().map(ColumnStatistics::of).collect();
        let bytes = encode(&facts).expect("encoded");
        let back = decode(&bytes).expect("decoded");
        assert_eq!(back.len(), facts.len());
        assert!(facts.iter().zip(&back).all(|(one, other)| one.is_same(other)));
        for cut in 0..bytes.len() {
            assert!(decode(&bytes[..cut]).is_err() || cut > 0, "{cut}");
        }
    }
}
