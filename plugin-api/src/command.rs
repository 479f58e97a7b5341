//! The command `kodiak <extension>`: arguments by clap, the result as text or as a table that the host renders.

use crate::abi::{AbiCommandOutcome, RNone, RSome};
use crate::arrow::{BatchReader, export_stream};
use crate::error::{Error, Result};
use crate::host::Call;
use arrow_array::RecordBatch;

/// What a command gave.
#[derive(Default)]
pub struct Output {
    exit_code: u8,
    text: String,
    rows: Option<BatchReader>,
}

impl Output {
    /// Nothing to say.
    pub fn done() -> Self {
        Self::default()
    }

    /// Text for standard output.
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// A table, rendered by the host in the format that the user chose.
    pub fn rows(reader: BatchReader) -> Self {
        Self { rows: Some(reader), ..Self::default() }
    }

    /// All rows of a table at once.
    pub fn batch(batch: RecordBatch) -> Self {
        let schema = batch.schema();
        Self::rows(Box::new(arrow_array::RecordBatchIterator::new([Ok(batch)], schema)))
    }

    /// Ends the process with this code: 1 for differences or failures found.
    #[must_use]
    pub fn exit_code(mut self, code: u8) -> Self {
        self.exit_code = code;
        self
    }

    pub(crate) fn into_abi(self) -> AbiCommandOutcome {
        AbiCommandOutcome {
            exit_code: self.exit_code.into(),
            text: self.text.into(),
            errors: Default::default(),
            rows: self.rows.map_or(RNone, |rows| RSome(export_stream(rows))),
            options: Default::default(),
        }
    }
}

pub(crate) type Run<P> = Box<dyn Fn(&P, &Call, &[String]) -> Result<Output> + Send + Sync>;

/// Parses arguments by clap: help and version go to standard output, usage errors end with exit code 2.
pub(crate) fn parsed<P, A: clap::Parser>(
    run: impl Fn(&P, &Call, A) -> Result<Output> + Send + Sync + 'static,
) -> Run<P> {
    Box::new(move |plugin, call, arguments| match A::try_parse_from(arguments) {
        Ok(parsed) => run(plugin, call, parsed),
        Err(error) if error.use_stderr() => Err(usage_error(&error, &arguments[0])),
        Err(help) => Ok(Output::text(help.render().to_string())),
    })
}

/// What clap says against the arguments, in the host's shape.
fn usage_error(error: &clap::Error, program: &str) -> Error {
    let text = error.render().to_string();
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("For more"));
    let message = lines.next().unwrap_or_default().trim_start_matches("error: ").replace('\'', "`");
    let error = Error::new("KDK-0002", message).help(format!("{program} --help"));
    lines.fold(error, Error::detail)
}
