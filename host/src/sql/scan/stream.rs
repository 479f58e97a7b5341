//! The work of a scan: parts are taken from a counter that all partitions share, so that nobody idles while another
//! still has much to do; filters run one after the other, each only over what the earlier ones left.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::{filter_record_batch, prep_null_mask_filter};
use arrow::datatypes::SchemaRef;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::utils::{collect_columns, reassign_expr_columns};
use datafusion::physical_plan::metrics::BaselineMetrics;

use super::source::Source;
use super::zones;
use crate::sql::fault::external;
use crate::storage::Part;

/// Which part comes next, and which can be left out: shared by the partitions of one execution.
#[derive(Debug, Default)]
pub(super) struct Morsels {
    next: AtomicUsize,
    keep: OnceLock<Vec<bool>>,
}

/// One partition's rows.
pub(super) struct Stream {
    source: Source,
    morsels: Arc<Morsels>,
    batch_rows: usize,
    metrics: BaselineMetrics,
    /// Columns of the table that are read: those of the filters and those that come out.
    columns: Vec<usize>,
    read_schema: SchemaRef,
    /// Filters over `read_schema`.
    filters: Vec<Arc<dyn PhysicalExpr>>,
    dynamic: Vec<zones::Dynamic>,
    /// For each column that comes out, its position among those that are read.
    output: Vec<usize>,
    current: Option<(RecordBatch, usize)>,
    left: usize,
}

impl Stream {
    pub(super) fn new(
        source: Source,
        morsels: Arc<Morsels>,
        batch_rows: usize,
        metrics: BaselineMetrics,
    ) -> Result<Self> {
        let mut columns: BTreeSet<usize> = source.projection.iter().copied().collect();
        for filter in source.filters.iter().chain(&source.dynamic) {
            columns.extend(collect_columns(filter).iter().map(|column| column.index()));
        }
        let columns: Vec<usize> = columns.into_iter().collect();
        let read_schema: SchemaRef = Arc::new(source.table.schema.project(&columns)?);
        let filters = source.filters.iter().chain(&source.dynamic);
        let filters = filters.map(|filter| reassign_expr_columns(Arc::clone(filter), &read_schema));
        let filters = filters.collect::<Result<Vec<_>>>()?;
        let output = source.projection.iter().filter_map(|column| columns.binary_search(column).ok()).collect();
        let dynamic = source.dynamic.iter().map(|filter| zones::Dynamic::new(Arc::clone(filter))).collect();
        let left = source.fetch.unwrap_or(usize::MAX);
        Ok(Self {
            source,
            morsels,
            batch_rows,
            metrics,
            columns,
            read_schema,
            filters,
            dynamic,
            output,
            current: None,
            left,
        })
    }

    fn step(&mut self) -> Result<Option<RecordBatch>> {
        while self.left > 0 {
            let Some((part, offset)) = self.current.take() else {
                match self.next_part()? {
                    Some(part) => self.current = Some((part, 0)),
                    None => return Ok(None),
                }
                continue;
            };
            let rows = self.batch_rows.min(part.num_rows() - offset);
            let batch = part.slice(offset, rows);
            if offset + rows < part.num_rows() {
                self.current = Some((part, offset + rows));
            }
            let Some(batch) = self.passing(batch)? else { continue };
            let batch = batch.project(&self.output)?;
            let batch = if batch.num_rows() > self.left { batch.slice(0, self.left) } else { batch };
            self.left -= batch.num_rows();
            return Ok(Some(batch));
        }
        Ok(None)
    }

    fn next_part(&mut self) -> Result<Option<RecordBatch>> {
        let table = Arc::clone(&self.source.table);
        let parts = table.view.parts();
        loop {
            let at = self.morsels.next.fetch_add(1, Ordering::Relaxed);
            let Some(part) = parts.get(at) else { return Ok(None) };
            let keep = self.morsels.keep.get_or_init(|| zones::keep(&table, &self.source.filters));
            if !keep[at] || !self.dynamic.iter_mut().all(|filter| filter.may_hold(&table, at)) {
                continue;
            }
            let batch = self.read(part)?;
            if batch.num_rows() > 0 {
                return Ok(Some(batch));
            }
        }
    }

    /// A part's columns, the row ids among them if they are asked for.
    fn read(&self, part: &Part) -> Result<RecordBatch> {
        let stored = self.source.table.view.spec().schema.fields().len();
        let columns: Vec<usize> = self.columns.iter().copied().filter(|column| *column < stored).collect();
        let batch = part.read(&columns).map_err(external)?;
        let mut arrays: Vec<ArrayRef> = batch.columns().to_vec();
        if columns.len() < self.columns.len() {
            arrays.push(Arc::new(part.row_ids().map_err(external)?));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.read_schema), arrays, &options)?)
    }

    fn passing(&self, mut batch: RecordBatch) -> Result<Option<RecordBatch>> {
        for filter in &self.filters {
            match filter.evaluate(&batch)? {
                ColumnarValue::Scalar(ScalarValue::Boolean(Some(true))) => {}
                ColumnarValue::Scalar(_) => return Ok(None),
                ColumnarValue::Array(mask) => {
                    let mask: &BooleanArray = mask.as_boolean();
                    let mask = if mask.null_count() > 0 { prep_null_mask_filter(mask) } else { mask.clone() };
                    match mask.true_count() {
                        0 => return Ok(None),
                        count if count == batch.num_rows() => {}
                        _ => batch = filter_record_batch(&batch, &mask)?,
                    }
                }
            }
        }
        Ok(Some(batch))
    }
}

impl Iterator for Stream {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let elapsed = self.metrics.elapsed_compute().clone();
        let _timer = elapsed.timer();
        let step = self.step();
        match &step {
            Ok(Some(batch)) => self.metrics.record_output(batch.num_rows()),
            // An error is the last thing that is told.
            Ok(None) | Err(_) => self.left = 0,
        }
        step.transpose()
    }
}
