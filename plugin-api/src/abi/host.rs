//! What the host offers: one vtable and an opaque context. Every service is data in, data out, so that it can be
//! proxied into another process. Later minors append below the marked line.

use super::{AbiArraySchema, AbiKeyValue, AbiResult, AbiStream};
use abi_stable::StableAbi;
use abi_stable::std_types::{ROption, RSlice, RStr, RString, RVec};

/// A value of the host's, opaque to the plugin.
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy)]
pub struct HostContext(pub *const ());

// SAFETY: the pointee is the host's registry of calls, which is Sync and outlives every plugin.
unsafe impl Send for HostContext {}
// SAFETY: as above.
unsafe impl Sync for HostContext {}

/// The host as a plugin gets it.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct AbiHost {
    pub context: HostContext,
    pub vt: HostVt_Ref,
}

/// Services. The `u64` names the call on whose behalf the plugin asks: its session, transaction, deadline, permissions.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = HostVt_Ref, prefix_fields = HostVt_Prefix)))]
pub struct HostVt {
    pub log: extern "C" fn(HostContext, u64, level: u32, message: RStr<'_>),
    /// `total` 0 means unknown.
    pub progress: extern "C" fn(HostContext, u64, done: u64, total: u64, message: RStr<'_>),
    pub cancelled: extern "C" fn(HostContext, u64) -> bool,
    /// Microseconds since 1970-01-01 UTC.
    pub now: extern "C" fn(HostContext, u64) -> i64,
    /// A named feature of this host, for what is negotiated apart from the version.
    pub feature: extern "C" fn(HostContext, name: RStr<'_>) -> bool,
    pub config: extern "C" fn(HostContext, u64, key: RStr<'_>) -> AbiResult<ROption<RString>>,
    /// A folder of the extension's own in the database; it exists.
    pub data_dir: extern "C" fn(HostContext, u64) -> AbiResult<RString>,
    pub kv_get: extern "C" fn(HostContext, u64, key: RSlice<'_, u8>) -> AbiResult<ROption<RVec<u8>>>,
    pub kv_put: extern "C" fn(HostContext, u64, key: RSlice<'_, u8>, value: RSlice<'_, u8>) -> AbiResult<()>,
    pub kv_remove: extern "C" fn(HostContext, u64, key: RSlice<'_, u8>) -> AbiResult<()>,
    pub kv_scan: extern "C" fn(HostContext, u64, prefix: RSlice<'_, u8>) -> AbiResult<RVec<AbiKeyValue>>,
    /// Rows of one statement; `parameters` is a struct array of one row.
    pub query: extern "C" fn(HostContext, u64, sql: RStr<'_>, parameters: AbiArraySchema) -> AbiResult<AbiStream>,
    /// Rows affected by one statement.
    pub execute: extern "C" fn(HostContext, u64, sql: RStr<'_>, parameters: AbiArraySchema) -> AbiResult<u64>,
    /// One of [`super::transaction`]; `name` is a savepoint's.
    pub transaction: extern "C" fn(HostContext, u64, operation: u32, name: RStr<'_>) -> AbiResult<()>,
    /// Calls a scalar function, of another extension or built in: a struct array of arguments, an array back.
    pub call_function: extern "C" fn(HostContext, u64, name: RStr<'_>, AbiArraySchema) -> AbiResult<AbiArraySchema>,
    /// A session of its own; what comes back is used in place of the call's number, until closed.
    pub session_open: extern "C" fn(HostContext, u64) -> AbiResult<u64>,
    pub session_close: extern "C" fn(HostContext, u64) -> AbiResult<()>,
    /// Registers an object that the extension keeps, such as a bucket: shown as owned, dropped with it.
    pub own_object: extern "C" fn(HostContext, u64, kind: RStr<'_>, name: RStr<'_>) -> AbiResult<()>,
    pub disown_object: extern "C" fn(HostContext, u64, kind: RStr<'_>, name: RStr<'_>) -> AbiResult<()>,
    /// Standard input of a command; empty at its end.
    pub read_input: extern "C" fn(HostContext, u64, bytes_max: usize) -> AbiResult<RVec<u8>>,
    /// Standard output (1) or error (2) of a command.
    pub write_output: extern "C" fn(HostContext, u64, stream: u32, bytes: RSlice<'_, u8>) -> AbiResult<()>,
    #[sabi(last_prefix_field)]
    pub emit: extern "C" fn(HostContext, u64, event: RStr<'_>, payload: RSlice<'_, u8>) -> AbiResult<()>,
    // ---- appended by later minors ----
}
