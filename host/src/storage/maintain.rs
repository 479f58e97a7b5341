//! What keeps a database small and quick to open: folding the log into segments and a manifest, and removing files that
//! nobody needs. Readers never wait for it, and writers only for the moment in which the log goes on in a new file. It
//! refuses to change what anybody sees.
//!
//! One process at a time folds, under a lock of its own. Every step is safe to die after.

use std::collections::HashMap;
use std::sync::Mutex;

use ulid::Ulid;

use super::bulk::Target;
use super::checkpoint::{self, Effort};
use super::commit::{Shared, guard};
use super::history::Past;
use super::index;
use super::lock::Held;
use super::manifest::{self, Manifest};
use super::record::{Kind, Operation, encode};
use super::recover::{self, Files, Head, Position};
use super::refs::{MAIN, Retention};
use super::segment;
use super::spec::Folded;
use super::wal::{self, WalFile};
use crate::error::Result;

/// The lock file that is held while the log is folded in.
pub(crate) const LOCK: &str = "lock.fold";

/// Segments that are not needed any more, as far as we saw, with the record number from which on.
#[derive(Debug, Default)]
pub(crate) struct Unneeded(Mutex<HashMap<String, u64>>);

impl Shared {
    pub(crate) fn target(&self) -> Option<Target<'_>> {
        let files = self.files.as_ref()?;
        Some(Target { segments: &files.segments, lock: &self.lock, options: &self.options })
    }

    /// Folds the log in; waits if another process does so just now.
    pub(crate) fn checkpoint(&self, effort: Effort) -> Result<Folded> {
        self.checkpoint_keeping(effort, None)
    }

    /// Likewise; old versions are kept as `keep` says, this once, or else as the database does.
    pub(crate) fn checkpoint_keeping(&self, effort: Effort, keep: Option<Retention>) -> Result<Folded> {
        self.may_write()?;
        let (Some(files), Some(target)) = (&self.files, self.target()) else { return Ok(Folded::default()) };
        let folding = self.folding.hold()?;
        self.fold(files, target, effort, &folding, keep)
    }

    /// Folds the log in, unless somebody does so just now.
    pub(crate) fn checkpoint_if_free(&self) -> Result<()> {
        self.may_write()?;
        let (Some(files), Some(target)) = (&self.files, self.target()) else { return Ok(()) };
        let Some(folding) = self.folding.try_hold()? else { return self.follow_manifest(files) };
        self.fold(files, target, Effort::Usual, &folding, None).map(drop)
    }

    /// Folds a log in that would take long to read again, and gives space back that waited for readers.
    pub(crate) fn close(&self) {
        if self.is_poisoned() || self.options.read_only {
            return;
        }
        let result = match self.log_bytes() > self.options.close_wal_bytes_max {
            true => self.checkpoint_if_free(),
            false if self.unneeded.is_empty() => Ok(()),
            false => self.sweep(),
        };
        if let Err(error) = result {
            // Nobody is left to be told but the log of diagnostics; nothing is lost, and the next to open tries again.
            tracing::warn!(target: "kodiak::storage", "closing: {}", error.message());
        }
    }

    fn fold(
        &self,
        files: &Files,
        target: Target<'_>,
        effort: Effort,
        _folding: &Held<'_>,
        keep: Option<Retention>,
    ) -> Result<Folded> {
        self.follow_manifest(files)?;
        let (planned, hold) = self.read()?;
        for table in planned.tables() {
            // What cannot be written now is made when it is needed.
            let _ = index::complete(target, table);
        }
        let operations = checkpoint::plan(target, &planned, effort)?;
        let mut folded = Folded::default();
        for (_, ids) in operations.iter().filter_map(Operation::rewritten).flatten() {
            folded.row_groups += 1;
            folded.rows += ids.count();
        }
        if !operations.is_empty() {
            files.directory.sync_dir(segment::FOLDER)?;
        }
        let known = self.head().clone();
        let Some(position) = &known.log else { return Ok(folded) };
        let keep = keep.unwrap_or(known.state.retention);
        let forgets = !keep.is_some() && !position.history.past.is_empty();
        if !operations.is_empty() || position.bytes() > wal::HEADER || forgets {
            // All that can be done before others have to wait for it: little is left to be synced, and a file is there.
            self.make_durable(known.state.lsn)?;
            let next = WalFile::create(&files.directory, files.database, position.wal.number + 1, known.state.lsn + 1)?;
            let head = self.switch(files, operations, next)?;
            self.write_manifest(files, &head, keep)?;
        }
        drop(hold);
        let removed = self.reclaim(files)?;
        Ok(Folded { files: removed.files, bytes: removed.bytes, ..folded })
    }

    /// Puts planned row groups in their place, and goes on in a new log file.
    fn switch(&self, files: &Files, operations: Vec<Operation>, next: WalFile) -> Result<Head> {
        let held = self.lock.hold()?;
        let mut head = self.head();
        self.catch_up(&mut head, &held)?;
        let operations = checkpoint::still_fitting(operations, &head.state)?;
        if !operations.is_empty() {
            let payload = encode(&operations)?;
            self.append(&mut head, &held, MAIN, Kind::Rewrite, operations, &payload)?;
        }
        self.rotate(files, &mut head, &held, next)?;
        Ok(head.clone())
    }

    /// Goes on in a new log file; everything before is durable then.
    fn rotate(&self, files: &Files, head: &mut Head, held: &Held<'_>, next: WalFile) -> Result<()> {
        let Some(position) = head.log.clone() else { return Ok(()) };
        let number = position.wal.number + 1;
        let next = match next.number == number {
            true => next,
            // Whoever folded before was killed when the log had gone on already.
            false => WalFile::create(&files.directory, files.database, number, head.state.lsn + 1)?,
        };
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
        }
        self.became_durable(head);
        Ok(())
    }

    /// Writes the manifest that takes the place of all log files before the one in which `head` stands.
    fn write_manifest(&self, files: &Files, at: &Head, keep: Retention) -> Result<()> {
        let Some(position) = &at.log else { return Ok(()) };
        let current = manifest::read_current(&files.directory)?.unwrap_or_default();
        let number = current.max(position.manifest) + 1;
        let (died, died_bytes) = recover::died(files, position, &at.state)?;
        let last = Past { bytes: position.bytes_before + died_bytes, ..position.base };
        let now = (at.state.version, recover::now().max(at.state.time));
        let history = position.history.next(last, died.into_iter(), now, keep);
        let manifest = Manifest { number, wal: position.wal.number, state: at.state.as_ref().clone(), history };
        manifest.write(&files.directory, files.database)?;
        self.took_place(&manifest, Some(position));
        if let Some(shm) = &self.shm {
            shm.set_manifest(number);
        }
        Ok(())
    }

    /// Looks whether another process folded in what we count as our log: then there is less of it.
    pub(crate) fn notice_manifest(&self) {
        let known = self.head().log.as_ref().map_or(0, |position| position.manifest);
        let is_newer = self.shm.as_ref().and_then(|shm| shm.manifest()).is_some_and(|number| number > known);
        if let Some(files) = self.files.as_ref().filter(|_| is_newer) {
            // Without it only more is folded in than needed.
            let _ = self.follow_manifest(files);
        }
    }

    /// Another process may have folded in what we count as our log.
    fn follow_manifest(&self, files: &Files) -> Result<()> {
        let known = self.head().log.as_ref().map_or(0, |position| position.manifest);
        let Some(number) = manifest::read_current(&files.directory)?.filter(|&number| number > known) else {
            return Ok(());
        };
        if let Some(manifest) = Manifest::read(&files.directory, files.database, number, &files.segments)? {
            self.refresh()?;
            self.took_place(&manifest, None);
        }
        Ok(())
    }

    /// A manifest covers the log before a file; `before` is where we stood when we began to write it.
    fn took_place(&self, manifest: &Manifest, before: Option<&Position>) {
        let mut head = self.head();
        if let Some(position) = &mut head.log
            && position.manifest < manifest.number
        {
            let newer = Position::after(manifest, position.wal.clone());
            let mut seen = newer.seen;
            let of_before = |segment: &&Ulid| before.is_none_or(|before| !before.seen.contains(segment));
            position.seen.iter().filter(of_before).for_each(|segment| seen.insert_mut(*segment));
            (position.manifest, position.first, position.seen) = (newer.manifest, newer.first, seen);
            (position.base, position.history) = (newer.base, newer.history);
            // At most one file was added to the log since.
            if position.wal.number == position.first {
                position.bytes_before = 0;
            }
        }
    }

    /// Removes what is not needed, if nobody is writing just now.
    pub(crate) fn sweep(&self) -> Result<()> {
        let Some(files) = self.files.as_ref().filter(|files| !files.is_read_only) else { return Ok(()) };
        let Some(_folding) = self.folding.try_hold()? else { return Ok(()) };
        self.follow_manifest(files)?;
        self.reclaim(files).map(drop)
    }

    /// Removes what neither the newest state nor anybody who reads an older one needs. One process at a time does so.
    fn reclaim(&self, files: &Files) -> Result<Folded> {
        // What another process made the newest manifest is not left over.
        self.follow_manifest(files)?;
        let current = manifest::read_current(&files.directory)?;
        if self.head().log.as_ref().map(|position| position.manifest) != current {
            return Ok(Folded::default());
        }
        let (head, left_over) = {
            let held = self.lock.hold()?;
            let mut head = self.head();
            self.catch_up(&mut head, &held)?;
            (head.clone(), recover::left_over(files, &head)?)
        };
        let left_over = self.unneeded.past(left_over, head.state.lsn, self.readers.oldest());
        let Some(position) = head.log.as_ref().filter(|_| !left_over.is_empty()) else {
            return Ok(Folded::default());
        };
        // What says that these are not needed may have been written by a process that was killed before it was durable.
        position.wal.file.sync()?;
        self.became_durable(&head);
        files.directory.sync_dir("")?;
        let mut removed = Folded::default();
        for path in &left_over {
            let length = files.directory.open_if_there(path)?.map_or(Ok(0), |file| file.len())?;
            files.directory.remove(path)?;
            removed.files += 1;
            removed.bytes += length;
        }
        Ok(removed)
    }
}

impl Unneeded {
    fn is_empty(&self) -> bool {
        guard(&self.0).is_empty()
    }

    /// Of what the state of record `lsn` does not need, what nobody else needs either: `oldest` is the oldest record
    /// number whose state is being read.
    fn past(&self, left_over: Vec<String>, lsn: u64, oldest: Option<u64>) -> Vec<String> {
        let mut since = guard(&self.0);
        since.retain(|path, _| left_over.contains(path));
        left_over
            .into_iter()
            .filter(|path| {
                // Who is behind reads the newest manifest if its log is gone.
                if !path.starts_with(segment::FOLDER) {
                    return true;
                }
                let known = *since.entry(path.clone()).or_insert(lsn);
                let is_past = oldest.is_none_or(|oldest| oldest >= known);
                if is_past {
                    since.remove(path);
                }
                is_past
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_goes_when_nobody_reads_a_state_from_before_it_was_unneeded() {
        let unneeded = Unneeded::default();
        let file = || vec!["segments/a.arrow".to_owned()];
        assert!(unneeded.past(file(), 7, Some(3)).is_empty());
        assert!(unneeded.past(file(), 9, Some(6)).is_empty(), "the state of record 6 may need it");
        assert_eq!(unneeded.past(file(), 9, Some(7)), file());
        assert_eq!(unneeded.past(file(), 9, None), file());
        assert!(unneeded.past(Vec::new(), 10, None).is_empty());
        assert!(unneeded.past(file(), 11, Some(7)).is_empty(), "it was needed again in between");
    }
}
