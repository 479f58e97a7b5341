//! `DROP TABLE`, `DROP VIEW` and `DROP SCHEMA`. What views read is dropped only together with them.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{ObjectType, Statement};

use crate::catalog::{
    MAIN, Relation, Table, Trigger, drop_macro, drop_relation, drop_routine, drop_schema, drop_trigger, is_virtual,
};
use crate::error::{Error, Result, codes};
use crate::sql::bind::no_table;
use crate::sql::names::split_name;
use crate::sql::outcome::Outcome;
use crate::sql::routine::drop_triggers_of;
use crate::sql::scope::Scope;
use crate::sql::unsupported;
use crate::storage::{TableId, Transaction};

/// `DROP TABLE | VIEW | SCHEMA [IF EXISTS] name, ... [CASCADE | RESTRICT]`.
pub(crate) fn drop(scope: &Arc<Scope>, statement: &Statement) -> Result<Outcome> {
    let Statement::Drop { object_type, if_exists, names, cascade, purge, temporary, table, .. } = statement else {
        return Err(unsupported("this form of DROP"));
    };
    if *purge || *temporary || table.is_some() {
        return Err(unsupported("PURGE, TEMPORARY and ON in DROP"));
    }
    let mut dropped = Vec::new();
    for name in names {
        if *object_type == ObjectType::Schema {
            let (None, name) = split_name(name)? else {
                return Err(unsupported("a database before the schema's name"));
            };
            if !drop_one_schema(scope, &name, *cascade, &mut dropped)? && !*if_exists {
                return Err(no_table(scope, &name, ""));
            }
            continue;
        }
        let (schema, name) = split_name(name)?;
        let schema = scope.schema_or_default(schema);
        let Some(relation) = scope.catalog.relation(&schema, &name)? else {
            if scope.attached(&schema).is_some() {
                return Err(unsupported("dropping something in an attached database"));
            }
            if *if_exists {
                continue;
            }
            return Err(no_table(scope, &schema, &name));
        };
        let wanted = if *object_type == ObjectType::Table { "table" } else { "view" };
        if relation.noun() != wanted {
            let error = Error::new(codes::NO_TABLE, format!("`{name}` is a {}, not a {wanted}", relation.noun()));
            return Err(error.help(format!("DROP {} {name}", relation.noun().to_uppercase())));
        }
        collect(scope, &relation, *cascade, &mut dropped)?;
    }
    let tables: Vec<u64> = dropped.iter().filter_map(|relation| table_id(relation)).collect();
    for relation in &dropped {
        let Relation::Table(table) = relation.as_ref() else { continue };
        if !*cascade {
            refuse_referred(scope, table, &tables)?;
        }
        for child in scope.catalog.referring(table.id)? {
            if let Relation::Table(child) = child.as_ref()
                && !tables.contains(&child.id)
            {
                let child = scope.again()?.table_to_change(&child.schema, &child.name)?;
                let mut kept = child.clone();
                kept.references.retain(|reference| reference.table != table.id);
                super::alter::store(scope, &child, &kept)?;
            }
        }
    }
    scope.unit.with(|transaction| dropped.iter().try_for_each(|relation| remove(scope, transaction, relation)))?;
    Ok(Outcome::done(format!("DROP {object_type}")))
}

fn drop_one_schema(scope: &Scope, name: &str, cascade: bool, dropped: &mut Vec<Arc<Relation>>) -> Result<bool> {
    if name == MAIN || is_virtual(name) {
        return Err(Error::new(codes::UNSUPPORTED, format!("the schema `{name}` cannot be dropped")));
    }
    if !scope.catalog.has_schema(name) {
        return Ok(false);
    }
    let relations = scope.catalog.relations(name)?;
    if let Some(first) = relations.first()
        && !cascade
    {
        let error = Error::new(codes::DEPENDENTS, format!("the schema `{name}` is not empty"));
        let error = error.detail(format!("it holds the {} `{}`", first.noun(), first.name().1));
        return Err(error.help(format!("DROP SCHEMA {name} CASCADE")));
    }
    let routines: Vec<_> = scope.catalog.all_routines()?.into_iter().filter(|routine| routine.schema == name).collect();
    if let Some(first) = routines.first()
        && !cascade
    {
        let error = Error::new(codes::DEPENDENTS, format!("the schema `{name}` is not empty"));
        let error = error.detail(format!("it holds the {} `{}`", first.kind.noun(), first.name));
        return Err(error.help(format!("DROP SCHEMA {name} CASCADE")));
    }
    let macros: Vec<_> = scope.catalog.all_macros()?.into_iter().filter(|one| one.schema == name).collect();
    if let Some(first) = macros.first()
        && !cascade
    {
        let error = Error::new(codes::DEPENDENTS, format!("the schema `{name}` is not empty"));
        let error = error.detail(format!("it holds the macro `{}`", first.name));
        return Err(error.help(format!("DROP SCHEMA {name} CASCADE")));
    }
    for relation in &relations {
        collect(scope, relation, true, dropped)?;
    }
    let triggers = scope.catalog.all_triggers()?;
    scope.unit.with(|transaction| {
        for routine in &routines {
            let calls = |one: &&Trigger| one.function == (routine.schema.clone(), routine.name.clone());
            triggers.iter().filter(calls).try_for_each(|trigger| drop_trigger(transaction, trigger))?;
            drop_routine(transaction, routine)?;
        }
        macros.iter().try_for_each(|one| drop_macro(transaction, one))?;
        drop_schema(transaction, name)
    })?;
    Ok(true)
}

/// Adds the relation and, with `cascade`, the views that read it.
fn collect(scope: &Scope, relation: &Arc<Relation>, cascade: bool, dropped: &mut Vec<Arc<Relation>>) -> Result<()> {
    if dropped.iter().any(|known| known.name() == relation.name()) {
        return Ok(());
    }
    if let Some(owner) = relation.owner()
        && scope.owner.as_deref() != Some(owner)
    {
        let (schema, name) = relation.name();
        scope.extensions.check_write(owner, schema, name)?;
    }
    dropped.push(Arc::clone(relation));
    let (schema, name) = relation.name();
    for other in scope.catalog.all_relations()? {
        let Relation::View(view) = other.as_ref() else { continue };
        let reads = view.reads.iter().any(|(read, table)| read == schema && table == name);
        if !reads || dropped.iter().any(|known| known.name() == other.name()) {
            continue;
        }
        if !cascade {
            let error = Error::new(codes::DEPENDENTS, format!("the view `{}` reads `{name}`", view.name));
            return Err(error.help(format!("DROP {} {name} CASCADE", relation.noun().to_uppercase())));
        }
        collect(scope, &other, true, dropped)?;
    }
    Ok(())
}

fn table_id(relation: &Relation) -> Option<u64> {
    match relation {
        Relation::Table(table) => Some(table.id),
        Relation::View(_) => None,
    }
}

/// Refuses to drop a table to which others refer that stay.
pub(crate) fn refuse_referred(scope: &Scope, table: &Table, dropped: &[u64]) -> Result<()> {
    for child in scope.catalog_of(table)?.referring(table.id)? {
        let Relation::Table(child) = child.as_ref() else { continue };
        if child.id == table.id || dropped.contains(&child.id) {
            continue;
        }
        let name = child.references.iter().find(|reference| reference.table == table.id);
        let name = name.map_or("", |reference| reference.name.as_str());
        let message = format!("the foreign key `{name}` of table `{}` refers to `{}`", child.label(), table.label());
        let error = Error::new(codes::DEPENDENTS, message);
        return Err(error.help(format!("DROP TABLE {} CASCADE", table.label())));
    }
    Ok(())
}

fn remove(scope: &Scope, transaction: &Transaction, relation: &Relation) -> Result<()> {
    let (schema, name) = relation.name();
    drop_triggers_of(scope, transaction, schema, name)?;
    if let Relation::Table(table) = relation {
        super::references::note(transaction, table.id, &table.references, &[])?;
        transaction.drop_table(TableId(table.id))?;
    }
    drop_relation(transaction, schema, name)
}
