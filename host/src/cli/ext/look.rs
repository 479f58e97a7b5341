//! `kodiak ext list`, `info`, `search`, `verify` and `doctor`: they look and change nothing.

use super::super::context::Context;
use super::super::exit::Exit;
use super::Target;
use crate::error::Result;
use crate::extensions::manage::Listed;
use serde_json::{Value, json};

/// Arguments of `list`.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// List what the indexes have instead
    #[arg(long)]
    available: bool,
}

/// Arguments of `info`.
#[derive(Debug, clap::Args)]
pub struct InfoArgs {
    /// The extension
    name: String,
}

/// Arguments of `search`.
#[derive(Debug, clap::Args)]
pub struct SearchArgs {
    /// A word of a name, a summary, a function or a statement
    word: String,
}

pub(super) fn list(context: &Context, args: &ListArgs) -> Result<Exit> {
    let target = Target::find(context, true)?;
    let manager = target.manager();
    let listed = if args.available { manager.available()? } else { manager.list()? };
    if listed.is_empty() && !context.ui.is_structured() {
        context.ui.note("no extension is installed; see `kodiak ext list --available`");
        return Ok(Exit::Done);
    }
    show(context, &listed)
}

pub(super) fn search(context: &Context, args: &SearchArgs) -> Result<Exit> {
    let target = Target::find(context, true)?;
    let found = target.manager().search(&args.word)?;
    if found.is_empty() && !context.ui.is_structured() {
        context.ui.note(&format!("no index has an extension for `{}`", args.word));
        return Ok(Exit::Done);
    }
    show(context, &found)
}

fn show(context: &Context, listed: &[Listed]) -> Result<Exit> {
    let objects: Vec<Value> = listed.iter().map(object).collect();
    let columns = if context.ui.is_structured() {
        &["name", "version", "state", "source", "sha256", "requires", "summary"][..]
    } else {
        &["name", "version", "state", "requires", "summary"][..]
    };
    context.ui.objects(columns, &objects)?;
    Ok(Exit::Done)
}

fn object(listed: &Listed) -> Value {
    json!({
        "name": listed.name,
        "version": listed.version.as_ref().map(ToString::to_string),
        "state": listed.state,
        "source": listed.source,
        "sha256": listed.sha256,
        "requires": listed.requires,
        "summary": listed.summary,
    })
}

pub(super) fn info(context: &Context, args: &InfoArgs) -> Result<Exit> {
    let target = Target::find(context, true)?;
    let details = target.manager().details(&args.name)?;
    let listed = object(&details.listed);
    let mut facts: Vec<(&str, Value)> = ["name", "version", "state", "summary", "source", "sha256", "requires"]
        .into_iter()
        .map(|name| (name, listed[name].clone()))
        .collect();
    if let Some(manifest) = &details.manifest {
        let claims: Vec<String> = manifest.claims().map(|(kind, claim)| format!("{kind} `{claim}`")).collect();
        facts.push(("api", json!(manifest.extension.api.to_string())));
        facts.push(("brings", json!(claims)));
        facts.push(("permissions", json!(manifest.permissions.describe())));
        facts.push(("license", json!(manifest.extension.license)));
    }
    let objects: Vec<String> = details.objects.iter().map(|(kind, name)| format!("{kind} `{name}`")).collect();
    facts.push(("objects", json!(objects)));
    facts.push(("problem", json!(details.problem.as_ref().map(|error| format!("{}: {error}", error.code())))));
    context.ui.facts(&facts)?;
    Ok(Exit::Done)
}

pub(super) fn verify(context: &Context) -> Result<Exit> {
    let target = Target::find(context, true)?;
    let found = target.manager().verify()?;
    let objects: Vec<Value> =
        found.iter().map(|one| json!({"name": one.name, "state": one.state, "sha256": one.sha256})).collect();
    context.ui.objects(&["name", "state", "sha256"], &objects)?;
    for one in found.iter().filter(|one| one.state != "ok") {
        context.ui.error(
            &crate::Error::new(
                crate::error::codes::MODIFIED,
                format!("the installed files of `{}` are {}", one.name, one.state),
            )
            .help(format!("kodiak ext install {}", one.name)),
        );
    }
    Ok(if found.iter().all(|one| one.state == "ok") { Exit::Done } else { Exit::Failed })
}

pub(super) fn doctor(context: &Context) -> Result<Exit> {
    let target = Target::find(context, true)?;
    let health = target.manager().doctor();
    let objects: Vec<Value> = health
        .iter()
        .map(|one| {
            let state = if one.ok { "ok" } else { "problem" };
            json!({"subject": one.subject, "state": state, "finding": one.finding, "help": one.help})
        })
        .collect();
    context.ui.objects(&["subject", "state", "finding", "help"], &objects)?;
    Ok(if health.iter().all(|one| one.ok) { Exit::Done } else { Exit::Failed })
}
