//! `kodiak quickstart`: a walk through Kodiak on generated data, in steps that do what they say. It refuses to pretend: a
//! step that fails ends the walk, and a second walk finds what the first one made and verifies it.

use std::path::{Path, PathBuf};
use std::time::Instant;

use super::context::Context;
use super::exit::Exit;
use super::init;
use super::interrupt::Interrupt;
use super::project::Project;
use crate::database::{Connection, Database};
use crate::error::{Error, Result, codes};

mod extensions;
mod load;
mod queries;
mod secrets;
mod tpch;

const SCALE_MIN: f64 = 0.01;
const SCALE_MAX: f64 = 1000.0;

const EXAMPLES: &str = "\
Examples:
  kodiak quickstart
  kodiak quickstart tour --scale-factor 1      six million lines of orders";

/// Arguments of `kodiak quickstart`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The project's folder; created if it is missing
    #[arg(default_value = "kodiak-quickstart")]
    pub dir: PathBuf,
    /// How much TPC-H data to generate: 1 is about 1 GB
    #[arg(long, default_value_t = 0.1, value_name = "N", value_parser = scale_factor)]
    pub scale_factor: f64,
}

fn scale_factor(text: &str) -> Result<f64, String> {
    let scale: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if !(SCALE_MIN..=SCALE_MAX).contains(&scale) {
        return Err(format!("not between {SCALE_MIN} and {SCALE_MAX}"));
    }
    if tpch::suppliers_repeat(scale) {
        return Err("at this scale, TPC-H gives a part the same supplier twice; 0.01 and 0.1 are sound".to_owned());
    }
    Ok(scale)
}

/// One part of the walk.
pub(super) struct Step {
    /// What it shows, for the heading.
    pub title: &'static str,
    /// Does it.
    pub run: fn(&mut Tour<'_>) -> Result<()>,
}

/// The walk, in order.
const STEPS: &[Step] = &[
    Step { title: "TPC-H data in durable tables", run: load::run },
    Step { title: "Queries", run: queries::run },
    Step { title: "Extensions", run: extensions::run },
];

/// What the steps share.
pub(super) struct Tour<'a> {
    /// The command's surroundings.
    pub context: &'a Context,
    /// The project that the walk made or found.
    pub project: Project,
    /// Its folder as the user named it, for commands to try.
    pub dir: &'a Path,
    /// Its database.
    pub database: Database,
    /// One session for all steps.
    pub connection: Connection,
    /// For statements that take long.
    pub interrupt: Interrupt,
    /// How much data is wanted.
    pub scale_factor: f64,
    /// Commands to try afterwards; every step may add some.
    pub next: Vec<String>,
}

impl Tour<'_> {
    /// Tells the user something: on stdout, unless a program reads the results there.
    pub fn say(&self, line: &str) {
        match self.context.ui.is_structured() {
            true => self.context.ui.note(line),
            false => self.context.ui.say(line),
        }
    }

    /// Shows a statement and runs it.
    pub fn run(&self, sql: &str) -> Result<()> {
        self.say(&format!("    {sql}"));
        self.interrupt.during(|| self.connection.execute(sql, &[])).map(drop)
    }

    /// Shows a statement, runs it, shows its result and how long it took.
    pub fn show(&self, sql: &str) -> Result<()> {
        for line in sql.trim().lines() {
            self.say(&format!("    {line}"));
        }
        let started = Instant::now();
        let rows = self.interrupt.during(|| {
            let rows = self.connection.query(sql, &[])?;
            self.context.ui.rows(&rows.schema(), rows)
        })?;
        let plural = if rows == 1 { "" } else { "s" };
        self.say(&format!("  {rows} row{plural} in {:.0} ms\n", started.elapsed().as_secs_f64() * 1e3));
        Ok(())
    }
}

/// Walks.
///
/// # Errors
/// That of the first step that fails.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit> {
    let (project, found) = match Project::at(&args.dir)? {
        Some(project) => (project, true),
        None => (init::create(&args.dir)?, false),
    };
    let database = Database::open(&project.database)?;
    let connection = database.connect()?;
    let interrupt = Interrupt::watch(connection.cancel_handle());
    let shown = args.dir.join(project.database.file_name().unwrap_or_default());
    let mut tour = Tour {
        context,
        project,
        database: database.clone(),
        dir: &args.dir,
        connection,
        interrupt,
        scale_factor: args.scale_factor,
        next: Vec::new(),
    };
    let verb = if found { "found" } else { "made" };
    tour.say(&format!("{verb} the project `{}` with the database `{}`\n", args.dir.display(), shown.display()));
    for warning in database.store().warnings() {
        context.ui.warn(&warning);
    }
    for (index, step) in STEPS.iter().enumerate() {
        tour.say(&format!("[{}/{}] {}", index + 1, STEPS.len(), step.title));
        (step.run)(&mut tour)?;
        if context.ui.is_closed() {
            return Ok(Exit::Done);
        }
    }
    tour.say("What to try next:");
    tour.say(&format!("  cd {}", tour.dir.display()));
    tour.next.iter().for_each(|command| tour.say(&format!("  {command}")));
    Ok(Exit::Done)
}

/// An error of a step that found something else than it should have.
fn unexpected(message: String) -> Error {
    Error::new(codes::EXECUTION, message).help("kodiak quickstart ANOTHER-FOLDER")
}
