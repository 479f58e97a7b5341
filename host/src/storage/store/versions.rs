//! Old versions, branches and pins, as the store offers them: looked up in what is held already, else read from the
//! manifest and log that have them. It refuses to keep what the retention lets go.

use std::collections::VecDeque;
use std::sync::Arc;

use super::super::checkpoint::Effort;
use super::super::commit::{Shared, guard};
use super::super::history::{self, At, version_not_kept, version_to_come};
use super::super::recover;
use super::super::refs::{BranchId, MAIN, Retention};
use super::super::snapshot::Snapshot;
use super::super::spec::{BranchInfo, PinInfo, VersionInfo};
use super::super::state::State;
use super::super::tree::Tree;
use super::Store;
use crate::error::{Error, Result, codes};

/// So many old trees that were read are kept at hand.
const READ_MAX: usize = 8;

/// What a database in memory remembers, and what was read of one on disk.
#[derive(Debug, Default)]
pub(crate) struct Remembered {
    /// In memory: the states that commits made, ascending.
    states: VecDeque<(BranchId, Arc<State>)>,
    /// On disk: trees that were read, the last used first.
    read: VecDeque<(BranchId, Arc<Tree>)>,
}

impl Store {
    /// The newest version of a branch, also of what other processes committed, for whoever only reads.
    ///
    /// # Errors
    /// `NO_OBJECT` when there is no such branch, and as [`Store::begin`].
    pub fn snapshot_of(&self, branch: &str) -> Result<Snapshot> {
        let (newest, hold) = self.0.read()?;
        let branch = newest.branch_or_current(branch)?;
        Ok(Snapshot::held(branch.tree.clone(), hold))
    }

    /// An old version. A number means what that commit left on its branch, whichever that was; a time means what was
    /// current on `branch` then.
    ///
    /// # Errors
    /// `NOT_RETAINED` saying the oldest version that is kept, `NO_VERSION` for one that is to come, `NO_OBJECT` when
    /// there is no such branch.
    pub fn snapshot_at(&self, branch: &str, at: At) -> Result<Snapshot> {
        self.0.refresh()?;
        let newest = self.0.newest();
        let branch = newest.branch_or_current(branch)?;
        let (mut id, mut at) = (branch.id, at);
        // Before there was the branch, there was the version that it began with, and its parent before that.
        while let (At::Time(time), Some(branch)) = (at, newest.branches.get(&id))
            && time < branch.created
            && let Some(parent) = branch.parent
        {
            let began = self.0.tree_at(At::Version(branch.from), parent, &newest);
            match began {
                Ok((_, tree)) if tree.time <= time => at = At::Version(branch.from),
                _ => id = parent,
            }
        }
        self.0.tree_at(at, id, &newest).map(|(_, tree)| Snapshot::new(tree))
    }

    /// The tree of a version and the branch that it was committed on, where that is known.
    pub(crate) fn tree_of_version(&self, version: u64) -> Result<(Option<BranchId>, Arc<Tree>)> {
        self.0.refresh()?;
        self.0.tree_at(At::Version(version), MAIN, &self.0.newest())
    }

    /// The branches, by number.
    ///
    /// # Errors
    /// As [`Store::begin`].
    pub fn branches(&self) -> Result<Vec<BranchInfo>> {
        self.0.refresh()?;
        Ok(branches(&self.0.newest()))
    }

    /// The pins, by name.
    ///
    /// # Errors
    /// As [`Store::begin`].
    pub fn pins(&self) -> Result<Vec<PinInfo>> {
        self.0.refresh()?;
        Ok(pins(&self.0.newest()))
    }

    /// The versions that can be read, ascending: those that the retention keeps, and those that branches and pins hold.
    ///
    /// # Errors
    /// `IO` or `CORRUPT` when the log cannot be read.
    pub fn versions(&self) -> Result<Vec<VersionInfo>> {
        self.0.refresh()?;
        let newest = self.0.newest();
        let name = |branch: BranchId| newest.branches.get(&branch).map(|branch| branch.name.to_string());
        let mut found: Vec<VersionInfo> = match &self.0.files {
            None => guard(&self.0.remembered)
                .states
                .iter()
                .map(|(branch, state)| VersionInfo {
                    version: state.version,
                    branch: name(*branch),
                    time: state.time,
                    pins: Vec::new(),
                })
                .collect(),
            Some(files) => {
                let head = self.0.head().clone();
                let position =
                    head.log.as_ref().ok_or_else(|| Error::new(codes::INTERNAL, "a database without a log"))?;
                let commits = history::commits(files, position)?.into_iter();
                commits
                    .map(|commit| VersionInfo {
                        version: commit.version,
                        branch: name(commit.branch),
                        time: commit.time,
                        pins: Vec::new(),
                    })
                    .collect()
            }
        };
        let held = newest.branches.values().map(|branch| (branch.id, &branch.tree, None));
        let pinned = newest.pins.iter().map(|(pin, held)| (held.branch, &held.tree, Some(pin)));
        for (branch, tree, pin) in held.chain(pinned).filter(|(_, tree, _)| tree.version > 0) {
            let at = found.partition_point(|info| info.version < tree.version);
            if found.get(at).is_none_or(|info| info.version != tree.version) {
                let (version, time) = (tree.version, tree.time);
                found.insert(at, VersionInfo { version, branch: name(branch), time, pins: Vec::new() });
            }
            found[at].pins.extend(pin.map(|pin| pin.to_string()));
        }
        Ok(found)
    }

    /// How long old versions are kept.
    pub fn retention(&self) -> Retention {
        self.0.newest().retention
    }

    /// Lets go of every version that neither a branch nor a pin holds, and gives its space back.
    ///
    /// # Errors
    /// As [`Store::checkpoint`].
    pub fn forget_history(&self) -> Result<()> {
        self.forget_remembered();
        self.0.checkpoint_keeping(Effort::Usual, Some(Retention::NONE)).map(drop)
    }

    /// Forgets the old versions that are at hand.
    pub(super) fn forget_remembered(&self) {
        let mut remembered = guard(&self.0.remembered);
        remembered.states.clear();
        remembered.read.clear();
    }
}

impl Shared {
    /// Remembers a commit; a database on disk has its log for that.
    pub(crate) fn remember(&self, branch: BranchId, state: &Arc<State>) {
        if self.files.is_some() {
            return;
        }
        let mut remembered = guard(&self.remembered);
        remembered.states.push_back((branch, state.clone()));
        let max = usize::try_from(state.retention.versions).unwrap_or(usize::MAX);
        while remembered.states.len() > max {
            remembered.states.pop_front();
        }
    }

    fn tree_at(&self, at: At, branch: BranchId, newest: &State) -> Result<(Option<BranchId>, Arc<Tree>)> {
        if let At::Version(version) = at {
            if version > newest.version {
                return Err(version_to_come(version, newest.version));
            }
            let heads = newest.branches.values().map(|branch| (branch.id, &branch.tree));
            let pins = newest.pins.values().map(|pin| (pin.branch, &pin.tree));
            if let Some((branch, tree)) = heads.chain(pins).find(|(_, tree)| tree.version == version) {
                return Ok((Some(branch), tree.clone()));
            }
            if version == 0 {
                return Ok((None, Arc::new(Tree::empty())));
            }
        }
        let Some(files) = &self.files else { return self.recall(at, branch, newest) };
        if let At::Version(version) = at {
            let read = &mut guard(&self.remembered).read;
            if let Some(index) = read.iter().position(|(_, tree)| tree.version == version)
                && let Some(found) = read.remove(index)
            {
                read.push_front(found.clone());
                return Ok((Some(found.0), found.1));
            }
        }
        let position = self.head().log.clone();
        let mut position = position.ok_or_else(|| Error::new(codes::INTERNAL, "a database without a log"))?;
        let found = match history::read(files, &position, at, branch) {
            Err(error) => {
                // Another process may have folded in the log, and removed what we looked for.
                let fresh = recover::load(files)?.log.filter(|fresh| fresh.manifest != position.manifest);
                position = fresh.ok_or(error)?;
                history::read(files, &position, at, branch)?
            }
            Ok(found) => found,
        };
        let read = &mut guard(&self.remembered).read;
        read.push_front(found.clone());
        read.truncate(READ_MAX);
        Ok((Some(found.0), found.1))
    }

    fn recall(&self, at: At, branch: BranchId, newest: &State) -> Result<(Option<BranchId>, Arc<Tree>)> {
        let remembered = guard(&self.remembered);
        let states = &remembered.states;
        let oldest = states.front().map_or(newest.version, |(_, state)| state.version);
        let gone = |version| version_not_kept(version, oldest);
        match at {
            At::Version(version) => {
                let found = states.iter().find(|(_, state)| state.version == version);
                let tree = found.and_then(|(branch, state)| Some((Some(*branch), state.tree(*branch)?.clone())));
                tree.ok_or_else(|| gone(version))
            }
            At::Time(time) => {
                let found = states.iter().rev().find(|(_, state)| state.time <= time);
                let tree = found.and_then(|(_, state)| Some((Some(branch), state.tree(branch)?.clone())));
                tree.ok_or_else(|| gone(0))
            }
        }
    }
}

pub(crate) fn branches(state: &State) -> Vec<BranchInfo> {
    let info = |branch: &Arc<super::super::refs::Branch>| BranchInfo {
        name: branch.name.to_string(),
        version: branch.tree.version,
        time: branch.tree.time,
        parent: branch.parent.and_then(|parent| state.branches.get(&parent)).map(|parent| parent.name.to_string()),
        from: branch.from,
        created: branch.created,
        is_current: branch.id == state.current,
    };
    state.branches.values().map(info).collect()
}

pub(crate) fn pins(state: &State) -> Vec<PinInfo> {
    let pins = state.pins.iter();
    pins.map(|(name, pin)| PinInfo { name: name.to_string(), version: pin.tree.version, time: pin.tree.time }).collect()
}
