//! A name becomes a verified file: manifests, indexes, resolution, the store of artifacts and the set of enabled
//! extensions. It refuses to run any extension code, to load a library, to print, and to know SQL or Arrow.
//!
//! | module | its job |
//! |---|---|
//! | [`manifest`] | what an extension says about itself, strictly read |
//! | [`claims`] | which statements, names and commands belong to the host |
//! | [`verify`] | reads a library as data: platform, completeness, manifest, entry, ABI version, hash |
//! | [`index`] | what could be installed and who would provide a missing name |
//! | [`resolve`] | which versions fit together, in which order, and why; or why not |
//! | [`store`] | verified artifacts, one directory per content hash, shared by all projects |
//! | [`lock`] | which of them a database has enabled, and whether each is usable |
//! | [`error`] | what went wrong, with code and way out |

// A test may panic.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod claims;
pub mod digest;
pub mod error;
pub mod index;
pub mod lock;
pub mod manifest;
pub mod resolve;
pub mod store;
pub mod verify;

mod text;

pub use claims::ClaimKind;
pub use digest::Digest;
pub use error::{Error, Result};
pub use index::{Index, Pool};
pub use lock::{Enabled, EnabledSet, State};
pub use manifest::{AbiVersion, Manifest, Permissions, Requirements};
pub use store::{Condition, Installed, Origin, Store};
