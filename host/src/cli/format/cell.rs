//! The text of one value in table, csv, tsv and markdown. It refuses to quote or to align: the formats do.
//!
//! Arrow's formatters do the work; replaced are only those whose text differs from what PostgreSQL and DuckDB write:
//! timestamps (`2026-01-09 12:00:00.5`, with zone `+00`), times, intervals, durations and UUIDs; and, for speed, dates
//! and decimals.

use std::cell::RefCell;
use std::fmt::Write;

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeBinaryArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType,
    DurationSecondType, Field, IntervalDayTimeType, IntervalMonthDayNanoType, IntervalUnit, IntervalYearMonthType,
    TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, ArrayFormatterFactory, DisplayIndex, FormatOptions, FormatResult};

use super::digits::Digits;
use super::interval::{write_duration, write_interval};
use super::rendering;
use crate::error::Result;

/// NULL inside a list, a struct or a map. At the top every format has its own.
const NESTED_NULL: &str = "NULL";

const DEFAULTS: FormatOptions<'static> =
    FormatOptions::new().with_display_error(true).with_null(NESTED_NULL).with_datetime_format(Some("%Y-%m-%d"));

const OPTIONS: FormatOptions<'static> = DEFAULTS.with_formatter_factory(Some(&Texts));

/// The texts of one column.
pub(super) struct Column<'a> {
    formatter: ArrayFormatter<'a>,
    nulls: Option<NullBuffer>,
}

impl<'a> Column<'a> {
    /// Prepares the texts of `array`.
    pub(super) fn new(array: &'a ArrayRef, field: &'a Field) -> Result<Self> {
        let formatter = match Texts.create_array_formatter(array.as_ref(), &OPTIONS, Some(field)) {
            Ok(Some(formatter)) => Ok(formatter),
            Ok(None) => ArrayFormatter::try_new(array.as_ref(), &OPTIONS),
            Err(error) => Err(error),
        };
        // Logical nulls, because dictionaries and columns of type NULL have no others.
        Ok(Self { formatter: formatter.map_err(rendering)?, nulls: array.logical_nulls() })
    }

    /// Whether the value is NULL.
    pub(super) fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    /// Writes the text of a value that is not NULL.
    pub(super) fn write(&self, row: usize, out: &mut dyn Write) -> Result<()> {
        self.formatter.value(row).write(out).map_err(rendering)
    }
}

/// Whether values of the type are numbers, to be aligned right.
pub(super) fn is_number(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => is_number(values),
        other => other.is_numeric(),
    }
}

/// Whether the column holds UUIDs, which Arrow stores as 16 bytes with a mark on the field.
pub(super) fn is_uuid(field: Option<&Field>, array: &dyn Array) -> bool {
    matches!(array.data_type(), DataType::FixedSizeBinary(16))
        && field.and_then(|field| field.extension_type_name()) == Some("arrow.uuid")
}

#[derive(Debug)]
struct Texts;

impl ArrayFormatterFactory for Texts {
    fn create_array_formatter<'f>(
        &self,
        array: &'f dyn Array,
        options: &FormatOptions<'f>,
        field: Option<&'f Field>,
    ) -> std::result::Result<Option<ArrayFormatter<'f>>, ArrowError> {
        Ok(text_of(array, field)?.map(|format| ArrayFormatter::new(format, options.safe())))
    }
}

/// Our own text for values of this column, or none where Arrow's will do.
pub(super) fn text_of<'f>(
    array: &'f dyn Array,
    field: Option<&'f Field>,
) -> std::result::Result<Option<Box<dyn DisplayIndex + 'f>>, ArrowError> {
    let arrows = || ArrayFormatter::try_new(array, &DEFAULTS);
    let clock = || arrows().map(|inner| Clock { array, inner, scratch: RefCell::default() });
    Ok(match array.data_type() {
        DataType::Date32 => {
            let days = array.as_primitive::<Date32Type>();
            Some(Box::new(Fast { array, text: |row| Digits::date(days.value(row).into()), end: "", rare: arrows()? }))
        }
        DataType::Decimal128(_, scale) => {
            let (values, scale) = (array.as_primitive::<Decimal128Type>(), *scale);
            Some(Box::new(Fast {
                array,
                text: move |row| Digits::decimal(values.value(row), scale),
                end: "",
                rare: arrows()?,
            }))
        }
        DataType::Timestamp(unit, zone) if zone.as_deref().is_none_or(is_utc) => {
            let (values, per_second) = (counts(array, *unit), per_second(*unit));
            let text = move |row: usize| Digits::timestamp(values[row], per_second);
            let end = if zone.is_some() { "+00" } else { "" };
            Some(Box::new(Fast { array, text, end, rare: ArrayFormatter::new(Box::new(clock()?), true) }))
        }
        DataType::Timestamp(..) | DataType::Time32(_) | DataType::Time64(_) => Some(Box::new(clock()?)),
        DataType::Interval(_) | DataType::Duration(_) => Some(Box::new(Span(array))),
        DataType::FixedSizeBinary(_) if is_uuid(field, array) => Some(Box::new(Uuids(array.as_fixed_size_binary()))),
        _ => None,
    })
}

/// Text made digit by digit, and Arrow's where that refuses.
struct Fast<'a, F> {
    array: &'a dyn Array,
    text: F,
    end: &'static str,
    rare: ArrayFormatter<'a>,
}

impl<F: Fn(usize) -> Option<Digits>> DisplayIndex for Fast<'_, F> {
    fn write(&self, row: usize, f: &mut dyn Write) -> FormatResult {
        if self.array.is_null(row) {
            return Ok(f.write_str(NESTED_NULL)?);
        }
        match (self.text)(row) {
            Some(text) => {
                f.write_str(text.as_str())?;
                Ok(f.write_str(self.end)?)
            }
            None => Ok(self.rare.value(row).write(f)?),
        }
    }
}

fn is_utc(zone: &str) -> bool {
    matches!(zone, "UTC" | "Z" | "+00:00" | "+00" | "Etc/UTC")
}

fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

fn counts(array: &dyn Array, unit: TimeUnit) -> &[i64] {
    match unit {
        TimeUnit::Second => array.as_primitive::<TimestampSecondType>().values(),
        TimeUnit::Millisecond => array.as_primitive::<TimestampMillisecondType>().values(),
        TimeUnit::Microsecond => array.as_primitive::<TimestampMicrosecondType>().values(),
        TimeUnit::Nanosecond => array.as_primitive::<TimestampNanosecondType>().values(),
    }
}

/// Arrow's RFC 3339 text with a space for the `T`, no zeros at the end of the fraction and the offset as short as it goes.
struct Clock<'a> {
    array: &'a dyn Array,
    inner: ArrayFormatter<'a>,
    scratch: RefCell<String>,
}

impl DisplayIndex for Clock<'_> {
    fn write(&self, row: usize, f: &mut dyn Write) -> FormatResult {
        if self.array.is_null(row) {
            return Ok(f.write_str(NESTED_NULL)?);
        }
        let mut text = self.scratch.borrow_mut();
        text.clear();
        self.inner.value(row).write(&mut *text)?;
        let (local, offset) = split_offset(&text, self.array.data_type());
        let (whole, fraction) = local.split_once('.').unwrap_or((local, ""));
        match whole.split_once('T') {
            Some((date, time)) => [date, " ", time].into_iter().try_for_each(|part| f.write_str(part))?,
            None => f.write_str(whole)?,
        }
        let fraction = fraction.trim_end_matches('0');
        if !fraction.is_empty() {
            f.write_char('.')?;
            f.write_str(fraction)?;
        }
        Ok(f.write_str(offset.strip_suffix(":00").unwrap_or(offset))?)
    }
}

fn split_offset<'t>(text: &'t str, data_type: &DataType) -> (&'t str, &'t str) {
    if !matches!(data_type, DataType::Timestamp(_, Some(_))) {
        return (text, "");
    }
    match text.strip_suffix('Z') {
        Some(local) => (local, "+00"),
        None => text.split_at(text.rfind(['+', '-']).unwrap_or(text.len())),
    }
}

/// Intervals and durations of every unit.
struct Span<'a>(&'a dyn Array);

impl DisplayIndex for Span<'_> {
    fn write(&self, row: usize, f: &mut dyn Write) -> FormatResult {
        let array = self.0;
        if array.is_null(row) {
            return Ok(f.write_str(NESTED_NULL)?);
        }
        let _: () = match array.data_type() {
            DataType::Interval(IntervalUnit::YearMonth) => {
                write_interval(f, array.as_primitive::<IntervalYearMonthType>().value(row), 0, 0)?
            }
            DataType::Interval(IntervalUnit::DayTime) => {
                let value = array.as_primitive::<IntervalDayTimeType>().value(row);
                write_interval(f, 0, value.days, i128::from(value.milliseconds) * 1_000_000)?
            }
            DataType::Interval(IntervalUnit::MonthDayNano) => {
                let value = array.as_primitive::<IntervalMonthDayNanoType>().value(row);
                write_interval(f, value.months, value.days, i128::from(value.nanoseconds))?
            }
            DataType::Duration(unit) => {
                let value = match unit {
                    TimeUnit::Second => array.as_primitive::<DurationSecondType>().value(row),
                    TimeUnit::Millisecond => array.as_primitive::<DurationMillisecondType>().value(row),
                    TimeUnit::Microsecond => array.as_primitive::<DurationMicrosecondType>().value(row),
                    TimeUnit::Nanosecond => array.as_primitive::<DurationNanosecondType>().value(row),
                };
                let nanos = per_second(TimeUnit::Nanosecond) / per_second(*unit);
                write_duration(f, i128::from(value) * i128::from(nanos))?
            }
            other => return Err(ArrowError::CastError(format!("{other} is not a span of time")).into()),
        };
        Ok(())
    }
}

struct Uuids<'a>(&'a FixedSizeBinaryArray);

impl DisplayIndex for Uuids<'_> {
    fn write(&self, row: usize, f: &mut dyn Write) -> FormatResult {
        if self.0.is_null(row) {
            return Ok(f.write_str(NESTED_NULL)?);
        }
        let uuid =
            uuid::Uuid::from_slice(self.0.value(row)).map_err(|error| ArrowError::CastError(error.to_string()))?;
        Ok(write!(f, "{}", uuid.hyphenated())?)
    }
}
