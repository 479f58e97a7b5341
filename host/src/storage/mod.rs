//! The database on disk and in memory: tables of Arrow rows and an ordered key-value space behind one narrow door.
//!
//! The state of a database is an immutable value. **Every change is a record, and `apply(state, record)` is the one
//! function that makes the next state**: for our own commits, for recovery, and for what other processes appended.
//! The module knows nothing of SQL, names of tables, or planning; a table is a number, and its name lives in the
//! key-value space, where the catalog keeps it.

mod backup;
mod bulk;
mod changes;
mod check;
mod checkpoint;
mod codec;
mod commit;
mod encoding;
mod finder;
mod history;
mod hot;
mod index;
mod io;
mod keys;
mod lock;
mod maintain;
mod manifest;
mod open;
mod part;
mod readers;
mod record;
mod recover;
mod refs;
mod request;
mod restore;
mod rows;
mod run;
mod segment;
mod shm;
mod sketch;
mod snapshot;
mod spec;
mod state;
mod statistics;
mod store;
mod table;
#[cfg(test)]
mod tests;
mod tree;
mod txn;
mod wal;
mod warnings;
mod worker;

pub use bytes::Bytes;
pub use changes::{Change, Changes};
pub use encoding::expose;
pub use finder::{KeySpan, RowPlace};
pub use history::At;
pub use part::Part;
pub use refs::{BranchId, MAIN, Retention};
pub use snapshot::{Snapshot, TableView};
pub use spec::{BranchInfo, Copied, Finding, Folded, Info, Key, Options, PinInfo, TableId, TableSpec, VersionInfo};
pub use statistics::{ColumnStatistics, Sketch};
pub use store::Store;
pub use txn::{From, Link, Savepoint, Transaction};

/// Rows in a full row group: what one part of a table holds at most.
pub const ROWS_PER_GROUP: usize = 122_880;

/// Row ids from here on are a transaction's own, until commit gives its rows their final ones.
pub(crate) const PROVISIONAL: u64 = 1 << 63;
