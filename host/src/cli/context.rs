//! What every command works in: the ui, the project and the database that the command line names. It refuses to open
//! anything before a command asks for it.

use std::path::PathBuf;

use super::args::Global;
use super::project::Project;
use super::ui::Ui;
use crate::database::Database;
use crate::error::Result;

/// The surroundings of one command.
pub struct Context {
    /// Where output goes.
    pub ui: Ui,
    db: Option<PathBuf>,
}

impl Context {
    pub(super) fn new(global: Global) -> Self {
        Self { ui: Ui::new(global.format, global.quiet), db: global.db }
    }

    /// The database's folder: of `--db`, else of `KODIAK_DB`, else of the project; none means memory.
    ///
    /// # Errors
    /// If a `kodiak.toml` cannot be read.
    pub fn database_path(&self) -> Result<Option<PathBuf>> {
        let named = || std::env::var_os("KODIAK_DB").filter(|path| !path.is_empty()).map(PathBuf::from);
        match self.db.clone().or_else(named) {
            Some(path) => Ok(Some(path)),
            None => Ok(Project::find()?.map(|project| project.database)),
        }
    }

    /// Opens the database, creating it if it is missing, and passes its warnings on.
    ///
    /// # Errors
    /// Those of opening it.
    pub fn open(&self) -> Result<Database> {
        let database = match self.database_path()? {
            Some(path) => Database::open(path)?,
            None => Database::memory()?,
        };
        for warning in database.store().warnings() {
            self.ui.warn(&warning);
        }
        Ok(database)
    }
}
