//! The only code that talks to the terminal: stdout is data, stderr is everything else. It refuses to ask anything when
//! there is no terminal, and to treat a reader that went away (a broken pipe) as an error.

use std::cell::{Cell, RefCell};
use std::env;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use serde_json::{Value, json};

use super::format::{Format, Screen};
use super::progress::Progress;
use super::report;
use crate::error::{Error, Result, codes};

/// Bytes of a result that are gathered before they are written.
const BUFFER_BYTES: usize = 64 * 1024;
/// Rows of a table shown on a terminal.
const TERMINAL_ROWS_MAX: usize = 40;
/// Rows of a table shown elsewhere: a bound for memory, since columns cannot be aligned before the last row is seen.
const TABLE_ROWS_MAX: usize = 10_000;

/// Where output goes and how it looks.
pub struct Ui {
    format: Cell<Option<Format>>,
    quiet: bool,
    stdout_is_terminal: bool,
    stderr_is_terminal: bool,
    colour_allowed: bool,
    closed: Cell<bool>,
    failure: RefCell<Option<Error>>,
    buffer: RefCell<Vec<u8>>,
}

impl Ui {
    /// Output in `format`, or in each command's own default.
    pub fn new(format: Option<Format>, quiet: bool) -> Self {
        // https://no-color.org: any value that is not empty switches colour off.
        let no_color = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self {
            format: Cell::new(format),
            quiet,
            stdout_is_terminal: io::stdout().is_terminal(),
            stderr_is_terminal: io::stderr().is_terminal(),
            colour_allowed: !no_color && !dumb,
            closed: Cell::new(false),
            failure: RefCell::default(),
            buffer: RefCell::default(),
        }
    }

    /// The format of results.
    pub fn format(&self) -> Format {
        self.format.get().unwrap_or_default()
    }

    /// Changes the format of results.
    pub fn set_format(&self, format: Format) {
        self.format.set(Some(format));
    }

    /// Characters of a line on stdout.
    pub fn width(&self) -> usize {
        self.screen().width.map_or(80, usize::from)
    }

    /// Whether output is meant for programs: then prose would be noise.
    pub fn is_structured(&self) -> bool {
        !matches!(self.format(), Format::Table | Format::Markdown)
    }

    /// Whether statements would have to be typed.
    pub fn stdin_is_terminal(&self) -> bool {
        io::stdin().is_terminal()
    }

    /// Whether stdout may carry colour.
    pub fn colours_stdout(&self) -> bool {
        self.colour_allowed && self.stdout_is_terminal
    }

    /// Whether a person can be asked: questions go to stderr and answers come from stdin.
    pub fn can_ask(&self) -> bool {
        self.stderr_is_terminal && io::stdin().is_terminal()
    }

    /// Whether only results, warnings and errors are wanted.
    pub fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Asks a person, who is there by [`Ui::can_ask`], and gives the line that came back.
    ///
    /// # Errors
    /// If stdin cannot be read.
    pub fn ask(&self, question: &str) -> Result<String> {
        self.complain(question);
        let mut answer = String::new();
        io::stdin().read_line(&mut answer).map_err(|error| Error::io("read from", Path::new("stdin"), &error))?;
        Ok(answer)
    }

    /// Whether the reader of stdout went away. Work whose only purpose is output should stop then.
    pub fn is_closed(&self) -> bool {
        self.closed.get()
    }

    /// Writes a result in the chosen format as it arrives; returns the number of rows.
    ///
    /// # Errors
    /// Those of the batches, and of values that cannot be shown.
    pub fn rows(&self, schema: &SchemaRef, batches: impl Iterator<Item = Result<RecordBatch>>) -> Result<u64> {
        let format = self.format();
        if format == Format::Arrow && self.stdout_is_terminal {
            return Err(Error::new(codes::USAGE, "`--format arrow` is binary and stdout is a terminal")
                .help("redirect it: kodiak sql --format arrow -c '...' > result.arrow"));
        }
        let mut sink = format.sink(self.screen());
        let (mut out, mut rows, mut started) = (self.buffer.take(), 0_u64, false);
        for batch in batches {
            let batch = batch?;
            // The header waits for the first batch, so that a statement that fails at once writes nothing.
            if !started {
                sink.start(schema, &mut out)?;
                started = true;
            }
            rows += batch.num_rows() as u64;
            sink.batch(&batch, &mut out)?;
            if out.len() >= BUFFER_BYTES || self.stdout_is_terminal {
                self.write(&mut out);
            }
            if self.is_closed() {
                return Ok(rows);
            }
        }
        if !started {
            sink.start(schema, &mut out)?;
        }
        sink.finish(&mut out)?;
        self.write(&mut out);
        self.buffer.replace(out);
        Ok(rows)
    }

    /// Writes one batch as a result.
    ///
    /// # Errors
    /// As [`Ui::rows`].
    pub fn batch(&self, batch: RecordBatch) -> Result<u64> {
        let schema = batch.schema();
        self.rows(&schema, std::iter::once(Ok(batch)))
    }

    /// Writes a list of JSON objects: as they are in json and jsonl, as a table of `columns` in the other formats.
    ///
    /// # Errors
    /// As [`Ui::rows`].
    pub fn objects(&self, columns: &[&str], objects: &[Value]) -> Result<()> {
        match self.format() {
            Format::Json => {
                let lines: Vec<String> = objects.iter().map(Value::to_string).collect();
                self.say(&format!("[{}]", lines.join(",\n")));
            }
            Format::Jsonl => objects.iter().for_each(|object| self.say(&object.to_string())),
            _ => {
                let fields: Vec<Field> =
                    columns.iter().map(|name| Field::new(*name, column_type(objects, name), true)).collect();
                let arrays = columns.iter().map(|name| column_of(objects, name)).collect();
                let schema = Arc::new(Schema::new(fields));
                let batch = RecordBatch::try_new(schema, arrays)
                    .map_err(|error| Error::new(codes::INTERNAL, error.to_string()))?;
                self.batch(batch)?;
            }
        }
        Ok(())
    }

    /// Writes facts about one thing: a JSON object in json and jsonl, `name  value` lines for people, rows otherwise.
    ///
    /// # Errors
    /// As [`Ui::rows`].
    pub fn facts(&self, facts: &[(&str, Value)]) -> Result<()> {
        match self.format() {
            Format::Json | Format::Jsonl => {
                let fields: Vec<String> = facts.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
                self.say(&format!("{{{}}}", fields.join(",")));
            }
            Format::Table => {
                let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
                for (name, value) in facts {
                    self.say(&format!("{name:<width$}  {}", text_of(value).unwrap_or_default()));
                }
            }
            _ => {
                let text = |(name, value): &(&str, Value)| json!({"name": name, "value": text_of(value)});
                self.objects(&["name", "value"], &facts.iter().map(text).collect::<Vec<_>>())?;
            }
        }
        Ok(())
    }

    /// Writes a line to stdout at once: data, or what a command exists to say.
    pub fn say(&self, line: &str) {
        self.data(format!("{line}\n").as_bytes());
    }

    /// Writes bytes to stdout at once.
    pub fn data(&self, bytes: &[u8]) {
        self.write(&mut bytes.to_vec());
    }

    /// Tells a person something on stderr, unless told to be quiet.
    pub fn note(&self, line: &str) {
        if !self.quiet {
            self.complain(&format!("{line}\n"));
        }
    }

    /// Tells a person what a statement did, if one is looking: scripts want silence.
    pub fn done(&self, line: &str) {
        if self.stderr_is_terminal {
            self.note(line);
        }
    }

    /// Writes a machine-readable line to stderr.
    pub fn trace(&self, line: &str) {
        self.complain(&format!("{line}\n"));
    }

    /// Reports something that went less well than it should, on stderr, even when quiet.
    pub fn warn(&self, message: &str) {
        self.complain(&report::warning_text(message, self.colour_allowed && self.stderr_is_terminal));
    }

    /// Reports an error on stderr.
    pub fn error(&self, error: &Error) {
        self.complain(&report::error_text(error, self.colour_allowed && self.stderr_is_terminal));
    }

    /// Shows that something is under way: a bar on a terminal, one line at the end elsewhere.
    pub fn progress(&self, label: &str, total: u64, unit: &'static str) -> Progress {
        Progress::start(label, total, unit, self.stderr_is_terminal && !self.quiet, self.colour_allowed)
    }

    fn screen(&self) -> Screen {
        let width = self.stdout_is_terminal.then(|| comfy_table::Table::new().width().unwrap_or(80));
        let rows_max = if self.stdout_is_terminal { TERMINAL_ROWS_MAX } else { TABLE_ROWS_MAX };
        Screen { width, rows_max, colour: self.colour_allowed && self.stdout_is_terminal }
    }

    /// Ends all output.
    ///
    /// # Errors
    /// If something written to stdout was lost, for example because its disk is full.
    pub fn finish(&self) -> Result<()> {
        self.failure.take().map_or(Ok(()), Err)
    }

    /// Writes and empties the buffer. A failure ends output for good; that nobody is left to read is no error.
    fn write(&self, out: &mut Vec<u8>) {
        if !self.closed.get() {
            let mut stdout = io::stdout().lock();
            if let Err(error) = stdout.write_all(out).and_then(|()| stdout.flush()) {
                self.closed.set(true);
                if error.kind() != io::ErrorKind::BrokenPipe {
                    self.failure.replace(Some(Error::io("write to", Path::new("stdout"), &error)));
                }
            }
        }
        out.clear();
    }

    fn complain(&self, text: &str) {
        let _ = io::stderr().lock().write_all(text.as_bytes());
    }
}

fn column_type(objects: &[Value], name: &str) -> DataType {
    let integers = objects.iter().all(|object| object[name].is_i64() || object[name].is_null());
    let any = objects.iter().any(|object| object[name].is_i64());
    if integers && any { DataType::Int64 } else { DataType::Utf8 }
}

fn column_of(objects: &[Value], name: &str) -> ArrayRef {
    match column_type(objects, name) {
        DataType::Int64 => {
            Arc::new(objects.iter().map(|object| object[name].as_i64()).collect::<arrow::array::Int64Array>())
        }
        _ => Arc::new(objects.iter().map(|object| text_of(&object[name])).collect::<StringArray>()),
    }
}

/// A JSON value as a person wants to read it; none for null.
fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Array(items) => Some(items.iter().filter_map(text_of).collect::<Vec<_>>().join(", ")),
        other => Some(other.to_string()),
    }
}
