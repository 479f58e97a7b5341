//! A disk in memory that fails on command: at a given call it returns an error, or everything stops as in a crash.
//! What was not synced may be lost, kept or torn when it crashes, each write by itself, and a name that was not synced
//! may be missing. A failed sync loses some of what it should have kept, for good.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;

use super::super::io::{Directory, Disk, DiskFile, Mode, Process, Shared};

/// What happens at the chosen call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Error,
    NoSpace,
    Crash,
}

#[derive(Clone, Debug)]
pub(crate) struct Twin(Arc<Mutex<World>>);

#[derive(Debug, Default)]
struct World {
    random: u64,
    calls: u64,
    plan: Option<(u64, Fault)>,
    is_dead: bool,
    files: Vec<Contents>,
    folders: BTreeMap<PathBuf, Folder>,
    handles: u64,
    /// Which process runs: a crash or a restart ends it.
    process: u32,
    at_sync: Option<Hook>,
    /// What locking fails with, as on a file system without locks.
    lock_error: Option<i32>,
}

#[derive(Clone, Debug, Default)]
struct Contents {
    now: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Write>,
    locked_by: Option<u64>,
    shared: Option<Arc<Vec<AtomicU64>>>,
}

#[derive(Clone, Debug)]
enum Write {
    Bytes(u64, Vec<u8>),
    Length(u64),
}

#[derive(Clone, Debug, Default)]
struct Folder {
    now: BTreeMap<String, usize>,
    durable: BTreeMap<String, usize>,
    pending: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Set(String, usize),
    Remove(String),
    Rename(String, String),
}

const ROOT: &str = "/twin";

impl Twin {
    pub(crate) fn new(seed: u64) -> Self {
        Self::of(World {
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            folders: BTreeMap::from([(PathBuf::from("/"), Folder::default())]),
            process: 1,
            ..World::default()
        })
    }

    fn of(world: World) -> Self {
        Self(Arc::new(Mutex::new(world)))
    }

    /// The database's directory, which is there.
    pub(crate) fn directory(&self) -> Directory {
        let directory = Directory { disk: Arc::new(self.clone()), root: PathBuf::from(ROOT) };
        directory.create_dir("").unwrap();
        directory
    }

    pub(crate) fn root() -> &'static Path {
        Path::new(ROOT)
    }

    /// Fails at the `call`-th call from now.
    pub(crate) fn fail_at(&self, call: u64, fault: Fault) {
        let mut world = self.world();
        world.plan = Some((world.calls + call, fault));
    }

    pub(crate) fn calls(&self) -> u64 {
        self.world().calls
    }

    /// The disk as the next process finds it after one was killed: nothing is lost yet, nothing is locked.
    pub(crate) fn restart(&self) {
        let mut world = self.world();
        (world.is_dead, world.plan) = (false, None);
        world.process += 1;
        world.files.iter_mut().for_each(|file| file.locked_by = None);
    }

    /// The same disk for the next process.
    pub(crate) fn restart_now(&self) -> Self {
        self.restart();
        self.clone()
    }

    /// The disk as it may look after the power went.
    pub(crate) fn crash(&self) -> Self {
        let mut world = self.world();
        let mut files = world.files.clone();
        for file in &mut files {
            for write in std::mem::take(&mut file.pending) {
                world.keep_maybe(&mut file.durable, write);
            }
            file.now = file.durable.clone();
            file.locked_by = None;
            // Nobody syncs shared memory: each word is there, or is not, or is something else.
            file.shared = file.shared.take().map(|shared| {
                let word = |word: &AtomicU64| match world.below(3) {
                    0 => 0,
                    1 => world.next(),
                    _ => word.load(Ordering::SeqCst),
                };
                Arc::new(shared.iter().map(word).map(AtomicU64::new).collect())
            });
        }
        let mut folders = world.folders.clone();
        for folder in folders.values_mut() {
            let kept = world.below(folder.pending.len() as u64 + 1) as usize;
            for change in folder.pending.drain(..).take(kept) {
                change.apply(&mut folder.durable);
            }
            folder.now = folder.durable.clone();
        }
        let (random, process) = (world.next(), world.process + 1);
        Self::of(World { random, files, folders, process, ..World::default() })
    }

    /// Names and contents of the files in a folder of the database.
    pub(crate) fn list_files(&self, folder: &str) -> Vec<String> {
        let world = self.world();
        world
            .folders
            .get(&Self::root().join(folder))
            .map(|folder| folder.now.keys().cloned().collect())
            .unwrap_or_default()
    }

    /// Changes a file behind the database's back.
    pub(crate) fn damage(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut world = self.world();
        let file = world.find(&Self::root().join(name)).unwrap();
        change(&mut world.files[file].now);
        world.files[file].durable = world.files[file].now.clone();
        world.files[file].pending.clear();
    }

    /// From now on locking fails.
    pub(crate) fn fail_locks(&self, code: i32) {
        self.world().lock_error = Some(code);
    }

    /// Changes memory that processes share, behind their backs.
    pub(crate) fn scribble(&self, name: &str, change: impl FnOnce(&[AtomicU64])) {
        let world = self.world();
        let file = world.find(&Self::root().join(name)).unwrap();
        let shared = world.files[file].shared.clone();
        drop(world);
        change(&shared.unwrap());
    }

    /// Does something at every sync of a file, before it.
    pub(crate) fn at_sync(&self, work: impl Fn() + Send + Sync + 'static) {
        self.world().at_sync = Some(Hook(Arc::new(work)));
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }
}

#[derive(Clone)]
struct Hook(Arc<dyn Fn() + Send + Sync>);

impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hook")
    }
}

impl World {
    fn next(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// Counts a call, and fails it if it is the one.
    fn call(&mut self) -> io::Result<()> {
        if self.is_dead {
            return Err(io::Error::other("the process is dead"));
        }
        self.calls += 1;
        match self.plan {
            Some((call, fault)) if self.calls == call + 1 => Err(match fault {
                Fault::Error => io::Error::other("the disk failed"),
                Fault::NoSpace => ErrorKind::StorageFull.into(),
                Fault::Crash => {
                    self.is_dead = true;
                    io::Error::other("the process died")
                }
            }),
            _ => Ok(()),
        }
    }

    fn keep_maybe(&mut self, durable: &mut Vec<u8>, write: Write) {
        match (self.below(3), write) {
            (0, _) => {}
            (1, Write::Bytes(offset, mut bytes)) => {
                bytes.truncate(self.below(bytes.len() as u64 + 1) as usize);
                Write::Bytes(offset, bytes).apply(durable);
            }
            (_, write) => write.apply(durable),
        }
    }

    fn find(&self, path: &Path) -> io::Result<usize> {
        let name = path.file_name().unwrap().to_str().unwrap();
        let folder = self.folders.get(path.parent().unwrap()).ok_or(ErrorKind::NotFound)?;
        folder.now.get(name).copied().ok_or_else(|| ErrorKind::NotFound.into())
    }
}

impl Write {
    fn apply(&self, contents: &mut Vec<u8>) {
        match self {
            Self::Bytes(offset, bytes) => {
                let start = *offset as usize;
                if contents.len() < start + bytes.len() {
                    contents.resize(start + bytes.len(), 0);
                }
                contents[start..start + bytes.len()].copy_from_slice(bytes);
            }
            Self::Length(length) => contents.resize(*length as usize, 0),
        }
    }
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Set(name, file) => drop(names.insert(name.clone(), *file)),
            Self::Remove(name) => drop(names.remove(name)),
            Self::Rename(from, to) => {
                if let Some(file) = names.remove(from) {
                    names.insert(to.clone(), file);
                }
            }
        }
    }
}

impl Disk for Twin {
    fn process(&self) -> Process {
        Process { id: self.world().process, started: 7 }
    }

    fn is_alive(&self, process: Process) -> bool {
        let world = self.world();
        !world.is_dead && process.id == world.process
    }

    fn open(&self, path: &Path, mode: Mode) -> io::Result<Arc<dyn DiskFile>> {
        let mut world = self.world();
        world.call()?;
        let file = match world.find(path) {
            Ok(file) => file,
            Err(_) if matches!(mode, Mode::Ensure | Mode::Truncate) => {
                world.files.push(Contents::default());
                let file = world.files.len() - 1;
                let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                let folder = world.folders.get_mut(path.parent().unwrap()).ok_or(ErrorKind::NotFound)?;
                folder.now.insert(name.clone(), file);
                folder.pending.push(Change::Set(name, file));
                file
            }
            Err(error) => return Err(error),
        };
        if mode == Mode::Truncate {
            let contents = &mut world.files[file];
            contents.now.clear();
            contents.pending.push(Write::Length(0));
        }
        world.handles += 1;
        let handle = world.handles;
        Ok(Arc::new(Handle { twin: self.clone(), file, handle }))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.call()?;
        world.folders.entry(path.to_owned()).or_default();
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.call()?;
        let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
        let change = Change::Rename(name(from), name(to));
        let folder = world.folders.get_mut(from.parent().unwrap()).ok_or(ErrorKind::NotFound)?;
        change.apply(&mut folder.now);
        folder.pending.push(change);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.call()?;
        world.find(path)?;
        let change = Change::Remove(path.file_name().unwrap().to_str().unwrap().to_owned());
        let folder = world.folders.get_mut(path.parent().unwrap()).ok_or(ErrorKind::NotFound)?;
        change.apply(&mut folder.now);
        folder.pending.push(change);
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let mut world = self.world();
        world.call()?;
        let folder = world.folders.get(path).ok_or(ErrorKind::NotFound)?;
        let mut names: Vec<String> = folder.now.keys().cloned().collect();
        let inside = world.folders.keys().filter(|folder| folder.parent() == Some(path));
        names.extend(inside.map(|folder| folder.file_name().unwrap().to_str().unwrap().to_owned()));
        Ok(names)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.call()?;
        let folder = world.folders.get_mut(path).ok_or(ErrorKind::NotFound)?;
        for change in std::mem::take(&mut folder.pending) {
            change.apply(&mut folder.durable);
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Handle {
    twin: Twin,
    file: usize,
    handle: u64,
}

impl DiskFile for Handle {
    fn len(&self) -> io::Result<u64> {
        Ok(self.twin.world().files[self.file].now.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut world = self.twin.world();
        world.call()?;
        let contents = &world.files[self.file].now;
        let from = contents.get(offset as usize..).unwrap_or_default();
        let count = from.len().min(buffer.len());
        buffer[..count].copy_from_slice(&from[..count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut world = self.twin.world();
        let result = world.call();
        let written = match &result {
            Ok(()) => bytes.len(),
            Err(_) => world.below(bytes.len() as u64 + 1) as usize,
        };
        let write = Write::Bytes(offset, bytes[..written].to_vec());
        let contents = &mut world.files[self.file];
        write.apply(&mut contents.now);
        contents.pending.push(write);
        result
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut world = self.twin.world();
        world.call()?;
        let contents = &mut world.files[self.file];
        contents.now.resize(length as usize, 0);
        contents.pending.push(Write::Length(length));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let hook = self.twin.world().at_sync.clone();
        if let Some(Hook(work)) = hook {
            work();
        }
        let mut world = self.twin.world();
        let result = world.call();
        if world.is_dead {
            return result;
        }
        let mut contents = std::mem::take(&mut world.files[self.file]);
        for write in std::mem::take(&mut contents.pending) {
            match &result {
                Ok(()) => write.apply(&mut contents.durable),
                Err(_) => world.keep_maybe(&mut contents.durable, write),
            }
        }
        world.files[self.file] = contents;
        result
    }

    fn lock(&self) -> io::Result<()> {
        assert!(self.try_lock()?, "a deadlock: somebody else holds the lock");
        Ok(())
    }

    fn try_lock(&self) -> io::Result<bool> {
        let mut world = self.twin.world();
        if let Some(code) = world.lock_error {
            return Err(io::Error::from_raw_os_error(code));
        }
        let lock = &mut world.files[self.file].locked_by;
        let is_free = lock.is_none_or(|holder| holder == self.handle);
        if is_free {
            *lock = Some(self.handle);
        }
        Ok(is_free)
    }

    fn unlock(&self) -> io::Result<()> {
        let mut world = self.twin.world();
        let lock = &mut world.files[self.file].locked_by;
        if *lock == Some(self.handle) {
            *lock = None;
        }
        Ok(())
    }

    fn map(&self) -> io::Result<Bytes> {
        let mut world = self.twin.world();
        world.call()?;
        Ok(Bytes::from(world.files[self.file].now.clone()))
    }

    fn share(&self, words: usize) -> io::Result<Arc<dyn Shared>> {
        let mut world = self.twin.world();
        world.call()?;
        let shared = &mut world.files[self.file].shared;
        Ok(shared.get_or_insert_with(|| Arc::new((0..words).map(|_| AtomicU64::new(0)).collect())).clone())
    }

    fn is_named(&self) -> io::Result<bool> {
        let world = self.twin.world();
        Ok(world.folders.values().any(|folder| folder.now.values().any(|&file| file == self.file)))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let _ = self.unlock();
    }
}
