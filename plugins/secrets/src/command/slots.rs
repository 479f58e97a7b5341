//! Ways to open the vault: the first one with the vault itself, more of them, and codes for paper.

use super::arguments::{Init, Recovery, SlotAdd, SlotRemove, Work};
use super::{SOURCE, change, new_passphrase, open, open_with, with};
use crate::audit::{Fate, Line};
use crate::code;
use crate::extension::Secrets;
use crate::seal::Key;
use crate::slot::Kind;
use crate::unlock::{Given, from_descriptor};
use crate::vault::{self, Vault};
use crate::wire::hex;
use crate::{harden, keyfile, keyring, passphrase, recovery, shown};
use kodiak_plugin_api::prelude::*;
use std::path::{Path, PathBuf};

/// What a new slot is made of.
struct Way<'a> {
    key_file: Option<&'a PathBuf>,
    passphrase_fd: Option<u32>,
    keyring: Option<&'a str>,
    work: &'a Work,
}

impl Way<'_> {
    /// The slot's kind and key.
    fn take(&self, vault: &[u8; 16]) -> Result<(Kind, Key)> {
        harden::protect();
        if let Some(path) = self.key_file {
            let key = keyfile::read_or_create(path)?;
            return Ok((Kind::KeyFile { path: absolute(path) }, key));
        }
        if let Some(provider) = self.keyring {
            let account = format!("{}-{}", hex(vault), hex(&crate::seal::random::<4>()?));
            let key = keyring::put(provider, &account)?;
            return Ok((Kind::Keyring { provider: provider.to_owned(), account }, key));
        }
        let cost = self.work.cost()?;
        let passphrase = new_passphrase(self.passphrase_fd, "New passphrase of the vault: ")?;
        let salt = passphrase::salt()?;
        let key = cost.stretch(&passphrase, &salt)?;
        Ok((Kind::Passphrase { cost, salt }, key))
    }
}

fn absolute(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string()
}

/// `kodiak secrets init`.
pub fn init(secrets: &Secrets, call: &Call, given: &Init) -> Result<Output> {
    // Before a key file is made for nothing.
    if vault::header(call)?.is_some() {
        return Err(code::VAULT_EXISTS.error("the database has a vault already").help("kodiak secrets status"));
    }
    let (id, way) = (vault::new_id()?, &given.way);
    let way = Way {
        key_file: way.key_file.as_ref(),
        passphrase_fd: way.passphrase_fd,
        keyring: way.keyring.as_deref(),
        work: &way.work,
    };
    let (kind, key) = way.take(&id)?;
    let keys = change(call, || {
        let made = vault::init(call, call.now(), id, kind.clone(), &key);
        Line { action: "init", secret: None, version: None, source: SOURCE }.record(call, Fate::Goes, made)
    })?;
    secrets.hold(keys);
    match &kind {
        Kind::KeyFile { path } => {
            call.write_note(&format!(
                "the vault opens with the key file {path}: keep a copy apart from the database\n"
            ))?;
        }
        Kind::Passphrase { .. } => {
            call.write_note(
                "the vault opens with this passphrase alone; `kodiak secrets recovery` makes a second way\n",
            )?;
        }
        Kind::Keyring { provider, .. } => {
            call.write_note(&format!("the vault opens with its entry in the keyring `{provider}`\n"))?;
        }
        Kind::Recovery => {}
    }
    Ok(Output::done())
}

/// `kodiak secrets slots add`.
pub fn add(secrets: &Secrets, call: &Call, given: &SlotAdd) -> Result<Output> {
    let unlock = match (given.passphrase_fd, &given.unlock_key_file) {
        (Some(descriptor), _) => Some(Given::Passphrase(from_descriptor(descriptor)?)),
        (None, Some(path)) => Some(Given::KeyFile(path.clone())),
        (None, None) => None,
    };
    open_with(secrets, call, unlock.as_ref())?;
    let way = Way {
        key_file: given.key_file.as_ref(),
        passphrase_fd: given.new_passphrase_fd,
        keyring: given.keyring.as_deref(),
        work: &given.work,
    };
    let id = with(secrets, call, |vault| vault.header().map(|header| header.vault))?;
    let (kind, key) = way.take(&id)?;
    let slot = add_slot(secrets, call, "slot-add", &kind, &key)?;
    call.write_note(&format!("unlock slot {slot}: {}\n", kind.word()))?;
    Ok(Output::done())
}

fn add_slot(secrets: &Secrets, call: &Call, action: &str, kind: &Kind, key: &Key) -> Result<u32> {
    change(call, || {
        let done = with(secrets, call, |vault| vault.add_slot(kind.clone(), key));
        Line { action, secret: None, version: None, source: SOURCE }.record(call, Fate::Goes, done)
    })
}

/// `kodiak secrets slots remove`.
pub fn remove(secrets: &Secrets, call: &Call, given: &SlotRemove) -> Result<Output> {
    open(secrets, call, &given.credential)?;
    let removed = change(call, || {
        let done = with(secrets, call, |vault| vault.remove_slot(given.slot));
        Line { action: "slot-remove", secret: None, version: None, source: SOURCE }.record(call, Fate::Goes, done)
    })?;
    if let Kind::Keyring { provider, account } = &removed.kind
        && let Err(error) = keyring::remove(provider, account)
    {
        call.write_note(&format!("warning: its entry is still in the keyring: {}\n", error.text()))?;
    }
    Ok(Output::done())
}

/// `kodiak secrets slots list`.
pub fn list(call: &Call) -> Result<Output> {
    let slots = vault::header(call)?.map(|header| header.slots).unwrap_or_default();
    shown::slots(&slots).map(Output::batch)
}

/// `kodiak secrets recovery`.
pub fn recovery(secrets: &Secrets, call: &Call, given: &Recovery) -> Result<Output> {
    open(secrets, call, &given.credential)?;
    let (text, key) = recovery::make()?;
    let earlier = |vault: &mut Vault<'_>| -> Result<Vec<u32>> {
        let header = vault.header()?;
        Ok(header.slots.iter().filter(|slot| slot.kind == Kind::Recovery).map(|slot| slot.id).collect())
    };
    change(call, || {
        let done = with(secrets, call, |vault| {
            let earlier = earlier(vault)?;
            vault.add_slot(Kind::Recovery, &key)?;
            let gone = if given.replace { earlier } else { Vec::new() };
            gone.into_iter().try_for_each(|slot| vault.remove_slot(slot).map(drop))
        });
        Line { action: "recovery", secret: None, version: None, source: SOURCE }.record(call, Fate::Goes, done)
    })?;
    call.write_note("write this code down and keep it apart from the database; it is not shown again\n")?;
    call.write_output(text.as_bytes())?;
    call.write_output(b"\n")?;
    Ok(Output::done())
}
