//! What could be installed, and who would provide a name that nobody does. An index is a directory of static files, so
//! that any file server can hold it. It refuses to read more of it than one question needs, and to choose versions.
//!
//! - `index.json`: `{"format": 1}`, which makes a directory an index.
//! - `1/a`, `2/ab`, `3/a/abc`, `ab/cd/abcdef`: one file for each extension, one line of JSON for each version.
//! - `summary.jsonl`: for each extension the line of its newest version, so that "who provides `scm_diff`?" is one file.
//!
//! A line describes a package (`file`, `sha256`), or points to a crate in the same checkout (`path`), whose manifest
//! then says everything, or only says that the extension is known.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use semver::{Version, VersionReq};
use serde::{Deserialize, Serialize};

use crate::claims::{self, ClaimKind, STATEMENT_WORDS_MAX};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::manifest::{self, AbiVersion, About, Contributions, Manifest, Permissions, Requirements};
use crate::resolve::Source;
use crate::text;

const FORMAT: u32 = 1;
const MARKER_FILE: &str = "index.json";
const SUMMARY_FILE: &str = "summary.jsonl";
const EXTENSION_BYTES_MAX: usize = 16 * 1024 * 1024;
const SUMMARY_BYTES_MAX: usize = 1024 * 1024 * 1024;

/// An index in a directory.
#[derive(Clone, Debug)]
pub struct Index {
    directory: PathBuf,
}

/// What an index says about one version of an extension, or about one that has none.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// The extension.
    pub name: String,
    /// One line about it.
    pub summary: String,
    /// What it adds to the host.
    pub contributes: Contributions,
    /// What can be installed; `None` when the extension is only known.
    pub release: Option<Release>,
}

/// A version that can be installed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Release {
    /// Its version.
    pub version: Version,
    /// The ABI that it was built for.
    pub api: AbiVersion,
    /// What it requires of other extensions.
    pub requirements: Requirements,
    /// Where it is.
    pub location: Location,
    /// Withdrawn: never chosen anew, though it stays where it is installed.
    pub yanked: bool,
}

/// Where a release is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A crate's directory, to be built.
    Crate(PathBuf),
    /// A package file.
    Package {
        /// The file, below the index.
        file: PathBuf,
        /// Its hash.
        sha256: Digest,
    },
}

/// A line of an index, as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    /// The format of the line; newer ones are passed over.
    #[serde(default = "format_one", skip_serializing_if = "is_format_one")]
    v: u32,
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<Version>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    api: Option<AbiVersion>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    summary: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    dependencies: BTreeMap<String, VersionReq>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    optional_dependencies: BTreeMap<String, VersionReq>,
    #[serde(default, skip_serializing_if = "Contributions::is_empty")]
    contributes: Contributions,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sha256: Option<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(default, skip_serializing_if = "is_false")]
    yanked: bool,
}

#[derive(Deserialize)]
struct LineFormat {
    #[serde(default = "format_one")]
    v: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Marker {
    format: u32,
}

impl Index {
    /// An index in a directory.
    ///
    /// # Errors
    /// [`Error::NotASource`] when the directory is no index or one of another format, [`Error::Io`].
    pub fn open(directory: &Path) -> Result<Self> {
        let refuse =
            |reason: &str| Error::NotASource { what: directory.display().to_string(), reason: reason.to_owned() };
        let marker = directory.join(MARKER_FILE);
        if !marker.is_file() {
            return Err(refuse("is not an extension index: it has no `index.json`"));
        }
        let bytes = text::read_bounded(&marker, 4096)?.unwrap_or_default();
        match serde_json::from_slice::<Marker>(&bytes) {
            Ok(Marker { format: FORMAT }) => {}
            Ok(_) => return Err(refuse("is an extension index of a newer format than this host reads")),
            Err(_) => return Err(refuse("is not an extension index: its `index.json` cannot be understood")),
        }
        let directory = std::path::absolute(directory).map_err(Error::io("find", directory))?;
        Ok(Self { directory })
    }

    /// Where it is, as an absolute path.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Everything about one extension, newest version first; empty when it is unknown. Reads one file.
    ///
    /// # Errors
    /// [`Error::BadIndex`], [`Error::Io`], and [`Error::Manifest`] or [`Error::Reserved`] for a crate's manifest.
    pub fn lookup(&self, name: &str) -> Result<Vec<Entry>> {
        let Some(file) = shard(name) else { return Ok(Vec::new()) };
        let file = self.directory.join(file);
        if !file.is_file() {
            return Ok(Vec::new());
        }
        let mut entries = Vec::new();
        for (number, line) in self.lines(&file, EXTENSION_BYTES_MAX, |_| true)? {
            if line.name != name {
                return Err(damaged(&file, number, format!("it is about `{}`", text::phrase(&line.name))));
            }
            entries.push(self.entry(line, &file, number)?);
        }
        let version = |entry: &Entry| entry.release.as_ref().map(|release| release.version.clone());
        entries.sort_by_key(|entry| std::cmp::Reverse(version(entry)));
        if entries.windows(2).any(|pair| version(&pair[0]) == version(&pair[1])) {
            return Err(Error::BadIndex { file, line: None, problem: "a version is there twice".to_owned() });
        }
        Ok(entries)
    }

    /// The newest entry of every extension, by name.
    ///
    /// # Errors
    /// As [`Index::lookup`].
    pub fn all(&self) -> Result<Vec<Entry>> {
        self.scan(|_| true)
    }

    /// The newest entries in whose name, summary, statements or functions every word occurs, the best matches first.
    ///
    /// # Errors
    /// As [`Index::lookup`].
    pub fn search(&self, words: &str) -> Result<Vec<Entry>> {
        let words: Vec<String> = words.split_whitespace().map(str::to_lowercase).collect();
        let occurs = |text: &str| {
            let text = text.to_lowercase();
            words.iter().all(|word| text.contains(word.as_str()))
        };
        let mut found = self.scan(occurs)?;
        found.retain(|entry| {
            let Contributions { statements, functions, .. } = &entry.contributes;
            let names = [&entry.name, &entry.summary].into_iter().chain(statements).chain(functions);
            occurs(&names.map(String::as_str).collect::<Vec<_>>().join("\n"))
        });
        let rank = |entry: &Entry| match words.first() {
            Some(word) if entry.name == *word => 0,
            Some(word) if entry.name.starts_with(word.as_str()) => 1,
            Some(word) if entry.name.contains(word.as_str()) => 2,
            _ => 3,
        };
        found.sort_by_cached_key(|entry| (rank(entry), entry.name.clone()));
        Ok(found)
    }

    /// The extensions whose newest version provides a name, by name. Statements are asked for in normal form.
    ///
    /// # Errors
    /// As [`Index::lookup`].
    pub fn providers(&self, kind: ClaimKind, claim: &str) -> Result<Vec<Entry>> {
        if kind == ClaimKind::Command {
            // A command has its extension's name. What is only known has one as well, as far as anybody can tell.
            let newest = self.lookup(claim)?.into_iter().next();
            let provides = |entry: &Entry| entry.contributes.command.is_some() || entry.release.is_none();
            return Ok(newest.into_iter().filter(provides).collect());
        }
        if !claim.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b' ') {
            return Ok(Vec::new());
        }
        // Names and keywords have only one spelling in JSON as it is published, so most lines need no parsing.
        let needle = format!("\"{claim}\"");
        let mut found = self.scan(|line| line.contains(&needle))?;
        found.retain(|entry| entry.contributes.claims(&entry.name).any(|owned| owned == (kind, claim)));
        Ok(found)
    }

    /// The extension that claims the longest beginning of a statement, and its claim. `words` are the statement's
    /// leading keywords, upper case.
    ///
    /// # Errors
    /// As [`Index::lookup`].
    pub fn statement_provider(&self, words: &[&str]) -> Result<Option<(Entry, String)>> {
        for length in (1..=words.len().min(STATEMENT_WORDS_MAX)).rev() {
            let claim = words[..length].join(" ");
            if let Some(entry) = self.providers(ClaimKind::Statement, &claim)?.into_iter().next() {
                return Ok(Some((entry, claim)));
            }
        }
        Ok(None)
    }

    /// Parses only lines for which `may_match` says so, and those that point to a crate.
    fn scan(&self, may_match: impl Fn(&str) -> bool) -> Result<Vec<Entry>> {
        let file = self.directory.join(SUMMARY_FILE);
        let lines = self.lines(&file, SUMMARY_BYTES_MAX, |line| may_match(line) || line.contains("\"path\""))?;
        let mut entries = Vec::new();
        let mut names = BTreeSet::new();
        for (number, line) in lines {
            if !names.insert(line.name.clone()) {
                return Err(damaged(&file, number, format!("`{}` is there twice", text::phrase(&line.name))));
            }
            entries.push(self.entry(line, &file, number)?);
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn lines(&self, file: &Path, bytes_max: usize, wanted: impl Fn(&str) -> bool) -> Result<Vec<(usize, Line)>> {
        let bad = |line, problem: String| Error::BadIndex { file: file.to_owned(), line, problem };
        let bytes = text::read_bounded(file, bytes_max)?;
        let bytes = bytes.ok_or_else(|| bad(None, format!("it has more than {bytes_max} bytes")))?;
        let content = String::from_utf8(bytes).map_err(|_| bad(None, "it is not UTF-8".to_owned()))?;
        let mut lines = Vec::new();
        for (number, line) in (1..).zip(content.lines()) {
            if line.trim().is_empty() || !wanted(line) {
                continue;
            }
            let problem = |error: serde_json::Error| bad(Some(number), text::phrase(&error.to_string()));
            // Later hosts may write lines that this one cannot use; older lines beside them still count.
            if serde_json::from_str::<LineFormat>(line).map_err(problem)?.v <= FORMAT {
                lines.push((number, serde_json::from_str(line).map_err(problem)?));
            }
        }
        Ok(lines)
    }

    fn entry(&self, line: Line, file: &Path, number: usize) -> Result<Entry> {
        let bad = |problem: String| damaged(file, number, problem);
        if let Some(path) = &line.path {
            if line.version.is_some() || line.file.is_some() || line.sha256.is_some() {
                return Err(bad("a line with a path takes everything else from the crate's manifest".to_owned()));
            }
            let directory = self.directory.join(path);
            let directory = fs::canonicalize(&directory).unwrap_or(directory);
            let manifest = directory.join(manifest::FILE_NAME);
            if manifest.is_file() {
                let manifest = Manifest::read(&manifest)?;
                if manifest.name() != line.name {
                    return Err(bad(format!("`{path}` is the extension `{}`", manifest.name())));
                }
                return Ok(from_manifest(manifest, directory));
            }
        }
        let Line { name, version, api, summary, dependencies, optional_dependencies, contributes, .. } = line;
        // The same rules hold for what an index says as for what a manifest says.
        let stand_in = Manifest {
            extension: About {
                name,
                version: version.clone().unwrap_or(Version::new(0, 0, 0)),
                api: api.unwrap_or(AbiVersion { major: 0, minor: 0 }),
                summary: summary.unwrap_or_else(|| "not described yet".to_owned()),
                license: None,
                authors: Vec::new(),
                homepage: None,
                repository: None,
                keywords: Vec::new(),
                data_dir: None,
            },
            dependencies,
            optional_dependencies,
            permissions: Permissions::default(),
            contributes,
        };
        stand_in.check().map_err(|error| bad(error.to_string()))?;
        let release = match (version, api, line.file, line.sha256) {
            (None, None, None, None) => None,
            (Some(version), Some(api), Some(package), Some(sha256)) => {
                let package = PathBuf::from(package);
                if package.components().any(|part| !matches!(part, Component::Normal(_))) {
                    return Err(bad("its `file` is not below the index".to_owned()));
                }
                let requirements = stand_in.requirements();
                let location = Location::Package { file: self.directory.join(package), sha256 };
                Some(Release { version, api, requirements, location, yanked: line.yanked })
            }
            _ => return Err(bad("a release has all of `version`, `api`, `file` and `sha256`".to_owned())),
        };
        let Manifest { extension: About { name, summary, .. }, contributes, .. } = stand_in;
        Ok(Entry { name, summary, contributes, release })
    }
}

/// Everything that can be chosen from: indexes, and manifests that are there anyway, such as those of what is installed
/// and of what is given as a file.
#[derive(Clone, Debug, Default)]
pub struct Pool<'a> {
    indexes: Vec<&'a Index>,
    offered: BTreeMap<String, BTreeMap<Version, Requirements>>,
}

impl<'a> Pool<'a> {
    /// Nothing to choose from.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an index; of one version in two indexes, the one that was added first counts.
    #[must_use]
    pub fn index(mut self, index: &'a Index) -> Self {
        self.indexes.push(index);
        self
    }

    /// Adds one version of an extension, which counts before the same in an index.
    #[must_use]
    pub fn offer(mut self, name: &str, version: &Version, requirements: Requirements) -> Self {
        self.offered.entry(name.to_owned()).or_default().insert(version.clone(), requirements);
        self
    }

    /// Adds the version that a manifest describes.
    #[must_use]
    pub fn manifest(self, manifest: &Manifest) -> Self {
        self.offer(manifest.name(), manifest.version(), manifest.requirements())
    }

    /// The release of a version that is in an index, with the index that has it.
    ///
    /// # Errors
    /// As [`Index::lookup`]; [`Error::NotInIndex`] and [`Error::NoRelease`] when there is none.
    pub fn release(&self, name: &str, version: &Version) -> Result<(&'a Index, Release)> {
        let mut known = false;
        for index in &self.indexes {
            for entry in index.lookup(name)? {
                known = true;
                if let Some(release) = entry.release.filter(|release| release.version == *version) {
                    return Ok((index, release));
                }
            }
        }
        let name = name.to_owned();
        Err(if known { Error::NoRelease { name } } else { Error::NotInIndex { name } })
    }
}

impl Source for Pool<'_> {
    fn versions(&self, name: &str) -> Result<Vec<Version>> {
        let offered = self.offered.get(name).into_iter().flat_map(BTreeMap::keys).cloned();
        let mut versions: BTreeSet<Version> = offered.collect();
        let mut known = false;
        for index in &self.indexes {
            for entry in index.lookup(name)? {
                known = true;
                versions.extend(entry.release.filter(|release| !release.yanked).map(|release| release.version));
            }
        }
        if known && versions.is_empty() {
            return Err(Error::NoRelease { name: name.to_owned() });
        }
        Ok(versions.into_iter().collect())
    }

    fn requirements(&self, name: &str, version: &Version) -> Result<Requirements> {
        match self.offered.get(name).and_then(|versions| versions.get(version)) {
            Some(requirements) => Ok(requirements.clone()),
            None => self.release(name, version).map(|(_, release)| release.requirements),
        }
    }
}

/// The file of an extension below its index, or `None` for what cannot be a name.
pub fn shard(name: &str) -> Option<PathBuf> {
    if !claims::is_extension_name(name) {
        return None;
    }
    Some(match name.len() {
        1 => PathBuf::from("1").join(name),
        2 => PathBuf::from("2").join(name),
        3 => PathBuf::from("3").join(&name[..1]).join(name),
        _ => PathBuf::from(&name[..2]).join(&name[2..4]).join(name),
    })
}

fn from_manifest(manifest: Manifest, directory: PathBuf) -> Entry {
    let requirements = manifest.requirements();
    let About { name, version, api, summary, .. } = manifest.extension;
    let release = Release { version, api, requirements, location: Location::Crate(directory), yanked: false };
    Entry { name, summary, contributes: manifest.contributes, release: Some(release) }
}

fn damaged(file: &Path, line: usize, problem: String) -> Error {
    Error::BadIndex { file: file.to_owned(), line: Some(line), problem }
}

fn format_one() -> u32 {
    1
}

fn is_format_one(format: &u32) -> bool {
    *format == 1
}

fn is_false(value: &bool) -> bool {
    !value
}
