//! Backups: a copy of the database's files as of a moment, in another directory, while others go on reading and
//! writing. What is there already and cannot have changed is not copied again. It refuses to touch a directory that
//! holds anything else, and until the last step the backup that was there stays what it was.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crc32c::crc32c;
use ulid::Ulid;

use super::checkpoint::Effort;
use super::codec::{Decoder, Encoder};
use super::commit::Shared;
use super::index;
use super::io::{Directory, Disk, File, Mode, corrupt};
use super::manifest;
use super::open;
use super::recover::Files;
use super::segment;
use super::spec::Copied;
use super::wal;
use crate::error::{Error, Result, codes};

/// The file that makes a directory a backup: it is opened for reading only.
pub(crate) const MARK: &str = "BACKUP";
const MAGIC: &[u8; 8] = b"KDKBAK01";

/// The file that a restored database has: a number of its own, so that it does not go over the backup that it is of.
pub(crate) const LINE: &str = "LINE";

/// What a backup is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    database: Ulid,
    /// Nil for a database that was never restored.
    line: Ulid,
    /// 0 while the first backup is not complete.
    version: u64,
}

/// Folders of immutable files, whose names tell their contents.
const FIXED: [&str; 2] = [segment::FOLDER, index::FOLDER];
/// Folders of files by number.
const NUMBERED: [&str; 2] = [wal::FOLDER, manifest::FOLDER];

/// What a backup consists of: files with their lengths, still open where they may be removed while we copy.
struct Inventory {
    /// By path: segments and indexes.
    fixed: BTreeMap<String, u64>,
    /// By path, in ascending order: log files and manifests.
    numbered: BTreeMap<String, (File, u64)>,
    current: u64,
    version: u64,
}

impl Shared {
    /// Copies the database into a directory.
    pub(crate) fn backup(&self, to: &Path) -> Result<Copied> {
        let Some(files) = &self.files else {
            return Err(Error::new(codes::UNSUPPORTED, "a database in memory cannot be backed up"));
        };
        let to = Directory { disk: files.directory.disk.clone(), root: to.to_owned() };
        let mut mark = Mark { database: files.database, line: read_line(&files.directory)?, version: 0 };
        let lock = prepare(&to, &mark)?;
        if !lock.try_lock()? {
            let message = format!("another process is writing a backup to `{}`", to.root.display());
            return Err(Error::new(codes::LOCKED, message));
        }
        if !files.is_read_only {
            self.checkpoint(Effort::Usual)?;
        }
        // Until all is copied, nothing goes that was needed at its beginning.
        let hold = self.readers.enter(self.newest().lsn.saturating_sub(1));
        let inventory = self.inventory(files)?;
        refuse_other_line(&to, &inventory)?;
        to.remove(super::shm::NAME)?;
        let mut copied = Copied { version: inventory.version, ..Copied::default() };
        for (path, length) in &inventory.fixed {
            copy_fixed(&files.directory, &to, path, *length, &mut copied)?;
        }
        copy_others(&files.directory, &to, "", &mut copied)?;
        FIXED.iter().try_for_each(|folder| to.sync_dir(folder))?;
        drop(hold);
        // Later log files first, so that whoever follows one to its end finds the next.
        for (path, (file, length)) in inventory.numbered.iter().rev() {
            let have = to.open_if_there(path)?.map_or(Ok(None), |file| file.len().map(Some))?;
            match have == Some(*length) {
                true => copied.kept += 1,
                false => copied.add(to.copy(file, *length, path), *length)?,
            }
        }
        NUMBERED.iter().try_for_each(|folder| to.sync_dir(folder))?;
        manifest::write_current(&to, inventory.current)?;
        if manifest::read_format(&to)?.is_none() {
            manifest::write_format(&to, files.database)?;
        }
        mark.version = inventory.version;
        write_mark(&to, &mark)?;
        prune(&to, &inventory)?;
        Ok(copied)
    }

    /// What there is to copy. Nobody removes anything meanwhile.
    fn inventory(&self, files: &Files) -> Result<Inventory> {
        let _folding = match files.is_read_only {
            true => None,
            false => Some(self.folding.hold()?),
        };
        self.refresh()?;
        let from = &files.directory;
        let seen = self.seen();
        let current = manifest::read_current(from)?.ok_or_else(|| corrupt("CURRENT", "it is missing"))?;
        let mut numbered = BTreeMap::new();
        for folder in NUMBERED {
            for name in from.list(folder)?.iter().filter(|name| !name.ends_with(".tmp")) {
                let path = format!("{folder}/{name}");
                let file = from.open(&path, Mode::Read)?;
                let mut length = file.len()?;
                match (&seen.log, wal::number(name).filter(|_| folder == wal::FOLDER)) {
                    // Only what is durable.
                    (Some(position), Some(number)) if number == position.wal.number => length = position.offset,
                    (Some(position), Some(number)) if number > position.wal.number => continue,
                    _ => {}
                }
                numbered.insert(path, (file, length));
            }
        }
        let mut fixed = BTreeMap::new();
        for folder in FIXED {
            for name in from.list_if_folder(folder)?.unwrap_or_default().iter().filter(|name| !name.ends_with(".tmp")) {
                let path = format!("{folder}/{name}");
                let Some(file) = from.open_if_there(&path)? else { continue };
                // A transaction that is writing it holds its lock.
                if file.try_lock()? {
                    fixed.insert(path, file.len()?);
                }
            }
        }
        Ok(Inventory { fixed, numbered, current, version: seen.state.version })
    }
}

/// Makes a database of a backup, in a directory that is not there or empty.
pub(crate) fn restore_to(disk: &Arc<dyn Disk>, from: &Path, to: &Path) -> Result<Copied> {
    let from = Directory { disk: disk.clone(), root: from.to_owned() };
    let to = Directory { disk: disk.clone(), root: to.to_owned() };
    require(disk, &from.root)?;
    let Some(Mark { database, version, .. }) = read_mark(&from)? else { return Err(no_backup(&from)) };
    let current = manifest::read_current(&from)?.ok_or_else(|| corrupt("CURRENT", "it is missing"))?;
    if to.list_if_folder("")?.is_some_and(|names| !names.is_empty()) {
        let message = format!("`{}` is there already", to.root.display());
        return Err(Error::new(codes::EXISTS, message).help("choose a path at which nothing is yet"));
    }
    to.create_dir("")?;
    let mut copied = Copied { version, ..Copied::default() };
    for folder in FIXED.into_iter().chain(NUMBERED) {
        to.create_dir(folder)?;
        for name in from.list_if_folder(folder)?.unwrap_or_default().iter().filter(|name| !name.ends_with(".tmp")) {
            let path = format!("{folder}/{name}");
            let file = from.open(&path, Mode::Read)?;
            let length = file.len()?;
            copied.add(to.copy(&file, length, &path), length)?;
        }
        to.sync_dir(folder)?;
    }
    copy_others(&from, &to, "", &mut copied)?;
    manifest::write_current(&to, current)?;
    to.replace("", LINE, &Ulid::generate().to_bytes())?;
    manifest::write_format(&to, database)?;
    to.sync_parent()?;
    Ok(copied)
}

/// Copies what extensions keep in the database's directory.
pub(crate) fn copy_others(from: &Directory, to: &Directory, folder: &str, copied: &mut Copied) -> Result<()> {
    let mut files = 0;
    for name in from.list(folder)? {
        if name.ends_with(".tmp") || (folder.is_empty() && open::is_own(&name)) {
            continue;
        }
        let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
        if from.list_if_folder(&path)?.is_some() {
            to.create_dir(&path)?;
            copy_others(from, to, &path, copied)?;
            continue;
        }
        // It may be gone by now; then what refers to it is, too.
        let Some(file) = from.open_if_there(&path)? else { continue };
        let length = file.len()?;
        match to.open_if_there(&path)? {
            Some(other) if is_equal(&file, &other, length)? => copied.kept += 1,
            _ => copied.add(to.copy(&file, length, &path), length)?,
        }
        files += 1;
    }
    if files > 0 { to.sync_dir(folder) } else { Ok(()) }
}

/// Copies a file that never changes, unless it is there.
pub(crate) fn copy_fixed(from: &Directory, to: &Directory, path: &str, length: u64, copied: &mut Copied) -> Result<()> {
    if to.open_if_there(path)?.map_or(Ok(None), |file| file.len().map(Some))? == Some(length) {
        copied.kept += 1;
        return Ok(());
    }
    let file = from.open_if_there(path)?.ok_or_else(|| corrupt(path, "it is missing"))?;
    copied.add(to.copy(&file, length, path), length)
}

impl Copied {
    fn add(&mut self, result: Result<()>, bytes: u64) -> Result<()> {
        self.files += 1;
        self.bytes += bytes;
        result
    }
}

/// Makes a directory fit to take a backup of this database, and opens its lock.
fn prepare(to: &Directory, mark: &Mark) -> Result<File> {
    let names = to.list_if_folder("")?;
    match read_mark(to)? {
        Some(other) if other.database != mark.database => {
            let message = format!("`{}` holds a backup of another database", to.root.display());
            return Err(Error::new(codes::EXISTS, message).help("choose another directory"));
        }
        Some(other) if other.line != mark.line => return Err(other_line(to, "it was restored since")),
        Some(_) => {}
        None if names.is_none_or(|names| names.iter().all(|name| name.ends_with(".tmp"))) => {
            to.create_dir("")?;
            write_mark(to, mark)?;
            to.sync_parent()?;
        }
        None => {
            let message = format!("`{}` is there and is no backup", to.root.display());
            return Err(Error::new(codes::EXISTS, message).help("choose another directory"));
        }
    }
    for folder in FIXED.into_iter().chain(NUMBERED) {
        to.create_dir(folder)?;
    }
    to.open(open::LOCK, Mode::Ensure)
}

/// The same files under the same names: otherwise the database was restored or copied and went on another way, and the
/// backup is the only one of the way that it is of.
fn refuse_other_line(to: &Directory, inventory: &Inventory) -> Result<()> {
    for (path, (file, length)) in &inventory.numbered {
        let Some(other) = to.open_if_there(path)? else { continue };
        let common = other.len()?.min(*length);
        // A log file that was copied while it was written to begins as it does now.
        if (path.starts_with(manifest::FOLDER) && other.len()? != *length) || !is_equal_up_to(file, &other, common)? {
            return Err(other_line(to, &format!("`{path}` differs")));
        }
    }
    Ok(())
}

fn other_line(to: &Directory, why: &str) -> Error {
    let message = format!("`{}` holds a backup of what this database once was, or became elsewhere", to.root.display());
    Error::new(codes::EXISTS, message).detail(why).help("choose another directory")
}

/// Removes what this backup does not need.
fn prune(to: &Directory, inventory: &Inventory) -> Result<()> {
    for folder in FIXED.into_iter().chain(NUMBERED) {
        for name in to.list(folder)? {
            let path = format!("{folder}/{name}");
            if !inventory.fixed.contains_key(&path) && !inventory.numbered.contains_key(&path) {
                to.remove(&path)?;
            }
        }
    }
    Ok(())
}

fn is_equal(one: &File, other: &File, length: u64) -> Result<bool> {
    Ok(other.len()? == length && is_equal_up_to(one, other, length)?)
}

fn is_equal_up_to(one: &File, other: &File, length: u64) -> Result<bool> {
    const PIECE: u64 = 1 << 20;
    let mut offset = 0;
    while offset < length {
        let size = (length - offset).min(PIECE);
        if one.read_range(offset, size)? != other.read_range(offset, size)? {
            return Ok(false);
        }
        offset += size;
    }
    Ok(true)
}

fn write_mark(to: &Directory, mark: &Mark) -> Result<()> {
    let mut out = Encoder::default();
    out.raw(MAGIC);
    out.raw(&mark.database.to_bytes());
    out.raw(&mark.line.to_bytes());
    out.u64(mark.version);
    let mut bytes = out.finish();
    bytes.extend_from_slice(&crc32c(&bytes).to_le_bytes());
    to.replace("", MARK, &bytes)
}

fn read_mark(directory: &Directory) -> Result<Option<Mark>> {
    let Some(bytes) = directory.read(MARK)? else { return Ok(None) };
    let parse = || {
        let mut from = Decoder::new(&bytes);
        let head = from.raw(48).ok()?;
        let is_good = from.u32().ok()? == crc32c(head) && from.is_empty() && head.starts_with(MAGIC);
        let mut from = Decoder::new(&head[8..]);
        let (database, line) = (Ulid::from_bytes(from.array().ok()?), Ulid::from_bytes(from.array().ok()?));
        is_good.then_some(Mark { database, line, version: from.u64().ok()? })
    };
    parse().map(Some).ok_or_else(|| corrupt(MARK, "it does not say what the backup is of"))
}

/// Whether a directory is a backup, complete or not.
pub(crate) fn is_backup(directory: &Directory) -> Result<bool> {
    Ok(read_mark(directory)?.is_some())
}

fn read_line(directory: &Directory) -> Result<Ulid> {
    let Some(bytes) = directory.read(LINE)? else { return Ok(Ulid::nil()) };
    let bytes: [u8; 16] = bytes.as_slice().try_into().map_err(|_| corrupt(LINE, "it has another length"))?;
    Ok(Ulid::from_bytes(bytes))
}

/// Refuses a directory that is no backup, or one whose first backup was interrupted.
pub(crate) fn require(disk: &Arc<dyn Disk>, path: &Path) -> Result<()> {
    let directory = Directory { disk: disk.clone(), root: path.to_owned() };
    match read_mark(&directory)? {
        Some(_) if manifest::read_format(&directory)?.is_some() => Ok(()),
        _ => Err(no_backup(&directory)),
    }
}

fn no_backup(directory: &Directory) -> Error {
    let message = format!("`{}` is not a backup of a Kodiak database", directory.root.display());
    Error::new(codes::NOT_A_DATABASE, message).help("a backup is made by `kodiak db backup DIR`")
}
