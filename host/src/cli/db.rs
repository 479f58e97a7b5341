//! `kodiak db`: what a database is made of, whether it is sound, and tidying up. It refuses to create one: looking at
//! something must not bring it into being.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::context::Context;
use super::exit::Exit;
use crate::error::{Error, Result, codes};
use crate::sql::moment;
use crate::storage::{At, BranchInfo, Copied, From, Info, Options, Store};

/// What to do with a database.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Print what it is made of
    Info,
    /// Verify every file of it; findings exit 1
    Check,
    /// Write the log's changes into segments and shorten the log
    Checkpoint,
    /// Write hollow and small row groups again, and give space back
    Compact,
    /// Copy it into a directory; a later backup there copies only what is new
    Backup {
        /// A directory that is not there yet, or holds an earlier backup
        dir: PathBuf,
    },
    /// Give it the contents of a backup, or make another database of one
    Restore {
        /// The backup
        dir: PathBuf,
        /// Make a new database here, and leave the one of `--db` alone
        #[arg(long, value_name = "PATH")]
        to: Option<PathBuf>,
        /// The version that is wanted
        #[arg(long, value_name = "N", conflicts_with = "as_of_timestamp")]
        as_of_version: Option<u64>,
        /// The time whose version is wanted, such as '2026-01-01 12:00:00'; without a zone it is UTC
        #[arg(long, value_name = "TIME")]
        as_of_timestamp: Option<String>,
    },
    /// List the branches, make, drop or switch to one
    Branches {
        /// What to do; nothing lists them
        #[command(subcommand)]
        change: Option<Branch>,
    },
}

/// What to do with branches.
#[derive(Debug, clap::Subcommand)]
pub enum Branch {
    /// Make a branch; no row is copied
    Create {
        /// Its name
        name: String,
        /// Where it begins: a branch or a version; without it, where sessions begin
        #[arg(long, value_name = "BRANCH|VERSION")]
        from: Option<String>,
    },
    /// Drop a branch
    Drop {
        /// Its name
        name: String,
    },
    /// Let sessions begin on a branch, in every process from now on
    Switch {
        /// Its name
        name: String,
    },
}

/// Runs one of the commands.
///
/// # Errors
/// If there is no such database, or it cannot be opened.
pub(super) fn run(context: &Context, command: &Command) -> Result<Exit> {
    let path = context.database_path()?.ok_or_else(|| {
        Error::new(codes::USAGE, "no database is named, and this folder is in no project")
            .help("kodiak --db NAME.kdb db info")
    })?;
    if let Command::Restore { dir, to, .. } = command {
        let target = to.as_deref().unwrap_or(&path);
        return restore(context, command, dir, target, to.is_some());
    }
    let store = Store::open(&path, &Options { create: false, ..Options::default() })?;
    for warning in store.warnings() {
        context.ui.warn(&warning);
    }
    match command {
        Command::Info => context.ui.facts(&facts(store.info()?, store.warnings()))?,
        Command::Checkpoint => {
            store.checkpoint()?;
            context.ui.note(&format!("checkpointed `{}` at version {}", path.display(), store.version()));
        }
        Command::Branches { change: None } => branches(context, &store)?,
        Command::Branches { change: Some(change) } => change.run(context, &store)?,
        Command::Compact => {
            let done = store.vacuum(None)?;
            let facts: [(&str, Value); 4] = [
                ("row_groups", done.row_groups.into()),
                ("rows", done.rows.into()),
                ("files_removed", done.files.into()),
                ("bytes_removed", done.bytes.into()),
            ];
            report(context, &facts, || {
                format!("wrote {} rows again, removed {} files of {} bytes", done.rows, done.files, done.bytes)
            })?;
        }
        Command::Backup { dir } => {
            let done = store.backup(dir)?;
            report(context, &copied(done), || {
                let Copied { version, files, bytes, kept } = done;
                let dir = dir.display();
                format!("backed up version {version} to `{dir}`: {files} files of {bytes} bytes copied, {kept} kept")
            })?;
        }
        Command::Check => return check(context, &store, &path),
        Command::Restore { .. } => {}
    }
    Ok(Exit::Done)
}

/// Restores into a database that is there, or makes one.
fn restore(context: &Context, command: &Command, dir: &Path, target: &Path, is_new: bool) -> Result<Exit> {
    let Command::Restore { as_of_version, as_of_timestamp, .. } = command else { return Ok(Exit::Done) };
    let at = match (as_of_version, as_of_timestamp) {
        (Some(version), _) => Some(At::Version(*version)),
        (None, Some(time)) => Some(At::Time(moment(time)?)),
        (None, None) => None,
    };
    if is_new || !target.exists() {
        let done = Store::restore_to(dir, target)?;
        if at.is_some() {
            // The copy has the same old versions.
            Store::open(target, &Options { create: false, ..Options::default() })?.restore(dir, at)?;
        }
        report(context, &copied(done), || format!("restored `{}` to `{}`", dir.display(), target.display()))?;
        return Ok(Exit::Done);
    }
    let store = Store::open(target, &Options { create: false, ..Options::default() })?;
    let (version, restored) = store.restore(dir, at)?;
    let facts: [(&str, Value); 2] = [("version", version.into()), ("restored_version", restored.into())];
    report(context, &facts, || {
        format!("version {version} of `{}` is version {restored} of `{}`", target.display(), dir.display())
    })?;
    Ok(Exit::Done)
}

/// Facts for programs, one line for people.
fn report(context: &Context, facts: &[(&'static str, Value)], line: impl FnOnce() -> String) -> Result<()> {
    if context.ui.is_structured() {
        return context.ui.facts(facts);
    }
    context.ui.note(&line());
    Ok(())
}

fn copied(done: Copied) -> [(&'static str, Value); 4] {
    [
        ("version", done.version.into()),
        ("files_copied", done.files.into()),
        ("bytes_copied", done.bytes.into()),
        ("files_kept", done.kept.into()),
    ]
}

fn check(context: &Context, store: &Store, path: &Path) -> Result<Exit> {
    let findings = store.check()?;
    let objects: Vec<Value> =
        findings.iter().map(|finding| json!({"file": finding.file, "problem": finding.problem})).collect();
    if findings.is_empty() && !context.ui.is_structured() {
        context.ui.note(&format!("`{}` is sound", path.display()));
    } else {
        context.ui.objects(&["file", "problem"], &objects)?;
    }
    let Some(first) = findings.first() else { return Ok(Exit::Done) };
    let others = if findings.len() > 1 { format!(", and {} more", findings.len() - 1) } else { String::new() };
    Err(Error::new(codes::CORRUPT, format!("`{}`: {}{others}", first.file, first.problem)))
}

impl Branch {
    fn run(&self, context: &Context, store: &Store) -> Result<()> {
        let transaction = store.begin()?;
        let done = match self {
            Self::Create { name, from } => {
                let on = transaction.branch().to_owned();
                let all = transaction.branches()?;
                let is_branch = |name: &str| all.iter().any(|branch| branch.name == name);
                let from = match from.as_deref() {
                    None => From::Branch(&on),
                    Some(from) if is_branch(from) => From::Branch(from),
                    Some(from) => match from.parse() {
                        Ok(version) => From::Version(version),
                        Err(_) => From::Branch(from),
                    },
                };
                transaction.create_branch(name, from)?;
                format!("made the branch `{name}`")
            }
            Self::Drop { name } => {
                transaction.drop_branch(name)?;
                format!("dropped the branch `{name}`")
            }
            Self::Switch { name } => {
                transaction.switch_branch(name)?;
                format!("sessions begin on the branch `{name}`")
            }
        };
        transaction.commit()?;
        context.ui.note(&done);
        Ok(())
    }
}

fn branches(context: &Context, store: &Store) -> Result<()> {
    let object = |branch: BranchInfo| {
        json!({
            "name": branch.name,
            "version": branch.version,
            "parent": branch.parent,
            "from": branch.from,
            "current": branch.is_current,
        })
    };
    let objects: Vec<Value> = store.branches()?.into_iter().map(object).collect();
    context.ui.objects(&["name", "version", "parent", "from", "current"], &objects)
}

fn facts(info: Info, warnings: Vec<String>) -> Vec<(&'static str, Value)> {
    vec![
        ("path", info.path.map(|path| path.display().to_string()).into()),
        ("id", info.id.into()),
        ("format", info.format.into()),
        ("version", info.version.into()),
        ("newest", info.newest.into()),
        ("branches", info.branches.into()),
        ("tables", info.tables.into()),
        ("rows", info.rows.into()),
        ("entries", info.entries.into()),
        ("segments", info.segments.into()),
        ("segment_bytes", info.segment_bytes.into()),
        ("wal_bytes", info.wal_bytes.into()),
        ("manifest", info.manifest.into()),
        ("readers", info.readers.into()),
        ("warnings", warnings.into()),
    ]
}
