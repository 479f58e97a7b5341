//! `DELETE` and `TRUNCATE`.

use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::UInt64Type;
use datafusion::sql::sqlparser::ast::{Delete, FromTable, SelectItem, Statement, Truncate};

use super::foreign::Referential;
use super::returning;
use super::target::Target;
use crate::error::{Error, Result, codes};
use crate::sql::bind::Binder;
use crate::sql::names::{quoted, split_name};
use crate::sql::outcome::Outcome;
use crate::sql::scope::Scope;
use crate::sql::{query, unsupported};
use crate::storage::TableId;

/// `DELETE FROM t [USING ...] [WHERE ...] [RETURNING ...]`.
pub(crate) fn delete(scope: &Arc<Scope>, delete: Delete) -> Result<Outcome> {
    let other =
        !delete.tables.is_empty() || delete.output.is_some() || !delete.order_by.is_empty() || delete.limit.is_some();
    if other {
        return Err(unsupported("ORDER BY, LIMIT and several tables in DELETE"));
    }
    let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = &delete.from;
    let [from] = from.as_slice() else { return Err(unsupported("DELETE from several tables")) };
    let target = Target::new(scope, from)?;
    let mut items = vec![target.row_id()];
    if delete.returning.is_some() {
        // Under names of their own, so that none meets a column of USING.
        items.extend(target.table.columns.iter().map(|column| SelectItem::ExprWithAlias {
            expr: target.column(&column.name),
            alias: quoted(&column.name),
        }));
    }
    let find = target.query(items, delete.using.unwrap_or_default(), delete.selection)?;
    let plan = Binder::new(scope).plan(Statement::Query(Box::new(find)))?;
    let mut referential = Referential::new(scope, &target.table)?;
    let (mut deleted, mut kept) = (0, Vec::new());
    for batch in query::start(scope, &plan)? {
        let batch = batch?;
        scope.token.check()?;
        referential.removing(batch.column(0).as_primitive::<UInt64Type>().values())?;
        let (count, fresh) = delete_rows(scope, &target, &batch, delete.returning.is_some())?;
        deleted += count;
        kept.extend(fresh);
    }
    referential.finish()?;
    match delete.returning {
        None => Ok(Outcome::changed("DELETE", deleted)),
        Some(items) => returning::outcome(scope, "DELETE", &target.table, &target.alias, items, kept),
    }
}

/// Deletes the rows of a batch; with `USING` one row may be found again and again, but it goes only once.
fn delete_rows(scope: &Scope, target: &Target, batch: &RecordBatch, keep: bool) -> Result<(u64, Option<RecordBatch>)> {
    let ids = batch.column(0).as_primitive::<UInt64Type>().values();
    let id = TableId(target.table.id);
    if !keep {
        return Ok((scope.unit.with(|transaction| transaction.delete(id, ids))?, None));
    }
    let mut fresh = Vec::with_capacity(ids.len());
    scope.unit.with(|transaction| {
        for row in ids {
            fresh.push(transaction.delete(id, &[*row])? > 0);
        }
        Ok(())
    })?;
    let columns: Vec<usize> = (1..batch.num_columns()).collect();
    let rows = batch.project(&columns).and_then(|rows| arrow::compute::filter_record_batch(&rows, &fresh.into()));
    let rows = rows.map_err(|error| crate::sql::fault::fold_arrow(&error))?;
    let rows = RecordBatch::try_new(target.table.arrow_schema(), rows.columns().to_vec());
    let rows = rows.map_err(|error| crate::sql::fault::fold_arrow(&error))?;
    Ok((rows.num_rows() as u64, Some(rows)))
}

/// `TRUNCATE [TABLE] t, ...`.
pub(crate) fn truncate(scope: &Arc<Scope>, truncate: &Truncate) -> Result<Outcome> {
    let other = truncate.partitions.is_some()
        || truncate.identity.is_some()
        || truncate.cascade.is_some()
        || truncate.on_cluster.is_some();
    if other {
        return Err(unsupported("options of TRUNCATE"));
    }
    let mut truncated = Vec::with_capacity(truncate.table_names.len());
    for name in &truncate.table_names {
        let (schema, name) = split_name(&name.name)?;
        truncated.push(scope.table_to_change(&scope.schema_or_default(schema), &name)?.id);
    }
    for name in &truncate.table_names {
        let (schema, name) = split_name(&name.name)?;
        let table = scope.table_to_change(&scope.schema_or_default(schema), &name)?;
        crate::sql::ddl::refuse_referred(scope, &table, &truncated)?;
        let view = scope.unit.snapshot()?.table(TableId(table.id))?;
        for part in view.parts() {
            scope.token.check()?;
            let ids = part.row_ids()?;
            scope.unit.with(|transaction| transaction.delete(TableId(table.id), ids.values()))?;
        }
    }
    if truncate.table_names.is_empty() {
        return Err(Error::new(codes::SYNTAX, "expected a table"));
    }
    Ok(Outcome::done("TRUNCATE"))
}
