//! `CREATE SCHEMA`.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{SchemaName, Statement};

use crate::catalog::{Schema, put_schema};
use crate::error::{Error, Result, codes};
use crate::sql::names::split_name;
use crate::sql::outcome::Outcome;
use crate::sql::scope::Scope;
use crate::sql::unsupported;

/// `CREATE SCHEMA [IF NOT EXISTS] s`.
pub(crate) fn create_schema(scope: &Arc<Scope>, statement: &Statement) -> Result<Outcome> {
    let Statement::CreateSchema { schema_name, if_not_exists, with, options, default_collate_spec, clone } = statement
    else {
        return Err(unsupported("this form of CREATE SCHEMA"));
    };
    if with.is_some() || options.is_some() || default_collate_spec.is_some() || clone.is_some() {
        return Err(unsupported("options of CREATE SCHEMA"));
    }
    let SchemaName::Simple(name) = schema_name else { return Err(unsupported("AUTHORIZATION")) };
    let (None, name) = split_name(name)? else { return Err(unsupported("a database before the schema's name")) };
    if scope.catalog.has_schema(&name) {
        if *if_not_exists {
            return Ok(Outcome::done("CREATE SCHEMA"));
        }
        return Err(Error::new(codes::EXISTS, format!("a schema `{name}` exists already")));
    }
    let schema = Schema { name, owner: scope.owner.clone() };
    scope.unit.with(|transaction| put_schema(transaction, &schema))?;
    Ok(Outcome::done("CREATE SCHEMA"))
}
