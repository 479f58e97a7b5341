//! Reads columns and constraints of `CREATE TABLE` and `ALTER TABLE` into the catalog's records, and storage's spec out
//! of these.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::logical_expr::{Expr, ExprSchemable};
use datafusion::sql::sqlparser::ast::{
    ColumnDef, ColumnOption, DataType as SqlDataType, Expr as SqlExpr, GeneratedAs, GeneratedExpressionMode, Ident,
    IndexColumn, SequenceOptions, TableConstraint,
};

use super::references;
use crate::catalog::{Check, Column, Generated, Key, SqlType, Table};
use crate::error::{Error, Result, codes};
use crate::sql::bind::Binder;
use crate::sql::fault::fold;
use crate::sql::names::fold_ident;
use crate::sql::scope::Scope;
use crate::sql::{dml, identity, types, unsupported};
use crate::storage;

/// Adds a column with its constraints to the table.
pub(super) fn add_column(scope: &Arc<Scope>, table: &mut Table, def: &ColumnDef) -> Result<()> {
    let name = fold_ident(&def.name);
    if table.position(&name).is_some() {
        return Err(Error::new(codes::EXISTS, format!("the column `{name}` exists already")));
    }
    let serial = serial(&def.data_type);
    let kind = serial.clone().map_or_else(|| types::sql_type(&def.data_type), Ok)?;
    let id = table.next_column;
    table.next_column += 1;
    table.columns.push(Column { id, name: name.clone(), kind, not_null: false, default: None, generated: None });
    let at = table.columns.len() - 1;
    if serial.is_some() {
        count(&mut table.columns[at], None, 1, 1)?;
    }
    for option in &def.options {
        let constraint = option.name.as_ref().map(fold_ident);
        match &option.option {
            ColumnOption::Null => {}
            ColumnOption::NotNull => table.columns[at].not_null = true,
            ColumnOption::Default(_) if table.columns[at].default.is_some() => return Err(two_sources(&name)),
            ColumnOption::Default(expr) => {
                check_default(scope, &table.columns[at], expr)?;
                table.columns[at].default = Some(expr.to_string());
            }
            ColumnOption::PrimaryKey(_) => add_key(table, constraint, std::slice::from_ref(&name), true)?,
            ColumnOption::Unique(_) => add_key(table, constraint, std::slice::from_ref(&name), false)?,
            ColumnOption::Check(check) => add_check(table, constraint, Some(&name), &check.expr),
            // Added when every column and key is there.
            ColumnOption::ForeignKey(_) => {}
            ColumnOption::Generated { generation_expr: Some(expr), generation_expr_mode, .. } => {
                if matches!(generation_expr_mode, Some(GeneratedExpressionMode::Virtual)) {
                    return Err(unsupported("VIRTUAL columns").help("GENERATED ALWAYS AS (...) STORED"));
                }
                table.columns[at].generated = Some(Generated::Stored(expr.to_string()));
            }
            ColumnOption::Generated { generated_as, sequence_options, generation_expr: None, .. } => {
                let generated = match generated_as {
                    GeneratedAs::ByDefault => Generated::Default,
                    _ => Generated::Always,
                };
                let (start, step) = counting(sequence_options.as_deref().unwrap_or_default())?;
                count(&mut table.columns[at], Some(generated), start, step)?;
            }
            ColumnOption::Identity(_) => {
                return Err(unsupported("this form of IDENTITY").help("GENERATED ALWAYS AS IDENTITY"));
            }
            ColumnOption::Collation(_) => return Err(unsupported("COLLATE")),
            other => return Err(unsupported(&format!("the column option {other}"))),
        }
    }
    Ok(())
}

/// The type that a PostgreSQL `SERIAL` stands for.
fn serial(kind: &SqlDataType) -> Option<SqlType> {
    let SqlDataType::Custom(name, arguments) = kind else { return None };
    match name.to_string().to_lowercase().as_str() {
        _ if !arguments.is_empty() => None,
        "smallserial" | "serial2" => Some(SqlType::SmallInt),
        "serial" | "serial4" => Some(SqlType::Integer),
        "bigserial" | "serial8" => Some(SqlType::BigInt),
        _ => None,
    }
}

fn two_sources(name: &str) -> Error {
    let text = format!("the column `{name}` has more than one source of its values");
    Error::new(codes::PLAN, text).with_sqlstate("42601")
}

/// Makes a column count its rows; a `SERIAL` is a plain column with such a default.
fn count(column: &mut Column, generated: Option<Generated>, start: i64, step: i64) -> Result<()> {
    use SqlType::{BigInt, Integer, SmallInt, TinyInt, UBigInt, UInteger, USmallInt, UTinyInt};
    if !matches!(column.kind, TinyInt | SmallInt | Integer | BigInt | UTinyInt | USmallInt | UInteger | UBigInt) {
        let text = format!("the identity column `{}` must be of a type of whole numbers", column.name);
        return Err(Error::new(codes::TYPE, text));
    }
    if column.default.is_some() || column.generated.is_some() {
        return Err(two_sources(&column.name));
    }
    column.default = Some(identity::default(start, step));
    column.generated = generated;
    column.not_null = true;
    Ok(())
}

/// Where an identity begins, and its step.
fn counting(options: &[SequenceOptions]) -> Result<(i64, i64)> {
    let number = |expr: &SqlExpr| {
        let number = expr.to_string().parse::<i64>().ok();
        number.ok_or_else(|| Error::new(codes::VALUE, format!("`{expr}` is no number for an identity column")))
    };
    let (mut start, mut step) = (None, 1);
    for option in options {
        match option {
            SequenceOptions::StartWith(expr, _) => start = Some(number(expr)?),
            SequenceOptions::IncrementBy(expr, _) => step = number(expr)?,
            // The flag says NO.
            SequenceOptions::Cycle(true) | SequenceOptions::Cache(_) => {}
            SequenceOptions::MinValue(None) | SequenceOptions::MaxValue(None) => {}
            other => return Err(unsupported(&format!("{} of an identity column", other.to_string().trim()))),
        }
    }
    if step == 0 {
        return Err(Error::new(codes::VALUE, "the step of an identity column cannot be 0").with_sqlstate("22023"));
    }
    Ok((start.unwrap_or(if step > 0 { 1 } else { -1 }), step))
}

/// Adds a constraint of the table.
pub(super) fn add_constraint(scope: &Arc<Scope>, table: &mut Table, constraint: &TableConstraint) -> Result<()> {
    match constraint {
        TableConstraint::PrimaryKey(key) => {
            let columns = key_columns(&key.columns)?;
            add_key(table, key.name.as_ref().map(fold_ident), &columns, true)
        }
        TableConstraint::Unique(key) => {
            let columns = key_columns(&key.columns)?;
            add_key(table, key.name.as_ref().map(fold_ident), &columns, false)
        }
        TableConstraint::Check(check) => {
            add_check(table, check.name.as_ref().map(fold_ident), None, &check.expr);
            Ok(())
        }
        TableConstraint::ForeignKey(key) => {
            let columns = names(&key.columns);
            references::add(scope, table, key.name.as_ref().map(fold_ident), &columns, key)
        }
        other => Err(unsupported(&format!("the constraint {other}"))),
    }
}

fn key_columns(columns: &[IndexColumn]) -> Result<Vec<String>> {
    let name = |column: &IndexColumn| match &column.column.expr {
        SqlExpr::Identifier(ident) => Ok(fold_ident(ident)),
        other => Err(unsupported(&format!("a key over the expression {other}"))),
    };
    columns.iter().map(name).collect()
}

fn add_key(table: &mut Table, name: Option<String>, columns: &[String], primary: bool) -> Result<()> {
    if primary && table.keys.iter().any(|key| key.primary) {
        return Err(Error::new(codes::PLAN, format!("table `{}` would have two primary keys", table.name)));
    }
    let mut ids = Vec::with_capacity(columns.len());
    for column in columns {
        let at = table.position(column).ok_or_else(|| dml::no_column(table, column))?;
        if ids.contains(&table.columns[at].id) {
            return Err(Error::new(codes::PLAN, format!("the key names column `{column}` twice")));
        }
        // A primary key has no NULL in it; a unique key may.
        table.columns[at].not_null |= primary;
        ids.push(table.columns[at].id);
    }
    let default =
        if primary { format!("{}_pkey", table.name) } else { format!("{}_{}_key", table.name, columns.join("_")) };
    let name = free_name(table, name.unwrap_or(default))?;
    table.keys.push(Key { name, columns: ids, primary });
    Ok(())
}

fn add_check(table: &mut Table, name: Option<String>, column: Option<&str>, expr: &SqlExpr) {
    let default =
        column.map_or_else(|| format!("{}_check", table.name), |column| format!("{}_{column}_check", table.name));
    let mut unique = name.clone().unwrap_or_else(|| default.clone());
    let mut number = 1;
    while table.checks.iter().any(|check| check.name == unique) {
        unique = format!("{}{number}", name.as_ref().unwrap_or(&default));
        number += 1;
    }
    table.checks.push(Check { name: unique, text: expr.to_string() });
}

pub(super) fn free_name(table: &Table, name: String) -> Result<String> {
    let keys = table.keys.iter().map(|key| &key.name);
    let references = table.references.iter().map(|reference| &reference.name);
    if keys.chain(references).chain(table.checks.iter().map(|check| &check.name)).any(|known| *known == name) {
        return Err(Error::new(codes::EXISTS, format!("a constraint `{name}` exists already")));
    }
    Ok(name)
}

/// A default must fit its column, and cannot look at other columns.
pub(super) fn check_default(scope: &Arc<Scope>, column: &Column, expr: &SqlExpr) -> Result<()> {
    let empty = DFSchema::empty();
    let planned = Binder::new(scope).expression(expr.clone(), &empty).map_err(|error| {
        if error.is(codes::NO_COLUMN) {
            return Error::new(
                codes::PLAN,
                format!("the default of column `{}` cannot use other columns", column.name),
            );
        }
        error
    })?;
    let given = planned.get_type(&empty).map_err(|error| fold(&error))?;
    fits(&given, column)
}

fn fits(given: &DataType, column: &Column) -> Result<()> {
    if given.is_null() || SqlType::of(given).is_some_and(|given| column.kind.takes(&given)) {
        return Ok(());
    }
    Err(Error::new(codes::TYPE, format!("the default of column `{}` is not of type {}", column.name, column.kind)))
}

/// Checks must be conditions over the table's own columns.
pub(super) fn check_checks(scope: &Arc<Scope>, table: &Table) -> Result<()> {
    check_generated(scope, table)?;
    if table.checks.is_empty() {
        return Ok(());
    }
    let schema = DFSchema::try_from_qualified_schema(table.name.as_str(), &table.arrow_schema())
        .map_err(|error| fold(&error))?;
    for check in &table.checks {
        let expr = Binder::new(scope).expression(crate::sql::parse::expression(&check.text)?, &schema)?;
        refuse_subquery(&expr)?;
        let kind = expr.get_type(&schema).map_err(|error| fold(&error))?;
        if !matches!(kind, DataType::Boolean | DataType::Null) {
            return Err(Error::new(codes::TYPE, format!("the check `{}` is not a condition", check.name)));
        }
    }
    Ok(())
}

/// An expression that makes a column looks at the row's other columns only, and gives the same for the same row.
fn check_generated(scope: &Arc<Scope>, table: &Table) -> Result<()> {
    for column in &table.columns {
        let Some(Generated::Stored(text)) = &column.generated else { continue };
        let wrong = |text: String| Error::new(codes::PLAN, format!("the generated column `{}` {text}", column.name));
        if column.default.is_some() {
            return Err(wrong("cannot have a default".to_owned()));
        }
        let schema = DFSchema::try_from_qualified_schema(table.name.as_str(), &table.arrow_schema())
            .map_err(|error| fold(&error))?;
        let expr = Binder::new(scope).expression(crate::sql::parse::expression(text)?, &schema)?;
        refuse_subquery(&expr)?;
        if expr.is_volatile() {
            return Err(wrong("would not be the same for the same row".to_owned()));
        }
        for used in expr.column_refs() {
            let source = table.columns.iter().find(|known| known.name == used.name);
            if source.is_some_and(|source| matches!(source.generated, Some(Generated::Stored(_)))) {
                return Err(wrong(format!("uses `{}`, which is generated too", used.name)));
            }
        }
        dml::assign(expr, column, &schema)?;
    }
    Ok(())
}

fn refuse_subquery(expr: &Expr) -> Result<()> {
    use datafusion::common::tree_node::TreeNode;
    let found = expr.exists(|expr| Ok(matches!(expr, Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_))));
    if found.map_err(|error| fold(&error))? { Err(unsupported("a query inside a CHECK")) } else { Ok(()) }
}

/// What storage has to know about the table.
pub(super) fn spec(table: &Table) -> storage::TableSpec {
    let keys = table.stored_keys().into_iter().map(|key| storage::Key {
        name: key.name.to_owned(),
        columns: table.positions_of(key.columns),
        primary: key.primary,
        unique: key.unique,
    });
    storage::TableSpec { schema: table.arrow_schema(), keys: keys.collect() }
}

/// Columns by their names alone, for lists such as those of a view.
pub(super) fn names(columns: &[Ident]) -> Vec<String> {
    columns.iter().map(fold_ident).collect()
}
