//! A vault in memory for the benchmark of this crate, which sees nothing but the crate's door. It refuses to be of use
//! to anybody else.

use crate::passphrase::{self, Cost};
use crate::record::Fields;
use crate::records::Records;
use crate::seal::Key;
use crate::shown;
use crate::slot::Kind;
use crate::vault::{self, Existing, Unlocked};
use kodiak_plugin_api::Result;
use std::cell::RefCell;
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// A vault with a passphrase and so many secrets.
pub struct Bench {
    records: Map,
    keys: RefCell<Unlocked>,
}

#[derive(Default)]
struct Map(RefCell<BTreeMap<Vec<u8>, Vec<u8>>>);

impl Records for Map {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.0.borrow().get(key).cloned())
    }

    fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.0.borrow_mut().insert(key.to_vec(), value.to_vec());
        Ok(())
    }

    fn remove(&self, key: &[u8]) -> Result<()> {
        self.0.borrow_mut().remove(key);
        Ok(())
    }

    fn scan(&self, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let map = self.0.borrow();
        let found = map.range(prefix.to_vec()..).take_while(|(key, _)| key.starts_with(prefix));
        Ok(found.map(|(key, value)| (key.clone(), value.clone())).collect())
    }
}

const PASSPHRASE: &[u8] = b"correct horse battery staple";

impl Bench {
    /// Makes it.
    ///
    /// # Errors
    /// None that a user could cause.
    pub fn new(secrets: usize) -> Result<Self> {
        let (records, cost, salt) = (Map::default(), Cost::default(), passphrase::salt()?);
        let key = cost.stretch(PASSPHRASE, &salt)?;
        let mut keys = vault::init(&records, 0, vault::new_id()?, Kind::Passphrase { cost, salt }, &key)?;
        for number in 0..secrets {
            let fields = Fields::simple(Zeroizing::new(format!("value of {number}").into_bytes()));
            let (name, scope) = (format!("secret-{number:05}"), format!("s3://bucket-{number}/"));
            keys.vault(&records, 0)?.create(&name, "s3", &scope, &fields, Existing::Refuse)?;
        }
        Ok(Self { records, keys: RefCell::new(keys) })
    }

    /// Opens one secret in the open vault; gives how many bytes its value has.
    ///
    /// # Errors
    /// `NO_SECRET`.
    pub fn open(&self, number: usize) -> Result<usize> {
        let mut keys = self.keys.borrow_mut();
        let (_, _, fields) = keys.vault(&self.records, 0)?.read(&format!("secret-{number:05}"), None)?;
        Ok(fields.iter().map(|(_, value)| value.len()).sum())
    }

    /// Lists every secret as rows; gives how many there are.
    ///
    /// # Errors
    /// None that a user could cause.
    pub fn list(&self) -> Result<usize> {
        Ok(shown::list(&vault::heads(&self.records)?)?.num_rows())
    }

    /// Finds the secret for a path.
    ///
    /// # Errors
    /// None that a user could cause.
    pub fn which(&self, path: &str) -> Result<Option<String>> {
        vault::which(&self.records, path, Some("s3"))
    }

    /// Opens the vault by its passphrase, and checks every record.
    ///
    /// # Errors
    /// None that a user could cause.
    pub fn unlock(&self) -> Result<bool> {
        let opened = vault::unlock(&self.records, |_, slot| match &slot.kind {
            Kind::Passphrase { cost, salt } => Some(cost.stretch(PASSPHRASE, salt)),
            _ => None,
        })?;
        Ok(opened.is_some())
    }

    /// Argon2id alone.
    ///
    /// # Errors
    /// None that a user could cause.
    pub fn stretch(&self) -> Result<()> {
        Cost::default().stretch(PASSPHRASE, &[7; passphrase::SALT_BYTES]).map(|key: Key| drop(key))
    }
}
