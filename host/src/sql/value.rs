//! Values that go into statements as parameters.

use arrow::temporal_conversions::timestamp_us_to_datetime;
use datafusion::sql::sqlparser::ast::{
    CastKind, DataType, ExactNumberInfo, Expr, TimezoneInfo, UnaryOperator, Value as Literal,
};

/// A parameter of a statement.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// NULL.
    Null,
    /// True or false.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// A floating point number.
    Double(f64),
    /// Text.
    Text(String),
    /// Bytes.
    Binary(Vec<u8>),
    /// A TIMESTAMPTZ, in microseconds since 1970-01-01 UTC.
    Timestamp(i64),
}

impl Value {
    /// The expression that stands for it in a statement.
    pub(crate) fn to_expr(&self) -> Expr {
        let literal = |value: Literal| Expr::Value(value.into());
        match self {
            Self::Null => literal(Literal::Null),
            Self::Boolean(value) => literal(Literal::Boolean(*value)),
            Self::Integer(value) => {
                let digits = literal(Literal::Number(value.unsigned_abs().to_string(), false));
                if *value < 0 { Expr::UnaryOp { op: UnaryOperator::Minus, expr: Box::new(digits) } } else { digits }
            }
            // Through text, because a literal cannot spell infinity or NaN, and would read `1` as a whole number.
            Self::Double(value) => Expr::Cast {
                kind: CastKind::Cast,
                expr: Box::new(literal(Literal::SingleQuotedString(format!("{value:?}")))),
                data_type: DataType::Double(ExactNumberInfo::None),
                array: false,
                format: None,
            },
            Self::Text(value) => literal(Literal::SingleQuotedString(value.clone())),
            Self::Timestamp(micros) => Expr::Cast {
                kind: CastKind::Cast,
                // Beyond the years that a text can name there is no timestamp to name.
                expr: Box::new(literal(timestamp_us_to_datetime(*micros).map_or(Literal::Null, |time| {
                    Literal::SingleQuotedString(format!("{}+00:00", time.format("%Y-%m-%d %H:%M:%S%.6f")))
                }))),
                data_type: DataType::Timestamp(None, TimezoneInfo::WithTimeZone),
                array: false,
                format: None,
            },
            Self::Binary(bytes) => {
                literal(Literal::HexStringLiteral(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
            }
        }
    }
}

macro_rules! from {
    ($($source:ty => $value:ident => $to:expr;)*) => {
        $(impl From<$source> for Value { fn from($value: $source) -> Self { $to } })*
    };
}

from! {
    bool => value => Self::Boolean(value);
    i64 => value => Self::Integer(value);
    i32 => value => Self::Integer(value.into());
    u32 => value => Self::Integer(value.into());
    f64 => value => Self::Double(value);
    &str => value => Self::Text(value.to_owned());
    String => value => Self::Text(value);
    &[u8] => value => Self::Binary(value.to_vec());
    Vec<u8> => value => Self::Binary(value);
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}
