//! What a plugin may ask of its host. Every service belongs to a call: it works in the caller's session and
//! transaction, under the caller's deadline and the extension's permissions.

use crate::abi::{AbiHost, AbiResult, level, transaction};
use crate::arrow::{Rows, export_batch, import_batch, import_stream};
use crate::error::{Error, Result};
use crate::value::{Value, parameters};
use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::{Field, Schema};
use std::path::PathBuf;
use std::sync::Arc;

/// The host, as it is known outside a call.
#[derive(Clone, Copy)]
pub struct Host {
    pub(crate) raw: AbiHost,
}

impl Host {
    pub(crate) fn call(self, id: u64) -> Call {
        Call { host: self, id }
    }

    /// Whether this host has a named feature.
    pub fn has_feature(&self, name: &str) -> bool {
        (self.raw.vt.feature())(self.raw.context, name.into())
    }
}

/// A call of the host's into the plugin, and the services that it carries.
///
/// It is a number: kept beyond the call's end it answers every service with an error.
#[derive(Clone, Copy)]
pub struct Call {
    host: Host,
    id: u64,
}

/// How much a log line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Something failed.
    Error,
    /// Something looks wrong.
    Warn,
    /// Something happened.
    Info,
    /// For who looks into the extension.
    Debug,
}

fn value<T>(result: AbiResult<T>) -> Result<T> {
    result.into_result().map_err(Error::from)
}

impl Call {
    /// Writes a line to the host's log.
    pub fn log(&self, level: Level, message: &str) {
        let level = match level {
            Level::Error => level::ERROR,
            Level::Warn => level::WARN,
            Level::Info => level::INFO,
            Level::Debug => level::DEBUG,
        };
        (self.host.raw.vt.log())(self.host.raw.context, self.id, level, message.into());
    }

    /// Shows progress: `done` of `total` units, 0 when the total is unknown.
    pub fn progress(&self, done: u64, total: u64, message: &str) {
        (self.host.raw.vt.progress())(self.host.raw.context, self.id, done, total, message.into());
    }

    /// Whether the user or a deadline wants this call to end.
    pub fn is_cancelled(&self) -> bool {
        (self.host.raw.vt.cancelled())(self.host.raw.context, self.id)
    }

    /// An error when [`Call::is_cancelled`], for loops.
    ///
    /// # Errors
    /// `KDK-0010`.
    pub fn check_cancelled(&self) -> Result<()> {
        if self.is_cancelled() {
            return Err(Error::new("KDK-0010", "cancelled").sqlstate("57014"));
        }
        Ok(())
    }

    /// The time, in microseconds since 1970-01-01 UTC.
    pub fn now(&self) -> i64 {
        (self.host.raw.vt.now())(self.host.raw.context, self.id)
    }

    /// A setting of the extension's, from the project's `kodiak.toml` or the user's `config.toml`.
    ///
    /// # Errors
    /// When the configuration cannot be read.
    pub fn config(&self, key: &str) -> Result<Option<String>> {
        let found = value((self.host.raw.vt.config())(self.host.raw.context, self.id, key.into()))?;
        Ok(found.into_option().map(String::from))
    }

    /// A folder of the extension's own inside the database.
    ///
    /// # Errors
    /// Without the permission `filesystem = ["data"]`, or for a database in memory.
    pub fn data_dir(&self) -> Result<PathBuf> {
        let path = value((self.host.raw.vt.data_dir())(self.host.raw.context, self.id))?;
        Ok(PathBuf::from(path.as_str()))
    }

    /// A value of the extension's small state, as the caller's transaction sees it.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn kv_get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let found = value((self.host.raw.vt.kv_get())(self.host.raw.context, self.id, key.into()))?;
        Ok(found.into_option().map(Vec::from))
    }

    /// Sets a value of the extension's small state in the caller's transaction.
    ///
    /// # Errors
    /// When the transaction is read-only or the database cannot be written.
    pub fn kv_put(&self, key: &[u8], bytes: &[u8]) -> Result<()> {
        value((self.host.raw.vt.kv_put())(self.host.raw.context, self.id, key.into(), bytes.into()))
    }

    /// Removes a value of the extension's small state in the caller's transaction.
    ///
    /// # Errors
    /// As [`Call::kv_put`].
    pub fn kv_remove(&self, key: &[u8]) -> Result<()> {
        value((self.host.raw.vt.kv_remove())(self.host.raw.context, self.id, key.into()))
    }

    /// Every entry whose key starts with `prefix`, in the order of the keys' bytes.
    ///
    /// # Errors
    /// As [`Call::kv_get`].
    pub fn kv_scan(&self, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let entries = value((self.host.raw.vt.kv_scan())(self.host.raw.context, self.id, prefix.into()))?;
        Ok(entries.into_iter().map(|entry| (entry.key.into_vec(), entry.value.into_vec())).collect())
    }

    /// Runs one statement in the caller's transaction and streams its rows.
    ///
    /// # Errors
    /// The statement's own, or without the permission `sql`.
    pub fn query(&self, sql: &str, values: &[Value]) -> Result<Rows> {
        let parameters = export_batch(&parameters(values)?)?;
        let stream = value((self.host.raw.vt.query())(self.host.raw.context, self.id, sql.into(), parameters))?;
        import_stream(stream)
    }

    /// [`Call::query`] for one row at most.
    ///
    /// # Errors
    /// As [`Call::query`].
    pub fn query_row(&self, sql: &str, values: &[Value]) -> Result<Option<RecordBatch>> {
        for batch in self.query(sql, values)? {
            let batch = batch?;
            if batch.num_rows() > 0 {
                return Ok(Some(batch.slice(0, 1)));
            }
        }
        Ok(None)
    }

    /// Runs one statement in the caller's transaction and counts the rows that it changed.
    ///
    /// # Errors
    /// The statement's own, or without the permission `sql = "write"`.
    pub fn execute(&self, sql: &str, values: &[Value]) -> Result<u64> {
        let parameters = export_batch(&parameters(values)?)?;
        value((self.host.raw.vt.execute())(self.host.raw.context, self.id, sql.into(), parameters))
    }

    /// Runs `f` so that everything that it changes in the database stays or goes together: inside a savepoint when the
    /// caller has a transaction, else in a transaction.
    ///
    /// # Errors
    /// Those of `f`; its changes are undone then.
    pub fn atomically<T>(&self, f: impl FnOnce() -> Result<T>) -> Result<T> {
        const NAME: &str = "kodiak_plugin";
        self.transaction(transaction::SAVEPOINT, NAME)?;
        match f() {
            Ok(done) => self.transaction(transaction::RELEASE, NAME).map(|()| done),
            Err(error) => {
                self.transaction(transaction::ROLLBACK_TO, NAME)?;
                Err(error)
            }
        }
    }

    /// Begins a transaction in an own session.
    ///
    /// # Errors
    /// When one is open already.
    pub fn begin(&self) -> Result<()> {
        self.transaction(transaction::BEGIN, "")
    }

    /// Commits the transaction of an own session.
    ///
    /// # Errors
    /// `40001` when another transaction changed the same rows first.
    pub fn commit(&self) -> Result<()> {
        self.transaction(transaction::COMMIT, "")
    }

    /// Undoes the transaction of an own session.
    ///
    /// # Errors
    /// When there is none.
    pub fn rollback(&self) -> Result<()> {
        self.transaction(transaction::ROLLBACK, "")
    }

    fn transaction(&self, operation: u32, name: &str) -> Result<()> {
        value((self.host.raw.vt.transaction())(self.host.raw.context, self.id, operation, name.into()))
    }

    /// Calls a scalar function, built in or of another extension, over arrays of one length.
    ///
    /// # Errors
    /// The function's own, or when the extension behind it is not a declared dependency.
    pub fn call_function(&self, name: &str, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let field = |(i, a): (usize, &ArrayRef)| Field::new(format!("a{i}"), a.data_type().clone(), true);
        let schema = Arc::new(Schema::new(arguments.iter().enumerate().map(field).collect::<Vec<_>>()));
        let rows = arguments.first().map_or(1, |array| array.len());
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(schema, arguments.to_vec(), &options)?;
        let exported = export_batch(&batch)?;
        let result = value((self.host.raw.vt.call_function())(self.host.raw.context, self.id, name.into(), exported))?;
        result_array(result)
    }

    /// Opens a session of its own, apart from the caller's transaction.
    ///
    /// # Errors
    /// When the host cannot open one.
    pub fn session(&self) -> Result<Session> {
        let id = value((self.host.raw.vt.session_open())(self.host.raw.context, self.id))?;
        Ok(Session { call: Call { host: self.host, id } })
    }

    /// Registers an object that the extension keeps, such as a bucket: it is listed, protects the extension from being
    /// uninstalled, and is exported or dropped with it.
    ///
    /// # Errors
    /// As [`Call::kv_put`].
    pub fn own_object(&self, kind: &str, name: &str) -> Result<()> {
        value((self.host.raw.vt.own_object())(self.host.raw.context, self.id, kind.into(), name.into()))
    }

    /// Forgets an object that [`Call::own_object`] registered.
    ///
    /// # Errors
    /// As [`Call::kv_put`].
    pub fn disown_object(&self, kind: &str, name: &str) -> Result<()> {
        value((self.host.raw.vt.disown_object())(self.host.raw.context, self.id, kind.into(), name.into()))
    }

    /// Reads at most so many bytes of a command's standard input; nothing at its end.
    ///
    /// # Errors
    /// Outside a command, or when reading fails.
    pub fn read_input(&self, bytes_max: usize) -> Result<Vec<u8>> {
        value((self.host.raw.vt.read_input())(self.host.raw.context, self.id, bytes_max)).map(Vec::from)
    }

    /// Writes to a command's standard output.
    ///
    /// # Errors
    /// Outside a command, or when writing fails.
    pub fn write_output(&self, bytes: &[u8]) -> Result<()> {
        value((self.host.raw.vt.write_output())(self.host.raw.context, self.id, 1, bytes.into()))
    }

    /// Writes a note for the user to a command's standard error.
    ///
    /// # Errors
    /// Outside a command, or when writing fails.
    pub fn write_note(&self, text: &str) -> Result<()> {
        value((self.host.raw.vt.write_output())(self.host.raw.context, self.id, 2, text.as_bytes().into()))
    }

    /// Tells the host of something that happened, for its event log and for hooks.
    ///
    /// # Errors
    /// When the host does not take it.
    pub fn emit(&self, event: &str, payload: &[u8]) -> Result<()> {
        value((self.host.raw.vt.emit())(self.host.raw.context, self.id, event.into(), payload.into()))
    }
}

/// A session of the plugin's own, with transactions of its own; closed when dropped, an open transaction undone.
pub struct Session {
    call: Call,
}

impl std::ops::Deref for Session {
    type Target = Call;

    fn deref(&self) -> &Call {
        &self.call
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let host = self.call.host.raw;
        // The host reclaims the session at the end of the call in any case.
        let _: AbiResult<()> = (host.vt.session_close())(host.context, self.call.id);
    }
}

#[allow(unsafe_code)]
fn result_array(result: crate::abi::AbiArraySchema) -> Result<ArrayRef> {
    // SAFETY: the host hands over a valid struct array for its schema; plugins trust their host.
    let batch = unsafe { import_batch(result) }?;
    batch.columns().first().cloned().ok_or_else(|| Error::message("the host returned no array"))
}
