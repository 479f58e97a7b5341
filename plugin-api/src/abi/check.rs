//! Is this library's root module one that this side understands? Decided from its header and type layouts before any
//! code of the plugin's runs, and said in one line.

use super::{MAJOR, PluginRoot_Ref};
use abi_stable::StableAbi;
use abi_stable::abi_stability::abi_checking::{AbiInstability, check_layout_compatibility};
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
    let (interface, implementation) = if built_for.minor < ours.minor { (theirs, mine) } else { (mine, theirs) };
    check_layout_compatibility(interface, implementation).map_err(|errors| CheckError::Layout(condense(&errors)))?;
    // SAFETY: the layouts were just found compatible.
    let root = unsafe { header.unchecked_layout::<PluginRoot_Ref>() }
        .map_err(|error| CheckError::Constructor(first_line(&error.to_string())))?;
    Ok((root, version))
}

fn first_line(text: &str) -> String {
    text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default().to_owned()
}

/// `root.activate.context: expected type u32, found u64` instead of hundreds of lines.
fn condense(errors: &abi_stable::abi_stability::abi_checking::AbiInstabilityErrors) -> String {
    // The deepest difference is the cause; those above it only contain it.
    let Some(error) = errors.errors.iter().max_by_key(|error| error.stack_trace.len()) else {
        return "the types differ".into();
    };
    let path = error.stack_trace.iter().map(|step| match &step.found {
        TLFieldOrFunction::Field(field) => field.name().to_owned(),
        TLFieldOrFunction::Function(function) => function.name.to_string(),
    });
    let path = std::iter::once("root".to_owned()).chain(path).collect::<Vec<_>>().join(".");
    let reason = error.errs.first().map_or_else(|| "the types differ".to_owned(), describe);
    format!("{path}: {reason}")
}

fn describe(error: &AbiInstability) -> String {
    match error {
        AbiInstability::Name(x) => format!("expected type {}, found {}", x.expected, x.found),
        AbiInstability::MismatchedPrimitive(x) => format!("expected type {:?}, found {:?}", x.expected, x.found),
        AbiInstability::PackageVersion(x) => format!("expected version {}, found {}", x.expected, x.found),
        AbiInstability::FieldCountMismatch(x) => format!("expected {} fields, found {}", x.expected, x.found),
        AbiInstability::UnexpectedField(x) => {
            format!("expected field `{}`, found `{}`", x.expected.name(), x.found.name())
        }
        AbiInstability::TooManyVariants(x) => format!("expected {} variants, found {}", x.expected, x.found),
        AbiInstability::Size(x) => format!("expected {} bytes, found {}", x.expected, x.found),
        AbiInstability::Alignment(x) => format!("expected an alignment of {}, found {}", x.expected, x.found),
        AbiInstability::TLDataDiscriminant(_) => "one side has another kind of type".into(),
        AbiInstability::MismatchedPrefixConditionality(_) | AbiInstability::MismatchedPrefixSize(_) => {
            "the two sides disagree on which fields of a vtable are always there".into()
        }
        other => {
            let text = format!("{other:?}");
            let name = text.split(['(', '{', ' ']).next().unwrap_or("difference");
            format!("the types differ ({name})")
        }
    }
}
