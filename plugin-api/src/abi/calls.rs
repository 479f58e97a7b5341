//! What travels with a call and comes back from it. These structs are frozen for ABI 1; they grow through `options`,
//! of which a reader ignores the keys that it does not know.

use super::{AbiArraySchema, AbiSchema, AbiStream};
use abi_stable::StableAbi;
use abi_stable::std_types::{ROption, RResult, RString, RVec};

/// A key and a value, for what a later minor adds.
#[repr(C)]
#[derive(StableAbi, Clone, Debug)]
pub struct AbiOption {
    pub key: RString,
    pub value: RString,
}

/// A failure as data.
#[repr(C)]
#[derive(StableAbi, Clone, Debug)]
pub struct AbiError {
    /// Such as `KDK-0501`; empty for the host's default.
    pub code: RString,
    /// Five characters, or empty.
    pub sqlstate: RString,
    pub message: RString,
    pub details: RVec<RString>,
    /// Empty for none.
    pub help: RString,
    /// True when the callee panicked: the host quarantines it.
    pub panicked: bool,
    pub options: RVec<AbiOption>,
}

/// The result of every call.
pub type AbiResult<T> = RResult<T, AbiError>;

/// Types of arguments and of the result of one overload.
#[repr(C)]
#[derive(StableAbi)]
pub struct AbiSignature {
    /// A struct whose fields are the arguments.
    pub arguments: AbiSchema,
    /// A field, or a struct for table functions.
    pub result: AbiSchema,
}

/// Something that a plugin adds, as it registers it.
#[repr(C)]
#[derive(StableAbi)]
pub struct AbiContribution {
    /// One of [`super::kind`].
    pub kind: u32,
    pub name: RString,
    pub summary: RString,
    /// Empty: any arguments, decided when bound.
    pub signatures: RVec<AbiSignature>,
    /// `volatility` = immutable | stable | volatile.
    pub options: RVec<AbiOption>,
}

/// A token of a statement's text.
#[repr(C)]
#[derive(StableAbi, Clone, Debug)]
pub struct AbiToken {
    /// One of [`super::token`].
    pub kind: u32,
    /// The value: a word as written, a string without quotes and escapes.
    pub text: RString,
    /// Byte range in the statement's text.
    pub start: usize,
    pub end: usize,
}

/// A statement that a plugin claimed.
#[repr(C)]
#[derive(StableAbi)]
pub struct AbiStatement {
    /// The claim that matched, upper case, single spaces.
    pub claim: RString,
    pub text: RString,
    pub tokens: RVec<AbiToken>,
    /// One row, one column a parameter.
    pub parameters: AbiArraySchema,
    pub options: RVec<AbiOption>,
}

/// What a statement gave: rows, a count, or neither.
#[repr(C)]
#[derive(StableAbi)]
pub struct AbiStatementOutcome {
    pub rows: ROption<AbiStream>,
    pub affected: ROption<u64>,
    pub options: RVec<AbiOption>,
}

/// What a command gave.
#[repr(C)]
#[derive(StableAbi)]
pub struct AbiCommandOutcome {
    pub exit_code: u32,
    /// For standard output, as it is.
    pub text: RString,
    /// For standard error, as it is.
    pub errors: RString,
    /// Rendered by the host in the chosen format.
    pub rows: ROption<AbiStream>,
    pub options: RVec<AbiOption>,
}

/// A routine in a language that the plugin brings, and what is asked of it.
#[repr(C)]
#[derive(StableAbi)]
pub struct AbiRoutine {
    /// One of [`super::routine`].
    pub operation: u32,
    pub language: RString,
    pub schema: RString,
    pub name: RString,
    pub body: RString,
    /// A struct whose fields are the parameters.
    pub parameters: AbiSchema,
    /// A struct whose fields are the result's columns: none for nothing, one for a value.
    pub result: AbiSchema,
    /// The parameters as columns, one row for each call.
    pub arguments: AbiArraySchema,
    /// The rows before, for triggers.
    pub old: ROption<AbiArraySchema>,
    /// The rows after, for triggers.
    pub new: ROption<AbiArraySchema>,
    /// `kind`, `returns`, `volatility`, `path`; for triggers `trigger`, `table_schema`, `table`, `timing`, `level`,
    /// `event`, and one `argument` for each argument.
    pub options: RVec<AbiOption>,
}

/// What came of it.
#[repr(C)]
#[derive(StableAbi)]
pub struct AbiRoutineOutcome {
    pub rows: ROption<AbiStream>,
    pub options: RVec<AbiOption>,
}

/// A condition that every row of interest meets; a table may use it to skip, the host checks again.
#[repr(C)]
#[derive(StableAbi)]
pub struct AbiFilter {
    pub column: RString,
    /// `=`, `<>`, `<`, `<=`, `>` or `>=`.
    pub operator: RString,
    /// One value.
    pub value: AbiArraySchema,
}

/// What a scan needs of a table.
#[repr(C)]
#[derive(StableAbi)]
pub struct AbiScan {
    /// Columns wanted, in order; none means all.
    pub projection: ROption<RVec<u32>>,
    pub limit: ROption<u64>,
    pub filters: RVec<AbiFilter>,
    pub options: RVec<AbiOption>,
}

/// One entry of the key-value service.
#[repr(C)]
#[derive(StableAbi, Clone, Debug)]
pub struct AbiKeyValue {
    pub key: RVec<u8>,
    pub value: RVec<u8>,
}
