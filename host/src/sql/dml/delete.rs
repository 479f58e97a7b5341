//! `DELETE` and `TRUNCATE`.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::UInt64Type;
use datafusion::sql::sqlparser::ast::{Delete, FromTable, SelectItem, Statement, Truncate};

use super::foreign::Referential;
use super::insert::no_instead;
use super::returning;
use super::target::Target;
use super::update::named;
use crate::catalog::Event;
use crate::error::{Error, Result, codes};
use crate::sql::bind::Binder;
use crate::sql::fault::fold_arrow;
use crate::sql::names::{quoted, split_name};
use crate::sql::outcome::Outcome;
use crate::sql::routine::{Triggers, keep};
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
    let mut triggers = Triggers::of(scope, &target.table, Event::Delete)?;
    if target.is_view && triggers.is_none() {
        return Err(no_instead(&target.table, &Event::Delete));
    }
    let mut items = vec![target.row_id()?];
    if triggers.is_some() {
        items.extend(target.old_columns());
    } else if delete.returning.is_some() {
        // Under names of their own, so that none meets a column of USING.
        items.extend(target.table.columns.iter().map(|column| SelectItem::ExprWithAlias {
            expr: target.column(&column.name),
            alias: quoted(&column.name),
        }));
    }
    let find = target.query(items, delete.using.unwrap_or_default(), delete.selection)?;
    let plan = Binder::new(scope).plan(Statement::Query(Box::new(find)))?;
    let mut referential = Referential::new(scope, &target.table)?;
    let (mut deleted, mut kept, mut seen) = (0, Vec::new(), HashSet::new());
    for batch in query::start(scope, &plan)? {
        let batch = batch?;
        scope.token.check()?;
        if let Some(triggers) = &mut triggers {
            let gone = delete_watched(scope, &target, &batch, (triggers, &mut referential), &mut seen)?;
            deleted += gone.num_rows() as u64;
            if delete.returning.is_some() {
                kept.push(gone);
            }
            continue;
        }
        referential.removing(batch.column(0).as_primitive::<UInt64Type>().values())?;
        let (count, fresh) = delete_rows(scope, &target, &batch, delete.returning.is_some())?;
        deleted += count;
        kept.extend(fresh);
    }
    referential.finish()?;
    triggers.map_or(Ok(()), Triggers::finish)?;
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
        return Ok((scope.unit_of(&target.table)?.with(|transaction| transaction.delete(id, ids))?, None));
    }
    let mut fresh = Vec::with_capacity(ids.len());
    scope.unit_of(&target.table)?.with(|transaction| {
        for row in ids {
            fresh.push(transaction.delete(id, &[*row])? > 0);
        }
        Ok(())
    })?;
    let columns: Vec<usize> = (1..batch.num_columns()).collect();
    let rows = batch.project(&columns).and_then(|rows| filter_record_batch(&rows, &fresh.into()));
    let rows = rows.map_err(|error| fold_arrow(&error))?;
    let rows = RecordBatch::try_new(target.table.arrow_schema(), rows.columns().to_vec());
    let rows = rows.map_err(|error| fold_arrow(&error))?;
    Ok((rows.num_rows() as u64, Some(rows)))
}

/// Deletes the rows of a batch that triggers let go; gives those that went.
fn delete_watched(
    scope: &Scope,
    target: &Target,
    batch: &RecordBatch,
    (triggers, referential): (&mut Triggers, &mut Referential),
    seen: &mut HashSet<u64>,
) -> Result<RecordBatch> {
    let columns: Vec<usize> = (1..batch.num_columns()).collect();
    let project = |batch: &RecordBatch| {
        let rows = batch.project(&columns).map_err(|error| fold_arrow(&error))?;
        named(&rows, &target.table)
    };
    if target.is_view {
        let rows = project(batch)?;
        triggers.instead(Some(&rows), None)?;
        return Ok(rows);
    }
    let first = batch.column(0).as_primitive::<UInt64Type>().values().iter().map(|id| Some(seen.insert(*id)));
    let mut batch = filter_record_batch(batch, &first.collect()).map_err(|error| fold_arrow(&error))?;
    if let Some(kept) = triggers.before(Some(project(&batch)?), None)?.rows {
        batch = keep(&batch, &kept)?;
    }
    let ids = batch.column(0).as_primitive::<UInt64Type>().values();
    referential.removing(ids)?;
    scope.unit_of(&target.table)?.with(|transaction| transaction.delete(TableId(target.table.id), ids))?;
    let rows = project(&batch)?;
    triggers.remember(Some(rows.clone()), None);
    Ok(rows)
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
        let unit = scope.unit_of(&table)?;
        let view = unit.snapshot()?.table(TableId(table.id))?;
        for part in view.parts() {
            scope.token.check()?;
            let ids = part.row_ids()?;
            unit.with(|transaction| transaction.delete(TableId(table.id), ids.values()))?;
        }
    }
    if truncate.table_names.is_empty() {
        return Err(Error::new(codes::SYNTAX, "expected a table"));
    }
    Ok(Outcome::done("TRUNCATE"))
}
