//! Walks a statement's tree before it is planned: names of functions that are not built in are offered to extensions,
//! and constructs that the planner would silently leave out are refused.

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{Expr, ObjectName, Query, Select, TableFactor, Visit, Visitor};

use super::functions::{TABLE_FUNCTIONS, built_in};
use super::names::function_name;
use super::scope::Scope;
use super::session::lock;
use super::{extension, identity, routine, unsupported};
use crate::error::{Error, Result};

/// Checks a tree, and finds the extensions' functions in it.
pub(crate) fn check<T: Visit>(scope: &Arc<Scope>, path: &str, tree: &T) -> Result<()> {
    match tree.visit(&mut Survey { scope, path }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

struct Survey<'a> {
    scope: &'a Arc<Scope>,
    /// The schema that a name without one means.
    path: &'a str,
}

impl Survey<'_> {
    fn scalar(&self, name: &ObjectName) -> Result<()> {
        let name = function_name(name);
        if built_in().has(&name) || lock(&self.scope.found).scalars.contains_key(&name) {
            return Ok(());
        }
        if name == identity::FUNCTION {
            let function = identity::function(&self.scope.session.engine);
            lock(&self.scope.found).scalars.insert(name, Arc::new(function));
            return Ok(());
        }
        if let Some(function) = routine::scalar(self.scope, self.path, &name)? {
            lock(&self.scope.found).scalars.insert(name, Arc::new(function));
            return Ok(());
        }
        if let Some(function) = self.scope.extensions.scalar(&name)? {
            let function = extension::scalar(self.scope, &name, function)?;
            lock(&self.scope.found).scalars.insert(name, Arc::new(function));
        }
        Ok(())
    }

    fn table(&self, name: &ObjectName) -> Result<()> {
        let name = function_name(name);
        if TABLE_FUNCTIONS.contains(&name.as_str()) || lock(&self.scope.found).tables.contains_key(&name) {
            return Ok(());
        }
        if routine::exists(self.scope, self.path, &name)? {
            return Ok(());
        }
        if let Some(function) = self.scope.extensions.table(&name)? {
            lock(&self.scope.found).tables.insert(name, function);
        }
        Ok(())
    }

    fn factor(&self, factor: &TableFactor) -> Result<()> {
        match factor {
            TableFactor::Table {
                name,
                args,
                with_hints,
                version,
                with_ordinality,
                partitions,
                json_path,
                sample,
                index_hints,
                ..
            } => {
                refuse(version.is_some() && args.is_some(), "AS OF on a function")?;
                refuse(sample.is_some(), "TABLESAMPLE")?;
                refuse(*with_ordinality, "WITH ORDINALITY")?;
                let rest =
                    with_hints.is_empty() && partitions.is_empty() && json_path.is_none() && index_hints.is_empty();
                refuse(!rest, "hints, partitions and paths on a table")?;
                match args {
                    Some(args) => {
                        refuse(args.settings.is_some(), "SETTINGS")?;
                        self.table(name)
                    }
                    None => Ok(()),
                }
            }
            TableFactor::Derived { sample, .. } => refuse(sample.is_some(), "TABLESAMPLE"),
            TableFactor::Function { name, with_ordinality, .. } => {
                refuse(*with_ordinality, "WITH ORDINALITY")?;
                self.table(name)
            }
            _ => Ok(()),
        }
    }
}

fn refuse(there: bool, what: &str) -> Result<()> {
    if there { Err(unsupported(what)) } else { Ok(()) }
}

fn flow(result: Result<()>) -> ControlFlow<Error> {
    match result {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(error),
    }
}

impl Visitor for Survey<'_> {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Error> {
        flow(
            refuse(!query.locks.is_empty(), "FOR UPDATE and its kin")
                .and_then(|()| refuse(query.for_clause.is_some(), "FOR XML and its kin"))
                .and_then(|()| refuse(query.settings.is_some(), "SETTINGS"))
                .and_then(|()| refuse(query.format_clause.is_some(), "FORMAT"))
                .and_then(|()| refuse(!query.pipe_operators.is_empty(), "pipe operators")),
        )
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Error> {
        flow(
            refuse(select.into.is_some(), "SELECT INTO")
                .and_then(|()| refuse(select.top.is_some(), "TOP"))
                .and_then(|()| refuse(!select.lateral_views.is_empty(), "LATERAL VIEW"))
                .and_then(|()| refuse(select.prewhere.is_some(), "PREWHERE"))
                .and_then(|()| refuse(!select.connect_by.is_empty(), "CONNECT BY"))
                .and_then(|()| refuse(!select.cluster_by.is_empty(), "CLUSTER BY"))
                .and_then(|()| refuse(!select.distribute_by.is_empty(), "DISTRIBUTE BY"))
                .and_then(|()| refuse(!select.sort_by.is_empty(), "SORT BY"))
                .and_then(|()| refuse(select.value_table_mode.is_some(), "SELECT AS VALUE"))
                .and_then(|()| refuse(select.select_modifiers.is_some(), "modifiers of SELECT")),
        )
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Error> {
        flow(self.factor(factor))
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Error> {
        match expr {
            Expr::Function(function) => flow(self.scalar(&function.name)),
            _ => ControlFlow::Continue(()),
        }
    }
}
