//! What buckets and objects may be called, and how much may be said about them. It refuses to touch a path: a key is
//! text and never becomes a file name.

use crate::code;
use kodiak_plugin_api::Result;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// Bytes that a key may have.
pub const KEY_BYTES_MAX: usize = 1024;
/// Tags that an object may have.
pub const TAGS_MAX: usize = 10;
/// Bytes of metadata, names and values together.
pub const METADATA_BYTES_MAX: usize = 2048;

const BUCKET_BYTES_MAX: usize = 63;
const TAG_NAME_CHARACTERS_MAX: usize = 128;
const TAG_VALUE_CHARACTERS_MAX: usize = 256;

/// Names with values, ordered by name.
pub type Pairs = BTreeMap<String, String>;

/// Checks a bucket's name by S3's rules, except that one or two characters will do.
///
/// Source: "Bucket naming rules", Amazon S3 User Guide.
///
/// # Errors
/// `BUCKET_NAME`, with the rule that is broken.
pub fn check_bucket(name: &str) -> Result<()> {
    match broken_rule(name) {
        None => Ok(()),
        Some(rule) => Err(code::BUCKET_NAME.error(format!("`{name}` cannot be the name of a bucket: {rule}"))),
    }
}

fn broken_rule(name: &str) -> Option<&'static str> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = name.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return Some("it is empty");
    };
    if bytes.len() > BUCKET_BYTES_MAX {
        return Some("it has more than 63 characters");
    }
    if !bytes.iter().all(|byte| plain(*byte) || *byte == b'-' || *byte == b'.') {
        return Some("only a-z, 0-9, `-` and `.` are allowed");
    }
    if !plain(*first) || !plain(*last) {
        return Some("it begins and ends with a letter or digit");
    }
    if name.contains("..") {
        return Some("two dots in a row");
    }
    if name.parse::<Ipv4Addr>().is_ok() {
        return Some("it looks like an IP address");
    }
    let reserved = ["xn--", "sthree-", "amzn-s3-demo-"].iter().any(|prefix| name.starts_with(prefix))
        || ["-s3alias", "--ol-s3", ".mrap", "--x-s3"].iter().any(|suffix| name.ends_with(suffix));
    reserved.then_some("S3 reserves this prefix or suffix")
}

/// Checks a key: 1 to 1024 bytes of UTF-8, anything else goes.
///
/// # Errors
/// `KEY`.
pub fn check_key(key: &str) -> Result<()> {
    if key.is_empty() {
        return Err(code::KEY.error("a key is not empty"));
    }
    if key.len() > KEY_BYTES_MAX {
        let length = key.len();
        return Err(code::KEY.error(format!("a key has at most {KEY_BYTES_MAX} bytes, this one has {length}")));
    }
    Ok(())
}

/// Checks an object's tags.
///
/// # Errors
/// `LIMIT`.
pub fn check_tags(tags: &Pairs) -> Result<()> {
    if tags.len() > TAGS_MAX {
        return Err(code::LIMIT.error(format!("an object has at most {TAGS_MAX} tags, not {}", tags.len())));
    }
    for (name, value) in tags {
        if name.is_empty() || name.chars().count() > TAG_NAME_CHARACTERS_MAX {
            return Err(code::LIMIT.error(format!("a tag's name has 1 to {TAG_NAME_CHARACTERS_MAX} characters")));
        }
        if value.chars().count() > TAG_VALUE_CHARACTERS_MAX {
            let message = format!("the tag `{name}` has a value of more than {TAG_VALUE_CHARACTERS_MAX} characters");
            return Err(code::LIMIT.error(message));
        }
    }
    Ok(())
}

/// Checks an object's metadata.
///
/// # Errors
/// `LIMIT`.
pub fn check_metadata(metadata: &Pairs) -> Result<()> {
    if metadata.keys().any(String::is_empty) {
        return Err(code::LIMIT.error("a name in metadata is not empty"));
    }
    let bytes: usize = metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > METADATA_BYTES_MAX {
        let message =
            format!("metadata has at most {METADATA_BYTES_MAX} bytes, names and values together, not {bytes}");
        return Err(code::LIMIT.error(message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_names_follow_the_rules_of_s3() {
        for good in ["b", "raw", "a-b.c-9", "0", &"a".repeat(63), "1.2.3"] {
            assert!(check_bucket(good).is_ok(), "{good}");
        }
        let long = "a".repeat(64);
        for bad in [
            "",
            "Raw",
            "a_b",
            "-a",
            "a-",
            ".a",
            "a.",
            "a..b",
            "192.168.0.1",
            "xn--a",
            "a-s3alias",
            "ä",
            "a/b",
            "a b",
            "..",
            &long,
        ] {
            let error = check_bucket(bad).unwrap_err();
            assert!(code::BUCKET_NAME.is(&error), "{bad}");
        }
    }

    #[test]
    fn keys_may_be_anything_up_to_1024_bytes() {
        for good in ["a", "../..", "//", "\u{1f43b}", " ", "a\nb", &"ü".repeat(512)] {
            assert!(check_key(good).is_ok(), "{good:?}");
        }
        assert!(check_key("").is_err());
        assert!(check_key(&"x".repeat(1025)).is_err());
        assert!(check_key(&"ü".repeat(513)).is_err());
    }

    #[test]
    fn tags_and_metadata_have_limits() {
        let tags = |count: usize| (0..count).map(|i| (format!("t{i}"), "v".to_owned())).collect::<Pairs>();
        assert!(check_tags(&tags(10)).is_ok());
        assert!(check_tags(&tags(11)).is_err());
        assert!(check_tags(&[("t".to_owned(), "v".repeat(257))].into()).is_err());
        assert!(check_tags(&[("t".repeat(129), "v".to_owned())].into()).is_err());
        assert!(check_metadata(&[("k".to_owned(), "v".repeat(2047))].into()).is_ok());
        assert!(check_metadata(&[("k".to_owned(), "v".repeat(2048))].into()).is_err());
        assert!(check_metadata(&[(String::new(), "v".to_owned())].into()).is_err());
    }
}
