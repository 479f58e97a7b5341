//! What users call types, in the words of PostgreSQL and DuckDB, mapped to the types that there are. A type that does
//! not exist here is refused by its name, never replaced by another one.

use datafusion::sql::sqlparser::ast::{ArrayElemTypeDef, DataType, ExactNumberInfo, ObjectName, TimezoneInfo};

use super::names::fold_ident;
use super::unsupported;
use crate::catalog::SqlType;
use crate::error::{Error, Result, codes};

/// Digits of a DECIMAL that does not say, as in DuckDB.
const DECIMAL_DEFAULT: SqlType = SqlType::Decimal(18, 3);
/// The most digits that a DECIMAL can have.
const DIGITS_MAX: u64 = 38;

/// The type that a type's name means.
pub(crate) fn sql_type(kind: &DataType) -> Result<SqlType> {
    Ok(match kind {
        DataType::Boolean | DataType::Bool => SqlType::Boolean,
        DataType::TinyInt(_) => SqlType::TinyInt,
        DataType::SmallInt(_) | DataType::Int2(_) | DataType::Int16 => SqlType::SmallInt,
        DataType::Int(_)
        | DataType::Integer(_)
        | DataType::Int4(_)
        | DataType::Int32
        | DataType::MediumInt(_)
        | DataType::Signed => SqlType::Integer,
        DataType::BigInt(_) | DataType::Int8(_) | DataType::Int64 => SqlType::BigInt,
        DataType::TinyIntUnsigned(_) | DataType::UTinyInt | DataType::UInt8 => SqlType::UTinyInt,
        DataType::SmallIntUnsigned(_) | DataType::USmallInt | DataType::UInt16 | DataType::Int2Unsigned(_) => {
            SqlType::USmallInt
        }
        DataType::IntUnsigned(_) | DataType::IntegerUnsigned(_) | DataType::UInt32 | DataType::Int4Unsigned(_) => {
            SqlType::UInteger
        }
        DataType::BigIntUnsigned(_) | DataType::UBigInt | DataType::UInt64 | DataType::Int8Unsigned(_) => {
            SqlType::UBigInt
        }
        DataType::Numeric(info) | DataType::Decimal(info) | DataType::Dec(info) => decimal(info)?,
        DataType::Real | DataType::Float4 | DataType::Float32 => SqlType::Real,
        DataType::Float(ExactNumberInfo::Precision(bits)) if *bits > 24 => SqlType::Double,
        DataType::Float(_) => SqlType::Real,
        DataType::Double(ExactNumberInfo::None) | DataType::DoublePrecision | DataType::Float8 | DataType::Float64 => {
            SqlType::Double
        }
        DataType::Text
        | DataType::String(_)
        | DataType::Varchar(_)
        | DataType::Nvarchar(_)
        | DataType::CharacterVarying(_)
        | DataType::CharVarying(_)
        | DataType::Char(_)
        | DataType::Character(_)
        | DataType::Clob(_) => SqlType::Text,
        DataType::JSON | DataType::JSONB => SqlType::Json,
        DataType::Uuid => SqlType::Uuid,
        DataType::HugeInt | DataType::UHugeInt => {
            return Err(unsupported(&format!("the type {kind}")).help("DECIMAL(38,0) holds 38 digits"));
        }
        DataType::Map(key, value) => SqlType::Map(Box::new(sql_type(key)?), Box::new(sql_type(value)?)),
        DataType::Bytea | DataType::Blob(_) | DataType::Binary(_) | DataType::Varbinary(_) | DataType::Bytes(_) => {
            SqlType::Binary
        }
        DataType::Date | DataType::Date32 => SqlType::Date,
        DataType::Time(precision, zone) if fits(*precision) && !zoned(zone) => SqlType::Time,
        DataType::Timestamp(precision, zone) if fits(*precision) => {
            if zoned(zone) {
                SqlType::TimestampTz
            } else {
                SqlType::Timestamp
            }
        }
        DataType::Datetime(precision) if fits(*precision) => SqlType::Timestamp,
        DataType::Interval { fields: None, precision: None } => SqlType::Interval,
        DataType::Array(ArrayElemTypeDef::AngleBracket(item) | ArrayElemTypeDef::SquareBracket(item, None)) => {
            SqlType::List(Box::new(sql_type(item)?))
        }
        DataType::Struct(fields, _) => {
            let fields = fields.iter().enumerate().map(|(i, field)| {
                let name = field.field_name.as_ref().map_or_else(|| format!("c{i}"), fold_ident);
                Ok((name, sql_type(&field.field_type)?))
            });
            SqlType::Struct(fields.collect::<Result<_>>()?)
        }
        DataType::Custom(name, arguments) if arguments.is_empty() => named(name)?,
        DataType::Custom(name, arguments) => with_arguments(name, arguments)?,
        other => return Err(unsupported(&format!("the type {other}"))),
    })
}

/// Names that the parser does not know as types.
fn named(name: &ObjectName) -> Result<SqlType> {
    let lower = name.to_string().to_lowercase();
    Ok(match lower.as_str() {
        "int1" => SqlType::TinyInt,
        "short" => SqlType::SmallInt,
        "long" => SqlType::BigInt,
        "utinyint" => SqlType::UTinyInt,
        "usmallint" => SqlType::USmallInt,
        "uinteger" => SqlType::UInteger,
        "ubigint" => SqlType::UBigInt,
        "string" | "bpchar" => SqlType::Text,
        "logical" => SqlType::Boolean,
        "datetime" => SqlType::Timestamp,
        "json" | "jsonb" => SqlType::Json,
        "uuid" => SqlType::Uuid,
        "hugeint" | "uhugeint" => {
            return Err(unsupported(&format!("the type {name}")).help("DECIMAL(38,0) holds 38 digits"));
        }
        _ => return Err(Error::new(codes::NO_OBJECT, format!("no type `{name}`"))),
    })
}

/// `STRUCT(a INT, b TEXT)` and `MAP(TEXT, INT)`, which the parser hands over as words.
fn with_arguments(name: &ObjectName, arguments: &[String]) -> Result<SqlType> {
    let of = |text: &String| {
        crate::sql::parse::read(text, |parser| parser.parse_data_type()).and_then(|kind| sql_type(&kind))
    };
    match name.to_string().to_lowercase().as_str() {
        "struct" | "row" if arguments.len().is_multiple_of(2) => {
            let fields = arguments.chunks_exact(2).map(|field| Ok((field[0].to_lowercase(), of(&field[1])?)));
            Ok(SqlType::Struct(fields.collect::<Result<_>>()?))
        }
        "map" => match arguments {
            [key, value] => Ok(SqlType::Map(Box::new(of(key)?), Box::new(of(value)?))),
            _ => Err(Error::new(codes::TYPE, "MAP has two types: that of the keys and that of the values")),
        },
        "hugeint" | "uhugeint" => Err(unsupported(&format!("the type {name}")).help("DECIMAL(38,0) holds 38 digits")),
        _ => Err(unsupported(&format!("the type {name}({})", arguments.join(", ")))),
    }
}

fn decimal(info: &ExactNumberInfo) -> Result<SqlType> {
    let (precision, scale) = match info {
        ExactNumberInfo::None => return Ok(DECIMAL_DEFAULT),
        ExactNumberInfo::Precision(precision) => (*precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (*precision, *scale),
    };
    let digits = u8::try_from(precision).ok().filter(|_| (1..=DIGITS_MAX).contains(&precision));
    let scale = i8::try_from(scale).ok().filter(|scale| (0..=precision as i64).contains(&i64::from(*scale)));
    match (digits, scale) {
        (Some(digits), Some(scale)) => Ok(SqlType::Decimal(digits, scale)),
        _ => {
            let message = format!("DECIMAL has 1 to {DIGITS_MAX} digits, and not more after the point than in all");
            Err(Error::new(codes::TYPE, message))
        }
    }
}

/// Microseconds are what there is.
fn fits(precision: Option<u64>) -> bool {
    precision.is_none_or(|digits| digits <= 6)
}

fn zoned(zone: &TimezoneInfo) -> bool {
    matches!(zone, TimezoneInfo::WithTimeZone | TimezoneInfo::Tz)
}
