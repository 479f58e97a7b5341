//! Runs every `slt/*.slt` file against a database of its own in memory. A value is shown as PostgreSQL's `psql` shows
//! it, NULL as `NULL`, an empty text as `(empty)`; an error as its code, SQLSTATE, message and help in one line.

use std::fmt;
use std::path::{Path, PathBuf};

use arrow::array::{Array, AsArray};
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use kodiak::{Connection, Database};
use sqllogictest::{DB, DBOutput, DefaultColumnType, Runner};

struct Session(Connection);

#[derive(Debug)]
struct Failure(kodiak::Error);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = &self.0;
        write!(f, "{} {}: {}", error.code(), error.sqlstate().unwrap_or("-"), error.message())?;
        error.details().iter().try_for_each(|line| write!(f, "; {line}"))?;
        if let Some(help) = error.help_text() {
            write!(f, "; help: {help}")?;
        }
        match error.place() {
            Some(place) => write!(f, "; at {}:{}", place.line, place.column),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Failure {}

impl DB for Session {
    type Error = Failure;
    type ColumnType = DefaultColumnType;

    fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Failure> {
        let mut output = DBOutput::StatementComplete(0);
        for outcome in self.0.script(sql, "slt") {
            let outcome = outcome.map_err(Failure)?;
            output = match outcome.rows {
                None => DBOutput::StatementComplete(outcome.affected.unwrap_or(0)),
                Some(rows) => {
                    let schema = rows.schema();
                    let types = schema.fields().iter().map(|field| column_type(field.data_type())).collect();
                    let mut shown = Vec::new();
                    for batch in rows {
                        let batch = batch.map_err(Failure)?;
                        for row in 0..batch.num_rows() {
                            shown.push(batch.columns().iter().map(|array| value(array.as_ref(), row)).collect());
                        }
                    }
                    DBOutput::Rows { types, rows: shown }
                }
            };
        }
        Ok(output)
    }

    fn error_sql_state(error: &Failure) -> Option<String> {
        error.0.sqlstate().map(str::to_owned)
    }
}

fn column_type(kind: &DataType) -> DefaultColumnType {
    match kind {
        kind if kind.is_integer() => DefaultColumnType::Integer,
        kind if kind.is_floating() => DefaultColumnType::FloatingPoint,
        _ => DefaultColumnType::Text,
    }
}

fn value(array: &dyn Array, row: usize) -> String {
    if array.is_null(row) {
        return "NULL".to_owned();
    }
    if let DataType::BinaryView | DataType::Binary = array.data_type() {
        let bytes = match array.data_type() {
            DataType::Binary => array.as_binary::<i32>().value(row),
            _ => array.as_binary_view().value(row),
        };
        return format!("\\x{}", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    }
    let formatter = ArrayFormatter::try_new(array, &FormatOptions::default().with_null("NULL")).expect("a formatter");
    match formatter.value(row).to_string() {
        text if text.is_empty() => "(empty)".to_owned(),
        text => text,
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("the folder of tests");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "slt"));
    files.sort();
    files
}

#[test]
fn every_file_of_sql_passes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("slt");
    let files = files(&folder);
    assert!(files.len() > 5, "the tests are not where they are looked for");
    let only = std::env::var("SLT").unwrap_or_default();
    let mut failures = Vec::new();
    for file in files.iter().filter(|file| file.to_string_lossy().contains(&only)) {
        let database = Database::memory().expect("a database in memory");
        let mut runner = Runner::new(|| {
            let database = database.clone();
            async move { database.connect().map(Session).map_err(Failure) }
        });
        if let Err(error) = runner.run_file(file) {
            failures.push(format!("{}", error.display(false)));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
