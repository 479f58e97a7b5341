//! Kodiak: an embedded analytical database. This is the map of the house; every module uses only those above it.

pub mod error;
pub mod storage;
pub mod catalog;
pub mod sql;
pub mod database;

pub use database::{CancelHandle, Connection, Database, Outcome, Rows, Script, Value};
pub use error::{Error, Result};
