//! Where the vault's records are: small state of the extension's in the caller's transaction, behind a trait so that
//! memory can take its place. It refuses to know what a record means.

use kodiak_plugin_api::{Call, Result};

/// The header of the vault.
pub const HEADER: &[u8] = b"header";
/// What there must be: counts and sums over everything else.
pub const STATE: &[u8] = b"state";
/// There when `kodiak secrets lock` was said.
pub const LOCKED: &[u8] = b"locked";
/// Epoch keys, by number.
pub const EPOCHS: &[u8] = b"epoch/";
/// Heads of secrets, by name.
pub const HEADS: &[u8] = b"head/";
/// Sealed versions, by identity and number.
pub const VERSIONS: &[u8] = b"version/";

/// Keys and values, ordered by key, in a transaction.
#[allow(clippy::missing_errors_doc, reason = "each fails as the transaction behind it does")]
pub trait Records {
    /// A value.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>>;
    /// Sets a value.
    fn put(&self, key: &[u8], value: &[u8]) -> Result<()>;
    /// Removes a value.
    fn remove(&self, key: &[u8]) -> Result<()>;
    /// Every entry whose key starts with `prefix`, in order.
    fn scan(&self, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>>;
}

impl Records for Call {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.kv_get(key)
    }

    fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.kv_put(key, value)
    }

    fn remove(&self, key: &[u8]) -> Result<()> {
        self.kv_remove(key)
    }

    fn scan(&self, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        self.kv_scan(prefix)
    }
}

/// The key of an epoch.
pub fn epoch(number: u32) -> Vec<u8> {
    [EPOCHS, &number.to_be_bytes()].concat()
}

/// The key of a head.
pub fn head(name: &str) -> Vec<u8> {
    [HEADS, name.as_bytes()].concat()
}

/// The key of a sealed version.
pub fn version(id: &[u8; 16], number: u32) -> Vec<u8> {
    [VERSIONS, id, &number.to_be_bytes()].concat()
}
