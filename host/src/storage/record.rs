//! A record: everything that one commit changes, as data. It is what the log holds and what `apply` takes, and it
//! refuses to know how a transaction came to it.

use std::sync::Arc;

use arrow::array::RecordBatch;
use bytes::Bytes;
use roaring::RoaringTreemap;

use super::spec::{TableId, TableSpec};

/// One record of the log.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    /// Its number: the one of the record before, plus one.
    pub(crate) lsn: u64,
    /// Whether it makes a new version; records that only move rows between files do not.
    pub(crate) is_commit: bool,
    /// What it does, in order.
    pub(crate) operations: Vec<Operation>,
}

/// One change.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    CreateTable { table: TableId, spec: Arc<TableSpec> },
    DropTable { table: TableId },
    /// For each new column the old one.
    AlterTable { table: TableId, spec: Arc<TableSpec>, columns: Vec<Option<usize>> },
    /// Rows at the end; they get the next row ids.
    Append { table: TableId, batch: RecordBatch },
    Delete { table: TableId, rows: Arc<RoaringTreemap> },
    Put { key: Bytes, value: Bytes },
    Remove { key: Bytes },
}
