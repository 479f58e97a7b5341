//! Commands of extensions: who provides `kodiak NAME` is asked before anything is opened for it, then its plugin runs
//! the command and what comes back is rendered like every other result.

use std::ffi::OsString;
use std::sync::Arc;

use clap::CommandFactory;

use super::args::Args;
use super::context::Context;
use super::exit::Exit;
use super::terminal::CommandTerminal;
use crate::database::Database;
use crate::error::{Error, Result, codes};
use crate::extensions::manage::{DefaultKeeper, Manager};
use crate::extensions::{Extensions, Grant, Home, View};

/// Names closer than this, on the scale of Jaro and Winkler, are taken for a slip of the finger.
const SIMILARITY_MIN: f64 = 0.75;

/// Runs the command `name` of an extension on `args`, which no longer hold global options.
///
/// # Errors
/// Why the extension cannot be used, [`codes::UNKNOWN_COMMAND`] with the nearest command, and the command's own.
pub(super) fn run(context: &Context, name: &str, args: &[OsString]) -> Result<Exit> {
    let arguments = args.iter().map(|argument| argument.to_string_lossy().into_owned()).collect::<Vec<_>>();
    // A database that does not exist yet is only made for a command that exists.
    let existing = context.database_path()?.filter(|path| path.exists());
    let opened = existing.map(|_| context.open()).transpose()?;
    let grant = match &opened {
        Some(database) => granted(&*database.extensions()?, &*database.extension_view()?, name)?,
        None => {
            let home = Home::find()?;
            let view = View::new(Manager::new(&home, &DefaultKeeper::new(&home)).set()?, &home)?;
            granted(&Extensions::new(home), &view, name)?
        }
    };
    let database = opened.map_or_else(|| context.open(), Ok)?;
    call(context, &database, &grant, &arguments)
}

fn granted(extensions: &Extensions, view: &View, name: &str) -> Result<Grant> {
    extensions.command(view, name).map_err(|error| {
        if !error.is(codes::UNKNOWN_COMMAND) || view.contains(name) {
            return error;
        }
        let own = Args::command();
        let own = own.get_subcommands().map(|command| command.get_name().to_owned());
        let known: Vec<String> = own.chain(extensions.commands(view).into_iter().map(|(name, _)| name)).collect();
        unknown(name, known.iter().map(String::as_str))
    })
}

fn call(context: &Context, database: &Database, grant: &Grant, arguments: &[String]) -> Result<Exit> {
    let terminal = Arc::new(CommandTerminal::new(context.ui.is_quiet()));
    let caller = database.command_caller(grant.name(), terminal.clone());
    let instance = database.extensions()?.instance(grant, &caller)?;
    let outcome = instance.command(&caller, arguments);
    terminal.finish();
    let outcome = outcome?;
    context.ui.data(outcome.text.as_bytes());
    if !outcome.errors.is_empty() {
        context.ui.trace(outcome.errors.trim_end());
    }
    if let Some(reader) = outcome.rows {
        let schema = reader.schema();
        context.ui.rows(&schema, reader.map(|batch| batch.map_err(crate::database::from_arrow)))?;
    }
    Ok(match outcome.exit_code {
        0 => Exit::Done,
        2 => Exit::Usage,
        _ => Exit::Failed,
    })
}

/// The error for a command that nothing provides, with the nearest of `known` suggested.
fn unknown<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Error {
    let error = Error::new(codes::UNKNOWN_COMMAND, format!("there is no command `{name}`"));
    match nearest(name, known) {
        Some(nearest) => error.help(format!("kodiak {nearest}")),
        None => error.help(format!("kodiak --help, or look for an extension: kodiak ext search {name}")),
    }
}

fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(similarity, _)| *similarity >= SIMILARITY_MIN)
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .map(|(_, candidate)| candidate)
}

/// Lines about the commands of extensions, for `kodiak --help`; nothing when they cannot be read, since help must work.
pub(super) fn help() -> String {
    let Ok(home) = Home::find() else { return String::new() };
    let Ok(set) = Manager::new(&home, &DefaultKeeper::new(&home)).set() else { return String::new() };
    let Ok(view) = View::new(set, &home) else { return String::new() };
    let commands = Extensions::new(home).commands(&view);
    if commands.is_empty() {
        return String::new();
    }
    let width = commands.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let lines: Vec<String> = commands.iter().map(|(name, about)| format!("  {name:<width$}  {about}\n")).collect();
    format!("\nCommands of extensions:\n{}", lines.concat())
}
