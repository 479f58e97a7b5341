//! `kodiak sql`: runs statements from the command line, files and standard input, and stops at the first that fails. It
//! refuses to know SQL: the connection does.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Instant;

use clap::ArgMatches;

use super::context::Context;
use super::exit::Exit;
use super::interrupt::Interrupt;
use super::protocol;
use super::repl::UiScreen;
use super::statements::Statements;
use crate::database::{Connection, Database, Outcome};
use crate::error::{Error, Result, codes};
use crate::repl::{Next, Repl, is_command};

const EXAMPLES: &str = "\
Examples:
  kodiak sql -c 'SELECT 1; SELECT 2'
  kodiak sql -f schema.sql -c 'SELECT count(*) FROM orders' --format csv
  echo 'SELECT 42;' | kodiak sql
  kodiak sql --protocol jsonl        {\"sql\": \"SELECT 42\"} on stdin, one answer a line on stdout";

/// Arguments of `kodiak sql`.
#[derive(Debug, Default, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Statements to run; can be repeated, and mixed with -f
    #[arg(short, long, value_name = "SQL")]
    pub command: Vec<String>,
    /// A file of statements to run, `-` for stdin; can be repeated
    #[arg(short, long, value_name = "FILE")]
    pub file: Vec<PathBuf>,
    /// The branch that statements see and change
    #[arg(long, value_name = "NAME")]
    pub branch: Option<String>,
    /// After each statement, print one JSON line with its time to stderr
    #[arg(long)]
    pub timing: bool,
    /// Answer requests on stdin until it ends, in `jsonl`: one JSON object a line
    #[arg(long, value_name = "PROTOCOL", hide_possible_values = true, conflicts_with_all = ["command", "file", "timing"])]
    pub protocol: Option<Protocol>,
}

/// How programs talk to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Protocol {
    /// One JSON object a line, in both directions
    Jsonl,
}

/// Runs everything named, in the order of the command line.
///
/// # Errors
/// That of the first statement that fails.
pub(super) fn run(context: &Context, args: Args, matches: Option<&ArgMatches>) -> Result<Exit> {
    let database = context.open()?;
    let connection = database.connect()?;
    if let Some(branch) = &args.branch {
        connection.use_branch(branch)?;
    }
    let interrupt = Interrupt::watch(connection.cancel_handle());
    if args.protocol == Some(Protocol::Jsonl) {
        return protocol::serve(context, &connection, &interrupt, io::stdin().lock());
    }
    let sources = in_order(args.command, args.file, matches);
    let mut session =
        Session { context, database, connection: Rc::new(connection), interrupt, timing: args.timing, statements: 0 };
    if sources.is_empty() {
        session.run_stdin()?;
    }
    for source in sources {
        match source {
            Source::Text(text) => session.run_text(&text, "-c")?,
            Source::File(path) if path == Path::new("-") => session.run_stdin()?,
            Source::File(path) => session.run_text(&read(&path)?, &path.display().to_string())?,
        }
    }
    session.end();
    Ok(Exit::Done)
}

enum Source {
    Text(String),
    File(PathBuf),
}

/// clap keeps the two options apart; their positions tell in which order they were given.
fn in_order(commands: Vec<String>, files: Vec<PathBuf>, matches: Option<&ArgMatches>) -> Vec<Source> {
    let positions = |name| matches.and_then(|matches| matches.indices_of(name)).into_iter().flatten();
    let mut sources: Vec<(usize, Source)> = positions("command")
        .zip(commands.into_iter().map(Source::Text))
        .chain(positions("file").zip(files.into_iter().map(Source::File)))
        .collect();
    sources.sort_by_key(|(position, _)| *position);
    sources.into_iter().map(|(_, source)| source).collect()
}

fn read(path: &Path) -> Result<String> {
    let bytes = fs::read(path).map_err(|error| Error::io("read", path, &error))?;
    String::from_utf8(bytes).map_err(|_| Error::new(codes::SYNTAX, format!("`{}` is not UTF-8 text", path.display())))
}

struct Session<'a> {
    context: &'a Context,
    database: Database,
    connection: Rc<Connection>,
    interrupt: Interrupt,
    timing: bool,
    statements: u64,
}

impl Session<'_> {
    fn run_text(&mut self, text: &str, source: &str) -> Result<()> {
        let connection = Rc::clone(&self.connection);
        let mut script = connection.script(text, source);
        loop {
            let started = Instant::now();
            let Some(rows) = self.interrupt.during(|| script.next().map(|outcome| show(self.context, outcome?))) else {
                return Ok(());
            };
            let rows = rows?;
            self.statements += 1;
            if self.timing {
                let ms = started.elapsed().as_secs_f64() * 1e3;
                let line = format!("{{\"statement\": {}, \"ms\": {ms:.3}, \"rows\": {rows}}}", self.statements);
                self.context.ui.trace(&line);
            }
            if self.context.ui.is_closed() {
                return Ok(());
            }
        }
    }

    /// Says what nobody asked for but everybody must know.
    fn end(self) {
        if self.connection.in_transaction() {
            self.context.ui.warn("a transaction was left open at the end and is rolled back");
        }
    }

    /// Runs each statement as soon as it has been read.
    fn run_stdin(&mut self) -> Result<()> {
        let mut statements = Statements::new(io::stdin().lock(), self.connection.sensitivity());
        let (context, interrupt) = (self.context, self.interrupt.clone());
        let screen = UiScreen { context, interrupt: &interrupt };
        let (database, connection) = (self.database.clone(), Rc::clone(&self.connection));
        let mut repl = Repl::new(&database, &connection, &screen);
        while let Some(statement) = statements.next()? {
            if is_command(&statement.text) {
                if repl.command(&statement.text)? == Next::Quit {
                    break;
                }
                continue;
            }
            repl.remember(&statement.text);
            self.run_text(&statement.text, "stdin").map_err(|error| {
                let place = error.place().cloned().map(|place| statement.relocate(place));
                error.replace_place(place)
            })?;
            if self.context.ui.is_closed() {
                break;
            }
        }
        Ok(())
    }
}

/// Shows what a statement gave; returns how many rows it returned or changed.
pub(super) fn show(context: &Context, outcome: Outcome) -> Result<u64> {
    if let Some(rows) = outcome.rows {
        return context.ui.rows(&rows.schema(), rows);
    }
    let affected = outcome.affected;
    context.ui.done(&match affected {
        Some(1) => format!("{}: 1 row", outcome.tag),
        Some(rows) => format!("{}: {rows} rows", outcome.tag),
        None => outcome.tag,
    });
    Ok(affected.unwrap_or(0))
}
