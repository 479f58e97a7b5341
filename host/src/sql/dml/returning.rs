//! `RETURNING`: a query over the rows that a statement has just written or removed.

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::datasource::MemTable;
use datafusion::sql::sqlparser::ast::{SelectItem, SetExpr, Statement};

use super::target::{named_table, select_from};
use crate::catalog::Table;
use crate::error::Result;
use crate::sql::bind::{Binder, GIVEN};
use crate::sql::fault::fold;
use crate::sql::outcome::{Outcome, Rows};
use crate::sql::scope::Scope;
use crate::sql::session::lock;
use crate::sql::{parse, query};

/// The outcome of a statement that returns rows.
pub(super) fn outcome(
    scope: &Arc<Scope>,
    tag: &str,
    table: &Table,
    alias: &str,
    items: Vec<SelectItem>,
    rows: Vec<RecordBatch>,
) -> Result<Outcome> {
    let affected = rows.iter().map(|batch| batch.num_rows() as u64).sum();
    let given = MemTable::try_new(table.arrow_schema(), vec![rows]).map_err(|error| fold(&error))?;
    lock(&scope.found).given.insert(table.name.clone(), Arc::new(given));
    let mut query = parse::query("SELECT 1")?;
    if let SetExpr::Select(select) = query.body.as_mut() {
        select.projection = items;
        select.from = select_from(named_table(Some(GIVEN), table, alias), Vec::new());
    }
    let plan = Binder::new(scope).plan(Statement::Query(Box::new(query)))?;
    // Read to the end now: the statement is done only when its RETURNING has not failed.
    let running = query::start(scope, &plan)?;
    let schema = query::visible(running.schema());
    let returned = running.collect::<Result<Vec<_>>>()?;
    Ok(Outcome { tag: tag.to_owned(), affected: Some(affected), rows: Some(Rows::ready(schema, returned)) })
}
