//! Extensions: which are enabled, whether each may be used, loading on first use, and calls that cannot hurt the host.
//!
//! `gate` decides from manifests alone; `load` and `instance` run plugins; `services` is what plugins may ask for, and
//! reaches the house above only through the traits in `session`.

mod accounting;
mod calls;
mod data;
mod instance;
mod load;
mod scalar;
mod services;
pub mod session;

pub use accounting::{Totals, totals};
pub use instance::{
    Caller, CommandOutcome, Instance, Scalar, ScalarDeclaration, StatementOutcome, StatementToken, Table, TableFilter,
};
pub use scalar::Argument;

use crate::error::Error;
use kodiak_plugin_api::Error as PluginError;
use kodiak_registry::Manifest;

/// Features of this host that plugins may ask for by name.
pub(crate) const FEATURES: &[&str] = &["own_object", "session", "text_view"];

/// A host's error as a plugin gets it.
pub(crate) fn outward(error: Error) -> PluginError {
    let mut out = PluginError::new(error.code(), error.message()).sqlstate(error.sqlstate().unwrap_or_default());
    for line in error.details() {
        out = out.detail(line);
    }
    match error.help_text() {
        Some(help) => out.help(help),
        None => out,
    }
}

/// A plugin's error as the user gets it; one without a code of its own is named by its extension.
pub(crate) fn inward(manifest: &Manifest, error: PluginError) -> Error {
    let mut inner = if error.code().is_empty() {
        Error::new(crate::error::codes::EXTENSION_ERROR, format!("`{}`: {}", manifest.name(), error.text()))
    } else if error.code() == crate::error::codes::BAD_DATA.code {
        let (name, version) = (manifest.name(), manifest.version());
        Error::new(crate::error::codes::BAD_DATA, format!("`{name}` {version} returned {}", error.text()))
    } else {
        Error::foreign(error.code(), error.text())
    };
    if !error.state().is_empty() {
        inner = inner.with_sqlstate(error.state());
    }
    for line in error.details() {
        inner = inner.detail(line);
    }
    if error.help_text().is_empty() { inner } else { inner.help(error.help_text()) }
}
