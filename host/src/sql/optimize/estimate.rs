//! How many rows a plan makes, and how many different values a column of it has: from samples and sketches of tables, and
//! textbook rules for what is made of them. It is wrong often, by design; nothing but speed may depend on it.

use datafusion::common::{Column, JoinType};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::{Expr, LogicalPlan, TableScan as Scan};

use crate::sql::scan::{TableScan, left_distinct};

/// What a table that is not ours is taken to have.
const ROWS_UNKNOWN: f64 = 1000.0;
/// The share of rows that is taken to pass a condition.
const SELECTIVITY: f64 = 0.2;
/// The share of rows that is taken to have a partner, or none.
const SEMI_SHARE: f64 = 0.5;

/// Rows that come out.
pub(super) fn rows(plan: &LogicalPlan) -> f64 {
    match plan {
        LogicalPlan::TableScan(scan) => {
            let found = with_table(scan, |table| table.rows_passing(&scan.table_name, &scan.filters));
            let rows = found.unwrap_or(ROWS_UNKNOWN);
            scan.fetch.map_or(rows, |fetch| rows.min(fetch as f64))
        }
        LogicalPlan::Filter(filter) => rows(&filter.input) * SELECTIVITY,
        LogicalPlan::Aggregate(aggregate) => {
            let input = rows(&aggregate.input);
            let groups = aggregate.group_expr.iter().map(|group| match group {
                Expr::Column(column) => distinct(&aggregate.input, column, input),
                _ => input.sqrt(),
            });
            groups.product::<f64>().min(input).max(1.0)
        }
        LogicalPlan::Join(join) => {
            let (left, right) = (rows(&join.left), rows(&join.right));
            match join.join_type {
                JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => left * SEMI_SHARE,
                JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => right * SEMI_SHARE,
                JoinType::Left => left.max(right),
                _ => {
                    let shares = join.on.iter().map(|pair| match pair {
                        (Expr::Column(one), Expr::Column(other)) => {
                            let values = distinct(&join.left, one, left).max(distinct(&join.right, other, right));
                            1.0 / values.max(1.0)
                        }
                        _ => 0.1,
                    });
                    (left * right * shares.product::<f64>()).max(1.0)
                }
            }
        }
        LogicalPlan::Limit(limit) => rows(&limit.input).min(ROWS_UNKNOWN),
        other => other.inputs().first().map_or(1.0, |input| rows(input)),
    }
}

/// Different values of a column among so many rows of a plan.
pub(super) fn distinct(plan: &LogicalPlan, column: &Column, among: f64) -> f64 {
    let unknown = among.max(1.0);
    match plan {
        LogicalPlan::TableScan(scan) => with_table(scan, |table| {
            let position = scan.source.schema().index_of(&column.name).ok()?;
            let all = table.rows_passing(&scan.table_name, &[]);
            Some(left_distinct(table.distinct(position)? as f64, all, among).max(1) as f64)
        })
        .flatten()
        .unwrap_or(unknown),
        LogicalPlan::SubqueryAlias(alias) => {
            distinct(&alias.input, &Column::new_unqualified(column.name.clone()), among)
        }
        LogicalPlan::Join(join) if join.left.schema().has_column(column) => distinct(&join.left, column, among),
        LogicalPlan::Join(join) => distinct(&join.right, column, among),
        LogicalPlan::Filter(_) | LogicalPlan::Sort(_) | LogicalPlan::Limit(_) => {
            plan.inputs().first().map_or(unknown, |input| distinct(input, column, among))
        }
        LogicalPlan::Projection(projection) => {
            let mut columns = projection.expr.iter().zip(projection.schema.fields());
            let found = columns.find(|(_, field)| *field.name() == column.name);
            match found.map(|(expr, _)| expr.clone().unalias()) {
                Some(Expr::Column(inner)) => distinct(&projection.input, &inner, among),
                _ => unknown,
            }
        }
        _ => unknown,
    }
}

fn with_table<T>(scan: &Scan, ask: impl FnOnce(&TableScan) -> T) -> Option<T> {
    let provider = source_as_provider(&scan.source).ok()?;
    provider.downcast_ref::<TableScan>().map(ask)
}
