//! The store: one open database and the way in for everybody else. It orders commits, makes them durable in groups,
//! keeps the newest version, and refuses to know what rows mean.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};

use super::ROWS_PER_GROUP;
use super::bulk::Target;
use super::check;
use super::checkpoint;
use super::io::{Directory, Disk, File, Mode, System};
use super::lock::{Held, WriterLock};
use super::manifest::{self, FORMAT_VERSION, Manifest};
use super::record::{Kind, Operation, Record, encode};
use super::recover::{self, Files, Head, Writers};
use super::refs::{Branch, BranchId, MAIN, Retention};
use super::segment::Segments;
use super::snapshot::Snapshot;
use super::spec::{Finding, Info, Options};
use super::state::State;
use super::txn::{Transaction, Work, conflict};
use super::wal::{self, WalFile};
use crate::error::{Error, Result, codes};

/// An open database. Clones share it, and the last one to go closes it.
#[derive(Clone, Debug)]
pub struct Store(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    path: Option<PathBuf>,
    options: Options,
    lock: WriterLock,
    /// `None` in memory.
    files: Option<Files>,
    /// The newest state, durable or not. Never held while waiting for the disk or for another process, but for the
    /// switch to another log file.
    head: Mutex<Head>,
    /// The log file and the offset at which `head` stands, to see cheaply whether there is more.
    end: RwLock<Option<(File, u64)>>,
    /// The newest state that readers may see.
    newest: RwLock<Arc<State>>,
    durable: Mutex<Durable>,
    synced: Condvar,
    warnings: Mutex<Vec<String>>,
}

/// How far the log is durable.
#[derive(Debug, Default)]
struct Durable {
    lsn: u64,
    /// The log file and the offset in it up to which it must not be cut: durable, or written by others.
    keep: (u64, u64),
    is_syncing: bool,
    poison: Option<Error>,
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
        let state = Arc::new(State::new(Retention::default(), recover::now()));
        let head = Head { state, log: None };
        Ok(Self::assemble(None, Options::default(), WriterLock::new(None), None, head, Vec::new()))
    }

    pub(crate) fn open_on(disk: Arc<dyn Disk>, path: &Path, options: &Options) -> Result<Self> {
        let directory = Directory { disk, root: path.to_owned() };
        let may_write = !options.read_only;
        let not_one = || {
            let message = format!("`{}` is not a Kodiak database", path.display());
            Error::new(codes::NOT_A_DATABASE, message)
        };
        let mut database = manifest::read_format(&directory)?;
        if database.is_none() {
            let is_there = directory.exists();
            if !(options.create && may_write)
                || (is_there && !recover::is_unfinished(&directory).map_err(|_| not_one())?)
            {
                return Err(not_one());
            }
            directory.create_dir("")?;
        }
        let lock_mode = if may_write { Mode::Ensure } else { Mode::Read };
        let lock = WriterLock::new(Some(directory.open("lock", lock_mode)?));
        if database.is_none() {
            let _held = lock.hold()?;
            // Another process may have been quicker.
            database = manifest::read_format(&directory)?;
            if database.is_none() {
                if !recover::is_unfinished(&directory)? {
                    return Err(not_one());
                }
                database = Some(recover::create(&directory, options.retention)?);
            }
        }
        if may_write && manifest::read_current(&directory)? == Some(1) {
            // Who made the database may have been killed before its name was durable.
            directory.sync_dir("")?;
            directory.sync_parent()?;
        }
        let segments = Arc::new(Segments::new(directory.clone()));
        let database = database.ok_or_else(not_one)?;
        let files = Files { directory, segments, database, is_read_only: !may_write };
        let mut head = recover::load(&files)?;
        let mut found = recover::catch_up(&files, &mut head, Writers::Possible)?;
        recover::map_loaded(&files, &mut head)?;
        let mut warnings = std::mem::take(&mut found.warnings);
        if found.has_tail {
            let _held = lock.hold()?;
            warnings.append(&mut recover::catch_up(&files, &mut head, Writers::Excluded)?.warnings);
        }
        let store = Self::assemble(Some(path.to_owned()), options.clone(), lock, Some(files), head, warnings);
        store.0.sweep()?;
        Ok(store)
    }

    fn assemble(
        path: Option<PathBuf>,
        options: Options,
        lock: WriterLock,
        files: Option<Files>,
        head: Head,
        warnings: Vec<String>,
    ) -> Self {
        let options = Options { group_rows: options.group_rows.clamp(1, ROWS_PER_GROUP), ..options };
        let end = head.log.as_ref().map(|position| (position.wal.file.clone(), position.offset));
        let keep = place(&head);
        Self(Arc::new(Shared {
            path,
            options,
            lock,
            files,
            newest: RwLock::new(head.state.clone()),
            end: RwLock::new(end),
            head: Mutex::new(head),
            durable: Mutex::new(Durable { keep, ..Durable::default() }),
            synced: Condvar::new(),
            warnings: Mutex::new(warnings),
        }))
    }

    /// Where the database lies; `None` in memory.
    pub fn path(&self) -> Option<&Path> {
        self.0.path.as_deref()
    }

    /// Whether it refuses every write.
    pub fn is_read_only(&self) -> bool {
        self.0.options.read_only
    }

    /// Begins a transaction on the newest version, also of what other processes committed.
    ///
    /// # Errors
    /// `CORRUPT` or `IO` when what other processes wrote cannot be read.
    pub fn begin(&self) -> Result<Transaction> {
        self.begin_on("main")
    }

    /// Begins a transaction on the newest version of a branch.
    ///
    /// # Errors
    /// `NO_OBJECT` when there is no such branch, and as `begin`.
    pub fn begin_on(&self, branch: &str) -> Result<Transaction> {
        self.0.refresh()?;
        let newest = self.0.newest();
        let base = newest.branch_named(branch).ok_or_else(|| no_branch(branch))?;
        Ok(Transaction::new(self.clone(), base.clone(), self.is_read_only()))
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
        guard(&self.0.warnings).clone()
    }

    /// The newest version, also of what other processes committed, for whoever only reads.
    ///
    /// # Errors
    /// As [`Store::begin`].
    pub fn snapshot(&self) -> Result<Snapshot> {
        self.0.refresh()?;
        Ok(Snapshot::new(self.0.newest().main()?.clone()))
    }

    pub(crate) fn target(&self) -> Option<Target<'_>> {
        self.0.target()
    }

    pub(crate) fn commit(&self, base: &Branch, work: &Work) -> Result<u64> {
        let version = self.0.commit(base, work)?;
        if work.drops_tables()
            && let Err(error) = self.0.sweep()
        {
            guard(&self.0.warnings).push(format!("space is not given back yet: {}", error.message()));
        }
        if self.0.log_bytes() > self.0.options.wal_bytes_max {
            // The commit is done whatever becomes of this.
            self.0.checkpoint_or_warn();
        }
        Ok(version)
    }
}

impl Shared {
    fn commit(&self, base: &Branch, work: &Work) -> Result<u64> {
        if self.options.read_only {
            return Err(Error::new(codes::READ_ONLY, "the database is open for reading only"));
        }
        let operations = work.operations()?;
        let payload = if self.files.is_some() { encode(&operations)? } else { Vec::new() };
        let state = {
            let held = self.lock.hold()?;
            let mut head = self.head();
            self.catch_up(&mut head, &held)?;
            let branch = head.state.branches.get(&base.id);
            work.validate(base, branch.ok_or_else(|| conflict("dropped the branch that this one changes"))?)?;
            self.append(&mut head, &held, base.id, Kind::Commit, operations, &payload)?
        };
        self.make_durable(state.lsn)?;
        self.publish(&state);
        Ok(state.version)
    }

    /// Adds a record to the log and to `head`; not yet durable, and not yet seen by readers.
    fn append(
        &self,
        head: &mut Head,
        _held: &Held<'_>,
        branch: BranchId,
        kind: Kind,
        operations: Vec<Operation>,
        payload: &[u8],
    ) -> Result<Arc<State>> {
        let durable = self.durable_lsn()?;
        let (lsn, time) = (head.state.lsn + 1, recover::now().max(head.state.time));
        let record = Record { lsn, branch, kind, time, operations };
        let stamp = wal::Stamp { lsn, durable, time, branch, kind };
        let next = Arc::new(head.state.apply(&record)?);
        if let Some(position) = &mut head.log {
            match position.wal.append(position.offset, &stamp, payload) {
                Ok(end) => position.offset = end,
                Err(error) => {
                    // Nothing was promised yet. If the log can be cut back to what it was, nothing happened.
                    let file = &position.wal.file;
                    if file.set_len(position.offset).and_then(|()| file.sync()).is_err() {
                        self.poison(&error);
                        record.publish_segments();
                    }
                    return Err(error);
                }
            }
            record.publish_segments();
            *self.end.write().unwrap_or_else(PoisonError::into_inner) =
                Some((position.wal.file.clone(), position.offset));
        }
        head.state = next.clone();
        Ok(next)
    }

    /// Waits until the log is durable up to a record. One thread syncs for all that wait.
    fn make_durable(&self, lsn: u64) -> Result<()> {
        if self.files.is_none() {
            return Ok(());
        }
        let mut durable = guard(&self.durable);
        loop {
            if let Some(poison) = &durable.poison {
                return Err(poisoned(poison));
            }
            if durable.lsn >= lsn {
                return Ok(());
            }
            if durable.is_syncing {
                durable = self.synced.wait(durable).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            durable.is_syncing = true;
            drop(durable);
            let head = self.head().clone();
            let result = head.log.as_ref().map_or(Ok(()), |position| position.wal.file.sync());
            durable = guard(&self.durable);
            durable.is_syncing = false;
            self.synced.notify_all();
            match result {
                Ok(()) => {
                    durable.lsn = durable.lsn.max(head.state.lsn);
                    durable.keep = durable.keep.max(place(&head));
                }
                Err(error) => {
                    durable.poison.get_or_insert(error.clone());
                    drop(durable);
                    if let Ok(held) = self.lock.hold() {
                        self.cut_back(&self.head(), &held);
                    }
                    return Err(
                        error.detail("whether the transaction is durable shows when the database is opened again")
                    );
                }
            }
        }
    }

    /// After a failed sync the operating system may show bytes that never reach the disk, and the next process would
    /// build upon them. So our own records that are not durable are cut off, as far as nobody wrote after them.
    fn cut_back(&self, head: &Head, _held: &Held<'_>) {
        let Some(position) = &head.log else { return };
        let (number, offset) = guard(&self.durable).keep;
        let is_ours = position.wal.file.len().is_ok_and(|length| length == position.offset);
        if number == position.wal.number && offset < position.offset && is_ours {
            // If this fails too, opening the database sees what is there, which may be more than was acknowledged.
            let _ = position.wal.file.set_len(offset).and_then(|()| position.wal.file.sync());
        }
    }

    fn publish(&self, state: &Arc<State>) {
        let mut newest = self.newest.write().unwrap_or_else(PoisonError::into_inner);
        if newest.lsn < state.lsn {
            *newest = state.clone();
        }
    }

    /// Looks whether other processes appended something, and reads it.
    fn refresh(&self) -> Result<()> {
        let Some(files) = &self.files else { return Ok(()) };
        let end = self.end.read().unwrap_or_else(PoisonError::into_inner).clone();
        let Some((file, offset)) = end else { return Ok(()) };
        if file.len()? == offset || guard(&self.durable).poison.is_some() {
            return Ok(());
        }
        let mut head = self.head();
        if recover::catch_up(files, &mut head, Writers::Possible)?.records > 0 {
            self.moved(&head);
        }
        Ok(())
    }

    fn catch_up(&self, head: &mut Head, _held: &Held<'_>) -> Result<()> {
        let Some(files) = &self.files else { return Ok(()) };
        self.durable_lsn()?;
        let found = recover::catch_up(files, head, Writers::Excluded)?;
        guard(&self.warnings).extend(found.warnings);
        if found.records > 0 {
            self.moved(head);
        }
        Ok(())
    }

    /// `head` has records of other processes now.
    fn moved(&self, head: &Head) {
        let end = head.log.as_ref().map(|position| (position.wal.file.clone(), position.offset));
        *self.end.write().unwrap_or_else(PoisonError::into_inner) = end;
        let mut durable = guard(&self.durable);
        durable.keep = durable.keep.max(place(head));
        drop(durable);
        self.publish(&head.state);
    }

    fn checkpoint(&self) -> Result<()> {
        let (Some(files), Some(target)) = (&self.files, self.target()) else { return Ok(()) };
        if self.options.read_only {
            return Err(Error::new(codes::READ_ONLY, "the database is open for reading only"));
        }
        self.refresh()?;
        let planned = self.newest();
        for table in planned.tables() {
            // What cannot be written now is made when it is needed.
            let _ = super::index::complete(target, table);
        }
        let operations = checkpoint::plan(target, &planned)?;
        if !operations.is_empty() {
            files.directory.sync_dir(super::segment::FOLDER)?;
        }

        let held = self.lock.hold()?;
        let (head, number) = {
            let mut head = self.head();
            self.catch_up(&mut head, &held)?;
            let operations = checkpoint::still_fitting(operations, &head.state);
            if !operations.is_empty() {
                let payload = encode(&operations)?;
                self.append(&mut head, &held, MAIN, Kind::Rewrite, operations, &payload)?;
            }
            let is_new = head.log.as_ref().is_some_and(|position| position.bytes() > wal::HEADER);
            if !is_new {
                self.publish(&head.state);
                drop(head);
                return recover::reclaim(files, &self.head());
            }
            let number = self.rotate(files, &mut head, &held)?;
            (head.clone(), number)
        };
        self.publish(&head.state);
        let first = head.log.as_ref().map_or(0, |position| position.wal.number);
        Manifest { number, wal: first, state: State::clone(&head.state) }.write(&files.directory, files.database)?;
        let mut head = self.head();
        if let Some(position) = &mut head.log {
            (position.manifest, position.first) = (number, first);
            position.bytes_before = 0;
        }
        recover::reclaim(files, &head)
    }

    /// Goes on in a new log file; everything before is durable then. Returns the number for the next manifest.
    fn rotate(&self, files: &Files, head: &mut Head, held: &Held<'_>) -> Result<u64> {
        let Some(position) = head.log.clone() else { return Ok(0) };
        let number = position.wal.number + 1;
        let next = WalFile::create(&files.directory, files.database, number, head.state.lsn + 2)?;
        let payload = encode(&[])?;
        self.append(head, held, MAIN, Kind::Rotate, Vec::new(), &payload)?;
        if let Err(error) = position.wal.file.sync() {
            self.poison(&error);
            self.cut_back(head, held);
            return Err(error);
        }
        if let Some(position) = &mut head.log {
            position.bytes_before += position.offset;
            (position.wal, position.offset) = (next, wal::HEADER);
            *self.end.write().unwrap_or_else(PoisonError::into_inner) =
                Some((position.wal.file.clone(), position.offset));
        }
        let mut durable = guard(&self.durable);
        durable.lsn = durable.lsn.max(head.state.lsn);
        durable.keep = durable.keep.max(place(head));
        drop(durable);
        self.synced.notify_all();
        let current = manifest::read_current(&files.directory)?.unwrap_or_default();
        Ok(current.max(position.manifest) + 1)
    }

    fn checkpoint_or_warn(&self) {
        if let Err(error) = self.checkpoint() {
            guard(&self.warnings).push(format!("a checkpoint failed: {}", error.message()));
        }
    }

    /// Removes what crashed transactions and dropped tables left, if nobody is writing just now.
    fn sweep(&self) -> Result<()> {
        let Some(files) = self.files.as_ref().filter(|files| !files.is_read_only) else { return Ok(()) };
        let Some(held) = self.lock.try_hold()? else { return Ok(()) };
        let mut head = self.head();
        self.catch_up(&mut head, &held)?;
        recover::reclaim(files, &head)
    }

    fn target(&self) -> Option<Target<'_>> {
        let files = self.files.as_ref()?;
        Some(Target { segments: &files.segments, lock: &self.lock, options: &self.options })
    }

    fn log_bytes(&self) -> u64 {
        self.head().log.as_ref().map_or(0, recover::Position::bytes)
    }

    fn durable_lsn(&self) -> Result<u64> {
        let durable = guard(&self.durable);
        durable.poison.as_ref().map_or(Ok(durable.lsn), |poison| Err(poisoned(poison)))
    }

    fn poison(&self, error: &Error) {
        guard(&self.durable).poison.get_or_insert(error.clone());
        self.synced.notify_all();
    }

    fn head(&self) -> MutexGuard<'_, Head> {
        guard(&self.head)
    }

    fn newest(&self) -> Arc<State> {
        self.newest.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let is_sound = guard(&self.durable).poison.is_none();
        if is_sound && !self.options.read_only && self.log_bytes() > self.options.close_wal_bytes_max {
            self.checkpoint_or_warn();
        }
    }
}

/// The log file and the offset in it at which a head stands.
fn place(head: &Head) -> (u64, u64) {
    head.log.as_ref().map_or((0, 0), |position| (position.wal.number, position.offset))
}

fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn no_branch(name: &str) -> Error {
    Error::new(codes::NO_OBJECT, format!("there is no branch `{name}`"))
        .help("run `kodiak db branches` for those there are")
}

fn poisoned(cause: &Error) -> Error {
    Error::new(codes::POISONED, "an earlier write failed; the database must be opened again")
        .detail(format!("it was: {}", cause.message()))
}
