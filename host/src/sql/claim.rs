//! Where extensions enter: before a statement is parsed, one may claim it by its leading keywords; after that, names of
//! functions and tables that nobody else knows are offered to them. This file only says what is asked and answered;
//! who is installed, loaded, gated or quarantined is decided behind the trait.

use std::fmt::Debug;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef};

use super::outcome::{Outcome, Rows};
use super::session::Caller;
use super::value::Value;
use crate::catalog::{Event, Level, Routine, Timing};
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

    /// Whether a text may hold what must not be seen, as extensions declare it, usable or not: then no message repeats it.
    fn is_sensitive(&self, text: &str) -> bool {
        super::split::holds_secret(text)
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

    /// Offers the name of a language that is not the host's.
    fn language(&self, name: &str) -> Result<Option<Arc<dyn Language>>> {
        let _ = name;
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

/// A language of routines. Bodies come as text; how and when a language compiles them is its own affair.
pub trait Language: Debug + Send + Sync {
    /// The extension that brings it; none for the host's own.
    fn extension(&self) -> Option<&str>;

    /// Compiles a body without running it, when the routine is created.
    fn check(&self, caller: &Caller, routine: &Routine) -> Result<Checked>;

    /// The results of a function, one for each row of `arguments`, whose columns are the parameters.
    fn scalar(&self, caller: &Caller, routine: &Routine, arguments: &RecordBatch) -> Result<ArrayRef>;

    /// Runs a procedure, a function that returns a table, or an anonymous body, for one row of arguments.
    fn run(&self, caller: &Caller, routine: &Routine, arguments: &RecordBatch) -> Result<Option<Rows>>;

    /// Runs a trigger function. What it gives is only asked for by `BEFORE ... FOR EACH ROW`; none leaves all rows as
    /// they are.
    fn fire(&self, caller: &Caller, routine: &Routine, firing: &Firing) -> Result<Option<Fired>>;
}

/// What a language found when it compiled a body.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    /// The body as an SQL expression over its parameters, if it is no more than that.
    pub inline: Option<String>,
}

/// What a trigger function is told.
#[derive(Clone, Debug)]
pub struct Firing {
    /// The trigger's name.
    pub trigger: String,
    /// The table's schema.
    pub schema: String,
    /// The table's name.
    pub table: String,
    /// Before, after or instead.
    pub timing: Timing,
    /// Once a row or once a statement.
    pub level: Level,
    /// What happened.
    pub event: Event,
    /// The arguments of the trigger.
    pub arguments: Vec<String>,
    /// What the transition tables are called.
    pub names: (String, String),
    /// The rows before, of the table's columns; none for INSERT, and for statement triggers that come before.
    pub old: Option<RecordBatch>,
    /// The rows after, one for each of `old` where both are there.
    pub new: Option<RecordBatch>,
}

/// What a row trigger that comes before made of the rows.
#[derive(Clone, Debug)]
pub struct Fired {
    /// The numbers of the rows that go on, in order; the others are skipped.
    pub rows: Vec<usize>,
    /// Those rows as they shall be; none leaves them as they were.
    pub new: Option<RecordBatch>,
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
