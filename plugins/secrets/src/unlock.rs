//! Finds a key that opens the vault: what the user gave, or what the surroundings offer, in a fixed order. It refuses to
//! go on silently: a way that was chosen and fails is an error that names the others.

use crate::code::{self, io_error};
use crate::header::Header;
use crate::records::Records;
use crate::seal::{Key, Secret};
use crate::slot::{Kind, Slot};
use crate::vault::{self, Unlocked};
use crate::{harden, keyfile, keyring, recovery};
use kodiak_plugin_api::{Error, Result};
use std::env;
use std::fs::File;
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Names the key file.
pub const KEY_FILE_VARIABLE: &str = "KODIAK_SECRETS_KEY_FILE";
/// Holds a passphrase, which others on the machine may be able to see.
pub const PASSPHRASE_VARIABLE: &str = "KODIAK_SECRETS_PASSPHRASE";
/// Systemd's folder of credentials, and the name of ours in it.
const CREDENTIALS: (&str, &str) = ("CREDENTIALS_DIRECTORY", "kodiak-secrets-key");
/// Bytes of a passphrase.
const PASSPHRASE_BYTES_MAX: u64 = 4096;

/// What a vault is to be opened with.
pub enum Given {
    /// A passphrase or a recovery code.
    Passphrase(Secret),
    /// A key file.
    KeyFile(PathBuf),
}

/// How the user can be reached while the vault is opened.
pub struct User<'a> {
    /// Asks for a passphrase; none when there is no terminal.
    pub ask: &'a dyn Fn(&str) -> Result<Option<Secret>>,
    /// Tells something that must not be overlooked.
    pub warn: &'a dyn Fn(&str),
}

/// Opens the vault with what was given, or with what there is.
///
/// # Errors
/// `NO_VAULT`, `WRONG_KEY`, `LOCKED` when there is nothing to try; `KEY_FILE`, `KEYRING`, `FILE`.
pub fn unlock(records: &dyn Records, given: Option<&Given>, user: &User<'_>) -> Result<Unlocked> {
    let header = vault::header(records)?.ok_or_else(vault::no_vault)?;
    harden::protect();
    let opened = match given {
        Some(Given::Passphrase(passphrase)) => with_passphrase(records, passphrase),
        Some(Given::KeyFile(path)) => with_key_file(records, path),
        None => with_surroundings(records, &header, user),
    }?;
    opened.ok_or_else(|| {
        let error = code::WRONG_KEY.error("the vault does not open with this key, passphrase or code");
        ways(&header).into_iter().fold(error, Error::detail)
    })
}

fn with_surroundings(records: &dyn Records, header: &Header, user: &User<'_>) -> Result<Option<Unlocked>> {
    if let Some(path) = env::var_os(KEY_FILE_VARIABLE).filter(|path| !path.is_empty()) {
        return with_key_file(records, Path::new(&path));
    }
    if let Some(folder) = env::var_os(CREDENTIALS.0).filter(|folder| !folder.is_empty()) {
        let path = Path::new(&folder).join(CREDENTIALS.1);
        if path.try_exists().map_err(|error| io_error("look for", &path, &error))? {
            return with_key_file(records, &path);
        }
    }
    if let Some(passphrase) = env::var_os(PASSPHRASE_VARIABLE).filter(|passphrase| !passphrase.is_empty()) {
        (user.warn)(&format!(
            "the passphrase comes from {PASSPHRASE_VARIABLE}, which other processes may be able to read"
        ));
        return with_passphrase(records, passphrase.as_encoded_bytes());
    }
    let has = |fits: fn(&Kind) -> bool| header.slots.iter().any(|slot| fits(&slot.kind));
    if has(|kind| matches!(kind, Kind::Keyring { .. })) {
        return with_keyring(records, header);
    }
    if has(|kind| matches!(kind, Kind::Passphrase { .. }))
        && let Some(passphrase) = (user.ask)("Passphrase of the vault: ")?
    {
        return with_passphrase(records, &passphrase);
    }
    let error = code::LOCKED.error("the vault is locked");
    Err(ways(header).into_iter().fold(error, Error::detail).help(first_way(header)))
}

/// Passphrase slots, and recovery slots when it is a code.
fn with_passphrase(records: &dyn Records, passphrase: &[u8]) -> Result<Option<Unlocked>> {
    let code = std::str::from_utf8(passphrase).ok().and_then(recovery::parse);
    vault::unlock(records, |_, slot| match (&slot.kind, &code) {
        (Kind::Recovery, Some(code)) => Some(Key::from_slice(code.expose()).map_err(|_| bad_key())),
        // A code with its checksum right is nobody's passphrase, and Argon2 is slow.
        (Kind::Passphrase { cost, salt }, None) => Some(cost.stretch(passphrase, salt)),
        _ => None,
    })
}

fn with_key_file(records: &dyn Records, path: &Path) -> Result<Option<Unlocked>> {
    let key = keyfile::read(path)?;
    let copy = |slot: &Slot| {
        let fits = matches!(slot.kind, Kind::KeyFile { .. });
        fits.then(|| Key::from_slice(key.expose()).map_err(|_| bad_key()))
    };
    vault::unlock(records, |_, slot| copy(slot))
}

fn with_keyring(records: &dyn Records, header: &Header) -> Result<Option<Unlocked>> {
    let others = |error: Error| {
        let error = Error::new(error.code(), error.text()).sqlstate(error.state()).help(error.help_text());
        ways(header).into_iter().fold(error, Error::detail)
    };
    vault::unlock(records, |_, slot| match &slot.kind {
        Kind::Keyring { provider, account } => Some(keyring::get(provider, account).map_err(others)),
        _ => None,
    })
}

fn bad_key() -> Error {
    code::WRONG_KEY.error("the key has another length than a key")
}

/// What would open this vault, a line each.
fn ways(header: &Header) -> Vec<String> {
    let line = |slot: &Slot| match slot.kind.detail() {
        detail if detail.is_empty() => format!("unlock slot {}: {}", slot.id, slot.word()),
        detail => format!("unlock slot {}: {} ({detail})", slot.id, slot.word()),
    };
    header.slots.iter().map(line).collect()
}

fn first_way(header: &Header) -> String {
    match header.slots.first().map(|slot| &slot.kind) {
        Some(Kind::KeyFile { .. }) => format!("{KEY_FILE_VARIABLE}=PATH, or UNLOCK SECRETS USING KEY FILE 'PATH'"),
        Some(Kind::Keyring { .. }) => "unlock the system's keyring".to_owned(),
        _ => "--passphrase-fd N, or UNLOCK SECRETS USING PASSPHRASE '...'".to_owned(),
    }
}

/// A passphrase from an open file descriptor, up to the end of its first line.
///
/// # Errors
/// `FILE`.
pub fn from_descriptor(descriptor: u32) -> Result<Secret> {
    // The process's own table of open files as files: no descriptor is taken over, so none is closed for somebody else.
    let path = PathBuf::from(format!("/proc/self/fd/{descriptor}"));
    let read = File::open(&path).and_then(|file| {
        let mut bytes = Zeroizing::new(Vec::with_capacity(PASSPHRASE_BYTES_MAX as usize));
        file.take(PASSPHRASE_BYTES_MAX).read_to_end(&mut bytes).map(|_| bytes)
    });
    let mut bytes = read.map_err(|error| {
        code::FILE.error(format!("cannot read a passphrase from the file descriptor {descriptor}: {error}"))
    })?;
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    bytes.truncate(end);
    if bytes.last() == Some(&b'\r') {
        bytes.pop();
    }
    if bytes.is_empty() {
        return Err(code::FILE.error(format!("the file descriptor {descriptor} has no passphrase")));
    }
    Ok(bytes)
}

/// Asks on the terminal, without echo; none when standard input is no terminal.
///
/// # Errors
/// `FILE`.
pub fn ask_terminal(prompt: &str) -> Result<Option<Secret>> {
    if !std::io::stdin().is_terminal() {
        return Ok(None);
    }
    let typed = rpassword::prompt_password(prompt);
    let typed = typed.map_err(|error| code::FILE.error(format!("cannot read from the terminal: {error}")))?;
    Ok(Some(Zeroizing::new(typed.into_bytes())))
}
