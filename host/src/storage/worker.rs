//! The thread that keeps an open database small: it starts when there is something to do for the first time, and ends
//! with the store. Whoever commits only asks it, and waits for it only when the log grows faster than it is folded in.
//! It refuses to decide what is done: `maintain` does.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::commit::{Shared, guard};
use crate::error::Result;

/// Commits wait while the log is so many times larger than what is folded in, and folding is under way. The log bounds
/// what is in memory: rows are there until they are folded in.
const BACKLOG_MAX: u64 = 4;

/// The worker of an open database.
#[derive(Debug)]
pub(crate) struct Worker {
    shared: Arc<Shared>,
    desk: Arc<Desk>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Desk {
    wanted: Mutex<Wanted>,
    changed: Condvar,
    /// After a failure it is not tried again before the log has this size.
    retry_bytes: AtomicU64,
    /// Rows that were deleted since it ran.
    deleted: AtomicU64,
}

#[derive(Debug, Default)]
struct Wanted {
    is_due: bool,
    is_busy: bool,
    is_closing: bool,
}

impl Worker {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, desk: Arc::default(), thread: Mutex::default() }
    }

    /// Waits until there is room for another commit.
    pub(crate) fn wait_for_room(&self) {
        let limit = self.shared.options.wal_bytes_max.saturating_mul(BACKLOG_MAX);
        if self.shared.files.is_none() || self.shared.log_bytes() <= limit {
            return;
        }
        let mut wanted = guard(&self.desk.wanted);
        while wanted.is_due || wanted.is_busy {
            wanted = self.desk.changed.wait(wanted).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A commit is done that deleted so many rows: folds the log in, soon, if it is time for that.
    pub(crate) fn committed(&self, deleted: u64) {
        if self.shared.files.is_none() {
            return;
        }
        let deleted = self.desk.deleted.fetch_add(deleted, Ordering::Relaxed) + deleted;
        self.shared.notice_manifest();
        let bytes = self.shared.log_bytes();
        let is_long = bytes > self.shared.options.wal_bytes_max;
        // Deleting many rows takes few bytes of log, and leaves much space to be given back.
        let is_hollow = deleted >= self.shared.options.group_rows as u64;
        if (is_long || is_hollow) && bytes >= self.desk.retry_bytes.load(Ordering::Relaxed) {
            self.desk.deleted.store(0, Ordering::Relaxed);
            self.ask();
        }
    }

    fn ask(&self) {
        if !self.shared.options.background {
            return self.desk.run(&self.shared);
        }
        let mut wanted = guard(&self.desk.wanted);
        if wanted.is_due {
            return;
        }
        wanted.is_due = true;
        drop(wanted);
        self.desk.changed.notify_all();
        let mut thread = guard(&self.thread);
        if thread.is_none() {
            let (desk, shared) = (self.desk.clone(), self.shared.clone());
            let named = std::thread::Builder::new().name("kodiak-storage".to_owned());
            match named.spawn(move || desk.work(&shared)) {
                Ok(handle) => *thread = Some(handle),
                Err(error) => {
                    guard(&self.desk.wanted).is_due = false;
                    self.shared.warnings.add(format!("there is no thread to fold the log in: {error}"));
                    self.desk.run(&self.shared);
                }
            }
        }
    }

    /// Waits until nothing is under way.
    #[cfg(test)]
    pub(crate) fn rest(&self) {
        let mut wanted = guard(&self.desk.wanted);
        while wanted.is_due || wanted.is_busy {
            wanted = self.desk.changed.wait(wanted).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Desk {
    fn work(&self, shared: &Shared) {
        loop {
            let mut wanted = guard(&self.wanted);
            while !wanted.is_due && !wanted.is_closing {
                wanted = self.changed.wait(wanted).unwrap_or_else(PoisonError::into_inner);
            }
            if wanted.is_closing {
                // Closing folds in what is left, if it is much.
                wanted.is_due = false;
                drop(wanted);
                return self.changed.notify_all();
            }
            (wanted.is_due, wanted.is_busy) = (false, true);
            drop(wanted);
            self.run(shared);
            guard(&self.wanted).is_busy = false;
            self.changed.notify_all();
        }
    }

    fn run(&self, shared: &Shared) {
        let retry = match guarded(|| shared.checkpoint_if_free()) {
            Ok(()) => 0,
            Err(error) => {
                // Nothing is lost by this: the log stays as it is.
                shared.warnings.add(format!("the log cannot be folded in: {}", error.message()));
                shared.log_bytes() + shared.options.wal_bytes_max / 2
            }
        };
        self.retry_bytes.store(retry, Ordering::Relaxed);
    }
}

/// A panic here must not leave others waiting.
fn guarded(work: impl FnOnce() -> Result<()>) -> Result<()> {
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
    outcome.unwrap_or_else(|_| {
        Err(crate::error::Error::new(crate::error::codes::INTERNAL, "folding the log in stopped with a bug"))
    })
}

impl Drop for Worker {
    fn drop(&mut self) {
        guard(&self.desk.wanted).is_closing = true;
        self.desk.changed.notify_all();
        if let Some(thread) = guard(&self.thread).take() {
            // It catches its panics.
            let _ = thread.join();
        }
        self.shared.close();
    }
}
