//! Zone maps: which parts of a table cannot hold a row that passes, by least value, greatest value and nulls alone.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, UInt64Array};
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, ScalarValue};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr_common::physical_expr::{snapshot_generation, snapshot_physical_expr};
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;

use super::provider::TableScan;
use crate::storage::{ColumnStatistics, Part};

/// For each part, whether it may hold rows that pass all filters.
pub(super) fn keep(table: &TableScan, filters: &[Arc<dyn PhysicalExpr>]) -> Vec<bool> {
    let mut keep = vec![true; table.view.parts().len()];
    for filter in filters {
        if let Some(parts) = prune(table, Arc::clone(filter)) {
            keep.iter_mut().zip(parts).for_each(|(keep, part)| *keep &= part);
        }
    }
    keep
}

/// A filter that tightens, with what was last found about the parts.
pub(super) struct Dynamic {
    filter: Arc<dyn PhysicalExpr>,
    seen: Option<(u64, Option<Vec<bool>>)>,
}

impl Dynamic {
    pub(super) fn new(filter: Arc<dyn PhysicalExpr>) -> Self {
        Self { filter, seen: None }
    }

    /// Whether a part may hold rows that pass what the filter is now.
    pub(super) fn may_hold(&mut self, table: &TableScan, part: usize) -> bool {
        let generation = snapshot_generation(&self.filter);
        if self.seen.as_ref().is_none_or(|(seen, _)| *seen != generation) {
            let now = snapshot_physical_expr(Arc::clone(&self.filter)).ok();
            self.seen = Some((generation, now.and_then(|filter| prune(table, filter))));
        }
        match &self.seen {
            Some((_, Some(parts))) => parts[part],
            _ => true,
        }
    }
}

/// What the filter says about each part; nothing, if it says nothing about bounds.
fn prune(table: &TableScan, filter: Arc<dyn PhysicalExpr>) -> Option<Vec<bool>> {
    let builder = PruningPredicateBuilder::new().with_file_schema(Arc::clone(&table.schema));
    let predicate = builder.build(filter)?;
    predicate.prune(&Zones(table)).ok()
}

struct Zones<'a>(&'a TableScan);

impl Zones<'_> {
    fn bounds(&self, column: &Column, bound: fn(&ColumnStatistics) -> Option<&ArrayRef>) -> Option<ArrayRef> {
        let (index, field) = self.0.schema.column_with_name(&column.name)?;
        let unknown = ScalarValue::try_from(field.data_type()).ok()?;
        let of_part = |part: &Part| {
            let array = part.statistics(index).and_then(bound);
            array.and_then(|array| ScalarValue::try_from_array(array, 0).ok()).unwrap_or_else(|| unknown.clone())
        };
        ScalarValue::iter_to_array(self.0.view.parts().iter().map(of_part)).ok()
    }
}

impl PruningStatistics for Zones<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bounds(column, |statistics| statistics.min.as_ref())
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bounds(column, |statistics| statistics.max.as_ref())
    }

    fn num_containers(&self) -> usize {
        self.0.view.parts().len()
    }

    /// Nulls are counted over rows as written: after a deletion nobody knows how many are left.
    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        let (index, _) = self.0.schema.column_with_name(&column.name)?;
        let parts = self.0.view.parts().iter();
        let counts =
            parts.map(|part| part.statistics(index).filter(|_| part.deleted_count() == 0).map(|known| known.nulls));
        Some(Arc::new(counts.collect::<UInt64Array>()))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        let counts = self.0.view.parts().iter().map(|part| Some(part.rows() as u64));
        Some(Arc::new(counts.collect::<UInt64Array>()))
    }

    fn contained(&self, _: &Column, _: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}
