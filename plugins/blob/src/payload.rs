//! Bytes of objects: small ones stay with their row, larger ones become an immutable file `data/xx/<ulid>` that is
//! complete and synced before anybody can refer to it. Every chunk that is read is checked. It refuses to know buckets
//! and keys: who reads adds them to what went wrong.

use crate::code::{self, io_error};
use crate::digest::{CHUNK_BYTES, Digests, Summary, checksum, chunk_count};
use crate::files::{Disk, OldFile};
use kodiak_plugin_api::{Error, Result};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use ulid::Ulid;

/// Objects of at most so many bytes stay in their row.
pub const INLINE_BYTES_MAX: usize = 16 << 10;

/// Where payloads are.
#[derive(Clone)]
pub struct Payloads {
    root: PathBuf,
    disk: Arc<dyn Disk>,
}

/// A stretch of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// The first.
    pub offset: u64,
    /// How many.
    pub length: u64,
}

impl Stretch {
    /// The part that an object of `size` bytes has of `length` bytes from `offset`, which both may be left out.
    ///
    /// # Errors
    /// `RANGE` for negative numbers.
    pub fn within(size: u64, offset: Option<i64>, length: Option<i64>) -> Result<Self> {
        let check = |number: i64, what: &str| {
            u64::try_from(number).map_err(|_| code::RANGE.error(format!("the {what} of a range is {number}")))
        };
        let offset = offset.map_or(Ok(0), |offset| check(offset, "offset"))?.min(size);
        let length = length.map_or(Ok(u64::MAX), |length| check(length, "length"))?.min(size - offset);
        Ok(Self { offset, length })
    }
}

impl Payloads {
    /// Payloads under `root`, the extension's folder in the database.
    pub fn new(root: PathBuf, disk: Arc<dyn Disk>) -> Self {
        Self { root, disk }
    }

    /// The extension's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The disk.
    pub fn disk(&self) -> &dyn Disk {
        &*self.disk
    }

    /// The file of a payload.
    pub fn path(&self, id: &str) -> PathBuf {
        self.folder(id).join(id)
    }

    /// The folder of payloads.
    pub fn data_folder(&self) -> PathBuf {
        self.root.join("data")
    }

    /// The folder of payloads that are not complete.
    pub fn temporary_folder(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// The last two characters of an id are random, the first ones are the time: they would fill one folder at a time.
    fn folder(&self, id: &str) -> PathBuf {
        let shard = id.get(id.len().saturating_sub(2)..).unwrap_or(id).to_ascii_lowercase();
        self.data_folder().join(shard)
    }

    /// Writes what comes from `source`, whose first bytes were read already, to a file, and makes it last. `seen` is
    /// told the bytes so far after each chunk.
    ///
    /// # Errors
    /// Of the source, of the disk, of `seen`; no file is left then, if the disk lets it be removed.
    pub fn write(
        &self,
        id: &str,
        first: &[u8],
        source: &mut dyn Read,
        seen: &mut dyn FnMut(u64) -> Result<()>,
    ) -> Result<Summary> {
        let (temporary, target) = (self.temporary_folder().join(id), self.path(id));
        let written = self.write_temporary(&temporary, first, source, seen);
        let done = written.and_then(|summary| self.publish(&temporary, &target, id).map(|()| summary));
        if done.is_err() {
            // What cannot be removed now is swept later; the first failure is what matters.
            let _ = self.disk.remove(&temporary);
            let _ = self.disk.remove(&target);
        }
        done
    }

    fn write_temporary(
        &self,
        path: &Path,
        first: &[u8],
        source: &mut dyn Read,
        seen: &mut dyn FnMut(u64) -> Result<()>,
    ) -> Result<Summary> {
        let folder = self.temporary_folder();
        self.disk.make_folder(&folder).map_err(|error| io_error("create", &folder, &error))?;
        let mut file = self.disk.create(path).map_err(|error| io_error("create", path, &error))?;
        let (mut digests, mut source) = (Digests::default(), first.chain(source));
        let (mut bytes, mut used) = (0, Vec::new());
        loop {
            let mut chunk = free_chunk(&mut used);
            let length = match Arc::get_mut(&mut chunk) {
                Some(buffer) => {
                    let length = fill(&mut source, buffer)?;
                    buffer.truncate(length);
                    length
                }
                None => unreachable!("a free chunk has one owner"),
            };
            if length == 0 {
                break;
            }
            digests.update(&chunk);
            file.append(&chunk).map_err(|error| io_error("write", path, &error))?;
            bytes += length as u64;
            seen(bytes)?;
            if length < CHUNK_BYTES {
                break;
            }
            used.push(chunk);
        }
        file.sync().map_err(|error| io_error("sync", path, &error))?;
        Ok(digests.finish())
    }

    fn publish(&self, temporary: &Path, target: &Path, id: &str) -> Result<()> {
        let (folder, data) = (self.folder(id), self.data_folder());
        let sync = |path: &Path| self.disk.sync_folder(path).map_err(|error| io_error("sync", path, &error));
        if let Err(error) = self.disk.rename(temporary, target) {
            if error.kind() != io::ErrorKind::NotFound {
                return Err(io_error("rename", temporary, &error));
            }
            // The first payload of its folder: the folder's own name has to last, too.
            self.disk.make_folder(&folder).map_err(|error| io_error("create", &folder, &error))?;
            sync(&data)?;
            sync(&self.root)?;
            self.disk.rename(temporary, target).map_err(|error| io_error("rename", temporary, &error))?;
        }
        sync(&folder)
    }

    /// Removes a payload that nobody refers to.
    ///
    /// # Errors
    /// Of the disk.
    pub fn remove(&self, id: &str) -> Result<()> {
        let path = self.path(id);
        self.disk.remove(&path).map_err(|error| io_error("remove", &path, &error))
    }

    /// Opens a payload whose row says that it has `size` bytes and these checksums.
    ///
    /// # Errors
    /// `MISSING`, or `DAMAGED` when its size is another one.
    pub fn open(&self, id: &str, size: u64, checksums: Vec<u8>) -> Result<Reader> {
        let path = self.path(id);
        let file = self.disk.open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => code::MISSING.error(format!("the payload file `{}` is missing", path.display())),
            _ => io_error("open", &path, &error),
        })?;
        let found = file.size().map_err(|error| io_error("read", &path, &error))?;
        if found != size {
            let message = format!("the payload file `{}` is damaged: {found} bytes instead of {size}", path.display());
            return Err(code::DAMAGED.error(message));
        }
        if checksums.len() as u64 != 4 * chunk_count(size) {
            let message = format!("the payload `{id}` of {size} bytes has {} checksums", checksums.len() / 4);
            return Err(code::RECORD.error(message));
        }
        Ok(Reader { file, path, size, checksums, buffer: Vec::new() })
    }
}

/// A payload that is being read.
pub struct Reader {
    file: Box<dyn OldFile>,
    path: PathBuf,
    size: u64,
    checksums: Vec<u8>,
    buffer: Vec<u8>,
}

impl Reader {
    /// Gives the bytes of `stretch` to `sink`, piece by piece, each checked before.
    ///
    /// # Errors
    /// `DAMAGED`, of the disk, or of the sink.
    pub fn read(&mut self, stretch: Stretch, sink: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let chunk_bytes = CHUNK_BYTES as u64;
        let (start, end) = (stretch.offset, (stretch.offset + stretch.length).min(self.size));
        if start >= end {
            return Ok(());
        }
        for index in start / chunk_bytes..chunk_count(end) {
            let offset = index * chunk_bytes;
            self.load(index, offset)?;
            // Both lie within the chunk, so they fit.
            let from = start.saturating_sub(offset) as usize;
            let to = (end - offset).min(chunk_bytes) as usize;
            sink(&self.buffer[from..to])?;
        }
        Ok(())
    }

    fn load(&mut self, index: u64, offset: u64) -> Result<()> {
        let length = (self.size - offset).min(CHUNK_BYTES as u64) as usize;
        self.buffer.resize(length, 0);
        let read = self.file.read_at(offset, &mut self.buffer);
        read.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => self.damaged(offset, "it ends too early"),
            _ => io_error("read", &self.path, &error),
        })?;
        if checksum(&self.checksums, index) != Some(crc32c::crc32c(&self.buffer)) {
            return Err(self.damaged(offset, "its checksum does not match"));
        }
        Ok(())
    }

    fn damaged(&self, offset: u64, how: &str) -> Error {
        let message = format!("the payload file `{}` is damaged near byte {offset}: {how}", self.path.display());
        code::DAMAGED.error(message)
    }
}

/// A whole chunk that the digests' threads are done with, or a new one: fresh pages cost more than writing to them.
fn free_chunk(used: &mut Vec<Arc<Vec<u8>>>) -> Arc<Vec<u8>> {
    let free = used.iter_mut().position(|chunk| Arc::get_mut(chunk).is_some());
    free.map_or_else(|| Arc::new(vec![0; CHUNK_BYTES]), |free| used.swap_remove(free))
}

/// Fills `buffer` as far as the source goes.
///
/// # Errors
/// Of the source.
pub fn fill(source: &mut dyn Read, buffer: &mut [u8]) -> Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(source_error(error)),
        }
    }
    Ok(filled)
}

/// A plugin's error that travelled through `std::io` comes out as it went in.
fn source_error(error: io::Error) -> Error {
    let text = error.to_string();
    match error.into_inner().map(|inner| inner.downcast::<Error>()) {
        Some(Ok(ours)) => *ours,
        _ => code::FILE.error(format!("cannot read the content: {text}")),
    }
}

/// A new id for a payload.
pub fn new_id() -> String {
    Ulid::generate().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::LocalDisk;

    fn payloads() -> (tempfile::TempDir, Payloads) {
        let folder = tempfile::tempdir().unwrap();
        let payloads = Payloads::new(folder.path().to_owned(), Arc::new(LocalDisk));
        (folder, payloads)
    }

    fn bytes(length: usize) -> Vec<u8> {
        (0..length).map(|i| (i * 131 % 251) as u8).collect()
    }

    fn put(payloads: &Payloads, bytes: &[u8]) -> (String, Summary) {
        let id = new_id();
        let (first, mut rest) = bytes.split_at(bytes.len().min(10));
        let summary = payloads.write(&id, first, &mut rest, &mut |_| Ok(())).unwrap();
        (id, summary)
    }

    fn get(payloads: &Payloads, id: &str, summary: &Summary, stretch: Stretch) -> Result<Vec<u8>> {
        let mut found = Vec::new();
        payloads.open(id, summary.size, summary.checksums.clone())?.read(stretch, &mut |piece| {
            found.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(found)
    }

    #[test]
    fn what_is_written_is_read_in_any_range() {
        let (_folder, payloads) = payloads();
        let chunk = CHUNK_BYTES as u64;
        for length in [11, CHUNK_BYTES - 1, CHUNK_BYTES, 2 * CHUNK_BYTES + 5] {
            let bytes = bytes(length);
            let (id, summary) = put(&payloads, &bytes);
            assert_eq!(summary, Summary::of(&bytes));
            let size = length as u64;
            for (offset, wanted) in
                [(0, size), (0, 0), (size, 10), (size - 1, 1), (chunk - 1, 2), (3, chunk), (chunk, 9)]
            {
                let stretch = Stretch::within(size, Some(offset as i64), Some(wanted as i64)).unwrap();
                let (from, to) = (offset.min(size) as usize, (offset + wanted).min(size) as usize);
                assert_eq!(get(&payloads, &id, &summary, stretch).unwrap(), bytes[from..to.max(from)]);
            }
        }
        assert!(payloads.disk().list(&payloads.temporary_folder()).unwrap().is_empty());
    }

    #[test]
    fn ranges_are_shortened_and_never_negative() {
        let whole = Stretch { offset: 0, length: 10 };
        assert_eq!(Stretch::within(10, None, None).unwrap(), whole);
        assert_eq!(Stretch::within(10, Some(4), Some(100)).unwrap(), Stretch { offset: 4, length: 6 });
        assert_eq!(Stretch::within(10, Some(i64::MAX), Some(i64::MAX)).unwrap(), Stretch { offset: 10, length: 0 });
        assert!(code::RANGE.is(&Stretch::within(10, Some(-1), None).unwrap_err()));
        assert!(code::RANGE.is(&Stretch::within(10, None, Some(-1)).unwrap_err()));
    }

    #[test]
    fn a_flipped_byte_is_found_by_every_read_that_touches_its_chunk() {
        let (_folder, payloads) = payloads();
        let original = bytes(2 * CHUNK_BYTES + 100);
        let (id, summary) = put(&payloads, &original);
        let path = payloads.path(&id);
        for place in [0, 17, CHUNK_BYTES - 1, CHUNK_BYTES, 2 * CHUNK_BYTES, 2 * CHUNK_BYTES + 99] {
            let mut damaged = original.clone();
            damaged[place] ^= 0x10;
            std::fs::write(&path, &damaged).unwrap();
            let chunk = place / CHUNK_BYTES;
            for index in 0..3 {
                // A byte at the start of each chunk, far from the damage.
                let stretch = Stretch { offset: (index * CHUNK_BYTES) as u64 + 5, length: 1 };
                let read = get(&payloads, &id, &summary, stretch);
                match index == chunk {
                    true => assert!(code::DAMAGED.is(&read.unwrap_err())),
                    false => assert_eq!(read.unwrap(), original[index * CHUNK_BYTES + 5..][..1]),
                }
            }
        }
    }

    #[test]
    fn a_shorter_longer_or_missing_file_is_named() {
        let (_folder, payloads) = payloads();
        let original = bytes(CHUNK_BYTES + 1);
        let (id, summary) = put(&payloads, &original);
        let (path, whole) = (payloads.path(&id), Stretch { offset: 0, length: summary.size });
        for content in [&original[..CHUNK_BYTES], &[original.clone(), vec![0]].concat()] {
            std::fs::write(&path, content).unwrap();
            let error = get(&payloads, &id, &summary, whole).unwrap_err();
            assert!(code::DAMAGED.is(&error) && error.text().contains(&id), "{error}");
        }
        std::fs::remove_file(&path).unwrap();
        let error = get(&payloads, &id, &summary, whole).unwrap_err();
        assert!(code::MISSING.is(&error) && error.text().contains(path.to_str().unwrap()), "{error}");
    }

    #[test]
    fn a_source_that_fails_leaves_no_file_and_keeps_its_error() {
        struct Failing(usize);
        impl Read for Failing {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.0 = self.0.checked_sub(1).ok_or_else(|| io::Error::other(Error::new("X-1", "gone")))?;
                buffer.fill(7);
                Ok(buffer.len())
            }
        }
        let (_folder, payloads) = payloads();
        let error = payloads.write(&new_id(), &[], &mut Failing(2), &mut |_| Ok(())).unwrap_err();
        assert_eq!(error, Error::new("X-1", "gone"));
        assert!(payloads.disk().list(&payloads.temporary_folder()).unwrap().is_empty());
    }
}
