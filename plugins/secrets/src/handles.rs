//! What other extensions get in place of a secret: a handle, good for the extension that asked and for nobody else, as
//! long as this process has the vault open. The host checks that they declare this extension and may call its services,
//! and says who calls; SQL of a user's does not reach them. Each value that is given is written down first.

use crate::audit::{Fate, Line};
use crate::code;
use crate::command::pick;
use crate::extension::{Secrets, ask_nobody, nobody};
use crate::seal::random;
use crate::unlock::User;
use crate::wire::hex;
use kodiak_plugin_api::prelude::*;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Handles that are good at once; the oldest one goes first.
const HANDLES_MAX: usize = 4096;

/// The handles of one process.
#[derive(Default)]
pub struct Handles(Mutex<VecDeque<Handle>>);

struct Handle {
    text: String,
    extension: String,
    secret: String,
}

impl Handles {
    fn add(&self, extension: &str, secret: &str) -> Result<String> {
        let text = format!("secret-{}", hex(&random::<16>()?));
        let mut handles = self.lock();
        if handles.len() >= HANDLES_MAX {
            handles.pop_front();
        }
        let (extension, secret) = (extension.to_owned(), secret.to_owned());
        handles.push_back(Handle { text: text.clone(), extension, secret });
        Ok(text)
    }

    /// The secret behind a handle of this extension's.
    fn find(&self, extension: &str, text: &str) -> Option<String> {
        let handles = self.lock();
        let found = handles.iter().find(|handle| handle.text == text && handle.extension == extension);
        found.map(|handle| handle.secret.clone())
    }

    /// Makes every handle worthless.
    pub fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Handle>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Registers both services.
pub fn register(registrar: &mut Registrar<Secrets>) {
    let handle = Signature::<(Text, Text), Text>::volatile();
    registrar
        .scalar_with("secret_handle", handle, |secrets, call, (extension, name)| open(secrets, call, extension, name));
    let value = Signature::<(Text, Text, Nullable<Text>), Binary>::volatile();
    registrar.scalar_with("secret_value", value, |secrets, call, (extension, handle, field)| {
        read(secrets, call, extension, handle, field)
    });
}

fn open(secrets: &Secrets, call: &Call, extension: &str, name: &str) -> Result<String> {
    let warn = nobody(call);
    let user = User { ask: &ask_nobody, warn: &warn };
    secrets.with(call, &user, |vault| vault.head(name).map(drop))?;
    secrets.handles.add(extension, name)
}

fn read(secrets: &Secrets, call: &Call, extension: &str, handle: &str, field: Option<&str>) -> Result<Vec<u8>> {
    let secret = secrets.handles.find(extension, handle).ok_or_else(|| {
        code::NO_SECRET.error(format!("`{extension}` has no such handle of a secret")).help("ask for a new one")
    })?;
    let warn = nobody(call);
    let user = User { ask: &ask_nobody, warn: &warn };
    let read = secrets.with(call, &user, |vault| vault.read(&secret, None));
    let version = read.as_ref().ok().map(|(_, version, _)| version.number);
    let read = read.and_then(|(head, _, fields)| pick(&head, &fields, field));
    let line = Line { action: "get", secret: Some(&secret), version, source: extension };
    line.record(call, Fate::Stays, read).map(|value| value.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_is_its_extensions_alone_and_ends_with_the_lock() {
        let handles = Handles::default();
        let text = handles.add("a", "n").unwrap();
        assert_eq!(handles.find("a", &text).as_deref(), Some("n"));
        assert_eq!((handles.find("b", &text), handles.find("a", "secret-0")), (None, None));
        assert_ne!(handles.add("a", "n").unwrap(), text);
        handles.clear();
        assert_eq!(handles.find("a", &text), None);
    }
}
