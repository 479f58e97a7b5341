//! `kodiak ext uninstall`: nothing goes that was not named.

use super::super::context::Context;
use super::super::exit::Exit;
use super::Target;
use crate::error::Result;
use crate::extensions::manage::{Fate, UninstallPlan};
use serde_json::{Value, json};

/// Arguments of `uninstall`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Extensions to uninstall
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// Uninstall what needs them too, and drop their objects
    #[arg(long)]
    cascade: bool,
    /// Keep their tables, as plain tables
    #[arg(long, conflicts_with = "purge")]
    keep_data: bool,
    /// Drop their objects
    #[arg(long)]
    purge: bool,
    /// Show what would go and stop
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn run(context: &Context, args: &Args) -> Result<Exit> {
    let target = Target::existing(context)?;
    let manager = target.manager();
    let fate = match (args.keep_data, args.purge) {
        (true, _) => Some(Fate::Kept),
        (_, true) => Some(Fate::Dropped),
        _ => args.cascade.then_some(Fate::Dropped),
    };
    let plan = manager.plan_uninstall(&args.names, args.cascade, fate)?;
    if args.dry_run {
        return show(context, &plan, "would uninstall", fate).map(|()| Exit::Done);
    }
    manager.uninstall(&plan, fate)?;
    target.changed()?;
    if context.ui.is_structured() {
        show(context, &plan, "uninstalled", fate)?;
    } else {
        for extension in &plan.extensions {
            context.ui.note(&format!("uninstalled {} {}", extension.name, extension.version));
        }
    }
    Ok(Exit::Done)
}

fn show(context: &Context, plan: &UninstallPlan, verb: &str, fate: Option<Fate>) -> Result<()> {
    if context.ui.is_structured() {
        let extensions =
            plan.extensions.iter().map(|one| json!({"kind": "extension", "name": one.name, "extension": one.name}));
        let objects = plan
            .objects
            .iter()
            .map(|(extension, kind, name)| json!({"kind": kind, "name": name, "extension": extension}));
        return context.ui.objects(&["kind", "name", "extension"], &extensions.chain(objects).collect::<Vec<Value>>());
    }
    for extension in &plan.extensions {
        context.ui.say(&format!("{verb} {} {}", extension.name, extension.version));
        let owned = plan.objects.iter().filter(|(owner, _, _)| *owner == extension.name);
        for (_, kind, name) in owned {
            let what = if fate == Some(Fate::Kept) { "keep" } else { "drop" };
            context.ui.say(&format!("  {what} {kind} `{name}`"));
        }
    }
    Ok(())
}
