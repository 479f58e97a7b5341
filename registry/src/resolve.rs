//! Which versions fit together, in which order they load, and why; or why none do, and what would. It refuses to read
//! files: what exists comes through [`Source`], so the same question always has the same answer.
//!
//! Requirements are semver's, and so are the rules for pre-releases. What was asked for gets the highest version that
//! has a solution, in the order of asking; then what is installed stays as it is where it can; then everything else
//! gets the highest version.

mod explain;
mod solve;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use semver::{Version, VersionReq};

use crate::error::{Error, Result};
use crate::manifest::Requirements;

/// What could be chosen.
pub trait Source {
    /// Every version of an extension that could be installed or is installed, in any order; none if it is unknown.
    ///
    /// # Errors
    /// When the source cannot be read.
    fn versions(&self, name: &str) -> Result<Vec<Version>>;

    /// What one of these versions needs.
    ///
    /// # Errors
    /// When the source cannot be read.
    fn requirements(&self, name: &str, version: &Version) -> Result<Requirements>;
}

/// Something that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The extension.
    pub name: String,
    /// The versions that will do.
    pub requirement: VersionReq,
    /// Which of them is best.
    pub preference: Preference,
}

/// Which version is best for a request, if it is installed already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preference {
    /// The installed one.
    Installed,
    /// The highest one: an update.
    Newest,
}

/// What to do, dependencies before what needs them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Plan {
    /// One for each extension that will be there, unchanged ones included.
    pub steps: Vec<Step>,
}

/// One extension of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Step {
    /// The extension.
    pub name: String,
    /// Its version after the plan.
    pub version: Version,
    /// What has to be done for that.
    pub change: Change,
    /// Why it is there; never empty.
    pub reasons: Vec<Reason>,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is not there yet.
    Install,
    /// It is there in this version.
    Keep,
    /// It is there in another version.
    Replace {
        /// That version.
        from: Version,
    },
}

/// Why an extension is part of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It was asked for.
    Asked,
    /// It was there before.
    Installed,
    /// Another one needs it.
    Needed {
        /// Which one.
        by: String,
        /// In which version.
        version: Version,
        /// What that one says.
        requirement: VersionReq,
    },
}

impl Request {
    /// Any version, the installed one if there is one.
    pub fn any(name: impl Into<String>) -> Self {
        Self::of(name, VersionReq::STAR)
    }

    /// A version that satisfies the requirement, the installed one if it does.
    pub fn of(name: impl Into<String>, requirement: VersionReq) -> Self {
        Self { name: name.into(), requirement, preference: Preference::Installed }
    }

    /// The highest version that satisfies the requirement, whatever is installed.
    pub fn newest(name: impl Into<String>, requirement: VersionReq) -> Self {
        Self { name: name.into(), requirement, preference: Preference::Newest }
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.requirement == VersionReq::STAR {
            f.write_str(&self.name)
        } else {
            write!(f, "{}@{}", self.name, self.requirement.to_string().replace(' ', ""))
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked => f.write_str("asked for"),
            Self::Installed => f.write_str("installed"),
            Self::Needed { by, version, .. } => write!(f, "needed by {by} {version}"),
        }
    }
}

/// Finds versions for everything that is asked for and everything that is installed, together.
///
/// `installed` must be offered by `source` too, or it counts as unknown.
///
/// # Errors
/// [`Error::NotInIndex`] for an unknown request, [`Error::NoSolution`] with the reasons, [`Error::Cycle`] when the
/// versions that fit cannot be loaded in any order, and whatever `source` reports.
pub fn resolve(source: &dyn Source, requests: &[Request], installed: &BTreeMap<String, Version>) -> Result<Plan> {
    for request in requests {
        if source.versions(&request.name)?.is_empty() {
            return Err(Error::NotInIndex { name: request.name.clone() });
        }
    }
    let memo = solve::Memo::new(source);
    let goals = solve::Goals { requests, installed };
    let chosen = match solve::solve(&memo, &goals)? {
        Ok(chosen) => chosen,
        Err(conflict) => return Err(explain::explain(&memo, &goals, &conflict)?),
    };
    let mut selected = BTreeMap::new();
    for (name, version) in chosen {
        let requirements = memo.requirements(&name, &version)?;
        selected.insert(name, (version, requirements));
    }
    let order = loading_order(selected.iter().map(|(name, (_, requirements))| (name.as_str(), &**requirements)))?;
    let steps = order
        .into_iter()
        .map(|name| {
            let (version, _) = &selected[&name];
            let change = match installed.get(&name) {
                None => Change::Install,
                Some(from) if from == version => Change::Keep,
                Some(from) => Change::Replace { from: from.clone() },
            };
            let mut reasons = Vec::new();
            if requests.iter().any(|request| request.name == name) {
                reasons.push(Reason::Asked);
            }
            if installed.contains_key(&name) {
                reasons.push(Reason::Installed);
            }
            for (by, (version, requirements)) in &selected {
                if let Some(requirement) = requirements.needed.get(&name) {
                    let (by, version, requirement) = (by.clone(), version.clone(), requirement.clone());
                    reasons.push(Reason::Needed { by, version, requirement });
                }
            }
            Step { version: version.clone(), change, reasons, name }
        })
        .collect();
    Ok(Plan { steps })
}

/// The order in which extensions load: what is needed first, then by name. Optional requirements are followed where
/// they can be, and given up where they would close a circle. Requirements on extensions that are not given are
/// passed over.
///
/// # Errors
/// [`Error::Cycle`] when extensions need each other in a circle.
pub fn loading_order<'a>(extensions: impl IntoIterator<Item = (&'a str, &'a Requirements)>) -> Result<Vec<String>> {
    let mut waiting: BTreeMap<&str, &Requirements> = extensions.into_iter().collect();
    let mut order = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        let is_free =
            |list: &BTreeMap<String, VersionReq>| !list.keys().any(|name| waiting.contains_key(name.as_str()));
        let needs_nothing = |requirements: &Requirements| is_free(&requirements.needed);
        let next = waiting
            .iter()
            .find(|(_, requirements)| needs_nothing(requirements) && is_free(&requirements.optional))
            .or_else(|| waiting.iter().find(|(_, requirements)| needs_nothing(requirements)))
            .map(|(name, _)| *name);
        let Some(next) = next else {
            return Err(Error::Cycle { names: circle(&waiting) });
        };
        waiting.remove(next);
        order.push(next.to_owned());
    }
    Ok(order)
}

/// A circle among extensions of which each needs another one of them, beginning with the first name.
fn circle(waiting: &BTreeMap<&str, &Requirements>) -> Vec<String> {
    let mut path: Vec<&str> = Vec::new();
    let mut seen = BTreeSet::new();
    let mut at = waiting.keys().next().copied();
    while let Some(name) = at {
        if !seen.insert(name) {
            let start = path.iter().position(|earlier| *earlier == name).unwrap_or(0);
            let mut names: Vec<String> = path[start..].iter().map(|name| (*name).to_owned()).collect();
            let first = names.iter().enumerate().min_by_key(|(_, name)| name.as_str()).map_or(0, |(index, _)| index);
            names.rotate_left(first);
            return names;
        }
        path.push(name);
        let next = waiting[name].needed.keys().find_map(|needed| waiting.get_key_value(needed.as_str()));
        at = next.map(|(name, _)| *name);
    }
    // Whoever calls this has checked that everybody waits for somebody.
    path.into_iter().map(str::to_owned).collect()
}
