//! Comma and tab separated values: a header line, RFC 4180 quoting, lines ending in LF as PostgreSQL and DuckDB write
//! them, NULL as an empty field and the empty text as `""`.
//!
//! The rows are assembled here and not by arrow-csv, because that one cannot tell NULL from an empty text and refuses
//! lists and structs. The values are arrow's.

use std::fmt;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::array::{LargeStringArray, StringArray, StringViewArray};
use arrow::datatypes::{DataType, Field, SchemaRef};

use super::Sink;
use super::cell::Column;
use crate::error::Result;

/// One result as delimited text.
pub(super) struct Csv {
    delimiter: u8,
    scratch: String,
}

impl Csv {
    /// With the byte between fields.
    pub(super) fn new(delimiter: u8) -> Self {
        Self { delimiter, scratch: String::new() }
    }
}

impl Sink for Csv {
    fn start(&mut self, schema: &SchemaRef, out: &mut Vec<u8>) -> Result<()> {
        for (index, field) in schema.fields().iter().enumerate() {
            if index > 0 {
                out.push(self.delimiter);
            }
            write_quoted(field.name(), self.delimiter, out);
        }
        out.push(b'\n');
        Ok(())
    }

    fn batch(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
        let schema = batch.schema();
        let columns = batch
            .columns()
            .iter()
            .zip(schema.fields())
            .map(|(array, field)| Cells::new(array, field))
            .collect::<Result<Vec<_>>>()?;
        for row in 0..batch.num_rows() {
            for (index, cells) in columns.iter().enumerate() {
                if index > 0 {
                    out.push(self.delimiter);
                }
                cells.write(row, self.delimiter, &mut self.scratch, out)?;
            }
            out.push(b'\n');
        }
        Ok(())
    }

    fn finish(&mut self, _: &mut Vec<u8>) -> Result<()> {
        Ok(())
    }
}

/// One column, by what its texts can contain: most types never need quotes, and texts are copied without a detour.
enum Cells<'a> {
    View(&'a StringViewArray),
    Utf8(&'a StringArray),
    LargeUtf8(&'a LargeStringArray),
    Bare(Column<'a>),
    Quotable(Column<'a>),
}

impl<'a> Cells<'a> {
    fn new(array: &'a ArrayRef, field: &'a Field) -> Result<Self> {
        Ok(match array.data_type() {
            DataType::Utf8View => Self::View(array.as_string_view()),
            DataType::Utf8 => Self::Utf8(array.as_string()),
            DataType::LargeUtf8 => Self::LargeUtf8(array.as_string()),
            other if other.is_nested() || matches!(other, DataType::Dictionary(..)) => {
                Self::Quotable(Column::new(array, field)?)
            }
            _ => Self::Bare(Column::new(array, field)?),
        })
    }

    #[inline]
    fn write(&self, row: usize, delimiter: u8, scratch: &mut String, out: &mut Vec<u8>) -> Result<()> {
        match self {
            Self::View(array) if array.is_valid(row) => write_quoted(array.value(row), delimiter, out),
            Self::Utf8(array) if array.is_valid(row) => write_quoted(array.value(row), delimiter, out),
            Self::LargeUtf8(array) if array.is_valid(row) => write_quoted(array.value(row), delimiter, out),
            Self::View(_) | Self::Utf8(_) | Self::LargeUtf8(_) => {}
            Self::Bare(column) if !column.is_null(row) => column.write(row, &mut Bytes(out))?,
            Self::Quotable(column) if !column.is_null(row) => {
                scratch.clear();
                column.write(row, scratch)?;
                write_quoted(scratch, delimiter, out);
            }
            Self::Bare(_) | Self::Quotable(_) => {}
        }
        Ok(())
    }
}

/// Writes a field in quotes if its text would be misread without: RFC 4180, section 2, rules 5 to 7; and the empty
/// text, so that it differs from NULL.
fn write_quoted(text: &str, delimiter: u8, out: &mut Vec<u8>) {
    let special = |byte: u8| byte == delimiter || byte == b'"' || byte == b'\n' || byte == b'\r';
    if !text.is_empty() && !text.bytes().any(special) {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    out.push(b'"');
    for (index, part) in text.split('"').enumerate() {
        if index > 0 {
            out.extend_from_slice(b"\"\"");
        }
        out.extend_from_slice(part.as_bytes());
    }
    out.push(b'"');
}

/// Lets formatters write straight into the output buffer.
struct Bytes<'a>(&'a mut Vec<u8>);

impl fmt::Write for Bytes<'_> {
    #[inline]
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}
