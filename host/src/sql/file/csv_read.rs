//! Makes typed rows of CSV records. A field is NULL when it is empty and not quoted; every other field must be a value
//! of its column's type, or the file is refused with its line.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryViewBuilder, RecordBatch, RecordBatchOptions, StringArray, StringViewBuilder,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::TableProvider;

use super::Options;
use super::csv_parallel::in_order;
use super::csv_records::{Fields, Records};
use super::csv_values;
use crate::catalog::{SqlType, Table};
use crate::error::{Error, Result, codes};
use crate::sql::claim::RowStream;
use crate::sql::stream_table::StreamTable;
use crate::sql::unsupported;

/// Rows of a batch.
const BATCH_ROWS: usize = 8192;
/// Rows that are looked at to find out the types.
const SAMPLE_ROWS: usize = 8192;

/// What is known about a file before it is read.
#[derive(Clone)]
struct Layout {
    path: String,
    options: Options,
    header: bool,
    names: Vec<String>,
    kinds: Vec<SqlType>,
}

/// A file's rows with the columns and types of a table.
pub(super) fn table_of(
    path: &str,
    options: &Options,
    table: &Table,
    positions: &[usize],
) -> Result<Arc<dyn TableProvider>> {
    let columns = positions.iter().map(|position| &table.columns[*position]);
    let (names, kinds): (Vec<_>, Vec<_>) = columns.map(|column| (column.name.clone(), column.kind.clone())).unzip();
    let header = options.header.unwrap_or(false);
    provider(Layout { path: path.to_owned(), options: options.clone(), header, names, kinds })
}

/// A file's rows with names from its header and types from its first rows.
pub(super) fn table(path: &str, options: &Options) -> Result<Arc<dyn TableProvider>> {
    let mut fields = Fields::default();
    open(path, options)?.read(&mut fields, SAMPLE_ROWS).map_err(|error| in_file(error, path))?;
    if fields.len() == 0 {
        return Err(Error::new(codes::FILE_FORMAT, format!("`{path}` is empty, so it has no columns")));
    }
    let count = fields.count(0);
    let header = options.header.unwrap_or_else(|| looks_like_header(&fields));
    let first = usize::from(header);
    let mut names: Vec<String> = Vec::with_capacity(count);
    for column in 0..count {
        let given = String::from_utf8_lossy(fields.get(0, column).0).trim().to_lowercase();
        let mut name = if header && !given.is_empty() { given } else { format!("column{column}") };
        while names.contains(&name) {
            name.push_str("_1");
        }
        names.push(name);
    }
    let kinds = (0..count).map(|column| infer(&fields, first, column)).collect();
    provider(Layout { path: path.to_owned(), options: options.clone(), header, names, kinds })
}

fn provider(layout: Layout) -> Result<Arc<dyn TableProvider>> {
    if let Some(kind) = layout.kinds.iter().find(|kind| matches!(kind, SqlType::List(_) | SqlType::Struct(_))) {
        return Err(unsupported(&format!("reading {kind} from CSV")));
    }
    let columns = layout.names.iter().zip(&layout.kinds);
    let schema: SchemaRef =
        Arc::new(Schema::new(columns.map(|(name, kind)| Field::new(name, kind.arrow(), true)).collect::<Vec<_>>()));
    // A file that cannot be opened is refused before anything else happens.
    open(&layout.path, &layout.options)?;
    let whole = Arc::clone(&schema);
    Ok(Arc::new(StreamTable::new(schema, move |projection| rows(&layout, &whole, projection))))
}

fn rows(layout: &Layout, schema: &SchemaRef, projection: &[usize]) -> Result<RowStream> {
    let schema = Arc::new(schema.project(projection).map_err(|error| crate::sql::fault::fold_arrow(&error))?);
    let mut records = open(&layout.path, &layout.options)?;
    let (layout, projection) = (layout.clone(), projection.to_vec());
    let mut skip = layout.header;
    let (of_cutting, threads) = (layout.clone(), layout.options.threads);
    let pieces = std::iter::from_fn(move || {
        let mut cut = || {
            let mut fields = Fields::default();
            if std::mem::take(&mut skip) {
                records.read(&mut fields, 1)?;
                check_counts(&fields, &of_cutting)?;
                fields.clear();
            }
            records.read(&mut fields, BATCH_ROWS)?;
            check_counts(&fields, &of_cutting)?;
            Ok((fields.len() > 0).then_some(fields))
        };
        cut().map_err(|error: Error| in_file(error, &of_cutting.path)).transpose()
    });
    // Cutting is one thread's work, because only what came before tells whether a line ends a record.
    let batches = in_order(threads, until_error(pieces), move |fields: Fields| {
        batch(&fields, &layout, &schema, &projection).map_err(|error| in_file(error, &layout.path))
    })?;
    Ok(Box::new(batches))
}

/// Ends after the first error.
fn until_error<T>(pieces: impl Iterator<Item = Result<T>>) -> impl Iterator<Item = Result<T>> {
    let mut failed = false;
    pieces.take_while(move |piece| !std::mem::replace(&mut failed, piece.is_err()))
}

fn open(path: &str, options: &Options) -> Result<Records<File>> {
    let file = File::open(path).map_err(|error| Error::io("open", Path::new(path), &error))?;
    let tabs = Path::new(path).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("tsv"));
    let delimiter = options.delimiter.unwrap_or(if tabs { b'\t' } else { b',' });
    Ok(Records::new(file, delimiter, options.quote.unwrap_or(b'"')))
}

fn in_file(error: Error, path: &str) -> Error {
    let code = if error.is(codes::VALUE) {
        codes::VALUE
    } else if error.is(codes::IO) {
        codes::IO
    } else {
        codes::FILE_FORMAT
    };
    let named = Error::new(code, format!("`{path}`, {}", error.message()));
    error.details().iter().fold(named, |named, line| named.detail(line.clone()))
}

fn check_counts(fields: &Fields, layout: &Layout) -> Result<()> {
    let expected = layout.kinds.len();
    match (0..fields.len()).find(|record| fields.count(*record) != expected) {
        None => Ok(()),
        Some(record) => {
            let found = fields.count(record);
            let message = format!("line {}: {found} fields where {expected} are expected", fields.line(record));
            Err(Error::new(codes::FILE_FORMAT, message))
        }
    }
}

fn batch(fields: &Fields, layout: &Layout, schema: &SchemaRef, projection: &[usize]) -> Result<RecordBatch> {
    let arrays = projection.iter().map(|&column| array(fields, layout, column)).collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(fields.len()));
    RecordBatch::try_new_with_options(Arc::clone(schema), arrays, &options)
        .map_err(|error| crate::sql::fault::fold_arrow(&error))
}

fn array(fields: &Fields, layout: &Layout, column: usize) -> Result<ArrayRef> {
    let null = layout.options.null.as_deref().unwrap_or_default().as_bytes();
    let bytes_of = |record: usize| {
        let (bytes, quoted) = fields.get(record, column);
        (quoted || !(bytes.is_empty() || bytes == null)).then_some(bytes)
    };
    if let Some(values) = csv_values::read(&layout.kinds[column].arrow(), fields.len(), bytes_of) {
        return Ok(values);
    }
    let value = |record: usize| -> Result<Option<&str>> {
        let Some(bytes) = bytes_of(record) else { return Ok(None) };
        let text = std::str::from_utf8(bytes);
        text.map(Some).map_err(|_| Error::new(codes::FILE_FORMAT, format!("line {}: not UTF-8", fields.line(record))))
    };
    match &layout.kinds[column] {
        SqlType::Text => {
            let mut builder = StringViewBuilder::with_capacity(fields.len());
            for record in 0..fields.len() {
                builder.append_option(value(record)?);
            }
            Ok(Arc::new(builder.finish()))
        }
        SqlType::Binary => {
            let mut builder = BinaryViewBuilder::with_capacity(fields.len());
            for record in 0..fields.len() {
                let bytes = value(record)?
                    .map(|text| bytes(text).ok_or_else(|| wrong(fields, layout, record, column)))
                    .transpose()?;
                builder.append_option(bytes);
            }
            Ok(Arc::new(builder.finish()))
        }
        kind => {
            let text = (0..fields.len()).map(value).collect::<Result<StringArray>>()?;
            let read = cast(&text, &kind.arrow(), false);
            read.map_err(|_| match first_wrong(&text, &kind.arrow()) {
                Some(record) => wrong(fields, layout, record, column),
                None => Error::new(codes::INTERNAL, format!("a column of type {kind} cannot be read")),
            })
        }
    }
}

fn cast(text: &StringArray, kind: &DataType, safe: bool) -> Result<ArrayRef, arrow::error::ArrowError> {
    // Arrow would take a moment for a date and lose its time.
    let with_time = |text: Option<&str>| text.is_some_and(|text| text.contains(':'));
    if *kind == DataType::Date32 && text.iter().any(with_time) {
        if !safe {
            return Err(arrow::error::ArrowError::CastError("a time in a date".to_owned()));
        }
        let dates = text.iter().map(|text| text.filter(|text| !text.contains(':'))).collect::<StringArray>();
        return cast_with_options(&dates, kind, &CastOptions { safe, ..CastOptions::default() });
    }
    cast_with_options(text, kind, &CastOptions { safe, ..CastOptions::default() })
}

fn first_wrong(text: &StringArray, kind: &DataType) -> Option<usize> {
    let read = cast(text, kind, true).ok()?;
    (0..text.len()).find(|row| text.is_valid(*row) && read.is_null(*row))
}

fn wrong(fields: &Fields, layout: &Layout, record: usize, column: usize) -> Error {
    let text = String::from_utf8_lossy(fields.get(record, column).0);
    let shown: String = text.chars().take(60).collect();
    let (line, name, kind) = (fields.line(record), &layout.names[column], &layout.kinds[column]);
    Error::new(codes::VALUE, format!("line {line}: `{shown}` is not of type {kind}, which column `{name}` has"))
}

/// `\x` and hexadecimal digits, as PostgreSQL writes bytes; any other text is its own bytes.
fn bytes(text: &str) -> Option<Vec<u8>> {
    let Some(digits) = text.strip_prefix("\\x") else { return Some(text.as_bytes().to_vec()) };
    if !digits.is_ascii() || !digits.len().is_multiple_of(2) {
        return None;
    }
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).ok()).collect()
}

/// The narrowest of the usual types that holds every sampled value.
fn infer(fields: &Fields, first: usize, column: usize) -> SqlType {
    let values = || {
        let records = (first..fields.len()).filter(|record| column < fields.count(*record));
        let values =
            records.map(|record| fields.get(record, column)).filter(|(bytes, quoted)| *quoted || !bytes.is_empty());
        values.map(|(bytes, _)| std::str::from_utf8(bytes).ok())
    };
    let Some(values) = values().collect::<Option<Vec<&str>>>().filter(|values| !values.is_empty()) else {
        return SqlType::Text;
    };
    let text = StringArray::from(values);
    // Digits with a zero in front are a code, such as a postcode, not a number.
    let coded = text
        .iter()
        .flatten()
        .any(|text| text.len() > 1 && text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit()));
    let boolean =
        text.iter().flatten().all(|text| text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false"));
    let candidates = [SqlType::Boolean, SqlType::BigInt, SqlType::Double, SqlType::Date, SqlType::Timestamp];
    let fitting = candidates.into_iter().find(|kind| match kind {
        SqlType::Boolean => boolean,
        SqlType::BigInt | SqlType::Double if coded => false,
        kind => first_wrong(&text, &kind.arrow()).is_none() && cast(&text, &kind.arrow(), false).is_ok(),
    });
    fitting.unwrap_or(SqlType::Text)
}

/// A first line of words above a column of something else, or of words that no other line repeats.
fn looks_like_header(fields: &Fields) -> bool {
    let words = (0..fields.count(0)).all(|column| {
        let text = String::from_utf8_lossy(fields.get(0, column).0).into_owned();
        !text.is_empty() && text.parse::<f64>().is_err() && !text.starts_with(|c: char| c.is_ascii_digit())
    });
    let typed = (0..fields.count(0)).any(|column| infer(fields, 1, column) != SqlType::Text);
    words && (typed || fields.len() > 1)
}
