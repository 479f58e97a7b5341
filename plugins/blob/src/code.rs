//! The codes of this extension's errors, in one table that docs/errors.md lists. It refuses to word messages: those
//! stand where the facts are known.

use kodiak_plugin_api::Error;
use std::io;
use std::path::Path;

kodiak_plugin_api::codes! {
    NO_BUCKET = "KDK-0500" "42704" "no such bucket";
    BUCKET_EXISTS = "KDK-0501" "42710" "the bucket exists already";
    BUCKET_NOT_EMPTY = "KDK-0502" "2BP01" "the bucket still has objects or versions";
    BUCKET_NAME = "KDK-0503" "42602" "not a name for a bucket";
    NO_KEY = "KDK-0504" "42704" "no such object, or its latest version is a delete marker";
    NO_VERSION = "KDK-0505" "42704" "no such version of the object";
    KEY = "KDK-0506" "22023" "not a key for an object";
    PRECONDITION = "KDK-0507" "23000" "a precondition does not hold";
    LIMIT = "KDK-0508" "54000" "too many tags, or too much metadata";
    TOO_LARGE = "KDK-0509" "54000" "the object is too large for a value";
    DAMAGED = "KDK-0510" "XX001" "a payload file is damaged";
    MISSING = "KDK-0511" "58P01" "a payload file is missing";
    FILE = "KDK-0512" "58030" "a file cannot be read or written";
    NO_SPACE = "KDK-0513" "53100" "no space left on the device";
    ADDRESS = "KDK-0514" "22023" "not an address of a bucket or object";
    RANGE = "KDK-0515" "22023" "not a range of bytes";
    VERSIONING = "KDK-0516" "55000" "the bucket's versioning does not allow this";
    RECORD = "KDK-0517" "XX001" "a row of the extension's tables makes no sense";
    SWEPT = "KDK-0518" "40001" "the payload was swept while it was being copied";
    VALUE = "KDK-0519" "42804" "neither text nor binary";
}

/// An I/O failure: the verb and the path always travel with it.
pub fn io_error(verb: &str, path: &Path, source: &io::Error) -> Error {
    let code = match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => NO_SPACE,
        _ => FILE,
    };
    code.error(format!("cannot {verb} `{}`: {source}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::ALL;

    #[test]
    fn codes_are_ordered_and_of_this_extension() {
        assert!(ALL.windows(2).all(|pair| pair[0].code < pair[1].code));
        assert!(ALL.iter().all(|code| code.code.starts_with("KDK-05") && code.sqlstate.len() == 5));
    }
}
