//! Secrets on the command line: set, read, listed, removed, rotated; the vault opened, locked, described.

use super::arguments::{Get, Rm, Rotate, Set, Status, Unlock};
use super::{SOURCE, change, open, with};
use crate::audit::{Fate, Line};
use crate::code::{self, io_error};
use crate::extension::Secrets;
use crate::record::{Fields, Head, SECRET_BYTES_MAX, VALUE};
use crate::records::{LOCKED, Records};
use crate::seal::Secret;
use crate::shown::{self, text};
use crate::statements;
use crate::syntax::GENERIC;
use crate::unlock::{User, ask_terminal};
use crate::vault::{self, Change, Existing, Vault, no_field, no_secret};
use crate::wire::hex;
use kodiak_plugin_api::arrow_array::Int64Array;
use kodiak_plugin_api::prelude::*;
use std::path::Path;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Secrets of one transaction of a rotation that goes on over several.
const GROUP: usize = 256;

/// `kodiak secrets unlock`.
pub fn unlock(secrets: &Secrets, call: &Call, given: &Unlock) -> Result<Output> {
    let warn = super::warn(call);
    let user = User { ask: &ask_terminal, warn: &warn };
    let done = secrets.unlock(call, given.credential.given()?.as_ref(), &user);
    Line { action: "unlock", secret: None, version: None, source: SOURCE }.record(call, Fate::Stays, done)?;
    let count = with(secrets, call, |vault| {
        let heads = vault.list()?;
        for head in &heads {
            call.check_cancelled()?;
            for version in &head.versions {
                vault.read(&head.name, Some(version.number))?;
            }
        }
        Ok(heads.len())
    })?;
    finish_rotation(secrets, call)?;
    change(call, || call.remove(LOCKED))?;
    call.write_note(&format!("the vault opens, and all of its {count} secrets can be read\n"))?;
    Ok(Output::done())
}

/// `kodiak secrets lock`.
pub fn lock(secrets: &Secrets, call: &Call) -> Result<Output> {
    vault::header(call)?.ok_or_else(vault::no_vault)?;
    change(call, || {
        let done = call.put(LOCKED, b"1");
        Line { action: "lock", secret: None, version: None, source: SOURCE }.record(call, Fate::Goes, done)
    })?;
    secrets.lock();
    Ok(Output::done())
}

/// `kodiak secrets set`.
pub fn set(secrets: &Secrets, call: &Call, given: &Set) -> Result<Output> {
    if !given.refused.is_empty() || given.value.is_some() {
        let error = Error::new("KDK-0002", "a value is never an argument: every user of the machine could read it");
        return Err(error.help(format!("kodiak secrets set {} < FILE, or without a pipe to be asked", given.name)));
    }
    open(secrets, call, &given.credential)?;
    let value = value(call, given.file.as_deref())?;
    let field = given.field.to_uppercase();
    change(call, || {
        let (mut action, mut version) = ("create", None);
        let done = with(secrets, call, |vault| {
            let mut fields = Fields::default();
            fields.set(&field, value.clone());
            version = Some(match vault.find(&given.name)? {
                Some(_) => {
                    action = "alter";
                    let (kind, scope) = (given.kind.clone(), given.scope.clone());
                    vault.alter(&given.name, &Change { kind, scope, set: fields, remove: Vec::new() })?
                }
                None => {
                    let kind = given.kind.as_deref().unwrap_or(GENERIC);
                    let scope = given.scope.as_deref().unwrap_or_default();
                    vault.create(&given.name, kind, scope, &fields, Existing::Refuse)?.unwrap_or(1)
                }
            });
            Ok(())
        });
        Line { action, secret: Some(&given.name), version, source: SOURCE }.record(call, Fate::Goes, done)?;
        call.own_object("secret", &given.name)
    })?;
    Ok(Output::done())
}

/// A value: from a file, from standard input verbatim, or typed without echo.
fn value(call: &Call, file: Option<&Path>) -> Result<Secret> {
    if let Some(path) = file.filter(|path| path.as_os_str() != "-") {
        let bytes = std::fs::read(path).map(Zeroizing::new).map_err(|error| io_error("read", path, &error))?;
        return Ok(bytes);
    }
    if file.is_none()
        && let Some(typed) = ask_terminal("Value: ")?
    {
        return Ok(typed);
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(SECRET_BYTES_MAX));
    loop {
        let piece = Zeroizing::new(call.read_input(SECRET_BYTES_MAX)?);
        if piece.is_empty() {
            return Ok(bytes);
        }
        if bytes.len() + piece.len() > SECRET_BYTES_MAX {
            return Err(code::TOO_LARGE.error(format!("a secret has at most {SECRET_BYTES_MAX} bytes")));
        }
        bytes.extend_from_slice(&piece);
    }
}

/// `kodiak secrets get`.
pub fn get(secrets: &Secrets, call: &Call, given: &Get) -> Result<Output> {
    if !given.reveal {
        let found = vault::heads(call)?.into_iter().find(|head| head.name == given.name);
        let head = found.ok_or_else(|| no_secret(&given.name))?;
        head.version(given.version)?;
        return shown::list(&[head]).map(Output::batch);
    }
    let opened = open(secrets, call, &given.credential);
    let read = opened.and_then(|()| with(secrets, call, |vault| vault.read(&given.name, given.version)));
    let version = read.as_ref().map_or(given.version, |(_, version, _)| Some(version.number));
    let line = Line { action: "get", secret: Some(&given.name), version, source: SOURCE };
    let read = read.and_then(|(head, _, fields)| pick(&head, &fields, given.field.as_deref()));
    let value = line.record(call, Fate::Stays, read)?;
    call.write_output(&value)?;
    call.write_output(b"\n")?;
    Ok(Output::done())
}

/// The field that is meant: that which is named, `VALUE`, or the only one.
pub fn pick(head: &Head, fields: &Fields, wanted: Option<&str>) -> Result<Secret> {
    let found = match wanted {
        Some(field) => fields.get(&field.to_uppercase()),
        None => fields.get(VALUE).or_else(|| match fields.names().as_slice() {
            [only] => fields.get(only),
            _ => None,
        }),
    };
    found.cloned().ok_or_else(|| no_field(&head.name, fields).help("--field NAME"))
}

/// `kodiak secrets list`.
pub fn list(call: &Call) -> Result<Output> {
    shown::list(&vault::heads(call)?).map(Output::batch)
}

/// `kodiak secrets rm`.
pub fn remove(secrets: &Secrets, call: &Call, given: &Rm) -> Result<Output> {
    let name = given.name.as_str();
    if given.dry_run {
        let found = vault::heads(call)?.into_iter().find(|head| head.name == name);
        return match found {
            Some(head) => shown::list(&[head]).map(Output::batch),
            None if given.if_exists => Ok(Output::done()),
            None => Err(no_secret(name)),
        };
    }
    open(secrets, call, &given.credential)?;
    change(call, || {
        let done = with(secrets, call, |vault| match vault.drop_secret(name) {
            Err(error) if given.if_exists && code::NO_SECRET.is(&error) => Ok(()),
            done => done,
        });
        Line { action: "drop", secret: Some(name), version: None, source: SOURCE }.record(call, Fate::Goes, done)?;
        call.disown_object("secret", name)
    })?;
    Ok(Output::done())
}

/// `kodiak secrets rotate`.
pub fn rotate(secrets: &Secrets, call: &Call, given: &Rotate) -> Result<Output> {
    open(secrets, call, &given.credential)?;
    let act = |action: &str, secret: Option<&str>, f: &dyn Fn(&mut Vault<'_>) -> Result<u32>| {
        change(call, || {
            let done = with(secrets, call, f);
            let version = done.as_ref().ok().copied();
            Line { action, secret, version, source: SOURCE }.record(call, Fate::Goes, done)
        })
    };
    if given.master {
        let version = act("rotate-master", None, &|vault| vault.rotate_master())?;
        call.write_note(&format!("root key {version}: every unlock slot is valid as before\n"))?;
    } else if given.key {
        // One that was interrupted is finished, not begun again.
        if with(secrets, call, |vault| vault.pending())? == 0 {
            act("rotate-key", None, &|vault| vault.rotate_key())?;
        }
        finish_rotation(secrets, call)?;
        let epoch = with(secrets, call, |vault| Ok(vault.state()?.epoch))?;
        call.write_note(&format!("key epoch {epoch}\n"))?;
    } else {
        let name = given.name.as_deref().unwrap_or_default();
        let version = act("rotate", Some(name), &|vault| statements::rotate(vault, name, None))?;
        call.write_note(&format!("secret `{name}` version {version}\n"))?;
    }
    Ok(Output::done())
}

/// Seals what older epochs wrap again, a group in each transaction: what is done stays done, whatever ends it.
fn finish_rotation(secrets: &Secrets, call: &Call) -> Result<()> {
    let total = with(secrets, call, |vault| vault.pending())?;
    let mut left = total;
    while left > 0 {
        call.check_cancelled()?;
        left = change(call, || with(secrets, call, |vault| vault.rewrap(GROUP)))?;
        call.progress((total - left.min(total)) as u64, total as u64, "sealed again");
    }
    Ok(())
}

/// `kodiak secrets status`.
pub fn status(secrets: &Secrets, call: &Call, given: &Status) -> Result<Output> {
    let Some(header) = vault::header(call)? else {
        return row("none", None, None, [None; 6], Some("kodiak secrets init makes a vault"));
    };
    let opened = open_quietly(secrets, call, given);
    let (state, reason) = match &opened {
        Ok(()) => ("open", None),
        Err(error) if is_closed(error) => ("locked", Some(error.text())),
        Err(error) => return Err(error.clone()),
    };
    let inner =
        opened.is_ok().then(|| with(secrets, call, |vault| Ok((vault.state()?, vault.pending()?)))).transpose()?;
    let kinds: Vec<&str> = header.slots.iter().map(|slot| slot.word()).collect();
    let count = vault::heads(call)?.len();
    let number = |value: u64| i64::try_from(value).ok();
    let numbers = [
        number(count as u64),
        number(header.slots.len() as u64),
        number(u64::from(header.root_version)),
        inner.map(|(state, _)| i64::from(state.epoch)),
        inner.and_then(|(_, pending)| number(pending as u64)),
        inner.and_then(|(state, _)| number(state.generation)),
    ];
    row(state, Some(&hex(&header.vault)), Some(&kinds.join(", ")), numbers, reason)
}

fn open_quietly(secrets: &Secrets, call: &Call, given: &Status) -> Result<()> {
    let warn = super::warn(call);
    // Looking at a vault asks nobody for a passphrase.
    let user = User { ask: &crate::extension::ask_nobody, warn: &warn };
    match given.credential.given()? {
        Some(given) => secrets.unlock(call, Some(&given), &user),
        None => secrets.with(call, &user, |_| Ok(())),
    }
}

fn is_closed(error: &Error) -> bool {
    [code::LOCKED, code::WRONG_KEY, code::KEYRING, code::KEY_FILE, code::FILE].iter().any(|code| code.is(error))
}

fn row(
    state: &str,
    vault: Option<&str>,
    slots: Option<&str>,
    numbers: [Option<i64>; 6],
    reason: Option<&str>,
) -> Result<Output> {
    let one = |value: Option<&str>| text([value].into_iter());
    let [secrets, slot_count, root, epoch, pending, generation] = numbers.map(|n| Arc::new(Int64Array::from(vec![n])));
    let batch = shown::batch([
        ("state", one(Some(state))),
        ("vault", one(vault)),
        ("secrets", secrets),
        ("slots", slot_count),
        ("opened_by", one(slots)),
        ("root_version", root),
        ("epoch", epoch),
        ("pending", pending),
        ("generation", generation),
        ("reason", one(reason)),
    ])?;
    Ok(Output::batch(batch))
}
