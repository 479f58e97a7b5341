//! `CREATE INDEX` and `DROP INDEX`. An index is a key of storage that may be unique; its name is one of the schema's.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{CreateIndex, Expr as SqlExpr, IndexType, ObjectName, Statement};

use super::alter::store;
use super::table::existing;
use crate::catalog::{Index, Relation, Table};
use crate::error::{Error, Result, codes};
use crate::sql::names::{fold_ident, split_name};
use crate::sql::outcome::Outcome;
use crate::sql::scope::Scope;
use crate::sql::{dml, unsupported};

/// `CREATE [UNIQUE] INDEX [IF NOT EXISTS] [name] ON t (columns)`.
pub(crate) fn create_index(scope: &Arc<Scope>, create: &CreateIndex) -> Result<Outcome> {
    let others = [
        (!create.include.is_empty(), "INCLUDE in CREATE INDEX"),
        (create.predicate.is_some(), "WHERE in CREATE INDEX"),
        (create.nulls_distinct == Some(false), "NULLS NOT DISTINCT"),
        (
            !create.with.is_empty() || !create.index_options.is_empty() || !create.alter_options.is_empty(),
            "options of CREATE INDEX",
        ),
        (!matches!(create.using, None | Some(IndexType::BTree)), "USING anything but btree"),
    ];
    if let Some((_, what)) = others.iter().find(|(there, _)| *there) {
        return Err(unsupported(what));
    }
    let (schema, name) = split_name(&create.table_name)?;
    let old = existing(scope, &scope.schema_or_default(schema), &name)?;
    let mut table = old.clone();
    let mut columns = Vec::with_capacity(create.columns.len());
    let mut names = Vec::with_capacity(create.columns.len());
    for column in &create.columns {
        let SqlExpr::Identifier(ident) = &column.column.expr else {
            return Err(unsupported(&format!("an index over the expression {}", column.column.expr)));
        };
        if column.operator_class.is_some() {
            return Err(unsupported("operator classes"));
        }
        let name = fold_ident(ident);
        let at = table.position(&name).ok_or_else(|| dml::no_column(&table, &name))?;
        if columns.contains(&table.columns[at].id) {
            return Err(Error::new(codes::PLAN, format!("the index names column `{name}` twice")));
        }
        columns.push(table.columns[at].id);
        names.push(name);
    }
    let name = match &create.name {
        None => format!("{}_{}_idx", table.name, names.join("_")),
        Some(name) => {
            let (schema, name) = split_name(name)?;
            if schema.is_some_and(|schema| schema != table.schema) {
                return Err(unsupported("an index in another schema than its table"));
            }
            name
        }
    };
    if find(scope, &table.schema, &name)?.is_some() {
        if create.if_not_exists {
            return Ok(Outcome::done("CREATE INDEX"));
        }
        return Err(Error::new(codes::EXISTS, format!("an index `{name}` exists already")));
    }
    let is_key = |table: &Table| table.keys.iter().any(|key| key.name == name);
    for relation in scope.catalog.relations(&table.schema)? {
        if let Relation::Table(other) = relation.as_ref()
            && is_key(other)
        {
            return Err(Error::new(codes::EXISTS, format!("a key `{name}` exists already"))
                .detail(format!("of table `{}`", other.label())));
        }
    }
    table.indexes.push(Index { name, columns, unique: create.unique });
    store(scope, &old, &table)?;
    Ok(Outcome::done("CREATE INDEX"))
}

/// `DROP INDEX [IF EXISTS] name, ...`.
pub(super) fn drop_index(scope: &Arc<Scope>, name: &ObjectName, if_exists: bool) -> Result<()> {
    let (schema, name) = split_name(name)?;
    let schema = scope.schema_or_default(schema);
    let Some(old) = find(scope, &schema, &name)? else {
        if if_exists {
            return Ok(());
        }
        let error = Error::new(codes::NO_OBJECT, format!("no index `{name}`"));
        for relation in scope.catalog.relations(&schema)? {
            if let Relation::Table(table) = relation.as_ref()
                && table.keys.iter().any(|key| key.name == name)
            {
                return Err(error.help(format!("ALTER TABLE {} DROP CONSTRAINT {name}", table.label())));
            }
        }
        return Err(error);
    };
    let old = scope.table_to_change(&old.schema, &old.name)?;
    let mut table = old.clone();
    table.indexes.retain(|index| index.name != name);
    super::alter::refuse_needed_keys(scope, &table)?;
    store(scope, &old, &table)
}

/// The table whose index has this name.
fn find(scope: &Scope, schema: &str, name: &str) -> Result<Option<Table>> {
    for relation in scope.catalog.relations(schema)? {
        if let Relation::Table(table) = relation.as_ref()
            && table.indexes.iter().any(|index| index.name == name)
        {
            return Ok(Some(table.clone()));
        }
    }
    Ok(None)
}

/// `DROP INDEX` as the parser reads it.
pub(crate) fn drop_indexes(scope: &Arc<Scope>, statement: &Statement) -> Result<Outcome> {
    let Statement::Drop { if_exists, names, .. } = statement else { return Err(unsupported("this form of DROP")) };
    // One at a time: each reads the catalog that the one before left.
    for name in names {
        let fresh = scope.again()?;
        drop_index(&fresh, name, *if_exists)?;
    }
    Ok(Outcome::done("DROP INDEX"))
}
