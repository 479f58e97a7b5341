//! Who may still need a payload that no committed row refers to. Every process that writes payloads keeps a file in
//! `writers/`, locked as long as it lives, with the ids of the payloads that its transactions may refer to. The sweep
//! leaves those of living processes alone; the lock of a dead one is free, and so are its payloads.
//!
//! A new payload is noted before its file appears, and the sweep reads the notes after it listed the files: what it
//! sees is noted, committed, or nobody's. A copy refers to a file that was there before; so that the sweep cannot pass
//! between its look at the source and its note, it notes under a shared lock that the sweep holds exclusively.

use crate::code::io_error;
use kodiak_plugin_api::Result;
use std::collections::HashSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use ulid::Ulid;

/// This process's part in `writers/`. Nothing is created before the first payload is noted.
#[derive(Default)]
pub struct Writers {
    own: Mutex<Option<Own>>,
}

struct Own {
    folder: PathBuf,
    path: PathBuf,
    /// Locked until it is dropped.
    file: File,
    noted: HashSet<String>,
}

/// Held by a sweep: copies wait.
pub struct Sweep {
    _lock: File,
    /// Payloads that living processes may need.
    pub needed: HashSet<String>,
}

impl Writers {
    /// Notes that a transaction of this process may refer to a payload.
    ///
    /// # Errors
    /// Of the disk.
    pub fn note(&self, root: &Path, id: &str) -> Result<()> {
        let mut guard = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = folder(root);
        if guard.as_ref().is_none_or(|own| own.folder != folder) {
            *guard = Some(Own::create(folder)?);
        }
        let own = guard.as_mut().expect("made above");
        if own.noted.contains(id) {
            return Ok(());
        }
        own.file.write_all(format!("{id}\n").as_bytes()).map_err(|error| io_error("write", &own.path, &error))?;
        own.noted.insert(id.to_owned());
        Ok(())
    }

    /// Notes a payload that is there already, and runs `check` before a sweep can pass.
    ///
    /// # Errors
    /// Of the disk, or of `check`.
    pub fn note_shared<T>(&self, root: &Path, id: &str, check: impl FnOnce() -> Result<T>) -> Result<T> {
        let path = lock_path(root);
        let lock = open_lock(root, &path)?;
        lock.lock_shared().map_err(|error| io_error("lock", &path, &error))?;
        self.note(root, id)?;
        check()
    }

    /// Forgets everything that this process noted: none of its transactions is open.
    pub fn close(&self) {
        let own = self.own.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(own) = own {
            // What stays is removed by the next sweep: its lock is free.
            let _ = fs::remove_file(&own.path);
        }
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        self.close();
    }
}

impl Own {
    fn create(folder: PathBuf) -> Result<Self> {
        fs::create_dir_all(&folder).map_err(|error| io_error("create", &folder, &error))?;
        // Processes that were killed leave theirs: who comes next tidies up, so that they do not pile up.
        collect_all(&folder, &mut HashSet::new())?;
        loop {
            let path = folder.join(Ulid::generate().to_string());
            let opened = OpenOptions::new().append(true).create_new(true).open(&path);
            let file = opened.map_err(|error| io_error("create", &path, &error))?;
            file.lock().map_err(|error| io_error("lock", &path, &error))?;
            // A sweep may have taken the file for a dead process's between the two lines above.
            if path.exists() {
                return Ok(Self { folder, path, file, noted: HashSet::new() });
            }
        }
    }
}

/// Begins a sweep's second half, once it has listed the files: collects what living processes may need, and removes
/// the notes of dead ones.
///
/// # Errors
/// Of the disk.
pub fn begin_sweep(root: &Path) -> Result<Sweep> {
    let path = lock_path(root);
    let lock = open_lock(root, &path)?;
    lock.lock().map_err(|error| io_error("lock", &path, &error))?;
    let (folder, mut needed) = (folder(root), HashSet::new());
    collect_all(&folder, &mut needed)?;
    Ok(Sweep { _lock: lock, needed })
}

fn collect_all(folder: &Path, needed: &mut HashSet<String>) -> Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(|error| io_error("list", folder, &error))?,
    };
    for entry in entries {
        collect(&entry.map_err(|error| io_error("list", folder, &error))?.path(), needed)?;
    }
    Ok(())
}

fn collect(path: &Path, needed: &mut HashSet<String>) -> Result<()> {
    let mut file = match File::open(path) {
        // Its process ended meanwhile.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        file => file.map_err(|error| io_error("open", path, &error))?,
    };
    match file.try_lock() {
        Ok(()) => match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(io_error("remove", path, &error)),
            _ => Ok(()),
        },
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            file.read_to_string(&mut text).map_err(|error| io_error("read", path, &error))?;
            needed.extend(text.lines().map(str::to_owned));
            Ok(())
        }
        Err(TryLockError::Error(error)) => Err(io_error("lock", path, &error)),
    }
}

fn open_lock(root: &Path, path: &Path) -> Result<File> {
    fs::create_dir_all(root).map_err(|error| io_error("create", root, &error))?;
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    opened.map_err(|error| io_error("open", path, &error))
}

fn folder(root: &Path) -> PathBuf {
    root.join("writers")
}

fn lock_path(root: &Path) -> PathBuf {
    root.join("sweep.lock")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_payloads_of_the_living_are_needed_and_those_of_the_dead_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let (living, dying) = (Writers::default(), Writers::default());
        living.note(folder.path(), "a").unwrap();
        living.note(folder.path(), "b").unwrap();
        living.note(folder.path(), "a").unwrap();
        dying.note(folder.path(), "c").unwrap();
        // A process that is killed leaves its file, unlocked.
        let dead = dying.own.lock().unwrap().take().unwrap();
        let left = dead.path.clone();
        drop(dead);
        assert!(left.exists());
        assert_eq!(begin_sweep(folder.path()).unwrap().needed, ["a".to_owned(), "b".to_owned()].into());
        assert!(!left.exists());
        living.close();
        assert!(begin_sweep(folder.path()).unwrap().needed.is_empty());
    }

    #[test]
    fn a_copy_waits_for_a_sweep_and_then_sees_what_it_left() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().to_owned();
        let file = root.join("payload");
        fs::write(&file, "x").unwrap();
        let sweep = begin_sweep(&root).unwrap();
        let copy = std::thread::spawn({
            let (root, file) = (root.clone(), file.clone());
            move || Writers::default().note_shared(&root, "payload", || Ok(file.exists())).unwrap()
        });
        fs::remove_file(&file).unwrap();
        drop(sweep);
        assert!(!copy.join().unwrap());
    }
}
