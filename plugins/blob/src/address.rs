//! `blob://bucket/key`, and how it is told from a path. The key is everything behind the bucket's slash, verbatim: no
//! percent signs, no dots, no slashes are interpreted.

use crate::{code, name};
use kodiak_plugin_api::Result;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

const SCHEME: &str = "blob://";

/// A bucket, and a key or prefix in it, which may be empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The bucket's name, valid.
    pub bucket: String,
    /// A key or a prefix, verbatim.
    pub key: String,
}

/// What a command copies from or to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// `-`: standard input or output.
    Standard,
    /// A file or folder.
    Path(PathBuf),
    /// In a bucket.
    Blob(Address),
}

impl Address {
    /// The key of one object.
    ///
    /// # Errors
    /// `ADDRESS` when there is none, `KEY` when it is too long.
    pub fn object(&self) -> Result<&str> {
        if self.key.is_empty() {
            let help = format!("name an object as {self}KEY");
            return Err(code::ADDRESS.error(format!("`{self}` names a bucket, not an object")).help(help));
        }
        name::check_key(&self.key)?;
        Ok(&self.key)
    }

    /// The bucket of an address without a key.
    ///
    /// # Errors
    /// `ADDRESS` when there is a key.
    pub fn only_bucket(&self) -> Result<&str> {
        if !self.key.is_empty() {
            let message = format!("`{self}` names an object or a prefix, not a bucket");
            return Err(code::ADDRESS.error(message).help(format!("kodiak blob … {SCHEME}{}", self.bucket)));
        }
        Ok(&self.bucket)
    }
}

impl FromStr for Address {
    type Err = kodiak_plugin_api::Error;

    fn from_str(text: &str) -> Result<Self> {
        let rest = text.strip_prefix(SCHEME).ok_or_else(|| {
            code::ADDRESS.error(format!("`{text}` is not an address, which is written blob://bucket/key"))
        })?;
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        name::check_bucket(bucket)?;
        Ok(Self { bucket: bucket.to_owned(), key: key.to_owned() })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}", self.bucket, self.key)
    }
}

impl FromStr for Place {
    type Err = kodiak_plugin_api::Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "-" => Ok(Self::Standard),
            _ if text.starts_with(SCHEME) => text.parse().map(Self::Blob),
            _ => Ok(Self::Path(text.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_verbatim() {
        for key in ["a", "a/b", "/a", "//", "../x", "a?b#c%20", "ключ", "a/"] {
            let address: Address = format!("blob://raw/{key}").parse().unwrap();
            assert_eq!((address.bucket.as_str(), address.key.as_str()), ("raw", key));
            assert_eq!(address.to_string(), format!("blob://raw/{key}"));
        }
    }

    #[test]
    fn a_bucket_alone_has_no_object() {
        for text in ["blob://raw", "blob://raw/"] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.only_bucket().unwrap(), "raw");
            assert!(code::ADDRESS.is(&address.object().unwrap_err()));
        }
        let address: Address = "blob://raw/k".parse().unwrap();
        assert_eq!(address.object().unwrap(), "k");
        assert!(code::ADDRESS.is(&address.only_bucket().unwrap_err()));
    }

    #[test]
    fn what_is_no_address_is_refused_or_a_path() {
        assert!(code::ADDRESS.is(&"s3://a/b".parse::<Address>().unwrap_err()));
        assert!(code::BUCKET_NAME.is(&"blob://".parse::<Address>().unwrap_err()));
        assert!(code::BUCKET_NAME.is(&"blob:///k".parse::<Address>().unwrap_err()));
        assert!(code::BUCKET_NAME.is(&"blob://A/k".parse::<Address>().unwrap_err()));
        assert_eq!("-".parse::<Place>().unwrap(), Place::Standard);
        assert_eq!("./blob:/x".parse::<Place>().unwrap(), Place::Path("./blob:/x".into()));
        assert!("blob://A/k".parse::<Place>().is_err());
    }
}
