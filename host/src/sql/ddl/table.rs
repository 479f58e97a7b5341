//! `CREATE TABLE`, with columns or from a query.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::helpers::stmt_create_table::CreateTableBuilder;
use datafusion::sql::sqlparser::ast::{CreateTable, Statement, TableConstraint};

use super::columns::{add_column, add_constraint, check_checks, spec};
use super::{exists, is_taken, references};
use crate::catalog::{Column, Relation, SqlType, Table, drop_relation, put_relation};
use crate::error::{Error, Result, codes};
use crate::sql::bind::{Binder, no_table};
use crate::sql::dml::insert_plan;
use crate::sql::names::{shown, split_name};
use crate::sql::outcome::Outcome;
use crate::sql::routine::drop_triggers_of;
use crate::sql::scope::Scope;
use crate::sql::unsupported;
use crate::storage::TableId;

/// `CREATE [OR REPLACE] TABLE [IF NOT EXISTS] t (...) [AS query]`.
pub(crate) fn create_table(scope: &Arc<Scope>, create: CreateTable) -> Result<Outcome> {
    refuse_rest(&create)?;
    let (schema, name) = split_name(&create.name)?;
    let schema = scope.schema_or_default(schema);
    if is_taken(scope, &schema, &name)? {
        if create.if_not_exists {
            return Ok(Outcome::done("CREATE TABLE"));
        }
        if !create.or_replace {
            return Err(exists(scope, &schema, &name));
        }
    }
    let mut table = Table {
        id: 0,
        schema,
        name,
        columns: Vec::new(),
        keys: Vec::new(),
        checks: Vec::new(),
        indexes: Vec::new(),
        references: Vec::new(),
        next_column: 0,
        owner: scope.owner.clone(),
        database: None,
    };
    for column in &create.columns {
        add_column(scope, &mut table, column)?;
    }
    let (foreign, own): (Vec<_>, Vec<_>) =
        create.constraints.iter().partition(|constraint| matches!(constraint, TableConstraint::ForeignKey(_)));
    for constraint in own {
        add_constraint(scope, &mut table, constraint)?;
    }
    for column in &create.columns {
        references::add_of_column(scope, &mut table, column)?;
    }
    for constraint in foreign {
        add_constraint(scope, &mut table, constraint)?;
    }
    check_checks(scope, &table)?;
    let plan = match create.query {
        None => None,
        Some(query) => {
            let plan = Binder::new(scope).plan(Statement::Query(query))?;
            let fields = plan.schema().fields();
            if table.columns.is_empty() {
                table.columns = derive_columns(fields.iter().map(|field| (shown(field.name()), field.data_type())))?;
                table.next_column = u32::try_from(table.columns.len()).unwrap_or(u32::MAX);
            } else if table.columns.len() != fields.len() {
                let message = format!("the query has {} columns, the table {}", fields.len(), table.columns.len());
                return Err(Error::new(codes::PLAN, message));
            }
            Some(plan)
        }
    };
    if table.columns.is_empty() {
        return Err(Error::new(codes::SYNTAX, "a table must have columns"));
    }
    if create.or_replace {
        replace(scope, &table)?;
    }
    store_new(scope, &mut table)?;
    let Some(plan) = plan else { return Ok(Outcome::done("CREATE TABLE")) };
    let positions: Vec<usize> = (0..table.columns.len()).collect();
    let rows = insert_plan(scope, &table, plan, &positions)?;
    Ok(Outcome::changed("CREATE TABLE AS", rows))
}

/// Makes the table in storage and in the catalog.
fn store_new(scope: &Scope, table: &mut Table) -> Result<()> {
    scope.unit.with(|transaction| {
        table.id = transaction.create_table(spec(table))?.0;
        for reference in table.references.iter_mut().filter(|reference| reference.table == references::ITSELF) {
            reference.table = table.id;
        }
        references::note(transaction, table.id, &[], &table.references)?;
        put_relation(transaction, &Relation::Table(table.clone()))
    })
}

fn replace(scope: &Scope, table: &Table) -> Result<()> {
    match scope.catalog.relation(&table.schema, &table.name)?.as_deref() {
        None => Ok(()),
        Some(Relation::View(view)) => Err(Error::new(codes::EXISTS, format!("`{}` is a view", view.name))),
        Some(Relation::Table(old)) => {
            let old = scope.table_to_change(&old.schema, &old.name)?;
            super::drop::refuse_referred(scope, &old, &[])?;
            scope.unit.with(|transaction| {
                references::note(transaction, old.id, &old.references, &[])?;
                drop_triggers_of(scope, transaction, &old.schema, &old.name)?;
                transaction.drop_table(TableId(old.id))?;
                drop_relation(transaction, &old.schema, &old.name)
            })
        }
    }
}

fn derive_columns<'a>(fields: impl Iterator<Item = (&'a str, &'a arrow::datatypes::DataType)>) -> Result<Vec<Column>> {
    let mut columns: Vec<Column> = Vec::new();
    for (id, (name, kind)) in (0..).zip(fields) {
        if columns.iter().any(|column| column.name == name) {
            let error = Error::new(codes::EXISTS, format!("the column `{name}` occurs more than once"));
            return Err(error.help("give one of them another name by AS"));
        }
        let kind = SqlType::of(kind).ok_or_else(|| {
            Error::new(codes::TYPE, format!("the column `{name}` has a type that no table can store"))
        })?;
        columns.push(Column { id, name: name.to_owned(), kind, not_null: false, default: None, generated: None });
    }
    Ok(columns)
}

/// What the parser reads beyond what is written above belongs to other systems: a table made of what is known here must
/// equal the statement.
fn refuse_rest(create: &CreateTable) -> Result<()> {
    if create.temporary {
        return Err(unsupported("TEMPORARY tables"));
    }
    if create.like.is_some() {
        return Err(unsupported("CREATE TABLE LIKE"));
    }
    let known = CreateTableBuilder::new(create.name.clone())
        .or_replace(create.or_replace)
        .if_not_exists(create.if_not_exists)
        .columns(create.columns.clone())
        .constraints(create.constraints.clone())
        .query(create.query.clone())
        .build();
    // Compared as text, because some of the fields differ in what they leave out alone.
    if known.to_string() == create.to_string() {
        Ok(())
    } else {
        Err(unsupported("an option of this CREATE TABLE").detail(format!("understood is only: {known}")))
    }
}

/// The table of this name, for statements that need it to be there.
pub(super) fn existing(scope: &Scope, schema: &str, name: &str) -> Result<Table> {
    match scope.catalog.relation(schema, name)? {
        Some(_) => scope.table_to_change(schema, name),
        None if scope.attached(schema).is_some() => {
            Err(unsupported("changing the shape of a table in an attached database"))
        }
        None => Err(no_table(scope, schema, name)),
    }
}
