//! What processes that have one database open tell each other: how far the log is durable, which manifest is the
//! newest, and which versions are being read. It is a page of shared memory behind the file `shm`, and a hint: every
//! word carries its own check, whatever is wrong with it counts as not said, and the files say the rest. It refuses to
//! hold anything that is not also in the files.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use crc32c::crc32c;
use ulid::Ulid;

use super::io::{Directory, File, Mode, Process, Shared};
use crate::error::Result;

/// The file.
pub(crate) const NAME: &str = "shm";

/// One page, so that a file of any length but none has it.
const WORDS: usize = 512;
const MAGIC: u64 = u64::from_le_bytes(*b"KDKSHM01");

// Where the words are.
const AT_MAGIC: usize = 0;
const AT_DATABASE: usize = 1;
const AT_DURABLE: usize = 3;
const AT_MANIFEST: usize = 4;
const AT_SLOTS: usize = 8;

/// Words of a slot: who, when that process started, the oldest record number whose state it reads.
const SLOT: usize = 4;
const OWNER: usize = 0;
const STARTED: usize = 1;
const READING: usize = 2;

/// Stores that can say at the same time what they read. One more only keeps its files open.
pub(crate) const SLOTS: usize = (WORDS - AT_SLOTS) / SLOT;

/// How long it may take until a store sees that the file was removed or replaced under it.
const LOOK_AGAIN: Duration = Duration::from_millis(if cfg!(test) { 0 } else { 10 });

/// Numbers have so many bits; the others check them.
const BITS: u32 = 48;
const NUMBER: u64 = (1 << BITS) - 1;

/// The page of an open database.
#[derive(Debug)]
pub(crate) struct Shm {
    directory: Directory,
    database: Ulid,
    own: Process,
    page: RwLock<Arc<Page>>,
    looked: Mutex<Instant>,
}

#[derive(Debug)]
struct Page {
    file: File,
    words: Arc<dyn Shared>,
}

/// A store's place to say what it reads.
#[derive(Debug)]
pub(crate) struct Slot {
    /// Process number, and a number of its own within the process.
    owner: u64,
    index: Option<usize>,
}

/// What a slot of a living process says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) process: u32,
    /// The oldest record number whose state it reads; `None` when it reads nothing, 0 when that cannot be told.
    pub(crate) oldest: Option<u64>,
}

impl Shm {
    /// Maps the page, and makes it what it should be if it is not.
    ///
    /// # Errors
    /// `IO` where the file cannot be made or written, as for a reader without the permission.
    pub(crate) fn open(directory: &Directory, database: Ulid) -> Result<Self> {
        let page = Page::open(directory, database)?;
        Ok(Self {
            directory: directory.clone(),
            database,
            own: directory.disk.process(),
            page: RwLock::new(Arc::new(page)),
            looked: Mutex::new(Instant::now()),
        })
    }

    /// Every record up to this number is durable; `None` if the page does not say.
    pub(crate) fn durable(&self) -> Option<u64> {
        self.number(AT_DURABLE)
    }

    /// Says that records up to this number are durable.
    pub(crate) fn set_durable(&self, lsn: u64) {
        self.raise(AT_DURABLE, lsn);
    }

    /// Corrects a page that says more than the log has. The caller holds the writer lock and has read the whole log.
    pub(crate) fn limit_durable(&self, lsn: u64) {
        if self.durable().is_none_or(|said| said > lsn) {
            self.page().words.words()[AT_DURABLE].store(seal(self.database, lsn), Ordering::SeqCst);
        }
    }

    /// The number of the newest manifest.
    pub(crate) fn manifest(&self) -> Option<u64> {
        self.number(AT_MANIFEST)
    }

    pub(crate) fn set_manifest(&self, number: u64) {
        self.raise(AT_MANIFEST, number);
    }

    /// Says what a store reads from now on, before it does; claims a slot first if the store has none.
    pub(crate) fn enter(&self, slot: &mut Slot, oldest: Option<u64>) {
        let page = self.page();
        let words = page.words.words();
        if slot.index.is_none_or(|index| at(words, index, OWNER).load(Ordering::Acquire) != slot.owner) {
            slot.index = self.claim(words, slot.owner);
        }
        let Some(index) = slot.index else { return };
        let word = oldest.map_or(0, |oldest| seal(self.database, oldest));
        at(words, index, READING).store(word, Ordering::SeqCst);
    }

    /// Gives the slot back.
    pub(crate) fn leave(&self, slot: &mut Slot) {
        let page = self.page();
        let Some(index) = slot.index.take() else { return };
        let words = page.words.words();
        if at(words, index, OWNER).load(Ordering::Acquire) == slot.owner {
            at(words, index, READING).store(0, Ordering::SeqCst);
            at(words, index, OWNER).store(0, Ordering::SeqCst);
        }
    }

    /// What the slots of living processes say; those of dead ones are freed.
    pub(crate) fn readings(&self) -> Vec<Reading> {
        let page = self.page();
        let words = page.words.words();
        let reading = |index: usize| {
            let owner = at(words, index, OWNER).load(Ordering::SeqCst);
            if owner == 0 || self.free_if_dead(words, index, owner) {
                return None;
            }
            let oldest = match at(words, index, READING).load(Ordering::SeqCst) {
                0 => None,
                word => Some(unseal(self.database, word).unwrap_or(0)),
            };
            Some(Reading { process: process_of(owner), oldest })
        };
        (0..SLOTS).filter_map(reading).collect()
    }

    /// How many stores read something just now.
    pub(crate) fn reading(&self) -> usize {
        self.readings().iter().filter(|reading| reading.oldest.is_some()).count()
    }

    /// The oldest record number whose state anybody reads.
    pub(crate) fn oldest(&self) -> Option<u64> {
        self.readings().into_iter().filter_map(|reading| reading.oldest).min()
    }

    /// Looks whether the file was removed or replaced, and maps the one that is there now; says whether it did. Readers
    /// look now and then, writers with each commit.
    pub(crate) fn look(&self, now: bool) -> bool {
        {
            let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
            if !now && looked.elapsed() < LOOK_AGAIN {
                return false;
            }
            *looked = Instant::now();
        }
        if self.page().file.is_named().unwrap_or(false) {
            return false;
        }
        let Ok(page) = Page::open(&self.directory, self.database) else { return false };
        *self.page.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(page);
        true
    }

    /// A slot that is not claimed yet, with an owner's number that no other slot has.
    pub(crate) fn slot(&self) -> Slot {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed) & u64::from(u32::MAX);
        Slot { owner: u64::from(self.own.id) << 32 | number, index: None }
    }

    fn number(&self, index: usize) -> Option<u64> {
        unseal(self.database, self.page().words.words()[index].load(Ordering::SeqCst))
    }

    fn raise(&self, index: usize, number: u64) {
        let page = self.page();
        let word = &page.words.words()[index];
        let higher =
            |old| (unseal(self.database, old).is_none_or(|old| old < number)).then(|| seal(self.database, number));
        // An error only says that it is as high already.
        let _ = word.fetch_update(Ordering::SeqCst, Ordering::SeqCst, higher);
    }

    fn claim(&self, words: &[AtomicU64], owner: u64) -> Option<usize> {
        (0..SLOTS).find(|&index| {
            let word = at(words, index, OWNER);
            let holder = word.load(Ordering::SeqCst);
            if holder != 0 && !self.free_if_dead(words, index, holder) {
                return false;
            }
            let is_ours = word.compare_exchange(0, owner, Ordering::SeqCst, Ordering::SeqCst).is_ok();
            if is_ours {
                at(words, index, STARTED).store(self.own.started, Ordering::SeqCst);
            }
            is_ours
        })
    }

    /// Frees a slot whose process is gone; says whether it is free.
    fn free_if_dead(&self, words: &[AtomicU64], index: usize, owner: u64) -> bool {
        let started = at(words, index, STARTED).load(Ordering::SeqCst);
        let process = Process { id: process_of(owner), started };
        if self.directory.disk.is_alive(process) {
            return false;
        }
        let word = at(words, index, OWNER);
        at(words, index, STARTED).store(0, Ordering::SeqCst);
        word.compare_exchange(owner, 0, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    fn page(&self) -> Arc<Page> {
        self.page.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Page {
    fn open(directory: &Directory, database: Ulid) -> Result<Self> {
        let file = directory.open(NAME, Mode::Ensure)?;
        let page = Self { words: file.share(WORDS)?, file };
        let words = page.words.words();
        let id = u128::from_le_bytes(database.to_bytes());
        // Every word is right by itself or not at all, so that many may do this at the same time.
        for (index, value) in [(AT_MAGIC, MAGIC), (AT_DATABASE, id as u64), (AT_DATABASE + 1, (id >> 64) as u64)] {
            words[index].store(value, Ordering::SeqCst);
        }
        Ok(page)
    }
}

fn at(words: &[AtomicU64], slot: usize, word: usize) -> &AtomicU64 {
    &words[AT_SLOTS + slot * SLOT + word]
}

fn process_of(owner: u64) -> u32 {
    (owner >> 32) as u32
}

/// A number and its check, in which the database has a part; never 0.
fn seal(database: Ulid, number: u64) -> u64 {
    let number = number & NUMBER;
    let mut bytes = [0; 24];
    bytes[..16].copy_from_slice(&database.to_bytes());
    bytes[16..].copy_from_slice(&number.to_le_bytes());
    let check = crc32c(&bytes);
    let check = (check ^ check >> 16) & 0xffff;
    u64::from(check.max(1)) << BITS | number
}

fn unseal(database: Ulid, word: u64) -> Option<u64> {
    let number = word & NUMBER;
    (seal(database, number) == word).then_some(number)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::storage::tests::faulty::Twin;

    const ID: Ulid = Ulid::from_bytes([7; 16]);

    proptest! {
        #[test]
        fn one_or_two_flipped_bits_are_seen_and_so_is_another_database(number in 0..=NUMBER, one in 0..64, two in 0..64) {
            let word = seal(ID, number);
            prop_assert!(word != 0 && unseal(ID, word) == Some(number));
            prop_assert_eq!(unseal(ID, word ^ 1_u64 << one), None);
            prop_assert!(one == two || unseal(ID, word ^ 1_u64 << one ^ 1_u64 << two) != Some(number));
            prop_assert_ne!(unseal(Ulid::from_bytes([8; 16]), word), Some(number));
        }

        #[test]
        fn any_words_say_nothing_wrong_and_slots_work_after_them(words in proptest::collection::vec(any::<u64>(), WORDS)) {
            let twin = Twin::new(1);
            let directory = twin.directory();
            let shm = Shm::open(&directory, ID).unwrap();
            shm.set_durable(5);
            twin.scribble(NAME, |page| page.iter().zip(&words).for_each(|(old, new)| old.store(*new, Ordering::SeqCst)));
            // A random word passes for a number once in 65,536 times.
            prop_assume!(words[AT_DURABLE] == 0 || unseal(ID, words[AT_DURABLE]).is_none());
            prop_assert_eq!(shm.durable(), None);
            shm.set_durable(9);
            prop_assert_eq!(shm.durable(), Some(9));
            let other = Shm::open(&directory, ID).unwrap();
            let mut slot = other.slot();
            other.enter(&mut slot, Some(3));
            prop_assert!(shm.readings().iter().any(|reading| reading.oldest == Some(3)));
            other.leave(&mut slot);
            prop_assert!(shm.readings().iter().all(|reading| reading.oldest != Some(3)));
        }
    }

    #[test]
    fn slots_of_the_dead_are_used_again_and_a_full_page_takes_nobody() {
        let twin = Twin::new(1);
        let shm = Shm::open(&twin.directory(), ID).unwrap();
        let mut slots: Vec<Slot> = (0..=SLOTS).map(|_| shm.slot()).collect();
        (0..).zip(&mut slots).for_each(|(number, slot)| shm.enter(slot, Some(10 + number)));
        assert!(slots[..SLOTS].iter().all(|slot| slot.index.is_some()) && slots[SLOTS].index.is_none());
        assert_eq!((shm.readings().len(), shm.oldest()), (SLOTS, Some(10)));
        shm.leave(&mut slots[0]);
        shm.enter(&mut slots[SLOTS], Some(500));
        assert_eq!((shm.readings().len(), shm.oldest()), (SLOTS, Some(11)));
        twin.restart();
        assert_eq!(shm.readings(), []);
        let shm = Shm::open(&twin.directory(), ID).unwrap();
        let mut slot = shm.slot();
        shm.enter(&mut slot, Some(2));
        assert_eq!((slot.index, shm.oldest()), (Some(0), Some(2)));
    }

    #[test]
    fn a_removed_file_is_noticed() {
        let twin = Twin::new(1);
        let directory = twin.directory();
        let shm = Shm::open(&directory, ID).unwrap();
        shm.set_durable(5);
        assert!(!shm.look(true));
        directory.remove(NAME).unwrap();
        let other = Shm::open(&directory, ID).unwrap();
        assert_eq!((other.durable(), shm.durable()), (None, Some(5)));
        assert!(shm.look(true));
        shm.set_durable(6);
        assert_eq!(other.durable(), Some(6));
    }
}
