//! Statements that change the catalog.

mod alter;
mod columns;
mod drop;
mod index;
mod references;
mod schema;
mod table;
mod view;

pub(super) use alter::alter_table;
pub(super) use drop::{drop, refuse_referred};
pub(super) use index::{create_index, drop_indexes};
pub(super) use schema::create_schema;
pub(super) use table::create_table;
pub(super) use view::create_view;

use super::scope::Scope;
use crate::catalog::is_virtual;
use crate::error::{Error, Result, codes};

/// Whether a relation of this name stands in the way; a schema that cannot take one is refused.
fn is_taken(scope: &Scope, schema: &str, name: &str) -> Result<bool> {
    if is_virtual(schema) {
        return Err(Error::new(codes::UNSUPPORTED, format!("nothing can be created in schema `{schema}`")));
    }
    if scope.attached(schema).is_some() {
        return Err(super::unsupported("making something in an attached database"));
    }
    if !scope.catalog.has_schema(schema) {
        return Err(super::bind::no_table(scope, schema, name));
    }
    Ok(scope.catalog.relation(schema, name)?.is_some())
}

fn exists(scope: &Scope, schema: &str, name: &str) -> Error {
    let noun = scope.catalog.relation(schema, name).ok().flatten().map_or("relation", |relation| relation.noun());
    Error::new(codes::EXISTS, format!("a {noun} `{name}` exists already"))
}
