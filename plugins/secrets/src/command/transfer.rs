//! Secrets from one vault to another, by way of a sealed file.

use super::arguments::{Bundle, Export, Import};
use super::{SOURCE, change, new_passphrase, no_terminal, open, with};
use crate::audit::{Fate, Line};
use crate::bundle::{self, Entry, Lock};
use crate::code::{self, io_error};
use crate::extension::Secrets;
use crate::keyfile;
use crate::unlock::{ask_terminal, from_descriptor};
use crate::vault::Existing;
use kodiak_plugin_api::prelude::*;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;

/// `kodiak secrets export`.
pub fn export(secrets: &Secrets, call: &Call, given: &Export) -> Result<Output> {
    open(secrets, call, &given.credential)?;
    let names = match given.only.is_empty() {
        false => given.only.clone(),
        true => with(secrets, call, |vault| Ok(vault.list()?.into_iter().map(|head| head.name).collect()))?,
    };
    let mut entries = Vec::new();
    for name in &names {
        let read = with(secrets, call, |vault| vault.read(name, None));
        let number = read.as_ref().ok().map(|(_, version, _)| version.number);
        let line = Line { action: "export", secret: Some(name), version: number, source: SOURCE };
        let (_, version, fields) = line.record(call, Fate::Stays, read)?;
        entries.push(Entry { name: name.clone(), kind: version.kind, scope: version.scope, fields });
    }
    let lock = match (given.bundle.bundle_passphrase_fd, &given.bundle.bundle_key_file) {
        (None, Some(path)) => Lock::Key(keyfile::read_or_create(path)?),
        (descriptor, _) => Lock::Passphrase(new_passphrase(descriptor, "Passphrase of the file: ")?),
    };
    let bytes = bundle::seal(&entries, &lock)?;
    let path = &given.file;
    let mut options = OpenOptions::new();
    let written = options.write(true).create_new(true).mode(0o600).open(path).and_then(|mut file| {
        file.write_all(&bytes)?;
        file.sync_all()
    });
    written.map_err(|error| io_error("write", path, &error))?;
    call.write_note(&format!("{} secrets in {}\n", entries.len(), path.display()))?;
    Ok(Output::done())
}

/// `kodiak secrets import`.
pub fn import(secrets: &Secrets, call: &Call, given: &Import) -> Result<Output> {
    let mut bytes = Vec::new();
    let read = File::open(&given.file).and_then(|file| file.take(bundle::BYTES_MAX + 1).read_to_end(&mut bytes));
    read.map_err(|error| io_error("read", &given.file, &error))?;
    let entries = bundle::open(&bytes, &lock(&bytes, &given.bundle)?)?;
    open(secrets, call, &given.credential)?;
    let existing = match (given.replace, given.keep) {
        (true, _) => Existing::Replace,
        (_, true) => Existing::Keep,
        _ => Existing::Refuse,
    };
    let count = change(call, || {
        let mut count = 0;
        for Entry { name, kind, scope, fields } in &entries {
            let done = with(secrets, call, |vault| vault.create(name, kind, scope, fields, existing));
            let version = done.as_ref().ok().copied().flatten();
            let line = Line { action: "import", secret: Some(name), version, source: SOURCE };
            if line.record(call, Fate::Goes, done)?.is_some() {
                call.own_object("secret", name)?;
                count += 1;
            }
        }
        Ok(count)
    })?;
    call.write_note(&format!("{count} of {} secrets taken in\n", entries.len()))?;
    Ok(Output::done())
}

fn lock(bytes: &[u8], given: &Bundle) -> Result<Lock> {
    if let Some(path) = &given.bundle_key_file {
        return keyfile::read(path).map(Lock::Key);
    }
    if let Some(descriptor) = given.bundle_passphrase_fd {
        return from_descriptor(descriptor).map(Lock::Passphrase);
    }
    if bundle::wants_key_file(bytes)? {
        return Err(code::WRONG_KEY.error("the file was sealed with a key file").help("--bundle-key-file PATH"));
    }
    let typed = ask_terminal("Passphrase of the file: ")?;
    typed.map(Lock::Passphrase).ok_or_else(|| no_terminal("the file's passphrase").help("--bundle-passphrase-fd N"))
}
