//! Writes rows as CSV, so that reading them gives them back: NULL is nothing at all, an empty text is `""`, bytes are
//! `\x` and hexadecimal digits.

use std::io::Write;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Schema};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::Options;
use crate::error::{Error, Result, codes};
use crate::sql::fault::fold_arrow;
use crate::sql::unsupported;

/// Writes batches to any output.
pub(crate) struct CsvWriter<W> {
    output: W,
    delimiter: u8,
    quote: u8,
    line: Vec<u8>,
}

impl<W: Write> CsvWriter<W> {
    /// Begins with the header, if there shall be one.
    pub(crate) fn new(output: W, options: &Options, schema: &Schema) -> Result<Self> {
        if let Some(field) = schema.fields().iter().find(|field| field.data_type().is_nested()) {
            return Err(unsupported(&format!("writing the column `{}` as CSV, whose values have parts", field.name())));
        }
        let (delimiter, quote) = (options.delimiter.unwrap_or(b','), options.quote.unwrap_or(b'"'));
        let mut writer = Self { output, delimiter, quote, line: Vec::new() };
        if options.header.unwrap_or(false) {
            for (i, field) in schema.fields().iter().enumerate() {
                writer.separate(i);
                writer.text(field.name());
            }
            writer.end_line()?;
        }
        Ok(writer)
    }

    /// Writes rows.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let format = FormatOptions::default().with_display_error(false);
        let columns = batch.columns().iter().map(|array| ArrayFormatter::try_new(array, &format));
        let columns = columns.collect::<Result<Vec<_>, _>>().map_err(|error| fold_arrow(&error))?;
        for row in 0..batch.num_rows() {
            for (i, (array, formatter)) in batch.columns().iter().zip(&columns).enumerate() {
                self.separate(i);
                if array.is_null(row) {
                    continue;
                }
                match array.data_type() {
                    DataType::Utf8View => self.text(array.as_string_view().value(row)),
                    DataType::Utf8 => self.text(array.as_string::<i32>().value(row)),
                    DataType::BinaryView => self.bytes(array.as_binary_view().value(row)),
                    DataType::Binary => self.bytes(array.as_binary::<i32>().value(row)),
                    _ => {
                        let text = formatter.value(row).try_to_string().map_err(|error| fold_arrow(&error))?;
                        self.text(&text);
                    }
                }
            }
            self.end_line()?;
        }
        Ok(())
    }

    /// The output after the last row.
    pub(crate) fn finish(mut self) -> Result<W> {
        self.output.flush().map_err(|error| failed(&error))?;
        Ok(self.output)
    }

    fn separate(&mut self, column: usize) {
        if column > 0 {
            self.line.push(self.delimiter);
        }
    }

    fn text(&mut self, text: &str) {
        let special = |byte: u8| byte == self.delimiter || byte == self.quote || byte == b'\n' || byte == b'\r';
        if !text.is_empty() && !text.bytes().any(special) {
            self.line.extend_from_slice(text.as_bytes());
            return;
        }
        self.line.push(self.quote);
        for byte in text.bytes() {
            if byte == self.quote {
                self.line.push(byte);
            }
            self.line.push(byte);
        }
        self.line.push(self.quote);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.line.extend_from_slice(b"\\x");
        for byte in bytes {
            let digits = b"0123456789abcdef";
            self.line.extend_from_slice(&[digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]]);
        }
    }

    fn end_line(&mut self) -> Result<()> {
        self.line.push(b'\n');
        self.output.write_all(&self.line).map_err(|error| failed(&error))?;
        self.line.clear();
        Ok(())
    }
}

fn failed(error: &std::io::Error) -> Error {
    let full = matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded);
    Error::new(if full { codes::NO_SPACE } else { codes::IO }, format!("cannot write: {error}"))
}
