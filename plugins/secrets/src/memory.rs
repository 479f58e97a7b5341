//! Records in memory with transactions, and a disk that ends at any write: for tests. It refuses to be fast.

use crate::code;
use crate::records::Records;
use kodiak_plugin_api::Result;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// Records in memory.
#[derive(Default)]
pub struct Memory {
    committed: RefCell<Map>,
    open: RefCell<Option<Map>>,
    /// Writes that are still let through; none for all of them.
    left: Cell<Option<usize>>,
    writes: Cell<usize>,
}

impl Memory {
    /// Runs `f` in a transaction, which stays when it ends well, and goes when it does not.
    pub fn atomically<T>(&self, f: impl FnOnce() -> Result<T>) -> Result<T> {
        *self.open.borrow_mut() = Some(self.committed.borrow().clone());
        // A commit is a write as well: the process may end before it.
        let done = f().and_then(|done| self.write().map(|()| done));
        let open = self.open.borrow_mut().take();
        if let (true, Some(open)) = (done.is_ok(), open) {
            *self.committed.borrow_mut() = open;
        }
        done
    }

    /// Ends the process, so to speak, before the write of this number.
    pub fn fail_at(&self, write: usize) {
        self.left.set(Some(write));
    }

    /// A new process.
    pub fn restart(&self) {
        self.left.set(None);
        self.open.borrow_mut().take();
    }

    /// How many writes there were since the last call.
    pub fn take_writes(&self) -> usize {
        self.writes.take()
    }

    /// What is committed, to be looked at or tampered with.
    pub fn map(&self) -> std::cell::RefMut<'_, Map> {
        self.committed.borrow_mut()
    }

    fn write(&self) -> Result<()> {
        self.writes.set(self.writes.get() + 1);
        match self.left.get() {
            None => Ok(()),
            Some(0) => Err(code::FILE.error("the disk ended")),
            Some(left) => {
                self.left.set(Some(left - 1));
                Ok(())
            }
        }
    }

    fn change(&self, change: impl FnOnce(&mut Map)) -> Result<()> {
        self.write()?;
        match &mut *self.open.borrow_mut() {
            Some(open) => change(open),
            None => change(&mut self.committed.borrow_mut()),
        }
        Ok(())
    }

    fn read<T>(&self, read: impl FnOnce(&Map) -> T) -> T {
        match &*self.open.borrow() {
            Some(open) => read(open),
            None => read(&self.committed.borrow()),
        }
    }
}

impl Records for Memory {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.read(|map| map.get(key).cloned()))
    }

    fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.change(|map| drop(map.insert(key.to_vec(), value.to_vec())))
    }

    fn remove(&self, key: &[u8]) -> Result<()> {
        self.change(|map| drop(map.remove(key)))
    }

    fn scan(&self, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let found = |map: &Map| {
            let from = map.range(prefix.to_vec()..).take_while(|(key, _)| key.starts_with(prefix));
            from.map(|(key, value)| (key.clone(), value.clone())).collect()
        };
        Ok(self.read(found))
    }
}
