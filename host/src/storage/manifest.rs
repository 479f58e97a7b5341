//! Manifests: a whole state as one checksummed file, and `CURRENT`, which names the newest. It refuses to believe a
//! byte that the checksum does not cover.

use std::sync::Arc;

use bytes::Bytes;
use crc32c::crc32c;
use ulid::Ulid;

use super::codec::{Decoder, Encoder, Flaw};
use super::io::{Directory, corrupt};
use super::keys::KeyIndexes;
use super::part::Part;
use super::record::Attached;
use super::rows::RowIds;
use super::segment::Segments;
use super::spec::TableId;
use super::state::{Entry, State};
use super::table::Table;
use crate::error::{Error, Result, codes};

/// The folder of manifests.
pub(crate) const FOLDER: &str = "manifests";
const CURRENT: &str = "CURRENT";
const FORMAT: &str = "FORMAT";

const MAGIC: &[u8; 8] = b"KDKMAN01";
const CURRENT_MAGIC: &[u8; 8] = b"KDKCUR01";
const FORMAT_MAGIC: &[u8; 8] = b"KODIAKDB";

/// The version of the file format that this program writes, and the newest that it reads.
pub(crate) const FORMAT_VERSION: u32 = 1;

const MEMORY: u8 = 0;
const SEGMENT: u8 = 1;

/// A state and where the log goes on after it.
#[derive(Debug)]
pub(crate) struct Manifest {
    pub(crate) number: u64,
    /// The log file whose first record follows `state`.
    pub(crate) wal: u64,
    pub(crate) state: State,
}

/// The name of a manifest within its folder.
pub(crate) fn name(number: u64) -> String {
    format!("{number:08}")
}

impl Manifest {
    /// Writes it, durable and as a whole, and makes it the current one.
    pub(crate) fn write(&self, directory: &Directory, database: Ulid) -> Result<()> {
        directory.replace(FOLDER, &name(self.number), &self.encode(database)?)?;
        write_current(directory, self.number)
    }

    pub(crate) fn encode(&self, database: Ulid) -> Result<Vec<u8>> {
        let mut out = Encoder::default();
        out.raw(&database.to_bytes());
        out.u64(self.number);
        out.u64(self.wal);
        out.u64(self.state.lsn);
        out.u64(self.state.version);
        out.count(self.state.tables.size());
        for table in self.state.tables.values() {
            encode_table(&mut out, table)?;
        }
        out.count(self.state.entries.size());
        for (key, entry) in &self.state.entries {
            out.bytes(key);
            out.bytes(&entry.value);
            out.u64(entry.version);
        }
        let payload = out.finish();
        let mut file = Encoder::default();
        file.raw(MAGIC);
        file.u32(crc32c(&payload));
        file.u32(0);
        file.bytes(&payload);
        Ok(file.finish())
    }

    /// Reads the manifest with this number; `None` if it is not there.
    pub(crate) fn read(
        directory: &Directory,
        database: Ulid,
        number: u64,
        segments: &Segments,
    ) -> Result<Option<Self>> {
        let file = format!("{FOLDER}/{}", name(number));
        let Some(bytes) = directory.read(&file)? else { return Ok(None) };
        let manifest = Self::decode(&bytes, database, segments).map_err(|flaw| corrupt(&file, &flaw))?;
        if manifest.number != number {
            return Err(corrupt(&file, &format!("it is number {}", manifest.number)));
        }
        Ok(Some(manifest))
    }

    pub(crate) fn decode(bytes: &[u8], database: Ulid, segments: &Segments) -> Result<Self, Flaw> {
        let mut from = Decoder::new(bytes);
        if from.raw(8)? != MAGIC {
            return Err("it is not a manifest".to_owned());
        }
        let checksum = from.u32()?;
        from.u32()?;
        let payload = from.bytes()?;
        if crc32c(payload) != checksum || !from.is_empty() {
            return Err("its checksum does not match".to_owned());
        }
        Self::decode_payload(payload, database, segments)
    }

    pub(crate) fn decode_payload(payload: &[u8], database: Ulid, segments: &Segments) -> Result<Self, Flaw> {
        let mut from = Decoder::new(payload);
        if from.array()? != database.to_bytes() {
            return Err("it belongs to another database".to_owned());
        }
        let (number, wal) = (from.u64()?, from.u64()?);
        let mut state = State { lsn: from.u64()?, version: from.u64()?, ..State::empty() };
        for _ in 0..from.count(48)? {
            let table = decode_table(&mut from, segments)?;
            state.tables.insert_mut(table.id, Arc::new(table));
        }
        for _ in 0..from.count(24)? {
            let key = Bytes::copy_from_slice(from.bytes()?);
            let value = Bytes::copy_from_slice(from.bytes()?);
            state.entries.insert_mut(key, Entry { value, version: from.u64()? });
        }
        if !from.is_empty() {
            return Err("it goes on after its end".to_owned());
        }
        Ok(Self { number, wal, state })
    }
}

fn encode_table(out: &mut Encoder, table: &Table) -> Result<()> {
    out.u64(table.id.0);
    out.spec(&table.spec);
    out.u64(table.spec_version);
    out.u64(table.version);
    out.u64(table.next_row);
    let all: Vec<usize> = (0..table.spec.schema.fields().len()).collect();
    out.count(table.parts.len());
    for part in table.parts.iter() {
        match Attached::of(part) {
            Some(attached) => {
                out.u8(SEGMENT);
                out.ids(part.ids());
                attached.encode(out)?;
            }
            None => {
                out.u8(MEMORY);
                out.ids(&RowIds::collect(part.live_ids()));
                out.batch(&part.read(&all)?)?;
            }
        }
    }
    Ok(())
}

fn decode_table(from: &mut Decoder<'_>, segments: &Segments) -> Result<Table, Flaw> {
    let id = TableId(from.u64()?);
    let spec = Arc::new(from.spec()?);
    let (spec_version, version, next_row) = (from.u64()?, from.u64()?, from.u64()?);
    let wrong = |error: Error| error.message().to_owned();
    let mut table = Table::new(id, spec.clone(), spec_version).map_err(wrong)?;
    let fields = spec.schema.fields().len();
    let mut parts: Vec<Part> = Vec::new();
    for _ in 0..from.count(10)? {
        let tag = from.u8()?;
        let ids = from.ids()?;
        let part = match tag {
            SEGMENT => {
                let attached = Attached::decode(from, segments)?;
                let columns = attached.columns.as_ref().map_or(attached.group.columns.len(), Vec::len);
                if ids.count() != u64::from(attached.group.rows) || columns != fields {
                    return Err("a row group does not fit its table".to_owned());
                }
                attached.part(ids, &spec.schema)
            }
            MEMORY => {
                let batch = table.conform(&from.batch(&spec.schema)?).map_err(wrong)?;
                if ids.count() != batch.num_rows() as u64 {
                    return Err("rows and their ids do not match".to_owned());
                }
                let keys = KeyIndexes::new(table.learn_keys(&batch).map_err(wrong)?);
                Part::memory(ids, batch, keys, spec.schema.clone())
            }
            tag => return Err(format!("a part of a table is of unknown kind {tag}")),
        };
        let after = parts.last().is_none_or(|last| last.ids().last() < part.ids().first());
        if !after || part.ids().last() >= Some(next_row) {
            return Err("row ids do not ascend".to_owned());
        }
        table.rows += part.rows() as u64;
        parts.push(part);
    }
    (table.version, table.next_row, table.parts) = (version, next_row, Arc::new(parts));
    Ok(table)
}

/// Names the newest manifest.
fn write_current(directory: &Directory, number: u64) -> Result<()> {
    let mut out = Encoder::default();
    out.raw(CURRENT_MAGIC);
    out.u64(number);
    let mut bytes = out.finish();
    bytes.extend_from_slice(&crc32c(&bytes).to_le_bytes());
    directory.replace("", CURRENT, &bytes)
}

/// The number of the newest manifest; `None` if there never was one.
pub(crate) fn read_current(directory: &Directory) -> Result<Option<u64>> {
    let Some(bytes) = directory.read(CURRENT)? else { return Ok(None) };
    let parse = || -> Result<Option<u64>, Flaw> {
        let mut from = Decoder::new(&bytes);
        let head = from.raw(16)?;
        let is_good = crc32c(head) == from.u32()? && from.is_empty() && head.starts_with(CURRENT_MAGIC);
        is_good.then(|| Decoder::new(&head[8..]).u64()).transpose()
    };
    match parse() {
        Ok(Some(number)) => Ok(Some(number)),
        _ => Err(corrupt(CURRENT, "it names no manifest")),
    }
}

/// Makes a directory a database.
pub(crate) fn write_format(directory: &Directory, database: Ulid) -> Result<()> {
    let mut out = Encoder::default();
    out.raw(FORMAT_MAGIC);
    out.u32(FORMAT_VERSION);
    out.raw(&database.to_bytes());
    let mut bytes = out.finish();
    bytes.extend_from_slice(&crc32c(&bytes).to_le_bytes());
    directory.replace("", FORMAT, &bytes)
}

/// The database's id; `None` if the directory is no database.
pub(crate) fn read_format(directory: &Directory) -> Result<Option<Ulid>> {
    let Some(bytes) = directory.read(FORMAT)? else { return Ok(None) };
    let mut from = Decoder::new(&bytes);
    if from.raw(8).ok() != Some(FORMAT_MAGIC) {
        return Err(Error::new(
            codes::NOT_A_DATABASE,
            format!("`{}` is not a Kodiak database", directory.root.display()),
        ));
    }
    let version = from.u32().unwrap_or_default();
    if version > FORMAT_VERSION {
        return Err(Error::new(
            codes::FORMAT_VERSION,
            format!("`{}` has format {version}, and this program knows {FORMAT_VERSION}", directory.root.display()),
        )
        .help("use a newer Kodiak"));
    }
    let id = from.array().map(Ulid::from_bytes);
    match (id, from.u32()) {
        (Ok(id), Ok(checksum)) if checksum == crc32c(&bytes[..28]) && from.is_empty() => Ok(Some(id)),
        _ => Err(corrupt(FORMAT, "its checksum does not match")),
    }
}
