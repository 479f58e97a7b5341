//! Kodiak: an embedded analytical database. This is the map of the house; every module uses only those above it.

pub mod error;
pub mod telemetry;

pub mod storage;

pub mod catalog;
pub mod extensions;
pub mod sql;

pub mod database;
pub mod repl;

pub mod cli;

pub use database::{CancelHandle, Connection, Database, Outcome, Prepared, Rows, Script, Value};
pub use error::{Error, Place, Result};

/// The version of this library and program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
