//! May this be used? Answered from manifests alone: nothing is loaded to say who provides a command, a statement or a
//! function, and why it cannot be used when it cannot.

use super::home::Home;
use super::{from_registry, instance};
use crate::error::{Error, Result, codes};
use kodiak_plugin_api::abi;
use kodiak_registry::lock::{Artifact, Enabled, EnabledSet, State, States};
use kodiak_registry::store::{Condition, Installed};
use kodiak_registry::{ClaimKind, Index, Manifest, Store};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is enabled, and what can be said about each.
pub struct View {
    set: EnabledSet,
    states: States,
    artifacts: BTreeMap<String, Arc<Installed>>,
    /// Function name → extension.
    functions: BTreeMap<String, String>,
    /// Statement claim → extension.
    statements: BTreeMap<String, String>,
    /// Language → extension.
    languages: BTreeMap<String, String>,
    /// Service → extension.
    services: BTreeMap<String, String>,
}

/// An extension that may be used.
#[derive(Clone)]
pub struct Grant {
    pub(crate) installed: Arc<Installed>,
    pub(crate) manifest: Arc<Manifest>,
}

impl Grant {
    /// Its name.
    pub fn name(&self) -> &str {
        self.manifest.name()
    }
}

impl View {
    /// Reads the manifests of a set and judges each member.
    ///
    /// # Errors
    /// When the store cannot be read; what is wrong with one extension is only said when it is asked for.
    pub fn new(set: EnabledSet, home: &Home) -> Result<Self> {
        let store = home.store()?;
        let mut artifacts = BTreeMap::new();
        for enabled in &set {
            // A damaged artifact is judged below; here it only cannot be read.
            if let Ok(Some(installed)) = store.get(enabled.sha256) {
                artifacts.insert(enabled.name.clone(), Arc::new(installed));
            }
        }
        let states = set.validate(|enabled| artifact(&store, enabled, artifacts.get(&enabled.name)));
        let (mut functions, mut statements, mut languages) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let mut services = BTreeMap::new();
        // From the set, not from the files: what is dormant must still be named.
        for enabled in &set {
            for (kind, claim) in enabled.claims() {
                let owners = match kind {
                    ClaimKind::Function => &mut functions,
                    ClaimKind::Statement => &mut statements,
                    ClaimKind::Language => &mut languages,
                    ClaimKind::Service => &mut services,
                    _ => continue,
                };
                owners.insert(claim.to_owned(), enabled.name.clone());
            }
        }
        Ok(Self { set, states, artifacts, functions, statements, languages, services })
    }

    /// The set.
    pub fn set(&self) -> &EnabledSet {
        &self.set
    }

    /// The artifact of a member whose files are here.
    pub fn artifact(&self, name: &str) -> Option<&Arc<Installed>> {
        self.artifacts.get(name)
    }

    /// Whether the set has it, usable or not.
    pub fn contains(&self, name: &str) -> bool {
        self.set.get(name).is_some()
    }

    /// Who provides a function, if anybody in the set does.
    pub fn function_owner(&self, name: &str) -> Option<&str> {
        self.functions.get(name).map(String::as_str)
    }

    /// Who brings a language, if anybody in the set does.
    pub fn language_owner(&self, name: &str) -> Option<&str> {
        self.languages.get(name).map(String::as_str)
    }

    /// Who provides a service to other extensions, if anybody in the set does.
    pub fn service_owner(&self, name: &str) -> Option<&str> {
        self.services.get(name).map(String::as_str)
    }

    /// The longest claim that a statement's leading keywords, upper case, begin with, and who made it.
    pub fn statement_owner(&self, words: &[String]) -> Option<(&str, &str)> {
        (1..=words.len()).rev().find_map(|length| {
            let found = self.statements.get_key_value(&words[..length].join(" "));
            found.map(|(claim, owner)| (claim.as_str(), owner.as_str()))
        })
    }

    /// Claims on statements that may hold what must not be seen, of usable extensions and others.
    pub fn sensitive(&self) -> impl Iterator<Item = &str> {
        self.set.iter().flat_map(|enabled| enabled.contributes.sensitive.iter().map(String::as_str))
    }

    /// Functions of the set, with their extensions.
    pub fn functions(&self) -> impl Iterator<Item = (&str, &str)> {
        self.functions.iter().map(|(name, owner)| (name.as_str(), owner.as_str()))
    }

    /// Why it cannot be used, or that it can.
    ///
    /// # Errors
    /// DISABLED, DORMANT, MODIFIED, ABI_VERSION, QUARANTINED, DEPENDENCY and their kin; NOT_INSTALLED when the set does
    /// not have it.
    pub fn grant(&self, name: &str) -> Result<Grant> {
        let Some(enabled) = self.set.get(name) else {
            return Err(from_registry(kodiak_registry::Error::NotInstalled { name: name.to_owned() }));
        };
        if instance::is_quarantined(name) {
            return Err(instance::quarantined(name));
        }
        if let Some(error) = self.states.get(name).and_then(|state| state.error(enabled)) {
            return Err(from_registry(error));
        }
        let installed = self.artifacts.get(name).ok_or_else(|| {
            let (name, version) = (name.to_owned(), enabled.version.clone());
            from_registry(kodiak_registry::Error::Dormant { name, version })
        })?;
        Ok(Grant { installed: installed.clone(), manifest: Arc::new(installed.manifest.clone()) })
    }

    /// The state, as `kodiak ext list` shows it. That a plugin is loaded is known to whoever holds its instance.
    pub fn state(&self, name: &str) -> &'static str {
        if instance::is_quarantined(name) {
            return "quarantined";
        }
        self.states.get(name).map_or("dormant", State::word)
    }
}

fn artifact(store: &Store, enabled: &Enabled, installed: Option<&Arc<Installed>>) -> Artifact {
    match store.check_quick(enabled.sha256) {
        Ok(Condition::Ok) => {}
        Ok(Condition::Missing) => return Artifact::Missing,
        Ok(Condition::Modified) => return Artifact::Modified,
        Err(error) => return Artifact::Refused { code: error.code(), reason: error.to_string() },
    }
    let Some(installed) = installed else { return Artifact::Modified };
    match check_abi(&installed.manifest) {
        Ok(()) => Artifact::Ready(Arc::new(installed.manifest.clone())),
        Err(error) => Artifact::Refused { code: codes::ABI_VERSION.code, reason: error.message().to_owned() },
    }
}

/// A newer minor of the same major loads: it finds absent what this host does not have.
///
/// # Errors
/// ABI_VERSION for another major.
pub(crate) fn check_abi(manifest: &Manifest) -> Result<()> {
    let built = manifest.extension.api;
    if u32::from(built.major) == abi::MAJOR {
        return Ok(());
    }
    let error = kodiak_registry::Error::Abi {
        name: manifest.name().to_owned(),
        version: manifest.version().clone(),
        api: built,
        major: u16::try_from(abi::MAJOR).unwrap_or(u16::MAX),
        minor_max: u16::try_from(abi::MINOR).unwrap_or(u16::MAX),
    };
    Err(from_registry(error))
}

/// That something is provided by an extension which is not installed.
pub(crate) fn not_installed(what: &str, extension: &str) -> Error {
    let text = format!("{what} is provided by the extension `{extension}`, which is not installed");
    Error::new(codes::NOT_INSTALLED, text).help(format!("kodiak ext install {extension}"))
}

/// Who, of all that the indexes know, would provide this. An index that cannot be read must not stand in the way of a
/// statement: then nobody would.
pub(crate) fn known_provider(indexes: &[Index], kind: ClaimKind, claim: &str) -> Option<String> {
    indexes.iter().find_map(|index| index.providers(kind, claim).ok()?.into_iter().next()).map(|entry| entry.name)
}

/// As [`known_provider`], for the leading keywords of a statement: the claim and who makes it.
pub(crate) fn known_statement(indexes: &[Index], words: &[String]) -> Option<(String, String)> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let found = indexes.iter().find_map(|index| index.statement_provider(&words).ok().flatten());
    found.map(|(entry, claim)| (claim, entry.name))
}
