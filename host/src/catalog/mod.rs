//! What the database is made of: schemas, tables, views, and which extension owns which. It keeps them as versioned
//! records in storage's key-value space, so they change and roll back with the transaction; it plans nothing, and the
//! rows of a table are storage's.

mod object;
mod read;
mod routine;
mod types;
mod write;

pub use object::{Action, Check, Column, Generated, Index, Key, Reference, Relation, Schema, StoredKey, Table, View};
pub use read::{Cache, Catalog};
pub use routine::{Event, Level, Macro, Parameter, Returns, Routine, RoutineKind, Timing, Trigger, Volatile};
pub use types::{SqlType, ZONE};
pub(crate) use write::{
    drop_macro, drop_relation, drop_routine, drop_schema, drop_trigger, put_macro, put_reference, put_relation,
    put_routine, put_schema, put_trigger, relation_key as record_key,
};

/// The schema that unqualified names mean unless the session says otherwise.
pub const MAIN: &str = "main";
/// The schema of the system tables.
pub const SYSTEM: &str = "kodiak";
/// The schema of the SQL standard's views of the catalog.
pub const INFORMATION: &str = "information_schema";

/// Whether a schema is there always and holds nothing a user can change.
pub fn is_virtual(schema: &str) -> bool {
    schema == SYSTEM || schema == INFORMATION
}
