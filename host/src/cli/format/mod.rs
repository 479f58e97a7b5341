//! The output formats: how a stream of record batches becomes bytes. It refuses to write those bytes anywhere: the ui does.
//!
//! Every format streams. Only `table` keeps rows, and not more than it will show.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::error::{Error, Result, codes};

mod arrow_stream;
mod cell;
mod csv;
mod digits;
mod interval;
mod json;
mod markdown;
mod table;
mod types;

pub(crate) use json::JsonRows;
pub(crate) use types::sql_name;

/// How results are written to stdout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people: fits the terminal, cuts long results in the middle
    #[default]
    Table,
    /// Header line, RFC 4180 quoting, NULL as empty
    Csv,
    /// As csv, separated by tabs
    Tsv,
    /// One array of objects
    Json,
    /// One object a line
    Jsonl,
    /// A table for documents
    Markdown,
    /// An Arrow IPC stream, binary
    Arrow,
}

/// What the table format must know about where it will be shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Screen {
    /// Columns of the terminal; none when stdout is no terminal, and then nothing is wrapped or shortened.
    pub width: Option<u16>,
    /// Rows shown at most; the middle of longer results is cut out.
    pub rows_max: usize,
    /// Whether escape sequences for colour are welcome.
    pub colour: bool,
}

/// Turns one result into bytes, batch by batch.
pub(crate) trait Sink {
    /// Called once, before the first batch.
    fn start(&mut self, schema: &SchemaRef, out: &mut Vec<u8>) -> Result<()>;
    /// Appends the bytes of one batch.
    fn batch(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<()>;
    /// Called once, after the last batch.
    fn finish(&mut self, out: &mut Vec<u8>) -> Result<()>;
}

impl Format {
    /// A sink for one result.
    pub(crate) fn sink(self, screen: Screen) -> Box<dyn Sink> {
        match self {
            Self::Table => Box::new(table::Table::new(screen)),
            Self::Csv => Box::new(csv::Csv::new(b',')),
            Self::Tsv => Box::new(csv::Csv::new(b'\t')),
            Self::Json => Box::new(json::Json::array()),
            Self::Jsonl => Box::new(json::Json::lines()),
            Self::Markdown => Box::<markdown::Markdown>::default(),
            Self::Arrow => Box::<arrow_stream::ArrowStream>::default(),
        }
    }
}

/// An error of rendering: a value that no format can show, such as a timestamp beyond the calendar.
fn rendering(error: arrow::error::ArrowError) -> Error {
    Error::new(codes::VALUE, format!("a value cannot be shown: {}", error.to_string().to_lowercase()))
}

/// The whole of `batches` as bytes of `format`, as tests want them.
#[cfg(test)]
pub(crate) fn bytes_of(format: Format, batches: &[RecordBatch]) -> Vec<u8> {
    let screen = Screen { width: None, rows_max: 10_000, colour: false };
    let (mut sink, mut out) = (format.sink(screen), Vec::new());
    sink.start(&batches[0].schema(), &mut out).unwrap();
    batches.iter().for_each(|batch| sink.batch(batch, &mut out).unwrap());
    sink.finish(&mut out).unwrap();
    out
}

/// A batch of named columns, as tests want it.
#[cfg(test)]
pub(crate) fn batch_of(columns: Vec<(&str, arrow::array::ArrayRef)>) -> RecordBatch {
    use std::sync::Arc;

    use arrow::datatypes::{Field, Schema};
    let fields: Vec<Field> =
        columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}

#[cfg(test)]
mod tests;
