//! What the house above must offer so that a plugin can ask for it: SQL in the caller's session, small state, a
//! terminal. The only upward call of the host goes through these traits, which `database` and `cli` implement.

use crate::error::Result;
use arrow::array::{ArrayRef, RecordBatch, RecordBatchReader};
use std::path::PathBuf;
use std::sync::Arc;

/// Rows as they come.
pub type BatchReader = Box<dyn RecordBatchReader + Send>;

/// A session on whose behalf a plugin works: the caller's, or one that the plugin opened.
pub trait Session: Send + Sync {
    /// Streams the rows of one statement; `parameters` has one row.
    ///
    /// # Errors
    /// The statement's own, or PERMISSION and UNDECLARED by `access`.
    fn query(&self, sql: &str, parameters: RecordBatch, access: &Access) -> Result<BatchReader>;

    /// Runs one statement and counts the rows that it changed.
    ///
    /// # Errors
    /// As [`Session::query`].
    fn execute(&self, sql: &str, parameters: RecordBatch, access: &Access) -> Result<u64>;

    /// Calls a scalar function over the columns of `arguments`.
    ///
    /// # Errors
    /// As [`Session::query`].
    fn call_function(&self, name: &str, arguments: RecordBatch, access: &Access) -> Result<ArrayRef>;

    /// Takes a step in the session's transaction.
    ///
    /// # Errors
    /// When the step does not fit the transaction's state.
    fn transaction(&self, step: TransactionStep, savepoint: &str) -> Result<()>;

    /// A value of an extension's small state, as the session's transaction sees it.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn kv_get(&self, extension: &str, key: &[u8]) -> Result<Option<Vec<u8>>>;

    /// Sets (`Some`) or removes a value of an extension's small state in the session's transaction.
    ///
    /// # Errors
    /// When the database cannot be written.
    fn kv_set(&self, extension: &str, key: &[u8], value: Option<&[u8]>) -> Result<()>;

    /// Every entry of an extension's small state whose key starts with `prefix`, ordered.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn kv_scan(&self, extension: &str, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>>;

    /// Registers or forgets an object that an extension keeps.
    ///
    /// # Errors
    /// When the database cannot be written.
    fn own_object(&self, extension: &str, kind: &str, name: &str, owned: bool) -> Result<()>;

    /// Gives plain tables that an extension left behind in its schema back to it.
    ///
    /// # Errors
    /// When the database cannot be written.
    fn adopt(&self, extension: &str) -> Result<()>;

    /// The database's folder; none in memory.
    fn directory(&self) -> Option<PathBuf>;

    /// A setting of an extension's.
    ///
    /// # Errors
    /// When the configuration cannot be read.
    fn config(&self, extension: &str, key: &str) -> Result<Option<String>>;

    /// Whether the running statement should end.
    fn is_cancelled(&self) -> bool;

    /// Another session on the same database, with transactions of its own.
    ///
    /// # Errors
    /// When there are too many.
    fn fork(&self) -> Result<Arc<dyn Session>>;
}

/// Steps of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionStep {
    /// BEGIN.
    Begin,
    /// COMMIT.
    Commit,
    /// ROLLBACK.
    Rollback,
    /// SAVEPOINT.
    Savepoint,
    /// RELEASE SAVEPOINT.
    Release,
    /// ROLLBACK TO SAVEPOINT.
    RollbackTo,
}

/// What SQL that a plugin runs may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// The extension that asks.
    pub extension: String,
    /// Extensions whose statements and functions it may use: itself and what it declares.
    pub extensions: Vec<String>,
    /// Whether it may run any.
    pub sql: bool,
    /// Whether it may write.
    pub write: bool,
    /// The schemas that it may touch; none means all.
    pub schemas: Option<Vec<String>>,
    /// Services of other extensions that it may call.
    pub services: Vec<String>,
}

/// Where a command talks to the user.
pub trait Terminal: Send + Sync {
    /// At most so many bytes of standard input; nothing at its end.
    ///
    /// # Errors
    /// When reading fails.
    fn read_input(&self, bytes_max: usize) -> Result<Vec<u8>>;

    /// Writes to standard output.
    ///
    /// # Errors
    /// When writing fails.
    fn write_output(&self, bytes: &[u8]) -> Result<()>;

    /// Writes to standard error.
    ///
    /// # Errors
    /// When writing fails.
    fn write_note(&self, bytes: &[u8]) -> Result<()>;

    /// Shows progress; `total` 0 when unknown.
    fn progress(&self, done: u64, total: u64, message: &str);
}
