//! What a plugin exports: the root module and the vtables behind it. Later minors append below the marked lines.

use super::{
    AbiArray, AbiArraySchema, AbiColumn, AbiCommandOutcome, AbiContribution, AbiHost, AbiOutput, AbiResult, AbiRoutine,
    AbiRoutineOutcome, AbiScan, AbiSchema, AbiStatement, AbiStatementOutcome, AbiStream, VERSION,
};
use abi_stable::StableAbi;
use abi_stable::library::RootModule;
use abi_stable::sabi_types::VersionStrings;
use abi_stable::std_types::{RSlice, RStr, RVec};

/// A value of the plugin's, opaque to the host.
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy)]
pub struct PluginContext(pub *const ());

// SAFETY: the pointee is an instance of a `Plugin`, bound or table of the plugin's, all required to be Send + Sync.
unsafe impl Send for PluginContext {}
// SAFETY: as above.
unsafe impl Sync for PluginContext {}

/// The root module.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = PluginRoot_Ref, prefix_fields = PluginRoot_Prefix)))]
pub struct PluginRoot {
    /// Makes an instance for one database of the host's. `call` names the activation.
    #[sabi(last_prefix_field)]
    pub activate: extern "C" fn(host: AbiHost, call: u64) -> AbiResult<AbiPlugin>,
    // ---- appended by later minors ----
}

impl RootModule for PluginRoot_Ref {
    abi_stable::declare_root_module_statics! {PluginRoot_Ref}
    const BASE_NAME: &'static str = "kodiak_plugin";
    const NAME: &'static str = "kodiak_plugin";
    const VERSION_STRINGS: VersionStrings = VersionStrings::new(VERSION);
}

/// An activated instance.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct AbiPlugin {
    pub context: PluginContext,
    pub vt: PluginVt_Ref,
}

/// Calls of an instance. Every `call` is a number that the host gave and that its services expect back.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = PluginVt_Ref, prefix_fields = PluginVt_Prefix)))]
pub struct PluginVt {
    /// Everything that the plugin registers; the host compares it with the manifest.
    pub contributions: extern "C" fn(PluginContext) -> AbiResult<RVec<AbiContribution>>,
    /// Brings the data in the database from version `from` (empty: there is none) to this one.
    pub migrate: extern "C" fn(PluginContext, u64, from: RStr<'_>) -> AbiResult<()>,
    /// Runs the command; `arguments[0]` is the program's name.
    pub command: extern "C" fn(PluginContext, u64, arguments: RSlice<'_, RStr<'_>>) -> AbiResult<AbiCommandOutcome>,
    /// Runs a statement.
    pub statement: extern "C" fn(PluginContext, u64, AbiStatement) -> AbiResult<AbiStatementOutcome>,
    /// Binds a scalar function to argument types: a struct, one field an argument.
    pub scalar: extern "C" fn(PluginContext, name: RStr<'_>, arguments: AbiSchema) -> AbiResult<AbiScalar>,
    /// Binds a table function to argument values: a struct array of one row.
    pub table: extern "C" fn(PluginContext, u64, name: RStr<'_>, arguments: AbiArraySchema) -> AbiResult<AbiTable>,
    /// Joins the plugin's threads, within so many milliseconds.
    pub shutdown: extern "C" fn(PluginContext, deadline_ms: u64) -> AbiResult<()>,
    /// Drops the instance; the context is not used again.
    #[sabi(last_prefix_field)]
    pub release: extern "C" fn(PluginContext) -> AbiResult<()>,
    // ---- 1.1 ----
    /// Compiles, calls or fires a routine in a language that the plugin brings.
    pub language: extern "C" fn(PluginContext, u64, AbiRoutine) -> AbiResult<AbiRoutineOutcome>,
    // ---- appended by later minors ----
}

/// A scalar function bound to types.
#[repr(C)]
#[derive(StableAbi)]
pub struct AbiScalar {
    pub context: PluginContext,
    pub vt: ScalarVt_Ref,
    /// The field of the result.
    pub result: AbiSchema,
    /// One of [`super::scalar_mode`].
    pub mode: u32,
}

/// Calls of a bound scalar function; which of the three evaluations is used is `mode`'s to say.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = ScalarVt_Ref, prefix_fields = ScalarVt_Prefix)))]
pub struct ScalarVt {
    pub eval_arrays: extern "C" fn(PluginContext, u64, arguments: RVec<AbiArray>, rows: usize) -> AbiResult<AbiArray>,
    pub eval: extern "C" fn(PluginContext, u64, RSlice<'_, AbiColumn<'_>>, rows: usize) -> AbiResult<AbiArray>,
    pub eval_into: extern "C" fn(PluginContext, u64, RSlice<'_, AbiColumn<'_>>, &mut AbiOutput) -> AbiResult<()>,
    #[sabi(last_prefix_field)]
    pub release: extern "C" fn(PluginContext) -> AbiResult<()>,
    // ---- appended by later minors ----
}

/// A table function bound to values.
#[repr(C)]
#[derive(StableAbi)]
pub struct AbiTable {
    pub context: PluginContext,
    pub vt: TableVt_Ref,
    pub schema: AbiSchema,
}

/// Calls of a bound table function.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = TableVt_Ref, prefix_fields = TableVt_Prefix)))]
pub struct TableVt {
    pub scan: extern "C" fn(PluginContext, u64, AbiScan) -> AbiResult<AbiStream>,
    #[sabi(last_prefix_field)]
    pub release: extern "C" fn(PluginContext) -> AbiResult<()>,
    // ---- appended by later minors ----
}
