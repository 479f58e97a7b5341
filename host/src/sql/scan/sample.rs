//! How many rows pass: measured on a few thousand rows from all over the table when a query is planned, so that joins are
//! put in a good order. It answers nothing when a condition fails on a row of the sample.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, RecordBatchOptions};
use arrow::compute::{filter_record_batch, prep_null_mask_filter};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::utils::{collect_columns, reassign_expr_columns};

use super::provider::TableScan;
use crate::storage::{Part, expose};

/// Parts that are looked into.
const PARTS_MAX: usize = 8;
/// Rows of each, in as many places.
const ROWS_PER_PART: usize = 512;
const PLACES_PER_PART: usize = 2;

/// The share of rows that pass all conditions over the table's columns.
pub(super) fn selectivity(table: &TableScan, conditions: &[Arc<dyn PhysicalExpr>]) -> Option<f64> {
    let columns: BTreeSet<usize> = conditions.iter().flat_map(collect_columns).map(|column| column.index()).collect();
    let columns: Vec<usize> = columns.into_iter().collect();
    let stored = table.view.spec().schema.fields().len();
    if columns.last().is_some_and(|last| *last >= stored) {
        return None;
    }
    let schema = Arc::new(table.schema.project(&columns).ok()?);
    let conditions: Vec<_> = conditions
        .iter()
        .map(|condition| reassign_expr_columns(Arc::clone(condition), &schema).ok())
        .collect::<Option<_>>()?;
    let parts = table.view.parts();
    let step = parts.len().div_ceil(PARTS_MAX).max(1);
    let chosen: Vec<&Part> = parts.iter().skip(step / 2).step_by(step).collect();
    let is_whole = chosen.len() == parts.len() && parts.iter().all(|part| part.written() <= ROWS_PER_PART);
    let (mut seen, mut passed) = (0, 0);
    for part in chosen {
        let places = if part.written() <= ROWS_PER_PART { 1 } else { PLACES_PER_PART };
        let size = part.written().min(ROWS_PER_PART / places);
        for place in 0..places {
            let start = (part.written() - size) * place / places.max(2).saturating_sub(1);
            let arrays = columns.iter().map(|&column| {
                let lean = part.lean(column).ok()?.slice(start, size);
                expose(&lean, table.schema.field(column).data_type()).ok()
            });
            let options = RecordBatchOptions::new().with_row_count(Some(size));
            let rows = RecordBatch::try_new_with_options(Arc::clone(&schema), arrays.collect::<Option<_>>()?, &options);
            seen += size;
            passed += passing(rows.ok()?, &conditions)?;
        }
    }
    if is_whole {
        return Some(if seen == 0 { 0.0 } else { passed as f64 / seen as f64 });
    }
    // Nothing in the sample does not mean nothing in the table.
    Some((passed as f64 + 0.5) / (seen as f64 + 1.0))
}

fn passing(mut rows: RecordBatch, conditions: &[Arc<dyn PhysicalExpr>]) -> Option<usize> {
    for condition in conditions {
        let mask = condition.evaluate(&rows).ok()?.into_array(rows.num_rows()).ok()?;
        let mask = mask.as_boolean_opt()?;
        let mask = if mask.null_count() > 0 { prep_null_mask_filter(mask) } else { mask.clone() };
        rows = filter_record_batch(&rows, &mask).ok()?;
    }
    Some(rows.num_rows())
}
