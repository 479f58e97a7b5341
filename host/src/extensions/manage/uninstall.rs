//! Uninstalling: who still needs it and what it owns comes out as a plan; nothing goes that the user did not see.

use super::Manager;
use crate::error::{Error, Result, codes};
use crate::extensions::from_registry;
use kodiak_registry::lock::Enabled;

/// What happens to what an extension owns in a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is dropped.
    Dropped,
    /// Its tables stay as plain tables that belong to nobody.
    Kept,
}

/// What an uninstall would do.
#[derive(Debug)]
pub struct UninstallPlan {
    /// Extensions that go, those that need others first.
    pub extensions: Vec<Enabled>,
    /// Their objects in the database: extension, kind, name.
    pub objects: Vec<(String, String, String)>,
}

impl Manager<'_> {
    /// Says what uninstalling these would do. `cascade`: with everything that needs them.
    ///
    /// # Errors
    /// NOT_INSTALLED; STILL_NEEDED without `cascade` or a fate for the objects.
    pub fn plan_uninstall(&self, names: &[String], cascade: bool, fate: Option<Fate>) -> Result<UninstallPlan> {
        let set = self.set()?;
        let mut going: Vec<Enabled> = Vec::new();
        for name in names {
            let enabled = set.get(name).ok_or_else(|| {
                from_registry(kodiak_registry::Error::NotInstalled { name: name.clone() }).help("kodiak ext list")
            })?;
            let dependents = set.dependents_of(name);
            let unexpected: Vec<&Enabled> =
                dependents.iter().copied().filter(|other| !names.contains(&other.name)).collect();
            let objects = self.keeper.objects(name)?;
            if !cascade && (!unexpected.is_empty() || (fate.is_none() && !objects.is_empty())) {
                return Err(still_needed(name, &unexpected, &objects));
            }
            for one in dependents.into_iter().chain([enabled]) {
                if !going.iter().any(|other| other.name == one.name) {
                    going.push(one.clone());
                }
            }
        }
        let mut objects = Vec::new();
        for enabled in &going {
            let owned = self.keeper.objects(&enabled.name)?;
            objects.extend(owned.into_iter().map(|(kind, object)| (enabled.name.clone(), kind, object)));
        }
        Ok(UninstallPlan { extensions: going, objects })
    }

    /// Carries a plan out: objects first, then the set. Artifacts stay in the store for other databases.
    ///
    /// # Errors
    /// When objects cannot be dropped or the set cannot be written.
    pub fn uninstall(&self, plan: &UninstallPlan, fate: Option<Fate>) -> Result<()> {
        for enabled in &plan.extensions {
            // Without a fate there are no objects to decide about, and files are only removed when that was asked for.
            self.keeper.release(&enabled.name, fate.unwrap_or(Fate::Kept))?;
            if fate == Some(Fate::Dropped) {
                self.remove_files(enabled)?;
            }
        }
        self.update(|set| {
            for enabled in &plan.extensions {
                set.remove(&enabled.name);
            }
            Ok(())
        })
    }
}

impl Manager<'_> {
    /// Files go after the rows that name them; until then a failure leaves both.
    fn remove_files(&self, enabled: &Enabled) -> Result<()> {
        let Some(database) = self.keeper.directory() else { return Ok(()) };
        let folder = database.join(enabled.data_directory());
        match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", &folder, &error)),
            _ => Ok(()),
        }
    }
}

fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

fn still_needed(name: &str, dependents: &[&Enabled], objects: &[(String, String)]) -> Error {
    let counts: Vec<String> = [(dependents.len(), "extension"), (objects.len(), "object")]
        .into_iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, noun)| count(number, noun))
        .collect();
    let verb = if dependents.len() + objects.len() == 1 { "depends" } else { "depend" };
    let text = format!("cannot uninstall `{name}`: {} {verb} on it", counts.join(" and "));
    let mut error = Error::new(codes::STILL_NEEDED, text);
    for enabled in dependents {
        error = error.detail(format!("extension: {} {}", enabled.name, enabled.version));
    }
    if !objects.is_empty() {
        let named: Vec<String> = objects.iter().map(|(kind, object)| format!("{kind} `{object}`")).collect();
        error = error.detail(format!("objects: {}", named.join(", ")));
    }
    let keep = if objects.is_empty() { "" } else { "    (or --keep-data to keep the tables as plain tables)" };
    error.help(format!("kodiak ext uninstall {name} --cascade{keep}"))
}
