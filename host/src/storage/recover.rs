//! From files to the newest state: creating a database, opening one, and catching up with what others appended. It
//! repairs one thing only, a torn tail of the log; everything else that is wrong is an error that names the file.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rpds::RedBlackTreeSetSync;
use ulid::Ulid;

use super::history::{History, Past};
use super::index;
use super::io::{Directory, Mode, corrupt};
use super::manifest::{self, Manifest};
use super::record::{Kind, Record, decode};
use super::refs::Retention;
use super::segment::{self, SegmentFile, Segments};
use super::state::State;
use super::table::Table;
use super::tree::Tree;
use super::wal::{self, Next, WalFile};
use crate::error::{Error, Result, codes};

/// How often a file may vanish under us before we believe that it is missing: another process may be checkpointing.
const ATTEMPTS: usize = 16;

/// The files of an open database.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) directory: Directory,
    pub(crate) segments: Arc<Segments>,
    pub(crate) database: Ulid,
    pub(crate) is_read_only: bool,
}

/// The newest state that this process knows, and where in the log it stands.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) state: Arc<State>,
    /// `None` in memory.
    pub(crate) log: Option<Position>,
}

/// A place in the log.
#[derive(Clone, Debug)]
pub(crate) struct Position {
    pub(crate) wal: WalFile,
    pub(crate) offset: u64,
    /// The manifest from which the log is read.
    pub(crate) manifest: u64,
    /// The first log file that the manifest does not cover, and bytes in files from there to before this one.
    pub(crate) first: u64,
    pub(crate) bytes_before: u64,
    /// That manifest as one from which old versions are read, and those before it.
    pub(crate) base: Past,
    pub(crate) history: Arc<History>,
    /// Every segment that a version since that manifest may need.
    pub(crate) seen: RedBlackTreeSetSync<Ulid>,
}

impl Position {
    /// Bytes that a recovery would have to read.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes_before + self.offset
    }
}

impl Position {
    /// At the beginning of the log after a manifest.
    pub(crate) fn after(manifest: &Manifest, wal: WalFile) -> Self {
        let mut seen = RedBlackTreeSetSync::new_sync();
        files_of(&manifest.state).iter().for_each(|file| seen.insert_mut(file.id));
        Self {
            wal,
            offset: wal::HEADER,
            manifest: manifest.number,
            first: manifest.wal,
            bytes_before: 0,
            base: manifest.past(),
            history: Arc::new(manifest.history.clone()),
            seen,
        }
    }

    /// A record was added to the log.
    pub(crate) fn saw(&mut self, record: &Record) {
        record.segments().for_each(|file| self.seen.insert_mut(file.id));
    }
}

/// Whether nobody can be appending while we read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writers {
    /// We hold the writer lock: what is not a whole record is a torn tail or damage.
    Excluded,
    /// Records up to this number are durable, and only they are wanted; with the greatest number it is not known which
    /// are, all are wanted, and what is not a whole record may become one.
    Possible { until: u64 },
}

impl Writers {
    fn wants(self, lsn: u64) -> bool {
        !matches!(self, Self::Possible { until } if lsn > until)
    }
}

/// What catching up found.
#[derive(Debug, Default)]
pub(crate) struct CaughtUp {
    pub(crate) records: u64,
    /// Something stands at the end of the log that is not a record.
    pub(crate) has_tail: bool,
    pub(crate) warnings: Vec<String>,
}

/// Makes an empty database; the caller holds the writer lock. A crash on the way leaves what `is_unfinished` knows.
pub(crate) fn create(directory: &Directory, retention: Retention) -> Result<Ulid> {
    let database = Ulid::generate();
    for folder in [wal::FOLDER, manifest::FOLDER, segment::FOLDER, index::FOLDER] {
        directory.create_dir(folder)?;
    }
    WalFile::create(directory, database, 1, 1)?;
    let state = State::new(retention, now());
    Manifest { number: 1, wal: 1, state, history: History::default() }.write(directory, database)?;
    manifest::write_format(directory, database)?;
    Ok(database)
}

/// Microseconds since 1970 (UTC), as the clock says.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// Whether a directory without a format is one that `create` was interrupted in: it holds nothing that a user or a
/// database could miss.
pub(crate) fn is_unfinished(directory: &Directory) -> Result<bool> {
    let known =
        ["CURRENT", "CURRENT.tmp", "FORMAT.tmp", "indexes", "lock", "lock.fold", "manifests", "segments", "shm", "wal"];
    let names = directory.list("")?;
    if !names.iter().all(|name| known.contains(&name.as_str())) {
        return Ok(false);
    }
    let inside = |folder: &str| match names.iter().any(|name| name == folder) {
        true => directory.list(folder),
        false => Ok(Vec::new()),
    };
    let log = inside(wal::FOLDER)?;
    let is_log_empty = match log.as_slice() {
        [] => true,
        [only] if *only == "00000001.wal" => directory.open(&wal::name(1), Mode::Read)?.len()? <= wal::HEADER,
        _ => false,
    };
    let manifests = inside(manifest::FOLDER)?;
    let is_first = manifests.iter().all(|name| *name == manifest::name(1) || *name == manifest::name(1) + ".tmp");
    Ok(is_log_empty && is_first && inside(segment::FOLDER)?.is_empty())
}

/// Reads the newest manifest, and stands at the beginning of the log after it.
pub(crate) fn load(files: &Files) -> Result<Head> {
    let mut seen = None;
    for _ in 0..ATTEMPTS {
        let number = manifest::read_current(&files.directory)?;
        let number = number.ok_or_else(|| corrupt("CURRENT", "it is missing"))?;
        let manifest = Manifest::read(&files.directory, files.database, number, &files.segments)?;
        let missing = if let Some(manifest) = manifest {
            match WalFile::open(&files.directory, files.database, manifest.wal, files.is_read_only)? {
                Some(wal) => {
                    let position = Position::after(&manifest, wal);
                    return Ok(Head { state: Arc::new(manifest.state), log: Some(position) });
                }
                None => wal::name(manifest.wal),
            }
        } else {
            format!("{}/{}", manifest::FOLDER, manifest::name(number))
        };
        // Removed by a checkpoint of another process, or really missing: then `CURRENT` still says so next time.
        if seen == Some(number) {
            return Err(corrupt(&missing, "it is missing"));
        }
        seen = Some(number);
    }
    Err(Error::new(codes::LOCKED, "the database changes too fast to be opened").help("try again"))
}

/// Applies what others appended to the log since `head`, and maps the segments that came with it.
pub(crate) fn catch_up(files: &Files, head: &mut Head, writers: Writers) -> Result<CaughtUp> {
    let mut found = CaughtUp::default();
    for attempt in 0..ATTEMPTS {
        let mut next = head.clone();
        replay(files, &mut next, writers, &mut found)?;
        if found.records == 0 && attempt == 0 {
            return Ok(found);
        }
        *head = next;
        if map_segments(&head.state) {
            break;
        }
        // A segment is gone. Either another process replaced it, which the log then says, or it is really missing,
        // which whoever reads it is told.
    }
    Ok(found)
}

fn replay(files: &Files, head: &mut Head, writers: Writers, found: &mut CaughtUp) -> Result<()> {
    loop {
        let Some(position) = &mut head.log else { return Ok(()) };
        if !writers.wants(head.state.lsn + 1) {
            return Ok(());
        }
        if position.wal.file.len()? < position.offset {
            let message = "another process cut the log back after a failed write; the database must be opened again";
            return Err(Error::new(codes::POISONED, message));
        }
        let bytes = position.wal.file.read_from(position.offset)?;
        let name = position.wal.file.name.clone();
        let mut at = 0;
        let rotated = loop {
            if !writers.wants(head.state.lsn + 1) {
                break false;
            }
            let record = match wal::next(&bytes[at..]) {
                Next::Record(record) => record,
                Next::End => break false,
                Next::Bad(flaw) => {
                    tail(files, head, &bytes[at..], &flaw, writers, found)?;
                    break false;
                }
            };
            let wal::Stamp { lsn, time, branch, kind, .. } = record.stamp;
            if lsn != head.state.lsn + 1 {
                return Err(corrupt(&name, &format!("record {lsn} follows record {}", head.state.lsn)));
            }
            at += record.length;
            position.offset += record.length as u64;
            let operations = decode(record.payload, &files.segments);
            let operations = operations.map_err(|flaw| corrupt(&name, &format!("record {lsn}: {flaw}")))?;
            let record = Record { lsn, branch, kind, time, operations };
            position.saw(&record);
            let next = head.state.apply(&record);
            head.state = Arc::new(next.map_err(|error| corrupt(&name, error.message()))?);
            found.records += 1;
            if record.kind == Kind::Rotate {
                break true;
            }
        };
        if !rotated {
            return Ok(());
        }
        follow(files, head)?;
    }
}

/// Goes on with the log file after one that is complete.
fn follow(files: &Files, head: &mut Head) -> Result<()> {
    let Some(position) = &mut head.log else { return Ok(()) };
    let number = position.wal.number + 1;
    if let Some(wal) = WalFile::open(&files.directory, files.database, number, files.is_read_only)? {
        if !files.is_read_only {
            // Whoever wrote the end of the old file may have been killed before it was durable.
            position.wal.file.sync()?;
        }
        position.bytes_before += position.offset;
        (position.wal, position.offset) = (wal, wal::HEADER);
        return Ok(());
    }
    // A later checkpoint removed it, and has all that was in it.
    let newer = load(files)?;
    if newer.state.lsn < head.state.lsn {
        return Err(corrupt(&wal::name(number), "it is missing"));
    }
    *head = newer;
    Ok(())
}

/// Deals with bytes at the end of the log that are not a record.
fn tail(files: &Files, head: &Head, bytes: &[u8], flaw: &str, writers: Writers, found: &mut CaughtUp) -> Result<()> {
    found.has_tail = true;
    let Some(position) = &head.log else { return Ok(()) };
    match writers {
        Writers::Possible { until: u64::MAX } => return Ok(()),
        Writers::Possible { .. } => return Err(corrupt(&position.wal.file.name, flaw)),
        Writers::Excluded => {}
    }
    if is_followed(files, position)? || wal::was_durable(bytes, head.state.lsn + 1) {
        return Err(corrupt(&position.wal.file.name, flaw));
    }
    found.warnings.push(format!(
        "dropped the last {} bytes of `{}`, a record that was never acknowledged or was damaged: {flaw}",
        bytes.len(),
        position.wal.file.name
    ));
    if !files.is_read_only {
        position.wal.file.set_len(position.offset)?;
        position.wal.file.sync()?;
    }
    found.has_tail = false;
    Ok(())
}

/// Whether there are records in the file after the last one that we know of: then this one lacks its end.
pub(crate) fn is_followed(files: &Files, position: &Position) -> Result<bool> {
    let later = files.directory.open_if_there(&wal::name(position.wal.number + 1))?;
    Ok(later.map_or(Ok(0), |later| later.len())? > wal::HEADER)
}

/// Maps every segment of a state, so that it stays readable whatever other processes remove; says whether all were there.
fn map_segments(state: &State) -> bool {
    map_files(files_of(state))
}

/// Likewise for a tree.
pub(crate) fn map_tree(tree: &Tree) -> bool {
    map_files(files_in(tree.tables.values()))
}

fn map_files(files: Vec<Arc<SegmentFile>>) -> bool {
    files.into_iter().all(|file| match (file.frame(), file.is_mapped()) {
        (Some(frame), false) => match file.map(frame.length) {
            Ok(()) => true,
            // Whatever else is wrong with it, its reader is told.
            Err(_) => file.is_there(),
        },
        _ => true,
    })
}

/// The segment files of a state, each once.
pub(crate) fn files_of(state: &State) -> Vec<Arc<SegmentFile>> {
    files_in(state.tables().into_iter())
}

fn files_in<'a>(tables: impl Iterator<Item = &'a Arc<Table>>) -> Vec<Arc<SegmentFile>> {
    let mut files: Vec<Arc<SegmentFile>> = Vec::new();
    let mut known = HashSet::new();
    for table in tables {
        for (file, _) in table.parts.iter().filter_map(|part| part.stored()) {
            if known.insert(file.id) {
                files.push(file.clone());
            }
        }
    }
    files
}

/// Reads the log of a database that is being opened, and makes durable what was read, unless `durable` says that it is.
/// With the writer lock, a torn tail is cut off. Returns warnings.
pub(crate) fn settle(files: &Files, head: &mut Head, durable: Option<u64>, writers: Writers) -> Result<Vec<String>> {
    let mut known = head.clone();
    let is_known = durable.is_none_or(|until| {
        // What is wrong with it, the next lines find.
        catch_up(files, &mut known, Writers::Possible { until }).is_ok()
    });
    if is_known {
        *head = known.clone();
    }
    let found = catch_up(files, head, writers)?;
    if durable.is_some_and(|lsn| lsn >= head.state.lsn) {
        return Ok(found.warnings);
    }
    let (Some(position), Some(known)) = (&head.log, &known.log) else { return Ok(found.warnings) };
    if !files.is_read_only && writers == Writers::Excluded {
        // A failed sync may have left bytes that the system shows and takes for written. So they are written again.
        let is_same = is_known && known.wal.number == position.wal.number;
        let from = if is_same { known.offset } else { wal::HEADER };
        let bytes = position.wal.file.read_from(from)?;
        position.wal.file.write_at(&bytes, from)?;
    }
    position.wal.file.sync()?;
    Ok(found.warnings)
}

/// Maps what `load` found, too, which no record brought.
pub(crate) fn map_loaded(files: &Files, head: &mut Head) -> Result<()> {
    for _ in 0..ATTEMPTS {
        if map_segments(&head.state) || catch_up(files, head, Writers::Possible { until: head.state.lsn })?.records == 0
        {
            break;
        }
    }
    Ok(())
}

/// The segments that were needed since the newest manifest and are not any more, and the bytes in them.
pub(crate) fn died(files: &Files, position: &Position, state: &State) -> Result<(Vec<Ulid>, u64)> {
    let live: HashSet<Ulid> = files_of(state).iter().map(|file| file.id).collect();
    let (mut died, mut bytes) = (Vec::new(), 0);
    for &id in position.seen.iter().filter(|id| !live.contains(id)) {
        if let Some(file) = files.directory.open_if_there(&segment::file_name(id))? {
            died.push(id);
            bytes += file.len()?;
        }
    }
    Ok((died, bytes))
}

/// Segments to which no branch, pin, running transaction or version that is kept refers, and log files and manifests
/// that no such version needs. The caller holds the writer lock, has caught up and knows the newest manifest.
pub(crate) fn left_over(files: &Files, head: &Head) -> Result<Vec<String>> {
    let directory = &files.directory;
    let mut left_over = Vec::new();
    let Some(position) = &head.log else { return Ok(left_over) };
    let history = &position.history;
    let mut used: HashSet<Ulid> = files_of(&head.state).iter().map(|file| file.id).collect();
    used.extend(history.dead.keys());
    if head.state.retention.is_some() {
        used.extend(position.seen.iter());
    }
    let used: HashSet<String> = used.iter().map(|id| segment::file_name(*id)).collect();
    for name in directory.list(segment::FOLDER)? {
        let path = format!("{}/{name}", segment::FOLDER);
        if used.contains(&path) {
            continue;
        }
        // A transaction that is writing it holds its lock.
        if directory.open_if_there(&path)?.map_or(Ok(false), |file| file.try_lock())? {
            left_over.push(path);
        }
    }
    let gone: HashSet<&String> = left_over.iter().collect();
    let segments = directory.list(segment::FOLDER)?.into_iter();
    let segments = segments.filter(|name| !gone.contains(&format!("{}/{name}", segment::FOLDER)));
    let segments: HashSet<Ulid> =
        segments.filter_map(|name| Ulid::from_string(name.strip_suffix(".arrow")?).ok()).collect();
    left_over.extend(index::left_over(directory, &segments));
    let needed = history.past.iter().map(|past| past.manifest).chain([position.manifest]);
    let needed: HashSet<String> = needed.map(manifest::name).collect();
    let first = history.past.first().map_or(position.first, |past| past.wal);
    let manifests = directory.list(manifest::FOLDER)?.into_iter();
    left_over
        .extend(manifests.filter(|name| !needed.contains(name)).map(|name| format!("{}/{name}", manifest::FOLDER)));
    let logs = directory.list(wal::FOLDER)?.into_iter();
    left_over.extend(
        logs.filter(|name| wal::number(name).is_some_and(|number| number < first))
            .map(|name| format!("{}/{name}", wal::FOLDER)),
    );
    Ok(left_over)
}
