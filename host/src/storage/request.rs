//! What a transaction asks of branches and pins, and how that becomes a change of the newest state when it commits. It
//! refuses what others made impossible in the meantime.

use std::sync::Arc;

use super::recover::now;
use super::refs::{Branch, BranchId, MAIN, Origin, Reference, Retention};
use super::sketch::Sketch;
use super::state::State;
use super::tree::Tree;
use super::txn::conflict;
use crate::error::{Error, Result, codes};

/// Bytes in the name of a branch or pin.
const NAME_BYTES_MAX: usize = 200;

/// Something to be done to branches and pins.
#[derive(Clone, Debug)]
pub(crate) enum Request {
    Create {
        name: Arc<str>,
        source: Source,
    },
    Drop {
        name: Arc<str>,
    },
    /// Moves a branch that still stands on the expected version.
    Move {
        name: Arc<str>,
        expected: u64,
        source: Source,
    },
    Pin {
        name: Arc<str>,
        source: Source,
    },
    Unpin {
        name: Arc<str>,
    },
    Retain(Retention),
    Switch {
        name: Arc<str>,
    },
}

/// The branch that the transaction is on.
#[derive(Clone, Debug)]
pub(crate) struct Own {
    pub(crate) branch: BranchId,
    /// What it stood on before the commit.
    pub(crate) before: Arc<Tree>,
    /// Whether the commit changes that.
    pub(crate) is_changed: bool,
}

/// The tree that a branch or pin gets.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    Empty,
    /// What a branch stands on at commit; for the transaction's own branch with its changes.
    Branch(Arc<str>),
    /// One that was looked up, and the branch that it is of.
    Tree(Option<BranchId>, Arc<Tree>),
}

impl Request {
    /// The change that does it in this state; `on` is the transaction's branch.
    ///
    /// # Errors
    /// `EXISTS`, `NO_OBJECT`, `UNSUPPORTED` for the main branch, `CONFLICT` when a branch stands elsewhere than expected.
    pub(crate) fn reference(&self, state: &State, on: &Own) -> Result<Reference> {
        Ok(match self {
            Self::Create { name, source } => {
                check_name(name)?;
                if state.branch_named(name).is_some() {
                    return Err(Error::new(codes::EXISTS, format!("there is a branch `{name}` already")));
                }
                Reference::CreateBranch { name: name.clone(), origin: source.origin(state, on)?.1 }
            }
            Self::Drop { name } => {
                let branch = branch(state, name)?.id;
                if branch == MAIN || branch == state.current {
                    let message = "the main branch, and the one on which sessions begin, cannot be dropped";
                    return Err(Error::new(codes::UNSUPPORTED, message));
                }
                Reference::DropBranch { branch }
            }
            Self::Move { name, expected, source } => {
                let branch = branch(state, name)?;
                if branch.tree.version != *expected {
                    let version = branch.tree.version;
                    return Err(conflict(&format!("put the branch `{name}` on version {version}, not {expected}")));
                }
                Reference::MoveBranch { branch: branch.id, origin: source.origin(state, on)?.1 }
            }
            Self::Pin { name, source } => {
                check_name(name)?;
                let (branch, origin) = source.origin(state, on)?;
                Reference::Pin { name: name.clone(), branch, origin }
            }
            Self::Unpin { name } => {
                if !state.pins.contains_key(name) {
                    return Err(Error::new(codes::NO_OBJECT, format!("there is no pin `{name}`")));
                }
                Reference::Unpin { name: name.clone() }
            }
            Self::Retain(retention) => Reference::Retain(*retention),
            Self::Switch { name } => Reference::Switch { branch: branch(state, name)?.id },
        })
    }

    /// Whether it changes what this branch is, so that nothing can be committed upon it in the same transaction.
    pub(crate) fn replaces(&self, own: &Branch) -> bool {
        matches!(self, Self::Drop { name } | Self::Move { name, .. } if *name == own.name)
    }
}

impl Source {
    fn origin(&self, state: &State, on: &Own) -> Result<(BranchId, Origin)> {
        Ok(match self {
            Self::Empty => (on.branch, Origin::Empty),
            Self::Branch(name) => {
                let id = branch(state, name)?.id;
                (id, Origin::Head(id))
            }
            Self::Tree(of, tree) => {
                // A version names one content, whoever holds it.
                let is_it = |other: &Arc<Tree>| other.version == tree.version;
                let head = state
                    .branches
                    .values()
                    .find(|branch| is_it(&branch.tree) && !(on.is_changed && branch.id == on.branch));
                let pin = state.pins.iter().find(|(_, pin)| is_it(&pin.tree));
                let branch = of.unwrap_or(on.branch);
                match (head, pin) {
                    (Some(head), _) => (head.id, Origin::Head(head.id)),
                    (_, Some((name, pin))) => (pin.branch, Origin::Pin(name.clone())),
                    _ => (branch, Origin::Sketch(Arc::new(Sketch::of(tree, Some(&on.before))?))),
                }
            }
        })
    }
}

/// Makes the changes that a transaction asked for, one upon the other, and returns them.
pub(crate) fn references(requests: &[Request], state: &State, on: &Own) -> Result<Vec<Reference>> {
    let mut state = state.clone();
    (state.lsn, state.time) = (state.lsn + 1, state.time.max(now()));
    let mut references = Vec::with_capacity(requests.len());
    for request in requests {
        let reference = request.reference(&state, on)?;
        state.refer(&reference, &on.before)?;
        references.push(reference);
    }
    Ok(references)
}

fn branch<'a>(state: &'a State, name: &str) -> Result<&'a Arc<Branch>> {
    state.branch_named(name).ok_or_else(|| no_branch(name))
}

pub(crate) fn no_branch(name: &str) -> Error {
    Error::new(codes::NO_OBJECT, format!("there is no branch `{name}`")).help("kodiak db branches")
}

fn check_name(name: &str) -> Result<()> {
    let is_good = !name.is_empty() && name.len() <= NAME_BYTES_MAX && !name.chars().any(char::is_control);
    let message = || format!("a name has 1 to {NAME_BYTES_MAX} bytes and no control characters");
    if is_good { Ok(()) } else { Err(Error::new(codes::VALUE, message())) }
}
