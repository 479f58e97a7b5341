//! Memory that all processes share which have a file open: 64-bit words, read and written atomically. It refuses to
//! know what they mean.
#![allow(unsafe_code)]

use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::sync::atomic::AtomicU64;

use memmap2::{MmapOptions, MmapRaw};

/// Shared words.
pub(crate) trait Shared: Debug + Send + Sync {
    fn words(&self) -> &[AtomicU64];
}

/// Words at the beginning of a file.
#[derive(Debug)]
pub(super) struct Mapped {
    map: MmapRaw,
    count: usize,
}

impl Mapped {
    /// Maps so many words of a file, and makes it that long.
    pub(super) fn of(file: &File, count: usize) -> io::Result<Self> {
        let bytes = count * size_of::<AtomicU64>();
        if file.metadata()?.len() < bytes as u64 {
            file.set_len(bytes as u64)?;
        }
        Ok(Self { map: MmapOptions::new().len(bytes).map_raw(file)?, count })
    }
}

impl Shared for Mapped {
    fn words(&self) -> &[AtomicU64] {
        // SAFETY: the map is page-aligned, has `count` words and lives as long as `self`; any bits are a valid word,
        // and nobody reads or writes them but atomically: every process comes through here. Whoever shortens the file
        // while it is in use breaks the process, as the page on operations says.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().cast::<AtomicU64>(), self.count) }
    }
}

/// Words that no other process has: for a disk in memory.
#[cfg(test)]
impl Shared for Vec<AtomicU64> {
    fn words(&self) -> &[AtomicU64] {
        self
    }
}
