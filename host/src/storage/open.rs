//! Opening a database: making one if there is none, reading manifest and log, and dealing with what a crash left. It
//! refuses to wait for writers, except to make a new database.

use std::path::Path;
use std::sync::Arc;

use ulid::Ulid;

use super::ROWS_PER_GROUP;
use super::backup;
use super::commit::Shared;
use super::index;
use super::io::{Directory, Disk, Mode};
use super::lock::WriterLock;
use super::maintain;
use super::manifest;
use super::readers::Readers;
use super::recover::{self, Files, Head, Writers};
use super::refs::Retention;
use super::segment::{self, Segments};
use super::shm::{self, Shm};
use super::spec::Options;
use super::state::State;
use super::wal;
use crate::error::{Error, Result, codes};

/// The lock file of writers.
pub(crate) const LOCK: &str = "lock";

/// Opens what lies in a directory.
pub(crate) fn open(disk: Arc<dyn Disk>, path: &Path, options: &Options) -> Result<Shared> {
    let directory = Directory { disk, root: path.to_owned() };
    // A backup stays what it is.
    let is_read_only = options.read_only || backup::is_backup(&directory)?;
    let options = &Options { read_only: is_read_only, ..options.clone() };
    let (database, lock) = identify(&directory, options)?;
    let folding = if is_read_only { None } else { Some(directory.open(maintain::LOCK, Mode::Ensure)?) };
    let shm = match Shm::open(&directory, database) {
        Ok(shm) => Some(Arc::new(shm)),
        // Who may not write there still may read.
        Err(_) if is_read_only => None,
        Err(error) => return Err(error),
    };
    let readers = Arc::new(Readers::new(shm.clone()));
    // Until we know what we read, everything is needed.
    let hold = readers.enter(0);
    let segments = Arc::new(Segments::new(directory.clone(), options.hot_bytes_max));
    let files = Files { directory, segments, database, is_read_only };
    let (head, warnings) = read(&files, &lock, shm.as_deref())?;
    drop(hold);
    let options = Options { group_rows: options.group_rows.clamp(1, ROWS_PER_GROUP), ..options.clone() };
    let locks = [lock, WriterLock::new(folding)];
    let shared = Shared::new(Some(path.to_owned()), options, locks, Some(files), shm, readers, head);
    shared.warnings.extend(warnings);
    shared.sweep()?;
    Ok(shared)
}

/// Whether a name in a database's directory belongs to storage.
pub(crate) fn is_own(name: &str) -> bool {
    let own = ["CURRENT", "FORMAT", LOCK, maintain::LOCK, shm::NAME, backup::MARK, backup::LINE];
    let folders = [wal::FOLDER, manifest::FOLDER, segment::FOLDER, index::FOLDER];
    own.contains(&name) || folders.contains(&name)
}

/// A database in memory.
pub(crate) fn memory() -> Shared {
    let head = Head { state: Arc::new(State::new(Retention::default(), recover::now())), log: None };
    let locks = [WriterLock::new(None), WriterLock::new(None)];
    Shared::new(None, Options::default(), locks, None, None, Arc::new(Readers::new(None)), head)
}

/// The database's id, and its lock; makes a database if there is none.
fn identify(directory: &Directory, options: &Options) -> Result<(Ulid, WriterLock)> {
    let may_write = !options.read_only;
    let not_one = || {
        let message = format!("`{}` is not a Kodiak database", directory.root.display());
        Error::new(codes::NOT_A_DATABASE, message)
    };
    let mut database = manifest::read_format(directory)?;
    if database.is_none() {
        let is_there = directory.exists();
        if !(options.create && may_write) || (is_there && !recover::is_unfinished(directory).map_err(|_| not_one())?) {
            return Err(not_one());
        }
        directory.create_dir("")?;
    }
    let lock_mode = if may_write { Mode::Ensure } else { Mode::Read };
    let lock = WriterLock::new(Some(directory.open(LOCK, lock_mode)?));
    if database.is_none() {
        let _held = lock.hold()?;
        // Another process may have been quicker.
        database = manifest::read_format(directory)?;
        if database.is_none() {
            if !recover::is_unfinished(directory)? {
                return Err(not_one());
            }
            database = Some(recover::create(directory, options.retention)?);
        }
    }
    if may_write && manifest::read_current(directory)? == Some(1) {
        // Who made the database may have been killed before its name was durable.
        directory.sync_dir("")?;
        directory.sync_parent()?;
    }
    Ok((database.ok_or_else(not_one)?, lock))
}

/// The newest durable state. Whoever finds nobody writing also makes durable what a killed writer left.
fn read(files: &Files, lock: &WriterLock, shm: Option<&Shm>) -> Result<(Head, Vec<String>)> {
    let mut head = recover::load(files)?;
    let mut warnings = Vec::new();
    let said = shm.and_then(Shm::durable);
    let held = if files.is_read_only && said.is_some() { None } else { lock.try_hold()? };
    if let Some(_held) = held {
        warnings.extend(recover::settle(files, &mut head, said, Writers::Excluded)?);
        if let Some(shm) = shm {
            shm.limit_durable(head.state.lsn);
            shm.set_durable(head.state.lsn);
        }
    } else {
        let until = said.unwrap_or(u64::MAX);
        warnings.extend(recover::settle(files, &mut head, said, Writers::Possible { until })?);
        if let Some(shm) = shm {
            shm.set_durable(head.state.lsn);
        }
    }
    recover::map_loaded(files, &mut head)?;
    Ok((head, warnings))
}
