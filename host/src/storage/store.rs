//! The store: one open database and the way in for everybody else. It opens and closes, and refuses to know what rows
//! mean or how a commit becomes durable.

use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

use super::backup;
use super::bulk::Target;
use super::check;
use super::checkpoint::Effort;
use super::commit::Shared;
use super::history::At;
use super::io::{Disk, System};
use super::manifest::FORMAT_VERSION;
use super::open;
use super::readers::Hold;
use super::recover;
use super::refs::Branch;
use super::refs::Retention;
use super::snapshot::Snapshot;
use super::spec::{Copied, Finding, Folded, Info, Options, TableId};
use super::txn::{Transaction, Work};
use super::worker::Worker;
use crate::error::{Error, Result, codes};

pub(crate) mod versions;

/// An open database. Clones share it, and the last one to go closes it.
#[derive(Clone, Debug)]
pub struct Store(Arc<Handle>);

/// The last one to go ends the worker, and closes.
#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
    worker: Worker,
}

impl Store {
    /// Opens the database in a directory.
    ///
    /// # Errors
    /// `NOT_A_DATABASE` when something else is there or nothing is there to open, `FORMAT_VERSION`, `CORRUPT` naming
    /// the file, `LOCKED` on a file system that cannot lock, `IO`.
    pub fn open(path: &Path, options: &Options) -> Result<Self> {
        Self::open_on(Arc::new(System), path, options)
    }

    /// A database that lives as long as this value.
    ///
    /// # Errors
    /// None today.
    pub fn memory() -> Result<Self> {
        Ok(Self::of(open::memory()))
    }

    pub(crate) fn open_on(disk: Arc<dyn Disk>, path: &Path, options: &Options) -> Result<Self> {
        Ok(Self::of(open::open(disk, path, options)?))
    }

    fn of(shared: Shared) -> Self {
        let shared = Arc::new(shared);
        Self(Arc::new(Handle { worker: Worker::new(shared.clone()), shared }))
    }

    /// Where the database lies; `None` in memory.
    pub fn path(&self) -> Option<&Path> {
        self.0.path.as_deref()
    }

    /// Whether it refuses every write.
    pub fn is_read_only(&self) -> bool {
        self.0.options.read_only
    }

    /// Sets how many bytes of columns are kept in memory after they were read from files; a file is read again for what
    /// was not kept.
    pub fn keep_hot(&self, bytes_max: u64) {
        if let Some(files) = &self.0.files {
            files.segments.hot.set_bytes_max(bytes_max);
        }
    }

    /// Begins a transaction on the newest version of the branch on which sessions begin, also of what other processes
    /// committed.
    ///
    /// # Errors
    /// `CORRUPT` or `IO` when what other processes wrote cannot be read.
    pub fn begin(&self) -> Result<Transaction> {
        self.begin_on("")
    }

    /// Begins a transaction on the newest version of a branch; no name means the one on which sessions begin.
    ///
    /// # Errors
    /// `NO_OBJECT` when there is no such branch, and as `begin`.
    pub fn begin_on(&self, branch: &str) -> Result<Transaction> {
        let (newest, hold) = self.0.read()?;
        let base = newest.branch_or_current(branch)?;
        Ok(Transaction::new(self.clone(), newest.clone(), base.clone(), hold, self.is_read_only()))
    }

    /// The newest version of any branch that this process has seen; `begin` looks for newer ones.
    pub fn version(&self) -> u64 {
        self.0.newest().version
    }

    /// Facts about the database.
    ///
    /// # Errors
    /// `IO` when the log cannot be read.
    pub fn info(&self) -> Result<Info> {
        self.0.refresh()?;
        let head = self.0.head().clone();
        let state = self.0.newest();
        let files = recover::files_of(&state);
        let main = state.main()?;
        Ok(Info {
            path: self.0.path.clone(),
            id: self.0.files.as_ref().map(|files| files.database.to_string()).unwrap_or_default(),
            format: FORMAT_VERSION,
            version: main.version,
            newest: state.version,
            branches: state.branches.size() as u64,
            tables: main.tables.size() as u64,
            rows: main.tables.values().map(|table| table.rows).sum(),
            entries: main.entries.size() as u64,
            segments: files.len() as u64,
            segment_bytes: files.iter().filter_map(|file| Some(file.frame()?.length)).sum(),
            wal_bytes: head.log.as_ref().map_or(0, recover::Position::bytes),
            manifest: head.log.as_ref().map_or(0, |position| position.manifest),
            readers: self.0.shm.as_ref().map_or(0, |shm| shm.reading() as u64),
        })
    }

    /// Folds the log into segments and a manifest and gives space back; in memory there is nothing to fold.
    ///
    /// # Errors
    /// `IO` or `NO_SPACE` when files cannot be written; the database is then as it was.
    pub fn checkpoint(&self) -> Result<()> {
        self.0.checkpoint(Effort::Usual).map(drop)
    }

    /// Likewise, and writes hollow and small row groups again, of one table or of all. For all, it also lets go of every
    /// version that neither a branch nor a pin holds: otherwise no space would be given back for a long time.
    ///
    /// # Errors
    /// As [`Store::checkpoint`].
    pub fn vacuum(&self, table: Option<TableId>) -> Result<Folded> {
        if table.is_some() {
            return self.0.checkpoint(Effort::Thorough(table));
        }
        self.forget_remembered();
        self.0.checkpoint_keeping(Effort::Thorough(None), Some(Retention::NONE))
    }

    /// Copies the database, as it is now, into a directory that is not there yet or holds an earlier backup of it; what
    /// that has already is not copied again. Others go on reading and writing. A backup opens as a database that
    /// refuses to be changed.
    ///
    /// # Errors
    /// `EXISTS` when something else is there, `LOCKED` when another process writes the same backup, `IO`, `NO_SPACE`;
    /// an earlier backup is then as it was.
    pub fn backup(&self, to: &Path) -> Result<Copied> {
        self.0.backup(to)
    }

    /// Makes a database of a backup at a path at which nothing is yet.
    ///
    /// # Errors
    /// `NOT_A_DATABASE` when there is no backup, `EXISTS`, `IO`, `NO_SPACE`.
    pub fn restore_to(backup: &Path, to: &Path) -> Result<Copied> {
        let disk: Arc<dyn Disk> = Arc::new(System);
        backup::restore_to(&disk, backup, to)
    }

    /// Gives the main branch the contents of a backup, at the newest of its versions or at one that it keeps, as a commit
    /// of its own: readers keep what they see, and the version before can be read as any old one. Returns the new version,
    /// and the one that it is a copy of.
    ///
    /// # Errors
    /// `NOT_A_DATABASE` when there is no backup, those of finding an old version, `READ_ONLY`, `IO`, `NO_SPACE`.
    pub fn restore(&self, backup: &Path, at: Option<At>) -> Result<(u64, u64)> {
        let disk = match &self.0.files {
            Some(files) => files.directory.disk.clone(),
            None => return Err(Error::new(codes::UNSUPPORTED, "a database in memory cannot be restored")),
        };
        backup::require(&disk, backup)?;
        let backup = Self::open_on(disk, backup, &Options { read_only: true, ..Options::default() })?;
        let snapshot = match at {
            None => backup.snapshot()?,
            Some(at) => backup.snapshot_at("main", at)?,
        };
        let version = self.0.adopt(&backup.0, snapshot.tree())?;
        Ok((version, snapshot.version()))
    }

    /// Verifies every file that the newest version needs, and says what is wrong; in memory there are none.
    ///
    /// # Errors
    /// `IO` when a file cannot be read at all.
    pub fn check(&self) -> Result<Vec<Finding>> {
        let Some(files) = &self.0.files else { return Ok(Vec::new()) };
        check::check(files, &self.0.lock)
    }

    /// What happened that the user should know, such as a torn last record that was dropped at open.
    pub fn warnings(&self) -> Vec<String> {
        self.0.warnings.all()
    }

    /// The newest version, also of what other processes committed, for whoever only reads.
    ///
    /// # Errors
    /// As [`Store::begin`].
    pub fn snapshot(&self) -> Result<Snapshot> {
        let (newest, hold) = self.0.read()?;
        Ok(Snapshot::held(newest.main()?.clone(), hold))
    }

    pub(crate) fn target(&self) -> Option<Target<'_>> {
        self.0.target()
    }

    pub(crate) fn commit(&self, base: &Branch, work: &Work, hold: Hold) -> Result<u64> {
        self.0.worker.wait_for_room();
        let version = self.0.commit(base, work)?;
        drop(hold);
        if work.drops_tables()
            && let Err(error) = self.0.sweep()
        {
            self.0.warnings.add(format!("space is not given back yet: {}", error.message()));
        }
        // The commit is done whatever becomes of this.
        self.0.worker.committed(work.deleted_rows());
        Ok(version)
    }

    /// Waits until nothing goes on in the background.
    #[cfg(test)]
    pub(crate) fn rest(&self) {
        self.0.worker.rest();
    }
}

impl Deref for Handle {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.shared
    }
}
