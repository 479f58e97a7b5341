//! Whether each extension of a set can be used, and if not, why: what it needs, and what that needs, must be there,
//! enabled, unchanged and in range, and no two may claim one name. It refuses to look at files; see [`Artifact`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use semver::{Version, VersionReq};

use super::{Enabled, EnabledSet};
use crate::claims::ClaimKind;
use crate::error::Error;
use crate::manifest::Manifest;
use crate::resolve::Request;
use crate::text::{and_list, shell_word};

/// What the store says about an extension's artifact.
#[derive(Clone, Debug)]
pub enum Artifact {
    /// It is there and unchanged.
    Ready(Arc<Manifest>),
    /// It is not there.
    Missing,
    /// A file of it was changed.
    Modified,
    /// It cannot be used for another reason, such as its ABI.
    Refused {
        /// The code of the reason.
        code: &'static str,
        /// The reason, as a phrase.
        reason: String,
    },
}

/// Whether an extension can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// It can.
    Available,
    /// Its user switched it off.
    Disabled,
    /// Its files are missing here.
    Dormant,
    /// Its files were changed.
    Modified,
    /// It cannot be used for another reason.
    Refused {
        /// The code of the reason.
        code: &'static str,
        /// The reason, as a phrase.
        reason: String,
    },
    /// Its artifact says something else than the set does.
    Mismatch {
        /// What differs.
        problem: String,
    },
    /// It claims a name that another one claims too.
    Taken(Conflict),
    /// It is part of a circle.
    Circle {
        /// The members.
        names: Vec<String>,
    },
    /// Something that it needs cannot be used.
    Unmet {
        /// From this extension to the last one that needs something, each with what it needs.
        chain: Vec<Need>,
        /// What is wrong with what the last one needs.
        lack: Lack,
    },
}

/// One extension's requirement on another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// Who needs.
    pub extension: String,
    /// In which version.
    pub version: Version,
    /// Whom.
    pub needs: String,
    /// In which versions.
    pub requirement: VersionReq,
    /// Whether it would do without.
    pub optional: bool,
}

/// What is wrong with something that is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lack {
    /// It is not in the set.
    NotInstalled,
    /// It is switched off.
    Disabled,
    /// It has this version, which is out of range.
    OutOfRange(Version),
    /// Its files are missing.
    Dormant,
    /// Its files were changed.
    Modified,
    /// It cannot be used for this reason.
    Unusable(String),
}

/// Two extensions with one claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The claim with its kind, such as "the function `st_area`".
    pub claim: String,
    /// The one whose name is first.
    pub first: String,
    /// The other one.
    pub second: String,
}

/// The state of every extension of a set, by name.
pub type States = BTreeMap<String, State>;

impl EnabledSet {
    /// The state of every extension; `artifact` is asked once about each enabled one.
    pub fn validate(&self, mut artifact: impl FnMut(&Enabled) -> Artifact) -> States {
        let mut states = States::new();
        let mut ready: BTreeMap<&str, Arc<Manifest>> = BTreeMap::new();
        for extension in self {
            let state = if extension.enabled {
                match artifact(extension) {
                    Artifact::Ready(manifest) => match mismatch(extension, &manifest) {
                        Some(problem) => State::Mismatch { problem },
                        None => {
                            ready.insert(&extension.name, manifest);
                            State::Available
                        }
                    },
                    Artifact::Missing => State::Dormant,
                    Artifact::Modified => State::Modified,
                    Artifact::Refused { code, reason } => State::Refused { code, reason },
                }
            } else {
                State::Disabled
            };
            states.insert(extension.name.clone(), state);
        }
        // Neither owner of a disputed name gets it: any rule of precedence could be abused.
        for conflict in conflicts(ready.values().map(|manifest| &**manifest)) {
            for name in [&conflict.first, &conflict.second] {
                ready.remove(name.as_str());
                states.insert(name.clone(), State::Taken(conflict.clone()));
            }
        }
        for names in circles(&ready) {
            for name in &names {
                ready.remove(name.as_str());
                states.insert(name.clone(), State::Circle { names: names.clone() });
            }
        }
        self.follow_needs(&ready, &mut states);
        states
    }

    /// What is left has no circles, so everything that an extension needs is judged before it.
    fn follow_needs(&self, ready: &BTreeMap<&str, Arc<Manifest>>, states: &mut States) {
        for name in peel(&needs_of(ready)).0 {
            if let Some((chain, lack)) = self.unmet(&ready[name], states) {
                states.insert(name.to_owned(), State::Unmet { chain, lack });
            }
        }
    }

    fn unmet(&self, manifest: &Manifest, states: &States) -> Option<(Vec<Need>, Lack)> {
        let need = |needs: &str, requirement: &VersionReq, optional| Need {
            extension: manifest.name().to_owned(),
            version: manifest.version().clone(),
            needs: needs.to_owned(),
            requirement: requirement.clone(),
            optional,
        };
        for (needed, requirement) in &manifest.dependencies {
            let link = need(needed, requirement, false);
            let Some(other) = self.get(needed) else { return Some((vec![link], Lack::NotInstalled)) };
            // The range comes first: enabling or repairing the wrong version would not help.
            if !requirement.matches(&other.version) {
                return Some((vec![link], Lack::OutOfRange(other.version.clone())));
            }
            let lack = match &states[needed] {
                State::Available => continue,
                State::Unmet { chain, lack } => {
                    let chain = [link].into_iter().chain(chain.iter().cloned()).collect();
                    return Some((chain, lack.clone()));
                }
                State::Disabled => Lack::Disabled,
                State::Dormant => Lack::Dormant,
                State::Modified => Lack::Modified,
                State::Refused { reason, .. } => Lack::Unusable(reason.clone()),
                State::Mismatch { problem } => Lack::Unusable(problem.clone()),
                State::Taken(conflict) => Lack::Unusable(conflict.to_string()),
                State::Circle { names } => Lack::Unusable(format!("{} need each other in a circle", and_list(names))),
            };
            return Some((vec![link], lack));
        }
        for (other, requirement) in &manifest.optional_dependencies {
            if let Some(present) = self.get(other).filter(|present| present.enabled)
                && !requirement.matches(&present.version)
            {
                return Some((vec![need(other, requirement, true)], Lack::OutOfRange(present.version.clone())));
            }
        }
        None
    }
}

impl State {
    /// Whether it can be used.
    pub fn is_available(&self) -> bool {
        *self == Self::Available
    }

    /// One word for a list.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Available => "installed",
            Self::Disabled => "disabled",
            Self::Dormant => "dormant",
            Self::Modified => "modified",
            Self::Refused { .. }
            | Self::Mismatch { .. }
            | Self::Taken(_)
            | Self::Circle { .. }
            | Self::Unmet { .. } => "incompatible",
        }
    }

    /// What to say to somebody who wants to use the extension; `None` when it can be used.
    pub fn error(&self, extension: &Enabled) -> Option<Error> {
        let name = extension.name.clone();
        let version = extension.version.clone();
        Some(match self {
            Self::Available => return None,
            Self::Disabled => Error::Disabled { name },
            Self::Dormant => Error::Dormant { name, version },
            Self::Modified => {
                Error::Modified { path: Path::new("store").join(extension.sha256.to_string()), name: Some(name) }
            }
            Self::Refused { code, reason } => Error::Unusable { name, version, code, reason: reason.clone() },
            Self::Mismatch { problem } => Error::LockMismatch { name, problem: problem.clone() },
            Self::Taken(conflict) => conflict.clone().into(),
            Self::Circle { names } => Error::Cycle { names: names.clone() },
            Self::Unmet { chain, lack } => unmet_error(chain, lack),
        })
    }
}

impl std::fmt::Display for Conflict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}` and `{}` both claim {}", self.first, self.second, self.claim)
    }
}

impl From<Conflict> for Error {
    fn from(Conflict { claim, first, second }: Conflict) -> Self {
        Self::ClaimTaken { claim, first, second }
    }
}

/// Every pair of extensions that claim one name, or one folder of data.
pub fn conflicts<'a>(manifests: impl IntoIterator<Item = &'a Manifest>) -> Vec<Conflict> {
    let mut owners: BTreeMap<(Option<ClaimKind>, String), &str> = BTreeMap::new();
    let mut found = Vec::new();
    for manifest in manifests {
        let claims = manifest.claims().map(|(kind, claim)| (Some(kind), claim.to_owned()));
        for key in claims.chain([(None, manifest.data_directory())]) {
            let kind = key.0.map_or_else(|| "data folder".to_owned(), |kind| kind.to_string());
            let claim = format!("the {kind} `{}`", key.1);
            let owner = *owners.entry(key).or_insert(manifest.name());
            if owner != manifest.name() {
                let (first, second) =
                    if owner < manifest.name() { (owner, manifest.name()) } else { (manifest.name(), owner) };
                found.push(Conflict { claim, first: first.to_owned(), second: second.to_owned() });
            }
        }
    }
    found
}

fn mismatch(extension: &Enabled, manifest: &Manifest) -> Option<String> {
    if manifest.name() != extension.name || *manifest.version() != extension.version {
        return Some(format!("its artifact is `{}` {}", manifest.name(), manifest.version()));
    }
    (manifest.dependencies != extension.requires).then(|| "its artifact requires something else".to_owned())
}

/// Who needs whom.
type Needs<'a> = BTreeMap<&'a str, Vec<&'a str>>;

fn needs_of<'a>(ready: &'a BTreeMap<&str, Arc<Manifest>>) -> Needs<'a> {
    let names = |manifest: &'a Arc<Manifest>| manifest.dependencies.keys().map(String::as_str).collect();
    ready.iter().map(|(name, manifest)| (*name, names(manifest))).collect()
}

/// The names in an order in which everything comes after what it needs, and those for which there is none: circles and
/// whoever needs one. Names that are needed but not given count as there.
pub(super) fn peel<'a>(needs: &Needs<'a>) -> (Vec<&'a str>, BTreeSet<&'a str>) {
    let mut missing: BTreeMap<&str, usize> = BTreeMap::new();
    let mut needed_by: BTreeMap<&str, Vec<&'a str>> = BTreeMap::new();
    for (name, needed) in needs {
        let given = needed.iter().filter(|needed| needs.contains_key(**needed));
        missing.insert(name, given.clone().count());
        given.for_each(|needed| needed_by.entry(needed).or_default().push(name));
    }
    let mut left: BTreeSet<&'a str> = needs.keys().copied().collect();
    let mut free: BTreeSet<&'a str> = left.iter().copied().filter(|name| missing[name] == 0).collect();
    let mut order = Vec::with_capacity(left.len());
    while let Some(name) = free.pop_first() {
        left.remove(name);
        order.push(name);
        for waiting in needed_by.get(name).into_iter().flatten() {
            let count = missing.entry(waiting).or_default();
            *count -= 1;
            if *count == 0 {
                free.insert(waiting);
            }
        }
    }
    (order, left)
}

fn circles(ready: &BTreeMap<&str, Arc<Manifest>>) -> Vec<Vec<String>> {
    let mut needs = needs_of(ready);
    let mut found = Vec::new();
    loop {
        let (_, left) = peel(&needs);
        needs.retain(|name, _| left.contains(name));
        // Each of these needs another one of these, so following them comes back to where it was.
        let mut path: Vec<&str> = left.first().into_iter().copied().collect();
        while let Some(last) = path.last() {
            let Some(next) = needs[last].iter().find(|needed| left.contains(**needed)).copied() else { break };
            if let Some(start) = path.iter().position(|earlier| *earlier == next) {
                let mut names = path.split_off(start);
                let first = (0..names.len()).min_by_key(|index| names[*index]).unwrap_or(0);
                names.rotate_left(first);
                needs.retain(|name, _| !names.contains(name));
                found.push(names.into_iter().map(str::to_owned).collect());
                break;
            }
            path.push(next);
        }
        if left.is_empty() {
            return found;
        }
    }
}

fn unmet_error(chain: &[Need], lack: &Lack) -> Error {
    let mut message = String::new();
    let mut last = None;
    for need in chain {
        let Need { extension, version, needs, requirement, optional } = need;
        let verb = if *optional { "goes only with" } else { "needs" };
        let written = match last {
            None => write!(message, "`{extension}` {version} {verb} `{needs}` {requirement}"),
            Some(_) => write!(message, ", which {verb} `{needs}` {requirement}"),
        };
        written.expect("writing into a string succeeds");
        last = Some(need);
    }
    let Some(Need { needs, requirement, .. }) = last else {
        return Error::Dependency { message, help: String::new() };
    };
    let (problem, help) = match lack {
        Lack::NotInstalled => ("is not installed".to_owned(), format!("kodiak ext install {needs}")),
        Lack::Disabled => ("is disabled".to_owned(), format!("kodiak ext enable {needs}")),
        Lack::OutOfRange(version) => {
            let request = Request::of(needs.as_str(), requirement.clone());
            (format!("has version {version}"), format!("kodiak ext install {}", shell_word(&request.to_string())))
        }
        Lack::Dormant => ("has no files here".to_owned(), format!("kodiak ext install {needs}")),
        Lack::Modified => ("was modified".to_owned(), format!("kodiak ext install {needs}")),
        Lack::Unusable(reason) => (format!("cannot be used: {reason}"), format!("kodiak ext info {needs}")),
    };
    let _ = write!(message, ", but `{needs}` {problem}");
    Error::Dependency { message, help }
}
