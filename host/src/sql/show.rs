//! Settings and descriptions: `SET`, `RESET`, `SHOW`, `DESCRIBE`. Descriptions are queries over the system tables, so
//! that both always agree.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::sql::sqlparser::ast::{
    Expr, Ident, ObjectName, Reset, ResetStatement, Set, ShowStatementIn, ShowStatementOptions, Statement,
    Value as Literal,
};

use super::bind::Binder;
use super::names::{fold_ident, split_name};
use super::outcome::{Outcome, Rows};
use super::scope::Scope;
use super::settings::ALL;
use super::{parse, query, unsupported};
use crate::error::{Error, Result, codes};

/// `SET name = value`.
pub(super) fn set(scope: &Arc<Scope>, set: Set) -> Result<Outcome> {
    let Set::SingleAssignment { scope: modifier, hivevar: false, variable, values } = set else {
        return Err(unsupported("this form of SET").help("SET name = value"));
    };
    if modifier.is_some_and(|modifier| modifier.to_string().trim() == "LOCAL") {
        return Err(unsupported("SET LOCAL"));
    }
    let name = variable.to_string().to_lowercase();
    let [value] = values.as_slice() else {
        return Err(Error::new(codes::SETTING, format!("the setting `{name}` takes one value")));
    };
    let value =
        setting_text(value).ok_or_else(|| Error::new(codes::SETTING, format!("`{value}` is no value of a setting")))?;
    let value = (!value.eq_ignore_ascii_case("default")).then_some(value);
    if (name == "search_path" || name == "schema")
        && let Some(schema) = &value
        && !scope.catalog.has_schema(schema)
    {
        return Err(super::bind::no_table(scope, schema, ""));
    }
    scope.session.change_settings(|settings| settings.set(&name, value.as_deref()))?;
    Ok(Outcome::done("SET"))
}

/// `RESET name`, `RESET ALL`.
pub(super) fn reset(scope: &Scope, reset: &ResetStatement) -> Result<Outcome> {
    scope.session.change_settings(|settings| match &reset.reset {
        Reset::ALL => {
            *settings = super::settings::Settings::default();
            Ok(())
        }
        Reset::ConfigurationParameter(name) => settings.set(&name.to_string().to_lowercase(), None),
    })?;
    Ok(Outcome::done("RESET"))
}

fn setting_text(value: &Expr) -> Option<String> {
    match value {
        Expr::Value(value) => match &value.value {
            Literal::Number(text, _) | Literal::SingleQuotedString(text) => Some(text.clone()),
            Literal::Boolean(value) => Some(value.to_string()),
            _ => None,
        },
        Expr::Identifier(ident) => Some(fold_ident(ident)),
        Expr::UnaryOp { .. } | Expr::Interval(_) => Some(value.to_string()),
        Expr::Nested(inner) => setting_text(inner),
        _ => None,
    }
}

/// `SHOW name`, `SHOW ALL`.
pub(super) fn show(scope: &Arc<Scope>, variable: &[Ident]) -> Result<Outcome> {
    let name = variable.iter().map(fold_ident).collect::<Vec<_>>().join("_");
    match name.as_str() {
        "all" => select(scope, "SHOW", "SELECT name, value, description FROM kodiak.settings ORDER BY name"),
        "tables" => select(scope, "SHOW", &tables(&scope.path)),
        _ => {
            let value = scope.settings.show(&name)?;
            let setting = ALL.iter().find(|setting| setting.name == name).map_or(name.as_str(), |setting| setting.name);
            let schema = Arc::new(Schema::new(vec![Field::new(setting, DataType::Utf8, false)]));
            let column: ArrayRef = Arc::new(StringArray::from(vec![value]));
            let batch = RecordBatch::try_new(Arc::clone(&schema), vec![column]);
            let batch = batch.map_err(|error| super::fault::fold_arrow(&error))?;
            Ok(Outcome::rows("SHOW", Rows::ready(schema, vec![batch])))
        }
    }
}

/// `SHOW TABLES`, `SHOW SCHEMAS`, `SHOW COLUMNS FROM t`.
pub(super) fn list(scope: &Arc<Scope>, statement: &Statement) -> Result<Outcome> {
    match statement {
        Statement::ShowTables {
            terse: false,
            history: false,
            extended: false,
            full: false,
            external: false,
            show_options,
        } => {
            let place = place(show_options)?;
            let schema = place.map_or_else(|| Ok((None, scope.path.clone())), split_name)?.1;
            select(scope, "SHOW", &tables(&schema))
        }
        Statement::ShowViews { terse: false, materialized: false, show_options } => {
            let place = place(show_options)?;
            let schema = place.map_or_else(|| Ok((None, scope.path.clone())), split_name)?.1;
            select(
                scope,
                "SHOW",
                &format!("SELECT name FROM kodiak.views WHERE schema = {} ORDER BY name", literal(&schema)),
            )
        }
        Statement::ShowSchemas { terse: false, history: false, show_options } => {
            if place(show_options)?.is_some() {
                return Err(unsupported("SHOW SCHEMAS IN"));
            }
            select(scope, "SHOW", "SELECT name FROM kodiak.schemas ORDER BY name")
        }
        Statement::ShowDatabases { terse: false, history: false, show_options } => {
            if place(show_options)?.is_some() {
                return Err(unsupported("SHOW DATABASES IN"));
            }
            select(scope, "SHOW", "SELECT name, path, read_only FROM kodiak.databases")
        }
        Statement::ShowColumns { extended: false, full: false, show_options } => {
            let place = place(show_options)?.ok_or_else(|| Error::new(codes::SYNTAX, "expected FROM and a table"))?;
            describe(scope, place)
        }
        other => Err(unsupported(&other.to_string())),
    }
}

fn place(options: &ShowStatementOptions) -> Result<Option<&ObjectName>> {
    let ShowStatementOptions { show_in, starts_with, limit, limit_from, filter_position } = options;
    if starts_with.is_some() || limit.is_some() || limit_from.is_some() || filter_position.is_some() {
        return Err(unsupported("filters in SHOW").help("SELECT * FROM kodiak.tables WHERE ..."));
    }
    match show_in {
        None => Ok(None),
        Some(ShowStatementIn { parent_name: Some(name), .. }) => Ok(Some(name)),
        Some(_) => Err(unsupported("this form of SHOW")),
    }
}

fn tables(schema: &str) -> String {
    let schema = literal(schema);
    format!(
        "SELECT name, 'table' AS type FROM kodiak.tables WHERE schema = {schema} \
         UNION ALL SELECT name, 'view' FROM kodiak.views WHERE schema = {schema} ORDER BY name"
    )
}

/// `DESCRIBE t`.
pub(super) fn describe(scope: &Arc<Scope>, name: &ObjectName) -> Result<Outcome> {
    let (schema, name) = split_name(name)?;
    let schema = scope.schema_or_default(schema);
    if !super::system::names().any(|known| known == (schema.as_str(), name.as_str())) {
        scope.relation(&schema, &name)?;
    }
    select(
        scope,
        "DESCRIBE",
        &format!(
            "SELECT name AS column_name, type AS column_type, nullable, \"default\", key FROM kodiak.columns \
             WHERE schema = {} AND \"table\" = {} ORDER BY position",
            literal(&schema),
            literal(&name)
        ),
    )
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn select(scope: &Arc<Scope>, tag: &str, text: &str) -> Result<Outcome> {
    let plan = Binder::new(scope).plan(Statement::Query(Box::new(parse::query(text)?)))?;
    Ok(Outcome::rows(tag, query::rows(scope, &plan)?))
}
