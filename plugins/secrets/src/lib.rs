//! A vault for passwords, keys and tokens inside the database, which neither its files nor a log nor a backup open.
//!
//! From the outside in: `statements` (read by `syntax`), `functions` and `command` take what users write; `unlock`
//! finds a key by what the user gave, or by `keyfile`, `passphrase`, `recovery` and `keyring`; `vault` decides, on the
//! records that `records` keeps in the caller's transaction; `header`, `slot`, `record` and `state` say what those
//! records are; everything that is encrypted goes through `seal`. `audit` writes down who read what.

mod audit;
pub mod bench;
mod bundle;
mod code;
mod command;
mod extension;
mod functions;
mod handles;
mod harden;
mod header;
mod keyfile;
mod keyring;
#[cfg(test)]
mod memory;
mod passphrase;
mod record;
mod records;
mod recovery;
mod seal;
mod shown;
mod slot;
mod sql;
mod state;
mod statements;
mod syntax;
mod unlock;
mod vault;
mod wire;

pub use code::ALL as CODES;
pub use extension::Secrets;

/// What every record that is sealed or authenticated begins with.
const MAGIC: &[u8] = b"KODIAK-SECRETS";
/// The format of the vault.
const FORMAT_VERSION: u16 = 1;

kodiak_plugin_api::export_plugin!(Secrets);
