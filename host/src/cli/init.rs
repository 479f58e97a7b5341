//! `kodiak init [DIR]`: a folder becomes a project. It refuses to touch a `kodiak.toml` that is there already.

use std::fs;
use std::path::{Path, PathBuf};

use super::context::Context;
use super::exit::Exit;
use super::project::{self, Project};
use crate::database::Database;
use crate::error::{Error, Result, codes};

/// Arguments of `kodiak init`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder; created if it is missing
    #[arg(default_value = ".")]
    pub dir: PathBuf,
}

/// Makes the project and its empty database.
///
/// # Errors
/// If the folder is a project already, or cannot be written.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit> {
    if Project::at(&args.dir)?.is_some() {
        return Err(Error::new(codes::EXISTS, format!("`{}` is a project already", args.dir.display()))
            .help(format!("cd {} && kodiak sql", args.dir.display())));
    }
    let project = create(&args.dir)?;
    let database = project::default_database(&project.folder);
    context.ui.note(&format!("made the project `{}` with the database `{}`", args.dir.display(), database.display()));
    Ok(Exit::Done)
}

/// Writes `kodiak.toml` and creates the database.
pub(super) fn create(dir: &Path) -> Result<Project> {
    fs::create_dir_all(dir).map_err(|error| Error::io("create", dir, &error))?;
    let folder = dir.canonicalize().map_err(|error| Error::io("find", dir, &error))?;
    let database = project::default_database(&folder);
    // Strings of TOML escape as those of JSON do, as far as a file name goes.
    let name = serde_json::Value::from(database.display().to_string());
    let path = folder.join(project::FILE);
    let project = Project { database: folder.join(database), folder };
    // The database first: a folder is a project only if it has one.
    Database::open(&project.database)?;
    fs::write(&path, format!("[project]\ndatabase = {name}\n")).map_err(|error| Error::io("write", &path, &error))?;
    Ok(project)
}
