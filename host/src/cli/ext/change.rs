//! `kodiak ext enable`, `disable` and `sync`: they change the set, never the store's good copies.

use super::super::context::Context;
use super::super::exit::Exit;
use super::super::project::Project;
use super::{LOCK_FILE, Notes, Target};
use crate::error::Result;
use serde_json::json;
use std::path::PathBuf;

/// Extensions by name.
#[derive(Debug, clap::Args)]
pub struct Names {
    /// Extensions
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

/// Arguments of `sync`.
#[derive(Debug, clap::Args)]
pub struct SyncArgs {
    /// Show what would happen and stop
    #[arg(long)]
    dry_run: bool,
    /// Fail instead of changing anything
    #[arg(long)]
    locked: bool,
    /// The lock file; kodiak.lock of the project when not given
    #[arg(value_name = "FILE")]
    lock: Option<PathBuf>,
}

pub(super) fn enable(context: &Context, names: &Names) -> Result<Exit> {
    let target = Target::existing(context)?;
    for name in &names.names {
        let changed = target.manager().enable(name)?;
        context.ui.note(&if changed { format!("enabled {name}") } else { format!("{name} is enabled already") });
    }
    target.changed()?;
    Ok(Exit::Done)
}

pub(super) fn disable(context: &Context, names: &Names) -> Result<Exit> {
    let target = Target::existing(context)?;
    for name in &names.names {
        let changed = target.manager().disable(name)?;
        context.ui.note(&if changed { format!("disabled {name}") } else { format!("{name} is disabled already") });
    }
    target.changed()?;
    Ok(Exit::Done)
}

pub(super) fn sync(context: &Context, args: &SyncArgs) -> Result<Exit> {
    let looking = args.dry_run || args.locked;
    let target = Target::find(context, looking)?;
    let project = Project::find()?.map(|project| project.folder.join(LOCK_FILE));
    let lock = args.lock.clone().or(project).unwrap_or_else(|| PathBuf::from(LOCK_FILE));
    let synced = target.manager().sync(&lock, looking, &Notes(context))?;
    let changes = [("fetch", &synced.fetched), ("enable", &synced.enabled), ("remove", &synced.removed)];
    let objects: Vec<_> = changes
        .iter()
        .flat_map(|(change, names)| names.iter().map(move |name| json!({"change": change, "name": name})))
        .collect();
    if objects.is_empty() && !context.ui.is_structured() {
        context.ui.note(&format!("everything is as `{}` says", lock.display()));
    } else {
        context.ui.objects(&["change", "name"], &objects)?;
    }
    Ok(if args.locked && !objects.is_empty() { Exit::Failed } else { Exit::Done })
}
