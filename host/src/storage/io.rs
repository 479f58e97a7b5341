//! The only door to database files: what a disk can do, as a trait, so that a faulty twin can stand in for it and fail
//! at every call. Errors carry the verb and the path. It refuses to know formats.
#![allow(unsafe_code)]

mod process;
mod shared;

use std::fmt::Debug;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

pub(crate) use self::process::Process;
pub(crate) use self::shared::Shared;
use crate::error::{Error, Result, codes};

/// How to open a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Read,
    /// What is there, for reading and writing.
    Write,
    /// What is there or else an empty file, for reading and writing.
    Ensure,
    /// An empty file, whatever was there.
    Truncate,
}

/// Files are copied in pieces of this size.
const COPY_BYTES: u64 = 4 << 20;

/// A file system, as far as a database needs it.
pub(crate) trait Disk: Debug + Send + Sync {
    fn open(&self, path: &Path, mode: Mode) -> io::Result<Arc<dyn DiskFile>>;
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;
    /// Makes creations, renames and removals in a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Who we are.
    fn process(&self) -> Process;
    /// Whether another process runs still.
    fn is_alive(&self, process: Process) -> bool;
}

/// An open file.
pub(crate) trait DiskFile: Debug + Send + Sync {
    fn len(&self) -> io::Result<u64>;
    /// Reads until the buffer is full or the file ends, and says how much that was.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    fn set_len(&self, length: u64) -> io::Result<()>;
    /// Makes the contents durable.
    fn sync(&self) -> io::Result<()>;
    /// Waits until no other open file holds the lock; it ends with `unlock`, and with the process.
    fn lock(&self) -> io::Result<()>;
    fn try_lock(&self) -> io::Result<bool>;
    fn unlock(&self) -> io::Result<()>;
    /// The file's contents, without reading them.
    fn map(&self) -> io::Result<Bytes>;
    /// The first words of the file, shared with all who have it open; it is made that long.
    fn share(&self, words: usize) -> io::Result<Arc<dyn Shared>>;
    /// Whether a name still leads to the file: it may have been removed or replaced since it was opened.
    fn is_named(&self) -> io::Result<bool>;
}

/// The operating system's.
#[derive(Debug)]
pub(crate) struct System;

impl Disk for System {
    fn open(&self, path: &Path, mode: Mode) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = fs::OpenOptions::new();
        options.read(true).write(mode != Mode::Read);
        options.create(matches!(mode, Mode::Ensure | Mode::Truncate)).truncate(mode == Mode::Truncate);
        Ok(Arc::new(options.open(path)?))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        fs::read_dir(path)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        fs::File::open(path)?.sync_all()
    }

    fn process(&self) -> Process {
        process::current()
    }

    fn is_alive(&self, process: Process) -> bool {
        process::is_alive(process)
    }
}

impl DiskFile for fs::File {
    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            match std::os::unix::fs::FileExt::read_at(self, &mut buffer[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(self, bytes, offset)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        Self::set_len(self, length)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn lock(&self) -> io::Result<()> {
        Self::lock(self)
    }

    fn try_lock(&self) -> io::Result<bool> {
        match Self::try_lock(self) {
            Ok(()) => Ok(true),
            Err(fs::TryLockError::WouldBlock) => Ok(false),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }

    fn unlock(&self) -> io::Result<()> {
        Self::unlock(self)
    }

    fn map(&self) -> io::Result<Bytes> {
        if self.metadata()?.len() == 0 {
            return Ok(Bytes::new());
        }
        // SAFETY: segment files are written once and never changed or shortened while they are part of a database;
        // every process that opens it upholds that, and the contents are validated before they are believed. Growth
        // of a file that is still being written does not touch what is mapped.
        let map = unsafe { memmap2::Mmap::map(self) }?;
        Ok(Bytes::from_owner(map))
    }

    fn share(&self, words: usize) -> io::Result<Arc<dyn Shared>> {
        Ok(Arc::new(shared::Mapped::of(self, words)?))
    }

    fn is_named(&self) -> io::Result<bool> {
        Ok(std::os::unix::fs::MetadataExt::nlink(&self.metadata()?) > 0)
    }
}

/// The database's directory.
#[derive(Clone, Debug)]
pub(crate) struct Directory {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) root: PathBuf,
}

impl Directory {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.root.clone() } else { self.root.join(name) }
    }

    pub(crate) fn open(&self, name: &str, mode: Mode) -> Result<File> {
        let path = self.path(name);
        let verb = if matches!(mode, Mode::Ensure | Mode::Truncate) { "create" } else { "open" };
        let file = self.disk.open(&path, mode).map_err(|error| Error::io(verb, &path, &error))?;
        Ok(File { file, path: path.into(), name: name.into() })
    }

    /// Opens a file for reading if it is there.
    pub(crate) fn open_if_there(&self, name: &str) -> Result<Option<File>> {
        let path = self.path(name);
        match self.disk.open(&path, Mode::Read) {
            Ok(file) => Ok(Some(File { file, path: path.into(), name: name.into() })),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(Error::io("open", &path, &error)),
        }
    }

    /// The whole of a file, if it is there.
    pub(crate) fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        self.open_if_there(name)?.map(|file| file.read_from(0)).transpose()
    }

    pub(crate) fn exists(&self) -> bool {
        !matches!(self.disk.list(&self.root), Err(error) if error.kind() == ErrorKind::NotFound)
    }

    /// Makes the creation of the directory itself durable.
    pub(crate) fn sync_parent(&self) -> Result<()> {
        let parent = self.root.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.map_or_else(|| PathBuf::from("."), Path::to_owned);
        self.disk.sync_dir(&parent).map_err(|error| Error::io("sync", &parent, &error))
    }

    pub(crate) fn create_dir(&self, name: &str) -> Result<()> {
        let path = self.path(name);
        self.disk.create_dir(&path).map_err(|error| Error::io("create", &path, &error))
    }

    pub(crate) fn list(&self, name: &str) -> Result<Vec<String>> {
        let path = self.path(name);
        let mut names = self.disk.list(&path).map_err(|error| Error::io("list", &path, &error))?;
        names.sort_unstable();
        Ok(names)
    }

    /// Removes a file; one that is gone already is as good as removed.
    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        let path = self.path(name);
        match self.disk.remove(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io("remove", &path, &error)),
            _ => Ok(()),
        }
    }

    pub(crate) fn sync_dir(&self, name: &str) -> Result<()> {
        let path = self.path(name);
        self.disk.sync_dir(&path).map_err(|error| Error::io("sync", &path, &error))
    }

    /// The names in a folder, if there is such a folder.
    pub(crate) fn list_if_folder(&self, name: &str) -> Result<Option<Vec<String>>> {
        let path = self.path(name);
        match self.disk.list(&path) {
            Ok(mut names) => {
                names.sort_unstable();
                Ok(Some(names))
            }
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(Error::io("list", &path, &error)),
        }
    }

    /// Puts the first `length` bytes of an open file under a name, as a whole; the name is durable after `sync_dir`.
    pub(crate) fn copy(&self, from: &File, length: u64, name: &str) -> Result<()> {
        let temporary = format!("{name}.tmp");
        let file = self.open(&temporary, Mode::Truncate)?;
        let mut offset = 0;
        while offset < length {
            let bytes = from.read_range(offset, (length - offset).min(COPY_BYTES))?;
            if bytes.is_empty() {
                return Err(corrupt(&from.name, "it became shorter while it was copied"));
            }
            file.write_at(&bytes, offset)?;
            offset += bytes.len() as u64;
        }
        file.sync()?;
        let (from, to) = (self.path(&temporary), self.path(name));
        self.disk.rename(&from, &to).map_err(|error| Error::io("rename", &from, &error))
    }

    /// Replaces a file as a whole: after a crash it has the old contents or the new.
    pub(crate) fn replace(&self, folder: &str, name: &str, bytes: &[u8]) -> Result<()> {
        let full = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
        let temporary = format!("{full}.tmp");
        let file = self.open(&temporary, Mode::Truncate)?;
        file.write_at(bytes, 0)?;
        file.sync()?;
        let (from, to) = (self.path(&temporary), self.path(&full));
        self.disk.rename(&from, &to).map_err(|error| Error::io("rename", &from, &error))?;
        self.sync_dir(folder)
    }
}

/// An open file of a database.
#[derive(Clone, Debug)]
pub(crate) struct File {
    file: Arc<dyn DiskFile>,
    path: Arc<Path>,
    /// Relative to the database.
    pub(crate) name: Arc<str>,
}

impl File {
    fn fail<T>(&self, verb: &str, result: io::Result<T>) -> Result<T> {
        result.map_err(|error| Error::io(verb, &self.path, &error))
    }

    pub(crate) fn len(&self) -> Result<u64> {
        self.fail("measure", self.file.len())
    }

    /// Everything from `offset` to the end.
    pub(crate) fn read_from(&self, offset: u64) -> Result<Vec<u8>> {
        let length = usize::try_from(self.len()?.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; length];
        let read = self.fail("read", self.file.read_at(&mut bytes, offset))?;
        bytes.truncate(read);
        Ok(bytes)
    }

    /// At most `length` bytes from `offset` on.
    pub(crate) fn read_range(&self, offset: u64, length: u64) -> Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
        let read = self.fail("read", self.file.read_at(&mut bytes, offset))?;
        bytes.truncate(read);
        Ok(bytes)
    }

    /// At most the first `length` bytes.
    pub(crate) fn read_head(&self, length: u64) -> Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(self.len()?.min(length)).unwrap_or(usize::MAX)];
        let read = self.fail("read", self.file.read_at(&mut bytes, 0))?;
        bytes.truncate(read);
        Ok(bytes)
    }

    pub(crate) fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        self.fail("write", self.file.write_at(bytes, offset))
    }

    pub(crate) fn set_len(&self, length: u64) -> Result<()> {
        self.fail("shorten", self.file.set_len(length))
    }

    pub(crate) fn sync(&self) -> Result<()> {
        self.fail("sync", self.file.sync())
    }

    pub(crate) fn lock(&self) -> Result<()> {
        self.file.lock().map_err(|error| self.cannot_lock(&error))
    }

    pub(crate) fn try_lock(&self) -> Result<bool> {
        self.file.try_lock().map_err(|error| self.cannot_lock(&error))
    }

    pub(crate) fn unlock(&self) -> Result<()> {
        self.fail("unlock", self.file.unlock())
    }

    pub(crate) fn map(&self) -> Result<Bytes> {
        self.fail("map", self.file.map())
    }

    pub(crate) fn share(&self, words: usize) -> Result<Arc<dyn Shared>> {
        self.fail("map", self.file.share(words))
    }

    pub(crate) fn is_named(&self) -> Result<bool> {
        self.fail("look at", self.file.is_named())
    }

    fn cannot_lock(&self, error: &io::Error) -> Error {
        if !is_without_locks(error) {
            return Error::io("lock", &self.path, error);
        }
        let message = format!(
            "the file system of `{}` cannot lock files, so a database there is not safe: {error}",
            self.path.display()
        );
        Error::new(codes::LOCKED, message)
            .help("keep the database on a local disk, or on a network file system with locks")
    }
}

/// Whether a lock failed because the file system has none, as network file systems say in several ways.
fn is_without_locks(error: &io::Error) -> bool {
    // ENOLCK, ENOSYS and EOPNOTSUPP of Linux, the BSDs and macOS, where they have no kind of their own.
    let codes: &[i32] = if cfg!(target_os = "linux") { &[37, 38, 95] } else { &[77, 78, 45, 102] };
    error.kind() == ErrorKind::Unsupported || error.raw_os_error().is_some_and(|code| codes.contains(&code))
}

/// Damage, naming the file.
pub(crate) fn corrupt(file: &str, problem: &str) -> Error {
    Error::new(codes::CORRUPT, format!("`{file}` is damaged: {problem}"))
        .help("run `kodiak db check` for a list of what is wrong, and restore from a backup")
}
