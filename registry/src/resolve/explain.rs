//! Why there is no solution, as a chain of facts from what was asked for to the contradiction, and a way out that was
//! tried before it is said. It refuses to suggest what does not work.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use pubgrub::{External, Ranges};
use semver::{Version, VersionReq};

use super::Request;
use super::solve::{Conflict, Goals, Memo, Package, Slot, solve};
use crate::error::{Error, Result};
use crate::text;

const FACTS_MAX: usize = 24;
const TRIALS_MAX: usize = 8;

pub(super) fn explain(memo: &Memo<'_>, goals: &Goals<'_>, conflict: &Conflict) -> Result<Error> {
    let mut facts = Facts { memo, goals, found: Vec::new() };
    facts.collect(conflict)?;
    let unknown = facts.unknown()?;
    let reasons = facts.in_order();
    let help = match unknown {
        Some(name) => Some(format!("kodiak ext search {name}")),
        None => way_out(memo, goals)?,
    };
    Ok(Error::NoSolution { reasons, help })
}

/// One external reason of the proof: about `from`, and leading to `to` if it is a requirement.
struct Fact {
    from: Option<String>,
    to: Option<String>,
    text: String,
}

struct Facts<'a> {
    memo: &'a Memo<'a>,
    goals: &'a Goals<'a>,
    found: Vec<Fact>,
}

impl Facts<'_> {
    fn collect(&mut self, conflict: &Conflict) -> Result<()> {
        // A shared part of the proof is a shared node of the tree, and need not be walked twice.
        let mut seen = BTreeSet::new();
        let mut open = vec![conflict];
        while let Some(node) = open.pop() {
            match node {
                Conflict::External(external) => self.add(external)?,
                Conflict::Derived(derived) => {
                    if derived.shared_id.is_none_or(|id| seen.insert(id)) {
                        open.extend([&*derived.cause2, &*derived.cause1]);
                    }
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, external: &External<Package, Ranges<Slot>, String>) -> Result<()> {
        match external {
            External::FromDependencyOf(Package::Root, _, Package::Extension(name), allowed) => {
                self.add_goal(name);
                if allowed.is_empty() {
                    self.add_versions(name)?;
                }
            }
            External::FromDependencyOf(Package::Extension(name), range, Package::Extension(needed), allowed) => {
                self.add_requirements(name, range, needed, false)?;
                if allowed.is_empty() {
                    self.add_versions(needed)?;
                }
            }
            External::FromDependencyOf(Package::Extension(name), range, Package::Presence(other), _)
                if name != other =>
            {
                self.add_requirements(name, range, other, true)?;
            }
            External::NoVersions(Package::Extension(name), _) => self.add_versions(name)?,
            External::Custom(Package::Extension(name), range, problem) => {
                let versions: Vec<Version> = self.versions_in(name, range)?;
                self.push(Some(name), None, format!("`{name}` {} {problem}", list(&versions)));
            }
            // That an extension is present in the version that it has needs no words.
            _ => {}
        }
        Ok(())
    }

    fn add_goal(&mut self, name: &str) {
        let mut asked = false;
        for request in self.goals.requests.iter().filter(|request| request.name == name) {
            asked = true;
            let any = request.requirement == VersionReq::STAR;
            let requirement = if any { String::new() } else { format!(" {}", request.requirement) };
            self.push(None, Some(name), format!("`{name}`{requirement} is asked for"));
        }
        if let Some(version) = self.goals.installed.get(name)
            && !asked
        {
            self.push(None, Some(name), format!("`{name}` {version} is installed"));
        }
    }

    /// The same words for all versions of `name` that say the same about `other`.
    fn add_requirements(&mut self, name: &str, range: &Ranges<Slot>, other: &str, optional: bool) -> Result<()> {
        let mut by_requirement: BTreeMap<String, Vec<Version>> = BTreeMap::new();
        for version in self.versions_in(name, range)? {
            let requirements = self.memo.requirements(name, &version)?;
            let list = if optional { &requirements.optional } else { &requirements.needed };
            if let Some(requirement) = list.get(other) {
                by_requirement.entry(requirement.to_string()).or_default().push(version);
            }
        }
        for (requirement, versions) in by_requirement {
            let verb = match (optional, versions.len()) {
                (false, 1) => "needs",
                (false, _) => "need",
                (true, 1) => "goes only with",
                (true, _) => "go only with",
            };
            let text = format!("`{name}` {} {verb} `{other}` {requirement}", list(&versions));
            self.push(Some(name), Some(other), text);
        }
        Ok(())
    }

    fn add_versions(&mut self, name: &str) -> Result<()> {
        let versions = self.memo.versions(name)?;
        let text = match &versions[..] {
            [] => format!("no index knows `{name}`"),
            [only] => format!("the only version of `{name}` is {only}"),
            versions => format!("the versions of `{name}` are {}", list(versions)),
        };
        self.push(Some(name), None, text);
        Ok(())
    }

    fn push(&mut self, from: Option<&str>, to: Option<&str>, text: String) {
        if self.found.iter().all(|fact| fact.text != text) {
            self.found.push(Fact { from: from.map(str::to_owned), to: to.map(str::to_owned), text });
        }
    }

    fn versions_in(&self, name: &str, range: &Ranges<Slot>) -> Result<Vec<Version>> {
        let versions = self.memo.versions(name)?;
        Ok(versions.iter().filter(|version| range.contains(&Slot::At((*version).clone()))).cloned().collect())
    }

    fn unknown(&self) -> Result<Option<String>> {
        for fact in &self.found {
            if let Some(name) = &fact.to
                && self.memo.versions(name)?.is_empty()
            {
                return Ok(Some(name.clone()));
            }
        }
        Ok(None)
    }

    /// What was asked for first, then what each of these leads to.
    fn in_order(mut self) -> Vec<String> {
        let mut reasons = Vec::new();
        let mut reached = BTreeSet::new();
        let mut open = VecDeque::from([None]);
        while let Some(at) = open.pop_front() {
            let (here, rest): (Vec<Fact>, Vec<Fact>) = self.found.into_iter().partition(|fact| fact.from == at);
            self.found = rest;
            for fact in here {
                reasons.push(fact.text);
                if let Some(to) = fact.to
                    && reached.insert(to.clone())
                {
                    open.push_back(Some(to));
                }
            }
        }
        reasons.extend(self.found.into_iter().map(|fact| fact.text));
        if reasons.len() > FACTS_MAX {
            let rest = reasons.len() - FACTS_MAX;
            reasons.truncate(FACTS_MAX);
            reasons.push(format!("and {rest} more"));
        }
        reasons
    }
}

/// The first of these that has a solution: another version of one thing that is asked for, or one installed extension
/// less.
fn way_out(memo: &Memo<'_>, goals: &Goals<'_>) -> Result<Option<String>> {
    let narrowed = |request: &&Request| request.requirement != VersionReq::STAR;
    for relaxed in goals.requests.iter().filter(narrowed).take(TRIALS_MAX) {
        // Without the request itself nothing would say that it must be there, so each version is tried.
        for version in memo.versions(&relaxed.name)?.iter().rev().take(TRIALS_MAX) {
            let mut exact = relaxed.clone();
            exact.requirement = exactly(version);
            let requests: Vec<Request> =
                goals.requests.iter().filter(|request| request.name != relaxed.name).chain([&exact]).cloned().collect();
            if solve(memo, &Goals { requests: &requests, installed: goals.installed })?.is_ok() {
                return Ok(Some(command(&requests)));
            }
        }
    }
    let unasked = |name: &&String| goals.requests.iter().all(|request| request.name != **name);
    for name in goals.installed.keys().filter(unasked).take(TRIALS_MAX) {
        let mut installed = goals.installed.clone();
        installed.remove(name);
        let solution = solve(memo, &Goals { requests: goals.requests, installed: &installed })?;
        if solution.is_ok_and(|solution| !solution.contains_key(name)) {
            return Ok(Some(format!("kodiak ext uninstall {name} && {}", command(goals.requests))));
        }
    }
    Ok(None)
}

fn command(requests: &[Request]) -> String {
    let words: Vec<String> = requests.iter().map(|request| text::shell_word(&request.to_string())).collect();
    format!("kodiak ext install {}", words.join(" "))
}

fn exactly(version: &Version) -> VersionReq {
    VersionReq {
        comparators: vec![semver::Comparator {
            op: semver::Op::Exact,
            major: version.major,
            minor: Some(version.minor),
            patch: Some(version.patch),
            pre: version.pre.clone(),
        }],
    }
}

/// "0.1.0", "0.1.0 and 0.2.0", or the ends and how many there are.
fn list(versions: &[Version]) -> String {
    match versions {
        [] => "in no version".to_owned(),
        [only] => only.to_string(),
        [first, last] => format!("{first} and {last}"),
        [first, .., last] => format!("{first} to {last} ({} versions)", versions.len()),
    }
}
