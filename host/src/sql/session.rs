//! One session: its settings, its transaction, and the way of a statement from text to outcome. Statements themselves
//! live in their own files; here is only what they all have in common: who may run when, and what a failure undoes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::RecordBatch;
use datafusion::common::ScalarValue;
use datafusion::datasource::MemTable;
use datafusion::execution::SessionState;
use datafusion::sql::sqlparser::ast::Statement;

use super::attach::AttachedAll;
use super::bind::GIVEN;
use super::claim::Claimed;
use super::dml::Deferred;
use super::engine::Engine;
use super::outcome::{Outcome, Rows};
use super::parse::{self, Origin};
use super::prepared::{self, Kept, Prepared};
use super::scope::Scope;
use super::settings::Settings;
use super::token::Token;
use super::unit::{Mark, Unit};
use super::value::Value;
use super::{dispatch, fault, history, routine, run, split, transaction};
use crate::catalog::Catalog;
use crate::error::{Error, Place, Result, codes};
use crate::storage::Transaction;

/// How deep routines may call each other.
const DEPTH_MAX: usize = 64;

/// A session, or the part of one that runs inside a statement of it.
pub(crate) struct Session {
    pub(crate) engine: Arc<Engine>,
    pub(crate) shared: Arc<Shared>,
    active: Mutex<Option<Active>>,
    /// Set when it runs inside a statement.
    inside: Option<Inside>,
    /// The extension whose session it is.
    owner: Option<String>,
}

/// What a session and the sessions inside it share.
pub(crate) struct Shared {
    pub(crate) settings: Mutex<Arc<Settings>>,
    pub(crate) attached: Mutex<AttachedAll>,
    pub(crate) prepared: Mutex<HashMap<String, Arc<Prepared>>>,
    /// The planner's state for the settings it was made from.
    pub(crate) planner: Mutex<Option<(Arc<Settings>, SessionState)>>,
    token: Mutex<Token>,
}

struct Inside {
    unit: Unit,
    token: Token,
    frame: Frame,
}

/// What surrounds a statement inside another one.
#[derive(Clone, Default)]
pub(crate) struct Frame {
    /// Routines around it.
    pub(crate) depth: usize,
    /// Triggers that are being fired.
    pub(crate) firing: Vec<String>,
    /// The schema that names without one mean, if it is not the session's.
    pub(crate) path: Option<String>,
    /// Values of the routine's parameters.
    pub(crate) values: Arc<[ScalarValue]>,
    /// Tables that the routine was given, by name.
    pub(crate) tables: HashMap<String, RecordBatch>,
}

/// A transaction that `BEGIN` opened.
pub(super) struct Active {
    pub(super) unit: Unit,
    pub(super) aborted: bool,
    pub(super) savepoints: Vec<(String, Mark)>,
    /// Foreign keys to be judged at commit.
    pub(super) deferred: Vec<Deferred>,
}

impl Session {
    pub(crate) fn new(engine: Arc<Engine>) -> Self {
        let shared = Shared {
            settings: Mutex::default(),
            attached: Mutex::default(),
            prepared: Mutex::default(),
            planner: Mutex::default(),
            token: Mutex::new(Token::new(None)),
        };
        Self { engine, shared: Arc::new(shared), active: Mutex::new(None), inside: None, owner: None }
    }

    /// A session whose objects belong to an extension.
    pub(crate) fn of_extension(engine: Arc<Engine>, extension: &str) -> Self {
        Self { owner: Some(extension.to_owned()), ..Self::new(engine) }
    }

    /// Goes on on another branch.
    pub(crate) fn use_branch(&self, name: &str) -> Result<()> {
        history::switch(self, name)
    }

    /// Runs one statement; `text` is that of `origin` without its `;`.
    pub(crate) fn run(self: &Arc<Self>, text: &str, origin: &Origin<'_>, params: &[Value]) -> Result<Outcome> {
        if let Ok(Some(outcome)) = prepared::call(self, text, params) {
            return Ok(outcome);
        }
        if self.inside.is_none() {
            *lock(&self.shared.token) = Token::new(self.settings().statement_timeout);
        }
        let outcome = run::guard(|| self.run_text(text, params));
        match outcome {
            Ok(Outcome { rows: Some(rows), tag, affected }) => {
                Ok(Outcome { rows: Some(rows.placed(origin.beginning())), tag, affected })
            }
            Ok(outcome) => Ok(outcome),
            Err(error) => Err(origin.locate(error)),
        }
    }

    /// Runs a statement that was prepared before.
    pub(crate) fn run_kept(self: &Arc<Self>, kept: &Kept, params: &[Value]) -> Result<Outcome> {
        if let Some(outcome) = kept.point(self, params)? {
            return Ok(outcome);
        }
        let extensions = self.engine.extensions();
        let is_sensitive = &|text: &str| extensions.is_sensitive(text);
        let origin = Origin { source: "sql", script: kept.text(), start: 0, line: 1, is_sensitive };
        self.run(kept.text(), &origin, params)
    }

    pub(super) fn run_text(self: &Arc<Self>, text: &str, params: &[Value]) -> Result<Outcome> {
        let words = split::leading_words(text, 1);
        let rollback = words.first().is_some_and(|word| word == "ROLLBACK");
        if self.active().as_ref().is_some_and(|active| active.aborted) && !rollback {
            let error = Error::new(codes::ABORTED, "the transaction failed; only ROLLBACK is accepted");
            return Err(error.help("ROLLBACK"));
        }
        if let Some(claimed) = self.engine.extensions().claim(text)? {
            return self.run_claimed(claimed, params);
        }
        self.run_own(text, params).map_err(|error| self.conceal(text, error))
    }

    /// An error that may quote its statement, made one that does not where the statement may hold a secret.
    fn conceal(&self, text: &str, error: Error) -> Error {
        if !error.is(codes::SYNTAX) && !error.code().starts_with("KDK-01")
            || !self.engine.extensions().is_sensitive(text)
        {
            return error;
        }
        parse::concealed(&error)
    }

    fn run_own(self: &Arc<Self>, text: &str, params: &[Value]) -> Result<Outcome> {
        // Braces in a statement of an extension are that extension's to read.
        let opened;
        let text = if text.contains("{{") {
            let unit = self.open_unit().map_or_else(|| Unit::begin(&self.engine.store, &self.settings().branch), Ok)?;
            opened = routine::open_braces(&Scope::new(self, unit, self.owner())?, text)?;
            opened.as_str()
        } else {
            text
        };
        if let Some(own) = dispatch::own_statement(text) {
            return own.and_then(|own| own.run(self));
        }
        let mut statement = parse::statement(text)?;
        if matches!(statement, Statement::Prepare { .. }) {
            prepared::refuse_params(params)?;
        } else {
            prepared::put_params(&mut statement, params)?;
        }
        self.run_statement(statement)
    }

    /// Runs a statement that has no parameters left.
    pub(crate) fn run_statement(self: &Arc<Self>, statement: Statement) -> Result<Outcome> {
        if let Some(outcome) = transaction::run(self, &statement)? {
            return Ok(outcome);
        }
        if let Some(outcome) = prepared::run(self, &statement)? {
            return Ok(outcome);
        }
        self.within(self.owner(), |scope| dispatch::run(scope, statement))
    }

    fn run_claimed(self: &Arc<Self>, claimed: Box<dyn Claimed>, params: &[Value]) -> Result<Outcome> {
        let owner = claimed.extension().to_owned();
        self.within(Some(owner), |scope| claimed.run(&scope.caller(), params))
    }

    /// Works inside the open transaction, or in one of its own that ends with the statement.
    pub(crate) fn within(
        self: &Arc<Self>,
        owner: Option<String>,
        work: impl FnOnce(&Arc<Scope>) -> Result<Outcome>,
    ) -> Result<Outcome> {
        let open = self.open_unit();
        let implicit = open.is_none();
        let unit = open.map_or_else(|| Unit::begin(&self.engine.store, &self.settings().branch), Ok)?;
        // Inside another statement a failure must leave that statement whole.
        let savepoint = self.inside.as_ref().map(|_| unit.mark()).transpose()?;
        let finish = Finish { session: Arc::clone(self), unit: unit.clone(), implicit, savepoint };
        let outcome = Scope::new(self, unit, owner).and_then(|scope| run::guard(|| work(&Arc::new(scope))));
        match outcome {
            Err(error) => Err(finish.failed(error)),
            Ok(Outcome { rows: Some(rows), tag, affected }) if rows.is_pending() => {
                Ok(Outcome { rows: Some(rows.finish_with(finish)), tag, affected })
            }
            Ok(outcome) => finish.succeeded().map(|()| outcome),
        }
    }

    /// Evaluates an expression over columns that are only there for it.
    pub(crate) fn evaluate(self: &Arc<Self>, expression: &str, columns: RecordBatch) -> Result<Rows> {
        const NAME: &str = "arguments";
        let statement = parse::statement(&format!("SELECT {expression} FROM \"{GIVEN}\".\"{GIVEN}\".\"{NAME}\""))?;
        let outcome = self.within(self.owner(), |scope| {
            let table =
                MemTable::try_new(columns.schema(), vec![vec![columns]]).map_err(|error| fault::fold(&error))?;
            lock(&scope.found).given.insert(NAME.to_owned(), Arc::new(table));
            dispatch::run(scope, statement)
        })?;
        outcome.rows.ok_or_else(|| Error::new(codes::INTERNAL, "a query without rows"))
    }

    pub(crate) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&lock(&self.shared.settings))
    }

    pub(crate) fn change_settings(&self, change: impl FnOnce(&mut Settings) -> Result<()>) -> Result<()> {
        let mut settings = lock(&self.shared.settings);
        let mut changed = Settings::clone(&settings);
        change(&mut changed)?;
        *settings = Arc::new(changed);
        Ok(())
    }

    /// The token of the statement that runs now, or ran last.
    pub(crate) fn token(&self) -> Token {
        self.inside.as_ref().map_or_else(|| lock(&self.shared.token).clone(), |inside| inside.token.clone())
    }

    /// What surrounds the session's statements, if it runs inside another statement.
    pub(crate) fn frame(&self) -> Option<&Frame> {
        self.inside.as_ref().map(|inside| &inside.frame)
    }

    pub(crate) fn is_inside(&self) -> bool {
        self.inside.is_some()
    }

    /// Whether `BEGIN` opened a transaction that has not ended.
    pub(crate) fn in_transaction(&self) -> bool {
        self.active().is_some()
    }

    /// Puts the judgement of a foreign key off until the transaction commits.
    pub(super) fn defer(&self, deferred: Deferred) {
        if let Some(active) = self.active().as_mut() {
            active.deferred.push(deferred);
        }
    }

    pub(super) fn active(&self) -> MutexGuard<'_, Option<Active>> {
        lock(&self.active)
    }

    /// Works in the open transaction, or in one of its own that is committed at once.
    pub(crate) fn with_transaction<T>(&self, work: impl FnOnce(&Transaction) -> Result<T>) -> Result<T> {
        match self.open_unit() {
            Some(unit) => unit.with(work),
            None => {
                let transaction = self.engine.store.begin_on(&self.settings().branch)?;
                let done = work(&transaction)?;
                transaction.commit()?;
                Ok(done)
            }
        }
    }

    /// Whether a statement that only reads is accepted now.
    pub(super) fn may_read(&self) -> bool {
        !self.active().as_ref().is_some_and(|active| active.aborted)
    }

    pub(super) fn open_unit(&self) -> Option<Unit> {
        let inside = self.inside.as_ref().map(|inside| inside.unit.clone());
        inside.or_else(|| self.active().as_ref().map(|active| active.unit.clone()))
    }

    pub(super) fn owner(&self) -> Option<String> {
        self.owner.clone()
    }
}

/// Who calls an extension, and in which transaction: what it needs to run SQL of its own there.
#[derive(Clone)]
pub struct Caller {
    engine: Arc<Engine>,
    shared: Arc<Shared>,
    unit: Unit,
    token: Token,
    depth: usize,
    firing: Vec<String>,
}

impl Caller {
    pub(crate) fn new(session: &Session, unit: Unit) -> Self {
        let frame = session.frame();
        Self {
            engine: Arc::clone(&session.engine),
            shared: Arc::clone(&session.shared),
            unit,
            token: session.token(),
            depth: frame.map_or(0, |frame| frame.depth),
            firing: frame.map(|frame| frame.firing.clone()).unwrap_or_default(),
        }
    }

    /// The caller as a routine that it calls sees it.
    ///
    /// # Errors
    /// TOO_DEEP.
    pub(crate) fn deeper(&self) -> Result<Self> {
        if self.depth >= DEPTH_MAX {
            let message = format!("routines call each other more than {DEPTH_MAX} deep");
            return Err(Error::new(codes::TOO_DEEP, message));
        }
        Ok(Self { depth: self.depth + 1, ..self.clone() })
    }

    /// The caller as the function of a trigger sees it.
    pub(crate) fn firing(&self, trigger: String) -> Self {
        let mut caller = self.clone();
        caller.firing.push(trigger);
        caller
    }

    pub(crate) fn unit(&self) -> Unit {
        self.unit.clone()
    }

    /// A session inside the caller's statement, for the body of a routine.
    pub(crate) fn routine_session(&self, owner: Option<&str>, frame: Frame) -> Session {
        let mut session = self.session(owner);
        if let Some(inside) = &mut session.inside {
            inside.frame = Frame { depth: self.depth, firing: self.firing.clone(), ..frame };
        }
        session
    }

    /// A session inside the caller's statement, on behalf of an extension.
    pub(crate) fn session(&self, extension: Option<&str>) -> Session {
        let frame = Frame { depth: self.depth, firing: self.firing.clone(), ..Frame::default() };
        let inside = Inside { unit: self.unit.clone(), token: self.token.clone(), frame };
        Session {
            engine: Arc::clone(&self.engine),
            shared: Arc::clone(&self.shared),
            active: Mutex::new(None),
            inside: Some(inside),
            owner: extension.map(str::to_owned),
        }
    }

    /// The open database.
    pub(crate) fn engine(&self) -> Arc<Engine> {
        Arc::clone(&self.engine)
    }

    /// The catalog as the caller's transaction sees it.
    pub(crate) fn catalog(&self) -> Result<Catalog> {
        Ok(Catalog::new(self.unit.snapshot()?, Arc::clone(&self.engine.cache)))
    }

    /// What ends the statement early.
    pub fn token(&self) -> &Token {
        &self.token
    }
}

impl std::fmt::Debug for Caller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Caller").finish_non_exhaustive()
    }
}

/// What is left to do when a statement's last row has been read, or it has failed.
pub(crate) struct Finish {
    session: Arc<Session>,
    unit: Unit,
    implicit: bool,
    savepoint: Option<Mark>,
}

impl Finish {
    pub(crate) fn succeeded(self) -> Result<()> {
        if self.implicit { self.unit.commit().map(drop) } else { Ok(()) }
    }

    pub(crate) fn failed(self, error: Error) -> Error {
        if self.implicit {
            self.unit.rollback();
        } else if let Some(savepoint) = &self.savepoint {
            let undone = self.unit.back_to(savepoint);
            if let Err(failure) = undone {
                return error.detail(format!("and its changes could not be taken back: {failure}"));
            }
        } else if let Some(active) = self.session.active().as_mut() {
            active.aborted = true;
        }
        error
    }
}

/// A place for errors that come while rows are read.
pub(super) fn at_place(error: Error, place: Option<&Place>) -> Error {
    match place {
        Some(place) => error.at(place.clone()),
        None => error,
    }
}

/// No invariant spans a panic in these maps, so a poisoned lock is as good as any.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
