//! `ATTACH` and `DETACH`: other databases under names of this session. Their tables are read and changed as `name.table`
//! or `name.schema.table`; what else there is in them is for their own sessions.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::inspect::{TextToken, TextTokenKind, tokens};
use super::outcome::Outcome;
use super::session::{Session, lock};
use crate::catalog::Cache;
use crate::error::{Error, Result, codes};
use crate::storage::{Options, Store};

/// Separates a database's name from its schema's where both stand in one place; no name holds it.
pub(super) const WITHIN: char = '\u{1}';

/// An attached database.
#[derive(Clone)]
pub(crate) struct Attached {
    pub(super) store: Store,
    pub(super) cache: Arc<Cache>,
    pub(super) path: PathBuf,
    pub(super) read_only: bool,
}

/// The attached databases of a session.
pub(crate) type AttachedAll = BTreeMap<String, Attached>;

/// A statement of this file.
pub(super) enum Change {
    Attach { path: String, name: Option<String>, read_only: bool, if_not_exists: bool },
    Detach { name: String, if_exists: bool },
}

/// Reads a statement that begins with `ATTACH` or `DETACH`.
pub(super) fn parse(text: &str) -> Result<Change> {
    let all = tokens(text)?;
    let mut left = all.as_slice();
    let is_attach = word(&mut left, "ATTACH");
    if !is_attach && !word(&mut left, "DETACH") {
        return Err(expected("ATTACH or DETACH", left));
    }
    word(&mut left, "DATABASE");
    let conditional = word(&mut left, "IF");
    if conditional && is_attach && !word(&mut left, "NOT") {
        return Err(expected("NOT", left));
    }
    if conditional && !word(&mut left, "EXISTS") {
        return Err(expected("EXISTS", left));
    }
    let change = if is_attach {
        let path = match left.split_first() {
            Some((token, rest)) if token.kind == TextTokenKind::Text => {
                left = rest;
                token.text.clone()
            }
            _ => return Err(expected("the database's path in quotes", left)),
        };
        let name = if word(&mut left, "AS") { Some(name(&mut left)?) } else { None };
        let mut read_only = false;
        if symbol(&mut left, "(") {
            read_only = word(&mut left, "READ_ONLY");
            if !read_only || !symbol(&mut left, ")") {
                return Err(expected("(READ_ONLY)", left));
            }
        }
        Change::Attach { path, name, read_only, if_not_exists: conditional }
    } else {
        Change::Detach { name: name(&mut left)?, if_exists: conditional }
    };
    if left.is_empty() { Ok(change) } else { Err(expected("the end of the statement", left)) }
}

fn word(left: &mut &[TextToken], word: &str) -> bool {
    let is_it =
        left.first().is_some_and(|token| token.kind == TextTokenKind::Word && token.text.eq_ignore_ascii_case(word));
    if is_it {
        *left = &left[1..];
    }
    is_it
}

fn symbol(left: &mut &[TextToken], symbol: &str) -> bool {
    let is_it = left.first().is_some_and(|token| token.kind == TextTokenKind::Symbol && token.text == symbol);
    if is_it {
        *left = &left[1..];
    }
    is_it
}

fn name(left: &mut &[TextToken]) -> Result<String> {
    let name = match left.first() {
        Some(token) if token.kind == TextTokenKind::Word => token.text.to_lowercase(),
        Some(token) if token.kind == TextTokenKind::Quoted => token.text.clone(),
        _ => return Err(expected("a name", left)),
    };
    *left = &left[1..];
    Ok(name)
}

fn expected(what: &str, left: &[TextToken]) -> Error {
    let found = left.first().map_or("the end of the statement".to_owned(), |token| format!("`{}`", token.text));
    Error::new(codes::SYNTAX, format!("expected {what}, found {found}"))
}

impl Change {
    pub(super) fn run(self, session: &Session) -> Result<Outcome> {
        if session.in_transaction() || session.is_inside() {
            return Err(Error::new(codes::IN_TRANSACTION, "ATTACH and DETACH cannot run inside a transaction"));
        }
        match self {
            Self::Attach { path, name, read_only, if_not_exists } => {
                attach(session, path, name, read_only, if_not_exists)?;
                Ok(Outcome::done("ATTACH"))
            }
            Self::Detach { name, if_exists } => {
                if lock(&session.shared.attached).remove(&name).is_none() && !if_exists {
                    return Err(Error::new(codes::NO_OBJECT, format!("no attached database `{name}`")));
                }
                Ok(Outcome::done("DETACH"))
            }
        }
    }
}

fn attach(session: &Session, path: String, name: Option<String>, read_only: bool, if_not_exists: bool) -> Result<()> {
    let path = PathBuf::from(path);
    let stem = || path.file_stem().map(|stem| stem.to_string_lossy().to_lowercase()).unwrap_or_default();
    let name = name.unwrap_or_else(stem);
    if name.is_empty() || name.contains(WITHIN) {
        return Err(Error::new(codes::SYNTAX, "the database needs a name").help("ATTACH 'path' AS name"));
    }
    if lock(&session.shared.attached).contains_key(&name) {
        if if_not_exists {
            return Ok(());
        }
        let error = Error::new(codes::EXISTS, format!("a database `{name}` is attached already"));
        return Err(error.help(format!("DETACH {name}")));
    }
    let snapshot = session.engine.store.snapshot_of(&session.settings().branch)?;
    let catalog = crate::catalog::Catalog::new(snapshot, Arc::clone(&session.engine.cache));
    if catalog.has_schema(&name) {
        let error =
            Error::new(codes::EXISTS, format!("there is a schema `{name}`, so that no database can have this name"));
        return Err(error.help("ATTACH 'path' AS another_name"));
    }
    let same = |one: &std::path::Path, other: &std::path::Path| match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    };
    let store = match session.engine.store.path() {
        // Within one process a database is opened once.
        Some(own) if same(own, &path) => session.engine.store.clone(),
        _ => Store::open(&path, &Options { create: false, read_only, ..Options::default() })?,
    };
    let read_only = read_only || store.is_read_only();
    let attached = Attached { store, cache: Arc::default(), path, read_only };
    lock(&session.shared.attached).insert(name, attached);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_read_whole_or_refused() {
        let Change::Attach { path, name, read_only, if_not_exists } =
            parse("ATTACH IF NOT EXISTS 'a b.kdb' AS \"X y\" (READ_ONLY)").expect("reads")
        else {
            panic!("another statement")
        };
        assert_eq!((path.as_str(), name.as_deref(), read_only, if_not_exists), ("a b.kdb", Some("X y"), true, true));
        assert!(
            matches!(parse("detach database if exists X"), Ok(Change::Detach { name, if_exists: true }) if name == "x")
        );
        for text in [
            "ATTACH",
            "ATTACH x",
            "ATTACH 'a' AS",
            "ATTACH 'a' AS x (TYPE sqlite)",
            "ATTACH 'a' x",
            "DETACH",
            "DETACH a b",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
