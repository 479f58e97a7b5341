//! `kodiak ext`: installing, removing and looking after extensions. Here is what the subcommands share: whose set they
//! work on, and what an error means when nothing is gated.

mod change;
mod install;
mod look;
mod uninstall;

use super::context::Context;
use super::exit::{self, Exit};
use super::project::Project;
use crate::database::Database;
use crate::error::{Error, Result, codes};
use crate::extensions::Home;
use crate::extensions::manage::{DefaultKeeper, Keeper, Manager, Progress};
use std::path::PathBuf;

const LOCK_FILE: &str = "kodiak.lock";

/// The subcommands of `kodiak ext`.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Install extensions by name, from a crate's folder or from a built library
    Install(install::Args),
    /// Uninstall extensions, and what needs them if told so
    Uninstall(uninstall::Args),
    /// List what is installed
    List(look::ListArgs),
    /// Show everything about one extension
    Info(look::InfoArgs),
    /// Search the indexes
    Search(look::SearchArgs),
    /// Enable extensions that were disabled
    Enable(change::Names),
    /// Disable extensions; their objects become dormant
    Disable(change::Names),
    /// Make what is installed equal to kodiak.lock
    Sync(change::SyncArgs),
    /// Hash every installed file again
    Verify,
    /// Look at everything that extensions need to work
    Doctor,
}

/// Runs a subcommand. What would gate another command is a plain failure of this one.
pub(super) fn run(context: &Context, command: &Command) -> Result<Exit> {
    let done = match command {
        Command::Install(args) => install::run(context, args),
        Command::Uninstall(args) => uninstall::run(context, args),
        Command::List(args) => look::list(context, args),
        Command::Info(args) => look::info(context, args),
        Command::Search(args) => look::search(context, args),
        Command::Enable(names) => change::enable(context, names),
        Command::Disable(names) => change::disable(context, names),
        Command::Sync(args) => change::sync(context, args),
        Command::Verify => look::verify(context),
        Command::Doctor => look::doctor(context),
    };
    done.or_else(|error| {
        context.ui.error(&error);
        Ok(exit::of_registry(&error))
    })
}

/// Whose extensions a command works on.
struct Target {
    home: Home,
    keeper: Box<dyn Keeper>,
    lock: Option<PathBuf>,
}

impl Target {
    /// The database that the command line names, or the user's default set. `looking`: nothing may be created.
    fn find(context: &Context, looking: bool) -> Result<Self> {
        let home = Home::find()?;
        let path = context.database_path()?;
        let keeper: Box<dyn Keeper> = match &path {
            Some(path) if !looking || path.exists() => Box::new(Database::open(path)?),
            _ => Box::new(DefaultKeeper::new(&home)),
        };
        let project = Project::find()?.filter(|project| Some(&project.database) == path.as_ref());
        Ok(Self { home, keeper, lock: project.map(|project| project.folder.join(LOCK_FILE)) })
    }

    fn manager(&self) -> Manager<'_> {
        Manager::new(&self.home, self.keeper.as_ref())
    }

    /// The same for what only makes sense where something is: a missing database is not created.
    fn existing(context: &Context) -> Result<Self> {
        match context.database_path()? {
            Some(path) if !path.exists() => {
                let text = format!("there is no database `{}`", path.display());
                Err(Error::new(codes::NOT_A_DATABASE, text))
            }
            _ => Self::find(context, false),
        }
    }

    /// Writes the project's lock after a change.
    fn changed(&self) -> Result<()> {
        match &self.lock {
            Some(lock) => self.manager().write_lock(lock),
            None => Ok(()),
        }
    }
}

/// Says what happens during long work.
pub(super) struct Notes<'a>(pub(super) &'a Context);

impl Progress for Notes<'_> {
    fn step(&self, text: &str) {
        self.0.ui.note(text);
    }
}
