//! A GitHub-flavoured Markdown table. It pads nothing, so that it can stream.

use std::fmt::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::Sink;
use super::cell::{Column, is_number};
use crate::error::Result;

/// One result as a Markdown table.
#[derive(Default)]
pub(super) struct Markdown {
    scratch: String,
}

impl Sink for Markdown {
    fn start(&mut self, schema: &SchemaRef, out: &mut Vec<u8>) -> Result<()> {
        for field in schema.fields() {
            out.extend_from_slice(b"| ");
            write_escaped(field.name(), out);
            out.push(b' ');
        }
        out.extend_from_slice(b"|\n");
        for field in schema.fields() {
            out.extend_from_slice(if is_number(field.data_type()) { b"| ---: " } else { b"| --- " });
        }
        out.extend_from_slice(b"|\n");
        Ok(())
    }

    fn batch(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
        let schema = batch.schema();
        let columns = batch
            .columns()
            .iter()
            .zip(schema.fields())
            .map(|(array, field)| Column::new(array, field))
            .collect::<Result<Vec<_>>>()?;
        for row in 0..batch.num_rows() {
            for column in &columns {
                self.scratch.clear();
                if column.is_null(row) {
                    let _ = self.scratch.write_str("NULL");
                } else {
                    column.write(row, &mut self.scratch)?;
                }
                out.extend_from_slice(b"| ");
                write_escaped(&self.scratch, out);
                out.push(b' ');
            }
            out.extend_from_slice(b"|\n");
        }
        Ok(())
    }

    fn finish(&mut self, _: &mut Vec<u8>) -> Result<()> {
        Ok(())
    }
}

/// A bar would end the cell and a line break the table.
fn write_escaped(text: &str, out: &mut Vec<u8>) {
    for byte in text.bytes() {
        match byte {
            b'|' => out.extend_from_slice(b"\\|"),
            b'\n' => out.extend_from_slice(b"<br>"),
            b'\r' => {}
            other => out.push(other),
        }
    }
}
