//! What tests need: throw-away homes, the built program and the built plugins.

pub mod target;
