//! The front door: open a database, connect, run statements, read rows. It adds nothing to what `sql` and `storage` do;
//! it is what the command line, programs that embed Kodiak, and extensions' services hold in their hands.

use std::path::Path;
use std::sync::Arc;

use crate::error::{Place, Result};
use crate::extensions::session::Terminal;
use crate::extensions::{self, Extensions, Home, View};
pub use crate::sql::claim;
use crate::sql::split;
pub use crate::sql::{Caller, Outcome, Rows, Value};
use crate::sql::{Engine, Kept, Origin, Session};
use crate::storage::{Options, Store};

mod functions;
mod keeper;
mod languages;
mod listing;
mod plugins;
mod services;

use plugins::Plugins;
pub(crate) use services::from_arrow;

/// An open database. Cloning is cheap and shares it.
#[derive(Clone)]
pub struct Database {
    engine: Arc<Engine>,
    plugins: Plugins,
}

impl Database {
    /// Opens the database in a folder, and makes it if there is none.
    ///
    /// # Errors
    /// What storage finds wrong with the folder.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path, &Options::default())
    }

    /// Opens the database in a folder.
    ///
    /// # Errors
    /// What storage finds wrong with the folder.
    pub fn open_with(path: impl AsRef<Path>, options: &Options) -> Result<Self> {
        Ok(Self::over(Store::open(path.as_ref(), options)?))
    }

    /// A database that lives as long as its last connection.
    ///
    /// ```
    /// let database = kodiak::Database::memory()?;
    /// let connection = database.connect()?;
    /// connection.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, name TEXT)", &[])?;
    /// connection.execute("INSERT INTO t VALUES (?, ?)", &[1.into(), "one".into()])?;
    /// let rows = connection.query("SELECT name FROM t WHERE id = ?", &[1.into()])?.collect_batches()?;
    /// assert_eq!(rows[0].num_rows(), 1);
    /// # Ok::<(), kodiak::Error>(())
    /// ```
    ///
    /// # Errors
    /// None that a user could cause.
    pub fn memory() -> Result<Self> {
        Ok(Self::over(Store::memory()?))
    }

    /// A broken home must not keep a database from opening: it is reported when an extension is needed.
    fn over(store: Store) -> Self {
        let plugins = Plugins::new(store.clone(), Home::find());
        let engine = Arc::new(Engine::new(store));
        engine.set_extensions(Arc::new(plugins.clone()));
        Self { engine, plugins }
    }

    /// A new session.
    ///
    /// # Errors
    /// None today; a limit of sessions may come.
    pub fn connect(&self) -> Result<Connection> {
        Ok(Connection(Arc::new(Session::new(Arc::clone(&self.engine)))))
    }

    /// The storage below.
    pub fn store(&self) -> &Store {
        &self.engine.store
    }

    /// The extensions of this database.
    ///
    /// # Errors
    /// When the user's home cannot be found or its configuration cannot be understood.
    pub fn extensions(&self) -> Result<Arc<Extensions>> {
        self.plugins.extensions()
    }

    /// What is enabled here, and what can be said about each.
    ///
    /// # Errors
    /// As [`Database::extensions`], and when a set cannot be read.
    pub fn extension_view(&self) -> Result<Arc<View>> {
        self.plugins.view()
    }

    /// A caller for a command of an extension: a session of its own, and the terminal that the command talks to.
    pub fn command_caller(&self, extension: &str, terminal: Arc<dyn Terminal>) -> extensions::Caller {
        let session = services::PluginSession::own(self, extension);
        extensions::Caller { session: Arc::new(session), terminal: Some(terminal) }
    }
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").field("path", &self.store().path()).finish_non_exhaustive()
    }
}

/// A session: settings, a transaction, prepared statements.
pub struct Connection(Arc<Session>);

impl Connection {
    /// A connection inside the statement of `caller`: same transaction, same settings. What it creates belongs to
    /// `extension`; a failing statement leaves no trace and does not end the caller's transaction.
    pub fn within(caller: &Caller, extension: Option<&str>) -> Self {
        Self(Arc::new(caller.session(extension)))
    }

    /// Runs all statements of `sql`; gives the rows that the last one changed or returned.
    ///
    /// # Errors
    /// The first error; later statements are not run then. Parameters are for a single statement.
    pub fn execute(&self, sql: &str, params: &[Value]) -> Result<u64> {
        let mut last = 0;
        for outcome in self.outcomes(sql, "sql", params) {
            let outcome = outcome?;
            let mut returned = 0;
            for batch in outcome.rows.into_iter().flatten() {
                returned += batch?.num_rows() as u64;
            }
            last = outcome.affected.unwrap_or(returned);
        }
        Ok(last)
    }

    /// Runs all statements of `sql`; gives the rows of the last one, which are read while they are made.
    ///
    /// # Errors
    /// The first error; later statements are not run then. Parameters are for a single statement.
    pub fn query(&self, sql: &str, params: &[Value]) -> Result<Rows> {
        let mut last = None;
        for outcome in self.outcomes(sql, "sql", params) {
            // The rows of a statement that is not the last are read all the same, so that it is done.
            let before = last.replace(outcome?.rows);
            for batch in before.flatten().into_iter().flatten() {
                batch?;
            }
        }
        let empty = || Rows::ready(Arc::new(arrow::datatypes::Schema::empty()), Vec::new());
        Ok(last.flatten().unwrap_or_else(empty))
    }

    /// Prepares one statement, to be run again and again with other parameters. One that reads a row by its key does not
    /// go through the planner any more.
    ///
    /// ```
    /// let connection = kodiak::Database::memory()?.connect()?;
    /// connection.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, name TEXT)", &[])?;
    /// connection.execute("INSERT INTO t VALUES (1, 'one')", &[])?;
    /// let find = connection.prepare("SELECT name FROM t WHERE id = ?")?;
    /// assert_eq!(find.query(&[1.into()])?.collect_batches()?[0].num_rows(), 1);
    /// assert!(find.query(&[2.into()])?.collect_batches()?.is_empty());
    /// # Ok::<(), kodiak::Error>(())
    /// ```
    ///
    /// # Errors
    /// `SYNTAX` when it cannot be parsed; what its names mean is found when it runs.
    pub fn prepare(&self, sql: &str) -> Result<Prepared> {
        Ok(Prepared { session: Arc::clone(&self.0), kept: Kept::new(&self.0, sql)? })
    }

    /// Runs the statements of `text` one by one, as the iterator is asked; errors tell their place in it.
    pub fn script<'a>(&'a self, text: &'a str, source: &'a str) -> Script<'a> {
        self.outcomes(text, source, &[])
    }

    fn outcomes<'a>(&'a self, text: &'a str, source: &'a str, params: &'a [Value]) -> Script<'a> {
        Script { connection: self, text, source, params, at: 0, line: 1 }
    }

    /// Goes on on another branch.
    ///
    /// # Errors
    /// `NO_OBJECT` if there is none of that name, `IN_TRANSACTION` if a transaction is open.
    pub fn use_branch(&self, name: &str) -> Result<()> {
        self.0.use_branch(name)
    }

    /// Begins a transaction.
    ///
    /// # Errors
    /// `IN_TRANSACTION` if one is open.
    pub fn begin(&self) -> Result<()> {
        self.execute("BEGIN", &[]).map(drop)
    }

    /// Ends the transaction and keeps its changes.
    ///
    /// # Errors
    /// `CONFLICT`; `NO_TRANSACTION` if none is open.
    pub fn commit(&self) -> Result<()> {
        self.execute("COMMIT", &[]).map(drop)
    }

    /// Ends the transaction and undoes its changes.
    ///
    /// # Errors
    /// `NO_TRANSACTION` if none is open.
    pub fn rollback(&self) -> Result<()> {
        self.execute("ROLLBACK", &[]).map(drop)
    }

    /// Whether `BEGIN` opened a transaction that has not ended.
    pub fn in_transaction(&self) -> bool {
        self.0.in_transaction()
    }

    /// Whether a text may hold what no message, log or history may repeat, such as the value of a secret.
    pub fn is_sensitive(&self, text: &str) -> bool {
        self.0.engine.extensions().is_sensitive(text)
    }

    /// Answers as [`Connection::is_sensitive`], apart from the connection.
    pub(crate) fn sensitivity(&self) -> impl Fn(&str) -> bool + 'static {
        let extensions = self.0.engine.extensions();
        move |text| extensions.is_sensitive(text)
    }

    /// Something that can end the running statement from another thread.
    pub fn cancel_handle(&self) -> CancelHandle {
        CancelHandle(Arc::downgrade(&self.0))
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

/// A prepared statement of a connection.
pub struct Prepared {
    session: Arc<Session>,
    kept: Kept,
}

impl Prepared {
    /// Runs it and gives its rows.
    ///
    /// # Errors
    /// As [`Connection::query`].
    pub fn query(&self, params: &[Value]) -> Result<Rows> {
        let outcome = self.session.run_kept(&self.kept, params)?;
        let empty = || Rows::ready(Arc::new(arrow::datatypes::Schema::empty()), Vec::new());
        Ok(outcome.rows.unwrap_or_else(empty))
    }

    /// Runs it and gives the number of rows that it changed or returned.
    ///
    /// # Errors
    /// As [`Connection::execute`].
    pub fn execute(&self, params: &[Value]) -> Result<u64> {
        let outcome = self.session.run_kept(&self.kept, params)?;
        let mut returned = 0;
        for batch in outcome.rows.into_iter().flatten() {
            returned += batch?.num_rows() as u64;
        }
        Ok(outcome.affected.unwrap_or(returned))
    }
}

impl std::fmt::Debug for Prepared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prepared").field("text", &self.kept.text()).finish_non_exhaustive()
    }
}

/// Ends the statement that a connection runs. It does not keep the connection open.
#[derive(Clone)]
pub struct CancelHandle(std::sync::Weak<Session>);

impl CancelHandle {
    /// Ends the running statement, if there is one; the next one is not affected.
    pub fn cancel(&self) {
        if let Some(session) = self.0.upgrade() {
            session.token().cancel();
        }
    }
}

impl std::fmt::Debug for CancelHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CancelHandle")
    }
}

/// The statements of a text, run one by one.
pub struct Script<'a> {
    connection: &'a Connection,
    text: &'a str,
    source: &'a str,
    params: &'a [Value],
    at: usize,
    line: u64,
}

impl Script<'_> {
    /// Line and text of the statement that comes next, for messages about progress.
    pub fn next_place(&self) -> Option<Place> {
        let piece = split::statements(&self.text[self.at..]).next()?;
        let start = self.at + piece.start;
        let is_sensitive = &|text: &str| self.connection.is_sensitive(text);
        let line = self.line_of(start);
        Some(Origin { source: self.source, script: self.text, start, line, is_sensitive }.beginning())
    }

    fn line_of(&self, start: usize) -> u64 {
        self.line + self.text[self.at..start].bytes().filter(|byte| *byte == b'\n').count() as u64
    }
}

impl Iterator for Script<'_> {
    type Item = Result<Outcome>;

    fn next(&mut self) -> Option<Self::Item> {
        let piece = split::statements(&self.text[self.at..]).next()?;
        let start = self.at + piece.start;
        let line = self.line_of(start);
        let is_sensitive = &|text: &str| self.connection.is_sensitive(text);
        let origin = Origin { source: self.source, script: self.text, start, line, is_sensitive };
        let outcome = self.connection.0.run(piece.text, &origin, self.params);
        let end = start + piece.length;
        self.line = line + self.text[start..end].bytes().filter(|byte| *byte == b'\n').count() as u64;
        self.at = end;
        Some(outcome)
    }
}
