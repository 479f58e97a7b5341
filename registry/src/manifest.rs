//! What an extension says about itself: `kodiak-plugin.toml`, read strictly. It refuses unknown keys, unbounded sizes,
//! names that cannot work and claims on what belongs to the host; it does not know where a manifest came from.

mod permissions;

pub use permissions::{FilesystemAccess, Permissions, SqlAccess};

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use semver::{Version, VersionReq};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::claims::{self, ClaimKind};
use crate::error::{Error, Result};
use crate::text;

/// Name of the file in an extension's crate.
pub const FILE_NAME: &str = "kodiak-plugin.toml";

/// Bytes that a manifest may have.
pub const MANIFEST_BYTES_MAX: usize = 64 * 1024;

/// Entries that each list of contributions may have.
pub const CONTRIBUTIONS_MAX: usize = 256;

/// Names inside a database that belong to the host.
const HOST_FOLDERS: &[&str] =
    &["current", "deletes", "extensions", "format", "indexes", "lock", "manifests", "segments", "shm", "tmp", "wal"];
const DEPENDENCIES_MAX: usize = 64;
const LIST_MAX: usize = 32;
const SUMMARY_CHARACTERS_MAX: usize = 200;
const LINE_CHARACTERS_MAX: usize = 500;
const VERSION_BYTES_MAX: usize = 64;

/// A whole manifest. What [`Manifest::parse`] returns keeps every rule; a changed one is checked again by
/// [`Manifest::check`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Name, version and words about it.
    pub extension: About,
    /// Requirements on other extensions, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub dependencies: BTreeMap<String, VersionReq>,
    /// Requirements that only hold for extensions that are there anyway.
    #[serde(default, rename = "optional-dependencies", skip_serializing_if = "BTreeMap::is_empty")]
    pub optional_dependencies: BTreeMap<String, VersionReq>,
    /// What it asks to be allowed.
    #[serde(default, skip_serializing_if = "Permissions::is_none")]
    pub permissions: Permissions,
    /// What it adds to the host.
    #[serde(default, skip_serializing_if = "Contributions::is_empty")]
    pub contributes: Contributions,
}

/// The table `[extension]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// `[a-z][a-z0-9_-]{0,31}`; also the name of its command and of its SQL schema.
    pub name: String,
    /// Version of the extension.
    pub version: Version,
    /// Version of the plugin ABI that it was built for.
    pub api: AbiVersion,
    /// One line, at most 200 characters.
    pub summary: String,
    /// SPDX expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    /// Who made it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub authors: Vec<String>,
    /// An address for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub homepage: Option<String>,
    /// Where the source is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// Words to find it by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keywords: Vec<String>,
    /// The folder inside a database that holds its files; `extensions/<name>` when not given.
    #[serde(default, rename = "data-dir", skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<String>,
}

/// What one version of an extension requires of others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requirements {
    /// Must be there.
    pub needed: BTreeMap<String, VersionReq>,
    /// Must be in range if they are there.
    pub optional: BTreeMap<String, VersionReq>,
}

/// The table `[contributes]`. Everything that help, gating and binding errors need is here, so that nothing is loaded
/// before it is used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contributions {
    /// The summary of the command that has the extension's name, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Leading keywords of statements, in normal form: upper case, single spaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub statements: Vec<String>,
    /// Those of the statements whose text may hold what must not be seen: no message, log or history repeats it, whether
    /// the extension can be used or not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sensitive: Vec<String>,
    /// Scalar, aggregate and table functions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub functions: Vec<String>,
    /// Functions that only other extensions may call, when they declare this one and ask for the permission: no SQL of a
    /// user's reaches them. Their first argument is the name of the extension that calls, given by the host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<String>,
    /// Virtual tables in the extension's schema.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tables: Vec<String>,
    /// Languages of routines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub languages: Vec<String>,
    /// File formats for COPY and FROM.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub formats: Vec<String>,
    /// Where it wants to be called.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<Hook>,
}

/// A point at which the host calls an extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hook {
    /// Before a statement runs.
    BeforeStatement,
    /// After a statement ran.
    AfterStatement,
    /// When a batch of rows changed.
    RowChange,
    /// Before a transaction commits.
    BeforeCommit,
    /// After a transaction committed.
    AfterCommit,
    /// When a database opens.
    Open,
    /// When a database closes.
    Close,
}

/// A version of the plugin ABI, written "MAJOR.MINOR".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AbiVersion {
    /// Another major is another ABI.
    pub major: u16,
    /// A higher minor only appended.
    pub minor: u16,
}

impl Manifest {
    /// Reads a manifest and checks every rule.
    ///
    /// # Errors
    /// [`Error::Manifest`] or [`Error::Reserved`], with the place in the text.
    ///
    /// ```
    /// use kodiak_registry::Manifest;
    ///
    /// let manifest = Manifest::parse(
    ///     r#"
    ///     [extension]
    ///     name = "hello"
    ///     version = "0.1.0"
    ///     api = "1.0"
    ///     summary = "Says hello"
    ///     [contributes]
    ///     statements = ["say hello"]
    ///     "#,
    /// )?;
    /// assert_eq!(manifest.contributes.statements, ["SAY HELLO"]);
    /// # Ok::<(), kodiak_registry::Error>(())
    /// ```
    pub fn parse(text: &str) -> Result<Self> {
        if text.len() > MANIFEST_BYTES_MAX {
            return Err(problem(format!("it has {} bytes; at most {MANIFEST_BYTES_MAX} are read", text.len())));
        }
        let mut manifest: Self = toml::from_str(text).map_err(|error| Error::Manifest {
            file: None,
            place: error.span().map(|span| text::place(text, span)),
            problem: text::phrase(error.message()),
        })?;
        manifest.normalise();
        manifest.find_fault().map_or(Ok(manifest), |fault| Err(fault.into_error(Some(text))))
    }

    /// Reads a manifest from a file.
    ///
    /// # Errors
    /// As [`Manifest::parse`], naming the file; or when it cannot be read.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = text::read_bounded(path, MANIFEST_BYTES_MAX)?
            .ok_or_else(|| problem(format!("it has more than {MANIFEST_BYTES_MAX} bytes")).in_file(path))?;
        let text = String::from_utf8(bytes).map_err(|_| problem("it is not UTF-8".to_owned()).in_file(path))?;
        Self::parse(&text).map_err(|error| error.in_file(path))
    }

    /// Checks every rule on a manifest that was made or changed by code.
    ///
    /// # Errors
    /// As [`Manifest::parse`], without a place.
    pub fn check(&self) -> Result<()> {
        self.find_fault().map_or(Ok(()), |fault| Err(fault.into_error(None)))
    }

    /// The text that [`Manifest::parse`] reads back as the same manifest.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("every value of a manifest has a form in TOML")
    }

    /// The extension's name.
    pub fn name(&self) -> &str {
        &self.extension.name
    }

    /// The extension's version.
    pub fn version(&self) -> &Version {
        &self.extension.version
    }

    /// What it requires of other extensions.
    pub fn requirements(&self) -> Requirements {
        Requirements { needed: self.dependencies.clone(), optional: self.optional_dependencies.clone() }
    }

    /// The folder inside a database that holds the extension's files, relative to the database.
    pub fn data_directory(&self) -> String {
        let given = self.extension.data_dir.clone();
        given.unwrap_or_else(|| format!("extensions/{}", self.name()))
    }

    /// Every name that only one enabled extension can own.
    pub fn claims(&self) -> impl Iterator<Item = (ClaimKind, &str)> {
        self.contributes.claims(self.name())
    }

    fn normalise(&mut self) {
        for claim in self.contributes.statements.iter_mut().chain(&mut self.contributes.sensitive) {
            // What cannot be normalised stays as it is and is reported with its own words.
            if let Ok(normal) = claims::normalise_statement(claim) {
                *claim = normal;
            }
        }
    }

    fn find_fault(&self) -> Option<Fault> {
        self.check_about()
            .and_then(|()| self.check_dependencies())
            .and_then(|()| self.permissions.check())
            .and_then(|()| self.contributes.check(self.name()))
            .err()
    }

    fn check_about(&self) -> Result<(), Fault> {
        let about = &self.extension;
        let at = |key: &'static str| [Key::Name("extension".into()), Key::Name(key.into())];
        if !claims::is_extension_name(&about.name) {
            let problem = "a name has 1 to 32 of a-z, 0-9, `_` and `-`, and begins with a letter";
            return Err(Fault::new(at("name"), problem));
        }
        if claims::is_reserved_name(&about.name) {
            return Err(Fault::reserved(at("name"), &about.name, format!("the name `{}`", about.name)));
        }
        if let Some(folder) = &about.data_dir
            && (!claims::is_extension_name(folder) || HOST_FOLDERS.contains(&folder.as_str()))
        {
            let problem = "a data folder is named like an extension, and not like one of the host's own folders";
            return Err(Fault::new(at("data-dir"), problem));
        }
        if about.version.to_string().len() > VERSION_BYTES_MAX {
            return Err(Fault::new(at("version"), format!("a version has at most {VERSION_BYTES_MAX} characters")));
        }
        check_line(&about.summary, SUMMARY_CHARACTERS_MAX).map_err(|problem| Fault::new(at("summary"), problem))?;
        for (key, value) in
            [("license", &about.license), ("homepage", &about.homepage), ("repository", &about.repository)]
        {
            if let Some(value) = value {
                check_line(value, LINE_CHARACTERS_MAX).map_err(|problem| Fault::new(at(key), problem))?;
                let is_address = value.starts_with("https://") || value.starts_with("http://");
                if key != "license" && !is_address {
                    return Err(Fault::new(at(key), "an address begins with `https://` or `http://`"));
                }
            }
        }
        for (key, values) in [("authors", &about.authors), ("keywords", &about.keywords)] {
            if values.len() > LIST_MAX {
                return Err(Fault::new(at(key), format!("at most {LIST_MAX} are allowed")));
            }
            for (index, value) in values.iter().enumerate() {
                check_line(value, SUMMARY_CHARACTERS_MAX)
                    .map_err(|problem| Fault::new(at(key).into_iter().chain([Key::Index(index)]), problem))?;
            }
        }
        Ok(())
    }

    fn check_dependencies(&self) -> Result<(), Fault> {
        for (table, dependencies) in
            [("dependencies", &self.dependencies), ("optional-dependencies", &self.optional_dependencies)]
        {
            if dependencies.len() > DEPENDENCIES_MAX {
                return Err(Fault::new([Key::Name(table.into())], format!("at most {DEPENDENCIES_MAX} are allowed")));
            }
            for (name, requirement) in dependencies {
                let at = [Key::Name(table.into()), Key::Name(name.clone())];
                if !claims::is_extension_name(name) {
                    return Err(Fault::new(at, "this cannot be the name of an extension"));
                }
                if name == self.name() {
                    return Err(Fault::new(at, "an extension cannot need itself"));
                }
                if requirement.to_string().len() > 4 * VERSION_BYTES_MAX {
                    return Err(Fault::new(at, "the requirement is too long"));
                }
                if table != "dependencies" && self.dependencies.contains_key(name) {
                    return Err(Fault::new(at, format!("`{name}` is needed already, so it cannot be optional too")));
                }
            }
        }
        Ok(())
    }
}

impl FromStr for Manifest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl Contributions {
    /// Whether nothing is contributed.
    pub fn is_empty(&self) -> bool {
        self == &Self::default()
    }

    /// Every name here that only one enabled extension can own; `name` is that of the extension.
    pub fn claims<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (ClaimKind, &'a str)> {
        let of = |kind: ClaimKind, list: &'a [String]| list.iter().map(move |claim| (kind, claim.as_str()));
        self.command
            .iter()
            .map(move |_| (ClaimKind::Command, name))
            .chain(of(ClaimKind::Statement, &self.statements))
            .chain(of(ClaimKind::Function, &self.functions))
            .chain(of(ClaimKind::Service, &self.services))
            .chain(of(ClaimKind::Language, &self.languages))
            .chain(of(ClaimKind::Format, &self.formats))
    }

    fn check(&self, name: &str) -> Result<(), Fault> {
        let at = |key: &'static str| [Key::Name("contributes".into()), Key::Name(key.into())];
        if let Some(summary) = &self.command {
            check_line(summary, SUMMARY_CHARACTERS_MAX).map_err(|problem| Fault::new(at("command"), problem))?;
        }
        check_list(&self.statements, at("statements"), |claim| {
            let normal = claims::normalise_statement(claim)?;
            if normal == *claim { Ok(()) } else { Err(format!("the claim must be written `{normal}`")) }
        })?;
        if let Some(index) = self.statements.iter().position(|claim| claims::is_host_statement(claim)) {
            let claim = format!("the statement `{}`", self.statements[index]);
            return Err(Fault::reserved(at("statements").into_iter().chain([Key::Index(index)]), name, claim));
        }
        check_list(&self.sensitive, at("sensitive"), |claim| match self.statements.contains(claim) {
            true => Ok(()),
            false => Err(format!("`{}` is none of the `statements`", text::phrase(claim))),
        })?;
        for (key, list) in [
            ("functions", &self.functions),
            ("services", &self.services),
            ("tables", &self.tables),
            ("languages", &self.languages),
            ("formats", &self.formats),
        ] {
            check_list(list, at(key), |entry| {
                if claims::is_identifier(entry) {
                    Ok(())
                } else {
                    Err(format!(
                        "`{}` is not a name here: a-z, 0-9 and `_`, beginning with a letter or `_`, at most 63",
                        text::phrase(entry)
                    ))
                }
            })?;
        }
        if let Some(index) = self.services.iter().position(|service| self.functions.contains(service)) {
            let at = at("services").into_iter().chain([Key::Index(index)]);
            return Err(Fault::new(at, "it is a function already, which SQL may call"));
        }
        if let Some(index) = self.languages.iter().position(|language| language == "sql") {
            let at = at("languages").into_iter().chain([Key::Index(index)]);
            return Err(Fault::reserved(at, name, "the language `sql`".to_owned()));
        }
        let mut seen = BTreeSet::new();
        match self.hooks.iter().position(|hook| !seen.insert(*hook)) {
            Some(index) => Err(Fault::new(at("hooks").into_iter().chain([Key::Index(index)]), "it is here twice")),
            None => Ok(()),
        }
    }
}

impl fmt::Display for AbiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// The text is not "MAJOR.MINOR".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an ABI version is written \"MAJOR.MINOR\", such as \"1.0\"")]
pub struct BadAbiVersion;

impl FromStr for AbiVersion {
    type Err = BadAbiVersion;

    fn from_str(text: &str) -> Result<Self, BadAbiVersion> {
        let number = |digits: &str| {
            let canonical =
                digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
            digits.parse().ok().filter(|_| canonical).ok_or(BadAbiVersion)
        };
        let (major, minor) = text.split_once('.').ok_or(BadAbiVersion)?;
        Ok(Self { major: number(major)?, minor: number(minor)? })
    }
}

impl Serialize for AbiVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AbiVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A step from a table of the manifest to the value that is wrong.
enum Key {
    Name(String),
    Index(usize),
}

/// A broken rule. Its place is only looked for when there is one, so that good manifests are read fast.
struct Fault {
    at: Vec<Key>,
    problem: Problem,
}

enum Problem {
    Rule(String),
    Reserved { extension: String, claim: String },
}

impl Fault {
    fn new(at: impl IntoIterator<Item = Key>, problem: impl Into<String>) -> Self {
        Self { at: at.into_iter().collect(), problem: Problem::Rule(problem.into()) }
    }

    fn reserved(at: impl IntoIterator<Item = Key>, extension: &str, claim: String) -> Self {
        let problem = Problem::Reserved { extension: extension.to_owned(), claim };
        Self { at: at.into_iter().collect(), problem }
    }

    fn into_error(self, text: Option<&str>) -> Error {
        let place = text.and_then(|text| self.span(text).map(|span| text::place(text, span)));
        match self.problem {
            Problem::Reserved { extension, claim } => Error::Reserved { extension, claim, place },
            Problem::Rule(problem) => {
                let mut path = String::new();
                for key in &self.at {
                    match key {
                        Key::Name(name) if path.is_empty() => path.push_str(&text::phrase(name)),
                        Key::Name(name) => path.extend([".", &text::phrase(name)]),
                        Key::Index(index) => path.push_str(&format!("[{index}]")),
                    }
                }
                Error::Manifest { file: None, place, problem: format!("`{path}`: {problem}") }
            }
        }
    }

    fn span(&self, text: &str) -> Option<std::ops::Range<usize>> {
        use toml::de::{DeTable, DeValue};

        let root = DeTable::parse(text).ok()?;
        let mut span = root.span();
        let mut value: Option<&DeValue<'_>> = None;
        for key in &self.at {
            let next = match (key, value) {
                (Key::Name(name), None) => root.get_ref().get(name.as_str())?,
                (Key::Name(name), Some(DeValue::Table(table))) => table.get(name.as_str())?,
                (Key::Index(index), Some(DeValue::Array(array))) => array.get(*index)?,
                _ => return None,
            };
            span = next.span();
            value = Some(next.get_ref());
        }
        Some(span)
    }
}

fn check_line(line: &str, characters_max: usize) -> Result<(), String> {
    if line.trim().is_empty() {
        Err("it is empty".to_owned())
    } else if line.chars().count() > characters_max {
        Err(format!("it has more than {characters_max} characters"))
    } else if !line.chars().all(text::is_printable) {
        Err("it has characters that cannot be printed on one line".to_owned())
    } else {
        Ok(())
    }
}

fn check_list(list: &[String], at: [Key; 2], check: impl Fn(&String) -> Result<(), String>) -> Result<(), Fault> {
    if list.len() > CONTRIBUTIONS_MAX {
        return Err(Fault::new(at, format!("at most {CONTRIBUTIONS_MAX} are allowed")));
    }
    let mut seen = BTreeSet::new();
    for (index, entry) in list.iter().enumerate() {
        let verdict = check(entry);
        let verdict =
            verdict.and_then(|()| if seen.insert(entry) { Ok(()) } else { Err(format!("`{entry}` is here twice")) });
        if let Err(problem) = verdict {
            return Err(Fault::new(at.into_iter().chain([Key::Index(index)]), problem));
        }
    }
    Ok(())
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn problem(problem: String) -> Error {
    Error::Manifest { file: None, place: None, problem }
}
