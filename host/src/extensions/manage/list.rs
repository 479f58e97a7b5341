//! What is installed and what could be, for lists.

use super::Manager;
use crate::error::{Error, Result, codes};
use crate::extensions::{View, from_registry};
use kodiak_registry::Manifest;
use kodiak_registry::index::Entry;
use semver::Version;

/// One line of `kodiak ext list`.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Its version; none when no release is known.
    pub version: Option<Version>,
    /// Its state, or `available` and `known`.
    pub state: String,
    /// Where it came from.
    pub source: String,
    /// The hash of its library.
    pub sha256: String,
    /// Requirements, as `blob ^0.1`.
    pub requires: Vec<String>,
    /// One line about it.
    pub summary: String,
}

/// Everything about one extension.
#[derive(Debug)]
pub struct Details {
    /// As in the list.
    pub listed: Listed,
    /// Why it cannot be used.
    pub problem: Option<Error>,
    /// Its manifest, when its files are here or an index has it.
    pub manifest: Option<Manifest>,
    /// Objects that it owns in the database.
    pub objects: Vec<(String, String)>,
}

impl Manager<'_> {
    /// What is enabled or disabled here, by name.
    ///
    /// # Errors
    /// When set or store cannot be read.
    pub fn list(&self) -> Result<Vec<Listed>> {
        let view = View::new(self.set()?, self.home)?;
        Ok(view.set().iter().map(|enabled| listed(&view, &enabled.name)).collect::<Option<_>>().unwrap_or_default())
    }

    /// What the indexes have, by name.
    ///
    /// # Errors
    /// When an index cannot be read.
    pub fn available(&self) -> Result<Vec<Listed>> {
        let mut all = Vec::new();
        for index in self.home.indexes()? {
            let place = index.directory().display().to_string();
            all.extend(index.all().map_err(from_registry)?.into_iter().map(|entry| offered(entry, &place)));
        }
        Ok(all)
    }

    /// What the indexes have for a word.
    ///
    /// # Errors
    /// When an index cannot be read.
    pub fn search(&self, word: &str) -> Result<Vec<Listed>> {
        let mut all = Vec::new();
        for index in self.home.indexes()? {
            let place = index.directory().display().to_string();
            all.extend(index.search(word).map_err(from_registry)?.into_iter().map(|entry| offered(entry, &place)));
        }
        Ok(all)
    }

    /// Everything about one extension, installed or in an index.
    ///
    /// # Errors
    /// NOT_IN_INDEX when neither has it.
    pub fn details(&self, name: &str) -> Result<Details> {
        let view = View::new(self.set()?, self.home)?;
        if let Some(listed) = listed(&view, name) {
            return Ok(Details {
                listed,
                problem: view.grant(name).err(),
                manifest: view.artifact(name).map(|installed| installed.manifest.clone()),
                objects: self.keeper.objects(name)?,
            });
        }
        for index in self.home.indexes()? {
            let place = index.directory().display().to_string();
            if let Some(entry) = index.lookup(name).map_err(from_registry)?.pop() {
                let manifest = match entry.release.as_ref().map(|release| &release.location) {
                    Some(kodiak_registry::index::Location::Crate(folder)) => {
                        Manifest::read(&folder.join(kodiak_registry::manifest::FILE_NAME)).ok()
                    }
                    _ => None,
                };
                return Ok(Details { listed: offered(entry, &place), problem: None, manifest, objects: Vec::new() });
            }
        }
        let text = format!("no extension `{name}` is installed, and no index knows one");
        Err(Error::new(codes::NOT_IN_INDEX, text).help(format!("kodiak ext search {name}")))
    }
}

fn listed(view: &View, name: &str) -> Option<Listed> {
    let enabled = view.set().get(name)?;
    Some(Listed {
        name: enabled.name.clone(),
        version: Some(enabled.version.clone()),
        state: view.state(name).to_owned(),
        source: enabled.source.to_string(),
        sha256: enabled.sha256.to_string(),
        requires: enabled.requires.iter().map(|(name, requirement)| format!("{name} {requirement}")).collect(),
        summary: view.artifact(name).map(|installed| installed.manifest.extension.summary.clone()).unwrap_or_default(),
    })
}

fn offered(entry: Entry, place: &str) -> Listed {
    let release = entry.release;
    let requires = release.as_ref().map(|release| {
        release.requirements.needed.iter().map(|(name, requirement)| format!("{name} {requirement}")).collect()
    });
    Listed {
        name: entry.name,
        state: if release.is_some() { "available" } else { "known" }.to_owned(),
        version: release.map(|release| release.version),
        source: format!("index:{place}"),
        sha256: String::new(),
        requires: requires.unwrap_or_default(),
        summary: entry.summary,
    }
}
