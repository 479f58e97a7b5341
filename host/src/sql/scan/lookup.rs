//! A lookup: where conditions name few rows by a key, these are fetched, and the table is not scanned. Conditions are
//! tested again on what was fetched, so that a key need only say where rows may be.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, UInt64Array};
use arrow::compute::{filter_record_batch, prep_null_mask_filter};
use arrow::datatypes::SchemaRef;
use datafusion::common::config::ConfigOptions;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, ScalarValue, Statistics};
use datafusion::datasource::source::DataSource;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, InListExpr, Literal};
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_expr::utils::{collect_columns, reassign_expr_columns};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::DisplayFormatType;
use datafusion::physical_plan::coop::cooperative;
use datafusion::physical_plan::filter_pushdown::{FilterPushdownPropagation, PushedDown};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;

use super::provider::TableScan;
use crate::sql::fault::external;
use crate::storage::KeySpan;

/// Of so many rows one may be fetched instead of scanned: fetching a row costs about as much as scanning so many.
const ROWS_PER_FETCH: u64 = 24;
/// So few rows are fetched from a table of any size.
const FETCHED_ALWAYS: usize = 16;
/// Values of an `IN` list.
const VALUES_MAX: usize = 1000;

/// Rows of a table by their ids.
#[derive(Clone)]
pub(super) struct Lookup {
    table: Arc<TableScan>,
    key: String,
    ids: Arc<Vec<u64>>,
    projection: Vec<usize>,
    projected: SchemaRef,
    filters: Vec<Arc<dyn PhysicalExpr>>,
    fetch: Option<usize>,
    metrics: ExecutionPlanMetricsSet,
}

/// What conditions say of one column.
#[derive(Default)]
struct Known {
    values: Option<Vec<ScalarValue>>,
    lower: Option<(ScalarValue, bool)>,
    upper: Option<(ScalarValue, bool)>,
}

/// The lookup that does for a scan with these conditions, if some key makes them name few rows.
pub(super) fn plan(
    table: &Arc<TableScan>,
    projection: &[usize],
    filters: &[Arc<dyn PhysicalExpr>],
    fetch: Option<usize>,
) -> Result<Option<Lookup>> {
    let keys = &table.view.spec().keys;
    if keys.is_empty() || filters.is_empty() {
        return Ok(None);
    }
    let known: Vec<(usize, Known)> = known(table, filters);
    let of = |column: &usize| known.iter().find(|(at, _)| at == column).map(|(_, known)| known);
    let mut best: Option<(usize, (usize, bool), Vec<KeySpan>)> = None;
    for (at, key) in keys.iter().enumerate() {
        let Some((spans, equal, bounded)) = spans(&key.columns, of) else { continue };
        let rank = (equal, bounded);
        if best.as_ref().is_none_or(|(_, known, _)| *known < rank) {
            best = Some((at, rank, spans));
        }
    }
    let Some((at, (equal, _), spans)) = best else { return Ok(None) };
    let is_unique = keys[at].unique && equal == keys[at].columns.len();
    let rows_max = match is_unique {
        true => VALUES_MAX,
        false => usize::try_from(table.view.rows() / ROWS_PER_FETCH).unwrap_or(usize::MAX).max(FETCHED_ALWAYS),
    };
    let mut ids = BTreeSet::new();
    for span in &spans {
        match table.view.select(at, span, rows_max.saturating_sub(ids.len())).map_err(external)? {
            Some(found) => ids.extend(found),
            None => return Ok(None),
        }
    }
    Ok(Some(Lookup {
        table: Arc::clone(table),
        key: keys[at].name.clone(),
        ids: Arc::new(ids.into_iter().collect()),
        projection: projection.to_vec(),
        projected: Arc::new(table.schema.project(projection)?),
        filters: filters.to_vec(),
        fetch,
        metrics: ExecutionPlanMetricsSet::new(),
    }))
}

/// The spans of a key that conditions leave, how many columns have values, and whether the next one has bounds.
fn spans<'a>(columns: &[usize], of: impl Fn(&usize) -> Option<&'a Known>) -> Option<(Vec<KeySpan>, usize, bool)> {
    let mut spans = vec![KeySpan::default()];
    let mut equal = 0;
    let one = |value: &ScalarValue| value.to_array().ok();
    for column in columns {
        let Some(known) = of(column) else { break };
        if let Some(values) = &known.values {
            if spans.len() * values.len() > VALUES_MAX {
                break;
            }
            let values = values.iter().map(one).collect::<Option<Vec<_>>>()?;
            let with = |span: &KeySpan, value: &ArrayRef| {
                let mut span = span.clone();
                span.equal.push(Arc::clone(value));
                span
            };
            spans = spans.iter().flat_map(|span| values.iter().map(move |value| with(span, value))).collect();
            equal += 1;
            continue;
        }
        let bound = |bound: &Option<(ScalarValue, bool)>| {
            bound.as_ref().and_then(|(value, counts)| Some((one(value)?, *counts)))
        };
        for span in &mut spans {
            (span.lower, span.upper) = (bound(&known.lower), bound(&known.upper));
        }
        return Some((spans, equal, true));
    }
    (equal > 0).then_some((spans, equal, false))
}

/// Columns of which conditions name values or bounds, in the columns' own types.
fn known(table: &TableScan, filters: &[Arc<dyn PhysicalExpr>]) -> Vec<(usize, Known)> {
    let mut all: Vec<(usize, Known)> = Vec::new();
    let literal = |expr: &Arc<dyn PhysicalExpr>, column: usize| {
        let value = expr.downcast_ref::<Literal>()?.value();
        let fits = !value.is_null() && value.data_type() == *table.schema.field(column).data_type();
        fits.then(|| value.clone())
    };
    for filter in filters {
        if let Some(list) = filter.downcast_ref::<InListExpr>() {
            let Some(column) = list.expr().downcast_ref::<Column>().filter(|_| !list.negated()) else { continue };
            let values = list.list().iter().map(|value| literal(value, column.index())).collect::<Option<Vec<_>>>();
            if let Some(values) = values.filter(|values| values.len() <= VALUES_MAX) {
                entry(&mut all, column.index()).values.get_or_insert(values);
            }
            continue;
        }
        let Some(binary) = filter.downcast_ref::<BinaryExpr>() else { continue };
        if let Some((column, values)) = alternatives(binary) {
            let values = values.iter().map(|value| literal(value, column)).collect::<Option<Vec<_>>>();
            if let Some(values) = values {
                entry(&mut all, column).values.get_or_insert(values);
            }
            continue;
        }
        let (column, value, operator) = match binary.left().downcast_ref::<Column>() {
            Some(column) => (column.index(), binary.right(), Some(*binary.op())),
            None => match binary.right().downcast_ref::<Column>() {
                Some(column) => (column.index(), binary.left(), binary.op().swap()),
                None => continue,
            },
        };
        let (Some(operator), Some(value)) = (operator, literal(value, column)) else { continue };
        match operator {
            Operator::Eq => {
                entry(&mut all, column).values = Some(vec![value]);
            }
            Operator::Gt | Operator::GtEq => {
                entry(&mut all, column).lower.get_or_insert((value, operator == Operator::GtEq));
            }
            Operator::Lt | Operator::LtEq => {
                entry(&mut all, column).upper.get_or_insert((value, operator == Operator::LtEq));
            }
            _ => {}
        }
    }
    all
}

/// `column = value OR column = value ...`: what the optimizer makes of a short list.
fn alternatives(binary: &BinaryExpr) -> Option<(usize, Vec<Arc<dyn PhysicalExpr>>)> {
    if *binary.op() != Operator::Or {
        return None;
    }
    let mut values = Vec::new();
    let mut column = None;
    for side in [binary.left(), binary.right()] {
        let side = side.downcast_ref::<BinaryExpr>()?;
        let (of, more) = match side.op() {
            Operator::Eq => (side.left().downcast_ref::<Column>()?.index(), vec![Arc::clone(side.right())]),
            _ => alternatives(side)?,
        };
        if *column.get_or_insert(of) != of {
            return None;
        }
        values.extend(more);
    }
    Some((column?, values))
}

fn entry(all: &mut Vec<(usize, Known)>, column: usize) -> &mut Known {
    let at = all.iter().position(|(known, _)| *known == column).unwrap_or_else(|| {
        all.push((column, Known::default()));
        all.len() - 1
    });
    &mut all[at].1
}

impl Lookup {
    fn batches(&self, rows: usize) -> impl Iterator<Item = Result<RecordBatch>> + use<> {
        let (lookup, mut at, mut left) = (self.clone(), 0, self.fetch.unwrap_or(usize::MAX));
        std::iter::from_fn(move || {
            while at < lookup.ids.len() && left > 0 {
                let end = lookup.ids.len().min(at + rows.max(1));
                let batch = lookup.batch(&lookup.ids[at..end]);
                at = end;
                match batch {
                    Ok(batch) if batch.num_rows() == 0 => {}
                    Ok(batch) => {
                        let batch = batch.slice(0, batch.num_rows().min(left));
                        left -= batch.num_rows();
                        return Some(Ok(batch));
                    }
                    Err(error) => {
                        at = lookup.ids.len();
                        return Some(Err(error));
                    }
                }
            }
            None
        })
    }

    fn batch(&self, ids: &[u64]) -> Result<RecordBatch> {
        let mut columns: BTreeSet<usize> = self.projection.iter().copied().collect();
        for filter in &self.filters {
            columns.extend(collect_columns(filter).iter().map(|column| column.index()));
        }
        let columns: Vec<usize> = columns.into_iter().collect();
        let stored = self.table.view.spec().schema.fields().len();
        let inner: Vec<usize> = columns.iter().copied().filter(|column| *column < stored).collect();
        let fetched = self.table.view.fetch(ids, &inner).map_err(external)?;
        let mut arrays: Vec<ArrayRef> = fetched.columns().to_vec();
        if inner.len() < columns.len() {
            arrays.push(Arc::new(UInt64Array::from(ids.to_vec())));
        }
        let schema: SchemaRef = Arc::new(self.table.schema.project(&columns)?);
        let options = RecordBatchOptions::new().with_row_count(Some(ids.len()));
        let mut batch = RecordBatch::try_new_with_options(Arc::clone(&schema), arrays, &options)?;
        for filter in &self.filters {
            let filter = reassign_expr_columns(Arc::clone(filter), &schema)?;
            let mask = filter.evaluate(&batch)?.into_array(batch.num_rows())?;
            let mask = mask.as_boolean();
            let mask = if mask.null_count() > 0 { prep_null_mask_filter(mask) } else { mask.clone() };
            batch = filter_record_batch(&batch, &mask)?;
        }
        let output: Vec<usize> =
            self.projection.iter().filter_map(|column| columns.binary_search(column).ok()).collect();
        Ok(batch.project(&output)?)
    }
}

impl fmt::Debug for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookup").field("table", &self.table.label).finish_non_exhaustive()
    }
}

impl DataSource for Lookup {
    fn open(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let batches = self.batches(context.session_config().batch_size()).inspect(move |batch| {
            if let Ok(batch) = batch {
                metrics.record_output(batch.num_rows());
            }
        });
        let stream = RecordBatchStreamAdapter::new(Arc::clone(&self.projected), futures::stream::iter(batches));
        Ok(Box::pin(cooperative(stream)))
    }

    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns: Vec<&str> = self.projected.fields().iter().map(|field| field.name().as_str()).collect();
        let (table, key, rows) = (&self.table.label, &self.key, self.ids.len());
        write!(f, "table={table}, index={key}, rows={rows}, columns=[{}]", columns.join(", "))?;
        let exprs: Vec<String> = self.filters.iter().map(ToString::to_string).collect();
        write!(f, ", filters=[{}]", exprs.join(" AND "))?;
        self.fetch.map_or(Ok(()), |fetch| write!(f, ", limit={fetch}"))
    }

    fn output_partitioning(&self) -> Partitioning {
        Partitioning::UnknownPartitioning(1)
    }

    fn eq_properties(&self) -> EquivalenceProperties {
        EquivalenceProperties::new(Arc::clone(&self.projected))
    }

    fn partition_statistics(&self, _: Option<usize>) -> Result<Arc<Statistics>> {
        let mut statistics = self.table.statistics(&self.projection).to_inexact();
        let rows = self.fetch.map_or(self.ids.len(), |fetch| fetch.min(self.ids.len()));
        statistics.num_rows = Precision::Inexact(rows);
        Ok(Arc::new(statistics))
    }

    fn with_fetch(&self, fetch: Option<usize>) -> Option<Arc<dyn DataSource>> {
        Some(Arc::new(Self { fetch, ..self.clone() }))
    }

    fn fetch(&self) -> Option<usize> {
        self.fetch
    }

    fn metrics(&self) -> ExecutionPlanMetricsSet {
        self.metrics.clone()
    }

    fn try_swapping_with_projection(&self, projection: &ProjectionExprs) -> Result<Option<Arc<dyn DataSource>>> {
        let mut columns = Vec::new();
        for item in projection.iter() {
            match item.expr.downcast_ref::<Column>() {
                Some(column) if column.name() == item.alias => columns.push(self.projection[column.index()]),
                _ => return Ok(None),
            }
        }
        let projected = Arc::new(self.table.schema.project(&columns)?);
        Ok(Some(Arc::new(Self { projection: columns, projected, ..self.clone() })))
    }

    fn try_pushdown_filters(
        &self,
        filters: Vec<Arc<dyn PhysicalExpr>>,
        _: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn DataSource>>> {
        // So few rows are not worth it.
        Ok(FilterPushdownPropagation::with_parent_pushdown_result(vec![PushedDown::No; filters.len()]))
    }

    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        for expr in &self.filters {
            if visit(expr)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }
}
