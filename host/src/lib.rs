//! Kodiak: an embedded analytical database. This is the map of the house; every module uses only those above it.

pub mod error;
pub mod storage;
