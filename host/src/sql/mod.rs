//! The front end: text becomes statements, statements become plans, and plans run over storage's tables. Only this
//! module names the query engine; what comes out of it is Arrow and our own errors.

mod apply;
mod attach;
mod bind;
mod branches;
pub mod claim;
mod copy;
mod ddl;
mod dialect;
mod dispatch;
mod dml;
mod engine;
mod extension;
mod fault;
mod file;
mod functions;
mod history;
mod identity;
mod inspect;
mod interrupt;
mod names;
mod nearest;
#[cfg(test)]
mod nested_tests;
mod optimize;
mod outcome;
mod parse;
mod point;
mod prepared;
mod query;
mod routine;
mod run;
mod scan;
mod scope;
mod session;
mod settings;
mod show;
pub mod split;
mod stream_table;
mod survey;
mod system;
mod token;
mod transaction;
mod types;
mod unit;
mod upkeep;
mod value;

pub use datafusion::common::ScalarValue;
pub(crate) use engine::Engine;
pub use inspect::{TextToken, TextTokenKind, Uses, tokens, uses};
pub use outcome::{Outcome, Rows};
pub(crate) use parse::{Origin, concealed};
pub(crate) use prepared::Kept;
pub use session::Caller;
pub(crate) use session::Session;
pub use token::Token;
pub(crate) use upkeep::moment;
pub use value::Value;

use crate::error::{Error, codes};

/// The name of a type as users write it.
pub(crate) fn type_name(kind: &arrow::datatypes::DataType) -> String {
    crate::catalog::SqlType::of(kind).map_or_else(|| kind.to_string(), |kind| kind.to_string())
}

/// The error for what exists in SQL but not here.
fn unsupported(what: &str) -> Error {
    Error::new(codes::UNSUPPORTED, format!("{what}: not supported"))
}
