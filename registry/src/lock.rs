//! The set of extensions that a database, a project or a user has enabled: `kodiak.lock`, `extensions.toml` and the
//! database's own catalog hold the same thing. It refuses to know where artifacts are and whether they are good: it
//! is told, and says what follows.

mod state;

pub use state::{Artifact, Conflict, Lack, Need, State, States, conflicts};

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use semver::{Version, VersionReq};
use serde::{Deserialize, Serialize};

use crate::claims::{self, ClaimKind};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::manifest::{Contributions, Manifest, Permissions};
use crate::store::{Installed, Origin, sync_directory};
use crate::text;

/// Extensions that one set may have.
pub const ENABLED_MAX: usize = 1024;

const FORMAT: u32 = 1;
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// Extensions by name, at most one version each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnabledSet {
    extensions: BTreeMap<String, Enabled>,
}

/// One extension of a set. A disabled one stays in it, with everything that was agreed to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enabled {
    /// The extension.
    pub name: String,
    /// Its version.
    pub version: Version,
    /// Hash of its artifact.
    pub sha256: Digest,
    /// Where it came from.
    pub source: Origin,
    /// Whether it may be used.
    pub enabled: bool,
    /// What it needs, as its manifest says: known here even where its files are missing.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub requires: BTreeMap<String, VersionReq>,
    /// What its user agreed to.
    #[serde(default, skip_serializing_if = "Permissions::is_none")]
    pub granted: Permissions,
    /// The folder in a database that holds its files, when its manifest names one.
    #[serde(default, rename = "data-dir", skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<String>,
    /// What it adds: known here even where its files are missing, so that it can be named.
    #[serde(default, skip_serializing_if = "Contributions::is_empty")]
    pub contributes: Contributions,
}

/// The file, as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LockFile {
    version: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    extension: Vec<Enabled>,
}

impl Enabled {
    /// An artifact of the store, enabled, with every permission that it asks for.
    pub fn new(installed: &Installed) -> Self {
        Self::of(&installed.manifest, installed.sha256, installed.origin.clone())
    }

    /// The same from its parts.
    pub fn of(manifest: &Manifest, sha256: Digest, source: Origin) -> Self {
        Self {
            name: manifest.name().to_owned(),
            version: manifest.version().clone(),
            sha256,
            source,
            enabled: true,
            requires: manifest.dependencies.clone(),
            granted: manifest.permissions.clone(),
            data_dir: manifest.extension.data_dir.clone(),
            contributes: manifest.contributes.clone(),
        }
    }
}

impl Enabled {
    /// Every name that only one enabled extension can own.
    pub fn claims(&self) -> impl Iterator<Item = (ClaimKind, &str)> {
        self.contributes.claims(&self.name)
    }

    /// The folder inside a database that holds its files, relative to the database.
    pub fn data_directory(&self) -> String {
        self.data_dir.clone().unwrap_or_else(|| format!("extensions/{}", self.name))
    }
}

impl EnabledSet {
    /// Nothing is enabled.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the text of a lock.
    ///
    /// # Errors
    /// [`Error::BadLock`] with the place.
    pub fn parse(text: &str) -> Result<Self> {
        let bad = |place, problem| Error::BadLock { file: None, place, problem };
        if text.len() > BYTES_MAX {
            return Err(bad(None, format!("it has more than {BYTES_MAX} bytes")));
        }
        let file: LockFile = toml::from_str(text).map_err(|error| {
            let place = error.span().map(|span| text::place(text, span));
            bad(place, text::phrase(error.message()))
        })?;
        if file.version != FORMAT {
            return Err(bad(None, format!("it is of version {}; this host reads version {FORMAT}", file.version)));
        }
        if file.extension.len() > ENABLED_MAX {
            return Err(bad(None, format!("it has more than {ENABLED_MAX} extensions")));
        }
        let mut set = Self::default();
        for extension in file.extension {
            if let Some(name) = [&extension.name]
                .into_iter()
                .chain(extension.requires.keys())
                .find(|name| !claims::is_extension_name(name))
            {
                return Err(bad(None, format!("`{}` cannot be the name of an extension", text::phrase(name))));
            }
            if let Some(earlier) = set.extensions.insert(extension.name.clone(), extension) {
                return Err(bad(None, format!("`{}` is there twice", earlier.name)));
            }
        }
        Ok(set)
    }

    /// The text that [`EnabledSet::parse`] reads back: by name, so that equal sets are equal files.
    pub fn to_toml(&self) -> String {
        let file = LockFile { version: FORMAT, extension: self.extensions.values().cloned().collect() };
        let body = toml::to_string(&file).expect("every value of a set has a form in TOML");
        format!("# Written by Kodiak. `kodiak ext sync` makes reality equal to it.\n{body}")
    }

    /// Reads a file; `None` when there is none.
    ///
    /// # Errors
    /// As [`EnabledSet::parse`], naming the file; [`Error::Io`].
    pub fn read(path: &Path) -> Result<Option<Self>> {
        let bytes = match text::read_bounded(path, BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let bad = |problem: String| Error::BadLock { file: Some(path.to_owned()), place: None, problem };
        let bytes = bytes.ok_or_else(|| bad(format!("it has more than {BYTES_MAX} bytes")))?;
        let text = String::from_utf8(bytes).map_err(|_| bad("it is not UTF-8".to_owned()))?;
        Self::parse(&text).map(Some).map_err(|error| error.in_file(path))
    }

    /// Replaces a file in one step: a reader sees the old set or the new one, also after a power cut.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let directory = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let mut builder = tempfile::Builder::new();
        builder.prefix(".kodiak-");
        // A lock is read by everybody who works on the project, as far as the umask lets them.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let mut file = builder.tempfile_in(directory).map_err(Error::io("create a file in", directory))?;
        let written = file.write_all(self.to_toml().as_bytes()).and_then(|()| file.as_file().sync_all());
        written.map_err(Error::io("write", path))?;
        file.persist(path).map_err(|error| Error::io("write", path)(error.error))?;
        sync_directory(directory)
    }

    /// Reads a file, lets `change` change the set, and writes it if it did; nobody else who calls this comes in
    /// between. A missing file is an empty set.
    ///
    /// # Errors
    /// As [`EnabledSet::read`] and [`EnabledSet::write`], and whatever `change` says; then nothing is written.
    pub fn update<T, E: From<Error>>(path: &Path, change: impl FnOnce(&mut Self) -> Result<T, E>) -> Result<T, E> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let guard = path.with_file_name(format!(".{name}.guard"));
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).map_err(Error::io("create", directory))?;
        }
        // The file itself is replaced, so its own lock would guard nothing.
        let lock = File::options().create(true).truncate(false).write(true).open(&guard);
        let lock = lock.map_err(Error::io("open", &guard))?;
        lock.lock().map_err(Error::io("lock", &guard))?;
        let before = Self::read(path)?;
        let mut set = before.clone().unwrap_or_default();
        let answer = change(&mut set)?;
        if before.as_ref() != Some(&set) {
            set.write(path)?;
        }
        Ok(answer)
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.extensions.is_empty()
    }

    /// How many are in it, disabled ones included.
    pub fn len(&self) -> usize {
        self.extensions.len()
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Enabled> {
        self.extensions.values()
    }

    /// One of them.
    pub fn get(&self, name: &str) -> Option<&Enabled> {
        self.extensions.get(name)
    }

    /// Adds one, or replaces another version of it; gives back what was there.
    pub fn add(&mut self, extension: Enabled) -> Option<Enabled> {
        self.extensions.insert(extension.name.clone(), extension)
    }

    /// Removes one; gives it back.
    pub fn remove(&mut self, name: &str) -> Option<Enabled> {
        self.extensions.remove(name)
    }

    /// Enables one; whether it was disabled.
    ///
    /// # Errors
    /// [`Error::NotInstalled`] when it is not in the set.
    pub fn enable(&mut self, name: &str) -> Result<bool> {
        let extension = self.extensions.get_mut(name).ok_or_else(|| Error::NotInstalled { name: name.to_owned() })?;
        Ok(!std::mem::replace(&mut extension.enabled, true))
    }

    /// Disables one; whether it was enabled.
    ///
    /// # Errors
    /// [`Error::NotInstalled`] when it is not in the set.
    pub fn disable(&mut self, name: &str) -> Result<bool> {
        let extension = self.extensions.get_mut(name).ok_or_else(|| Error::NotInstalled { name: name.to_owned() })?;
        Ok(std::mem::replace(&mut extension.enabled, false))
    }

    /// Everything that needs an extension, directly or not, in the order in which it would have to go: whoever needs
    /// something comes before it. The extension itself is not part of it, not even in a circle.
    pub fn dependents_of(&self, name: &str) -> Vec<&Enabled> {
        let mut found: BTreeSet<&str> = BTreeSet::new();
        let mut open = vec![name];
        while let Some(needed) = open.pop() {
            for extension in self.iter().filter(|extension| extension.requires.contains_key(needed)) {
                if extension.name != name && found.insert(&extension.name) {
                    open.push(&extension.name);
                }
            }
        }
        let needs =
            found.iter().map(|name| (*name, self.extensions[*name].requires.keys().map(String::as_str).collect()));
        let (order, circular) = state::peel(&needs.collect());
        circular.into_iter().chain(order.into_iter().rev()).map(|name| &self.extensions[name]).collect()
    }
}

impl<'a> IntoIterator for &'a EnabledSet {
    type Item = &'a Enabled;
    type IntoIter = std::collections::btree_map::Values<'a, String, Enabled>;

    fn into_iter(self) -> Self::IntoIter {
        self.extensions.values()
    }
}
