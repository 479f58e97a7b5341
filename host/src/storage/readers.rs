//! Which states this process reads: the oldest of them stands in its slot of the shared page, so that no process removes
//! the files that belong to it. It refuses to keep the states themselves.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::shm::{Shm, Slot};

/// The readers of one open database.
#[derive(Debug)]
pub(crate) struct Readers {
    /// `None` in memory, and for a reader who may not write the page.
    shm: Option<Arc<Shm>>,
    reading: Mutex<Reading>,
}

#[derive(Debug, Default)]
struct Reading {
    /// How many read the state of a record number.
    counts: BTreeMap<u64, usize>,
    slot: Option<Slot>,
}

/// Somebody reads; dropping it says that they do not any more.
#[derive(Debug)]
pub(crate) struct Hold {
    readers: Arc<Readers>,
    lsn: u64,
}

impl Readers {
    pub(crate) fn new(shm: Option<Arc<Shm>>) -> Self {
        let slot = shm.as_ref().map(|shm| shm.slot());
        Self { shm, reading: Mutex::new(Reading { slot, ..Reading::default() }) }
    }

    /// From now on a state at or after this record number is read.
    pub(crate) fn enter(self: &Arc<Self>, lsn: u64) -> Hold {
        let mut reading = self.reading();
        *reading.counts.entry(lsn).or_default() += 1;
        self.say(&mut reading);
        drop(reading);
        Hold { readers: self.clone(), lsn }
    }

    /// The page is another one: says again what is read.
    pub(crate) fn repeat(&self) {
        let mut reading = self.reading();
        if !reading.counts.is_empty() {
            self.say(&mut reading);
        }
    }

    /// The oldest record number that is read, in this process or another; `None` if there is none.
    pub(crate) fn oldest(&self) -> Option<u64> {
        let own = self.reading().counts.keys().next().copied();
        own.into_iter().chain(self.shm.as_ref().and_then(|shm| shm.oldest())).min()
    }

    fn say(&self, reading: &mut Reading) {
        let oldest = reading.counts.keys().next().copied();
        if let (Some(shm), Some(slot)) = (&self.shm, &mut reading.slot) {
            shm.enter(slot, oldest);
        }
    }

    fn reading(&self) -> MutexGuard<'_, Reading> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hold {
    /// Nothing older than this record number is read any more.
    pub(crate) fn raise(&mut self, lsn: u64) {
        if lsn > self.lsn {
            let mut reading = self.readers.reading();
            *reading.counts.entry(lsn).or_default() += 1;
            reading.forget(self.lsn);
            self.lsn = lsn;
            self.readers.say(&mut reading);
        }
    }
}

impl Reading {
    fn forget(&mut self, lsn: u64) {
        if let Some(count) = self.counts.get_mut(&lsn) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&lsn);
            }
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut reading = self.readers.reading();
        let before = reading.counts.keys().next().copied();
        reading.forget(self.lsn);
        if reading.counts.keys().next().copied() != before {
            self.readers.say(&mut reading);
        }
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        let mut reading = self.reading();
        if let (Some(shm), Some(mut slot)) = (&self.shm, reading.slot.take()) {
            shm.leave(&mut slot);
        }
    }
}
