//! A disk that fails at one call, or from one call on, for tests: what stands above must leave nothing behind that is
//! seen or that stays.

use crate::files::{Disk, LocalDisk, NewFile, OldFile};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Which calls fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The n-th, counted from 0.
    Once(usize),
    /// The n-th and all after it, as when the power goes.
    From(usize),
}

#[derive(Clone)]
pub struct FaultyDisk {
    fault: Fault,
    calls: Arc<AtomicUsize>,
}

impl FaultyDisk {
    pub fn new(fault: Fault) -> Self {
        Self { fault, calls: Arc::default() }
    }

    /// Whether the failing call was reached.
    pub fn has_failed(&self) -> bool {
        let (Fault::Once(call) | Fault::From(call)) = self.fault;
        self.calls.load(Ordering::Relaxed) > call
    }

    fn step(&self) -> io::Result<()> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let fails = match self.fault {
            Fault::Once(failing) => call == failing,
            Fault::From(failing) => call >= failing,
        };
        if fails { Err(io::Error::other(format!("call {call} fails"))) } else { Ok(()) }
    }
}

impl Disk for FaultyDisk {
    fn make_folder(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        LocalDisk.make_folder(path)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn NewFile>> {
        self.step()?;
        Ok(Box::new(FaultyFile { disk: self.clone(), inner: LocalDisk.create(path)? }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn OldFile>> {
        self.step()?;
        Ok(Box::new(FaultyFile { disk: self.clone(), inner: LocalDisk.open(path)? }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step()?;
        LocalDisk.rename(from, to)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        LocalDisk.sync_folder(path)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        LocalDisk.remove(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<(PathBuf, u64)>> {
        self.step()?;
        LocalDisk.list(path)
    }
}

struct FaultyFile<F> {
    disk: FaultyDisk,
    inner: F,
}

impl NewFile for FaultyFile<Box<dyn NewFile>> {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Err(error) = self.disk.step() {
            // A write that fails may have written a part.
            self.inner.append(&bytes[..bytes.len() / 2])?;
            return Err(error);
        }
        self.inner.append(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.disk.step()?;
        self.inner.sync()
    }
}

impl OldFile for FaultyFile<Box<dyn OldFile>> {
    fn size(&self) -> io::Result<u64> {
        self.disk.step()?;
        self.inner.size()
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.disk.step()?;
        self.inner.read_at(offset, buffer)
    }
}
