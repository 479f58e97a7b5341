//! Routines and triggers: what users and extensions define in the catalog, in SQL or in a language of an extension.
//! `define` keeps them, `function` and `call` run them, `trigger` fires them; `body` is the language SQL.

mod body;
mod call;
mod define;
mod function;
mod macros;
mod names;
mod overload;
mod rewrite;
mod syntax;
mod trigger;

use std::sync::Arc;

pub(super) use call::{call, table};
pub(super) use define::{drop_triggers_of, move_triggers};
pub(super) use function::{exists, scalar};
pub(super) use macros::open_braces;
pub(super) use rewrite::rewrite;
pub(super) use syntax::{Statement, statement};
pub(super) use trigger::{Passed, Triggers, keep, view_as_table};

use super::claim::Language;
use super::nearest::nearest;
use super::outcome::Outcome;
use super::scope::Scope;
use crate::catalog::{Routine, Trigger};
use crate::error::{Error, Result, codes};

/// The language that is built in.
const SQL: &str = "sql";

/// Runs a statement about routines or triggers.
pub(super) fn run(scope: &Arc<Scope>, statement: Statement) -> Result<Outcome> {
    match statement {
        Statement::CreateRoutine(create) => define::create_routine(scope, *create),
        Statement::DropRoutines(drop) => define::drop_routines(scope, &drop),
        Statement::CreateTrigger(create) => define::create_trigger(scope, *create),
        Statement::DropTrigger { if_exists, name, table } => define::drop_trigger(scope, if_exists, &name, table),
        Statement::CreateMacro(create) => macros::create(scope, create),
        Statement::DropMacro { if_exists, name } => macros::drop(scope, if_exists, name),
        Statement::Do { language, body } => call::anonymous(scope, &language, body),
    }
}

/// The language of this name.
fn language(scope: &Scope, name: &str) -> Result<Arc<dyn Language>> {
    if name == SQL {
        return Ok(Arc::new(body::SqlLanguage));
    }
    if let Some(language) = scope.extensions.language(name)? {
        return Ok(language);
    }
    let error = Error::new(codes::NO_OBJECT, format!("no language `{name}`"));
    Err(match nearest(name, [SQL]) {
        Some(near) => error.help(format!("did you mean `{near}`?")),
        None => error.help("the host has the language `sql`; extensions bring others"),
    })
}

/// The language of a routine that exists. One whose extension cannot be asked is dormant, and says so.
fn language_of(scope: &Scope, routine: &Routine) -> Result<Arc<dyn Language>> {
    language(scope, &routine.language).map_err(|error| {
        let (noun, label) = (routine.kind.noun(), routine.label());
        match &routine.extension {
            // Its extension is gone, or stands in the way: the object stays, and only its use is refused.
            Some(extension) if error.is(codes::NO_OBJECT) => {
                let text = format!("the {noun} `{label}` needs the extension `{extension}`, which is not installed");
                Error::new(codes::DORMANT, text)
                    .detail("it is dormant: it can be listed and dropped")
                    .help(format!("kodiak ext install {extension}"))
            }
            Some(_) => error.detail(format!("the {noun} `{label}` is written in `{}`", routine.language)),
            None => error,
        }
    })
}

/// Whether a routine's language can be asked now.
pub(super) fn is_usable(scope: &Scope, routine: &Routine) -> bool {
    language_of(scope, routine).is_ok()
}

/// The routines of a name, by the schema that is written or that is meant.
fn find(scope: &Scope, path: &str, schema: Option<&str>, name: &str) -> Result<Vec<Routine>> {
    scope.catalog.routines(schema.unwrap_or(path), name)
}

/// The trigger with its table, as messages name it.
fn trigger_label(trigger: &Trigger) -> String {
    format!("{}` on `{}`", trigger.name, trigger.table)
}

/// The error for a routine that is not there, with the nearest that is.
fn no_routine(scope: &Scope, noun: &str, schema: Option<&str>, name: &str) -> Error {
    let shown = schema.map_or_else(|| name.to_owned(), |schema| format!("{schema}.{name}"));
    let error = Error::new(codes::NO_FUNCTION, format!("no {noun} `{shown}`"));
    let all = scope.catalog.all_routines().unwrap_or_default();
    match nearest(name, all.iter().filter(|one| noun == "routine" || one.kind.noun() == noun).map(|one| &one.name)) {
        Some(near) => error.help(format!("did you mean `{near}`?")),
        None => error,
    }
}
