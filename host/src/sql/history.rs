//! Old versions and branches in SQL: `AS OF`, `USE BRANCH`, and the table function `changes`. It refuses to keep
//! versions: that is storage's.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringViewArray};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::catalog::TableProvider;
use datafusion::common::ScalarValue;
use datafusion::datasource::MemTable;

use super::fault::{fold, fold_arrow};
use super::names::fold_ident;
use super::parse;
use super::scope::Scope;
use super::session::Session;
use crate::catalog::{Relation, SqlType};
use crate::error::{Error, Result, codes};
use crate::storage::{At, Change, TableId};

/// The table function of what changed between two versions.
pub(super) const CHANGES: &str = "changes";

/// The version that a value after `AS OF VERSION` means.
pub(super) fn version(value: ScalarValue) -> Result<At> {
    let whole = value.cast_to(&DataType::Int64).ok();
    match whole {
        Some(ScalarValue::Int64(Some(version))) if version >= 0 => Ok(At::Version(version.unsigned_abs())),
        _ => Err(Error::new(codes::VALUE, format!("`{value}` is no number of a version"))),
    }
}

/// The time that a value after `AS OF TIMESTAMP` means; without a zone it is UTC.
pub(super) fn time(value: ScalarValue) -> Result<At> {
    match value.cast_to(&SqlType::TimestampTz.arrow()).ok() {
        Some(ScalarValue::TimestampMicrosecond(Some(time), _)) => Ok(At::Time(time)),
        _ => Err(Error::new(codes::VALUE, format!("`{value}` is no time"))),
    }
}

/// The scope of a statement as it would have been then.
pub(super) fn scope(scope: &Scope, at: At) -> Result<Scope> {
    let branch = scope.unit.with(|transaction| Ok(transaction.branch().to_owned()))?;
    Ok(scope.over(scope.session.engine.store.snapshot_at(&branch, at)?))
}

/// The name in `USE BRANCH name`.
pub(super) fn use_branch(text: &str) -> Result<String> {
    let rest = text.trim_start().get(3..).map(str::trim_start).and_then(|rest| rest.get(6..)).unwrap_or_default();
    match parse::expression(rest)? {
        datafusion::sql::sqlparser::ast::Expr::Identifier(name) => Ok(fold_ident(&name)),
        datafusion::sql::sqlparser::ast::Expr::Value(value) => {
            value.value.into_string().ok_or_else(|| Error::new(codes::SYNTAX, "USE BRANCH takes a name"))
        }
        _ => Err(Error::new(codes::SYNTAX, "USE BRANCH takes a name")),
    }
}

/// Goes on on another branch.
pub(super) fn switch(session: &Session, name: &str) -> Result<()> {
    if session.in_transaction() || session.is_inside() {
        return Err(Error::new(codes::IN_TRANSACTION, "USE BRANCH cannot run inside a transaction"));
    }
    session.engine.store.snapshot_of(name)?;
    session.change_settings(|settings| {
        name.clone_into(&mut settings.branch);
        Ok(())
    })
}

/// `changes(table, from, to)`: the rows that the one version has and the other has not, with `change` before the
/// table's columns: `insert`, `delete`, and for rows with the same primary key `update_before` and `update_after`.
pub(super) fn changes(scope: &Arc<Scope>, values: &[ScalarValue]) -> Result<Arc<dyn TableProvider>> {
    let [table, from, to] = values else {
        return Err(Error::new(codes::PARAMETERS, "`changes` takes a table, and the two versions to compare"));
    };
    let name = table.try_as_str().flatten();
    let name = name.ok_or_else(|| Error::new(codes::PARAMETERS, "the first argument of `changes` names a table"))?;
    let (schema, name) = match name.split_once('.') {
        Some((schema, name)) => (schema.to_owned(), name),
        None => (scope.path.clone(), name),
    };
    let (from, to) = (self::scope(scope, version(from.clone())?)?, self::scope(scope, version(to.clone())?)?);
    let id = |scope: &Scope| -> Result<Option<TableId>> {
        match scope.catalog.relation(&schema, name)?.as_deref() {
            Some(Relation::Table(table)) => Ok(Some(TableId(table.id))),
            Some(Relation::View(_)) => Err(Error::new(codes::UNSUPPORTED, format!("`{name}` is a view"))),
            None => Ok(None),
        }
    };
    let id = match id(&to)? {
        Some(id) => id,
        None => id(&from)?.ok_or_else(|| super::bind::no_table(scope, &schema, name))?,
    };
    let changes = to.catalog.snapshot().changes_since(from.catalog.snapshot(), id)?;
    let mut fields = vec![Arc::new(Field::new("change", DataType::Utf8View, false))];
    fields.extend(changes.schema.fields().iter().cloned());
    let schema = Arc::new(Schema::new(fields));
    let mut batches = Vec::new();
    for (change, rows) in changes.batches {
        let word = match change {
            Change::Insert => "insert",
            Change::Delete => "delete",
            Change::UpdateBefore => "update_before",
            Change::UpdateAfter => "update_after",
        };
        let words: ArrayRef = Arc::new(StringViewArray::from_iter_values(std::iter::repeat_n(word, rows.num_rows())));
        let columns = std::iter::once(words).chain(rows.columns().iter().cloned()).collect();
        batches.push(RecordBatch::try_new(Arc::clone(&schema), columns).map_err(|error| fold_arrow(&error))?);
    }
    Ok(Arc::new(MemTable::try_new(schema, vec![batches]).map_err(|error| fold(&error))?))
}
