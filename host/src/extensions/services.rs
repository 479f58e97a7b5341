//! The services of the host, as plugins call them: numbers and data in, data out. Permissions are checked here, below
//! the ABI, so that no adapter can bypass them.

use super::calls::{self, Call, denied};
use super::data::{import_batch, import_text};
use super::outward;
use super::session::TransactionStep;
use kodiak_plugin_api::Error as PluginError;
use kodiak_plugin_api::abi::{
    AbiArraySchema, AbiHost, AbiKeyValue, AbiResult, AbiStream, HostContext, HostVt, HostVt_Ref, ROption, RSlice, RStr,
    RString, RVec, level, make_host_vt, transaction,
};
use kodiak_plugin_api::arrow::{export_batch, export_stream};
use kodiak_plugin_api::guard::guard;
use kodiak_registry::manifest::FilesystemAccess;
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

/// The host as every plugin gets it. Its context is empty: calls are found by number.
pub(crate) fn host() -> AbiHost {
    static VT: OnceLock<HostVt_Ref> = OnceLock::new();
    let vt = *VT.get_or_init(|| {
        make_host_vt(HostVt {
            log,
            progress,
            cancelled,
            now,
            feature,
            config,
            data_dir,
            kv_get,
            kv_put,
            kv_remove,
            kv_scan,
            query,
            execute,
            transaction: step,
            call_function,
            session_open,
            session_close,
            own_object,
            disown_object,
            read_input,
            write_output,
            emit,
        })
    });
    AbiHost { context: HostContext(std::ptr::null()), vt }
}

extern "C" fn log(_: HostContext, id: u64, severity: u32, message: RStr<'_>) {
    let _: AbiResult<()> = guard(|| {
        let (call, message) = (calls::find(id).ok(), import_text(message)?);
        let extension = call.as_ref().map_or("?", |call| call.extension());
        match severity {
            level::ERROR => tracing::error!(target: "kodiak::extension", extension, "{message}"),
            level::WARN => tracing::warn!(target: "kodiak::extension", extension, "{message}"),
            level::INFO => tracing::info!(target: "kodiak::extension", extension, "{message}"),
            _ => tracing::debug!(target: "kodiak::extension", extension, "{message}"),
        }
        Ok(())
    });
}

extern "C" fn progress(_: HostContext, id: u64, done: u64, total: u64, message: RStr<'_>) {
    let _: AbiResult<()> = guard(|| {
        if let Some(terminal) = calls::find(id)?.terminal.as_ref() {
            terminal.progress(done, total, import_text(message)?);
        }
        Ok(())
    });
}

extern "C" fn cancelled(_: HostContext, id: u64) -> bool {
    // A call that is over has no reason to go on.
    guard(|| Ok(calls::find(id)?.session.is_cancelled())).unwrap_or(true)
}

extern "C" fn now(_: HostContext, _: u64) -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

extern "C" fn feature(_: HostContext, name: RStr<'_>) -> bool {
    import_text(name).is_ok_and(|name| super::FEATURES.contains(&name))
}

extern "C" fn config(_: HostContext, id: u64, key: RStr<'_>) -> AbiResult<ROption<RString>> {
    guard(|| {
        let call = calls::find(id)?;
        let found = call.session.config(call.extension(), import_text(key)?).map_err(outward)?;
        Ok(found.map(RString::from).into())
    })
}

extern "C" fn data_dir(_: HostContext, id: u64) -> AbiResult<RString> {
    guard(|| {
        let call = calls::find(id)?;
        if !call
            .manifest
            .permissions
            .filesystem
            .iter()
            .any(|f| matches!(f, FilesystemAccess::Data | FilesystemAccess::Any))
        {
            return Err(denied(&call.manifest, "keep files in the database", "filesystem = [\"data\"]"));
        }
        let root = call.session.directory().ok_or_else(|| {
            PluginError::new(
                "KDK-0108",
                format!("`{}` keeps files, and a database in memory has none", call.extension()),
            )
            .help("name a database with --db PATH")
        })?;
        let folder = root.join(call.manifest.data_directory());
        std::fs::create_dir_all(&folder).map_err(|error| outward(crate::Error::io("create", &folder, &error)))?;
        let text = folder.to_str().ok_or_else(|| PluginError::message("the database's path is not valid UTF-8"))?;
        Ok(text.into())
    })
}

extern "C" fn kv_get(_: HostContext, id: u64, key: RSlice<'_, u8>) -> AbiResult<ROption<RVec<u8>>> {
    guard(|| {
        let call = calls::find(id)?;
        let found = call.session.kv_get(call.extension(), key.as_slice()).map_err(outward)?;
        Ok(found.map(RVec::from).into())
    })
}

extern "C" fn kv_put(_: HostContext, id: u64, key: RSlice<'_, u8>, value: RSlice<'_, u8>) -> AbiResult<()> {
    guard(|| {
        let call = calls::find(id)?;
        call.session.kv_set(call.extension(), key.as_slice(), Some(value.as_slice())).map_err(outward)
    })
}

extern "C" fn kv_remove(_: HostContext, id: u64, key: RSlice<'_, u8>) -> AbiResult<()> {
    guard(|| {
        let call = calls::find(id)?;
        call.session.kv_set(call.extension(), key.as_slice(), None).map_err(outward)
    })
}

extern "C" fn kv_scan(_: HostContext, id: u64, prefix: RSlice<'_, u8>) -> AbiResult<RVec<AbiKeyValue>> {
    guard(|| {
        let call = calls::find(id)?;
        let entries = call.session.kv_scan(call.extension(), prefix.as_slice()).map_err(outward)?;
        Ok(entries.into_iter().map(|(key, value)| AbiKeyValue { key: key.into(), value: value.into() }).collect())
    })
}

extern "C" fn query(_: HostContext, id: u64, sql: RStr<'_>, parameters: AbiArraySchema) -> AbiResult<AbiStream> {
    guard(|| {
        let call = calls::find(id)?;
        let (text, parameters, access) = (import_text(sql)?, import_batch(parameters)?, call.access()?);
        let rows = call.session.query(text, parameters, &access).map_err(outward)?;
        Ok(export_stream(rows))
    })
}

extern "C" fn execute(_: HostContext, id: u64, sql: RStr<'_>, parameters: AbiArraySchema) -> AbiResult<u64> {
    guard(|| {
        let call = calls::find(id)?;
        let (text, parameters, access) = (import_text(sql)?, import_batch(parameters)?, call.access()?);
        call.session.execute(text, parameters, &access).map_err(outward)
    })
}

extern "C" fn step(_: HostContext, id: u64, operation: u32, name: RStr<'_>) -> AbiResult<()> {
    guard(|| {
        let call = calls::find(id)?;
        call.access()?;
        let step = match operation {
            transaction::BEGIN => TransactionStep::Begin,
            transaction::COMMIT => TransactionStep::Commit,
            transaction::ROLLBACK => TransactionStep::Rollback,
            transaction::SAVEPOINT => TransactionStep::Savepoint,
            transaction::RELEASE => TransactionStep::Release,
            transaction::ROLLBACK_TO => TransactionStep::RollbackTo,
            other => return Err(PluginError::message(format!("there is no transaction operation {other}"))),
        };
        call.session.transaction(step, import_text(name)?).map_err(outward)
    })
}

extern "C" fn call_function(
    _: HostContext,
    id: u64,
    name: RStr<'_>,
    arguments: AbiArraySchema,
) -> AbiResult<AbiArraySchema> {
    guard(|| {
        let call = calls::find(id)?;
        let (name, arguments, access) = (import_text(name)?, import_batch(arguments)?, call.access_to_functions()?);
        let array = call.session.call_function(name, arguments, &access).map_err(outward)?;
        let field = arrow::datatypes::Field::new("result", array.data_type().clone(), true);
        let schema = Arc::new(arrow::datatypes::Schema::new(vec![field]));
        export_batch(&arrow::array::RecordBatch::try_new(schema, vec![array])?)
    })
}

extern "C" fn session_open(_: HostContext, id: u64) -> AbiResult<u64> {
    guard(|| calls::open_session(id))
}

extern "C" fn session_close(_: HostContext, id: u64) -> AbiResult<()> {
    guard(|| {
        calls::close_session(id);
        Ok(())
    })
}

fn own(id: u64, kind: RStr<'_>, name: RStr<'_>, owned: bool) -> AbiResult<()> {
    guard(|| {
        let call = calls::find(id)?;
        let (kind, name) = (import_text(kind)?, import_text(name)?);
        call.session.own_object(call.extension(), kind, name, owned).map_err(outward)
    })
}

extern "C" fn own_object(_: HostContext, id: u64, kind: RStr<'_>, name: RStr<'_>) -> AbiResult<()> {
    own(id, kind, name, true)
}

extern "C" fn disown_object(_: HostContext, id: u64, kind: RStr<'_>, name: RStr<'_>) -> AbiResult<()> {
    own(id, kind, name, false)
}

fn terminal(call: &Call) -> Result<&dyn super::session::Terminal, PluginError> {
    call.terminal.as_deref().ok_or_else(|| PluginError::message("only a command has standard input and output"))
}

extern "C" fn read_input(_: HostContext, id: u64, bytes_max: usize) -> AbiResult<RVec<u8>> {
    guard(|| {
        let call = calls::find(id)?;
        // A bound of our own: a plugin's number is not a promise of memory.
        Ok(terminal(&call)?.read_input(bytes_max.min(8 << 20)).map_err(outward)?.into())
    })
}

extern "C" fn write_output(_: HostContext, id: u64, stream: u32, bytes: RSlice<'_, u8>) -> AbiResult<()> {
    guard(|| {
        let call = calls::find(id)?;
        let terminal = terminal(&call)?;
        match stream {
            1 => terminal.write_output(bytes.as_slice()).map_err(outward),
            2 => terminal.write_note(bytes.as_slice()).map_err(outward),
            other => Err(PluginError::message(format!("there is no output stream {other}"))),
        }
    })
}

extern "C" fn emit(_: HostContext, id: u64, event: RStr<'_>, payload: RSlice<'_, u8>) -> AbiResult<()> {
    guard(|| {
        let call = calls::find(id)?;
        let (extension, event) = (call.extension(), import_text(event)?);
        tracing::info!(target: "kodiak::event", extension, event, bytes = payload.len());
        Ok(())
    })
}
