//! The command line: parses it, runs one command, and folds what comes out into an exit code. Nothing heavy happens before
//! the command is known: no database, no query engine, no threads.

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches};

use self::args::{Args, Command, Global};
use self::context::Context;
use self::exit::Exit;
use self::ui::Ui;
use crate::error::{Error, Result, codes};
use crate::telemetry;

mod args;
mod completions;
mod context;
mod db;
mod exit;
mod ext;
mod extension;
mod format;
mod init;
mod interrupt;
mod progress;
mod project;
mod protocol;
mod quickstart;
mod repl;
mod report;
mod sql;
mod statements;
mod terminal;
mod ui;
mod version;

/// Runs the program on the arguments of the process.
pub fn main() -> ExitCode {
    telemetry::start();
    // Until the arguments are understood, nobody has asked for anything but the defaults.
    let plain = Ui::new(None, false);
    let result = exit::guard(|| run(&plain));
    let exit = result.unwrap_or_else(|error| {
        plain.error(&error);
        exit::of(&error)
    });
    ExitCode::from(exit as u8)
}

fn run(plain: &Ui) -> Result<Exit> {
    let matches = match Args::command().try_get_matches() {
        Ok(matches) => matches,
        Err(error) if error.use_stderr() => return Err(args::usage_error(&error)),
        Err(help) => {
            // Help is data: it was asked for.
            let text = help.render();
            plain.data(if plain.colours_stdout() { text.ansi().to_string() } else { text.to_string() }.as_bytes());
            if help.kind() == ErrorKind::DisplayHelp && std::env::args().skip(1).all(|word| word.starts_with('-')) {
                plain.data(extension::help().as_bytes());
            }
            return plain.finish().map(|()| Exit::Done);
        }
    };
    let Args { mut global, command } = Args::from_arg_matches(&matches).map_err(|error| args::usage_error(&error))?;
    let command = match command {
        Some(Command::Extension(mut words)) => {
            let name = words.remove(0);
            let rest = global.take_from(words)?;
            return finish(global, |context| extension::run(context, &name.to_string_lossy(), &rest));
        }
        Some(command) => command,
        None if plain.stdin_is_terminal() => return finish(global, repl::run),
        None => Command::Sql(sql::Args::default()),
    };
    let details = matches.subcommand().map(|(_, details)| details);
    finish(global, |context| match command {
        Command::Sql(args) => sql::run(context, args, details),
        Command::Db(command) => db::run(context, &command),
        Command::Ext(command) => ext::run(context, &command),
        Command::Init(args) => init::run(context, &args),
        Command::Quickstart(args) => quickstart::run(context, &args),
        Command::Completions(args) => completions::run(context, &args),
        Command::Version(args) => version::run(context, &args),
        Command::Extension(_) => Err(Error::new(codes::INTERNAL, "an extension's command came to the wrong door")),
    })
}

/// Runs a command in its context, and reports output that was lost.
fn finish(global: Global, command: impl FnOnce(&Context) -> Result<Exit>) -> Result<Exit> {
    let context = Context::new(global);
    let exit = command(&context)?;
    context.ui.finish()?;
    Ok(exit)
}
