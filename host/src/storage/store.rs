//! The store: one open database and the way in for everybody else. It orders commits, keeps the newest version, and
//! refuses to know what rows mean.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use super::record::Record;
use super::spec::{Finding, Info, Options};
use super::state::State;
use super::txn::{Transaction, Work};
use crate::error::{Error, Result, codes};

/// An open database. Clones share it.
#[derive(Clone, Debug)]
pub struct Store(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    options: Options,
    /// Held while a transaction is validated and appended.
    writer: Mutex<()>,
    newest: RwLock<Arc<State>>,
}

impl Store {
    /// A database that lives as long as this value.
    ///
    /// # Errors
    /// None today.
    pub fn memory() -> Result<Self> {
        Ok(Self(Arc::new(Shared {
            options: Options::default(),
            writer: Mutex::new(()),
            newest: RwLock::new(Arc::new(State::empty())),
        })))
    }

    /// Opens the database in a directory.
    ///
    /// # Errors
    /// `UNSUPPORTED` for now.
    pub fn open(path: &Path, options: &Options) -> Result<Self> {
        let _ = options;
        Err(Error::new(codes::UNSUPPORTED, format!("cannot open `{}` yet", path.display())))
    }

    /// Facts about the database.
    ///
    /// # Errors
    /// `IO` when the sizes of files cannot be read.
    pub fn info(&self) -> Result<Info> {
        let state = self.newest();
        Ok(Info {
            path: None,
            id: String::new(),
            format: 1,
            version: state.version,
            tables: state.tables.size() as u64,
            rows: state.tables.values().map(|table| table.rows).sum(),
            entries: state.entries.size() as u64,
            segments: 0,
            segment_bytes: 0,
            wal_bytes: 0,
            manifest: 0,
        })
    }

    /// Folds the log into segments and a manifest; in memory there is nothing to fold.
    ///
    /// # Errors
    /// `IO` or `NO_SPACE` when files cannot be written; the database is then as it was.
    pub fn checkpoint(&self) -> Result<()> {
        Ok(())
    }

    /// Verifies everything that can be verified, and says what is wrong; in memory there are no files to be wrong.
    ///
    /// # Errors
    /// `IO` when a file cannot be read at all.
    pub fn check(&self) -> Result<Vec<Finding>> {
        Ok(Vec::new())
    }

    /// What happened that the user should know, such as a torn last record that was dropped at open.
    pub fn warnings(&self) -> Vec<String> {
        Vec::new()
    }

    /// Where the database lies; `None` in memory.
    pub fn path(&self) -> Option<&Path> {
        None
    }

    /// Whether it refuses every write.
    pub fn is_read_only(&self) -> bool {
        self.0.options.read_only
    }

    /// Begins a transaction on the newest version.
    ///
    /// # Errors
    /// `CORRUPT` or `IO` when what other processes wrote cannot be read.
    pub fn begin(&self) -> Result<Transaction> {
        Ok(Transaction::new(self.clone(), self.newest(), self.is_read_only()))
    }

    /// The newest version.
    pub fn version(&self) -> u64 {
        self.newest().version
    }

    pub(crate) fn commit(&self, base: &State, work: &Work) -> Result<u64> {
        let operations = work.operations()?;
        let _writer = self.writer();
        let head = self.newest();
        work.validate(base, &head)?;
        let record = Record { lsn: head.lsn + 1, is_commit: true, operations };
        let next = Arc::new(head.apply(&record)?);
        let version = next.version;
        *self.0.newest.write().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(version)
    }

    fn writer(&self) -> MutexGuard<'_, ()> {
        self.0.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn newest(&self) -> Arc<State> {
        self.0.newest.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
