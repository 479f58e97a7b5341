//! The shape of the command line, as clap sees it. It refuses to do any work: `--help` must not cost more than its text.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::styling::{AnsiColor, Styles};
use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

use super::format::Format;
use super::{completions, db, ext, init, quickstart, sql, version};
use crate::error::{Error, codes};

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Yellow.on_default().bold())
    .usage(AnsiColor::Yellow.on_default().bold())
    .literal(AnsiColor::Green.on_default());

const EXAMPLES: &str = "\
Examples:
  kodiak quickstart                          a tour on generated data
  kodiak sql -c 'SELECT 40 + 2 AS answer'    one statement, in memory
  kodiak --db sales.kdb sql -f load.sql      a script, in a database
  kodiak --format csv < report.sql           statements from stdin
  kodiak init shop                           a project: below its folder, its database is meant

The database is the one of --db, else of the variable KODIAK_DB, else of the `kodiak.toml` in this
folder or above, else it is in memory.
Exit codes: 0 done, 1 failed, 2 usage, 3 a needed extension is missing or not usable.";

/// What stands on the command line.
#[derive(Debug, Parser)]
#[command(
    name = "kodiak", bin_name = "kodiak", version, about = "An embedded analytical database with extensions", styles = STYLES,
    after_help = EXAMPLES, disable_help_subcommand = true, max_term_width = 110
)]
pub struct Args {
    /// What holds for every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What holds for every command, before or after its name.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Global {
    /// The database, a folder `*.kdb`; created if it is missing
    #[arg(long, global = true, value_name = "PATH", help_heading = "Global options")]
    pub db: Option<PathBuf>,
    /// How results look: table, csv, tsv, json, jsonl, markdown or arrow
    #[arg(long, global = true, value_name = "FORMAT", help_heading = "Global options", hide_possible_values = true)]
    pub format: Option<Format>,
    /// Say nothing but results, warnings and errors
    #[arg(long, short, global = true, help_heading = "Global options")]
    pub quiet: bool,
}

/// The commands of the host.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run SQL statements
    Sql(sql::Args),
    /// Look after a database
    #[command(subcommand)]
    Db(db::Command),
    /// Install and look after extensions
    #[command(subcommand)]
    Ext(ext::Command),
    /// Make a project: a folder with `kodiak.toml` and a database
    Init(init::Args),
    /// Walk through Kodiak on generated data
    Quickstart(quickstart::Args),
    /// Print a completion script for a shell
    Completions(completions::Args),
    /// Print the version
    Version(version::Args),
    /// A command of an extension
    #[command(external_subcommand)]
    Extension(Vec<OsString>),
}

impl Global {
    /// Takes global options out of the arguments of an extension's command, up to a `--`.
    ///
    /// # Errors
    /// If an option lacks its value or has one that is not known.
    pub fn take_from(&mut self, args: Vec<OsString>) -> Result<Vec<OsString>, Error> {
        let mut rest = Vec::with_capacity(args.len());
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            let text = arg.to_str().unwrap_or_default();
            let (name, value) = match text.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(OsString::from(value))),
                None => (text.to_owned(), None),
            };
            match name.as_str() {
                "--" => {
                    rest.push(arg);
                    rest.extend(args.by_ref());
                }
                "--quiet" | "-q" if value.is_none() => self.quiet = true,
                "--db" | "--format" => {
                    let value = value.or_else(|| args.next()).filter(|value| !value.is_empty());
                    let value = value.ok_or_else(|| {
                        Error::new(codes::USAGE, format!("a value is required for `{name}`")).help("kodiak --help")
                    })?;
                    if name == "--db" {
                        self.db = Some(value.into());
                    } else {
                        self.format = Some(format_of(&value)?);
                    }
                }
                _ => rest.push(arg),
            }
        }
        Ok(rest)
    }
}

fn format_of(value: &std::ffi::OsStr) -> Result<Format, Error> {
    let text = value.to_string_lossy();
    <Format as clap::ValueEnum>::from_str(&text, false).map_err(|_| {
        Error::new(codes::USAGE, format!("invalid value `{text}` for `--format <FORMAT>`"))
            .detail("[possible values: table, csv, tsv, json, jsonl, markdown, arrow]")
            .help("kodiak --help")
    })
}

/// What clap says against a command line, in our shape.
pub(super) fn usage_error(error: &clap::Error) -> Error {
    let text = error.to_string();
    let usage = text.lines().find_map(|line| line.trim().strip_prefix("Usage: "));
    // `kodiak db [OPTIONS] <COMMAND>`: the words before the first placeholder are the command.
    let command: Vec<&str> =
        usage.unwrap_or("kodiak").split(' ').take_while(|word| !word.starts_with(['[', '<', '-'])).collect();
    let command = command.join(" ");
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let names = text.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
        return names
            .fold(Error::new(codes::USAGE, format!("`{command}` needs a command")), |error, line| {
                error.detail(line.trim())
            })
            .help(format!("{command} --help"));
    }
    let mut paragraphs = text.split("\n\n");
    let mut lines = paragraphs.next().unwrap_or_default().lines();
    let message = lines.next().unwrap_or_default().trim_start_matches("error: ").replace('\'', "`");
    let facts = lines.map(|line| line.trim().to_owned()).chain(usage.map(|usage| format!("usage: {usage}")));
    let tip = paragraphs.find_map(|paragraph| paragraph.trim().strip_prefix("tip: "));
    let help = tip.map_or_else(|| format!("{command} --help"), |tip| tip.replace('\'', "`"));
    facts.fold(Error::new(codes::USAGE, message), Error::detail).help(help)
}
