//! The plugin: holds the keys of an open vault for its database. It refuses to read what users write: that is the job
//! of its neighbours.

use crate::handles::Handles;
use crate::records::{LOCKED, Records};
use crate::unlock::{self, Given, User};
use crate::vault::{Unlocked, Vault};
use crate::{code, command, functions, handles, sql, statements};
use kodiak_plugin_api::prelude::*;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The vault of one database.
#[derive(Default)]
pub struct Secrets {
    held: Mutex<Held>,
    /// What other extensions hold.
    pub handles: Handles,
}

#[derive(Default)]
struct Held {
    keys: Option<Unlocked>,
    /// Set by LOCK SECRETS: only the user opens it again.
    locked: bool,
}

impl Plugin for Secrets {
    fn activate(_: &Host) -> Result<Self> {
        Ok(Self::default())
    }

    fn register(registrar: &mut Registrar<Self>) {
        command::register(registrar);
        statements::register(registrar);
        functions::register(registrar);
        handles::register(registrar);
    }

    fn migrate(&self, call: &Call, from: Option<&str>) -> Result<()> {
        sql::migrate(call, from)
    }

    fn shutdown(&self, _: Duration) -> Result<()> {
        self.lock();
        Ok(())
    }
}

impl Secrets {
    /// Runs `f` on the open vault as the call's transaction sees it, opened by what there is when it is not open yet.
    ///
    /// # Errors
    /// `NO_VAULT`, `LOCKED`, `TAMPERED`; those of `f`.
    pub fn with<T>(&self, call: &Call, user: &User<'_>, f: impl FnOnce(&mut Vault<'_>) -> Result<T>) -> Result<T> {
        let mut held = self.held();
        if let Some(keys) = &mut held.keys {
            match keys.vault(call, call.now()) {
                Ok(mut vault) => return f(&mut vault),
                // Another vault by now, or the slot is gone: the keys are of no use any more.
                Err(error) if code::LOCKED.is(&error) => held.keys = None,
                Err(error) => return Err(error),
            }
        }
        if held.locked {
            return Err(code::LOCKED.error("the vault was locked in this session").help("UNLOCK SECRETS"));
        }
        if call.get(LOCKED)?.is_some() {
            let error = code::LOCKED.error("the vault was locked by `kodiak secrets lock`");
            return Err(error.help("kodiak secrets unlock"));
        }
        let keys = held.keys.insert(unlock::unlock(call, None, user)?);
        f(&mut keys.vault(call, call.now())?)
    }

    /// Opens the vault with what was given, or with what there is.
    ///
    /// # Errors
    /// As [`unlock::unlock`].
    pub fn unlock(&self, call: &Call, given: Option<&Given>, user: &User<'_>) -> Result<()> {
        // Opened first: what does not open leaves an open vault as it is.
        let keys = unlock::unlock(call, given, user)?;
        *self.held() = Held { keys: Some(keys), locked: false };
        Ok(())
    }

    /// Takes the keys of a vault that was just made.
    pub fn hold(&self, keys: Unlocked) {
        *self.held() = Held { keys: Some(keys), locked: false };
    }

    /// Forgets the keys.
    pub fn lock(&self) {
        *self.held() = Held { keys: None, locked: true };
        self.handles.clear();
    }

    /// Whether the keys are here.
    pub fn is_open(&self) -> bool {
        self.held().keys.is_some()
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // No invariant spans a panic: what was not written completely is checked again.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nobody is at a terminal: statements never ask.
pub fn nobody(call: &Call) -> impl Fn(&str) + '_ {
    |warning| call.log(Level::Warn, warning)
}

/// Never asks.
///
/// # Errors
/// None.
pub fn ask_nobody(_: &str) -> Result<Option<crate::seal::Secret>> {
    Ok(None)
}
