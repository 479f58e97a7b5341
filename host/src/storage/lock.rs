//! The writer lock: one writer at a time among the threads of this process and among processes. The operating system
//! lets go of it when a process dies, so that a crashed one holds nobody up. It refuses to guard readers.

use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use super::io::File;
use crate::error::Result;

/// The lock of one open database.
#[derive(Debug)]
pub(crate) struct WriterLock {
    threads: Mutex<()>,
    /// `None` in memory, where there are no other processes.
    processes: Option<File>,
}

/// Proof that it is held; dropping it lets go.
#[derive(Debug)]
pub(crate) struct Held<'a> {
    processes: Option<&'a File>,
    _threads: MutexGuard<'a, ()>,
}

impl WriterLock {
    pub(crate) fn new(processes: Option<File>) -> Self {
        Self { threads: Mutex::new(()), processes }
    }

    /// Waits for the lock.
    pub(crate) fn hold(&self) -> Result<Held<'_>> {
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        self.processes.as_ref().map_or(Ok(()), File::lock)?;
        Ok(Held { processes: self.processes.as_ref(), _threads: threads })
    }

    /// Takes the lock if nobody holds it.
    pub(crate) fn try_hold(&self) -> Result<Option<Held<'_>>> {
        let threads = match self.threads.try_lock() {
            Ok(threads) => threads,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Ok(None),
        };
        if !self.processes.as_ref().map_or(Ok(true), File::try_lock)? {
            return Ok(None);
        }
        Ok(Some(Held { processes: self.processes.as_ref(), _threads: threads }))
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if let Some(file) = self.processes {
            // If even this fails, closing the file lets go.
            let _ = file.unlock();
        }
    }
}
