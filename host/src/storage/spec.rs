//! What callers hand in and get back: table specifications, options, facts. It holds data and judges specifications,
//! and refuses to touch a file.

use std::path::PathBuf;

use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, SortField};

use super::refs::Retention;
use crate::error::{Error, Result, codes};

/// A table's number: unique for ever within a database, also across processes that create tables at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableId(pub u64);

impl TableId {
    /// A number that nobody else has: 41 bits of time and 22 of chance, so that concurrent `CREATE TABLE`s never
    /// wait for, or conflict with, each other.
    pub(crate) fn fresh() -> Self {
        let ulid = ulid::Ulid::generate();
        let chance = u64::try_from(ulid.random() & 0x3f_ffff).unwrap_or_default();
        Self((ulid.timestamp_ms() << 22 | chance) & (u64::MAX >> 1))
    }
}

/// Columns by whose values rows are found; of a unique key, values that only one of the rows has in which none is null.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The name of the constraint.
    pub name: String,
    /// Indexes of columns, in the order of the key.
    pub columns: Vec<usize>,
    /// Whether it is the primary key; storage enforces all unique keys alike.
    pub primary: bool,
    /// Whether no two rows may have the same values.
    pub unique: bool,
}

/// What a table looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableSpec {
    /// Its columns; any Arrow type.
    pub schema: SchemaRef,
    /// Its keys, unique or not.
    pub keys: Vec<Key>,
}

impl TableSpec {
    /// Refuses a key that names no column, or one whose type has no order.
    pub(crate) fn validate(&self) -> Result<()> {
        for key in &self.keys {
            let fields = key
                .columns
                .iter()
                .map(|&column| {
                    let field = self.schema.fields().get(column);
                    field.map(|field| SortField::new(field.data_type().clone())).ok_or_else(|| {
                        Error::new(
                            codes::NO_COLUMN,
                            format!("key `{}` names column {column}, which is not there", key.name),
                        )
                    })
                })
                .collect::<Result<Vec<_>>>()?;
            if fields.is_empty() || !RowConverter::supports_fields(&fields) {
                return Err(Error::new(
                    codes::TYPE,
                    format!("key `{}` cannot be built on columns of these types", key.name),
                ));
            }
        }
        Ok(())
    }
}

/// How to open a database.
#[derive(Clone, Debug)]
pub struct Options {
    /// Create the database if nothing is there.
    pub create: bool,
    /// Refuse every write.
    pub read_only: bool,
    /// The log is turned into segments and a manifest when it grows past this.
    pub wal_bytes_max: u64,
    /// That happens in a thread of its own; otherwise whoever commits does it.
    pub background: bool,
    /// At the last close in this process the log is folded in if it is larger than this; a smaller one is quicker to
    /// read again than to fold in.
    pub close_wal_bytes_max: u64,
    /// A transaction that adds more rows than this to a table writes them into segment files itself.
    pub spill_rows_max: usize,
    /// Likewise for more bytes.
    pub spill_bytes_max: usize,
    /// Rows in a full row group, at most [`super::ROWS_PER_GROUP`].
    pub group_rows: usize,
    /// How long a database that is created keeps old versions; one that is there has its own setting.
    pub retention: Retention,
    /// Bytes of columns that are kept in memory after they were read from files. See [`super::Store::keep_hot`].
    pub hot_bytes_max: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            create: true,
            read_only: false,
            wal_bytes_max: 64 << 20,
            background: true,
            close_wal_bytes_max: 1 << 20,
            spill_rows_max: 1 << 16,
            spill_bytes_max: 8 << 20,
            group_rows: super::ROWS_PER_GROUP,
            retention: Retention::default(),
            hot_bytes_max: 256 << 20,
        }
    }
}

/// Facts about an open database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// Where it lies; `None` in memory.
    pub path: Option<PathBuf>,
    /// The database's ULID.
    pub id: String,
    /// The version of the file format.
    pub format: u32,
    /// The newest version of the branch on which sessions begin.
    pub version: u64,
    /// The newest version of any branch.
    pub newest: u64,
    /// Branches, the main one included.
    pub branches: u64,
    /// Number of tables on that branch.
    pub tables: u64,
    /// Live rows in them.
    pub rows: u64,
    /// Entries of its key-value space.
    pub entries: u64,
    /// Segment files in use.
    pub segments: u64,
    /// Their bytes.
    pub segment_bytes: u64,
    /// Bytes in the log.
    pub wal_bytes: u64,
    /// Number of the newest manifest; 0 before the first checkpoint.
    pub manifest: u64,
    /// Stores that read it just now, in this process and others.
    pub readers: u64,
}

/// What tidying up did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Folded {
    /// Row groups that were written.
    pub row_groups: u64,
    /// Rows in them.
    pub rows: u64,
    /// Files that were removed.
    pub files: u64,
    /// Bytes in those.
    pub bytes: u64,
}

/// What was copied for a backup, or from one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// The version that the copy is of.
    pub version: u64,
    /// Files that were copied.
    pub files: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Files that were there already.
    pub kept: u64,
}

/// A branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BranchInfo {
    /// What it is called.
    pub name: String,
    /// The version that it stands on.
    pub version: u64,
    /// When that was committed, in microseconds since 1970 (UTC).
    pub time: i64,
    /// The branch that it was made on, if that is still there.
    pub parent: Option<String>,
    /// The version that it began with.
    pub from: u64,
    /// When it was made, in microseconds since 1970 (UTC).
    pub created: i64,
    /// Whether sessions begin on it.
    pub is_current: bool,
}

/// A version that can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionInfo {
    /// Its number, counted over all branches.
    pub version: u64,
    /// The branch that it was committed on, if that is still there.
    pub branch: Option<String>,
    /// When, in microseconds since 1970 (UTC).
    pub time: i64,
    /// The pins that hold it.
    pub pins: Vec<String>,
}

/// A pin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinInfo {
    /// What it is called.
    pub name: String,
    /// The version that it holds.
    pub version: u64,
    /// When that was committed, in microseconds since 1970 (UTC).
    pub time: i64,
}

/// Something that `check` found to be wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file, relative to the database.
    pub file: String,
    /// What is wrong with it: a lowercase phrase.
    pub problem: String,
}
