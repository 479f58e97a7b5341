//! Installing, removing and keeping extensions: what `kodiak ext`, `INSTALL` and `UNINSTALL` do. It refuses to ask or
//! to print: a plan comes out before anything happens, and a report after it.

mod build;
mod install;
mod list;
mod source;
mod sync;
mod uninstall;

pub use install::{InstallPlan, PlannedStep};
pub use list::{Details, Listed};
pub use sync::{Difference, Health, Synced};
pub use uninstall::{Fate, UninstallPlan};

use super::{Home, from_registry};
use crate::error::Result;
use kodiak_registry::lock::EnabledSet;
use std::path::{Path, PathBuf};

/// Where a set of enabled extensions is kept, and what a database holds of an extension's.
pub trait Keeper {
    /// The set; none when a database uses the user's default set.
    ///
    /// # Errors
    /// When it cannot be read.
    fn read(&self) -> Result<Option<EnabledSet>>;

    /// Changes the set in one transaction; `initial` is where a database without a set of its own begins.
    ///
    /// # Errors
    /// What `change` says, or when it cannot be written; then nothing is changed.
    fn update(&self, initial: &EnabledSet, change: &mut dyn FnMut(&mut EnabledSet) -> Result<()>) -> Result<()>;

    /// The objects that an extension owns, as `(kind, name)`.
    ///
    /// # Errors
    /// When they cannot be read.
    fn objects(&self, extension: &str) -> Result<Vec<(String, String)>>;

    /// Drops or gives up what an extension owns, and forgets its small state when dropped.
    ///
    /// # Errors
    /// When it cannot be done; then nothing is changed.
    fn release(&self, extension: &str, fate: Fate) -> Result<()>;

    /// The folder of the database, when there is one.
    fn directory(&self) -> Option<PathBuf>;
}

/// Receives what happens during long work.
pub trait Progress {
    /// Something begins.
    fn step(&self, text: &str);
}

/// Manages the extensions that a keeper keeps.
pub struct Manager<'a> {
    pub(super) home: &'a Home,
    pub(super) keeper: &'a dyn Keeper,
}

impl<'a> Manager<'a> {
    /// For this home and this keeper.
    pub fn new(home: &'a Home, keeper: &'a dyn Keeper) -> Self {
        Self { home, keeper }
    }

    /// The effective set: the keeper's, or the user's default one.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn set(&self) -> Result<EnabledSet> {
        match self.keeper.read()? {
            Some(set) => Ok(set),
            None => self.default_set(),
        }
    }

    pub(super) fn default_set(&self) -> Result<EnabledSet> {
        Ok(EnabledSet::read(&self.home.default_set()).map_err(from_registry)?.unwrap_or_default())
    }

    pub(super) fn update(&self, mut change: impl FnMut(&mut EnabledSet) -> Result<()>) -> Result<()> {
        let initial = self.default_set()?;
        self.keeper.update(&initial, &mut change)
    }

    /// Enables an extension; whether it was disabled.
    ///
    /// # Errors
    /// NOT_INSTALLED.
    pub fn enable(&self, name: &str) -> Result<bool> {
        let mut changed = false;
        self.update(|set| {
            changed = set.enable(name).map_err(from_registry)?;
            Ok(())
        })?;
        Ok(changed)
    }

    /// Disables an extension; whether it was enabled. Its objects become dormant.
    ///
    /// # Errors
    /// NOT_INSTALLED.
    pub fn disable(&self, name: &str) -> Result<bool> {
        let mut changed = false;
        self.update(|set| {
            changed = set.disable(name).map_err(from_registry)?;
            Ok(())
        })?;
        Ok(changed)
    }
}

/// The user's default set, which belongs to no database.
pub struct DefaultKeeper {
    file: PathBuf,
}

impl DefaultKeeper {
    /// The set of this home.
    pub fn new(home: &Home) -> Self {
        Self { file: home.default_set() }
    }
}

impl Keeper for DefaultKeeper {
    fn read(&self) -> Result<Option<EnabledSet>> {
        EnabledSet::read(&self.file).map_err(from_registry)
    }

    fn update(&self, _: &EnabledSet, change: &mut dyn FnMut(&mut EnabledSet) -> Result<()>) -> Result<()> {
        update_file(&self.file, change)
    }

    fn objects(&self, _: &str) -> Result<Vec<(String, String)>> {
        Ok(Vec::new())
    }

    fn release(&self, _: &str, _: Fate) -> Result<()> {
        Ok(())
    }

    fn directory(&self) -> Option<PathBuf> {
        None
    }
}

/// The registry's update wants an error of one type: ours comes through it in a wrapper.
fn update_file(file: &Path, change: &mut dyn FnMut(&mut EnabledSet) -> Result<()>) -> Result<()> {
    struct Wrapped(crate::Error);
    impl From<kodiak_registry::Error> for Wrapped {
        fn from(error: kodiak_registry::Error) -> Self {
            Self(from_registry(error))
        }
    }
    EnabledSet::update(file, |set| change(set).map_err(Wrapped)).map_err(|Wrapped(error)| error)
}
