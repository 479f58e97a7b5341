//! Data files: which format a file has, and the table that its rows are. The formats themselves have a file each.

mod csv_parallel;
mod csv_read;
mod csv_records;
mod csv_values;
mod csv_write;
mod parquet;

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::ScalarValue;

pub(crate) use csv_write::CsvWriter;
pub(crate) use parquet::ParquetFile;

use super::scope::Scope;
use super::unsupported;
use crate::catalog::Table;
use crate::error::{Error, Result, codes};

/// A format of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Csv,
    Parquet,
}

/// How a file is read or written, as far as the statement says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    pub(crate) format: Option<Format>,
    pub(crate) header: Option<bool>,
    pub(crate) delimiter: Option<u8>,
    pub(crate) quote: Option<u8>,
    pub(crate) null: Option<String>,
    /// Threads that read it; one, if none is named.
    pub(crate) threads: usize,
}

impl Format {
    /// A format by its name.
    pub(crate) fn named(name: &str) -> Result<Self> {
        match name.to_lowercase().as_str() {
            "csv" => Ok(Self::Csv),
            "parquet" => Ok(Self::Parquet),
            other => Err(unsupported(&format!("the file format `{other}`")).help("use csv or parquet")),
        }
    }

    /// The format of a file that is there: its first bytes decide, then its name.
    fn of(path: &str) -> Result<Self> {
        let file = Path::new(path);
        let mut magic = [0; 6];
        let mut opened = File::open(file).map_err(|error| Error::io("open", file, &error))?;
        let read = opened.read(&mut magic).map_err(|error| Error::io("read", file, &error))?;
        match &magic[..read] {
            [b'P', b'A', b'R', b'1', ..] => return Ok(Self::Parquet),
            [b'A', b'R', b'R', b'O', b'W', b'1'] => return Err(unsupported("Arrow and Feather files")),
            [b'O', b'R', b'C', ..] => return Err(unsupported("ORC files")),
            [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd, ..] => return Err(unsupported("compressed files")),
            _ => {}
        }
        Self::by_name(path)
    }

    /// The format that a file's name promises.
    pub(crate) fn by_name(path: &str) -> Result<Self> {
        let extension = Path::new(path).extension().map(|extension| extension.to_string_lossy().to_lowercase());
        match extension.as_deref() {
            Some("csv" | "tsv" | "txt" | "tbl") => Ok(Self::Csv),
            Some("parquet" | "pq") => Ok(Self::Parquet),
            Some("json" | "jsonl" | "ndjson") => Err(unsupported("JSON files")),
            _ => {
                let error = Error::new(codes::FILE_FORMAT, format!("cannot tell the format of `{path}`"));
                Err(error.help("name it: (FORMAT csv) or (FORMAT parquet)"))
            }
        }
    }
}

/// The table in a file, with the types that the file has or suggests.
pub(crate) fn table(scope: &Scope, path: &str, options: &Options) -> Result<Arc<dyn TableProvider>> {
    let glob = path.contains(['*', '?', '[']) && !Path::new(path).exists();
    let format = match options.format {
        Some(format) => format,
        None if glob => Format::by_name(path)?,
        None => Format::of(path)?,
    };
    match format {
        Format::Csv if glob => Err(unsupported("patterns of CSV files")),
        Format::Csv => csv_read::table(path, &Options { threads: scope.settings.threads, ..options.clone() }),
        Format::Parquet => parquet::table(scope, path),
    }
}

/// The rows of a file for a table: text is read as the table's types, at `positions`.
pub(crate) fn rows_for(
    scope: &Scope,
    path: &str,
    options: &Options,
    table: &Table,
    positions: &[usize],
) -> Result<Arc<dyn TableProvider>> {
    let format = options.format.map_or_else(|| Format::of(path), Ok)?;
    match format {
        Format::Csv => {
            let options = Options { threads: scope.settings.threads, ..options.clone() };
            csv_read::table_of(path, &options, table, positions)
        }
        Format::Parquet => parquet::table(scope, path),
    }
}

/// The name under which a file's table can be referred to.
pub(crate) fn table_name(path: &str) -> String {
    Path::new(path).file_stem().map_or_else(|| path.to_owned(), |stem| stem.to_string_lossy().into_owned())
}

/// `read_csv(...)` and `read_parquet(...)`.
pub(crate) fn function(
    scope: &Scope,
    name: &str,
    args: &[ScalarValue],
    named: &[(String, ScalarValue)],
) -> Result<Option<Arc<dyn TableProvider>>> {
    let format = match name {
        "read_csv" => Format::Csv,
        "read_parquet" => Format::Parquet,
        _ => return Ok(None),
    };
    let [path] = args else { return Err(Error::new(codes::PARAMETERS, format!("`{name}` takes one path"))) };
    let Some(Some(path)) = path.try_as_str() else {
        return Err(Error::new(codes::TYPE, format!("`{name}` takes the path as text")));
    };
    let mut options = Options { format: Some(format), ..Options::default() };
    for (label, value) in named {
        let wrong = || Error::new(codes::VALUE, format!("`{label}` of `{name}` cannot be {value}"));
        match (format, label.as_str(), value) {
            (Format::Csv, "header", ScalarValue::Boolean(Some(header))) => options.header = Some(*header),
            (Format::Csv, "delim" | "delimiter" | "sep", value) => {
                options.delimiter = Some(byte(value).ok_or_else(wrong)?)
            }
            (Format::Csv, "quote", value) => options.quote = Some(byte(value).ok_or_else(wrong)?),
            (Format::Csv, "header", _) => return Err(wrong()),
            _ => return Err(Error::new(codes::PARAMETERS, format!("`{name}` has no argument called `{label}`"))),
        }
    }
    if !path.contains(['*', '?', '[']) && !Path::new(path).exists() {
        File::open(path).map_err(|error| Error::io("open", Path::new(path), &error))?;
    }
    table(scope, path, &options).map(Some)
}

fn byte(value: &ScalarValue) -> Option<u8> {
    match value.try_as_str()??.as_bytes() {
        [byte] => Some(*byte),
        _ => None,
    }
}
