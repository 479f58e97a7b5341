//! `kodiak secrets`: reads its arguments and sends them to the file that does the work.

mod arguments;
mod exec;
mod slots;
mod transfer;
mod vault;

pub use vault::pick;

use crate::extension::Secrets;
use crate::seal::Secret;
use crate::unlock::{Given, User, ask_terminal};
use crate::vault::Vault;
use arguments::{Arguments, Credential, Slots, Verb};
use kodiak_plugin_api::prelude::*;

/// How the audit names the command.
const SOURCE: &str = "command";
/// How often a change is tried again that met another process's.
const TRIES_MAX: usize = 20;

/// Registers the command.
pub fn register(registrar: &mut Registrar<Secrets>) {
    registrar.command(run);
}

fn run(secrets: &Secrets, call: &Call, arguments: Arguments) -> Result<Output> {
    match arguments.verb {
        Verb::Init(given) => slots::init(secrets, call, &given),
        Verb::Unlock(given) => vault::unlock(secrets, call, &given),
        Verb::Lock => vault::lock(secrets, call),
        Verb::Set(given) => vault::set(secrets, call, &given),
        Verb::Get(given) => vault::get(secrets, call, &given),
        Verb::List => vault::list(call),
        Verb::Rm(given) => vault::remove(secrets, call, &given),
        Verb::Rotate(given) => vault::rotate(secrets, call, &given),
        Verb::Slots(Slots::Add(given)) => slots::add(secrets, call, &given),
        Verb::Slots(Slots::Remove(given)) => slots::remove(secrets, call, &given),
        Verb::Slots(Slots::List) => slots::list(call),
        Verb::Recovery(given) => slots::recovery(secrets, call, &given),
        Verb::Export(given) => transfer::export(secrets, call, &given),
        Verb::Import(given) => transfer::import(secrets, call, &given),
        Verb::Status(given) => vault::status(secrets, call, &given),
        Verb::Exec(given) => exec::run(secrets, call, &given),
    }
}

/// Opens the vault for the rest of the command.
fn open(secrets: &Secrets, call: &Call, credential: &Credential) -> Result<()> {
    open_with(secrets, call, credential.given()?.as_ref())
}

fn open_with(secrets: &Secrets, call: &Call, given: Option<&Given>) -> Result<()> {
    let warn = warn(call);
    let user = User { ask: &ask_terminal, warn: &warn };
    match given {
        // What the user named for this command opens it whatever `lock` says.
        Some(given) => secrets.unlock(call, Some(given), &user),
        None => secrets.with(call, &user, |_| Ok(())),
    }
}

/// Works on the vault that [`open`] opened.
fn with<T>(secrets: &Secrets, call: &Call, f: impl FnOnce(&mut Vault<'_>) -> Result<T>) -> Result<T> {
    let warn = warn(call);
    secrets.with(call, &User { ask: &ask_terminal, warn: &warn }, f)
}

/// Changes the vault in a transaction, and again when another process changed it first.
fn change<T>(call: &Call, f: impl Fn() -> Result<T>) -> Result<T> {
    let mut tries = 1;
    loop {
        match call.atomically(&f) {
            Err(error) if error.state() == "40001" && tries < TRIES_MAX => {
                call.check_cancelled()?;
                tries += 1;
            }
            done => return done,
        }
    }
}

fn warn(call: &Call) -> impl Fn(&str) + '_ {
    |warning| {
        // A warning that cannot be written is no reason to fail.
        let _ = call.write_note(&format!("warning: {warning}\n"));
    }
}

/// A passphrase for something new: from a descriptor, or typed twice.
fn new_passphrase(descriptor: Option<u32>, prompt: &str) -> Result<Secret> {
    use crate::passphrase::check_new;
    let passphrase = match descriptor {
        Some(descriptor) => crate::unlock::from_descriptor(descriptor)?,
        None => {
            let first = ask_terminal(prompt)?.ok_or_else(|| no_terminal("a passphrase"))?;
            let second = ask_terminal("Again: ")?.ok_or_else(|| no_terminal("a passphrase"))?;
            if *first != *second {
                return Err(crate::code::WRONG_KEY.error("the two passphrases differ"));
            }
            first
        }
    };
    check_new(&passphrase).map(|()| passphrase)
}

fn no_terminal(what: &str) -> Error {
    let error = Error::new("KDK-0003", format!("there is no terminal to ask for {what}"));
    error.help("--passphrase-fd N, --key-file PATH or --keyring")
}
