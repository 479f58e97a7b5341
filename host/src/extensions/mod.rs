//! Extensions: which are enabled, whether each may be used, loading on first use, and calls that cannot hurt the host.
//!
//! `gate` decides from manifests alone; `load` and `instance` run plugins; `services` is what plugins may ask for, and
//! reaches the house above only through the traits in `session`.

mod accounting;
mod calls;
mod data;
mod gate;
mod home;
mod instance;
mod load;
pub mod manage;
mod scalar;
mod services;
pub mod session;

pub use accounting::{Totals, totals};
pub use gate::{Grant, View};
pub use home::Home;
pub use instance::{
    Caller, CommandOutcome, Instance, RoutineAnswer, RoutineRequest, Scalar, ScalarDeclaration, StatementOutcome,
    StatementToken, Table, TableFilter,
};
pub use scalar::Argument;

use crate::error::{Error, Result, codes};
use kodiak_plugin_api::Error as PluginError;
use kodiak_registry::lock::EnabledSet;
use kodiak_registry::{ClaimKind, Digest, Index, Manifest};
use session::TransactionStep;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::SystemTime;

/// The extensions of one database: which may be used, and the instances of those in use.
pub struct Extensions {
    home: Home,
    indexes: OnceLock<Vec<Index>>,
    sensitive: OnceLock<Vec<String>>,
    view: Mutex<Option<Cached>>,
    instances: Mutex<BTreeMap<Digest, Arc<Instance>>>,
}

struct Cached {
    /// The database's own set as stored, or when the user's default set was written.
    key: (Option<Vec<u8>>, Option<SystemTime>),
    view: Arc<View>,
}

impl Extensions {
    /// None is in use yet.
    pub fn new(home: Home) -> Self {
        Self {
            home,
            indexes: OnceLock::new(),
            sensitive: OnceLock::new(),
            view: Mutex::default(),
            instances: Mutex::default(),
        }
    }

    /// The user's home.
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// What is enabled: the database's own set, given as it is stored, or else the user's default set.
    ///
    /// # Errors
    /// When a set cannot be read.
    pub fn view(&self, own: Option<&[u8]>) -> Result<Arc<View>> {
        let file = self.home.default_set();
        let written = match own {
            Some(_) => None,
            None => std::fs::metadata(&file).and_then(|metadata| metadata.modified()).ok(),
        };
        let key = (own.map(<[u8]>::to_vec), written);
        let mut cached = locked(&self.view);
        if let Some(found) = cached.as_ref().filter(|cached| cached.key == key) {
            return Ok(found.view.clone());
        }
        let set = match own {
            Some(bytes) => parse_set(bytes)?,
            None => EnabledSet::read(&file).map_err(from_registry)?.unwrap_or_default(),
        };
        let view = Arc::new(View::new(set, &self.home)?);
        *cached = Some(Cached { key, view: view.clone() });
        Ok(view)
    }

    /// Forgets what was read, so that files are judged again.
    pub fn refresh(&self) {
        *locked(&self.view) = None;
    }

    /// Indexes for suggestions; one that cannot be read gives none.
    fn known(&self) -> &[Index] {
        self.indexes.get_or_init(|| self.home.indexes().unwrap_or_default())
    }

    /// Claims on statements that may hold what must not be seen, of extensions that an index knows.
    pub fn known_sensitive(&self) -> impl Iterator<Item = &str> {
        let read = || {
            let entries = self.known().iter().flat_map(|index| index.all().unwrap_or_default());
            entries.flat_map(|entry| entry.contributes.sensitive).collect()
        };
        self.sensitive.get_or_init(read).iter().map(String::as_str)
    }

    /// The extension behind `kodiak NAME`.
    ///
    /// # Errors
    /// Why it cannot be used; NOT_INSTALLED when an index knows it, UNKNOWN_COMMAND when nobody does.
    pub fn command(&self, view: &View, name: &str) -> Result<Grant> {
        if view.contains(name) {
            let grant = view.grant(name)?;
            if grant.manifest.contributes.command.is_some() {
                return Ok(grant);
            }
            return Err(Error::new(codes::UNKNOWN_COMMAND, format!("the extension `{name}` has no command"))
                .help(format!("kodiak ext info {name}")));
        }
        match gate::known_provider(self.known(), ClaimKind::Command, name) {
            Some(extension) => Err(gate::not_installed(&format!("`kodiak {name}`"), &extension)),
            None => Err(Error::new(codes::UNKNOWN_COMMAND, format!("there is no command `{name}`"))),
        }
    }

    /// Names of commands that extensions have or would have, with what they are for, for help and suggestions.
    pub fn commands(&self, view: &View) -> Vec<(String, String)> {
        let mut all = BTreeMap::new();
        for entry in self.known().iter().flat_map(|index| index.all().unwrap_or_default()) {
            if let Some(about) = entry.contributes.command {
                all.insert(entry.name, format!("{about} (not installed)"));
            }
        }
        for enabled in view.set() {
            all.remove(&enabled.name);
            if let Some(about) = view.artifact(&enabled.name).and_then(|a| a.manifest.contributes.command.clone()) {
                all.insert(enabled.name.clone(), about);
            }
        }
        all.into_iter().collect()
    }

    /// The extension that claims a statement by its leading keywords (upper case), and the claim; none when nobody does.
    ///
    /// # Errors
    /// Why the extension that claims it cannot be used.
    pub fn statement(&self, view: &View, words: &[String]) -> Result<Option<(Grant, String)>> {
        if let Some((claim, owner)) = view.statement_owner(words) {
            return Ok(Some((view.grant(owner)?, claim.to_owned())));
        }
        Ok(None)
    }

    /// Who would claim a statement that nobody understood; for the message only.
    pub fn missing_statement(&self, view: &View, words: &[String]) -> Option<Error> {
        let (claim, extension) = gate::known_statement(self.known(), words)?;
        let absent = !view.contains(&extension);
        absent.then(|| gate::not_installed(&format!("`{claim}`"), &extension))
    }

    /// The extension that provides a function; none when nobody does.
    ///
    /// # Errors
    /// Why the extension that provides it cannot be used; NOT_INSTALLED when only an index knows it.
    pub fn function(&self, view: &View, name: &str) -> Result<Option<Grant>> {
        if let Some(owner) = view.function_owner(name) {
            return view.grant(owner).map(Some);
        }
        match gate::known_provider(self.known(), ClaimKind::Function, name) {
            Some(extension) if !view.contains(&extension) => {
                Err(gate::not_installed(&format!("the function `{name}`"), &extension))
            }
            _ => Ok(None),
        }
    }

    /// The extension that brings a language; none when nobody does.
    ///
    /// # Errors
    /// Why the extension that brings it cannot be used; NOT_INSTALLED when only an index knows it.
    pub fn language(&self, view: &View, name: &str) -> Result<Option<Grant>> {
        if let Some(owner) = view.language_owner(name) {
            return view.grant(owner).map(Some);
        }
        match gate::known_provider(self.known(), ClaimKind::Language, name) {
            Some(extension) if !view.contains(&extension) => {
                Err(gate::not_installed(&format!("the language `{name}`"), &extension))
            }
            _ => Ok(None),
        }
    }

    /// The instance of an extension for this database: loaded and activated on first use, its data brought to its
    /// version in the caller's transaction.
    ///
    /// # Errors
    /// MODIFIED, LOAD_FAILED, LAYOUT, ACTIVATION, REGISTRATION, PANICKED and what its migration says.
    pub fn instance(&self, grant: &Grant, caller: &Caller) -> Result<Arc<Instance>> {
        let instance = self.activated(grant, caller)?;
        bring_up_to_date(&instance, caller)?;
        Ok(instance)
    }

    fn activated(&self, grant: &Grant, caller: &Caller) -> Result<Arc<Instance>> {
        let sha256 = grant.installed.sha256;
        if let Some(found) = locked(&self.instances).get(&sha256) {
            return Ok(found.clone());
        }
        // Not under the lock: activation may run SQL, which may need another extension.
        let loaded = load::load(grant.name(), &grant.installed.plugin)?;
        let made = Instance::activate(grant.manifest.clone(), &loaded, caller)?;
        Ok(locked(&self.instances).entry(sha256).or_insert(made).clone())
    }

    /// Loads a plugin file that is in no set, for this process only.
    ///
    /// # Errors
    /// As [`Extensions::instance`], and NOT_A_PLUGIN.
    pub fn open_file(&self, path: &Path, caller: &Caller) -> Result<Arc<Instance>> {
        let inspected = kodiak_registry::verify::inspect(path).map_err(from_registry)?;
        gate::check_abi(&inspected.manifest)?;
        let loaded = load::load(inspected.manifest.name(), path)?;
        Instance::activate(Arc::new(inspected.manifest), &loaded, caller)
    }

    /// Whether an extension is in use here.
    pub fn is_loaded(&self, name: &str) -> bool {
        locked(&self.instances).values().any(|instance| instance.manifest().name() == name)
    }

    /// Tells every instance to join its threads.
    pub fn shutdown(&self, deadline: std::time::Duration) -> Vec<Error> {
        let instances = std::mem::take(&mut *locked(&self.instances));
        instances.into_values().filter_map(|instance| instance.shutdown(deadline).err()).collect()
    }
}

/// Stands before the version of data whose extension was uninstalled and whose tables were kept.
pub(crate) const KEPT: &[u8] = b"kept:";
/// The host's own small state about extensions: no extension can have this name.
pub(crate) const DATA_VERSIONS: &str = "kodiak:data-versions";

fn bring_up_to_date(instance: &Instance, caller: &Caller) -> Result<()> {
    let (name, version) = (instance.manifest().name(), instance.manifest().version().to_string());
    let found = caller.session.kv_get(DATA_VERSIONS, name.as_bytes())?;
    if found.as_deref() == Some(version.as_bytes()) {
        return Ok(());
    }
    // A mark in front says that the extension was uninstalled and its tables kept.
    let kept = found.as_ref().is_some_and(|bytes| bytes.starts_with(KEPT));
    let from = found.as_ref().map(|bytes| bytes.strip_prefix(KEPT).unwrap_or(bytes));
    let from = from.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let session = &caller.session;
    // All of a migration stays or none: a session without a transaction gets one.
    session.transaction(TransactionStep::Savepoint, DATA_VERSIONS)?;
    let adopted = if kept { session.adopt(name) } else { Ok(()) };
    let current = from.as_deref() == Some(version.as_str());
    // The version is there first: what a migration makes may use the extension, such as a view over its function, and
    // that must not begin another migration. A failure takes both back.
    let migrated = adopted
        .and_then(|()| session.kv_set(DATA_VERSIONS, name.as_bytes(), Some(version.as_bytes())))
        .and_then(|()| if current { Ok(()) } else { instance.migrate(caller, from.as_deref()) });
    match migrated.and_then(|()| session.transaction(TransactionStep::Release, DATA_VERSIONS)) {
        Ok(()) => Ok(()),
        Err(error) => {
            // What failed is the error to report; a session that cannot even go back is given up with its transaction.
            let _ = session.transaction(TransactionStep::RollbackTo, DATA_VERSIONS);
            Err(error)
        }
    }
}

/// A set as a database keeps it.
///
/// # Errors
/// When it cannot be understood.
pub fn parse_set(bytes: &[u8]) -> Result<EnabledSet> {
    let text = String::from_utf8_lossy(bytes);
    EnabledSet::parse(&text).map_err(from_registry)
}

/// No invariant spans a panic in these maps.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A failure of the registry as the user gets it.
pub(crate) fn from_registry(error: kodiak_registry::Error) -> Error {
    let mut out = Error::foreign(error.code(), error.to_string());
    for line in error.details() {
        out = out.detail(line.clone());
    }
    match error.help() {
        Some(help) => out.help(help),
        None => out,
    }
}

/// Features of this host that plugins may ask for by name.
pub(crate) const FEATURES: &[&str] = &["own_object", "session", "text_view"];

/// A host's error as a plugin gets it.
pub(crate) fn outward(error: Error) -> PluginError {
    let mut out = PluginError::new(error.code(), error.message()).sqlstate(error.sqlstate().unwrap_or_default());
    for line in error.details() {
        out = out.detail(line);
    }
    match error.help_text() {
        Some(help) => out.help(help),
        None => out,
    }
}

/// What every complaint of `data` begins with.
const MALFORMED: &str = "malformed data: ";

/// A plugin's error as the user gets it; one without a code of its own is named by its extension.
pub(crate) fn inward(manifest: &Manifest, error: PluginError) -> Error {
    let mut inner = if error.code().is_empty() {
        Error::new(codes::EXTENSION_ERROR, format!("`{}`: {}", manifest.name(), error.text()))
    } else if error.code() == codes::BAD_DATA.code {
        let (name, version) = (manifest.name(), manifest.version());
        // The plugin's own side of the boundary checks what its author returns, and says only what is wrong with it.
        let problem = error.text().strip_prefix(MALFORMED).unwrap_or(error.text());
        Error::new(codes::BAD_DATA, format!("`{name}` {version} returned {MALFORMED}{problem}"))
    } else {
        Error::foreign(error.code(), error.text())
    };
    if !error.state().is_empty() {
        inner = inner.with_sqlstate(error.state());
    }
    for line in error.details() {
        inner = inner.detail(line);
    }
    if error.help_text().is_empty() { inner } else { inner.help(error.help_text()) }
}
