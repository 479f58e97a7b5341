//! The store: one open database and the way in for everybody else. It opens and closes, and refuses to know what rows
//! mean or how a commit becomes durable.

use std::path::Path;
use std::sync::Arc;

use super::bulk::Target;
use super::check;
use super::commit::Shared;
use super::io::{Disk, System};
use super::manifest::FORMAT_VERSION;
use super::open;
use super::readers::Hold;
use super::recover;
use super::refs::Branch;
use super::snapshot::Snapshot;
use super::spec::{Finding, Info, Options};
use super::txn::{Transaction, Work};
use crate::error::Result;

pub(crate) mod versions;

/// An open database. Clones share it, and the last one to go closes it.
#[derive(Clone, Debug)]
pub struct Store(Arc<Shared>);

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
        Ok(Self(Arc::new(open::memory())))
    }

    pub(crate) fn open_on(disk: Arc<dyn Disk>, path: &Path, options: &Options) -> Result<Self> {
        Ok(Self(Arc::new(open::open(disk, path, options)?)))
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
        })
    }

    /// Folds the log into segments and a manifest and gives space back; in memory there is nothing to fold.
    ///
    /// # Errors
    /// `IO` or `NO_SPACE` when files cannot be written; the database is then as it was.
    pub fn checkpoint(&self) -> Result<()> {
        self.0.checkpoint()
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
        let version = self.0.commit(base, work)?;
        drop(hold);
        if work.drops_tables()
            && let Err(error) = self.0.sweep()
        {
            self.0.warnings.add(format!("space is not given back yet: {}", error.message()));
        }
        if self.0.log_bytes() > self.0.options.wal_bytes_max {
            // The commit is done whatever becomes of this.
            self.0.checkpoint_or_warn();
        }
        Ok(version)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let is_due = self.log_bytes() > self.options.close_wal_bytes_max;
        if is_due && !self.is_poisoned() && !self.options.read_only {
            self.checkpoint_or_warn();
        }
    }
}
