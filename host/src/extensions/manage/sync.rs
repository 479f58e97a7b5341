//! Making reality equal to a lock file, and looking for what is wrong.

use super::{Manager, Progress, build};
use crate::error::{Error, Result, codes};
use crate::extensions::{View, from_registry};
use kodiak_registry::lock::{Enabled, EnabledSet};
use kodiak_registry::store::{Condition, Origin};
use kodiak_registry::verify;
use std::path::Path;

/// What a sync did.
#[derive(Debug, Default)]
pub struct Synced {
    /// Brought into the store.
    pub fetched: Vec<String>,
    /// Now in the set, in the lock's version.
    pub enabled: Vec<String>,
    /// No longer in the set.
    pub removed: Vec<String>,
}

/// How an installed artifact differs from what was installed.
#[derive(Debug)]
pub struct Difference {
    /// The extension.
    pub name: String,
    /// `ok`, `missing` or `modified`.
    pub state: &'static str,
    /// The hash that it should have.
    pub sha256: String,
}

/// One finding of the doctor.
#[derive(Debug)]
pub struct Health {
    /// What was looked at.
    pub subject: String,
    /// Whether it is well.
    pub ok: bool,
    /// What was found.
    pub finding: String,
    /// What to do.
    pub help: String,
}

impl Manager<'_> {
    /// Makes store and set equal to a lock file.
    ///
    /// # Errors
    /// LOCK_MISMATCH when what can be had has another hash; what building and the store say. The set is as it was then.
    pub fn sync(&self, lock: &Path, dry_run: bool, progress: &dyn Progress) -> Result<Synced> {
        let wanted = EnabledSet::read(lock).map_err(from_registry)?.ok_or_else(|| {
            Error::new(codes::LOCK_MISMATCH, format!("there is no `{}`", lock.display()))
                .help("kodiak ext install NAME")
        })?;
        let mut synced = Synced::default();
        let store = self.home.store()?;
        for enabled in &wanted {
            if store.check_quick(enabled.sha256).map_err(from_registry)? != Condition::Ok {
                if !dry_run {
                    self.fetch(enabled, progress)?;
                }
                synced.fetched.push(enabled.name.clone());
            }
        }
        let current = self.set()?;
        synced.enabled = wanted.iter().filter(|e| current.get(&e.name) != Some(e)).map(|e| e.name.clone()).collect();
        synced.removed = current.iter().filter(|e| wanted.get(&e.name).is_none()).map(|e| e.name.clone()).collect();
        let changed = !synced.enabled.is_empty() || !synced.removed.is_empty();
        if changed && !dry_run {
            self.update(|set| {
                *set = wanted.clone();
                Ok(())
            })?;
        }
        Ok(synced)
    }

    /// Brings back exactly the artifact that was locked, from where it came from.
    fn fetch(&self, enabled: &Enabled, progress: &dyn Progress) -> Result<()> {
        let library = match &enabled.source {
            Origin::Library(file) => file.clone(),
            Origin::Crate(folder) => {
                progress.step(&format!("building {} {}", enabled.name, enabled.version));
                build::build(&enabled.name, folder)?
            }
            other => {
                let text = format!("`{}` came from {other}, from which this version cannot fetch", enabled.name);
                return Err(Error::new(codes::UNSUPPORTED, text));
            }
        };
        let found = verify::sha256(&library).map_err(from_registry)?;
        if found != enabled.sha256 {
            let text = format!("`{}` from {} is not what was locked", enabled.name, enabled.source);
            return Err(Error::new(codes::LOCK_MISMATCH, text)
                .detail(format!("locked: {}", enabled.sha256))
                .detail(format!("found:  {found}"))
                .help(format!("kodiak ext install {}", library.display())));
        }
        let manifest = verify::inspect(&library).map_err(from_registry)?.manifest;
        self.home.store()?.put(&library, &manifest, &enabled.source).map_err(from_registry)?;
        Ok(())
    }

    /// Hashes every artifact of the set again.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn verify(&self) -> Result<Vec<Difference>> {
        let store = self.home.store()?;
        let judge = |enabled: &Enabled| {
            let state = match store.verify(enabled.sha256).map_err(from_registry)? {
                Condition::Ok => "ok",
                Condition::Missing => "missing",
                Condition::Modified => "modified",
            };
            Ok(Difference { name: enabled.name.clone(), state, sha256: enabled.sha256.to_string() })
        };
        self.set()?.iter().map(judge).collect()
    }

    /// Looks at everything that extensions need to work.
    pub fn doctor(&self) -> Vec<Health> {
        let mut all = Vec::new();
        let mut report = |subject: &str, result: Result<String>| {
            let (ok, finding, help) = match result {
                Ok(finding) => (true, finding, String::new()),
                Err(error) => {
                    let help = error.help_text().unwrap_or_default().to_owned();
                    (false, format!("{} ({})", error.message(), error.code()), help)
                }
            };
            all.push(Health { subject: subject.to_owned(), ok, finding, help });
        };
        report("home", Ok(self.home.path().display().to_string()));
        let writable = std::fs::create_dir_all(self.home.path()).and_then(|()| tempfile::tempfile_in(self.home.path()));
        let writable = writable.map(|_| "it can be written".to_owned());
        report("store", writable.map_err(|error| Error::io("write in", self.home.path(), &error)));
        report(
            "indexes",
            self.home.indexes().map(|indexes| {
                let places: Vec<String> = indexes.iter().map(|index| index.directory().display().to_string()).collect();
                if places.is_empty() { "there is none; install by path".to_owned() } else { places.join(", ") }
            }),
        );
        let cargo = std::process::Command::new("cargo").arg("--version").output();
        let cargo = match cargo {
            Ok(output) if output.status.success() => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
            // A toolchain manager without a toolchain starts, and says why it cannot go on.
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or("it fails").to_owned()),
            Err(error) => Err(error.to_string()),
        };
        report(
            "cargo",
            cargo.map_err(|problem| {
                Error::new(codes::BUILD_FAILED, format!("cargo cannot be run: {problem}"))
                    .help("only needed to install from source: https://rustup.rs")
            }),
        );
        let ours = format!("{}.{}", kodiak_plugin_api::abi::MAJOR, kodiak_plugin_api::abi::MINOR);
        report("plugin ABI", Ok(ours));
        match self.set().and_then(|set| View::new(set, self.home)) {
            Err(error) => report("enabled set", Err(error)),
            Ok(view) => {
                for enabled in view.set() {
                    let subject = format!("{} {}", enabled.name, enabled.version);
                    let judged = view.grant(&enabled.name).map(|grant| {
                        format!("{}, built for plugin ABI {}", view.state(&enabled.name), grant.manifest.extension.api)
                    });
                    report(&subject, judged);
                }
            }
        }
        all
    }

    /// Writes the set beside the project file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_lock(&self, lock: &Path) -> Result<()> {
        self.set()?.write(lock).map_err(from_registry)
    }
}
