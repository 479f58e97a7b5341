//! `CREATE VIEW`: the query is planned once, so that a wrong one is refused now, and kept as text.

use std::sync::Arc;

use datafusion::sql::parser::Statement as EngineStatement;
use datafusion::sql::resolve::resolve_table_references;
use datafusion::sql::sqlparser::ast::{CreateTableOptions, CreateView, Statement};

use super::columns::names;
use super::{exists, is_taken};
use crate::catalog::{Relation, View, put_relation};
use crate::error::{Error, Result, codes};
use crate::sql::bind::{Binder, rename};
use crate::sql::fault::fold;
use crate::sql::names::split_name;
use crate::sql::outcome::Outcome;
use crate::sql::scope::Scope;
use crate::sql::unsupported;

/// `CREATE [OR REPLACE] VIEW [IF NOT EXISTS] v [(columns)] AS query`.
pub(crate) fn create_view(scope: &Arc<Scope>, create: CreateView) -> Result<Outcome> {
    refuse_rest(&create)?;
    let (schema, name) = split_name(&create.name)?;
    let schema = scope.schema_or_default(schema);
    if is_taken(scope, &schema, &name)? {
        if create.if_not_exists {
            return Ok(Outcome::done("CREATE VIEW"));
        }
        let is_view = matches!(scope.relation(&schema, &name)?.as_ref(), Relation::View(_));
        if !create.or_replace || !is_view {
            return Err(exists(scope, &schema, &name));
        }
    }
    let columns = names(&create.columns.iter().map(|column| column.name.clone()).collect::<Vec<_>>());
    let text = create.query.to_string();
    let statement = Statement::Query(create.query);
    let references = resolve_table_references(&EngineStatement::Statement(Box::new(statement.clone())), true);
    let (references, _) = references.map_err(|error| fold(&error))?;
    let reads = references.iter().filter(|reference| reference.catalog().is_none());
    let reads: Vec<(String, String)> = reads
        .map(|reference| (reference.schema().unwrap_or(&scope.path).to_owned(), reference.table().to_owned()))
        .collect();
    if reads.contains(&(schema.clone(), name.clone())) && create.or_replace {
        return Err(Error::new(codes::PLAN, format!("the view `{name}` would read itself")));
    }
    let plan = Binder::new(scope).plan(statement)?;
    rename(plan, &columns)?;
    let path = scope.path.clone();
    let view = View { schema, name, columns, text, path, reads, owner: scope.owner.clone() };
    scope.unit.with(|transaction| put_relation(transaction, &Relation::View(view)))?;
    Ok(Outcome::done("CREATE VIEW"))
}

fn refuse_rest(create: &CreateView) -> Result<()> {
    let others = [
        (create.materialized, "MATERIALIZED views"),
        (create.temporary, "TEMPORARY views"),
        (
            create.or_alter || create.secure || create.copy_grants || create.with_no_schema_binding,
            "this form of CREATE VIEW",
        ),
        (!matches!(create.options, CreateTableOptions::None), "options of CREATE VIEW"),
        (!create.cluster_by.is_empty() || create.to.is_some() || create.params.is_some(), "this form of CREATE VIEW"),
        (create.comment.is_some(), "COMMENT in CREATE VIEW"),
        (
            create.columns.iter().any(|column| column.data_type.is_some() || column.options.is_some()),
            "types of columns in CREATE VIEW",
        ),
    ];
    others.iter().find(|(there, _)| *there).map_or(Ok(()), |(_, what)| Err(unsupported(what)))
}
