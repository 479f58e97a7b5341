//! Sends each statement to the file that runs it. What has no file yet is refused by name.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{ObjectType, Statement};

use super::branches::AlterDatabase;
use super::outcome::Outcome;
use super::scope::Scope;
use super::session::Session;
use super::upkeep::{self, Upkeep};
use super::{attach, copy, ddl, dml, history, query, routine, show, split, unsupported};
use crate::error::{Error, Result};

/// A statement that the parser does not know.
pub(super) enum Own {
    Upkeep(Upkeep),
    Routine(routine::Statement),
    /// The session works on this branch from now on.
    UseBranch(String),
    Alter(AlterDatabase),
    Attach(attach::Change),
}

/// Reads a statement of ours; `None` when the parser shall.
pub(super) fn own_statement(text: &str) -> Option<Result<Own>> {
    let words = split::leading_words(text, 2);
    if words == ["USE", "BRANCH"] {
        return Some(history::use_branch(text).map(Own::UseBranch));
    }
    if words == ["ALTER", "DATABASE"] {
        return Some(AlterDatabase::read(text).map(Own::Alter));
    }
    if matches!(words.first().map(String::as_str), Some("ATTACH" | "DETACH")) {
        return Some(attach::parse(text).map(Own::Attach));
    }
    match upkeep::statement(text) {
        Some(upkeep) => Some(upkeep.map(Own::Upkeep)),
        None => Some(routine::statement(text)?.map(Own::Routine)),
    }
}

impl Own {
    pub(super) fn run(self, session: &Arc<Session>) -> Result<Outcome> {
        match self {
            Self::Alter(alter) => session.within(None, |scope| {
                scope.unit.with(|transaction| alter.run(transaction))?;
                Ok(Outcome::done("ALTER DATABASE"))
            }),
            Self::UseBranch(name) => {
                history::switch(session, &name)?;
                Ok(Outcome::done("USE"))
            }
            Self::Attach(change) => change.run(session),
            Self::Upkeep(upkeep) => upkeep.run(session),
            Self::Routine(statement) => session.within(session.owner(), |scope| routine::run(scope, statement)),
        }
    }
}

/// Runs a statement in its scope.
pub(super) fn run(scope: &Arc<Scope>, statement: Statement) -> Result<Outcome> {
    match statement {
        Statement::Query(_) => query::select(scope, statement),
        Statement::Explain { .. } => query::explain(scope, statement),
        Statement::Insert(insert) => dml::insert(scope, insert),
        Statement::Update(update) => dml::update(scope, update),
        Statement::Delete(delete) => dml::delete(scope, delete),
        Statement::Merge(merge) => dml::merge(scope, merge),
        Statement::Truncate(truncate) => dml::truncate(scope, &truncate),
        Statement::CreateTable(create) => ddl::create_table(scope, create),
        Statement::AlterTable(alter) => ddl::alter_table(scope, alter),
        Statement::CreateView(create) => ddl::create_view(scope, create),
        Statement::CreateSchema { .. } => ddl::create_schema(scope, &statement),
        Statement::Drop { object_type: ObjectType::Table | ObjectType::View | ObjectType::Schema, .. } => {
            ddl::drop(scope, &statement)
        }
        Statement::CreateIndex(create) => ddl::create_index(scope, &create),
        Statement::Drop { object_type: ObjectType::Index, .. } => ddl::drop_indexes(scope, &statement),
        Statement::Copy { .. } => copy::run(scope, statement),
        Statement::Call(function) => routine::call(scope, &function),
        Statement::Set(set) => show::set(scope, set),
        Statement::Reset(reset) => show::reset(scope, &reset),
        Statement::ShowVariable { variable } => show::show(scope, &variable),
        Statement::ShowTables { .. }
        | Statement::ShowSchemas { .. }
        | Statement::ShowDatabases { .. }
        | Statement::ShowColumns { .. }
        | Statement::ShowViews { .. } => show::list(scope, &statement),
        Statement::ExplainTable { table_name, .. } => show::describe(scope, &table_name),
        other => Err(refuse(&other)),
    }
}

fn refuse(statement: &Statement) -> Error {
    let text = statement.to_string();
    let words: Vec<&str> =
        text.split_whitespace().take_while(|word| word.chars().all(|c| c.is_ascii_uppercase())).take(3).collect();
    let name = if words.is_empty() { "this statement".to_owned() } else { words.join(" ") };
    unsupported(&name)
}
