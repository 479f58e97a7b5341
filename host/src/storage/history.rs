//! Versions that are over: which of them can still be read, from which manifest and log, and what their files are. It
//! reads and decides; it refuses to delete, which `reclaim` does.

use std::collections::BTreeMap;
use std::sync::Arc;

use ulid::Ulid;

use super::codec::{Decoder, Encoder, Flaw};
use super::io::corrupt;
use super::manifest::Manifest;
use super::record::{Kind, Record, decode};
use super::recover::{Files, Position, map_tree};
use super::refs::{BranchId, Retention};
use super::tree::Tree;
use super::wal::{self, Next, WalFile};
use crate::error::{Error, Result, codes};

/// A manifest from which versions can be read, up to where the next one takes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Past {
    pub(crate) manifest: u64,
    /// The log file that goes on after it.
    pub(crate) wal: u64,
    /// The newest version and the time in it.
    pub(crate) version: u64,
    pub(crate) time: i64,
    /// Bytes of files that only versions from here to the next manifest need.
    pub(crate) bytes: u64,
}

/// What a manifest knows of those before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct History {
    /// Ascending, without gaps: log and segments of all of them are there.
    pub(crate) past: Vec<Past>,
    /// Segments that the newest state does not need, and the last manifest whose versions do.
    pub(crate) dead: BTreeMap<Ulid, u64>,
}

/// Which version is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// What the commit with this number left on its branch.
    Version(u64),
    /// What was current at a time, in microseconds since 1970 (UTC).
    Time(i64),
}

/// A commit that can still be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Commit {
    pub(crate) version: u64,
    pub(crate) branch: BranchId,
    pub(crate) time: i64,
}

impl History {
    /// The history behind a new manifest, given the one of the manifest before and what became of that.
    pub(crate) fn next(&self, last: Past, died: impl Iterator<Item = Ulid>, now: (u64, i64), keep: Retention) -> Self {
        let mut all = self.clone();
        all.past.push(last);
        all.dead.extend(died.map(|segment| (segment, last.manifest)));
        let ends = |index: usize| all.past.get(index + 1).map_or(now, |next| (next.version, next.time));
        let mut bytes = 0u64;
        let mut is_kept = |index: usize, past: &Past| {
            bytes = bytes.saturating_add(past.bytes);
            let (version, time) = ends(index);
            let is_wanted = now.0.saturating_sub(version) < keep.versions || now.1.saturating_sub(time) < keep.time;
            is_wanted && bytes <= keep.bytes
        };
        let kept = all.past.iter().enumerate().rev().take_while(|(index, past)| is_kept(*index, past)).count();
        let past = all.past.split_off(all.past.len() - kept);
        let oldest = past.first().map_or(u64::MAX, |first| first.manifest);
        let dead = all.dead.into_iter().filter(|(_, died)| *died >= oldest).collect();
        Self { past, dead }
    }

    pub(crate) fn encode(&self, out: &mut Encoder) {
        out.count(self.past.len());
        for past in &self.past {
            out.u64(past.manifest);
            out.u64(past.wal);
            out.u64(past.version);
            out.i64(past.time);
            out.u64(past.bytes);
        }
        out.count(self.dead.len());
        for (segment, died) in &self.dead {
            out.raw(&segment.to_bytes());
            out.u64(*died);
        }
    }

    pub(crate) fn decode(from: &mut Decoder<'_>) -> Result<Self, Flaw> {
        let past = (0..from.count(40)?).map(|_| {
            let (manifest, wal, version) = (from.u64()?, from.u64()?, from.u64()?);
            Ok(Past { manifest, wal, version, time: from.i64()?, bytes: from.u64()? })
        });
        let past = past.collect::<Result<Vec<_>, Flaw>>()?;
        let dead = (0..from.count(24)?).map(|_| Ok((Ulid::from_bytes(from.array()?), from.u64()?)));
        Ok(Self { past, dead: dead.collect::<Result<_, Flaw>>()? })
    }
}

impl Position {
    /// The manifests from which versions can be read, ascending; the newest last.
    fn bases(&self) -> Vec<Past> {
        let mut bases = self.history.past.clone();
        bases.push(self.base);
        bases
    }

    /// The oldest version that can still be read from files.
    pub(crate) fn oldest(&self) -> Past {
        self.history.past.first().copied().unwrap_or(self.base)
    }
}

/// Reads an old version: its branch and tree; for a time, that of the branch.
pub(crate) fn read(files: &Files, position: &Position, at: At, branch: BranchId) -> Result<(BranchId, Arc<Tree>)> {
    let bases = position.bases();
    let base = bases.iter().rev().find(|base| match at {
        At::Version(version) => base.version < version,
        At::Time(time) => base.time <= time,
    });
    let gone = || not_retained(at, position.oldest());
    let base = match (base, at) {
        (Some(base), _) => *base,
        (None, At::Version(version)) => *bases.first().filter(|base| base.version == version).ok_or_else(gone)?,
        (None, At::Time(_)) => return Err(gone()),
    };
    let manifest = Manifest::read(&files.directory, files.database, base.manifest, &files.segments)?;
    let mut state = manifest.ok_or_else(gone)?.state;
    let mut found = None;
    if let At::Version(version) = at
        && base.version == version
    {
        found = state.branches.values().find(|branch| branch.tree.version == version).map(|b| (b.id, b.tree.clone()));
        return finish(found.ok_or_else(gone)?, gone);
    }
    each_record(files, base.wal, |name, record| {
        let wal::Stamp { lsn, time, branch, kind, .. } = record.stamp;
        if matches!(at, At::Time(limit) if time > limit) {
            return Ok(false);
        }
        let operations = decode(record.payload, &files.segments);
        let operations = operations.map_err(|flaw| corrupt(name, &format!("record {lsn}: {flaw}")))?;
        let next = state.apply(&Record { lsn, branch, kind, time, operations });
        state = next.map_err(|error| corrupt(name, error.message()))?;
        match at {
            At::Version(version) if kind == Kind::Commit && state.version == version => {
                found = state.tree(branch).map(|tree| (branch, tree.clone()));
                Ok(false)
            }
            _ => Ok(true),
        }
    })?;
    if matches!(at, At::Time(_)) {
        found = state.tree(branch).map(|tree| (branch, tree.clone()));
    }
    finish(found.ok_or_else(gone)?, gone)
}

fn finish(found: (BranchId, Arc<Tree>), gone: impl Fn() -> Error) -> Result<(BranchId, Arc<Tree>)> {
    // Another process may have removed files in the meantime.
    if map_tree(&found.1) { Ok(found) } else { Err(gone()) }
}

/// The commits that can be read, ascending.
pub(crate) fn commits(files: &Files, position: &Position) -> Result<Vec<Commit>> {
    let oldest = position.oldest();
    let mut commits = Vec::new();
    let mut version = oldest.version;
    each_record(files, oldest.wal, |_, record| {
        if record.stamp.kind == Kind::Commit {
            version += 1;
            commits.push(Commit { version, branch: record.stamp.branch, time: record.stamp.time });
        }
        Ok(true)
    })?;
    Ok(commits)
}

/// Hands over the records of the log from a file on, until there are no more or it is enough.
fn each_record(files: &Files, first: u64, mut each: impl FnMut(&str, &wal::Stored<'_>) -> Result<bool>) -> Result<()> {
    for number in first.. {
        let Some(file) = WalFile::open(&files.directory, files.database, number, true)? else { return Ok(()) };
        let bytes = file.file.read_from(wal::HEADER)?;
        let mut at = 0;
        loop {
            match wal::next(&bytes[at..]) {
                Next::Record(record) => {
                    if !each(&file.file.name, &record)? {
                        return Ok(());
                    }
                    at += record.length;
                    if record.stamp.kind == Kind::Rotate {
                        break;
                    }
                }
                Next::End | Next::Bad(_) => return Ok(()),
            }
        }
    }
    Ok(())
}

fn not_retained(at: At, oldest: Past) -> Error {
    match at {
        At::Version(version) => version_not_kept(version, oldest.version),
        At::Time(_) => {
            let message = "what was there at that time is not kept any more, or the database is younger".to_owned();
            Error::new(codes::NOT_RETAINED, format!("{message}; the oldest version that is kept is {}", oldest.version))
        }
    }
    .help("SELECT * FROM kodiak.versions")
}

pub(crate) fn version_not_kept(version: u64, oldest: u64) -> Error {
    let message = format!("version {version} is not kept any more; the oldest that is kept is {oldest}");
    Error::new(codes::NOT_RETAINED, message)
}

pub(crate) fn version_to_come(version: u64, newest: u64) -> Error {
    Error::new(codes::NO_VERSION, format!("there is no version {version} yet; the newest is {newest}"))
}
