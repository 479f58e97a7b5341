//! A table whose rows somebody makes one batch after the other: a file's reader, a function of an extension. It pushes
//! the choice of columns down and nothing else.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result as EngineResult;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;

use super::claim::RowStream;
use super::fault::external;
use crate::error::Result;

/// Opens the rows; gets the positions of the wanted columns, and every batch has exactly these.
type Open = Arc<dyn Fn(&[usize]) -> Result<RowStream> + Send + Sync>;

/// A table made of one stream.
pub(crate) struct StreamTable {
    schema: SchemaRef,
    open: Open,
}

impl StreamTable {
    pub(crate) fn new(schema: SchemaRef, open: impl Fn(&[usize]) -> Result<RowStream> + Send + Sync + 'static) -> Self {
        Self { schema, open: Arc::new(open) }
    }
}

impl fmt::Debug for StreamTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StreamTable")
    }
}

#[async_trait]
impl TableProvider for StreamTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        limit: Option<usize>,
    ) -> EngineResult<Arc<dyn ExecutionPlan>> {
        let projection = projection.cloned().unwrap_or_else(|| (0..self.schema.fields().len()).collect());
        let schema = Arc::new(self.schema.project(&projection)?);
        let partition = Partition { open: Arc::clone(&self.open), projection, schema: Arc::clone(&schema) };
        StreamingTable::try_new(schema, vec![Arc::new(partition)])?.scan(state, None, &[], limit).await
    }
}

struct Partition {
    open: Open,
    projection: Vec<usize>,
    schema: SchemaRef,
}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Partition")
    }
}

impl PartitionStream for Partition {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let rows: RowStream = match (self.open)(&self.projection) {
            Ok(rows) => rows,
            Err(error) => Box::new(std::iter::once(Err(error))),
        };
        let stream = futures::stream::iter(rows.map(|batch| batch.map_err(external)));
        let stream = RecordBatchStreamAdapter::new(Arc::clone(&self.schema), stream);
        Box::pin(datafusion::physical_plan::coop::cooperative(stream))
    }
}
