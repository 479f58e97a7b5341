//! Manifests: a whole state as one checksummed file, and `CURRENT`, which names the newest. It refuses to believe a
//! byte that the checksum does not cover.

use std::collections::HashSet;
use std::sync::Arc;

use crc32c::crc32c;
use ulid::Ulid;

use super::codec::{Decoder, Encoder, Flaw};
use super::history::{History, Past};
use super::io::{Directory, corrupt};
use super::refs::{Branch, BranchId, Pin, Retention};
use super::rows::RowNumbers;
use super::segment::Segments;
use super::sketch::Sketch;
use super::state::State;
use super::tree::Tree;
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

/// A state and where the log goes on after it.
#[derive(Debug)]
pub(crate) struct Manifest {
    pub(crate) number: u64,
    /// The log file whose first record follows `state`.
    pub(crate) wal: u64,
    pub(crate) state: State,
    pub(crate) history: History,
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

    /// What later ones remember of it.
    pub(crate) fn past(&self) -> Past {
        let Self { number, wal, state, .. } = self;
        Past { manifest: *number, wal: *wal, version: state.version, time: state.time, bytes: 0 }
    }

    pub(crate) fn encode(&self, database: Ulid) -> Result<Vec<u8>> {
        let mut out = Encoder::default();
        out.raw(&database.to_bytes());
        out.u64(self.number);
        out.u64(self.wal);
        self.history.encode(&mut out);
        encode_state(&mut out, &self.state)?;
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
        let history = History::decode(&mut from)?;
        let state = decode_state(&mut from, segments)?;
        if !from.is_empty() {
            return Err("it goes on after its end".to_owned());
        }
        Ok(Self { number, wal, state, history })
    }
}

fn encode_state(out: &mut Encoder, state: &State) -> Result<()> {
    out.u64(state.lsn);
    out.u64(state.version);
    out.i64(state.time);
    state.retention.encode(out);
    state.numbers.encode(out);
    let trees = Order::of(state);
    out.count(trees.0.len());
    for (index, tree) in trees.0.iter().enumerate() {
        // The one before is the nearest: of the same branch and a little older.
        let before = index.checked_sub(1).and_then(|before| trees.0.get(before));
        Sketch::of(tree, before.map(AsRef::as_ref))?.encode(out)?;
    }
    out.u32(state.next_branch);
    out.u32(state.current.0);
    out.count(state.branches.size());
    for branch in state.branches.values() {
        out.u32(branch.id.0);
        out.bytes(branch.name.as_bytes());
        out.u64(branch.parent.map_or(0, |parent| u64::from(parent.0) + 1));
        out.u64(branch.from);
        out.i64(branch.created);
        out.u64(branch.moved);
        out.u64(trees.place(&branch.tree));
    }
    out.count(state.pins.size());
    for (name, pin) in &state.pins {
        out.bytes(name.as_bytes());
        out.u32(pin.branch.0);
        out.u64(trees.place(&pin.tree));
    }
    Ok(())
}

fn decode_state(from: &mut Decoder<'_>, segments: &Segments) -> Result<State, Flaw> {
    let (lsn, version, time) = (from.u64()?, from.u64()?, from.i64()?);
    let mut state = State { lsn, version, ..State::new(Retention::decode(from)?, time) };
    state.numbers = RowNumbers::decode(from)?;
    let mut trees: Vec<Arc<Tree>> = Vec::new();
    for _ in 0..from.count(40)? {
        let tree = Sketch::decode(from, segments)?.realize(trees.last().map(AsRef::as_ref))?;
        trees.push(Arc::new(tree));
    }
    let tree = |place: u64| {
        let tree = usize::try_from(place).ok().and_then(|place| trees.get(place));
        tree.cloned().ok_or_else(|| "it names a tree that is not in it".to_owned())
    };
    (state.next_branch, state.current) = (from.u32()?, BranchId(from.u32()?));
    for _ in 0..from.count(48)? {
        let id = BranchId(from.u32()?);
        let name = from.text()?.into();
        let parent = u32::try_from(from.u64()?).map_err(|_| "a branch is out of bounds")?.checked_sub(1).map(BranchId);
        let (from_version, created, moved) = (from.u64()?, from.i64()?, from.u64()?);
        let tree = tree(from.u64()?)?;
        if id.0 >= state.next_branch {
            return Err("a branch is out of bounds".to_owned());
        }
        state.branches.insert_mut(id, Arc::new(Branch { id, name, parent, from: from_version, created, moved, tree }));
    }
    for _ in 0..from.count(20)? {
        let name = from.text()?.into();
        let branch = BranchId(from.u32()?);
        state.pins.insert_mut(name, Pin { branch, tree: tree(from.u64()?)? });
    }
    Ok(state)
}

/// The trees of a state in the order in which they are written.
struct Order(Vec<Arc<Tree>>);

impl Order {
    fn of(state: &State) -> Self {
        let heads = state.branches.values().map(|branch| (branch.id, &branch.tree));
        let pins = state.pins.values().map(|pin| (pin.branch, &pin.tree));
        let mut all: Vec<_> = heads.chain(pins).collect();
        all.sort_by_key(|(branch, tree)| (*branch, tree.version));
        let mut known = HashSet::new();
        Self(
            all.into_iter().filter(|(_, tree)| known.insert(Arc::as_ptr(tree))).map(|(_, tree)| tree.clone()).collect(),
        )
    }

    fn place(&self, tree: &Arc<Tree>) -> u64 {
        self.0.iter().position(|known| Arc::ptr_eq(known, tree)).unwrap_or(usize::MAX) as u64
    }
}

/// Names the newest manifest.
pub(crate) fn write_current(directory: &Directory, number: u64) -> Result<()> {
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
