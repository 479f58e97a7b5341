//! JSON: one array of objects, one object a line, or bare rows for the line protocol.
//!
//! arrow-json encodes; replaced are the types whose values it writes otherwise than the interface promises: timestamps
//! without a zone and intervals (as their SQL text), UUIDs, and numbers that JSON has no notation for, which become the
//! texts "NaN", "Infinity" and "-Infinity" as in PostgreSQL, where arrow-json would write null.

use std::sync::Arc;

use arrow::array::{Array, ArrowPrimitiveType, AsArray, PrimitiveArray, RecordBatch, StructArray};
use arrow::datatypes::{DataType, Field, FieldRef, Float16Type, Float32Type, Float64Type, SchemaRef};
use arrow::error::ArrowError;
use arrow::json::writer::NullableEncoder;
use arrow::json::writer::make_encoder;
use arrow::json::{Encoder, EncoderFactory, EncoderOptions};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::{Sink, cell, rendering};
use crate::error::Result;

/// One result as JSON.
pub(super) struct Json {
    layout: Layout,
    options: EncoderOptions,
    started: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Layout {
    Array,
    Lines,
}

impl Json {
    /// One array of objects, an object a line.
    pub(super) fn array() -> Self {
        Self { layout: Layout::Array, options: options(), started: false }
    }

    /// One object a line.
    pub(super) fn lines() -> Self {
        Self { layout: Layout::Lines, options: options(), started: false }
    }
}

impl Sink for Json {
    fn start(&mut self, _: &SchemaRef, out: &mut Vec<u8>) -> Result<()> {
        if self.layout == Layout::Array {
            out.push(b'[');
        }
        Ok(())
    }

    fn batch(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
        let fields = batch.schema().fields().clone();
        let rows = StructArray::try_new_with_length(fields.clone(), batch.columns().to_vec(), None, batch.num_rows())
            .map_err(rendering)?;
        let field: FieldRef = Arc::new(Field::new_struct("", fields, false));
        let mut encoder = make_encoder(&field, &rows, &self.options).map_err(rendering)?;
        for row in 0..batch.num_rows() {
            if self.layout == Layout::Array && self.started {
                out.extend_from_slice(b",\n");
            }
            self.started = true;
            encoder.encode(row, out);
            if self.layout == Layout::Lines {
                out.push(b'\n');
            }
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<()> {
        if self.layout == Layout::Array {
            out.extend_from_slice(b"]\n");
        }
        Ok(())
    }
}

/// Rows as JSON arrays, without names, separated by commas: what the line protocol puts into `rows`.
pub(crate) struct JsonRows {
    options: EncoderOptions,
    started: bool,
}

impl JsonRows {
    /// Nothing written yet.
    pub(crate) fn new() -> Self {
        Self { options: options(), started: false }
    }

    /// Appends the rows of one batch.
    pub(crate) fn batch(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
        let schema = batch.schema();
        let mut columns = batch
            .columns()
            .iter()
            .zip(schema.fields())
            .map(|(array, field)| make_encoder(field, array.as_ref(), &self.options))
            .collect::<std::result::Result<Vec<_>, _>>()
            .map_err(rendering)?;
        for row in 0..batch.num_rows() {
            out.extend_from_slice(if self.started { b",[" } else { b"[" });
            self.started = true;
            for (index, column) in columns.iter_mut().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                if column.is_null(row) { out.extend_from_slice(b"null") } else { column.encode(row, out) }
            }
            out.push(b']');
        }
        Ok(())
    }
}

fn options() -> EncoderOptions {
    EncoderOptions::default().with_explicit_nulls(true).with_encoder_factory(Arc::new(Values))
}

#[derive(Debug)]
struct Values;

impl EncoderFactory for Values {
    fn make_default_encoder<'a>(
        &self,
        field: &'a FieldRef,
        array: &'a dyn Array,
        _: &'a EncoderOptions,
    ) -> std::result::Result<Option<NullableEncoder<'a>>, ArrowError> {
        let encoder: Box<dyn Encoder + 'a> = match array.data_type() {
            DataType::Float64 => {
                Box::new(Floats { array: array.as_primitive::<Float64Type>(), formatter: plain(array)? })
            }
            DataType::Float32 => {
                Box::new(Floats { array: array.as_primitive::<Float32Type>(), formatter: plain(array)? })
            }
            DataType::Float16 => {
                Box::new(Floats { array: array.as_primitive::<Float16Type>(), formatter: plain(array)? })
            }
            // ISO 8601 with its offset is what arrow-json writes, and decimals as exact numbers without quotes.
            DataType::Timestamp(_, Some(_)) | DataType::Decimal128(..) => return Ok(None),
            _ => match cell::text_of(array, Some(field))? {
                Some(text) => Box::new(Quoted(ArrayFormatter::new(text, true))),
                None => return Ok(None),
            },
        };
        Ok(Some(NullableEncoder::new(encoder, array.logical_nulls())))
    }
}

fn plain(array: &dyn Array) -> std::result::Result<ArrayFormatter<'_>, ArrowError> {
    ArrayFormatter::try_new(array, &FormatOptions::new())
}

struct Floats<'a, T: ArrowPrimitiveType> {
    array: &'a PrimitiveArray<T>,
    formatter: ArrayFormatter<'a>,
}

impl<T: ArrowPrimitiveType<Native: Into<f64>>> Encoder for Floats<'_, T> {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        let value: f64 = self.array.value(row).into();
        let name: &[u8] = match value {
            value if value.is_nan() => b"\"NaN\"",
            f64::INFINITY => b"\"Infinity\"",
            f64::NEG_INFINITY => b"\"-Infinity\"",
            _ => return append(out, &self.formatter, row),
        };
        out.extend_from_slice(name);
    }
}

/// Texts that hold nothing to escape: times, spans and identifiers.
struct Quoted<'a>(ArrayFormatter<'a>);

impl Encoder for Quoted<'_> {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        out.push(b'"');
        append(out, &self.0, row);
        out.push(b'"');
    }
}

fn append(out: &mut Vec<u8>, formatter: &ArrayFormatter<'_>, row: usize) {
    use std::io::Write;
    // A vector takes every write, and the formatters put errors of their own into the text.
    let _ = write!(out, "{}", formatter.value(row));
}
