//! `kodiak ext install`: shows the plan, asks when permissions are asked, and carries it out.

use super::super::context::Context;
use super::super::exit::Exit;
use super::{Notes, Target};
use crate::error::{Error, Result, codes};
use crate::extensions::manage::{InstallPlan, PlannedStep};
use serde_json::{Value, json};

/// Arguments of `install`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// NAME, NAME@REQUIREMENT, a crate's folder, or a built library
    #[arg(required = true, value_name = "NAME|PATH")]
    sources: Vec<String>,
    /// Show what would happen and stop
    #[arg(long)]
    dry_run: bool,
    /// Agree to the permissions that are asked, without a question
    #[arg(long, short)]
    yes: bool,
    /// Accept packages that nobody signed
    #[arg(long)]
    allow_unsigned: bool,
    /// Refuse to change kodiak.lock
    #[arg(long)]
    locked: bool,
}

pub(super) fn run(context: &Context, args: &Args) -> Result<Exit> {
    let target = Target::find(context, args.dry_run)?;
    let manager = target.manager();
    let plan = manager.plan_install(&args.sources)?;
    if args.locked && !plan.steps.is_empty() {
        let names: Vec<&str> = plan.steps.iter().map(|step| step.name.as_str()).collect();
        return Err(Error::new(
            codes::LOCK_MISMATCH,
            format!("this would change what is locked: {}", names.join(", ")),
        )
        .help("kodiak ext sync"));
    }
    if args.dry_run {
        return show(context, &plan, "would install").map(|()| Exit::Done);
    }
    if plan.steps.is_empty() {
        let kept: Vec<String> = plan.kept.iter().map(|(name, version)| format!("{name} {version}")).collect();
        context.ui.note(&format!("already installed: {}", kept.join(", ")));
        return show(context, &plan, "").map(|()| Exit::Done);
    }
    consent(context, &plan, args.yes)?;
    manager.install(&plan, &Notes(context))?;
    target.changed()?;
    if context.ui.is_structured() {
        show(context, &plan, "installed")?;
    }
    Ok(Exit::Done)
}

/// On a terminal a person agrees to what is asked; without one, permissions need `--yes`.
fn consent(context: &Context, plan: &InstallPlan, yes: bool) -> Result<()> {
    if yes || !plan.needs_consent() {
        return Ok(());
    }
    for step in &plan.steps {
        context.ui.note(&format!("{} {}: {}", step.name, step.version, step.summary));
        if !step.new_permissions.is_empty() {
            context.ui.note(&format!("  asks to {}", step.new_permissions.join("; ")));
        }
    }
    if context.ui.can_ask() {
        return match context.ui.ask("install? [y/N] ")?.trim() {
            "y" | "Y" | "yes" => Ok(()),
            _ => Err(Error::new(codes::CANCELLED, "nothing was installed")),
        };
    }
    let names: Vec<String> =
        plan.steps.iter().filter(|s| !s.new_permissions.is_empty()).map(|step| format!("`{}`", step.name)).collect();
    let verb = if names.len() == 1 { "asks" } else { "ask" };
    let text = format!("{} {verb} for permissions, and there is no terminal to agree on", names.join(", "));
    Err(Error::new(codes::NO_TERMINAL, text).help("add --yes to agree"))
}

fn show(context: &Context, plan: &InstallPlan, verb: &str) -> Result<()> {
    if context.ui.is_structured() {
        let objects: Vec<Value> = plan.steps.iter().map(object).collect();
        return context
            .ui
            .objects(&["name", "version", "from", "source", "reasons", "claims", "permissions"], &objects);
    }
    for step in &plan.steps {
        let from = step.from.as_ref().filter(|from| **from != step.version);
        let from = from.map(|from| format!(" (from {from})")).unwrap_or_default();
        context.ui.say(&format!("{verb} {} {}{from}: {}", step.name, step.version, step.reasons.join(", ")));
        context.ui.say(&format!("  source       {}", step.origin));
        if !step.claims.is_empty() {
            context.ui.say(&format!("  brings       {}", step.claims.join(", ")));
        }
        if !step.permissions.is_empty() {
            context.ui.say(&format!("  asks to      {}", step.permissions.join("; ")));
        }
    }
    Ok(())
}

fn object(step: &PlannedStep) -> Value {
    json!({
        "name": step.name,
        "version": step.version.to_string(),
        "from": step.from.as_ref().map(ToString::to_string),
        "source": step.origin.to_string(),
        "reasons": step.reasons,
        "claims": step.claims,
        "permissions": step.permissions,
    })
}
