//! The SQL types that a column can have, their names, and the Arrow types that carry them. It names no parser: the
//! front end maps what users write to these; the catalog writes and reads their canonical names only.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, IntervalUnit, TimeUnit};
use serde::{Deserialize, Serialize};

use crate::error::{Error, codes};

/// A type of a column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum SqlType {
    /// True, false.
    Boolean,
    /// 8 bits.
    TinyInt,
    /// 16 bits.
    SmallInt,
    /// 32 bits.
    Integer,
    /// 64 bits.
    BigInt,
    /// 8 bits, no sign.
    UTinyInt,
    /// 16 bits, no sign.
    USmallInt,
    /// 32 bits, no sign.
    UInteger,
    /// 64 bits, no sign.
    UBigInt,
    /// Digits in all, digits after the point.
    Decimal(u8, i8),
    /// 32-bit floating point.
    Real,
    /// 64-bit floating point.
    Double,
    /// UTF-8.
    Text,
    /// Text that is JSON.
    Json,
    /// Text that is a UUID in its canonical form.
    Uuid,
    /// Bytes.
    Binary,
    /// Days.
    Date,
    /// Microseconds of a day.
    Time,
    /// Microseconds, without zone.
    Timestamp,
    /// Microseconds since 1970 in UTC.
    TimestampTz,
    /// Months, days and nanoseconds.
    Interval,
    /// Values of one type.
    List(Box<SqlType>),
    /// Named values.
    Struct(Vec<(String, SqlType)>),
    /// Keys of one type and their values of another.
    Map(Box<SqlType>, Box<SqlType>),
}

const NAMES: &[(&str, SqlType)] = &[
    ("BOOLEAN", SqlType::Boolean),
    ("TINYINT", SqlType::TinyInt),
    ("SMALLINT", SqlType::SmallInt),
    ("INTEGER", SqlType::Integer),
    ("BIGINT", SqlType::BigInt),
    ("UTINYINT", SqlType::UTinyInt),
    ("USMALLINT", SqlType::USmallInt),
    ("UINTEGER", SqlType::UInteger),
    ("UBIGINT", SqlType::UBigInt),
    ("REAL", SqlType::Real),
    ("DOUBLE", SqlType::Double),
    ("TEXT", SqlType::Text),
    ("JSON", SqlType::Json),
    ("UUID", SqlType::Uuid),
    ("BINARY", SqlType::Binary),
    ("DATE", SqlType::Date),
    ("TIME", SqlType::Time),
    ("TIMESTAMP", SqlType::Timestamp),
    ("TIMESTAMPTZ", SqlType::TimestampTz),
    ("INTERVAL", SqlType::Interval),
];

/// The zone of every `TIMESTAMPTZ`: the type carries moments, and a zone is a matter of display.
pub const ZONE: &str = "UTC";

impl SqlType {
    /// The Arrow type that carries it.
    pub fn arrow(&self) -> DataType {
        match self {
            Self::Boolean => DataType::Boolean,
            Self::TinyInt => DataType::Int8,
            Self::SmallInt => DataType::Int16,
            Self::Integer => DataType::Int32,
            Self::BigInt => DataType::Int64,
            Self::UTinyInt => DataType::UInt8,
            Self::USmallInt => DataType::UInt16,
            Self::UInteger => DataType::UInt32,
            Self::UBigInt => DataType::UInt64,
            Self::Decimal(precision, scale) => DataType::Decimal128(*precision, *scale),
            Self::Real => DataType::Float32,
            Self::Double => DataType::Float64,
            Self::Text | Self::Json | Self::Uuid => DataType::Utf8View,
            Self::Binary => DataType::BinaryView,
            Self::Date => DataType::Date32,
            Self::Time => DataType::Time64(TimeUnit::Microsecond),
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::TimestampTz => DataType::Timestamp(TimeUnit::Microsecond, Some(ZONE.into())),
            Self::Interval => DataType::Interval(IntervalUnit::MonthDayNano),
            Self::List(item) => DataType::List(Arc::new(Field::new("item", item.arrow(), true))),
            Self::Map(key, value) => {
                let fields = vec![Field::new("key", key.arrow(), false), Field::new("value", value.arrow(), true)];
                let entries = Field::new("entries", DataType::Struct(fields.into()), false);
                DataType::Map(Arc::new(entries), false)
            }
            Self::Struct(fields) => DataType::Struct(
                fields.iter().map(|(name, kind)| Field::new(name, kind.arrow(), true)).collect::<Fields>(),
            ),
        }
    }

    /// Whether a value of another type may be stored in a column of this one without the user asking for a cast.
    pub fn takes(&self, other: &Self) -> bool {
        if self == other || *other == Self::Text || *self == Self::Text {
            return true;
        }
        match (self, other) {
            (Self::List(to), Self::List(from)) => to.takes(from),
            (Self::Map(key, value), Self::Map(from_key, from_value)) => key.takes(from_key) && value.takes(from_value),
            (Self::Struct(to), Self::Struct(from)) => {
                to.len() == from.len() && to.iter().zip(from).all(|((_, to), (_, from))| to.takes(from))
            }
            (to, from) if to.is_number() && from.is_number() => true,
            (Self::Date | Self::Timestamp | Self::TimestampTz, Self::Date | Self::Timestamp | Self::TimestampTz) => {
                true
            }
            (Self::Time, Self::Timestamp | Self::TimestampTz) => true,
            _ => false,
        }
    }

    fn is_number(&self) -> bool {
        matches!(
            self,
            Self::TinyInt
                | Self::SmallInt
                | Self::Integer
                | Self::BigInt
                | Self::UTinyInt
                | Self::USmallInt
                | Self::UInteger
                | Self::UBigInt
                | Self::Decimal(..)
                | Self::Real
                | Self::Double
        )
    }

    /// The type that holds every value of an Arrow type, if there is one.
    pub fn of(arrow: &DataType) -> Option<Self> {
        Some(match arrow {
            DataType::Boolean => Self::Boolean,
            DataType::Int8 => Self::TinyInt,
            DataType::Int16 => Self::SmallInt,
            // A column of nothing but NULL has no better type; DuckDB takes INTEGER as well.
            DataType::Int32 | DataType::Null => Self::Integer,
            DataType::Int64 => Self::BigInt,
            DataType::UInt8 => Self::UTinyInt,
            DataType::UInt16 => Self::USmallInt,
            DataType::UInt32 => Self::UInteger,
            DataType::UInt64 => Self::UBigInt,
            DataType::Decimal32(precision, scale)
            | DataType::Decimal64(precision, scale)
            | DataType::Decimal128(precision, scale) => Self::Decimal(*precision, *scale),
            DataType::Float16 | DataType::Float32 => Self::Real,
            DataType::Float64 => Self::Double,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Self::Text,
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
                Self::Binary
            }
            DataType::Date32 | DataType::Date64 => Self::Date,
            DataType::Time32(_) | DataType::Time64(_) => Self::Time,
            DataType::Timestamp(_, None) => Self::Timestamp,
            DataType::Timestamp(_, Some(_)) => Self::TimestampTz,
            DataType::Interval(_) => Self::Interval,
            DataType::List(item)
            | DataType::LargeList(item)
            | DataType::ListView(item)
            | DataType::FixedSizeList(item, _) => Self::List(Box::new(Self::of(item.data_type())?)),
            DataType::Struct(fields) => {
                let fields = fields.iter().map(|field| Some((field.name().clone(), Self::of(field.data_type())?)));
                Self::Struct(fields.collect::<Option<_>>()?)
            }
            DataType::Map(entries, _) => match entries.data_type() {
                DataType::Struct(fields) if fields.len() == 2 => {
                    let (key, value) = (Self::of(fields[0].data_type())?, Self::of(fields[1].data_type())?);
                    Self::Map(Box::new(key), Box::new(value))
                }
                _ => return None,
            },
            DataType::Dictionary(_, value) => Self::of(value)?,
            DataType::RunEndEncoded(_, value) => Self::of(value.data_type())?,
            _ => return None,
        })
    }
}

impl fmt::Display for SqlType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decimal(precision, scale) => write!(f, "DECIMAL({precision},{scale})"),
            Self::List(item) => write!(f, "{item}[]"),
            Self::Map(key, value) => write!(f, "MAP({key}, {value})"),
            Self::Struct(fields) => {
                f.write_str("STRUCT(")?;
                for (i, (name, kind)) in fields.iter().enumerate() {
                    let comma = if i == 0 { "" } else { ", " };
                    write!(f, "{comma}\"{}\" {kind}", name.replace('"', "\"\""))?;
                }
                f.write_str(")")
            }
            plain => {
                let name = NAMES.iter().find(|(_, kind)| kind == plain).map_or("UNKNOWN", |(name, _)| name);
                f.write_str(name)
            }
        }
    }
}

impl From<SqlType> for String {
    fn from(kind: SqlType) -> Self {
        kind.to_string()
    }
}

impl TryFrom<String> for SqlType {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl FromStr for SqlType {
    type Err = Error;

    /// Reads a canonical name, as [`fmt::Display`] writes it.
    fn from_str(text: &str) -> Result<Self, Error> {
        let unknown = || Error::new(codes::CORRUPT, format!("the catalog names an unknown type `{text}`"));
        let (kind, rest) = read(text).ok_or_else(unknown)?;
        if rest.is_empty() { Ok(kind) } else { Err(unknown()) }
    }
}

/// A type at the beginning of `text`, and what follows it.
fn read(text: &str) -> Option<(SqlType, &str)> {
    let end = text.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (name, mut rest) = text.split_at(end);
    let mut kind = match name {
        "DECIMAL" => {
            let (numbers, after) = rest.strip_prefix('(')?.split_once(')')?;
            let (precision, scale) = numbers.split_once(',')?;
            rest = after;
            SqlType::Decimal(precision.parse().ok()?, scale.parse().ok()?)
        }
        "MAP" => {
            let (key, after) = read(rest.strip_prefix('(')?)?;
            let (value, after) = read(after.strip_prefix(", ")?)?;
            rest = after.strip_prefix(')')?;
            SqlType::Map(Box::new(key), Box::new(value))
        }
        "STRUCT" => {
            let (fields, after) = read_fields(rest.strip_prefix('(')?)?;
            rest = after;
            SqlType::Struct(fields)
        }
        _ => NAMES.iter().find(|(known, _)| *known == name)?.1.clone(),
    };
    while let Some(after) = rest.strip_prefix("[]") {
        kind = SqlType::List(Box::new(kind));
        rest = after;
    }
    Some((kind, rest))
}

fn read_fields(mut text: &str) -> Option<(Vec<(String, SqlType)>, &str)> {
    let mut fields = Vec::new();
    loop {
        let mut name = String::new();
        let mut rest = text.strip_prefix('"')?;
        loop {
            let (part, after) = rest.split_once('"')?;
            name.push_str(part);
            rest = after;
            match rest.strip_prefix('"') {
                Some(after) => {
                    name.push('"');
                    rest = after;
                }
                None => break,
            }
        }
        let (kind, after) = read(rest.strip_prefix(' ')?)?;
        fields.push((name, kind));
        match after.strip_prefix(", ") {
            Some(next) => text = next,
            None => return Some((fields, after.strip_prefix(')')?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_names_read_back() {
        let mut all: Vec<SqlType> = NAMES.iter().map(|(_, kind)| kind.clone()).collect();
        all.push(SqlType::Decimal(38, 10));
        all.push(SqlType::List(Box::new(SqlType::List(Box::new(SqlType::BigInt)))));
        all.push(SqlType::Map(Box::new(SqlType::Text), Box::new(SqlType::List(Box::new(SqlType::Decimal(4, 1))))));
        all.push(SqlType::Struct(vec![
            ("a \"b\", c) x".into(), SqlType::Decimal(4, 2)),
            ("".into(), SqlType::List(Box::new(SqlType::Struct(vec![("x".into(), SqlType::Text)])))),
        ]));
        for kind in all {
            assert_eq!(kind.to_string().parse::<SqlType>().expect("reads back"), kind);
            // What text carries is text until a column says otherwise.
            let carried = if matches!(kind, SqlType::Json | SqlType::Uuid) { SqlType::Text } else { kind.clone() };
            assert_eq!(SqlType::of(&kind.arrow()), Some(carried));
        }
    }

    #[test]
    fn unknown_names_are_refused() {
        for text in ["", "INT", "BIGINT[", "DECIMAL(1)", "DECIMAL(400,0)", "STRUCT()", "TEXT "] {
            assert!(text.parse::<SqlType>().is_err(), "{text}");
        }
    }
}
