//! The system's keyring, asked on a thread of its own with a deadline, because a daemon that hangs must hold nobody up.
//! It refuses to take another keyring than the one that is asked for.

use crate::code;
use crate::seal::{Key, Secret};
use crate::wire::{hex, unhex};
use keyring_core::{CredentialStore, Entry, Error as RingError};
use kodiak_plugin_api::{Error, Result};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;
use zeroize::Zeroizing;

/// The desktop's Secret Service: GNOME's keyring, KeePassXC, KDE's wallet.
pub const SECRET_SERVICE: &str = "secret-service";
/// The kernel's key retention service: forgets everything with the machine's next start.
pub const KEYUTILS: &str = "keyutils";

const SERVICE: &str = "kodiak-secrets";
/// Short enough that a command answers within three seconds.
const DEADLINE: Duration = Duration::from_millis(2500);

/// Reads the key of an account.
///
/// # Errors
/// `KEYRING`, within three seconds.
pub fn get(provider: &str, account: &str) -> Result<Key> {
    let text: Secret = ask(provider, account, |entry| entry.get_secret().map(Zeroizing::new))?;
    let key = std::str::from_utf8(&text).ok().and_then(unhex).map(Zeroizing::new);
    let key = key.and_then(|bytes| Key::from_slice(&bytes).ok());
    key.ok_or_else(|| refused(provider, "its entry for this vault is no key"))
}

/// Makes a key and keeps it under an account.
///
/// # Errors
/// As [`get`], and `CHANCE`.
pub fn put(provider: &str, account: &str) -> Result<Key> {
    let key = Key::random()?;
    // Text, because some keyrings keep nothing else.
    let text = Zeroizing::new(hex(key.expose()));
    ask(provider, account, move |entry| entry.set_secret(text.as_bytes()))?;
    // What a keyring says that it keeps is only believed when it gives it back.
    let kept = get(provider, account)?;
    crate::seal::Tag::new(*kept.expose())
        .matches(&crate::seal::Tag::new(*key.expose()))
        .then_some(key)
        .ok_or_else(|| refused(provider, "it does not give back what it was given"))
}

/// Removes the key of an account; that there is none is no error.
///
/// # Errors
/// As [`get`].
pub fn remove(provider: &str, account: &str) -> Result<()> {
    ask(provider, account, |entry| match entry.delete_credential() {
        Err(RingError::NoEntry) => Ok(()),
        done => done,
    })
}

fn ask<T: Send + 'static>(
    provider: &str,
    account: &str,
    question: impl FnOnce(Entry) -> Result<T, RingError> + Send + 'static,
) -> Result<T> {
    let open = opener(provider)?;
    let account = account.to_owned();
    within(DEADLINE, move || question(open()?.build(SERVICE, &account, None)?))
        .map_err(|reason| refused(provider, &reason))
}

type Opener = fn() -> Result<Arc<CredentialStore>, RingError>;

fn opener(provider: &str) -> Result<Opener> {
    match provider {
        SECRET_SERVICE => Ok(|| Ok(dbus_secret_service_keyring_store::Store::new()?)),
        KEYUTILS => Ok(|| Ok(linux_keyutils_keyring_store::Store::new()?)),
        other => Err(code::FORMAT.error(format!("there is no keyring `{other}` in this version"))),
    }
}

/// What `work` gives, or why it did not in time. A thread that hangs is left behind: it holds nothing of the vault's.
fn within<T: Send + 'static>(
    deadline: Duration,
    work: impl FnOnce() -> Result<T, RingError> + Send + 'static,
) -> Result<T, String> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let spawned = thread::Builder::new().name("kodiak-keyring".into()).spawn(move || {
        // Nobody listens any more after the deadline.
        let _ = sender.send(work());
    });
    spawned.map_err(|error| format!("no thread could be started for it: {error}"))?;
    match receiver.recv_timeout(deadline) {
        Ok(answer) => answer.map_err(|error| reason(&error)),
        Err(mpsc::RecvTimeoutError::Timeout) => {
            Err(format!("it did not answer within {} seconds", deadline.as_secs_f32()))
        }
        Err(mpsc::RecvTimeoutError::Disconnected) => Err("asking it failed".to_owned()),
    }
}

/// In words, without what an error may carry of an entry's content.
fn reason(error: &RingError) -> String {
    match error {
        RingError::NoEntry => "it has no entry for this vault".to_owned(),
        RingError::NoStorageAccess(source) => format!("it is locked: {}", one_line(&source.to_string())),
        RingError::PlatformFailure(source) => {
            let text = one_line(&source.to_string());
            // What a daemon answers has no kind of its own in the store's errors, only its name on the bus.
            let why = if text.contains("IsLocked") { "locked" } else { "not there" };
            format!("it is {why}: {text}")
        }
        RingError::Ambiguous(entries) => format!("it has {} entries for this vault", entries.len()),
        _ => "it cannot keep this entry".to_owned(),
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").trim_end_matches('.').to_owned()
}

fn refused(provider: &str, why: &str) -> Error {
    let error = code::KEYRING.error(format!("the keyring `{provider}` cannot be used: {why}"));
    error.help("unlock or start it, or open the vault another way: --key-file PATH, --passphrase-fd N")
}

#[cfg(test)]
mod tests;
