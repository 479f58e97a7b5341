//! The search itself, by PubGrub. It refuses to explain and to order.
//!
//! PubGrub only knows "needs". "If it is there, it must be in this range" is written with a second package for every
//! extension, its presence, which has the extension's versions and one more: absent. An extension needs its own
//! presence in its own version; whoever has an optional requirement needs the presence to be in the range or absent.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::Bound;
use std::rc::Rc;

use pubgrub::{
    Dependencies, DependencyConstraints, DependencyProvider, DerivationTree, PackageResolutionStatistics, PubGrubError,
    Ranges,
};
use semver::{Version, VersionReq};

use super::{Preference, Request, Source};
use crate::error::{Error, Result};
use crate::manifest::Requirements;

/// What a solution must contain.
pub(super) struct Goals<'a> {
    pub(super) requests: &'a [Request],
    pub(super) installed: &'a BTreeMap<String, Version>,
}

pub(super) type Conflict = DerivationTree<Package, Ranges<Slot>, String>;

/// Finds versions, or the proof that there are none.
pub(super) fn solve(memo: &Memo<'_>, goals: &Goals<'_>) -> Result<Result<BTreeMap<String, Version>, Conflict>> {
    let root = Slot::At(Version::new(0, 0, 0));
    let error = match pubgrub::resolve(&Search { memo, goals }, Package::Root, root) {
        Ok(selected) => {
            let extensions = selected.into_iter().filter_map(|selected| match selected {
                (Package::Extension(name), Slot::At(version)) => Some((name, version)),
                _ => None,
            });
            return Ok(Ok(extensions.collect()));
        }
        Err(error) => error,
    };
    match error {
        PubGrubError::NoSolution(conflict) => Ok(Err(conflict)),
        PubGrubError::ErrorRetrievingDependencies { source, .. }
        | PubGrubError::ErrorChoosingVersion { source, .. }
        | PubGrubError::ErrorInShouldCancel(source) => Err(source),
    }
}

/// A package in PubGrub's sense.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Package {
    /// What is asked for.
    Root,
    /// An extension that must be there.
    Extension(String),
    /// Whether and in which version an extension is there.
    Presence(String),
}

/// A version in PubGrub's sense.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Slot {
    Absent,
    At(Version),
}

impl fmt::Display for Package {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str("what is asked for"),
            Self::Extension(name) => f.write_str(name),
            Self::Presence(name) => write!(f, "presence of {name}"),
        }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("absent"),
            Self::At(version) => version.fmt(f),
        }
    }
}

/// Everything that was read from the source, read once.
pub(super) struct Memo<'a> {
    source: &'a dyn Source,
    versions: RefCell<HashMap<String, Rc<[Version]>>>,
    requirements: RefCell<HashMap<(String, Version), Rc<Requirements>>>,
}

impl<'a> Memo<'a> {
    pub(super) fn new(source: &'a dyn Source) -> Self {
        Self { source, versions: RefCell::default(), requirements: RefCell::default() }
    }

    /// In ascending order.
    pub(super) fn versions(&self, name: &str) -> Result<Rc<[Version]>> {
        if let Some(known) = self.versions.borrow().get(name) {
            return Ok(Rc::clone(known));
        }
        let mut versions = self.source.versions(name)?;
        versions.sort_unstable();
        versions.dedup();
        let versions: Rc<[Version]> = versions.into();
        self.versions.borrow_mut().insert(name.to_owned(), Rc::clone(&versions));
        Ok(versions)
    }

    pub(super) fn requirements(&self, name: &str, version: &Version) -> Result<Rc<Requirements>> {
        let key = (name.to_owned(), version.clone());
        if let Some(known) = self.requirements.borrow().get(&key) {
            return Ok(Rc::clone(known));
        }
        let requirements = Rc::new(self.source.requirements(name, version)?);
        self.requirements.borrow_mut().insert(key, Rc::clone(&requirements));
        Ok(requirements)
    }

    /// The versions that exist and match, as few ranges. Semver's rules for pre-releases are not those of a range, so
    /// each version is asked about; between two versions that exist there is nothing that could be wrong.
    fn matching(&self, name: &str, matches: impl Fn(&Version) -> bool) -> Result<Ranges<Slot>> {
        let versions = self.versions(name)?;
        let runs = versions.chunk_by(|a, b| matches(a) == matches(b)).filter(|run| matches(&run[0]));
        Ok(runs
            .map(|run| {
                let end = |version: &Version| Bound::Included(Slot::At(version.clone()));
                (end(&run[0]), end(&run[run.len() - 1]))
            })
            .collect())
    }
}

struct Search<'a> {
    memo: &'a Memo<'a>,
    goals: &'a Goals<'a>,
}

impl Search<'_> {
    fn goals(&self) -> Result<BTreeMap<&str, Ranges<Slot>>> {
        let mut ranges: BTreeMap<&str, Ranges<Slot>> = BTreeMap::new();
        for Request { name, requirement, .. } in self.goals.requests {
            let range = self.memo.matching(name, |version| requirement.matches(version))?;
            let entry = ranges.entry(name).or_insert_with(Ranges::full);
            *entry = entry.intersection(&range);
        }
        for name in self.goals.installed.keys() {
            // What is installed must stay, in whatever version.
            if !ranges.contains_key(name.as_str()) {
                ranges.insert(name, self.memo.matching(name, |_| true)?);
            }
        }
        Ok(ranges)
    }

    fn preferred(&self, name: &str) -> Option<&Version> {
        let mut requests = self.goals.requests.iter().filter(|request| request.name == name);
        let update = requests.any(|request| request.preference == Preference::Newest);
        self.goals.installed.get(name).filter(|_| !update)
    }

    fn order(&self, name: &str) -> Option<usize> {
        let asked = self.goals.requests.iter().position(|request| request.name == name);
        let installed = || self.goals.installed.keys().position(|installed| installed == name);
        asked.or_else(|| installed().map(|position| self.goals.requests.len() + position))
    }
}

impl DependencyProvider for Search<'_> {
    type P = Package;
    type V = Slot;
    type VS = Ranges<Slot>;
    type Priority = (u8, Reverse<usize>, u32);
    type M = String;
    type Err = Error;

    /// What was asked for decides first. Presence is decided last, when everything that will be there is there:
    /// earlier, "absent" would decide against it.
    fn prioritize(
        &self,
        package: &Package,
        _: &Ranges<Slot>,
        statistics: &PackageResolutionStatistics,
    ) -> Self::Priority {
        match package {
            Package::Root => (3, Reverse(0), 0),
            Package::Extension(name) => match self.order(name) {
                Some(order) => (2, Reverse(order), 0),
                None => (1, Reverse(0), statistics.conflict_count()),
            },
            Package::Presence(_) => (0, Reverse(0), 0),
        }
    }

    fn choose_version(&self, package: &Package, range: &Ranges<Slot>) -> Result<Option<Slot>> {
        let name = match package {
            Package::Root => return Ok(Some(Slot::At(Version::new(0, 0, 0)))),
            Package::Presence(_) if range.contains(&Slot::Absent) => return Ok(Some(Slot::Absent)),
            Package::Presence(name) | Package::Extension(name) => name,
        };
        let versions = self.memo.versions(name)?;
        let preferred = self.preferred(name).filter(|preferred| versions.contains(preferred));
        let slots = preferred.into_iter().chain(versions.iter().rev()).map(|version| Slot::At(version.clone()));
        Ok(slots.into_iter().find(|slot| range.contains(slot)))
    }

    fn get_dependencies(&self, package: &Package, slot: &Slot) -> Result<Dependencies<Package, Ranges<Slot>, String>> {
        let mut needed: Vec<(Package, Ranges<Slot>)> = Vec::new();
        match (package, slot) {
            (Package::Root, _) => {
                let goals = self.goals()?.into_iter();
                needed.extend(goals.map(|(name, range)| (Package::Extension(name.to_owned()), range)));
            }
            (Package::Presence(_), _) | (Package::Extension(_), Slot::Absent) => {}
            (Package::Extension(name), Slot::At(version)) => {
                let requirements = self.memo.requirements(name, version)?;
                if requirements.needed.contains_key(name) || requirements.optional.contains_key(name) {
                    return Ok(Dependencies::Unavailable("needs itself".to_owned()));
                }
                needed.push((Package::Presence(name.clone()), Ranges::singleton(slot.clone())));
                let range = |name: &str, requirement: &VersionReq| {
                    self.memo.matching(name, |version| requirement.matches(version))
                };
                for (name, requirement) in &requirements.needed {
                    needed.push((Package::Extension(name.clone()), range(name, requirement)?));
                }
                for (name, requirement) in &requirements.optional {
                    let allowed = range(name, requirement)?.union(&Ranges::singleton(Slot::Absent));
                    needed.push((Package::Presence(name.clone()), allowed));
                }
            }
        }
        Ok(Dependencies::Available(DependencyConstraints::from_iter(needed)))
    }
}
