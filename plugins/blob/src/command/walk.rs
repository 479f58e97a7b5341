//! Folders and prefixes as relative names, so that one can be copied to the other. It refuses names that would leave
//! the folder.

use crate::address::Address;
use crate::code::{self, io_error};
use crate::index::{Index, KeyRange, Version, Which};
use crate::objects::Objects;
use kodiak_plugin_api::Result;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// A file below a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its name relative to the folder, with `/`.
    pub name: String,
    /// Its path.
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
}

/// Every file below a folder, by name. Links are followed to files, not to folders.
///
/// # Errors
/// `FILE`, or `KEY` for a name that is not UTF-8.
pub fn files(folder: &Path) -> Result<Vec<Found>> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        let entries = fs::read_dir(&next).map_err(|error| io_error("list", &next, &error))?;
        for entry in entries {
            let entry = entry.map_err(|error| io_error("list", &next, &error))?;
            let path = entry.path();
            let kind = entry.file_type().map_err(|error| io_error("read", &path, &error))?;
            if kind.is_dir() {
                folders.push(path);
                continue;
            }
            let metadata = fs::metadata(&path).map_err(|error| io_error("read", &path, &error))?;
            if metadata.is_file() {
                found.push(Found { name: relative(folder, &path)?, size: metadata.len(), path });
            }
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

fn relative(folder: &Path, path: &Path) -> Result<String> {
    let inner = path.strip_prefix(folder).unwrap_or(path);
    let parts: Option<Vec<&str>> = inner.components().map(|part| part.as_os_str().to_str()).collect();
    let parts =
        parts.ok_or_else(|| code::KEY.error(format!("`{}` is not UTF-8 and cannot be a key", path.display())))?;
    Ok(parts.join("/"))
}

/// A folder's objects: the prefix with a `/` at its end, unless it is empty or has one.
pub fn folder_prefix(address: &Address) -> String {
    match address.key.as_str() {
        "" => String::new(),
        key if key.ends_with('/') => key.to_owned(),
        key => format!("{key}/"),
    }
}

/// The latest versions under a prefix.
///
/// # Errors
/// `NO_BUCKET`, or of the index.
pub fn objects(objects: &Objects<'_>, bucket: &str, prefix: &str) -> Result<Vec<Version>> {
    let bucket = objects.bucket(bucket)?;
    let index: &dyn Index = objects.index;
    index.list(bucket.id, &KeyRange::of_prefix(prefix, None), Which::Latest, None)?.collect()
}

/// Where the object of this relative name goes below a folder.
///
/// # Errors
/// `KEY` for a name that is no path below it.
pub fn below(folder: &Path, name: &str) -> Result<PathBuf> {
    let inner = Path::new(name);
    let plain = !name.is_empty()
        && !name.contains("//")
        && !name.ends_with('/')
        && !name.contains(['\0', '\\'])
        && inner.components().all(|part| matches!(part, Component::Normal(_)));
    // `components` drops a `.` in the middle, and two keys would be one file.
    if !plain || name.split('/').any(|part| part == ".") {
        return Err(code::KEY.error(format!("`{name}` is no path below `{}`", folder.display())));
    }
    Ok(folder.join(inner))
}

/// Makes the folder that a file goes to.
///
/// # Errors
/// `FILE`.
pub fn make_parent(path: &Path) -> Result<()> {
    let Some(parent) = path.parent() else { return Ok(()) };
    fs::create_dir_all(parent).map_err(|error| io_error("create", parent, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_leaves_the_folder() {
        let folder = Path::new("/out");
        assert_eq!(below(folder, "a/b.txt").unwrap(), Path::new("/out/a/b.txt"));
        for bad in ["", "/etc/passwd", "../x", "a/../../x", "a//b", "./a", "a/./b", "a/", "..", "a\\b", "a\0"] {
            assert!(code::KEY.is(&below(folder, bad).unwrap_err()), "{bad:?}");
        }
    }

    #[test]
    fn files_are_named_relative_to_their_folder() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("b/c")).unwrap();
        for name in ["b/c/2", "a", "b/1"] {
            fs::write(folder.path().join(name), name).unwrap();
        }
        let names: Vec<_> = files(folder.path()).unwrap().into_iter().map(|file| (file.name, file.size)).collect();
        assert_eq!(names, [("a".to_owned(), 1), ("b/1".to_owned(), 3), ("b/c/2".to_owned(), 5)]);
    }
}
