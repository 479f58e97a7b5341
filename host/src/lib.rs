//! Kodiak, an embedded analytical database: the map of the house. Each module uses only those that stand before it here.

pub mod error;
pub mod telemetry;

pub mod cli;

pub use error::{Error, Place, Result};

/// The version of this library and program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
