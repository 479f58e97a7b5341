//! The scan as an operator: what was pushed into it (columns, filters, a limit), and what it tells the optimizer.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::config::ConfigOptions;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, Statistics};
use datafusion::datasource::source::{DataSource, OpenArgs};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::{Column, DynamicFilterTracking};
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_expr::utils::reassign_expr_columns;
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::DisplayFormatType;
use datafusion::physical_plan::coop::cooperative;
use datafusion::physical_plan::execution_plan::SchedulingType;
use datafusion::physical_plan::filter_pushdown::{FilterPushdownPropagation, PushedDown};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;

use super::provider::{SELECTIVITY, TableScan};
use super::stream::{Morsels, Stream};

/// A scan of a table.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) table: Arc<TableScan>,
    /// Columns of the table that come out.
    pub(super) projection: Vec<usize>,
    pub(super) projected: SchemaRef,
    /// Conditions over the columns of the table; all must hold.
    pub(super) filters: Vec<Arc<dyn PhysicalExpr>>,
    /// Conditions that tighten while the query runs.
    pub(super) dynamic: Vec<Arc<dyn PhysicalExpr>>,
    pub(super) fetch: Option<usize>,
    /// The share of rows that is taken to pass `filters`.
    share: f64,
    threads: usize,
    pub(super) metrics: ExecutionPlanMetricsSet,
}

impl Source {
    pub(super) fn new(
        table: Arc<TableScan>,
        projection: Vec<usize>,
        filters: Vec<Arc<dyn PhysicalExpr>>,
        fetch: Option<usize>,
        threads: usize,
    ) -> Result<Self> {
        let projected = Arc::new(table.schema.project(&projection)?);
        let metrics = ExecutionPlanMetricsSet::new();
        let share = share(&table, &filters);
        Ok(Self { table, projection, projected, filters, dynamic: Vec::new(), fetch, share, threads, metrics })
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("table", &self.table.label).finish_non_exhaustive()
    }
}

impl DataSource for Source {
    fn open(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        self.open_with_args(OpenArgs::new(partition, context))
    }

    fn create_sibling_state(&self, _: &ConfigOptions) -> Option<Arc<dyn Any + Send + Sync>> {
        Some(Arc::new(Morsels::default()))
    }

    fn open_with_args(&self, args: OpenArgs) -> Result<SendableRecordBatchStream> {
        let morsels = args.sibling_state.and_then(|state| state.downcast::<Morsels>().ok()).unwrap_or_default();
        let metrics = BaselineMetrics::new(&self.metrics, args.partition);
        let batch_rows = args.context.session_config().batch_size();
        let stream = Stream::new(self.clone(), morsels, batch_rows, args.partition, metrics)?;
        let stream = RecordBatchStreamAdapter::new(Arc::clone(&self.projected), futures::stream::iter(stream));
        Ok(Box::pin(cooperative(stream)))
    }

    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns: Vec<&str> = self.projected.fields().iter().map(|field| field.name().as_str()).collect();
        write!(f, "table={}, rows={}, columns=[{}]", self.table.label, self.table.view.rows(), columns.join(", "))?;
        for (label, exprs) in [("filters", &self.filters), ("dynamic", &self.dynamic)] {
            if !exprs.is_empty() {
                let exprs: Vec<String> = exprs.iter().map(ToString::to_string).collect();
                write!(f, ", {label}=[{}]", exprs.join(" AND "))?;
            }
        }
        self.fetch.map_or(Ok(()), |fetch| write!(f, ", limit={fetch}"))
    }

    fn output_partitioning(&self) -> Partitioning {
        let parts = self.table.view.parts().len().max(1);
        Partitioning::UnknownPartitioning(parts.min(self.threads))
    }

    fn eq_properties(&self) -> EquivalenceProperties {
        EquivalenceProperties::new(Arc::clone(&self.projected))
    }

    fn scheduling_type(&self) -> SchedulingType {
        SchedulingType::Cooperative
    }

    fn partition_statistics(&self, partition: Option<usize>) -> Result<Arc<Statistics>> {
        let whole = self.table.statistics(&self.projection);
        if self.filters.is_empty() && partition.is_none() && self.fetch.is_none() {
            // A dynamic filter only rules out what the join behind would rule out: it changes no estimate but this one.
            return Ok(Arc::new(if self.dynamic.is_empty() { whole } else { whole.to_inexact() }));
        }
        let rows = whole.num_rows.get_value().copied().unwrap_or_default();
        let passing = (rows as f64 * self.share).ceil() as usize;
        let limited = self.fetch.map_or(passing, |fetch| passing.min(fetch));
        let partitions = self.output_partitioning().partition_count();
        let size = if partition.is_some() { limited.div_ceil(partitions) } else { limited };
        let mut statistics = whole.to_inexact();
        statistics.num_rows = Precision::Inexact(size);
        let kept = if rows == 0 { 1.0 } else { size as f64 / rows as f64 };
        let scaled = |bytes: Precision<usize>| match bytes.get_value() {
            Some(bytes) => Precision::Inexact((*bytes as f64 * kept).ceil() as usize),
            None => Precision::Absent,
        };
        statistics.total_byte_size = scaled(statistics.total_byte_size);
        for column in &mut statistics.column_statistics {
            column.byte_size = scaled(column.byte_size);
            if let Some(distinct) = column.distinct_count.get_value() {
                column.distinct_count =
                    Precision::Inexact(left_distinct(*distinct as f64, rows as f64, limited as f64));
            }
        }
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
        // A limit was counted before these filters; they must not pass below it.
        if filters.is_empty() || self.fetch.is_some() {
            let answer = vec![PushedDown::No; filters.len()];
            return Ok(FilterPushdownPropagation::with_parent_pushdown_result(answer));
        }
        let answer = vec![PushedDown::Yes; filters.len()];
        let mut source = self.clone();
        for filter in filters {
            let dynamic = DynamicFilterTracking::classify(&filter).contains_dynamic_filter();
            let filter = reassign_expr_columns(filter, &self.table.schema)?;
            if dynamic { source.dynamic.push(filter) } else { source.filters.push(filter) }
        }
        if source.filters.len() > self.filters.len() {
            source.share = share(&source.table, &source.filters);
        }
        let source: Arc<dyn DataSource> = Arc::new(source);
        Ok(FilterPushdownPropagation::with_parent_pushdown_result(answer).with_updated_node(source))
    }

    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        for expr in self.filters.iter().chain(&self.dynamic) {
            if visit(expr)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }
}

fn share(table: &TableScan, filters: &[Arc<dyn PhysicalExpr>]) -> f64 {
    if filters.is_empty() { 1.0 } else { table.share(filters).unwrap_or(SELECTIVITY) }
}

/// How many different values are left of `distinct` among `rows`, when `left` rows are taken at random.
pub(crate) fn left_distinct(distinct: f64, rows: f64, left: f64) -> usize {
    if rows <= 0.0 || distinct <= 0.0 {
        return 0;
    }
    let gone = 1.0 - (left / rows).min(1.0);
    ((distinct * (1.0 - gone.powf(rows / distinct))).round() as usize).clamp(1, (left as usize).max(1))
}
