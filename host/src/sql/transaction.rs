//! `BEGIN`, `COMMIT`, `ROLLBACK` and savepoints. A failed transaction accepts `ROLLBACK` alone, also when it failed at
//! `COMMIT`, so that nobody takes for saved what was not.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{Statement, TransactionMode};

use super::dml::check_deferred;
use super::names::fold_ident;
use super::outcome::Outcome;
use super::scope::Scope;
use super::session::{Active, Session};
use super::unit::Unit;
use super::unsupported;
use crate::error::{Error, Result, codes};

/// Runs the statement if it is about transactions.
pub(super) fn run(session: &Arc<Session>, statement: &Statement) -> Result<Option<Outcome>> {
    let tag = match statement {
        Statement::StartTransaction { modes, modifier, statements, exception, .. } => {
            if modifier.is_some() || !statements.is_empty() || exception.is_some() {
                return Err(unsupported("this form of BEGIN"));
            }
            begin(session, modes)?;
            "BEGIN"
        }
        Statement::Commit { chain: false, modifier: None, .. } => {
            commit(session)?;
            "COMMIT"
        }
        Statement::Rollback { chain: false, savepoint: None } => {
            rollback(session)?;
            "ROLLBACK"
        }
        Statement::Rollback { chain: false, savepoint: Some(name) } => {
            rollback_to(session, &fold_ident(name))?;
            "ROLLBACK"
        }
        Statement::Commit { .. } | Statement::Rollback { .. } => return Err(unsupported("AND CHAIN")),
        Statement::Savepoint { name } => {
            savepoint(session, fold_ident(name))?;
            "SAVEPOINT"
        }
        Statement::ReleaseSavepoint { name } => {
            release(session, &fold_ident(name))?;
            "RELEASE"
        }
        _ => return Ok(None),
    };
    Ok(Some(Outcome::done(tag)))
}

fn begin(session: &Session, modes: &[TransactionMode]) -> Result<()> {
    refuse_inside(session)?;
    if session.in_transaction() {
        return Err(
            Error::new(codes::IN_TRANSACTION, "a transaction is open already").help("COMMIT or ROLLBACK it first")
        );
    }
    let unit = Unit::begin(&session.engine.store, &session.settings().branch)?;
    for mode in modes {
        match mode.to_string().as_str() {
            "READ ONLY" => unit.with(|transaction| {
                transaction.set_read_only(true);
                Ok(())
            })?,
            // Snapshot isolation gives at least what these ask for.
            "READ WRITE"
            | "ISOLATION LEVEL READ UNCOMMITTED"
            | "ISOLATION LEVEL READ COMMITTED"
            | "ISOLATION LEVEL REPEATABLE READ"
            | "ISOLATION LEVEL SNAPSHOT" => {}
            other => return Err(unsupported(other)),
        }
    }
    *session.active() = Some(Active { unit, aborted: false, savepoints: Vec::new(), deferred: Vec::new() });
    Ok(())
}

fn commit(session: &Arc<Session>) -> Result<()> {
    refuse_inside(session)?;
    let deferred = session.active().as_mut().map(|open| (open.unit.clone(), std::mem::take(&mut open.deferred)));
    let judged = match deferred {
        Some((unit, deferred)) if !deferred.is_empty() => {
            let scope = Scope::new(session, unit, None).map(Arc::new);
            scope.and_then(|scope| check_deferred(&scope, &deferred))
        }
        _ => Ok(()),
    };
    let mut active = session.active();
    let open = active.as_mut().ok_or_else(none)?;
    if let Err(error) = judged.and_then(|()| open.unit.commit()) {
        open.aborted = true;
        return Err(error);
    }
    *active = None;
    Ok(())
}

fn rollback(session: &Session) -> Result<()> {
    refuse_inside(session)?;
    let open = session.active().take().ok_or_else(none)?;
    open.unit.rollback();
    Ok(())
}

fn savepoint(session: &Session, name: String) -> Result<()> {
    let mut active = session.active();
    let open = active.as_mut().ok_or_else(none)?;
    let savepoint = open.unit.mark()?;
    open.savepoints.push((name, savepoint));
    Ok(())
}

/// Undoes what came after the savepoint; the savepoint itself stays.
fn rollback_to(session: &Session, name: &str) -> Result<()> {
    let mut active = session.active();
    let open = active.as_mut().ok_or_else(none)?;
    let at = find(open, name)?;
    let savepoint = &open.savepoints[at].1;
    open.unit.back_to(savepoint)?;
    open.savepoints.truncate(at + 1);
    open.aborted = false;
    Ok(())
}

fn release(session: &Session, name: &str) -> Result<()> {
    let mut active = session.active();
    let open = active.as_mut().ok_or_else(none)?;
    let at = find(open, name)?;
    open.savepoints.truncate(at);
    Ok(())
}

/// The youngest savepoint of this name.
fn find(open: &Active, name: &str) -> Result<usize> {
    let at = open.savepoints.iter().rposition(|(known, _)| known == name);
    at.ok_or_else(|| Error::new(codes::NO_SAVEPOINT, format!("no savepoint `{name}`")))
}

fn none() -> Error {
    Error::new(codes::NO_TRANSACTION, "there is no transaction").help("BEGIN")
}

fn refuse_inside(session: &Session) -> Result<()> {
    if session.is_inside() {
        let message = "the transaction belongs to the statement that called; it cannot be begun or ended here";
        return Err(Error::new(codes::IN_TRANSACTION, message));
    }
    Ok(())
}
