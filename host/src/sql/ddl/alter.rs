//! `ALTER TABLE`: columns come, go and get other names; so does the table. Rows are not rewritten, except to fill a new
//! column that has a default.

use std::sync::Arc;

use datafusion::logical_expr::{Expr, LogicalPlanBuilder};
use datafusion::sql::sqlparser::ast::{
    AlterColumnOperation, AlterTable, AlterTableOperation, ColumnDef, ObjectName, RenameTableNameKind,
};

use super::columns::{add_column, add_constraint, check_checks, check_default, spec};
use super::{exists, is_taken, references};
use crate::catalog::{Generated, Relation, Table, drop_relation, put_relation};
use crate::error::{Error, Result, codes};
use crate::sql::names::{fold_ident, split_name};
use crate::sql::outcome::Outcome;
use crate::sql::routine::move_triggers;
use crate::sql::scope::Scope;
use crate::sql::{dml, unsupported};
use crate::storage::TableId;

/// `ALTER TABLE [IF EXISTS] t ...`.
pub(crate) fn alter_table(scope: &Arc<Scope>, alter: AlterTable) -> Result<Outcome> {
    let (schema, name) = split_name(&alter.name)?;
    let schema = scope.schema_or_default(schema);
    if alter.if_exists && scope.catalog.relation(&schema, &name)?.is_none() {
        return Ok(Outcome::done("ALTER TABLE"));
    }
    if alter.only || alter.location.is_some() || alter.on_cluster.is_some() || alter.table_type.is_some() {
        return Err(unsupported("this form of ALTER TABLE"));
    }
    let [operation] = alter.operations.as_slice() else {
        return Err(unsupported("several changes in one ALTER TABLE"));
    };
    let table = super::table::existing(scope, &schema, &name)?;
    change(scope, table, operation)?;
    Ok(Outcome::done("ALTER TABLE"))
}

fn change(scope: &Arc<Scope>, mut table: Table, operation: &AlterTableOperation) -> Result<()> {
    let old = table.clone();
    match operation {
        AlterTableOperation::AddColumn { if_not_exists, column_def, column_position: None, .. } => {
            let name = fold_ident(&column_def.name);
            if *if_not_exists && table.position(&name).is_some() {
                return Ok(());
            }
            return add(scope, table, column_def);
        }
        AlterTableOperation::DropColumn { column_names, if_exists, drop_behavior: None, .. } => {
            for name in column_names {
                let name = fold_ident(name);
                match table.position(&name) {
                    Some(at) => remove_column(scope, &mut table, at)?,
                    None if *if_exists => {}
                    None => return Err(dml::no_column(&table, &name)),
                }
            }
        }
        AlterTableOperation::RenameColumn { old_column_name, new_column_name } => {
            let at = position(&table, &fold_ident(old_column_name))?;
            let new = fold_ident(new_column_name);
            if table.position(&new).is_some() {
                return Err(Error::new(codes::EXISTS, format!("the column `{new}` exists already")));
            }
            refuse_used(&table, &table.columns[at].name, "renamed")?;
            table.columns[at].name = new;
        }
        AlterTableOperation::RenameTable { table_name } => {
            let (RenameTableNameKind::As(name) | RenameTableNameKind::To(name)) = table_name;
            return rename(scope, table, name);
        }
        AlterTableOperation::AlterColumn { column_name, op } => {
            let at = position(&table, &fold_ident(column_name))?;
            match op {
                AlterColumnOperation::SetNotNull => table.columns[at].not_null = true,
                AlterColumnOperation::DropNotNull => drop_not_null(&mut table, at)?,
                AlterColumnOperation::SetDefault { .. } | AlterColumnOperation::DropDefault
                    if table.columns[at].generated.is_some() =>
                {
                    let text = format!("the column `{}` makes its own values", table.columns[at].name);
                    return Err(Error::new(codes::PLAN, text).with_sqlstate("42601"));
                }
                AlterColumnOperation::SetDefault { value } => {
                    check_default(scope, &table.columns[at], value)?;
                    table.columns[at].default = Some(value.to_string());
                }
                AlterColumnOperation::DropDefault => table.columns[at].default = None,
                _ => return Err(unsupported("ALTER COLUMN ... TYPE")),
            }
        }
        AlterTableOperation::AddConstraint { constraint, not_valid: false } => {
            add_constraint(scope, &mut table, constraint)?;
            store(scope, &old, &table)?;
            let fresh = scope.again()?;
            return dml::check_all(&fresh, &table, old.checks.len(), old.references.len());
        }
        AlterTableOperation::DropConstraint { if_exists, name, drop_behavior: None } => {
            let name = fold_ident(name);
            let before = (table.keys.len(), table.checks.len(), table.references.len());
            table.keys.retain(|key| key.name != name);
            table.checks.retain(|check| check.name != name);
            table.references.retain(|reference| reference.name != name);
            if before == (table.keys.len(), table.checks.len(), table.references.len()) {
                if *if_exists {
                    return Ok(());
                }
                let message = format!("table `{}` has no constraint `{name}`", table.label());
                return Err(Error::new(codes::NO_OBJECT, message));
            }
            refuse_needed_keys(scope, &table)?;
        }
        other => return Err(unsupported(&format!("ALTER TABLE {other}"))),
    }
    store(scope, &old, &table)
}

fn position(table: &Table, name: &str) -> Result<usize> {
    table.position(name).ok_or_else(|| dml::no_column(table, name))
}

/// Writes the changed table; columns are matched by their ids.
pub(super) fn store(scope: &Arc<Scope>, old: &Table, new: &Table) -> Result<()> {
    check_checks(scope, new)?;
    let columns = new.columns.iter().map(|column| old.columns.iter().position(|known| known.id == column.id)).collect();
    scope.unit.with(|transaction| {
        transaction.alter_table(TableId(old.id), spec(new), columns)?;
        references::note(transaction, old.id, &old.references, &new.references)?;
        put_relation(transaction, &Relation::Table(new.clone()))
    })
}

/// Refuses a table that lacks a unique key to which a foreign key refers.
pub(super) fn refuse_needed_keys(scope: &Scope, table: &Table) -> Result<()> {
    for child in scope.catalog.referring(table.id)? {
        let Relation::Table(child) = child.as_ref() else { continue };
        // A table that refers to itself is what it is going to be.
        let child = if child.id == table.id { table } else { child };
        for reference in child.references.iter().filter(|reference| reference.table == table.id) {
            if !table.stored_keys().iter().any(|key| key.unique && key.columns == reference.key) {
                let message = format!("the foreign key `{}` of table `{}` needs it", reference.name, child.label());
                let help = format!("ALTER TABLE {} DROP CONSTRAINT {}", child.label(), reference.name);
                return Err(Error::new(codes::DEPENDENTS, message).help(help));
            }
        }
    }
    Ok(())
}

/// Adds a column. With a default, or an expression, the rows get it now, as every SQL has it; that writes them anew.
fn add(scope: &Arc<Scope>, old: Table, def: &ColumnDef) -> Result<()> {
    let mut table = old.clone();
    add_column(scope, &mut table, def)?;
    references::add_of_column(scope, &mut table, def)?;
    let column = table.columns.last().ok_or_else(|| Error::new(codes::INTERNAL, "the new column is missing"))?;
    let view = scope.unit.snapshot()?.table(TableId(old.id))?;
    if (column.default.is_none() && column.generated.is_none()) || view.rows() == 0 {
        if column.not_null && view.rows() > 0 {
            let message = format!("the column `{}` would be null in the rows that are there", column.name);
            return Err(Error::new(codes::NOT_NULL, message).help("give it a DEFAULT"));
        }
        return store(scope, &old, &table);
    }
    check_checks(scope, &table)?;
    let scan = Arc::new(crate::sql::scan::TableScan::new(&old, view.clone()));
    let source = datafusion::catalog::default_table_source::provider_as_source(scan);
    let plan = LogicalPlanBuilder::scan("old", source, None).and_then(LogicalPlanBuilder::build);
    let plan = plan.map_err(|error| crate::sql::fault::fold(&error))?;
    let columns: Vec<Expr> = plan.schema().columns().into_iter().map(Expr::Column).collect();
    let plan = LogicalPlanBuilder::from(plan).project(columns).and_then(LogicalPlanBuilder::build);
    let plan = plan.map_err(|error| crate::sql::fault::fold(&error))?;
    // The table stays, because others may refer to it; its rows go and come again with the new column.
    for part in view.parts() {
        let ids = part.row_ids()?;
        scope.unit.with(|transaction| transaction.delete(TableId(old.id), ids.values()))?;
    }
    store(scope, &old, &table)?;
    let positions: Vec<usize> = (0..old.columns.len()).collect();
    dml::insert_plan(scope, &table, plan, &positions).map(drop)
}

fn remove_column(scope: &Scope, table: &mut Table, at: usize) -> Result<()> {
    let column = table.columns[at].clone();
    if table.columns.len() == 1 {
        return Err(Error::new(codes::PLAN, format!("`{}` is the only column of the table", column.name)));
    }
    refuse_used(table, &column.name, "dropped")?;
    if let Some(key) = table.keys.iter().find(|key| key.columns.contains(&column.id) && key.columns.len() > 1) {
        let message = format!("the column `{}` belongs to the key `{}`", column.name, key.name);
        return Err(Error::new(codes::DEPENDENTS, message));
    }
    for relation in scope.catalog.all_relations()? {
        if let Relation::View(view) = relation.as_ref()
            && view.reads.iter().any(|(schema, name)| *schema == table.schema && *name == table.name)
        {
            let message = format!("the view `{}` reads the table", view.name);
            return Err(Error::new(codes::DEPENDENTS, message).help(format!("DROP VIEW {}", view.name)));
        }
    }
    let refers = |reference: &&crate::catalog::Reference| reference.columns.contains(&column.id);
    if let Some(reference) = table.references.iter().filter(refers).find(|reference| reference.columns.len() > 1) {
        let message = format!("the column `{}` belongs to the foreign key `{}`", column.name, reference.name);
        return Err(Error::new(codes::DEPENDENTS, message));
    }
    table.references.retain(|reference| !reference.columns.contains(&column.id));
    table.indexes.retain(|index| !index.columns.contains(&column.id));
    table.keys.retain(|key| !key.columns.contains(&column.id));
    refuse_needed_keys(scope, table)?;
    table.columns.remove(at);
    Ok(())
}

/// A check and a generated column name columns in their text; which ones is found by reading it.
fn refuse_used(table: &Table, column: &str, what: &str) -> Result<()> {
    use datafusion::sql::sqlparser::ast::{Expr as SqlExpr, visit_expressions};
    let checks = table.checks.iter().map(|check| (format!("check `{}`", check.name), &check.text));
    let generated = table.columns.iter().filter_map(|column| match &column.generated {
        Some(Generated::Stored(text)) => Some((format!("generated column `{}`", column.name), text)),
        _ => None,
    });
    for (user, text) in checks.chain(generated) {
        let expr = crate::sql::parse::expression(text)?;
        let used = visit_expressions(&expr, |expr| {
            let named = match expr {
                SqlExpr::Identifier(ident) => fold_ident(ident) == column,
                SqlExpr::CompoundIdentifier(parts) => parts.last().is_some_and(|ident| fold_ident(ident) == column),
                _ => false,
            };
            if named { std::ops::ControlFlow::Break(()) } else { std::ops::ControlFlow::Continue(()) }
        });
        if used.is_break() {
            let message = format!("the {user} uses column `{column}`, which cannot be {what}");
            return Err(Error::new(codes::DEPENDENTS, message));
        }
    }
    Ok(())
}

fn drop_not_null(table: &mut Table, at: usize) -> Result<()> {
    let column = &table.columns[at];
    if table.keys.iter().any(|key| key.primary && key.columns.contains(&column.id)) {
        return Err(Error::new(codes::PLAN, format!("the column `{}` belongs to the primary key", column.name)));
    }
    if matches!(column.generated, Some(Generated::Always | Generated::Default)) {
        let text = format!("the column `{}` is an identity", column.name);
        return Err(Error::new(codes::PLAN, text).with_sqlstate("42601"));
    }
    table.columns[at].not_null = false;
    Ok(())
}

fn rename(scope: &Scope, mut table: Table, name: &ObjectName) -> Result<()> {
    let (schema, name) = split_name(name)?;
    if schema.is_some_and(|schema| schema != table.schema) {
        return Err(unsupported("moving a table to another schema"));
    }
    if is_taken(scope, &table.schema, &name)? {
        return Err(exists(scope, &table.schema, &name));
    }
    let old = std::mem::replace(&mut table.name, name);
    scope.unit.with(|transaction| {
        move_triggers(scope, transaction, (&table.schema, &old), (&table.schema, &table.name))?;
        drop_relation(transaction, &table.schema, &old)?;
        put_relation(transaction, &Relation::Table(table.clone()))
    })
}
