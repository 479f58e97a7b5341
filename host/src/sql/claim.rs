//! Where extensions enter: before a statement is parsed, one may claim it by its leading keywords; after that, names of
//! functions and tables that nobody else knows are offered to them. This file only says what is asked and answered;
//! who is installed, loaded, gated or quarantined is decided behind the trait.

use std::fmt::Debug;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef};

use super::outcome::Outcome;
use super::session::Caller;
use super::value::Value;
use crate::error::Result;
pub use crate::extensions::Argument;

/// What the front end asks about extensions. An error is the answer of an extension that is known but cannot serve: it
/// stops the statement, where `None` would go on to "no such function".
pub trait Extensions: Debug + Send + Sync {
    /// Offers a statement before it is parsed, without its `;`, comments included.
    fn claim(&self, statement: &str) -> Result<Option<Box<dyn Claimed>>> {
        let _ = statement;
        Ok(None)
    }

    /// Offers the name of a scalar function that is not built in.
    fn scalar(&self, name: &str) -> Result<Option<Arc<dyn ScalarFunction>>> {
        let _ = name;
        Ok(None)
    }

    /// Offers the name of a table function that is not built in.
    fn table(&self, name: &str) -> Result<Option<Arc<dyn TableFunction>>> {
        let _ = name;
        Ok(None)
    }

    /// Offers a table that the catalog does not hold; it is read as a table function without arguments.
    fn relation(&self, schema: &str, name: &str) -> Result<Option<Arc<dyn TableFunction>>> {
        let _ = (schema, name);
        Ok(None)
    }

    /// Names of functions, as `(extension, kind, name)`, for the list of functions and for suggestions.
    fn functions(&self) -> Vec<(String, &'static str, String)> {
        Vec::new()
    }

    /// Refuses a change of a relation that belongs to an extension which cannot be asked, such as a dormant one.
    fn check_write(&self, owner: &str, schema: &str, name: &str) -> Result<()> {
        let _ = (owner, schema, name);
        Ok(())
    }
}

/// A statement that an extension runs.
pub trait Claimed: Send {
    /// The extension; objects created meanwhile belong to it.
    fn extension(&self) -> &str;

    /// Runs it inside the caller's transaction.
    fn run(self: Box<Self>, caller: &Caller, params: &[Value]) -> Result<Outcome>;
}

/// A function of values to a value, called with columns.
pub trait ScalarFunction: Debug + Send + Sync {
    /// The extension that it comes from.
    fn extension(&self) -> &str;

    /// The argument types that a call gets after coercion, for the types that the user wrote.
    fn coerce(&self, caller: &Caller, args: &[DataType]) -> Result<Vec<DataType>>;

    /// The type of the result for coerced argument types.
    fn return_type(&self, caller: &Caller, args: &[DataType]) -> Result<DataType>;

    /// Whether equal arguments give equal results.
    fn volatility(&self, caller: &Caller) -> Result<Volatility>;

    /// Computes `rows` results.
    fn call(&self, caller: &Caller, args: &[Argument], rows: usize) -> Result<ArrayRef>;
}

/// A function that returns a table.
pub trait TableFunction: Debug + Send + Sync {
    /// The extension that it comes from.
    fn extension(&self) -> &str;

    /// The table for constant arguments, arrays of one value.
    fn bind(&self, caller: &Caller, args: Vec<ArrayRef>) -> Result<Arc<dyn BoundTable>>;
}

/// What a table function gave for its arguments.
pub trait BoundTable: Send + Sync {
    /// The columns.
    fn schema(&self) -> SchemaRef;

    /// The rows; `projection` holds the positions of the columns that are wanted, in order, and every batch has exactly
    /// these.
    fn scan(&self, projection: &[usize]) -> Result<RowStream>;
}

/// Batches one after the other.
pub type RowStream = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;

/// How far a function's result may be reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Volatility {
    /// For ever.
    Immutable,
    /// Within a statement.
    Stable,
    /// Never.
    Volatile,
}

/// A database without extensions.
#[derive(Debug, Default)]
pub struct NoExtensions;

impl Extensions for NoExtensions {}
