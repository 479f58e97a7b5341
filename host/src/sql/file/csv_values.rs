//! Values of CSV fields in their usual notation, read straight from the bytes: digits, digits around a point, a date with
//! dashes. It gives up on a column as soon as one value is written otherwise, and leaves it to the general reader, which
//! knows every notation and all the errors.

use std::sync::Arc;

use arrow::array::{ArrayRef, ArrowPrimitiveType, PrimitiveArray};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::{DataType, Date32Type, Decimal128Type, Int16Type, Int32Type, Int64Type};

/// A column of so many fields, which `field` gives, with nothing for null; or nothing, if a value is unusual.
pub(super) fn read<'a>(kind: &DataType, rows: usize, field: impl Fn(usize) -> Option<&'a [u8]>) -> Option<ArrayRef> {
    match kind {
        DataType::Int16 => collect::<Int16Type>(kind, rows, field, |bytes| i16::try_from(integer(bytes)?).ok()),
        DataType::Int32 => collect::<Int32Type>(kind, rows, field, |bytes| i32::try_from(integer(bytes)?).ok()),
        DataType::Int64 => collect::<Int64Type>(kind, rows, field, integer),
        DataType::Date32 => collect::<Date32Type>(kind, rows, field, date),
        DataType::Decimal128(precision, scale) => {
            let (precision, scale) = (*precision, usize::try_from(*scale).ok()?);
            collect::<Decimal128Type>(kind, rows, field, |bytes| decimal(bytes, precision, scale))
        }
        _ => None,
    }
}

fn collect<'a, T: ArrowPrimitiveType>(
    kind: &DataType,
    rows: usize,
    field: impl Fn(usize) -> Option<&'a [u8]>,
    value: impl Fn(&[u8]) -> Option<T::Native>,
) -> Option<ArrayRef> {
    let mut values = Vec::with_capacity(rows);
    let mut nulls = Vec::new();
    for row in 0..rows {
        match field(row) {
            Some(bytes) => values.push(value(bytes)?),
            None => {
                nulls.push(row);
                values.push(T::default_value());
            }
        }
    }
    let mut null = nulls.iter().peekable();
    let valid = (!nulls.is_empty()).then(|| {
        NullBuffer::new(BooleanBuffer::collect_bool(rows, |row| null.next_if(|null| **null == row).is_none()))
    });
    Some(Arc::new(PrimitiveArray::<T>::new(values.into(), valid).with_data_type(kind.clone())))
}

/// At most 18 digits, which always fit.
fn integer(bytes: &[u8]) -> Option<i64> {
    let (digits, negative) = match bytes {
        [b'-', digits @ ..] => (digits, true),
        digits => (digits, false),
    };
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    let value = digits.iter().try_fold(0_i64, |value, byte| Some(value * 10 + i64::from(digit(*byte)?)))?;
    Some(if negative { -value } else { value })
}

/// Digits with at most `scale` of them behind a point.
fn decimal(bytes: &[u8], precision: u8, scale: usize) -> Option<i128> {
    let (digits, negative) = match bytes {
        [b'-', digits @ ..] => (digits, true),
        digits => (digits, false),
    };
    let (whole, part) = match digits.iter().position(|byte| *byte == b'.') {
        Some(point) => (&digits[..point], &digits[point + 1..]),
        None => (digits, &digits[..0]),
    };
    // What needs rounding, or may not fit, is not usual.
    if whole.is_empty() || part.len() > scale || whole.len() + scale > usize::from(precision).min(18) {
        return None;
    }
    let value = whole.iter().chain(part).try_fold(0_i64, |value, byte| Some(value * 10 + i64::from(digit(*byte)?)))?;
    let value = value * 10_i64.pow(u32::try_from(scale - part.len()).ok()?);
    Some(i128::from(if negative { -value } else { value }))
}

/// Days since 1970-01-01 of `yyyy-mm-dd`; by Howard Hinnant's days_from_civil.
fn date(bytes: &[u8]) -> Option<i32> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = bytes else { return None };
    let number =
        |digits: &[u8]| digits.iter().try_fold(0_i32, |value, byte| Some(value * 10 + i32::from(digit(*byte)?)));
    let (year, month, day) = (number(&[*y1, *y2, *y3, *y4])?, number(&[*m1, *m2])?, number(&[*d1, *d2])?);
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap => 29,
        2 => 28,
        1..=12 => 31,
        _ => return None,
    };
    if year == 0 || !(1..=days).contains(&day) {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

fn digit(byte: u8) -> Option<u8> {
    byte.is_ascii_digit().then(|| byte - b'0')
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Array, StringArray};
    use arrow::compute::{CastOptions, cast_with_options};
    use proptest::prelude::*;

    fn kinds() -> [DataType; 6] {
        let decimals = [DataType::Decimal128(15, 2), DataType::Decimal128(5, 4)];
        let [one, other] = decimals;
        [DataType::Int16, DataType::Int32, DataType::Int64, DataType::Date32, one, other]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_read_quickly_is_what_the_general_reader_reads(
            text in prop_oneof![
                "-?[0-9]{0,20}", "[+-]?[0-9]{0,6}\\.?[0-9]{0,5}", "[0-9]{4}-[01][0-9]-[0-3][0-9]", "[0-9. -]{0,10}",
            ],
        ) {
            for kind in kinds() {
                let quick = read(&kind, 2, |row| (row == 1).then_some(text.as_bytes()));
                let general = cast_with_options(
                    &StringArray::from(vec![None, Some(text.as_str())]), &kind, &CastOptions { safe: true, ..CastOptions::default() },
                ).expect("casts");
                if let Some(quick) = quick {
                    prop_assert_eq!(&quick, &general, "`{}` as {}", text, kind);
                }
            }
        }
    }

    #[test]
    fn the_usual_notation_is_read_quickly() {
        for (kind, text) in kinds().iter().zip(["-7", "70000", "123456789012345678", "1996-02-29", "-33203.72", "1.5"])
        {
            let read = read(kind, 1, |_| Some(text.as_bytes())).expect(text);
            assert!(read.is_valid(0));
        }
    }
}
