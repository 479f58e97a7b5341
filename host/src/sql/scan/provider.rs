//! One version of a table as the planner sees it: columns, keys, statistics. It reads no rows.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{
    ColumnStatistics, Constraint, Constraints, DFSchema, Result, ScalarValue, Statistics, TableReference,
};
use datafusion::datasource::source::DataSourceExec;
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr, split_conjunction};
use datafusion::physical_plan::ExecutionPlan;

use super::sample;
use super::source::Source;
use crate::catalog::Table;
use crate::storage::{self, TableView};

/// The share of rows that is taken to pass conditions of which nothing is known.
pub(super) const SELECTIVITY: f64 = 0.2;

/// The name of the column of row ids, which no user can write.
pub(crate) const ROW_ID: &str = "\u{1}row";

/// A table to be scanned.
pub(crate) struct TableScan {
    pub(super) label: String,
    pub(super) view: TableView,
    pub(super) schema: SchemaRef,
    constraints: Constraints,
    known: Arc<Known>,
}

/// What was found out about a table while a statement is planned: the optimizer asks for the same many times.
#[derive(Default)]
struct Known {
    columns: Vec<OnceLock<ColumnStatistics>>,
    /// Shares of rows that pass, by conditions.
    shares: Mutex<HashMap<String, Option<f64>>>,
}

impl Known {
    fn of(columns: usize) -> Arc<Self> {
        Arc::new(Self { columns: (0..columns).map(|_| OnceLock::new()).collect(), shares: Mutex::default() })
    }
}

impl TableScan {
    /// The table's own columns.
    pub(crate) fn new(table: &Table, view: TableView) -> Self {
        let schema = table.arrow_schema();
        // Without a NULL in it, a key determines the row; that is what the planner may build on.
        let keys = table.keys.iter().filter(|key| key.primary).map(|key| Constraint::PrimaryKey(table.positions(key)));
        let constraints = Constraints::new_unverified(keys.collect());
        let known = Known::of(schema.fields().len());
        Self { label: table.label(), view, schema, constraints, known }
    }

    /// The table's columns, and behind them the row ids.
    pub(crate) fn with_row_ids(table: &Table, view: TableView) -> Self {
        let plain = Self::new(table, view);
        let mut fields = plain.schema.fields().to_vec();
        fields.push(Arc::new(Field::new(ROW_ID, DataType::UInt64, false)));
        let known = Known::of(fields.len());
        Self { schema: Arc::new(Schema::new(fields)), known, ..plain }
    }

    /// Facts about these columns over all rows.
    pub(super) fn statistics(&self, columns: &[usize]) -> Statistics {
        let parts = self.view.parts();
        let exact = parts.iter().all(|part| part.deleted_count() == 0);
        let column_statistics: Vec<_> = columns
            .iter()
            .map(|&column| self.known.columns[column].get_or_init(|| self.column_statistics(column, exact)).clone())
            .collect();
        let bytes = column_statistics.iter().map(|column| column.byte_size.get_value().copied());
        Statistics {
            num_rows: Precision::Exact(self.rows()),
            total_byte_size: bytes.sum::<Option<usize>>().map_or(Precision::Absent, Precision::Inexact),
            column_statistics,
        }
    }

    fn rows(&self) -> usize {
        usize::try_from(self.view.rows()).unwrap_or(usize::MAX)
    }

    fn column_statistics(&self, column: usize, exact: bool) -> ColumnStatistics {
        let mut result = ColumnStatistics::new_unknown();
        let of_parts = self.view.parts().iter().map(|part| part.statistics(column));
        let Some(parts) = of_parts.collect::<Option<Vec<_>>>() else { return result };
        let nulls: u64 = parts.iter().map(|part| part.nulls).sum();
        let nulls = usize::try_from(nulls).unwrap_or(usize::MAX);
        result.null_count = if exact { Precision::Exact(nulls) } else { Precision::Inexact(nulls) };
        let bytes: u64 = parts.iter().map(|part| part.bytes).sum();
        result.byte_size = Precision::Inexact(usize::try_from(bytes).unwrap_or(usize::MAX));
        if let Some(distinct) = self.distinct(column) {
            result.distinct_count = Precision::Inexact(distinct);
        }
        // NaN stands above all numbers in these bounds, not so in MIN and MAX.
        let exact = exact && !self.schema.field(column).data_type().is_floating();
        let precise = |value: Option<ScalarValue>| match value {
            Some(value) if exact => Precision::Exact(value),
            Some(value) => Precision::Inexact(value),
            None => Precision::Absent,
        };
        let bounds = |bound: fn(&storage::ColumnStatistics) -> Option<&arrow::array::ArrayRef>| {
            let values = parts.iter().filter_map(|part| bound(part));
            values.filter_map(|array| ScalarValue::try_from_array(array, 0).ok()).collect::<Vec<_>>().into_iter()
        };
        // Bounds of only some parts say nothing about the others, unless those are all null.
        let known = parts.iter().all(|part| part.min.is_some() && part.max.is_some());
        if known
            || parts.iter().all(|part| part.min.is_some() == part.max.is_some())
                && nulls > 0
                && self.bounds_hold(column)
        {
            result.min_value = precise(bounds(|part| part.min.as_ref()).reduce(|a, b| if b < a { b } else { a }));
            result.max_value = precise(bounds(|part| part.max.as_ref()).reduce(|a, b| if b > a { b } else { a }));
        }
        result
    }

    /// Whether parts without bounds for a column hold nothing but nulls in it.
    fn bounds_hold(&self, column: usize) -> bool {
        self.view.parts().iter().all(|part| {
            part.statistics(column).is_some_and(|facts| facts.min.is_some() || facts.nulls == part.written() as u64)
        })
    }

    /// About how many different values a column has.
    pub(crate) fn distinct(&self, column: usize) -> Option<usize> {
        if let Some(known) = self.known.columns.get(column).and_then(OnceLock::get) {
            return known.distinct_count.get_value().copied();
        }
        let mut joined: Option<storage::Sketch> = None;
        for part in self.view.parts() {
            let sketch = part.statistics(column)?.distinct.as_ref()?;
            match &mut joined {
                None => joined = Some(sketch.clone()),
                Some(joined) => joined.merge(sketch),
            }
        }
        let estimate = joined?.estimate().round() as usize;
        // The estimate is off by some percent; a key is not.
        let is_key = self.view.spec().keys.iter().any(|key| key.columns == [column]);
        Some(if is_key { self.rows() } else { estimate.clamp(1, self.rows().max(1)) })
    }

    /// About how many rows pass these conditions, which are those of a scan in a logical plan.
    pub(crate) fn rows_passing(&self, table: &TableReference, conditions: &[Expr]) -> f64 {
        let rows = self.view.rows() as f64;
        if conditions.is_empty() {
            return rows;
        }
        let physical = || {
            let columns = DFSchema::try_from_qualified_schema(table.clone(), &self.schema).ok()?;
            let (context, planning) = (ExecutionProps::new(), Default::default());
            let each =
                conditions.iter().map(|condition| create_physical_expr(condition, &columns, &context, &planning).ok());
            each.collect::<Option<Vec<_>>>()
        };
        let share = physical().and_then(|physical| self.share(&physical));
        rows * share.unwrap_or(SELECTIVITY)
    }

    /// The share of rows that pass conditions over the table's columns, as far as a sample tells.
    pub(super) fn share(&self, conditions: &[Arc<dyn PhysicalExpr>]) -> Option<f64> {
        let name: String = conditions.iter().map(|condition| format!("{condition}\n")).collect();
        let known = self.known.shares.lock().unwrap_or_else(PoisonError::into_inner).get(&name).copied();
        known.unwrap_or_else(|| {
            let share = sample::selectivity(self, conditions);
            self.known.shares.lock().unwrap_or_else(PoisonError::into_inner).insert(name, share);
            share
        })
    }
}

impl fmt::Debug for TableScan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableScan").field("table", &self.label).finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for TableScan {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn constraints(&self) -> Option<&Constraints> {
        Some(&self.constraints)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let supported = filters.iter().map(|filter| {
            let nested = filter.exists(|expr| {
                Ok(matches!(
                    expr,
                    Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_) | Expr::OuterReferenceColumn(..)
                ))
            })?;
            Ok(if nested { TableProviderFilterPushDown::Unsupported } else { TableProviderFilterPushDown::Exact })
        });
        supported.collect()
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let projection = projection.cloned().unwrap_or_else(|| (0..self.schema.fields().len()).collect());
        let columns = DFSchema::try_from(Arc::clone(&self.schema))?;
        let mut conjuncts = Vec::new();
        for filter in filters {
            let physical = state.create_physical_expr(filter.clone(), &columns)?;
            conjuncts.extend(split_conjunction(&physical).into_iter().cloned());
        }
        // A limit counts the rows that pass the filters, and these are the source's own.
        let table = Self {
            label: self.label.clone(),
            view: self.view.clone(),
            schema: Arc::clone(&self.schema),
            constraints: self.constraints.clone(),
            known: Arc::clone(&self.known),
        };
        let table = Arc::new(table);
        if let Some(lookup) = super::lookup::plan(&table, &projection, &conjuncts, limit)? {
            return Ok(DataSourceExec::from_data_source(lookup));
        }
        let threads = state.config().target_partitions();
        let source = Source::new(table, projection, conjuncts, limit, threads)?;
        Ok(DataSourceExec::from_data_source(source))
    }
}
