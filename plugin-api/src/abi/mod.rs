//! The stable boundary: every type that crosses it, the root module that a plugin exports, and the check of one side
//! against the other. The only folder that names `abi_stable`; it refuses to know what an extension does.
//!
//! Rules that keep old plugins loading, described for other languages in docs/abi.md:
//! - the ABI has a version of its own ([`MAJOR`].[`MINOR`]); a minor only appends fields to the vtables (prefix types);
//! - structs that are not vtables are frozen for a major; they grow through their `options`;
//! - whoever made memory frees it; no panic crosses; a call is named by a number, never by a pointer.
#![allow(unsafe_code, missing_docs, non_camel_case_types)]

mod calls;
mod check;
mod column;
mod data;
mod export;
mod host;
mod plugin;

pub use abi_stable::StableAbi;
pub use abi_stable::library::{AbiHeaderRef, LibHeader, RootModuleResult};
/// Makes a vtable's reference of a vtable, for those who write one by hand.
pub use abi_stable::prefix_type::PrefixTypeTrait;
pub use abi_stable::std_types::{RErr, RNone, ROk, ROption, RResult, RSlice, RSome, RStr, RString, RVec};

pub use calls::{
    AbiCommandOutcome, AbiContribution, AbiError, AbiFilter, AbiKeyValue, AbiOption, AbiResult, AbiRoutine,
    AbiRoutineOutcome, AbiScan, AbiSignature, AbiStatement, AbiStatementOutcome, AbiToken,
};
pub use check::{ApiVersion, CheckError, accept};
pub use column::{AbiBuffer, AbiColumn, AbiOutput};
pub use data::{AbiArray, AbiArraySchema, AbiSchema, AbiStream};
pub use export::root;
pub use host::{AbiHost, HostContext, HostVt, HostVt_Ref};
pub use plugin::{
    AbiPlugin, AbiScalar, AbiTable, PluginContext, PluginRoot, PluginRoot_Ref, PluginVt, PluginVt_Ref, ScalarVt,
    ScalarVt_Ref, TableVt, TableVt_Ref,
};

/// Makes the header that a plugin exports.
///
/// # Safety
/// `constructor` must return the root module that [`root_module_result`] makes of a [`PluginRoot_Ref`].
pub const unsafe fn header(constructor: extern "C" fn() -> RootModuleResult) -> LibHeader {
    // SAFETY: the caller upholds the same contract.
    unsafe { LibHeader::from_constructor::<PluginRoot_Ref>(constructor, abi_stable::library::CheckTypeLayout::Yes) }
}

/// Wraps the root module as the loader expects it; a panic in `make` becomes an error.
pub fn root_module_result(make: fn() -> PluginRoot_Ref) -> RootModuleResult {
    abi_stable::library::__call_root_module_loader(make)
}

/// Makes the host's vtable. It lives as long as the process, as every plugin may hold it.
pub fn make_host_vt(vt: HostVt) -> HostVt_Ref {
    use abi_stable::prefix_type::PrefixTypeTrait;
    vt.leak_into_prefix()
}

/// Major version of the plugin ABI: a plugin of another major is refused.
pub const MAJOR: u32 = 1;
/// Minor version of the plugin ABI: it only ever appends.
pub const MINOR: u32 = 1;
/// The version as the header carries it.
pub const VERSION: &str = "1.1.0";
/// The symbol that a plugin exports.
pub const SYMBOL: &str = "KODIAK_PLUGIN_V1";
/// First line of the manifest section, so that a stray section of that name is recognised.
pub const MANIFEST_MAGIC: &str = "KODIAK-MANIFEST 1\n";
/// The section of a plugin file that holds its manifest.
pub const MANIFEST_SECTION: &str = ".kodiak.manifest";

/// Numbers of the contribution kinds.
pub mod kind {
    pub const COMMAND: u32 = 1;
    pub const STATEMENT: u32 = 2;
    pub const SCALAR: u32 = 3;
    pub const AGGREGATE: u32 = 4;
    pub const TABLE_FUNCTION: u32 = 5;
    pub const VIRTUAL_TABLE: u32 = 6;
    pub const LANGUAGE: u32 = 7;
    pub const HOOK: u32 = 8;
    pub const FORMAT: u32 = 9;
    pub const BACKGROUND: u32 = 10;
}

/// How a bound scalar function wants to be called.
pub mod scalar_mode {
    /// `eval_arrays`: arrays owned by the callee.
    pub const ARRAYS: u32 = 0;
    /// `eval`: borrowed views in, an array out.
    pub const VIEWS: u32 = 1;
    /// `eval_into`: borrowed views in, the host's memory out.
    pub const INTO: u32 = 2;
}

/// Operations of [`PluginVt::language`].
pub mod routine {
    /// Compile the body, run nothing. The outcome may have the option `inline`, an SQL expression over the parameters.
    pub const CHECK: u32 = 1;
    /// One result for each row of `arguments`, as one column.
    pub const SCALAR: u32 = 2;
    /// Run a procedure, a function that returns rows, or an anonymous body, for one row of arguments.
    pub const RUN: u32 = 3;
    /// Run a trigger function over `old` and `new`. Rows that come back have their number in the first column.
    pub const FIRE: u32 = 4;
}

/// Operations of [`HostVt::transaction`].
pub mod transaction {
    pub const BEGIN: u32 = 1;
    pub const COMMIT: u32 = 2;
    pub const ROLLBACK: u32 = 3;
    pub const SAVEPOINT: u32 = 4;
    pub const RELEASE: u32 = 5;
    pub const ROLLBACK_TO: u32 = 6;
}

/// Physical kinds of [`AbiColumn`].
pub mod physical {
    /// `values` is a bitmap that starts at bit `offset`.
    pub const BOOLEAN: u32 = 1;
    /// `values` holds `rows` values of `width` bytes.
    pub const FIXED: u32 = 2;
    /// `values` holds 16-byte views into themselves or `data`.
    pub const VIEW: u32 = 3;
}

/// Token kinds of [`AbiToken`].
pub mod token {
    pub const WORD: u32 = 1;
    pub const QUOTED: u32 = 2;
    pub const STRING: u32 = 3;
    pub const NUMBER: u32 = 4;
    pub const SYMBOL: u32 = 5;
    pub const PARAMETER: u32 = 6;
    pub const BINARY: u32 = 7;
}

/// Levels of [`HostVt::log`].
pub mod level {
    pub const ERROR: u32 = 1;
    pub const WARN: u32 = 2;
    pub const INFO: u32 = 3;
    pub const DEBUG: u32 = 4;
}
