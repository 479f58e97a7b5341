//! Runs statements in the caller's transaction. It refuses to give a value to anybody.

use crate::audit::{Fate, Line};
use crate::code;
use crate::extension::{Secrets, ask_nobody, nobody};
use crate::syntax::{Request, Using, read};
use crate::unlock::{Given, User};
use crate::vault::{Change, Existing, Vault};
use kodiak_plugin_api::prelude::*;

const CLAIMS: &[&str] = &[
    "CREATE SECRET",
    "CREATE OR REPLACE SECRET",
    "ALTER SECRET",
    "DROP SECRET",
    "ROTATE SECRET",
    "ROTATE KEY",
    "ROTATE MASTER",
    "UNLOCK SECRETS",
    "LOCK SECRETS",
];

/// Secrets that a statement seals again under a new epoch; the rest follows with later changes.
const REWRAP_MAX: usize = 1000;
/// Secrets that a change takes along.
const REWRAP_ALONG: usize = 16;
/// How the audit names statements.
const SOURCE: &str = "statement";

/// Registers every claim.
pub fn register(registrar: &mut Registrar<Secrets>) {
    for claim in CLAIMS {
        registrar.statement(claim, run);
    }
}

fn run(secrets: &Secrets, call: &Call, statement: &Statement) -> Result<Outcome> {
    match read(statement)? {
        Request::Create { name, kind, scope, fields, replace, keep } => {
            let existing = match (replace, keep) {
                (true, _) => Existing::Replace,
                (_, true) => Existing::Keep,
                _ => Existing::Refuse,
            };
            let create = |vault: &mut Vault<'_>| vault.create(&name, &kind, &scope, &fields, existing);
            let version = change(secrets, call, "create", Some(&name), create)?;
            if version.is_some() {
                call.own_object("secret", &name)?;
            }
        }
        Request::Alter { name, change: wanted } => {
            change(secrets, call, "alter", Some(&name), |vault| vault.alter(&name, &wanted).map(Some))?;
        }
        Request::Drop { name, if_exists } => {
            let dropped = change(secrets, call, "drop", Some(&name), |vault| vault.drop_secret(&name).map(|()| None));
            match dropped {
                Err(error) if if_exists && code::NO_SECRET.is(&error) => return Ok(Outcome::done()),
                dropped => dropped?,
            };
            call.disown_object("secret", &name)?;
        }
        Request::Rotate { name, change: wanted } => {
            change(secrets, call, "rotate", Some(&name), |vault| rotate(vault, &name, wanted.as_ref()).map(Some))?;
        }
        Request::RotateKey => {
            change(secrets, call, "rotate-key", None, |vault| {
                let epoch = vault.rotate_key()?;
                vault.rewrap(REWRAP_MAX).map(|_| Some(epoch))
            })?;
        }
        Request::RotateMaster => {
            change(secrets, call, "rotate-master", None, |vault| vault.rotate_master().map(Some))?;
        }
        Request::Unlock(using) => {
            let given = using.map(|using| match using {
                Using::Passphrase(passphrase) => Given::Passphrase(passphrase),
                Using::KeyFile(path) => Given::KeyFile(path),
            });
            let warn = nobody(call);
            let done = secrets.unlock(call, given.as_ref(), &User { ask: &ask_nobody, warn: &warn });
            Line { action: "unlock", secret: None, version: None, source: SOURCE }.record(call, Fate::Stays, done)?;
        }
        Request::Lock => {
            secrets.lock();
            Line { action: "lock", secret: None, version: None, source: SOURCE }.record(call, Fate::Stays, Ok(()))?;
        }
    }
    Ok(Outcome::done())
}

/// Gives a secret a new version: with new values, or with the same ones sealed again.
///
/// # Errors
/// As [`Vault::alter`].
pub fn rotate(vault: &mut Vault<'_>, name: &str, change: Option<&Change>) -> Result<u32> {
    match change {
        Some(change) => vault.alter(name, change),
        None => vault.rotate_secret(name),
    }
}

/// Changes the vault and writes that down, and goes on with a rotation of the epoch that is under way.
fn change(
    secrets: &Secrets,
    call: &Call,
    action: &str,
    secret: Option<&str>,
    f: impl FnOnce(&mut Vault<'_>) -> Result<Option<u32>>,
) -> Result<Option<u32>> {
    let warn = nobody(call);
    let done = secrets.with(call, &User { ask: &ask_nobody, warn: &warn }, |vault| {
        let done = f(vault)?;
        if vault.pending()? > 0 {
            vault.rewrap(REWRAP_ALONG)?;
        }
        Ok(done)
    });
    let version = done.as_ref().ok().copied().flatten();
    Line { action, secret, version, source: SOURCE }.record(call, Fate::Goes, done)
}
