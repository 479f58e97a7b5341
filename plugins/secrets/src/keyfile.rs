//! Key files: 32 random bytes as text, readable by their owner alone. It refuses files that others may read, that are
//! no key files, and to overwrite anything.

use crate::code::{self, io_error};
use crate::seal::Key;
use crate::wire::{hex, unhex};
use kodiak_plugin_api::{Error, Result};
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use zeroize::Zeroizing;

const FIRST_LINE: &str = "kodiak secrets key 1";
/// Twice what a key file has.
const BYTES_MAX: u64 = 256;
/// Permissions that nobody but the owner may have.
const OTHERS: u32 = 0o077;

/// Reads a key file.
///
/// # Errors
/// `KEY_FILE` when others may read it or it is none; `FILE` when it cannot be read.
pub fn read(path: &Path) -> Result<Key> {
    let mut file = File::open(path).map_err(|error| {
        let error = io_error("open the key file", path, &error);
        error.help("KODIAK_SECRETS_KEY_FILE names the key file")
    })?;
    // Of the open file, so that it cannot be exchanged in between.
    let metadata = file.metadata().map_err(|error| io_error("read", path, &error))?;
    if !metadata.is_file() {
        return Err(refused(path, "it is no plain file"));
    }
    if metadata.mode() & OTHERS != 0 {
        let text = format!("others may read it (mode {:04o})", metadata.mode() & 0o7777);
        return Err(refused(path, &text).help(format!("chmod 600 {}", path.display())));
    }
    let mut text = Zeroizing::new(Vec::with_capacity(BYTES_MAX as usize));
    Read::by_ref(&mut file).take(BYTES_MAX).read_to_end(&mut text).map_err(|error| io_error("read", path, &error))?;
    parse(&text).ok_or_else(|| refused(path, "its content is no key"))
}

/// Makes a key file that nobody but the owner may read, and syncs it.
///
/// # Errors
/// `KEY_FILE` when there is a file already; `FILE`, `CHANCE`.
pub fn create(path: &Path) -> Result<Key> {
    let key = Key::random()?;
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(path).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => refused(path, "a file of this name is there already"),
        _ => io_error("create the key file", path, &error),
    })?;
    let text = Zeroizing::new(format!("{FIRST_LINE}\n{}\n", Zeroizing::new(hex(key.expose())).as_str()));
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    written.map_err(|error| io_error("write the key file", path, &error))?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|error| io_error("sync", folder, &error))?;
    Ok(key)
}

/// Reads the key file at `path`, or makes one when there is none.
///
/// # Errors
/// As [`read`] and [`create`].
pub fn read_or_create(path: &Path) -> Result<Key> {
    if path.try_exists().map_err(|error| io_error("look for", path, &error))? { read(path) } else { create(path) }
}

fn parse(text: &[u8]) -> Option<Key> {
    let text = std::str::from_utf8(text).ok()?;
    let (first, digits) = text.split_once('\n')?;
    let bytes = Zeroizing::new(unhex(digits.trim_end())?);
    (first.trim_end() == FIRST_LINE).then(|| Key::from_slice(&bytes).ok()).flatten()
}

fn refused(path: &Path, why: &str) -> Error {
    code::KEY_FILE.error(format!("the key file `{}` is refused: {why}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_key_file_is_the_owners_alone_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let made = create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(read(&path).unwrap().expose(), made.expose());
        assert!(code::KEY_FILE.is(&create(&path).unwrap_err()), "nothing is overwritten");
        assert_eq!(read_or_create(&path).unwrap().expose(), made.expose());
    }

    #[test]
    fn a_key_file_that_others_may_read_or_that_is_none_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        create(&path).unwrap();
        for mode in [0o640, 0o604, 0o620, 0o610, 0o777] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let error = read(&path).unwrap_err();
            assert!(code::KEY_FILE.is(&error) && error.help_text().contains("chmod 600"), "{mode:o}: {error}");
        }
        fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
        assert!(read(&path).is_ok());
        let text = fs::read_to_string(&path).unwrap();
        for bad in [
            String::new(),
            text.replace("key 1", "key 2"),
            text.replace('\n', ""),
            format!("{text}00"),
            text[..60].into(),
        ] {
            let other = folder.path().join("other");
            fs::write(&other, bad).unwrap();
            fs::set_permissions(&other, Permissions::from_mode(0o600)).unwrap();
            assert!(code::KEY_FILE.is(&read(&other).unwrap_err()));
        }
        assert!(code::KEY_FILE.is(&read(folder.path()).unwrap_err()), "a folder is no key file");
    }
}
