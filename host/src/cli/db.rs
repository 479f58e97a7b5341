//! `kodiak db`: what a database is made of, whether it is sound, and tidying up. It refuses to create one: looking at
//! something must not bring it into being.

use std::path::Path;

use serde_json::{Value, json};

use super::context::Context;
use super::exit::Exit;
use crate::error::{Error, Result, codes};
use crate::storage::{Info, Options, Store};

/// What to do with a database.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Print what it is made of
    Info,
    /// Verify every file of it; findings exit 1
    Check,
    /// Write the log's changes into segments and shorten the log
    Checkpoint,
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
    let store = Store::open(&path, &Options { create: false, ..Options::default() })?;
    for warning in store.warnings() {
        context.ui.warn(&warning);
    }
    match command {
        Command::Info => context.ui.facts(&facts(store.info()?))?,
        Command::Checkpoint => {
            store.checkpoint()?;
            context.ui.note(&format!("checkpointed `{}` at version {}", path.display(), store.version()));
        }
        Command::Check => return check(context, &store, &path),
    }
    Ok(Exit::Done)
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

fn facts(info: Info) -> Vec<(&'static str, Value)> {
    vec![
        ("path", info.path.map(|path| path.display().to_string()).into()),
        ("id", info.id.into()),
        ("format", info.format.into()),
        ("version", info.version.into()),
        ("tables", info.tables.into()),
        ("rows", info.rows.into()),
        ("entries", info.entries.into()),
        ("segments", info.segments.into()),
        ("segment_bytes", info.segment_bytes.into()),
        ("wal_bytes", info.wal_bytes.into()),
        ("manifest", info.manifest.into()),
    ]
}
