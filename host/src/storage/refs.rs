//! What names a tree and keeps it: branches, which move with every commit, and pins, which stay. It makes the changes of
//! records to them, and refuses to change a tree.

use std::sync::Arc;

use super::codec::{Decoder, Encoder, Flaw};
use super::request::no_branch;
use super::segment::Segments;
use super::sketch::Sketch;
use super::state::State;
use super::tree::{Tree, misfit};
use crate::error::Result;

/// A branch's number, which no other branch ever has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BranchId(pub u32);

/// The branch that every database has.
pub const MAIN: BranchId = BranchId(0);

/// A line of versions with a name.
#[derive(Clone, Debug)]
pub(crate) struct Branch {
    pub(crate) id: BranchId,
    pub(crate) name: Arc<str>,
    /// The branch that it was made on, and the version that it began with.
    pub(crate) parent: Option<BranchId>,
    pub(crate) from: u64,
    /// When it was made, in microseconds since 1970 (UTC).
    pub(crate) created: i64,
    /// The record that last put it on another tree by other means than a commit upon the old one.
    pub(crate) moved: u64,
    pub(crate) tree: Arc<Tree>,
}

/// A tree that is kept.
#[derive(Clone, Debug)]
pub(crate) struct Pin {
    pub(crate) branch: BranchId,
    pub(crate) tree: Arc<Tree>,
}

/// How long versions are kept that neither a branch nor a pin holds: as long as any of the first two asks for it, and
/// the third allows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// The newest so many.
    pub versions: u64,
    /// Those that were current within the last so many microseconds.
    pub time: i64,
    /// At most so many bytes of files that only old versions need.
    pub bytes: u64,
}

impl Retention {
    /// Only what branches and pins hold.
    pub const NONE: Self = Self { versions: 0, time: 0, bytes: 0 };
}

impl Retention {
    /// Whether it asks for anything.
    pub(crate) fn is_some(&self) -> bool {
        (self.versions > 0 || self.time > 0) && self.bytes > 0
    }
}

impl Default for Retention {
    fn default() -> Self {
        Self { versions: 100, time: 24 * 3600 * 1_000_000, bytes: 1 << 30 }
    }
}

/// A tree that a record names.
#[derive(Clone, Debug)]
pub(crate) enum Origin {
    /// The one without anything.
    Empty,
    /// The one that a branch stands on, with what the record did before.
    Head(BranchId),
    /// The one that a pin holds.
    Pin(Arc<str>),
    /// One that nothing holds, as it differs from the one that the record's branch stood on before.
    Sketch(Arc<Sketch>),
}

/// A change of branches or pins.
#[derive(Clone, Debug)]
pub(crate) enum Reference {
    CreateBranch {
        name: Arc<str>,
        origin: Origin,
    },
    DropBranch {
        branch: BranchId,
    },
    MoveBranch {
        branch: BranchId,
        origin: Origin,
    },
    Pin {
        name: Arc<str>,
        branch: BranchId,
        origin: Origin,
    },
    Unpin {
        name: Arc<str>,
    },
    Retain(Retention),
    /// Sessions begin on this branch from now on.
    Switch {
        branch: BranchId,
    },
}

const CREATE: u8 = 1;
const DROP: u8 = 2;
const MOVE: u8 = 3;
const PIN: u8 = 4;
const UNPIN: u8 = 5;
const RETAIN: u8 = 6;
const SWITCH: u8 = 7;

impl State {
    /// Makes one change of branches or pins; `before` is the tree of the record's branch before the record.
    pub(crate) fn refer(&mut self, change: &Reference, before: &Tree) -> Result<()> {
        match change {
            Reference::CreateBranch { name, origin } => {
                if self.branch_named(name).is_some() {
                    return Err(misfit(&format!("branch `{name}` is created twice")));
                }
                let tree = self.origin(origin, before)?;
                let id = BranchId(self.next_branch);
                self.next_branch =
                    self.next_branch.checked_add(1).ok_or_else(|| misfit("there are too many branches"))?;
                let parent = match origin {
                    Origin::Empty | Origin::Sketch(_) => None,
                    Origin::Head(branch) => Some(*branch),
                    Origin::Pin(name) => self.pins.get(name).map(|pin| pin.branch),
                };
                let (created, from) = (self.time, tree.version);
                let branch = Branch { id, name: name.clone(), parent, created, moved: self.lsn, from, tree };
                self.branches.insert_mut(id, Arc::new(branch));
            }
            Reference::DropBranch { branch } => {
                if *branch == MAIN || *branch == self.current || !self.branches.remove_mut(branch) {
                    return Err(misfit("a branch is dropped that is not there"));
                }
            }
            Reference::MoveBranch { branch, origin } => {
                let tree = self.origin(origin, before)?;
                let old = self.branches.get(branch).ok_or_else(|| misfit("a branch is moved that is not there"))?;
                let next = Branch { tree, moved: self.lsn, ..Branch::clone(old) };
                self.branches.insert_mut(*branch, Arc::new(next));
            }
            Reference::Pin { name, branch, origin } => {
                let tree = self.origin(origin, before)?;
                self.pins.insert_mut(name.clone(), Pin { branch: *branch, tree });
            }
            Reference::Unpin { name } => {
                if !self.pins.remove_mut(name) {
                    return Err(misfit(&format!("pin `{name}` is taken away that is not there")));
                }
            }
            Reference::Retain(retention) => self.retention = *retention,
            Reference::Switch { branch } => {
                if !self.branches.contains_key(branch) {
                    return Err(misfit("sessions begin on a branch that is not there"));
                }
                self.current = *branch;
            }
        }
        Ok(())
    }

    pub(crate) fn branch_named(&self, name: &str) -> Option<&Arc<Branch>> {
        self.branches.values().find(|branch| *branch.name == *name)
    }

    /// The branch of this name; no name means the one on which sessions begin.
    pub(crate) fn branch_or_current(&self, name: &str) -> Result<&Arc<Branch>> {
        if name.is_empty() { self.current() } else { self.branch_named(name).ok_or_else(|| no_branch(name)) }
    }

    fn origin(&self, origin: &Origin, before: &Tree) -> Result<Arc<Tree>> {
        let none = || misfit("a tree is named that is not there");
        match origin {
            Origin::Empty => Ok(Arc::new(Tree::empty())),
            Origin::Head(branch) => self.tree(*branch).cloned().ok_or_else(none),
            Origin::Pin(name) => self.pins.get(name).map(|pin| pin.tree.clone()).ok_or_else(none),
            Origin::Sketch(sketch) => sketch.realize(Some(before)).map(Arc::new).map_err(|flaw| misfit(&flaw)),
        }
    }
}

impl Reference {
    pub(crate) fn encode(&self, out: &mut Encoder) -> Result<()> {
        match self {
            Self::CreateBranch { name, origin } => {
                out.u8(CREATE);
                out.bytes(name.as_bytes());
                origin.encode(out)?;
            }
            Self::DropBranch { branch } => {
                out.u8(DROP);
                out.u32(branch.0);
            }
            Self::MoveBranch { branch, origin } => {
                out.u8(MOVE);
                out.u32(branch.0);
                origin.encode(out)?;
            }
            Self::Pin { name, branch, origin } => {
                out.u8(PIN);
                out.bytes(name.as_bytes());
                out.u32(branch.0);
                origin.encode(out)?;
            }
            Self::Unpin { name } => {
                out.u8(UNPIN);
                out.bytes(name.as_bytes());
            }
            Self::Retain(retention) => {
                out.u8(RETAIN);
                retention.encode(out);
            }
            Self::Switch { branch } => {
                out.u8(SWITCH);
                out.u32(branch.0);
            }
        }
        Ok(())
    }

    pub(crate) fn decode(from: &mut Decoder<'_>, segments: &Segments) -> Result<Self, Flaw> {
        Ok(match from.u8()? {
            CREATE => Self::CreateBranch { name: from.text()?.into(), origin: Origin::decode(from, segments)? },
            DROP => Self::DropBranch { branch: BranchId(from.u32()?) },
            MOVE => Self::MoveBranch { branch: BranchId(from.u32()?), origin: Origin::decode(from, segments)? },
            PIN => {
                let (name, branch) = (from.text()?.into(), BranchId(from.u32()?));
                Self::Pin { name, branch, origin: Origin::decode(from, segments)? }
            }
            UNPIN => Self::Unpin { name: from.text()?.into() },
            RETAIN => Self::Retain(Retention::decode(from)?),
            SWITCH => Self::Switch { branch: BranchId(from.u32()?) },
            tag => return Err(format!("it has a change of branches of unknown kind {tag}")),
        })
    }
}

impl Origin {
    fn encode(&self, out: &mut Encoder) -> Result<()> {
        match self {
            Self::Empty => out.u8(0),
            Self::Head(branch) => {
                out.u8(1);
                out.u32(branch.0);
            }
            Self::Pin(name) => {
                out.u8(2);
                out.bytes(name.as_bytes());
            }
            Self::Sketch(sketch) => {
                out.u8(3);
                sketch.encode(out)?;
            }
        }
        Ok(())
    }

    fn decode(from: &mut Decoder<'_>, segments: &Segments) -> Result<Self, Flaw> {
        Ok(match from.u8()? {
            0 => Self::Empty,
            1 => Self::Head(BranchId(from.u32()?)),
            2 => Self::Pin(from.text()?.into()),
            3 => Self::Sketch(Arc::new(Sketch::decode(from, segments)?)),
            tag => return Err(format!("a tree is named in an unknown way {tag}")),
        })
    }
}

impl Retention {
    pub(crate) fn encode(&self, out: &mut Encoder) {
        out.u64(self.versions);
        out.i64(self.time);
        out.u64(self.bytes);
    }

    pub(crate) fn decode(from: &mut Decoder<'_>) -> Result<Self, Flaw> {
        Ok(Self { versions: from.u64()?, time: from.i64()?, bytes: from.u64()? })
    }
}
