//! Projects: a folder with a `kodiak.toml`, found from anywhere below it. It refuses to guess when the file is wrong.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::{Error, Place, Result, codes};

/// The file that makes a folder a project.
pub const FILE: &str = "kodiak.toml";

/// A project that was found.
#[derive(Debug, PartialEq, Eq)]
pub struct Project {
    /// The folder of its `kodiak.toml`.
    pub folder: PathBuf,
    /// The folder of its database, which need not exist yet.
    pub database: PathBuf,
}

/// Only what the host reads; extensions have tables of their own in the file.
#[derive(Deserialize)]
struct File {
    project: Option<Table>,
}

#[derive(Deserialize)]
struct Table {
    database: Option<PathBuf>,
}

impl Project {
    /// The project of the working folder.
    ///
    /// # Errors
    /// If a `kodiak.toml` is there and cannot be understood.
    pub fn find() -> Result<Option<Self>> {
        let folder = std::env::current_dir().map_err(|error| Error::io("find", Path::new("."), &error))?;
        folder.ancestors().find_map(|folder| Self::at(folder).transpose()).transpose()
    }

    /// The project whose `kodiak.toml` lies in `folder` itself.
    ///
    /// # Errors
    /// If it is there and cannot be understood.
    pub fn at(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            // A folder that we may not look into is no project of ours.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => {
                return Ok(None);
            }
            Err(error) => return Err(Error::io("read", &path, &error)),
        };
        let file: File = toml::from_str(&text).map_err(|error| wrong(&path, &text, &error))?;
        let database = file.project.and_then(|table| table.database).unwrap_or_else(|| default_database(folder));
        Ok(Some(Self { folder: folder.to_owned(), database: folder.join(database) }))
    }
}

/// The name of a project's database when `kodiak.toml` names none: that of its folder.
pub fn default_database(folder: &Path) -> PathBuf {
    let name = folder.file_name().map_or_else(|| "project".into(), |name| name.to_string_lossy());
    PathBuf::from(format!("{name}.kdb"))
}

fn wrong(path: &Path, text: &str, error: &toml::de::Error) -> Error {
    let message = error.message().lines().next().unwrap_or_default();
    let result = Error::new(codes::USAGE, format!("`{}` cannot be understood: {message}", path.display()));
    let Some(before) = error.span().and_then(|span| text.get(..span.start)) else { return result };
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    result.at(Place {
        source: path.display().to_string(),
        line: before.matches('\n').count() as u64 + 1,
        column: before[line_start..].chars().count() as u64 + 1,
        text: text[line_start..].lines().next().unwrap_or_default().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{FILE, Project};
    use crate::error::codes;

    #[test]
    fn the_database_is_named_or_has_the_name_of_the_folder() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("shop");
        fs::create_dir(&folder).unwrap();
        assert_eq!(Project::at(&folder).unwrap(), None);
        fs::write(folder.join(FILE), "").unwrap();
        assert_eq!(Project::at(&folder).unwrap().unwrap().database, folder.join("shop.kdb"));
        fs::write(folder.join(FILE), "[project]\ndatabase = 'data/x.kdb'\n[models]\nschema = 's'").unwrap();
        assert_eq!(Project::at(&folder).unwrap().unwrap().database, folder.join("data/x.kdb"));
    }

    #[test]
    fn a_wrong_file_is_named() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join(FILE), "[project").unwrap();
        let error = Project::at(home.path()).unwrap_err();
        assert!(error.is(codes::USAGE) && error.message().contains("kodiak.toml"), "{error:?}");
    }
}
