//! Columns that were read from files, kept ready in memory up to a budget: what was not used lately goes first. Files
//! stay compressed; this is where a scan finds their values a second time. It holds nothing that cannot be read again.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};

use arrow::array::{Array, ArrayData, ArrayRef};
use arrow::buffer::Buffer;

use crate::error::Result;

/// Kept columns of all tables of one open database.
#[derive(Debug)]
pub(crate) struct Hot {
    bytes_max: AtomicU64,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    bytes: u64,
    /// In the order in which they were read, or given another round: the clock algorithm.
    ring: VecDeque<(Weak<Slot>, u64)>,
}

/// The place of one column of one row group.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    values: RwLock<Option<ArrayRef>>,
    was_used: AtomicBool,
}

impl Hot {
    pub(crate) fn new(bytes_max: u64) -> Self {
        Self { bytes_max: AtomicU64::new(bytes_max), kept: Mutex::default() }
    }

    /// Another budget; what is too much goes at once.
    pub(crate) fn set_bytes_max(&self, bytes_max: u64) {
        self.bytes_max.store(bytes_max, Ordering::Relaxed);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.shrink(bytes_max);
    }

    /// Bytes that are kept.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> u64 {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).bytes
    }

    /// The values of a place, read if they are not there.
    pub(crate) fn get(&self, slot: &Arc<Slot>, read: impl FnOnce() -> Result<ArrayRef>) -> Result<ArrayRef> {
        if let Some(values) = slot.values.read().unwrap_or_else(PoisonError::into_inner).as_ref() {
            slot.was_used.store(true, Ordering::Relaxed);
            return Ok(values.clone());
        }
        let values = read()?;
        let bytes = bytes_of(&values.to_data());
        let bytes_max = self.bytes_max.load(Ordering::Relaxed);
        if bytes > bytes_max {
            return Ok(values);
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut place = slot.values.write().unwrap_or_else(PoisonError::into_inner);
        // Somebody else may have been quicker.
        if let Some(there) = place.as_ref() {
            return Ok(there.clone());
        }
        *place = Some(values.clone());
        drop(place);
        kept.bytes += bytes;
        kept.ring.push_back((Arc::downgrade(slot), bytes));
        kept.shrink(bytes_max);
        Ok(values)
    }
}

/// Bytes that the values take. A buffer may be a small piece of something large that is there anyway.
fn bytes_of(values: &ArrayData) -> u64 {
    let own = values.buffers().iter().map(Buffer::len).sum::<usize>();
    let nulls = values.nulls().map_or(0, |nulls| nulls.buffer().len());
    (own + nulls) as u64 + values.child_data().iter().map(bytes_of).sum::<u64>()
}

impl Kept {
    fn shrink(&mut self, bytes_max: u64) {
        // Whoever is gone takes no memory; it is only noticed here.
        let mut rounds = self.ring.len() * 2;
        while self.bytes > bytes_max && rounds > 0 {
            rounds -= 1;
            let Some((slot, bytes)) = self.ring.pop_front() else { return };
            if let Some(slot) = slot.upgrade() {
                if slot.was_used.swap(false, Ordering::Relaxed) {
                    self.ring.push_back((Arc::downgrade(&slot), bytes));
                    continue;
                }
                *slot.values.write().unwrap_or_else(PoisonError::into_inner) = None;
            }
            self.bytes -= bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Int64Array;

    fn column(rows: usize) -> ArrayRef {
        Arc::new(Int64Array::from(vec![7; rows]))
    }

    fn is_kept(slot: &Arc<Slot>) -> bool {
        slot.values.read().expect("lock").is_some()
    }

    #[test]
    fn what_was_used_stays_and_the_budget_holds() {
        let hot = Hot::new(50_000);
        let slots: Vec<Arc<Slot>> = (0..20).map(|_| Arc::default()).collect();
        for slot in &slots {
            hot.get(slot, || Ok(column(1000))).expect("read");
            // The first is wanted again and again.
            hot.get(&slots[0], || panic!("it is kept")).expect("kept");
            assert!(hot.bytes() <= 50_000);
        }
        assert!(is_kept(&slots[0]) && is_kept(&slots[19]) && !is_kept(&slots[1]));
        hot.set_bytes_max(0);
        assert_eq!(hot.bytes(), 0);
        assert!(!slots.iter().any(is_kept));
        assert_eq!(hot.get(&slots[3], || Ok(column(3))).expect("read").len(), 3);
        assert!(!is_kept(&slots[3]), "more than the budget is not kept");
    }

    #[test]
    fn what_nobody_can_ask_for_any_more_makes_room() {
        let hot = Hot::new(20_000);
        for _ in 0..100 {
            hot.get(&Arc::default(), || Ok(column(1000))).expect("read");
        }
        let slot = Arc::default();
        hot.get(&slot, || Ok(column(1000))).expect("read");
        assert!(is_kept(&slot) && hot.bytes() <= 20_000);
    }
}
