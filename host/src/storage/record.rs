//! A record: everything that one commit changes, as data and as bytes. It is what the log holds and what `apply`
//! takes, and it refuses to know how a transaction came to it.
//!
//! Bytes are decoded in two steps, because rows travel without their schema, which only the state knows: `decode`
//! takes the record apart, and `apply` decodes the rows of a `Batch::Stored`.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use roaring::{RoaringBitmap, RoaringTreemap};
use ulid::Ulid;

use super::codec::{Decoder, Encoder, Flaw};
use super::part::Part;
use super::refs::{BranchId, Origin, Reference};
use super::rows::RowIds;
use super::segment::{Frame, Group, SegmentFile, Segments};
use super::spec::{TableId, TableSpec};
use super::table::Table;
use crate::error::{Error, Result, codes};

/// One record of the log.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    /// Its number: the one of the record before, plus one.
    pub(crate) lsn: u64,
    /// The branch that it changes.
    pub(crate) branch: BranchId,
    pub(crate) kind: Kind,
    /// When it was written, in microseconds since 1970 (UTC).
    pub(crate) time: i64,
    /// What it does, in order.
    pub(crate) operations: Vec<Operation>,
}

impl Record {
    /// The log refers to these segments from now on.
    pub(crate) fn publish_segments(&self) {
        self.segments().for_each(|file| file.publish());
    }

    /// The segments that it brings, some of them several times.
    pub(crate) fn segments(&self) -> impl Iterator<Item = &Arc<SegmentFile>> {
        self.operations.iter().flat_map(|operation| -> Box<dyn Iterator<Item = &Arc<SegmentFile>>> {
            match operation {
                Operation::Attach { attached, .. } => Box::new(std::iter::once(&attached.file)),
                Operation::Rewrite(rewrite) => Box::new(rewrite.groups.iter().map(|(attached, _)| &attached.file)),
                Operation::Refer(
                    Reference::CreateBranch { origin: Origin::Sketch(sketch), .. }
                    | Reference::MoveBranch { origin: Origin::Sketch(sketch), .. }
                    | Reference::Pin { origin: Origin::Sketch(sketch), .. },
                ) => Box::new(sketch.attached().map(|attached| &attached.file)),
                _ => Box::new(std::iter::empty()),
            }
        })
    }
}

/// What a record is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It makes a new version.
    Commit = 1,
    /// It moves rows between files and changes nothing that anybody sees.
    Rewrite = 2,
    /// It is the last of its file; the next file has the next number.
    Rotate = 3,
    /// It changes branches or pins, and nothing that is in them.
    Refer = 4,
}

impl Kind {
    pub(crate) fn from_u16(kind: u16) -> Option<Self> {
        [Self::Commit, Self::Rewrite, Self::Rotate, Self::Refer].into_iter().find(|&known| known as u16 == kind)
    }
}

/// Rows, or their bytes while the schema is unknown.
#[derive(Clone, Debug)]
pub(crate) enum Batch {
    Rows(RecordBatch),
    Stored(Bytes),
}

impl Batch {
    pub(crate) fn rows(&self, schema: &SchemaRef) -> Result<RecordBatch, Flaw> {
        match self {
            Self::Rows(batch) => Ok(batch.clone()),
            Self::Stored(bytes) => Decoder::new(bytes).batch(schema),
        }
    }

    pub(crate) fn encode(&self, out: &mut Encoder) -> Result<()> {
        match self {
            Self::Rows(batch) => {
                let mut rows = Encoder::default();
                rows.batch(batch)?;
                out.bytes(&rows.finish());
            }
            Self::Stored(bytes) => out.bytes(bytes),
        }
        Ok(())
    }
}

/// A row group of a segment file that becomes part of a table.
#[derive(Clone, Debug)]
pub(crate) struct Attached {
    pub(crate) file: Arc<SegmentFile>,
    pub(crate) group: Arc<Group>,
    /// Positions of rows that were deleted again before the commit.
    pub(crate) deleted: RoaringBitmap,
    /// For each column of the table the file's, where they differ.
    pub(crate) columns: Option<Vec<Option<usize>>>,
}

/// One change.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    CreateTable {
        table: TableId,
        spec: Arc<TableSpec>,
    },
    DropTable {
        table: TableId,
    },
    /// For each new column the old one.
    AlterTable {
        table: TableId,
        spec: Arc<TableSpec>,
        columns: Vec<Option<usize>>,
    },
    /// Rows at the end; they get the next row ids.
    Append {
        table: TableId,
        batch: Batch,
    },
    /// A row group at the end; its rows get the next row ids.
    Attach {
        table: TableId,
        attached: Attached,
    },
    Delete {
        table: TableId,
        rows: Arc<RoaringTreemap>,
    },
    Put {
        key: Bytes,
        value: Bytes,
    },
    Remove {
        key: Bytes,
    },
    Rewrite(Rewrite),
    Refer(Reference),
}

impl Operation {
    /// Whether it changes something else than the tree of the record's branch. Such ones are made after the others.
    pub(crate) fn is_apart(&self) -> bool {
        matches!(self, Self::Rewrite(_) | Self::Refer(_))
    }
}

/// The rows with ids in `range`, both ends included, are from now on in these row groups, in every tree whose rows there
/// are among theirs. Rows of theirs that a tree does not have are deleted in it.
#[derive(Clone, Debug)]
pub(crate) struct Rewrite {
    pub(crate) table: TableId,
    /// The specification to which the row groups belong.
    pub(crate) spec_version: u64,
    pub(crate) range: (u64, u64),
    pub(crate) groups: Vec<(Attached, RowIds)>,
}

impl Operation {
    /// The row groups of a rewrite.
    pub(crate) fn rewritten(&self) -> Option<&[(Attached, RowIds)]> {
        match self {
            Self::Rewrite(rewrite) => Some(&rewrite.groups),
            _ => None,
        }
    }
}

impl Rewrite {
    /// Whether these row groups can take the place of parts of a table.
    pub(crate) fn fits(&self, table: &Table) -> bool {
        if table.id != self.table || table.spec_version != self.spec_version || !table.can_rewrite(self.range) {
            return false;
        }
        let live = table.live_in(self.range);
        let rows: RoaringTreemap = self.groups.iter().flat_map(|(_, ids)| ids.iter()).collect();
        !live.is_empty() && live.is_subset(&rows)
    }

    /// The row groups as parts, which tables share.
    pub(crate) fn parts(&self, schema: &SchemaRef) -> Vec<Part> {
        self.groups.iter().map(|(attached, ids)| attached.part(ids.clone(), schema)).collect()
    }
}

const CREATE: u8 = 1;
const DROP: u8 = 2;
const ALTER: u8 = 3;
const APPEND: u8 = 4;
const ATTACH: u8 = 5;
const DELETE: u8 = 6;
const PUT: u8 = 7;
const REMOVE: u8 = 8;
const REWRITE: u8 = 9;
const REFER: u8 = 10;

/// The payload of a record.
pub(crate) fn encode(operations: &[Operation]) -> Result<Vec<u8>> {
    let mut out = Encoder::default();
    out.count(operations.len());
    for operation in operations {
        encode_operation(&mut out, operation)?;
    }
    Ok(out.finish())
}

fn encode_operation(out: &mut Encoder, operation: &Operation) -> Result<()> {
    let head = |out: &mut Encoder, tag: u8, table: &TableId| {
        out.u8(tag);
        out.u64(table.0);
    };
    match operation {
        Operation::CreateTable { table, spec } => {
            head(out, CREATE, table);
            out.spec(spec);
        }
        Operation::DropTable { table } => head(out, DROP, table),
        Operation::AlterTable { table, spec, columns } => {
            head(out, ALTER, table);
            out.spec(spec);
            out.column_map(columns);
        }
        Operation::Append { table, batch } => {
            head(out, APPEND, table);
            batch.encode(out)?;
        }
        Operation::Attach { table, attached } => {
            head(out, ATTACH, table);
            attached.encode(out)?;
        }
        Operation::Delete { table, rows } => {
            head(out, DELETE, table);
            out.treemap(rows);
        }
        Operation::Put { key, value } => {
            out.u8(PUT);
            out.bytes(key);
            out.bytes(value);
        }
        Operation::Remove { key } => {
            out.u8(REMOVE);
            out.bytes(key);
        }
        Operation::Refer(change) => {
            out.u8(REFER);
            change.encode(out)?;
        }
        Operation::Rewrite(Rewrite { table, spec_version, range, groups }) => {
            head(out, REWRITE, table);
            out.u64(*spec_version);
            out.u64(range.0);
            out.u64(range.1);
            out.count(groups.len());
            for (attached, ids) in groups {
                attached.encode(out)?;
                out.ids(ids);
            }
        }
    }
    Ok(())
}

/// Takes a payload apart, which may be any bytes.
pub(crate) fn decode(payload: &[u8], segments: &Segments) -> Result<Vec<Operation>, Flaw> {
    let mut from = Decoder::new(payload);
    let operations = (0..from.count(6)?).map(|_| decode_operation(&mut from, segments)).collect::<Result<_, _>>()?;
    if !from.is_empty() {
        return Err("it goes on after its end".to_owned());
    }
    Ok(operations)
}

fn decode_operation(from: &mut Decoder<'_>, segments: &Segments) -> Result<Operation, Flaw> {
    let tag = from.u8()?;
    if tag == PUT {
        let (key, value) = (Bytes::copy_from_slice(from.bytes()?), Bytes::copy_from_slice(from.bytes()?));
        return Ok(Operation::Put { key, value });
    }
    if tag == REMOVE {
        return Ok(Operation::Remove { key: Bytes::copy_from_slice(from.bytes()?) });
    }
    if tag == REFER {
        return Ok(Operation::Refer(Reference::decode(from, segments)?));
    }
    let table = TableId(from.u64()?);
    Ok(match tag {
        CREATE => Operation::CreateTable { table, spec: Arc::new(from.spec()?) },
        DROP => Operation::DropTable { table },
        ALTER => Operation::AlterTable { table, spec: Arc::new(from.spec()?), columns: from.column_map()? },
        APPEND => Operation::Append { table, batch: Batch::Stored(Bytes::copy_from_slice(from.bytes()?)) },
        ATTACH => Operation::Attach { table, attached: Attached::decode(from, segments)? },
        DELETE => Operation::Delete { table, rows: Arc::new(from.treemap()?) },
        REWRITE => {
            let (spec_version, range) = (from.u64()?, (from.u64()?, from.u64()?));
            let groups = (0..from.count(64)?).map(|_| Ok((Attached::decode(from, segments)?, from.ids()?)));
            let groups = groups.collect::<Result<_, Flaw>>()?;
            Operation::Rewrite(Rewrite { table, spec_version, range, groups })
        }
        tag => return Err(format!("it has an operation of unknown kind {tag}")),
    })
}

impl Attached {
    pub(crate) fn encode(&self, out: &mut Encoder) -> Result<()> {
        let unfinished = || Error::new(codes::INTERNAL, "a segment is committed before it is complete");
        let frame = self.file.frame().ok_or_else(unfinished)?;
        out.raw(&self.file.id.to_bytes());
        out.u64(frame.length);
        out.u32(frame.checksum);
        out.u64(frame.groups.0);
        out.u64(frame.groups.1);
        self.group.encode(out);
        out.bitmap(&self.deleted);
        match &self.columns {
            Some(columns) => {
                out.u8(1);
                out.column_map(columns);
            }
            None => out.u8(0),
        }
        Ok(())
    }

    pub(crate) fn decode(from: &mut Decoder<'_>, segments: &Segments) -> Result<Self, Flaw> {
        let id = Ulid::from_bytes(from.array()?);
        let frame = Frame { length: from.u64()?, checksum: from.u32()?, groups: (from.u64()?, from.u64()?) };
        let group = Group::decode_from(from)?;
        if group.end() > frame.length {
            return Err("a row group lies outside its file".to_owned());
        }
        let deleted = from.bitmap()?;
        if deleted.max().is_some_and(|last| last >= group.rows) {
            return Err("a row is deleted that is not in its row group".to_owned());
        }
        let columns = (from.u8()? != 0).then(|| from.column_map()).transpose()?;
        let of_file = |column: &Option<usize>| column.is_none_or(|column| column < group.columns.len());
        if columns.as_ref().is_some_and(|columns| !columns.iter().all(of_file)) {
            return Err("a column is mapped to one that its file does not have".to_owned());
        }
        Ok(Self { file: segments.get(id, frame), group: Arc::new(group), deleted, columns })
    }

    /// The part that it is, under these ids.
    pub(crate) fn part(&self, ids: RowIds, schema: &SchemaRef) -> Part {
        let mut part = Part::segment(ids, self.file.clone(), self.group.clone(), schema.clone());
        if let Some(columns) = &self.columns {
            part = part.with_body_columns(columns.as_slice().into());
        }
        if self.deleted.is_empty() { part } else { part.with_deleted(self.deleted.clone()) }
    }

    /// The other way round; `None` for a part in memory.
    pub(crate) fn of(part: &Part) -> Option<Self> {
        let (file, group) = part.stored()?;
        Some(Self {
            file: file.clone(),
            group: group.clone(),
            deleted: part.deleted().cloned().unwrap_or_default(),
            columns: part.columns().map(<[_]>::to_vec),
        })
    }
}
