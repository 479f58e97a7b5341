//! A tree as data: what it has in common with another tree is said in a few bytes, and the rest is written out. So a
//! manifest with many branches grows with their differences, and so does a record that brings an old tree back. It
//! refuses to hold two trees: the other one must be at hand when it is read.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use ulid::Ulid;

use super::codec::{Decoder, Encoder, Flaw};
use super::keys::KeyIndexes;
use super::part::Part;
use super::record::{Attached, Batch};
use super::rows::RowIds;
use super::segment::Segments;
use super::spec::{TableId, TableSpec};
use super::table::Table;
use super::tree::{Entry, Tree};
use crate::error::{Error, Result};

const SAME: u8 = 0;
const WRITTEN: u8 = 1;

const MEMORY: u8 = 0;
const SEGMENT: u8 = 1;
const RUN: u8 = 2;

/// A tree, as it differs from another.
#[derive(Clone, Debug)]
pub(crate) struct Sketch {
    version: u64,
    time: i64,
    tables: Vec<TableSketch>,
    /// Entries that the other tree does not have so.
    put: Vec<(Bytes, Entry)>,
    /// Entries that only the other tree has.
    removed: Vec<Bytes>,
}

#[derive(Clone, Debug)]
enum TableSketch {
    /// The other tree's, which has the same contents.
    Same(TableId),
    Written(Box<WrittenTable>),
}

#[derive(Clone, Debug)]
struct WrittenTable {
    id: TableId,
    spec: Arc<TableSpec>,
    spec_version: u64,
    version: u64,
    next_row: u64,
    parts: Vec<PartSketch>,
}

#[derive(Clone, Debug)]
enum PartSketch {
    Memory {
        ids: RowIds,
        batch: Batch,
    },
    Segment {
        ids: RowIds,
        attached: Box<Attached>,
    },
    /// So many parts of the other tree's table, from this one on, all of them in segments.
    Run {
        first: Place,
        count: u64,
    },
}

/// A row group: its file and where it is in there.
type Place = (Ulid, u64);

impl Sketch {
    /// What `tree` is, given `other`.
    pub(crate) fn of(tree: &Tree, other: Option<&Tree>) -> Result<Self> {
        let mut tables = Vec::with_capacity(tree.tables.size());
        for table in tree.tables.values() {
            let like = other.and_then(|other| other.tables.get(&table.id));
            // A commit gives a table that it changes its own number: the same number means the same contents.
            let is_same = like.is_some_and(|like| like.version == table.version);
            tables.push(match is_same {
                true => TableSketch::Same(table.id),
                false => TableSketch::Written(Box::new(WrittenTable::of(table, like.map(AsRef::as_ref))?)),
            });
        }
        let entry = |key: &Bytes| other.and_then(|other| other.entries.get(key));
        let put = tree.entries.iter().filter(|(key, value)| entry(key) != Some(value));
        let put = put.map(|(key, value)| (key.clone(), value.clone())).collect();
        let gone = other.into_iter().flat_map(|other| other.entries.keys());
        let removed = gone.filter(|key| !tree.entries.contains_key(*key)).cloned().collect();
        Ok(Self { version: tree.version, time: tree.time, tables, put, removed })
    }

    /// The tree that this is, given the same other one.
    pub(crate) fn realize(&self, other: Option<&Tree>) -> Result<Tree, Flaw> {
        let missing = || "it shares what is not there".to_owned();
        let mut tree = Tree { version: self.version, time: self.time, ..Tree::empty() };
        for table in &self.tables {
            let like = |id: TableId| other.and_then(|other| other.tables.get(&id));
            let table = match table {
                TableSketch::Same(id) => like(*id).cloned().ok_or_else(missing)?,
                TableSketch::Written(written) => Arc::new(written.realize(like(written.id).map(AsRef::as_ref))?),
            };
            tree.tables.insert_mut(table.id, table);
        }
        if let Some(other) = other {
            tree.entries = other.entries.clone();
        }
        for (key, entry) in &self.put {
            tree.entries.insert_mut(key.clone(), entry.clone());
        }
        for key in &self.removed {
            if !tree.entries.remove_mut(key) {
                return Err(missing());
            }
        }
        Ok(tree)
    }

    /// The row groups that are written out.
    pub(crate) fn attached(&self) -> impl Iterator<Item = &Attached> {
        let written = self.tables.iter().filter_map(|table| match table {
            TableSketch::Written(written) => Some(&written.parts),
            TableSketch::Same(_) => None,
        });
        written.flatten().filter_map(|part| match part {
            PartSketch::Segment { attached, .. } => Some(attached.as_ref()),
            _ => None,
        })
    }

    pub(crate) fn encode(&self, out: &mut Encoder) -> Result<()> {
        out.u64(self.version);
        out.i64(self.time);
        out.count(self.tables.len());
        for table in &self.tables {
            match table {
                TableSketch::Same(id) => {
                    out.u8(SAME);
                    out.u64(id.0);
                }
                TableSketch::Written(table) => {
                    out.u8(WRITTEN);
                    table.encode(out)?;
                }
            }
        }
        out.count(self.put.len());
        for (key, entry) in &self.put {
            out.bytes(key);
            out.bytes(&entry.value);
            out.u64(entry.version);
        }
        out.count(self.removed.len());
        self.removed.iter().for_each(|key| out.bytes(key));
        Ok(())
    }

    pub(crate) fn decode(from: &mut Decoder<'_>, segments: &Segments) -> Result<Self, Flaw> {
        let (version, time) = (from.u64()?, from.i64()?);
        let tables = (0..from.count(9)?).map(|_| {
            Ok(match from.u8()? {
                SAME => TableSketch::Same(TableId(from.u64()?)),
                WRITTEN => TableSketch::Written(Box::new(WrittenTable::decode(from, segments)?)),
                tag => return Err(format!("a table is of unknown kind {tag}")),
            })
        });
        let tables = tables.collect::<Result<_, Flaw>>()?;
        let put = (0..from.count(24)?).map(|_| {
            let (key, value) = (Bytes::copy_from_slice(from.bytes()?), Bytes::copy_from_slice(from.bytes()?));
            Ok((key, Entry { value, version: from.u64()? }))
        });
        let put = put.collect::<Result<_, Flaw>>()?;
        let removed = (0..from.count(8)?).map(|_| from.bytes().map(Bytes::copy_from_slice));
        Ok(Self { version, time, tables, put, removed: removed.collect::<Result<_, Flaw>>()? })
    }
}

impl WrittenTable {
    fn of(table: &Table, like: Option<&Table>) -> Result<Self> {
        let like = like.filter(|like| like.spec.schema == table.spec.schema);
        let known: HashMap<Place, usize> = like
            .iter()
            .flat_map(|like| like.parts.iter().enumerate())
            .filter_map(|(index, part)| Some((part.place()?, index)))
            .collect();
        let mut parts: Vec<PartSketch> = Vec::new();
        let mut run_ends = None;
        for part in table.parts.iter() {
            let shared = part.place().and_then(|place| {
                let (index, like) = (*known.get(&place)?, like?);
                like.parts[index].is_same(part).then_some((place, index))
            });
            if let Some((place, index)) = shared {
                match parts.last_mut() {
                    Some(PartSketch::Run { count, .. }) if run_ends == Some(index) => *count += 1,
                    _ => parts.push(PartSketch::Run { first: place, count: 1 }),
                }
                run_ends = Some(index + 1);
                continue;
            }
            run_ends = None;
            parts.push(match Attached::of(part) {
                Some(attached) => PartSketch::Segment { ids: part.ids().clone(), attached: Box::new(attached) },
                None => {
                    let all: Vec<usize> = (0..table.spec.schema.fields().len()).collect();
                    let ids = RowIds::collect(part.live_ids());
                    PartSketch::Memory { ids, batch: Batch::Rows(part.read(&all)?) }
                }
            });
        }
        let Table { id, spec_version, version, next_row, .. } = *table;
        Ok(Self { id, spec: table.spec.clone(), spec_version, version, next_row, parts })
    }

    fn realize(&self, like: Option<&Table>) -> Result<Table, Flaw> {
        let wrong = |error: Error| error.message().to_owned();
        let mut table = Table::new(self.id, self.spec.clone(), self.spec_version).map_err(wrong)?;
        let fields = self.spec.schema.fields().len();
        let mut parts: Vec<Part> = Vec::new();
        for part in &self.parts {
            match part {
                PartSketch::Segment { ids, attached } => {
                    let columns = attached.columns.as_ref().map_or(attached.group.columns.len(), Vec::len);
                    if ids.count() != u64::from(attached.group.rows) || columns != fields {
                        return Err("a row group does not fit its table".to_owned());
                    }
                    parts.push(attached.part(ids.clone(), &self.spec.schema));
                }
                PartSketch::Memory { ids, batch } => {
                    let batch = table.conform(&batch.rows(&self.spec.schema)?).map_err(wrong)?;
                    if ids.count() != batch.num_rows() as u64 {
                        return Err("rows and their ids do not match".to_owned());
                    }
                    let keys = KeyIndexes::new(table.learn_keys(&batch).map_err(wrong)?);
                    parts.push(Part::memory(ids.clone(), batch, keys, self.spec.schema.clone()));
                }
                PartSketch::Run { first, count } => {
                    let missing = || "a table shares parts that are not there".to_owned();
                    let like = like.ok_or_else(missing)?;
                    let start = like.parts.iter().position(|part| part.place() == Some(*first)).ok_or_else(missing)?;
                    let end = usize::try_from(*count).ok().and_then(|count| start.checked_add(count));
                    let shared = end.and_then(|end| like.parts.get(start..end)).ok_or_else(missing)?;
                    if shared.iter().any(Part::is_memory) || like.spec.schema != self.spec.schema {
                        return Err(missing());
                    }
                    parts.extend_from_slice(shared);
                }
            }
        }
        let ascend = parts.windows(2).all(|pair| pair[0].ids().last() < pair[1].ids().first());
        let ends = parts.last().is_none_or(|last| last.ids().last() < Some(self.next_row));
        let filled = parts.iter().all(|part| part.ids().count() > 0);
        if !ascend || !ends || !filled || self.next_row >= super::PROVISIONAL {
            return Err("row ids do not ascend".to_owned());
        }
        table.rows = parts.iter().map(|part| part.rows() as u64).sum();
        (table.version, table.next_row, table.parts) = (self.version, self.next_row, Arc::new(parts));
        Ok(table)
    }

    fn encode(&self, out: &mut Encoder) -> Result<()> {
        out.u64(self.id.0);
        out.spec(&self.spec);
        out.u64(self.spec_version);
        out.u64(self.version);
        out.u64(self.next_row);
        out.count(self.parts.len());
        for part in &self.parts {
            match part {
                PartSketch::Memory { ids, batch } => {
                    out.u8(MEMORY);
                    out.ids(ids);
                    batch.encode(out)?;
                }
                PartSketch::Segment { ids, attached } => {
                    out.u8(SEGMENT);
                    out.ids(ids);
                    attached.encode(out)?;
                }
                PartSketch::Run { first, count } => {
                    out.u8(RUN);
                    out.raw(&first.0.to_bytes());
                    out.u64(first.1);
                    out.u64(*count);
                }
            }
        }
        Ok(())
    }

    fn decode(from: &mut Decoder<'_>, segments: &Segments) -> Result<Self, Flaw> {
        let (id, spec) = (TableId(from.u64()?), Arc::new(from.spec()?));
        let (spec_version, version, next_row) = (from.u64()?, from.u64()?, from.u64()?);
        let parts = (0..from.count(10)?).map(|_| {
            Ok(match from.u8()? {
                MEMORY => {
                    let ids = from.ids()?;
                    PartSketch::Memory { ids, batch: Batch::Stored(Bytes::copy_from_slice(from.bytes()?)) }
                }
                SEGMENT => {
                    let ids = from.ids()?;
                    PartSketch::Segment { ids, attached: Box::new(Attached::decode(from, segments)?) }
                }
                RUN => {
                    let first = (Ulid::from_bytes(from.array()?), from.u64()?);
                    PartSketch::Run { first, count: from.u64()? }
                }
                tag => return Err(format!("a part of a table is of unknown kind {tag}")),
            })
        });
        let parts = parts.collect::<Result<_, Flaw>>()?;
        Ok(Self { id, spec, spec_version, version, next_row, parts })
    }
}
