//! Commands that no file here implements: those of extensions. It refuses to guess what a mistyped word was meant to do.

use std::ffi::OsString;

use clap::CommandFactory;

use super::args::Args;
use super::context::Context;
use super::exit::Exit;
use crate::error::{Error, Result, codes};

/// Names closer than this, on the scale of Jaro and Winkler, are taken for a slip of the finger.
const SIMILARITY_MIN: f64 = 0.75;

/// Runs the command `name` of an extension on `args`, which no longer hold global options.
///
/// # Errors
/// [`codes::UNKNOWN_COMMAND`], with the nearest command.
pub(super) fn run(_: &Context, name: &str, _: &[OsString]) -> Result<Exit> {
    let commands = Args::command();
    Err(unknown(name, commands.get_subcommands().map(clap::Command::get_name)))
}

/// The error for a command that nothing provides, with the nearest of `known` suggested.
pub(super) fn unknown<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Error {
    let error = Error::new(codes::UNKNOWN_COMMAND, format!("there is no command `{name}`"));
    match nearest(name, known) {
        Some(nearest) => error.help(format!("kodiak {nearest}")),
        None => error.help("kodiak --help"),
    }
}

fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(similarity, _)| *similarity >= SIMILARITY_MIN)
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .map(|(_, candidate)| candidate)
}
