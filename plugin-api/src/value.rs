//! Single values: parameters of SQL that a plugin runs, and fields of the rows that it reads.

use crate::error::{Error, Result};
use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{
    Array, ArrayRef, BinaryViewArray, BooleanArray, Float64Array, Int64Array, NullArray, RecordBatch,
    RecordBatchOptions, StringViewArray, TimestampMicrosecondArray,
};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use std::sync::Arc;

/// A value of SQL, for parameters.
#[derive(Clone, Debug)]
pub enum Value {
    /// NULL.
    Null,
    /// BOOLEAN.
    Boolean(bool),
    /// BIGINT.
    Integer(i64),
    /// DOUBLE.
    Double(f64),
    /// TEXT.
    Text(String),
    /// BINARY.
    Binary(Vec<u8>),
    /// TIMESTAMPTZ, in microseconds since 1970-01-01 UTC.
    Timestamp(i64),
    /// Any other type: an array of one value.
    Array(ArrayRef),
}

impl Value {
    fn into_array(self) -> ArrayRef {
        match self {
            Self::Null => Arc::new(NullArray::new(1)),
            Self::Boolean(value) => Arc::new(BooleanArray::from(vec![value])),
            Self::Integer(value) => Arc::new(Int64Array::from(vec![value])),
            Self::Double(value) => Arc::new(Float64Array::from(vec![value])),
            Self::Text(value) => Arc::new(StringViewArray::from(vec![value])),
            Self::Binary(value) => Arc::new(BinaryViewArray::from(vec![value.as_slice()])),
            Self::Timestamp(micros) => Arc::new(TimestampMicrosecondArray::from(vec![micros]).with_timezone("UTC")),
            Self::Array(array) => array,
        }
    }
}

macro_rules! value_from {
    ($($from:ty => |$x:ident| $make:expr;)*) => {
        $(impl From<$from> for Value { fn from($x: $from) -> Self { $make } })*
    };
}
value_from! {
    bool => |x| Self::Boolean(x);
    i32 => |x| Self::Integer(x.into());
    i64 => |x| Self::Integer(x);
    u32 => |x| Self::Integer(x.into());
    f64 => |x| Self::Double(x);
    &str => |x| Self::Text(x.to_owned());
    &String => |x| Self::Text(x.clone());
    String => |x| Self::Text(x);
    &[u8] => |x| Self::Binary(x.to_vec());
    Vec<u8> => |x| Self::Binary(x);
    ArrayRef => |x| Self::Array(x);
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// One row of parameters, columns `p1`, `p2` and so on.
///
/// # Errors
/// When a [`Value::Array`] does not hold exactly one value.
pub fn parameters(values: &[Value]) -> Result<RecordBatch> {
    let columns: Vec<ArrayRef> = values.iter().cloned().map(Value::into_array).collect();
    let field = |(i, column): (usize, &ArrayRef)| Field::new(format!("p{}", i + 1), column.data_type().clone(), true);
    let schema = Arc::new(Schema::new(columns.iter().enumerate().map(field).collect::<Vec<_>>()));
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
}

/// A row of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    batch: &'a RecordBatch,
    index: usize,
}

/// The rows of a batch, one by one.
pub fn rows(batch: &RecordBatch) -> impl Iterator<Item = Row<'_>> {
    (0..batch.num_rows()).map(move |index| Row { batch, index })
}

impl<'a> Row<'a> {
    fn column(&self, column: usize) -> Result<Option<&'a dyn Array>> {
        let found = self.batch.columns().get(column);
        let array = found.ok_or_else(|| Error::message(format!("there is no column {column}")))?;
        Ok((!array.is_null(self.index) && array.data_type() != &DataType::Null).then_some(array.as_ref()))
    }

    fn wrong(&self, column: usize, wanted: &str) -> Error {
        let field = self.batch.schema_ref().field(column);
        Error::message(format!("column `{}` is {}, not {wanted}", field.name(), field.data_type()))
    }

    /// TEXT; none for NULL.
    ///
    /// # Errors
    /// When the column is of another type or not there.
    pub fn text(&self, column: usize) -> Result<Option<&'a str>> {
        let Some(array) = self.column(column)? else { return Ok(None) };
        let text = match array.data_type() {
            DataType::Utf8View => array.as_string_view().value(self.index),
            DataType::Utf8 => array.as_string::<i32>().value(self.index),
            DataType::LargeUtf8 => array.as_string::<i64>().value(self.index),
            _ => return Err(self.wrong(column, "text")),
        };
        Ok(Some(text))
    }

    /// BINARY; none for NULL.
    ///
    /// # Errors
    /// When the column is of another type or not there.
    pub fn binary(&self, column: usize) -> Result<Option<&'a [u8]>> {
        let Some(array) = self.column(column)? else { return Ok(None) };
        let bytes = match array.data_type() {
            DataType::BinaryView => array.as_binary_view().value(self.index),
            DataType::Binary => array.as_binary::<i32>().value(self.index),
            DataType::LargeBinary => array.as_binary::<i64>().value(self.index),
            _ => return Err(self.wrong(column, "binary")),
        };
        Ok(Some(bytes))
    }

    /// Any integer type; none for NULL.
    ///
    /// # Errors
    /// When the column is of another type, not there, or beyond 63 bits.
    pub fn integer(&self, column: usize) -> Result<Option<i64>> {
        let Some(array) = self.column(column)? else { return Ok(None) };
        let i = self.index;
        let value = match array.data_type() {
            DataType::Int64 => array.as_primitive::<Int64Type>().value(i),
            DataType::Int32 => array.as_primitive::<Int32Type>().value(i).into(),
            DataType::Int16 => array.as_primitive::<Int16Type>().value(i).into(),
            DataType::Int8 => array.as_primitive::<Int8Type>().value(i).into(),
            DataType::UInt32 => array.as_primitive::<UInt32Type>().value(i).into(),
            DataType::UInt16 => array.as_primitive::<UInt16Type>().value(i).into(),
            DataType::UInt8 => array.as_primitive::<UInt8Type>().value(i).into(),
            DataType::UInt64 => i64::try_from(array.as_primitive::<UInt64Type>().value(i))
                .map_err(|_| Error::message("an integer beyond 63 bits"))?,
            _ => return Err(self.wrong(column, "an integer")),
        };
        Ok(Some(value))
    }

    /// REAL or DOUBLE; none for NULL.
    ///
    /// # Errors
    /// When the column is of another type or not there.
    pub fn double(&self, column: usize) -> Result<Option<f64>> {
        let Some(array) = self.column(column)? else { return Ok(None) };
        match array.data_type() {
            DataType::Float64 => Ok(Some(array.as_primitive::<Float64Type>().value(self.index))),
            DataType::Float32 => Ok(Some(array.as_primitive::<Float32Type>().value(self.index).into())),
            _ => Err(self.wrong(column, "a floating point number")),
        }
    }

    /// BOOLEAN; none for NULL.
    ///
    /// # Errors
    /// When the column is of another type or not there.
    pub fn boolean(&self, column: usize) -> Result<Option<bool>> {
        let Some(array) = self.column(column)? else { return Ok(None) };
        match array.data_type() {
            DataType::Boolean => Ok(Some(array.as_boolean().value(self.index))),
            _ => Err(self.wrong(column, "a boolean")),
        }
    }

    /// TIMESTAMP with or without zone, in microseconds; none for NULL.
    ///
    /// # Errors
    /// When the column is of another type or not there.
    pub fn timestamp(&self, column: usize) -> Result<Option<i64>> {
        let Some(array) = self.column(column)? else { return Ok(None) };
        match array.data_type() {
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                Ok(Some(array.as_primitive::<TimestampMicrosecondType>().value(self.index)))
            }
            _ => Err(self.wrong(column, "a timestamp in microseconds")),
        }
    }
}
