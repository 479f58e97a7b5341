//! Facts about a column of a row group: least and greatest value and number of nulls. They are exact for the rows that
//! were written, so a part from which rows were deleted since has bounds that still hold but may not be attained. It
//! refuses to estimate.

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray, StringViewArray, UInt32Array, downcast_primitive_array};
use arrow::compute::{max, max_string_view, min, min_string_view, take};
use arrow::datatypes::DataType;
use std::sync::Arc;

use arrow::array::make_comparator;
use arrow::compute::SortOptions;

/// Longer texts are not worth keeping in every version of the database.
const BOUND_BYTES_MAX: usize = 256;

/// Least and greatest value, and nulls, of one column in one part.
#[derive(Clone, Debug)]
pub struct ColumnStatistics {
    /// The least value as an array of one row, in the column's type; floats in their total order, where NaN is greatest.
    pub min: Option<ArrayRef>,
    /// The greatest value, likewise.
    pub max: Option<ArrayRef>,
    /// Number of nulls among the rows as written.
    pub nulls: u64,
}

impl ColumnStatistics {
    /// Looks at every value once.
    pub(crate) fn of(column: &ArrayRef) -> Self {
        let (min, max) = bounds(column).unzip();
        Self { min, max, nulls: column.logical_null_count() as u64 }
    }
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

fn single<T: arrow::datatypes::ArrowPrimitiveType>(like: &PrimitiveArray<T>, value: T::Native) -> ArrayRef {
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
    use arrow::array::{BinaryArray, BooleanArray, Decimal128Array, Float64Array, Int32Array};

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
}
