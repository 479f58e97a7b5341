//! Verified artifacts, one directory per content hash, immutable and shared by all projects of a user. It refuses to
//! know which of them a database uses, and to follow a link out of the store.
//!
//! Under the home: `store/<sha256>/{plugin.so, manifest.toml, package.json}`, `locks/` with one lock file for each
//! artifact that was ever written, `tmp/` with what is being written, `checked/` with the cache of quick checks.
//! What is under `store/` is complete or not there: a directory is written under `tmp/`, made durable and renamed.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tempfile::TempDir;

use crate::digest::{self, Digest};
use crate::error::{Error, Result};
use crate::manifest::{MANIFEST_BYTES_MAX, Manifest};
use crate::text;

/// Name of the library inside an artifact's directory.
pub const PLUGIN_FILE: &str = if cfg!(windows) {
    "plugin.dll"
} else if cfg!(target_os = "macos") {
    "plugin.dylib"
} else {
    "plugin.so"
};

const MANIFEST_FILE: &str = "manifest.toml";
const PACKAGE_FILE: &str = "package.json";
const FILES: [&str; 3] = [PLUGIN_FILE, MANIFEST_FILE, PACKAGE_FILE];
const PACKAGE_BYTES_MAX: usize = 64 * 1024;
/// An interrupted write is swept when nobody has touched it for so long.
const TEMPORARY_AGE: Duration = Duration::from_secs(24 * 60 * 60);
/// File systems stamp changes in ticks, so a file that was looked at within one of its change may change again unseen.
const STAMP_GRAIN: Duration = Duration::from_millis(50);

/// The store below a user's `KODIAK_HOME`.
#[derive(Clone, Debug)]
pub struct Store {
    artifacts: PathBuf,
    locks: PathBuf,
    temporary: PathBuf,
    checked: PathBuf,
}

/// An artifact in the store.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Installed {
    /// Hash of the plugin, and the name of its directory.
    pub sha256: Digest,
    /// The library, as an absolute path if the home was one.
    pub plugin: PathBuf,
    /// What it says about itself.
    pub manifest: Manifest,
    /// Where it came from.
    pub origin: Origin,
    /// Length of the library.
    pub bytes: u64,
}

/// Where an artifact came from; written `index:…`, `crate:…`, `library:…` or `package:…`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A name in an index, which is at this place.
    Index(String),
    /// A crate's directory that was built here.
    Crate(PathBuf),
    /// A library that was given as a file.
    Library(PathBuf),
    /// A package that was given as a file.
    Package(PathBuf),
}

/// Whether an artifact is still what was installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It is.
    Ok,
    /// It is not there.
    Missing,
    /// A file of it is gone, is not a regular file, or has other bytes.
    Modified,
}

impl Store {
    /// The store below `home`; directories are made when something is put.
    ///
    /// # Errors
    /// When `home` exists and is not a directory.
    pub fn open(home: &Path) -> Result<Self> {
        match fs::metadata(home) {
            Ok(metadata) if !metadata.is_dir() => {
                return Err(Error::io("use", home)(io::ErrorKind::NotADirectory.into()));
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io("open", home)(error));
            }
            _ => {}
        }
        // The loader wants absolute paths, whatever the working directory becomes later.
        let home = std::path::absolute(home).map_err(Error::io("find", home))?;
        Ok(Self {
            artifacts: home.join("store"),
            locks: home.join("locks"),
            temporary: home.join("tmp"),
            checked: home.join("checked"),
        })
    }

    /// The directory of an artifact, whether or not it is there.
    pub fn directory(&self, sha256: Digest) -> PathBuf {
        self.artifacts.join(sha256.to_string())
    }

    /// Puts a copy of the library at `file` into the store. If it is there already and unchanged, nothing is written;
    /// if it was changed, it is replaced. Any number of threads and processes may put the same artifact at once.
    ///
    /// # Errors
    /// [`Error::Manifest`] if the manifest breaks the rules, [`Error::Io`].
    pub fn put(&self, file: &Path, manifest: &Manifest, origin: &Origin) -> Result<Installed> {
        manifest.check()?;
        for directory in [&self.artifacts, &self.locks, &self.temporary] {
            fs::create_dir_all(directory).map_err(Error::io("create", directory))?;
        }
        // Hashed while it is copied: what is stored is what was hashed, even if the source changes meanwhile.
        let work = self.temporary_directory("put-")?;
        let (sha256, bytes) = copy_durably(file, &work.path().join(PLUGIN_FILE))?;

        let _lock = self.lock(sha256)?;
        if self.verify(sha256)? == Condition::Ok
            && let Some(installed) = self.get(sha256)?
            && installed.manifest == *manifest
        {
            return Ok(installed);
        }
        let manifest_text = manifest.to_toml();
        let package = Package::new(sha256, bytes, &manifest_text, origin.clone());
        write_durably(&work.path().join(MANIFEST_FILE), manifest_text.as_bytes())?;
        write_durably(&work.path().join(PACKAGE_FILE), &package.to_json())?;
        sync_directory(work.path())?;
        self.publish(work, sha256)?;
        let installed = Installed {
            sha256,
            plugin: self.directory(sha256).join(PLUGIN_FILE),
            manifest: manifest.clone(),
            origin: origin.clone(),
            bytes,
        };
        self.remember(sha256);
        Ok(installed)
    }

    /// The artifact, or `None` when it is not in the store. The library itself is not read: see
    /// [`Store::check_quick`].
    ///
    /// # Errors
    /// [`Error::Modified`] when manifest or package were changed, [`Error::Io`].
    pub fn get(&self, sha256: Digest) -> Result<Option<Installed>> {
        let directory = self.directory(sha256);
        match fs::symlink_metadata(&directory) {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => {
                return Err(Error::Modified { name: None, path: directory });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("read", directory)(error)),
        }
        let modified = |file: &str| Error::Modified { name: None, path: directory.join(file) };
        let package =
            read_inside(&directory, PACKAGE_FILE, PACKAGE_BYTES_MAX)?.ok_or_else(|| modified(PACKAGE_FILE))?;
        let package = Package::from_json(&package).filter(|package| package.sha256 == sha256);
        let package = package.ok_or_else(|| modified(PACKAGE_FILE))?;
        let manifest =
            read_inside(&directory, MANIFEST_FILE, MANIFEST_BYTES_MAX * 2)?.ok_or_else(|| modified(MANIFEST_FILE))?;
        if Digest::of(&manifest) != package.manifest_sha256 {
            return Err(modified(MANIFEST_FILE));
        }
        let manifest = String::from_utf8(manifest).map_err(|_| modified(MANIFEST_FILE))?;
        let manifest = Manifest::parse(&manifest).map_err(|error| error.in_file(&directory.join(MANIFEST_FILE)))?;
        let plugin = directory.join(PLUGIN_FILE);
        Ok(Some(Installed { sha256, plugin, manifest, origin: package.origin, bytes: package.bytes }))
    }

    /// Every artifact, by hash, with what [`Store::get`] says about it.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn list(&self) -> Result<Vec<(Digest, Result<Installed>)>> {
        let digests = self.digests()?;
        let entry = |sha256| Some((sha256, self.get(sha256).transpose()?));
        Ok(digests.into_iter().filter_map(entry).collect())
    }

    /// Hashes the whole artifact again.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn verify(&self, sha256: Digest) -> Result<Condition> {
        match self.get(sha256) {
            Ok(None) => return Ok(Condition::Missing),
            Ok(Some(_)) => {}
            Err(Error::Io { path, verb, source }) => return Err(Error::Io { path, verb, source }),
            Err(_) => return Ok(Condition::Modified),
        }
        let directory = self.directory(sha256);
        let Some(mut file) = open_inside(&directory, PLUGIN_FILE)? else {
            return Ok(Condition::Modified);
        };
        let (found, _) =
            digest::copy(&mut file, &mut io::sink()).map_err(Error::io("read", directory.join(PLUGIN_FILE)))?;
        Ok(if found == sha256 { Condition::Ok } else { Condition::Modified })
    }

    /// Whether the artifact is unchanged, without reading it when its device, inode, times and sizes are those of the
    /// last full check.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn check_quick(&self, sha256: Digest) -> Result<Condition> {
        let stamps = match self.look(sha256)? {
            Found::Absent => return Ok(Condition::Missing),
            Found::Damaged => return Ok(Condition::Modified),
            Found::Whole(stamps) => stamps,
        };
        if self.recall(sha256).is_some_and(|checked| checked.covers(&stamps)) {
            return Ok(Condition::Ok);
        }
        let condition = self.verify(sha256)?;
        if condition == Condition::Ok {
            // The stamps from before the hash: a change in between shows as other stamps next time.
            self.write_checked(sha256, stamps);
        }
        Ok(condition)
    }

    /// Removes an artifact; whether it was there.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove(&self, sha256: Digest) -> Result<bool> {
        let directory = self.directory(sha256);
        if !exists(&directory)? {
            return Ok(false);
        }
        for directory in [&self.locks, &self.temporary] {
            fs::create_dir_all(directory).map_err(Error::io("create", directory))?;
        }
        let _lock = self.lock(sha256)?;
        let removed = self.set_aside(sha256)?;
        let _ = fs::remove_file(self.checked_file(sha256));
        Ok(removed)
    }

    /// Removes every artifact that is not referenced, and what interrupted writes left behind long ago; gives the
    /// hashes that went.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub fn gc(&self, referenced: &BTreeSet<Digest>) -> Result<Vec<Digest>> {
        let mut removed = Vec::new();
        for sha256 in self.digests()? {
            if !referenced.contains(&sha256) && self.remove(sha256)? {
                removed.push(sha256);
            }
        }
        self.sweep_temporary()?;
        Ok(removed)
    }

    fn digests(&self) -> Result<Vec<Digest>> {
        let entries = match fs::read_dir(&self.artifacts) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::io("read", &self.artifacts)(error)),
        };
        let mut digests = Vec::new();
        for entry in entries {
            let entry = entry.map_err(Error::io("read", &self.artifacts))?;
            // Anything else there is not ours to judge.
            digests.extend(entry.file_name().to_str().and_then(|name| name.parse::<Digest>().ok()));
        }
        digests.sort_unstable();
        Ok(digests)
    }

    fn lock(&self, sha256: Digest) -> Result<File> {
        let path = self.locks.join(format!("{sha256}.lock"));
        let file =
            File::options().create(true).truncate(false).write(true).open(&path).map_err(Error::io("open", &path))?;
        file.lock().map_err(Error::io("lock", &path))?;
        Ok(file)
    }

    fn temporary_directory(&self, prefix: &str) -> Result<TempDir> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(prefix);
        // What it becomes is as readable as everything else that the user makes.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777));
        builder.tempdir_in(&self.temporary).map_err(Error::io("create a directory in", &self.temporary))
    }

    /// Under the artifact's lock: makes the finished directory the artifact.
    fn publish(&self, work: TempDir, sha256: Digest) -> Result<()> {
        let directory = self.directory(sha256);
        self.set_aside(sha256)?;
        fs::rename(work.path(), &directory).map_err(Error::io("create", &directory))?;
        // The directory has its new name, so there is nothing left to clean up.
        let _ = work.keep();
        sync_directory(&self.artifacts)
    }

    /// Under the artifact's lock: moves what has the artifact's name out of the way in one step, then deletes it. A
    /// link is removed as a link.
    fn set_aside(&self, sha256: Digest) -> Result<bool> {
        let directory = self.directory(sha256);
        if !exists(&directory)? {
            return Ok(false);
        }
        let grave = self.temporary_directory("old-")?;
        fs::rename(&directory, grave.path().join("artifact")).map_err(Error::io("remove", &directory))?;
        sync_directory(&self.artifacts)?;
        let path = grave.path().to_owned();
        grave.close().map_err(Error::io("remove", path))?;
        Ok(true)
    }

    fn sweep_temporary(&self) -> Result<()> {
        let entries = match fs::read_dir(&self.temporary) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(Error::io("read", &self.temporary)(error)),
        };
        for entry in entries.flatten() {
            let age =
                entry.metadata().and_then(|metadata| metadata.modified()).ok().and_then(|time| time.elapsed().ok());
            if age.is_some_and(|age| age > TEMPORARY_AGE) && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                let path = entry.path();
                fs::remove_dir_all(&path).map_err(Error::io("remove", path))?;
            }
        }
        Ok(())
    }

    /// Looks at the artifact's directory and files without following links or reading them.
    fn look(&self, sha256: Digest) -> Result<Found> {
        let directory = self.directory(sha256);
        match fs::symlink_metadata(&directory) {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => return Ok(Found::Damaged),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Absent),
            Err(error) => return Err(Error::io("read", directory)(error)),
        }
        let mut stamps = [Stamp::default(); 3];
        for (stamp, file) in stamps.iter_mut().zip(FILES) {
            let path = directory.join(file);
            match fs::symlink_metadata(&path) {
                Ok(metadata) if metadata.is_file() => *stamp = Stamp::of(&metadata),
                Ok(_) => return Ok(Found::Damaged),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Damaged),
                Err(error) => return Err(Error::io("read", path)(error)),
            }
        }
        Ok(Found::Whole(stamps))
    }

    fn checked_file(&self, sha256: Digest) -> PathBuf {
        self.checked.join(format!("{sha256}.json"))
    }

    fn recall(&self, sha256: Digest) -> Option<Checked> {
        let bytes = text::read_bounded(&self.checked_file(sha256), PACKAGE_BYTES_MAX).ok()??;
        serde_json::from_slice(&bytes).ok()
    }

    fn remember(&self, sha256: Digest) {
        if let Ok(Found::Whole(stamps)) = self.look(sha256) {
            self.write_checked(sha256, stamps);
        }
    }

    /// Only a cache: where it cannot be written, every check reads the artifact, and is as right.
    fn write_checked(&self, sha256: Digest, stamps: [Stamp; 3]) {
        let checked = Checked { at_ns: nanoseconds(SystemTime::now()), files: stamps };
        let write = || -> io::Result<()> {
            fs::create_dir_all(&self.checked)?;
            let mut file = tempfile::NamedTempFile::new_in(&self.checked)?;
            file.write_all(&serde_json::to_vec(&checked)?)?;
            file.persist(self.checked_file(sha256)).map_err(|error| error.error)?;
            Ok(())
        };
        let _ = write();
    }
}

/// What is kept beside an artifact. `check` is over the rest, so that a change of this file shows as well.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Package {
    format: u32,
    sha256: Digest,
    bytes: u64,
    manifest_sha256: Digest,
    origin: Origin,
    check: Digest,
}

impl Package {
    fn new(sha256: Digest, bytes: u64, manifest: &str, origin: Origin) -> Self {
        let manifest_sha256 = Digest::of(manifest.as_bytes());
        let mut package = Self { format: 1, sha256, bytes, manifest_sha256, origin, check: sha256 };
        package.check = package.compute_check();
        package
    }

    fn compute_check(&self) -> Digest {
        let Self { format, sha256, bytes, manifest_sha256, origin, check: _ } = self;
        Digest::of(format!("{format}\n{sha256}\n{bytes}\n{manifest_sha256}\n{origin}").as_bytes())
    }

    fn to_json(&self) -> Vec<u8> {
        let mut json = serde_json::to_vec_pretty(self).expect("every value of a package has a form in JSON");
        json.push(b'\n');
        json
    }

    fn from_json(bytes: &[u8]) -> Option<Self> {
        let package: Self = serde_json::from_slice(bytes).ok()?;
        // The exact bytes: a change that parses to the same is a change too.
        let same = package.format == 1 && package.check == package.compute_check() && package.to_json() == bytes;
        same.then_some(package)
    }
}

/// The last full check that found an artifact unchanged.
#[derive(Serialize, Deserialize)]
struct Checked {
    at_ns: u64,
    files: [Stamp; 3],
}

impl Checked {
    /// Whether a file with these stamps must be what was checked.
    fn covers(&self, stamps: &[Stamp; 3]) -> bool {
        let grain = STAMP_GRAIN.as_nanos() as u64;
        self.files == *stamps
            && stamps.iter().all(|stamp| stamp.modified_ns.max(stamp.changed_ns).saturating_add(grain) < self.at_ns)
    }
}

/// What stands in an artifact's place.
enum Found {
    Absent,
    /// Not a directory with the three regular files.
    Damaged,
    Whole([Stamp; 3]),
}

/// What changes whenever a file does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified_ns: u64,
    changed_ns: u64,
}

impl Stamp {
    #[cfg(unix)]
    fn of(metadata: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;

        let time = |seconds: i64, nanoseconds: i64| {
            (seconds.max(0) as u64).saturating_mul(1_000_000_000).saturating_add(nanoseconds.max(0) as u64)
        };
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified_ns: time(metadata.mtime(), metadata.mtime_nsec()),
            changed_ns: time(metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    #[cfg(not(unix))]
    fn of(metadata: &Metadata) -> Self {
        let modified_ns = metadata.modified().map(nanoseconds).unwrap_or(u64::MAX);
        Self { device: 0, inode: 0, bytes: metadata.len(), modified_ns, changed_ns: modified_ns }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index(place) => write!(f, "index:{place}"),
            Self::Crate(path) => write!(f, "crate:{}", path.display()),
            Self::Library(path) => write!(f, "library:{}", path.display()),
            Self::Package(path) => write!(f, "package:{}", path.display()),
        }
    }
}

/// The text names no origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an origin begins with `index:`, `crate:`, `library:` or `package:`")]
pub struct BadOrigin;

impl FromStr for Origin {
    type Err = BadOrigin;

    fn from_str(text: &str) -> Result<Self, BadOrigin> {
        match text.split_once(':') {
            Some(("index", place)) => Ok(Self::Index(place.to_owned())),
            Some(("crate", path)) => Ok(Self::Crate(path.into())),
            Some(("library", path)) => Ok(Self::Library(path.into())),
            Some(("package", path)) => Ok(Self::Package(path.into())),
            _ => Err(BadOrigin),
        }
    }
}

impl Serialize for Origin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Origin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Makes renames and new names in a directory survive a power cut.
pub(crate) fn sync_directory(path: &Path) -> Result<()> {
    if cfg!(unix) {
        File::open(path).and_then(|directory| directory.sync_all()).map_err(Error::io("sync", path))?;
    }
    Ok(())
}

fn write_durably(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = File::create_new(path).map_err(Error::io("create", path))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(Error::io("write", path))
}

fn copy_durably(from: &Path, to: &Path) -> Result<(Digest, u64)> {
    let mut source = File::open(from).map_err(Error::io("open", from))?;
    let mut target = File::create_new(to).map_err(Error::io("create", to))?;
    let copied = digest::copy(&mut source, &mut target).map_err(|error| Error::io("copy", from)(error))?;
    target.sync_all().map_err(Error::io("write", to))?;
    Ok(copied)
}

/// Opens a file of an artifact unless it is a link or something else than a file.
fn open_inside(directory: &Path, file: &str) -> Result<Option<File>> {
    let path = directory.join(file);
    match fs::symlink_metadata(&path) {
        Ok(metadata) if metadata.is_file() => File::open(&path).map(Some).map_err(Error::io("open", path)),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("read", path)(error)),
    }
}

fn read_inside(directory: &Path, file: &str, bytes_max: usize) -> Result<Option<Vec<u8>>> {
    let path = directory.join(file);
    match open_inside(directory, file)? {
        Some(file) => text::read_all_bounded(file, &path, bytes_max),
        None => Ok(None),
    }
}

fn exists(path: &Path) -> Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io("read", path)(error)),
    }
}

fn nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
