//! What plugins may ask of a database, done through connections: SQL inside the caller's statement or in a session of
//! its own, small state, owned objects.

use super::{Connection, Database};
use crate::error::{Error, Result, codes};
use crate::extensions::session::{Access, BatchReader, Session, TransactionStep};
use crate::extensions::{Caller as ExtensionCaller, outward};
use crate::sql::{Caller, Value, split};
use crate::storage::Savepoint;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchIterator, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, Schema, TimeUnit, TimestampMicrosecondType};
use arrow::error::ArrowError;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// A session for one extension.
pub(super) struct PluginSession {
    database: Database,
    connection: Connection,
    extension: String,
    /// The statement that it runs inside; none for a session of its own.
    caller: Option<Caller>,
    savepoints: Mutex<Vec<(String, Mark)>>,
}

/// What a savepoint stands for: without an open transaction it begins one.
enum Mark {
    Savepoint(Savepoint),
    Begun,
}

impl PluginSession {
    /// Inside the statement of `caller`.
    pub(super) fn inside(database: Database, caller: Caller, extension: &str) -> Self {
        let connection = Connection::within(&caller, Some(extension));
        let extension = extension.to_owned();
        Self { database, connection, extension, caller: Some(caller), savepoints: Mutex::default() }
    }

    /// A session of its own, as a command has it.
    pub(super) fn own(database: &Database, extension: &str) -> Self {
        let session = crate::sql::Session::of_extension(database.engine.clone(), extension);
        let connection = Connection(Arc::new(session));
        let (database, extension) = (database.clone(), extension.to_owned());
        Self { database, connection, extension, caller: None, savepoints: Mutex::default() }
    }

    fn check(&self, sql: &str, access: &Access) -> Result<()> {
        // What follows a statement that is allowed must not run unseen.
        if split::statements(sql).count() > 1 {
            return Err(Error::new(codes::SYNTAX, "an extension runs one statement at a time"));
        }
        self.database.plugins.check_access(sql, &self.connection.0.settings().schema, access)
    }

    fn marks(&self) -> std::sync::MutexGuard<'_, Vec<(String, Mark)>> {
        self.savepoints.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn savepoint(&self, name: &str) -> Result<()> {
        let mark = if self.caller.is_none() && !self.connection.in_transaction() {
            self.connection.begin()?;
            Mark::Begun
        } else {
            Mark::Savepoint(self.connection.0.with_transaction(|transaction| Ok(transaction.savepoint()))?)
        };
        self.marks().push((name.to_owned(), mark));
        Ok(())
    }

    fn take_mark(&self, name: &str) -> Result<Mark> {
        let mut marks = self.marks();
        let at = marks.iter().rposition(|(known, _)| known == name);
        let at = at.ok_or_else(|| Error::new(codes::NO_SAVEPOINT, format!("no savepoint `{name}`")))?;
        let (_, mark) = marks.swap_remove(at);
        marks.truncate(at);
        Ok(mark)
    }
}

impl Session for PluginSession {
    fn query(&self, sql: &str, parameters: RecordBatch, access: &Access) -> Result<BatchReader> {
        self.check(sql, access)?;
        let rows = self.connection.query(sql, &values(&parameters)?)?;
        let schema = rows.schema();
        let batches = rows.map(|batch| batch.map_err(|error| ArrowError::ExternalError(Box::new(outward(error)))));
        Ok(Box::new(RecordBatchIterator::new(batches, schema)))
    }

    fn execute(&self, sql: &str, parameters: RecordBatch, access: &Access) -> Result<u64> {
        self.check(sql, access)?;
        self.connection.execute(sql, &values(&parameters)?)
    }

    fn call_function(&self, name: &str, arguments: RecordBatch, access: &Access) -> Result<ArrayRef> {
        let plugins = &self.database.plugins;
        if let Some(owner) = plugins.view()?.service_owner(name) {
            let session = match &self.caller {
                Some(caller) => Self::inside(self.database.clone(), caller.clone(), owner),
                None => Self::own(&self.database, owner),
            };
            let caller = ExtensionCaller { session: Arc::new(session), terminal: None };
            return plugins.call_service(&caller, owner, name, &arguments, access);
        }
        if !access.sql {
            let text = format!("`{}` has no permission to run SQL, as calling `{name}` is", access.extension);
            return Err(Error::new(codes::PERMISSION, text));
        }
        let columns: Vec<String> = arguments.schema_ref().fields().iter().map(|f| quote(f.name())).collect();
        let call = format!("{}({})", quote(name), columns.join(", "));
        self.check(&format!("SELECT {call}"), access)?;
        let batches = self.connection.0.evaluate(&call, arguments)?.collect_batches()?;
        let columns: Vec<&dyn Array> = batches.iter().map(|batch| batch.column(0).as_ref()).collect();
        arrow::compute::concat(&columns).map_err(from_arrow)
    }

    fn transaction(&self, step: TransactionStep, savepoint: &str) -> Result<()> {
        match step {
            TransactionStep::Begin => self.connection.begin(),
            TransactionStep::Commit => self.connection.commit(),
            TransactionStep::Rollback => self.connection.rollback(),
            TransactionStep::Savepoint => self.savepoint(savepoint),
            TransactionStep::Release => match self.take_mark(savepoint)? {
                // What could not be committed is over: the plugin may try again from the beginning.
                Mark::Begun => self.connection.commit().inspect_err(|_| drop(self.connection.rollback())),
                Mark::Savepoint(_) => Ok(()),
            },
            TransactionStep::RollbackTo => match self.take_mark(savepoint)? {
                Mark::Begun => self.connection.rollback(),
                Mark::Savepoint(mark) => {
                    self.connection.0.with_transaction(|transaction| transaction.rollback_to(&mark))
                }
            },
        }
    }

    fn kv_get(&self, extension: &str, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let key = state_key(extension, key);
        self.connection
            .0
            .with_transaction(|transaction| Ok(transaction.snapshot().get(&key).map(|bytes| bytes.to_vec())))
    }

    fn kv_set(&self, extension: &str, key: &[u8], value: Option<&[u8]>) -> Result<()> {
        let key = state_key(extension, key);
        self.connection.0.with_transaction(|transaction| match value {
            Some(value) => transaction.put(&key, value),
            None => transaction.remove(&key),
        })
    }

    fn kv_scan(&self, extension: &str, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let own = state_key(extension, b"").len();
        let prefix = state_key(extension, prefix);
        self.connection.0.with_transaction(|transaction| {
            let found = transaction.snapshot().scan(&prefix);
            Ok(found.into_iter().map(|(key, value)| (key[own..].to_vec(), value.to_vec())).collect())
        })
    }

    fn own_object(&self, extension: &str, kind: &str, name: &str, owned: bool) -> Result<()> {
        let key = object_key(extension, kind, name);
        self.connection.0.with_transaction(|transaction| match owned {
            true => transaction.put(&key, b""),
            false => transaction.remove(&key),
        })
    }

    fn adopt(&self, extension: &str) -> Result<()> {
        let cache = Arc::clone(&self.database.engine.cache);
        self.connection.0.with_transaction(|transaction| {
            let catalog = crate::catalog::Catalog::new(transaction.snapshot(), cache);
            super::keeper::adopt(transaction, &catalog, extension)
        })
    }

    fn directory(&self) -> Option<PathBuf> {
        self.database.store().path().map(std::path::Path::to_path_buf)
    }

    fn config(&self, extension: &str, key: &str) -> Result<Option<String>> {
        Ok(self.database.extensions()?.home().setting(extension, key))
    }

    fn is_cancelled(&self) -> bool {
        // A deadline ends a statement as a cancellation does, so a plugin need not know which it was.
        match &self.caller {
            Some(caller) => caller.token().check().is_err(),
            None => self.connection.0.token().check().is_err(),
        }
    }

    fn fork(&self) -> Result<Arc<dyn Session>> {
        Ok(Arc::new(Self::own(&self.database, &self.extension)))
    }
}

/// The small state of an extension; NUL, which no name holds, ends its name.
pub(super) fn state_key(extension: &str, key: &[u8]) -> Vec<u8> {
    [b"extensions/state/", extension.as_bytes(), b"\0", key].concat()
}

/// Where objects that extensions keep are listed.
pub(super) const OBJECTS: &[u8] = b"extensions/object/";

/// An object that an extension keeps.
pub(super) fn object_key(extension: &str, kind: &str, name: &str) -> Vec<u8> {
    [OBJECTS, extension.as_bytes(), b"\0", kind.as_bytes(), b"\0", name.as_bytes()].concat()
}

fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Arrow's error as ours: what a plugin's stream reported comes through unchanged.
pub(crate) fn from_arrow(error: ArrowError) -> Error {
    match error {
        ArrowError::ExternalError(inner) => match inner.downcast::<Error>() {
            Ok(ours) => *ours,
            Err(other) => Error::new(codes::EXECUTION, other.to_string()),
        },
        other => Error::new(codes::EXECUTION, other.to_string()),
    }
}

/// One row of parameters as the front end takes them.
fn values(parameters: &RecordBatch) -> Result<Vec<Value>> {
    parameters.columns().iter().map(value).collect()
}

fn value(array: &ArrayRef) -> Result<Value> {
    if array.is_null(0) || array.data_type() == &DataType::Null {
        return Ok(Value::Null);
    }
    let to = |kind: DataType| cast(array, &kind).map_err(from_arrow);
    Ok(match array.data_type() {
        DataType::Boolean => Value::Boolean(array.as_boolean().value(0)),
        kind if kind.is_integer() => Value::Integer(to(DataType::Int64)?.as_primitive::<Int64Type>().value(0)),
        DataType::Float32 | DataType::Float64 => {
            Value::Double(to(DataType::Float64)?.as_primitive::<Float64Type>().value(0))
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            Value::Text(to(DataType::Utf8View)?.as_string_view().value(0).to_owned())
        }
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
            Value::Binary(to(DataType::BinaryView)?.as_binary_view().value(0).to_vec())
        }
        DataType::Timestamp(_, Some(_)) => {
            let micros = to(DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())))?;
            Value::Timestamp(micros.as_primitive::<TimestampMicrosecondType>().value(0))
        }
        other => {
            let text = format!("a parameter of type {other}");
            return Err(
                Error::new(codes::UNSUPPORTED, format!("{text}: not supported")).help("pass it as text and CAST it")
            );
        }
    })
}

/// Parameters of a statement as one row.
pub(super) fn parameters(values: &[Value]) -> Result<RecordBatch> {
    use kodiak_plugin_api::value::{Value as Plain, parameters};
    let plain = |value: &Value| match value {
        Value::Null => Plain::Null,
        Value::Boolean(value) => Plain::Boolean(*value),
        Value::Integer(value) => Plain::Integer(*value),
        Value::Double(value) => Plain::Double(*value),
        Value::Text(value) => Plain::Text(value.clone()),
        Value::Binary(value) => Plain::Binary(value.clone()),
        Value::Timestamp(micros) => Plain::Timestamp(*micros),
    };
    let plain: Vec<Plain> = values.iter().map(plain).collect();
    parameters(&plain).map_err(|error| Error::new(codes::INTERNAL, error.text()))
}

/// Argument values as one row.
pub(super) fn one_row(arrays: Vec<ArrayRef>) -> Result<RecordBatch> {
    let fields = arrays.iter().enumerate().map(|(i, a)| Field::new(format!("a{i}"), a.data_type().clone(), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    RecordBatch::try_new_with_options(schema, arrays, &options).map_err(from_arrow)
}
