//! The codes of this extension's errors, in one table that docs/errors.md lists. It refuses to word messages: those
//! stand where the facts are known, and no message ever holds what a statement gave as a value.

use kodiak_plugin_api::Error;
use std::io;
use std::path::Path;

kodiak_plugin_api::codes! {
    NO_VAULT = "KDK-0600" "55000" "the database has no vault yet";
    VAULT_EXISTS = "KDK-0601" "42710" "the database has a vault already";
    LOCKED = "KDK-0602" "55000" "the vault is locked";
    WRONG_KEY = "KDK-0603" "28P01" "the vault does not open with this key, passphrase or code";
    NO_SECRET = "KDK-0604" "42704" "no such secret, version or field";
    SECRET_EXISTS = "KDK-0605" "42710" "the secret exists already";
    NAME = "KDK-0606" "42602" "not a name for a secret, type or field";
    TOO_LARGE = "KDK-0607" "54000" "the secret is too large";
    TAMPERED = "KDK-0608" "XX001" "a record of the vault was changed by something else than the vault";
    FORMAT = "KDK-0609" "XX001" "the vault was written by another version of the format";
    WEAK = "KDK-0610" "22023" "parameters of a passphrase that are too weak, or too expensive";
    KEY_FILE = "KDK-0611" "42501" "a key file that others may read, or that is none";
    KEYRING = "KDK-0612" "58000" "the system's keyring is not there, locked or does not answer";
    SLOT = "KDK-0613" "55000" "the unlock slot is not there, or is the last one";
    BUNDLE = "KDK-0614" "22P04" "an exported bundle that is damaged or is none";
    ROUTINE = "KDK-0615" "42501" "values of secrets are only given to routines";
    VALUE = "KDK-0616" "42804" "what was given cannot be the value of a secret";
    FILE = "KDK-0617" "58030" "a file or descriptor cannot be read or written";
    CHANCE = "KDK-0618" "58000" "the system gives no random numbers";
}

/// An I/O failure: the verb and the path always travel with it.
pub fn io_error(verb: &str, path: &Path, source: &io::Error) -> Error {
    FILE.error(format!("cannot {verb} `{}`: {source}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::ALL;

    #[test]
    fn codes_are_ordered_and_of_this_extension() {
        assert!(ALL.windows(2).all(|pair| pair[0].code < pair[1].code));
        assert!(ALL.iter().all(|code| code.code.starts_with("KDK-06") && code.sqlstate.len() == 5));
    }
}
