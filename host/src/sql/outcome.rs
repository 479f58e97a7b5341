//! What a statement leaves: its tag, how many rows it changed, and rows that are still to be read.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::claim::RowStream;
use super::run::Batches;
use super::session::{Finish, at_place};
use crate::error::{Place, Result};

/// The result of one statement.
#[derive(Debug)]
pub struct Outcome {
    /// The kind of statement, such as `SELECT` or `CREATE TABLE`.
    pub tag: String,
    /// How many rows were changed, for statements that change rows.
    pub affected: Option<u64>,
    /// The rows, for statements that return some.
    pub rows: Option<Rows>,
}

impl Outcome {
    /// A statement that did something.
    pub fn done(tag: impl Into<String>) -> Self {
        Self { tag: tag.into(), affected: None, rows: None }
    }

    /// A statement that changed rows.
    pub fn changed(tag: impl Into<String>, affected: u64) -> Self {
        Self { affected: Some(affected), ..Self::done(tag) }
    }

    /// A statement that returns rows.
    pub fn rows(tag: impl Into<String>, rows: Rows) -> Self {
        Self { rows: Some(rows), ..Self::done(tag) }
    }
}

/// Rows of a result, read as they are made. Dropping them ends the statement.
pub struct Rows {
    schema: SchemaRef,
    source: Source,
    finish: Option<Finish>,
    place: Option<Place>,
}

enum Source {
    Running(Batches),
    Made(RowStream),
    Ready(std::vec::IntoIter<RecordBatch>),
}

impl Rows {
    /// Rows of a running plan, under the names of `schema`.
    pub(crate) fn running(schema: SchemaRef, batches: Batches) -> Self {
        Self { schema, source: Source::Running(batches), finish: None, place: None }
    }

    /// Rows that somebody else makes.
    pub fn made(schema: SchemaRef, batches: RowStream) -> Self {
        Self { schema, source: Source::Made(batches), finish: None, place: None }
    }

    /// Rows that are there already.
    pub fn ready(schema: SchemaRef, batches: Vec<RecordBatch>) -> Self {
        Self { schema, source: Source::Ready(batches.into_iter()), finish: None, place: None }
    }

    /// Does `finish` after the last row, or with the error.
    pub(crate) fn finish_with(mut self, finish: Finish) -> Self {
        self.finish = Some(finish);
        self
    }

    /// Where errors that come while reading belong.
    pub(crate) fn placed(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    /// Whether the statement still works while rows are read.
    pub(crate) fn is_pending(&self) -> bool {
        !matches!(self.source, Source::Ready(_))
    }

    /// Names and types of the columns.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// Reads all rows.
    ///
    /// # Errors
    /// The first error that the statement runs into.
    pub fn collect_batches(self) -> Result<Vec<RecordBatch>> {
        self.collect()
    }
}

impl Iterator for Rows {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = match &mut self.source {
            Source::Running(batches) => batches.next(),
            Source::Made(batches) => batches.next(),
            Source::Ready(batches) => batches.next().map(Ok),
        };
        match next {
            Some(Ok(batch)) => Some(relabel(batch, &self.schema)),
            Some(Err(error)) => {
                let error = at_place(error, self.place.as_ref());
                Some(Err(match self.finish.take() {
                    Some(finish) => finish.failed(error),
                    None => error,
                }))
            }
            None => self.finish.take().and_then(|finish| finish.succeeded().err()).map(Err),
        }
    }
}

/// The batch under the names that the user gave; the engine's may differ, never its types.
fn relabel(batch: RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    if batch.schema_ref() == schema {
        return Ok(batch);
    }
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), batch.columns().to_vec(), &options)
        .map_err(|error| super::fault::fold_arrow(&error))
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rows").field("schema", &self.schema).finish_non_exhaustive()
    }
}
