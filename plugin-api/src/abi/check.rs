//! Is this library's root module one that this side understands? Decided from its header and type layouts before any
//! code of the plugin's runs, and said in one line.

use super::{MAJOR, PluginRoot_Ref};
use abi_stable::StableAbi;
use abi_stable::abi_stability::abi_checking::{
    AbiInstability, AbiInstabilityErrors, CheckingGlobals, ExpectedFound, check_layout_compatibility_with_globals,
};
use abi_stable::library::{AbiHeaderRef, RootModule};
use abi_stable::type_layout::TLFieldOrFunction;
use std::fmt;

/// A version of the plugin ABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ApiVersion {
    pub major: u32,
    pub minor: u32,
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Why a root module is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckError {
    /// The header is not one of abi_stable's, or of an incompatible one.
    Header(String),
    /// Another major version of the plugin ABI.
    Version(ApiVersion),
    /// The types differ; one line.
    Layout(String),
    /// The constructor failed or panicked.
    Constructor(String),
}

/// Checks header, version and layouts, and gives the root module and the version that the plugin was built for.
///
/// The stock check wants the loaded side to be the newer one. Here the side with the lower minor plays the interface,
/// so that an older plugin loads in a newer host and a newer plugin in an older host.
///
/// # Errors
/// A [`CheckError`]; nothing of the plugin's ran then, except its constructor for the last kind.
pub fn accept(header: AbiHeaderRef) -> Result<(PluginRoot_Ref, ApiVersion), CheckError> {
    let header = header.upgrade().map_err(|error| CheckError::Header(first_line(&error.to_string())))?;
    let built_for = header.version_strings().parsed().map_err(|error| CheckError::Header(error.to_string()))?;
    let ours = PluginRoot_Ref::VERSION_STRINGS.parsed().map_err(|error| CheckError::Header(error.to_string()))?;
    let version = ApiVersion { major: built_for.major, minor: built_for.minor };
    if built_for.major != MAJOR {
        return Err(CheckError::Version(version));
    }
    let theirs = header.layout().ok_or_else(|| CheckError::Layout("the library carries no type layouts".into()))?;
    let mine = <PluginRoot_Ref as StableAbi>::LAYOUT;
    let older = built_for.minor < ours.minor;
    let (interface, implementation) = if older { (theirs, mine) } else { (mine, theirs) };
    // With the process-wide globals, a vtable of an older plugin seen earlier would become the measure of this one.
    check_layout_compatibility_with_globals(interface, implementation, &CheckingGlobals::new())
        .map_err(|errors| CheckError::Layout(condense(&errors, older)))?;
    // SAFETY: the layouts were just found compatible.
    let root = unsafe { header.unchecked_layout::<PluginRoot_Ref>() }
        .map_err(|error| CheckError::Constructor(first_line(&error.to_string())))?;
    Ok((root, version))
}

fn first_line(text: &str) -> String {
    text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default().to_owned()
}

/// `root.activate.context: expected type u32, found u64` instead of hundreds of lines.
fn condense(errors: &AbiInstabilityErrors, older: bool) -> String {
    // The deepest difference is the cause; those above it only contain it.
    let Some(error) = errors.errors.iter().max_by_key(|error| error.stack_trace.len()) else {
        return "the types differ".into();
    };
    let path = error.stack_trace.iter().map(|step| match &step.found {
        TLFieldOrFunction::Field(field) => field.name().to_owned(),
        TLFieldOrFunction::Function(function) => function.name.to_string(),
    });
    // Tuple fields, return slots and a vtable's own pointer are steps of the checker's, not of the author's.
    let named =
        path.filter(|step| !step.starts_with("__") && step.trim_start_matches("field_").parse::<u32>().is_err());
    let mut path: Vec<String> = std::iter::once("root".to_owned()).chain(named).collect();
    path.dedup();
    let path = path.join(".");
    let reason = error.errs.first().map_or_else(|| "the types differ".to_owned(), |error| describe(error, older));
    format!("{path}: {reason}")
}

/// What the checker calls expected is the interface's, which is the plugin's when that is the older side.
fn describe(error: &AbiInstability, older: bool) -> String {
    match error {
        AbiInstability::Name(x) => differ("type ", x, older),
        AbiInstability::MismatchedPrimitive(x) => {
            let name = |primitive| format!("{primitive:?}").to_lowercase();
            let x = ExpectedFound { expected: name(x.expected), found: name(x.found) };
            differ("type ", &x, older)
        }
        AbiInstability::PackageVersion(x) => differ("version ", x, older),
        AbiInstability::FieldCountMismatch(x) => differ("this number of fields: ", x, older),
        AbiInstability::UnexpectedField(x) => {
            let x = ExpectedFound { expected: quoted(x.expected.name()), found: quoted(x.found.name()) };
            differ("field ", &x, older)
        }
        AbiInstability::TooManyVariants(x) => differ("this number of variants: ", x, older),
        AbiInstability::Size(x) => differ("this number of bytes: ", x, older),
        AbiInstability::Alignment(x) => differ("an alignment of ", x, older),
        AbiInstability::TLDataDiscriminant(_) => "one side has another kind of type".into(),
        AbiInstability::MismatchedPrefixConditionality(_) | AbiInstability::MismatchedPrefixSize(_) => {
            "the two sides disagree on which fields of a vtable are always there".into()
        }
        _ => "the types differ".into(),
    }
}

fn differ<T: fmt::Display>(what: &str, x: &ExpectedFound<T>, older: bool) -> String {
    let (ours, theirs) = if older { (&x.found, &x.expected) } else { (&x.expected, &x.found) };
    format!("expected {what}{ours}, found {theirs}")
}

fn quoted(name: &str) -> String {
    format!("`{name}`")
}
