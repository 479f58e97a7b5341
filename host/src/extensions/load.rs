//! From a verified file to a root module. What it refuses: anything whose hash was not checked, and unloading: a plugin
//! stays mapped for the life of the process, because its threads, statics and type layouts may be referred to.
#![allow(unsafe_code)]

use crate::error::{Error, Result, codes};
use kodiak_plugin_api::abi::{self, AbiHeaderRef, ApiVersion, CheckError, PluginRoot_Ref};
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use std::collections::HashMap;
use std::error::Error as _;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};

/// A plugin in this process.
#[derive(Clone, Copy)]
pub(crate) struct Loaded {
    pub root: PluginRoot_Ref,
}

static LOADED: LazyLock<Mutex<HashMap<PathBuf, Loaded>>> = LazyLock::new(Mutex::default);

/// Loads the plugin at `path`, once a process. `name` is the extension's, for messages.
///
/// The caller has checked the file's object format and its hash: constructors run inside `dlopen`, and a truncated file
/// would end the process there.
///
/// # Errors
/// LOAD_FAILED, ABI_VERSION or LAYOUT, in one line.
pub(crate) fn load(name: &str, path: &Path) -> Result<Loaded> {
    let path = std::path::absolute(path).map_err(|error| Error::io("find", path, &error))?;
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(found) = loaded.get(&path) {
        return Ok(*found);
    }
    // SAFETY: opening runs the constructors of a file that the user consented to and whose hash matches.
    let library = unsafe { Library::open(Some(&path), RTLD_NOW | RTLD_LOCAL) }.map_err(|error| {
        let cause = error.source().map_or_else(|| error.to_string(), ToString::to_string);
        Error::new(codes::LOAD_FAILED, format!("cannot load `{name}`: {cause}"))
    })?;
    // SAFETY: the symbol is a `LibHeader`, whose first bytes `accept` checks before it believes the rest.
    let header = unsafe { library.get::<AbiHeaderRef>(abi::SYMBOL.as_bytes()) }.map(|symbol| *symbol);
    let header = header.map_err(|_| {
        Error::new(codes::NOT_A_PLUGIN, format!("the library of `{name}` does not export `{}`", abi::SYMBOL))
    });
    // Never unmapped, not even when it is refused: its type layouts may be remembered by the checker.
    std::mem::forget(library);
    let (root, _) = abi::accept(header?).map_err(|error| refused(name, error))?;
    let found = Loaded { root };
    loaded.insert(path, found);
    Ok(found)
}

fn refused(name: &str, error: CheckError) -> Error {
    let ours = ApiVersion { major: abi::MAJOR, minor: abi::MINOR };
    match error {
        CheckError::Version(theirs) => Error::new(
            codes::ABI_VERSION,
            format!("`{name}` was built for plugin ABI {theirs}; this host accepts {}.0 to {ours}", ours.major),
        )
        .help(format!("rebuild `{name}` with kodiak-plugin-api {}", ours.major)),
        CheckError::Header(problem) => {
            Error::new(codes::NOT_A_PLUGIN, format!("the library of `{name}` has no usable header: {problem}"))
        }
        CheckError::Layout(problem) => {
            Error::new(codes::LAYOUT, format!("the types of `{name}` differ from the host's: {problem}"))
                .help(format!("rebuild `{name}` with the released kodiak-plugin-api {ours}"))
        }
        CheckError::Constructor(problem) => {
            Error::new(codes::ACTIVATION, format!("`{name}` could not be set up: {problem}"))
        }
    }
}
