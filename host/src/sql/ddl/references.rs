//! Foreign keys as `CREATE TABLE` and `ALTER TABLE` declare them: what they refer to is found and judged here; that they
//! hold is seen to by whoever changes rows.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{
    ColumnDef, ColumnOption, ConstraintReferenceMatchKind, DeferrableInitial, ForeignKeyConstraint, ReferentialAction,
};

use super::columns::free_name;
use crate::catalog::{Action, Reference, Relation, SqlType, Table, put_reference};
use crate::error::{Error, Result, codes};
use crate::sql::bind::no_table;
use crate::sql::names::{fold_ident, split_name};
use crate::sql::scope::Scope;
use crate::sql::{dml, unsupported};
use crate::storage::{TableId, Transaction};

/// In a table that has no id yet, this means the table itself.
pub(super) const ITSELF: u64 = 0;

/// Adds the foreign keys that a column's definition has; the column is there already.
pub(super) fn add_of_column(scope: &Arc<Scope>, table: &mut Table, def: &ColumnDef) -> Result<()> {
    for option in &def.options {
        if let ColumnOption::ForeignKey(key) = &option.option {
            let name = option.name.as_ref().or(key.name.as_ref()).map(fold_ident);
            add(scope, table, name, &[fold_ident(&def.name)], key)?;
        }
    }
    Ok(())
}

/// Adds a foreign key of the table.
pub(super) fn add(
    scope: &Arc<Scope>,
    table: &mut Table,
    name: Option<String>,
    columns: &[String],
    key: &ForeignKeyConstraint,
) -> Result<()> {
    if matches!(key.match_kind, Some(ConstraintReferenceMatchKind::Full | ConstraintReferenceMatchKind::Partial)) {
        return Err(unsupported("MATCH FULL and MATCH PARTIAL"));
    }
    let characteristics = key.characteristics;
    if characteristics.is_some_and(|given| given.enforced == Some(false)) {
        return Err(unsupported("NOT ENFORCED"));
    }
    let deferred = characteristics.is_some_and(|given| given.initially == Some(DeferrableInitial::Deferred));
    let parent = parent(scope, table, key)?;
    let (wanted, ids) = (referred(&parent, key)?, ids(table, columns)?);
    if wanted.len() != ids.len() {
        let message = format!("the foreign key has {} columns and refers to {}", ids.len(), wanted.len());
        return Err(Error::new(codes::PLAN, message));
    }
    // The order of the key that is referred to is that of the reference, whatever order it was written in.
    let stored = parent.stored_keys().into_iter().filter(|stored| stored.unique);
    let same = |stored: &[u32]| stored.len() == wanted.len() && stored.iter().all(|id| wanted.contains(id));
    let Some(stored) = stored.map(|stored| stored.columns.to_vec()).find(|columns| same(columns)) else {
        let message = format!("table `{}` has no key over ({})", parent.label(), parent.names_of(&wanted));
        return Err(Error::new(codes::NO_OBJECT, message).help("a foreign key refers to a primary or unique key"));
    };
    let mut paired = Vec::with_capacity(stored.len());
    for id in &stored {
        let at = wanted.iter().position(|known| known == id).unwrap_or_default();
        paired.push(ids[at]);
        fits(table, ids[at], &parent, *id)?;
    }
    let default = format!("{}_{}_fkey", table.name, columns.join("_"));
    let name = free_name(table, name.unwrap_or(default))?;
    let on = |action: &Option<ReferentialAction>| match action {
        None | Some(ReferentialAction::NoAction) => Action::NoAction,
        Some(ReferentialAction::Restrict) => Action::Restrict,
        Some(ReferentialAction::Cascade) => Action::Cascade,
        Some(ReferentialAction::SetNull) => Action::SetNull,
        Some(ReferentialAction::SetDefault) => Action::SetDefault,
    };
    table.references.push(Reference {
        name,
        columns: paired,
        table: parent.id,
        key: stored,
        on_delete: on(&key.on_delete),
        on_update: on(&key.on_update),
        deferred,
    });
    Ok(())
}

fn parent(scope: &Arc<Scope>, table: &Table, key: &ForeignKeyConstraint) -> Result<Table> {
    let (schema, name) = split_name(&key.foreign_table)?;
    if schema.as_ref().is_none_or(|schema| *schema == table.schema) && name == table.name {
        return Ok(table.clone());
    }
    let schema = scope.schema_or_default(schema);
    if scope.attached(&schema).is_some() {
        return Err(unsupported("a foreign key that refers to another database"));
    }
    match scope.catalog.relation(&schema, &name)?.as_deref() {
        Some(Relation::Table(parent)) => Ok(parent.clone()),
        Some(Relation::View(_)) => {
            Err(Error::new(codes::UNSUPPORTED, format!("`{name}` is a view, to which no foreign key can refer")))
        }
        None => Err(no_table(scope, &schema, &name)),
    }
}

/// The columns that the key refers to: those that it names, or the primary key.
fn referred(parent: &Table, key: &ForeignKeyConstraint) -> Result<Vec<u32>> {
    if key.referred_columns.is_empty() {
        let primary = parent.keys.iter().find(|key| key.primary);
        let missing = || {
            let error = Error::new(codes::NO_OBJECT, format!("table `{}` has no primary key", parent.label()));
            error.help("name the columns that the foreign key refers to")
        };
        return primary.map(|key| key.columns.clone()).ok_or_else(missing);
    }
    ids(parent, &key.referred_columns.iter().map(fold_ident).collect::<Vec<_>>())
}

fn ids(table: &Table, columns: &[String]) -> Result<Vec<u32>> {
    let id = |name: &String| {
        let at = table.position(name).ok_or_else(|| dml::no_column(table, name))?;
        Ok(table.columns[at].id)
    };
    columns.iter().map(id).collect()
}

/// A column refers to one of its own type, or of one that holds all its values.
fn fits(table: &Table, column: u32, parent: &Table, key: u32) -> Result<()> {
    let of = |table: &Table, id: u32| table.columns.iter().find(|column| column.id == id).cloned();
    let (Some(child), Some(parent)) = (of(table, column), of(parent, key)) else { return Ok(()) };
    let width = |kind: &SqlType| match kind {
        SqlType::TinyInt => Some(8),
        SqlType::SmallInt => Some(16),
        SqlType::Integer => Some(32),
        SqlType::BigInt => Some(64),
        _ => None,
    };
    let holds = match (width(&child.kind), width(&parent.kind)) {
        (Some(child), Some(parent)) => child <= parent,
        _ => child.kind == parent.kind,
    };
    if holds {
        return Ok(());
    }
    let message = format!(
        "column `{}` is of type {} and cannot refer to column `{}`, which is of type {}",
        child.name, child.kind, parent.name, parent.kind
    );
    Err(Error::new(codes::TYPE, message))
}

/// Keeps the list of who refers to whom. A table to which a reference comes or goes counts as altered, so that who changes
/// its rows meanwhile, and knows nothing of the reference, conflicts.
pub(super) fn note(transaction: &Transaction, child: u64, old: &[Reference], new: &[Reference]) -> Result<()> {
    let parents = |references: &[Reference]| -> std::collections::BTreeSet<u64> {
        references.iter().map(|reference| reference.table).collect()
    };
    let (before, after) = (parents(old), parents(new));
    for &parent in before.symmetric_difference(&after) {
        put_reference(transaction, parent, child, after.contains(&parent))?;
    }
    for reference in new.iter().filter(|reference| reference.table != child && !old.contains(reference)) {
        let parent = TableId(reference.table);
        let spec = transaction.snapshot().table(parent)?.spec().clone();
        let columns = (0..spec.schema.fields().len()).map(Some).collect();
        transaction.alter_table(parent, spec, columns)?;
    }
    Ok(())
}
