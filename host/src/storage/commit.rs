//! Commits, and what readers see of them: records are appended in order under the writer lock, made durable in groups,
//! and shown when they are durable, never before. It refuses to know what a transaction did.

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};

use super::lock::{Held, WriterLock};
use super::maintain::Unneeded;
use super::readers::{Hold, Readers};
use super::record::{Kind, Operation, Record, encode};
use super::recover::{self, Files, Head, Writers};
use super::refs::{Branch, BranchId};
use super::shm::Shm;
use super::spec::Options;
use super::state::State;
use super::store::versions::Remembered;
use super::txn::{Work, conflict};
use super::wal;
use super::warnings::Warnings;
use crate::error::{Error, Result, codes};

/// What all handles of an open database share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) path: Option<PathBuf>,
    pub(crate) options: Options,
    pub(crate) lock: WriterLock,
    /// Held while the log is folded in.
    pub(crate) folding: WriterLock,
    /// `None` in memory.
    pub(crate) files: Option<Files>,
    /// `None` in memory, and for a reader who may not write there.
    pub(crate) shm: Option<Arc<Shm>>,
    pub(crate) readers: Arc<Readers>,
    /// The newest state, durable or not: what writers build upon. Never held while waiting for another process, or for
    /// the disk, but for the switch to another log file. Taken before `seen`.
    head: Mutex<Head>,
    /// The newest state that readers may see, and where in the log it stands.
    seen: Mutex<Head>,
    /// The state in `seen`.
    newest: RwLock<Arc<State>>,
    durable: Mutex<Durable>,
    synced: Condvar,
    pub(crate) unneeded: Unneeded,
    pub(crate) warnings: Warnings,
    pub(crate) remembered: Mutex<Remembered>,
}

/// How far the log is durable.
#[derive(Debug, Default)]
struct Durable {
    lsn: u64,
    keep: Keep,
    is_syncing: bool,
    poison: Option<Error>,
}

/// A place in the log that must not be cut: what stands before it is durable, or was written by others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Keep {
    number: u64,
    offset: u64,
    lsn: u64,
}

impl Shared {
    /// Everything that is in `head` is durable.
    pub(crate) fn new(
        path: Option<PathBuf>,
        options: Options,
        locks: [WriterLock; 2],
        files: Option<Files>,
        shm: Option<Arc<Shm>>,
        readers: Arc<Readers>,
        head: Head,
    ) -> Self {
        let [lock, folding] = locks;
        let durable = Durable { keep: Keep::of(&head), ..Durable::default() };
        Self {
            path,
            options,
            lock,
            folding,
            files,
            shm,
            readers,
            newest: RwLock::new(head.state.clone()),
            seen: Mutex::new(head.clone()),
            head: Mutex::new(head),
            durable: Mutex::new(durable),
            synced: Condvar::new(),
            unneeded: Unneeded::default(),
            warnings: Warnings::default(),
            remembered: Mutex::default(),
        }
    }

    /// The newest durable state, also of what other processes committed, and the right to read its files.
    pub(crate) fn read(&self) -> Result<(Arc<State>, Hold)> {
        // Said before looking for something newer, so that whoever removes files sees it, or is seen.
        let mut hold = self.readers.enter(self.newest().lsn);
        self.refresh()?;
        let state = self.newest();
        hold.raise(state.lsn);
        Ok((state, hold))
    }

    /// Reads what other processes appended and made durable.
    pub(crate) fn refresh(&self) -> Result<()> {
        let Some(files) = &self.files else { return Ok(()) };
        if guard(&self.durable).poison.is_some() {
            return Ok(());
        }
        let Some(shm) = &self.shm else { return self.settle(files) };
        if shm.look(false) {
            self.readers.repeat();
        }
        match shm.durable() {
            Some(lsn) if lsn <= self.newest().lsn => Ok(()),
            Some(lsn) => self.follow(files, lsn),
            None => self.settle(files),
        }
    }

    /// Reads the log up to a record that is durable.
    fn follow(&self, files: &Files, lsn: u64) -> Result<()> {
        let next = {
            let mut seen = guard(&self.seen);
            if recover::catch_up(files, &mut seen, Writers::Possible { until: lsn })?.records == 0 {
                return Ok(());
            }
            self.show(&seen);
            seen.clone()
        };
        let mut head = self.head();
        if head.state.lsn < next.state.lsn {
            self.written_by_others(&next);
            *head = next;
        }
        Ok(())
    }

    /// Nobody says how far the log is durable: makes it durable up to where it can be read.
    fn settle(&self, files: &Files) -> Result<()> {
        let mut seen = guard(&self.seen);
        let mut next = seen.clone();
        let found = recover::catch_up(files, &mut next, Writers::Possible { until: u64::MAX })?;
        let is_said = self.shm.as_ref().is_none_or(|shm| shm.durable().is_some());
        if found.records == 0 && is_said {
            return Ok(());
        }
        if let Some(position) = &next.log {
            position.wal.file.sync()?;
        }
        *seen = next;
        self.show(&seen);
        Ok(())
    }

    /// Lets readers see a state that is durable.
    fn show(&self, seen: &Head) {
        if let Some(shm) = &self.shm {
            shm.set_durable(seen.state.lsn);
        }
        let mut newest = self.newest.write().unwrap_or_else(PoisonError::into_inner);
        if newest.lsn < seen.state.lsn {
            *newest = seen.state.clone();
        }
    }

    /// What is in `head` has become durable.
    pub(crate) fn became_durable(&self, head: &Head) {
        {
            let mut seen = guard(&self.seen);
            if seen.state.lsn <= head.state.lsn {
                *seen = head.clone();
            }
            self.show(&seen);
        }
        let mut durable = guard(&self.durable);
        durable.lsn = durable.lsn.max(head.state.lsn);
        durable.keep = durable.keep.max(Keep::of(head));
        drop(durable);
        self.synced.notify_all();
    }

    /// Appends a transaction's changes, and returns its version when they are durable.
    pub(crate) fn commit(&self, base: &Branch, work: &Work) -> Result<u64> {
        self.may_write()?;
        let mut operations = work.operations()?;
        let is_commit = !operations.is_empty();
        let payload = if self.files.is_some() { encode(&operations)? } else { Vec::new() };
        let state = {
            let held = self.lock.hold()?;
            let mut head = self.head();
            let before = head.clone();
            self.catch_up(&mut head, &held)?;
            let branch = head.state.branches.get(&base.id);
            let branch = branch.ok_or_else(|| conflict("dropped the branch that this one changes"));
            let valid = branch.and_then(|branch| {
                work.validate(base, branch)?;
                work.references(&head.state, branch)
            });
            let references = match valid {
                Ok(references) => references,
                Err(error) => {
                    // Records of others that are not durable may yet be cut off. Who wrote nothing upon them forgets
                    // them.
                    *head = before;
                    return Err(error);
                }
            };
            let kind = if is_commit { Kind::Commit } else { Kind::Refer };
            let mut payload = payload;
            if !references.is_empty() {
                // What they name depends on what others did.
                operations.extend(references);
                payload = if self.files.is_some() { encode(&operations)? } else { payload };
            }
            self.append(&mut head, &held, base.id, kind, operations, &payload)?
        };
        self.make_durable(state.lsn)?;
        Ok(if is_commit { state.version } else { base.tree.version })
    }

    pub(crate) fn may_write(&self) -> Result<()> {
        if self.options.read_only {
            return Err(Error::new(codes::READ_ONLY, "the database is open for reading only"));
        }
        Ok(())
    }

    /// Brings `head` to the end of the log, durable or not.
    pub(crate) fn catch_up(&self, head: &mut Head, _held: &Held<'_>) -> Result<()> {
        let Some(files) = &self.files else { return Ok(()) };
        self.durable_lsn()?;
        if let Some(shm) = &self.shm
            && shm.look(true)
        {
            self.readers.repeat();
            shm.set_durable(self.newest().lsn);
        }
        let is_at_end = match &head.log {
            Some(position) => position.wal.file.len()? == position.offset,
            None => true,
        };
        if is_at_end {
            return Ok(());
        }
        let found = recover::catch_up(files, head, Writers::Excluded)?;
        self.warnings.extend(found.warnings);
        if found.records > 0 {
            self.written_by_others(head);
        }
        Ok(())
    }

    fn written_by_others(&self, head: &Head) {
        let mut durable = guard(&self.durable);
        durable.keep = durable.keep.max(Keep::of(head));
    }

    /// Adds a record to the log and to `head`; not yet durable, and not yet seen by readers.
    pub(crate) fn append(
        &self,
        head: &mut Head,
        _held: &Held<'_>,
        branch: BranchId,
        kind: Kind,
        operations: Vec<Operation>,
        payload: &[u8],
    ) -> Result<Arc<State>> {
        let durable = self.durable_lsn()?.min(head.state.lsn);
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
            position.saw(&record);
            record.publish_segments();
        }
        if kind == Kind::Commit {
            self.remember(branch, &next);
        }
        head.state = next.clone();
        if head.log.is_none() {
            self.became_durable(head);
        }
        Ok(next)
    }

    /// Waits until the log is durable up to a record. One thread syncs for all that wait.
    pub(crate) fn make_durable(&self, lsn: u64) -> Result<()> {
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
            if result.is_ok() {
                self.became_durable(&head);
                self.look_after(&head);
            }
            durable = guard(&self.durable);
            durable.is_syncing = false;
            self.synced.notify_all();
            if let Err(error) = result {
                durable.poison.get_or_insert(error.clone());
                drop(durable);
                if let Ok(held) = self.lock.hold() {
                    self.cut_back(&self.head(), &held);
                }
                return Err(error.detail("whether the transaction is durable shows when the database is opened again"));
            }
        }
    }

    /// Whoever opened the database while the log was being synced may look at another page by now.
    fn look_after(&self, head: &Head) {
        if let Some(shm) = &self.shm
            && shm.look(true)
        {
            self.readers.repeat();
            shm.set_durable(head.state.lsn);
        }
    }

    /// After a failed sync the operating system may show bytes that never reach the disk, and the next process would
    /// build upon them. So our own records that are not durable are cut off, as far as nobody wrote after them and
    /// nobody else made them durable.
    pub(crate) fn cut_back(&self, head: &Head, _held: &Held<'_>) {
        let Some(position) = &head.log else { return };
        let keep = guard(&self.durable).keep;
        let is_ours = position.wal.file.len().is_ok_and(|length| length == position.offset);
        let is_shown = self.shm.as_ref().and_then(|shm| shm.durable()).is_some_and(|lsn| lsn > keep.lsn);
        if keep.number == position.wal.number && keep.offset < position.offset && is_ours && !is_shown {
            // If this fails too, opening the database sees what is there, which may be more than was acknowledged.
            let _ = position.wal.file.set_len(keep.offset).and_then(|()| position.wal.file.sync());
        }
    }

    /// Bytes of log that opening the database would have to read.
    pub(crate) fn log_bytes(&self) -> u64 {
        self.head().log.as_ref().map_or(0, recover::Position::bytes)
    }

    /// Records up to this number are durable, as far as we know.
    fn durable_lsn(&self) -> Result<u64> {
        let durable = guard(&self.durable);
        if let Some(poison) = &durable.poison {
            return Err(poisoned(poison));
        }
        let said = self.shm.as_ref().and_then(|shm| shm.durable());
        Ok(durable.lsn.max(said.unwrap_or_default()))
    }

    pub(crate) fn poison(&self, error: &Error) {
        guard(&self.durable).poison.get_or_insert(error.clone());
        self.synced.notify_all();
    }

    pub(crate) fn is_poisoned(&self) -> bool {
        guard(&self.durable).poison.is_some()
    }

    pub(crate) fn head(&self) -> MutexGuard<'_, Head> {
        guard(&self.head)
    }

    /// The newest durable state, and where in the log it stands.
    pub(crate) fn seen(&self) -> Head {
        guard(&self.seen).clone()
    }

    pub(crate) fn newest(&self) -> Arc<State> {
        self.newest.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Keep {
    fn of(head: &Head) -> Self {
        let place = head.log.as_ref().map_or((0, 0), |position| (position.wal.number, position.offset));
        Self { number: place.0, offset: place.1, lsn: head.state.lsn }
    }
}

pub(crate) fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn poisoned(cause: &Error) -> Error {
    Error::new(codes::POISONED, "an earlier write failed; the database must be opened again")
        .detail(format!("it was: {}", cause.message()))
}
