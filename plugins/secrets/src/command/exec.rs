//! `kodiak secrets exec`: a program takes this one's place, with secrets in its environment. It refuses to leave what
//! opens the vault there.

use super::arguments::Exec;
use super::vault::pick;
use super::{SOURCE, open, with};
use crate::audit::{Fate, Line};
use crate::code;
use crate::extension::Secrets;
use crate::harden;
use crate::record::VALUE;
use crate::seal::Secret;
use crate::unlock::{KEY_FILE_VARIABLE, PASSPHRASE_VARIABLE};
use kodiak_plugin_api::prelude::*;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Runs the program.
pub fn run(secrets: &Secrets, call: &Call, given: &Exec) -> Result<Output> {
    open(secrets, call, &given.credential)?;
    let variables = variables(secrets, call, given)?;
    let mut command = Command::new(&given.command[0]);
    command.args(&given.command[1..]).env_remove(KEY_FILE_VARIABLE).env_remove(PASSPHRASE_VARIABLE);
    for (name, value) in &variables {
        command.env(name, OsStr::from_bytes(value));
    }
    secrets.lock();
    harden::release();
    // Only comes back when it could not: exit code and signals are the program's own.
    let error = command.exec();
    Err(code::FILE.error(format!("cannot run `{}`: {error}", given.command[0])))
}

fn variables(secrets: &Secrets, call: &Call, given: &Exec) -> Result<BTreeMap<String, Secret>> {
    let mut variables = BTreeMap::new();
    if !given.env.is_empty() {
        for wanted in &given.env {
            let (variable, place) = wanted.split_once('=').ok_or_else(|| usage(wanted))?;
            let (name, field) = match place.split_once(':') {
                Some((name, field)) => (name, Some(field)),
                None => (place, None),
            };
            let read = with(secrets, call, |vault| {
                let (head, version, fields) = vault.read(name, None)?;
                Ok((version.number, pick(&head, &fields, field)?))
            });
            let (_, value) = audited(call, name, read, |(version, _)| *version)?;
            add(&mut variables, variable.to_owned(), value)?;
        }
        return Ok(variables);
    }
    let names = match given.only.is_empty() {
        false => given.only.clone(),
        true => with(secrets, call, |vault| Ok(vault.list()?.into_iter().map(|head| head.name).collect()))?,
    };
    for name in names {
        let read = with(secrets, call, |vault| vault.read(&name, None));
        let (_, _, fields) = audited(call, &name, read, |(_, version, _)| version.number)?;
        for (field, value) in fields.iter() {
            let variable = if field == VALUE { shout(&name) } else { format!("{}_{}", shout(&name), shout(field)) };
            add(&mut variables, variable, value.clone())?;
        }
    }
    Ok(variables)
}

fn audited<T>(call: &Call, name: &str, read: Result<T>, version: impl Fn(&T) -> u32) -> Result<T> {
    let version = read.as_ref().ok().map(version);
    Line { action: "exec", secret: Some(name), version, source: SOURCE }.record(call, Fate::Stays, read)
}

fn add(variables: &mut BTreeMap<String, Secret>, name: String, value: Secret) -> Result<()> {
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err(code::NAME.error(format!("`{name}` cannot be the name of a variable")));
    }
    if value.contains(&0) {
        return Err(code::VALUE.error(format!("the value for `{name}` holds a zero byte, which no variable can")));
    }
    if variables.contains_key(&name) {
        let error = code::NAME.error(format!("two secrets would be the variable `{name}`"));
        return Err(error.help("--env VARIABLE=SECRET:FIELD"));
    }
    variables.insert(name, value);
    Ok(())
}

/// A name as variables are written.
fn shout(name: &str) -> String {
    let mut shouted: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect();
    if shouted.starts_with(|c: char| c.is_ascii_digit()) {
        shouted.insert(0, '_');
    }
    shouted
}

fn usage(wanted: &str) -> Error {
    Error::new("KDK-0002", format!("`{wanted}` is not VARIABLE=SECRET or VARIABLE=SECRET:FIELD"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use zeroize::Zeroizing;

    #[test]
    fn names_become_variables_and_never_meet() {
        assert_eq!((shout("db-password").as_str(), shout("2fa").as_str()), ("DB_PASSWORD", "_2FA"));
        let (mut all, value) = (BTreeMap::new(), || Zeroizing::new(b"v".to_vec()));
        add(&mut all, "A_B".into(), value()).unwrap();
        assert!(code::NAME.is(&add(&mut all, "A_B".into(), value()).unwrap_err()));
        assert!(code::NAME.is(&add(&mut all, "A=B".into(), value()).unwrap_err()));
        assert!(code::VALUE.is(&add(&mut all, "C".into(), Zeroizing::new(vec![0])).unwrap_err()));
    }
}
