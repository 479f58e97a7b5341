//! What the vault keeps of a secret: a head with its name, its versions and where they apply, and one sealed record a
//! version. It refuses to encrypt anything itself without everything that a record is bound to.

use crate::seal::{self, Key, Refused, Secret};
use crate::wire::{Reader, Writer};
use crate::{MAGIC, code};
use kodiak_plugin_api::{Error, Result};
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// Bytes of a name, type or field name.
pub const NAME_BYTES_MAX: usize = 128;
/// Bytes of a scope.
pub const SCOPE_BYTES_MAX: usize = 2048;
/// Bytes of all fields of a version together.
pub const SECRET_BYTES_MAX: usize = 256 << 10;
/// Versions of a secret that stay.
pub const VERSIONS_MAX: usize = 10;
/// The field of a simple secret.
pub const VALUE: &str = "VALUE";

/// Names and values of a secret.
#[derive(Clone, Default)]
pub struct Fields(BTreeMap<String, Secret>);

/// A secret without its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its identity: a secret that is made again under the name is another one.
    pub id: [u8; 16],
    /// Its name.
    pub name: String,
    /// Microseconds since 1970.
    pub created_at: i64,
    /// When it got a version that is not its first.
    pub rotated_at: Option<i64>,
    /// Oldest first; the last one is the current one.
    pub versions: Vec<Version>,
}

/// One version of a secret without its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Counted from 1.
    pub number: u32,
    /// Microseconds since 1970.
    pub created_at: i64,
    /// What it is for, such as `s3`.
    pub kind: String,
    /// The prefix of paths to which it applies; empty for all.
    pub scope: String,
    /// The key epoch that wraps its data key.
    pub epoch: u32,
    /// SHA-256 of its sealed record.
    pub digest: [u8; 32],
}

impl Fields {
    /// One field, `VALUE`.
    pub fn simple(value: Secret) -> Self {
        Self(BTreeMap::from([(VALUE.to_owned(), value)]))
    }

    /// Sets a field.
    pub fn set(&mut self, name: &str, value: Secret) {
        self.0.insert(name.to_owned(), value);
    }

    /// Removes a field; whether there was one.
    pub fn remove(&mut self, name: &str) -> bool {
        self.0.remove(name).is_some()
    }

    /// A field's value.
    pub fn get(&self, name: &str) -> Option<&Secret> {
        self.0.get(name)
    }

    /// Names and values, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Secret)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Names, in order.
    pub fn names(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }

    /// The bytes that are sealed.
    ///
    /// # Errors
    /// `TOO_LARGE`.
    pub fn encode(&self) -> Result<Secret> {
        let bytes: usize = self.0.iter().map(|(name, value)| name.len() + value.len() + 8).sum();
        if bytes > SECRET_BYTES_MAX {
            return Err(code::TOO_LARGE.error(format!("a secret has at most {SECRET_BYTES_MAX} bytes")));
        }
        let mut writer = Writer::new();
        writer.u32(u32::try_from(self.0.len()).unwrap_or(u32::MAX));
        for (name, value) in &self.0 {
            writer.text(name).bytes(value);
        }
        Ok(Zeroizing::new(writer.finish()))
    }

    /// The inverse of [`Fields::encode`].
    ///
    /// # Errors
    /// `TAMPERED`.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes, "a secret");
        let count = reader.u32()?;
        let mut fields = Self::default();
        for _ in 0..count {
            let (name, value) = (reader.text()?, reader.bytes()?);
            fields.set(&name, Zeroizing::new(value.to_vec()));
        }
        reader.end().map(|()| fields)
    }
}

impl std::fmt::Debug for Fields {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

impl Head {
    /// The current version.
    ///
    /// # Errors
    /// `TAMPERED` when it has none.
    pub fn current(&self) -> Result<&Version> {
        self.versions.last().ok_or_else(|| tampered(&self.name))
    }

    /// A version by its number, or the current one.
    ///
    /// # Errors
    /// `NO_SECRET`.
    pub fn version(&self, number: Option<u32>) -> Result<&Version> {
        let Some(number) = number else { return self.current() };
        let found = self.versions.iter().find(|version| version.number == number);
        found.ok_or_else(|| code::NO_SECRET.error(format!("secret `{}` has no version {number}", self.name)))
    }

    /// The bytes of the record.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u8(1).raw(&self.id).text(&self.name).i64(self.created_at);
        writer.u8(self.rotated_at.is_some().into()).i64(self.rotated_at.unwrap_or_default());
        writer.u32(u32::try_from(self.versions.len()).unwrap_or(u32::MAX));
        for version in &self.versions {
            let Version { number, created_at, kind, scope, epoch, digest } = version;
            writer.u32(*number).i64(*created_at).text(kind).text(scope).u32(*epoch).raw(digest);
        }
        writer.finish()
    }

    /// The inverse of [`Head::encode`].
    ///
    /// # Errors
    /// `TAMPERED`, `FORMAT`.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes, "the record of a secret");
        let format = reader.u8()?;
        if format != 1 {
            let text = format!("a secret has format {format}, which this version does not know");
            return Err(code::FORMAT.error(text).help("kodiak ext update secrets"));
        }
        let (id, name, created_at) = (reader.array()?, reader.text()?, reader.i64()?);
        let (rotated, at) = (reader.u8()? != 0, reader.i64()?);
        let count = usize::try_from(reader.u32()?).unwrap_or(usize::MAX);
        if count > VERSIONS_MAX {
            return Err(reader.broken());
        }
        let mut versions = Vec::with_capacity(count);
        for _ in 0..count {
            let (number, created_at) = (reader.u32()?, reader.i64()?);
            let (kind, scope) = (reader.text()?, reader.text()?);
            versions.push(Version { number, created_at, kind, scope, epoch: reader.u32()?, digest: reader.array()? });
        }
        reader.end()?;
        Ok(Self { id, name, created_at, rotated_at: rotated.then_some(at), versions })
    }
}

/// Seals the values of a version: a fresh data key under the epoch's key, the payload under the data key, both bound to
/// everything that says whose they are.
///
/// # Errors
/// `TOO_LARGE`, `CHANCE`.
pub fn seal(vault: &[u8; 16], head: &Head, version: &Version, epoch: &Key, fields: &Fields) -> Result<Vec<u8>> {
    let associated = associated(vault, head, version);
    let data = Key::random()?;
    let mut writer = Writer::new();
    writer.u8(1).bytes(&seal::seal(epoch, &associated, data.expose())?);
    writer.bytes(&seal::seal(&data, &associated, &fields.encode()?)?);
    Ok(writer.finish())
}

/// The inverse of [`seal()`].
///
/// # Errors
/// `TAMPERED`, `FORMAT`.
pub fn open(vault: &[u8; 16], head: &Head, version: &Version, epoch: &Key, sealed: &[u8]) -> Result<Fields> {
    if !seal::Tag::new(seal::digest(sealed)).matches(&seal::Tag::new(version.digest)) {
        return Err(tampered(&head.name));
    }
    let mut reader = Reader::new(sealed, "the record of a secret");
    let format = reader.u8()?;
    if format != 1 {
        return Err(code::FORMAT.error(format!("secret `{}` has format {format}", head.name)));
    }
    let (wrapped, payload) = (reader.bytes()?, reader.bytes()?);
    reader.end()?;
    let associated = associated(vault, head, version);
    let opened = seal::open_key(epoch, &associated, wrapped).and_then(|data| seal::open(&data, &associated, payload));
    Fields::decode(&opened.map_err(|Refused| tampered(&head.name))?)
}

fn associated(vault: &[u8; 16], head: &Head, version: &Version) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.bytes(MAGIC).text("secret").bytes(vault).bytes(&head.id).u32(version.number).u32(version.epoch);
    writer.text(&head.name).text(&version.kind).text(&version.scope).i64(version.created_at).finish()
}

/// That a secret's record was changed.
pub fn tampered(name: &str) -> Error {
    let text = format!("secret `{name}`: its record was changed by something else than the vault");
    code::TAMPERED.error(text).help("restore the database from a copy")
}

/// Checks the name of a secret, type or field.
///
/// # Errors
/// `NAME`.
pub fn check_name(what: &str, name: &str) -> Result<()> {
    let fits = !name.is_empty() && name.len() <= NAME_BYTES_MAX && !name.chars().any(char::is_control);
    if fits {
        return Ok(());
    }
    // The name is not shown: what stands there may have been meant as the value.
    Err(code::NAME.error(format!("a {what} has 1 to {NAME_BYTES_MAX} bytes and no control characters")))
}

/// Checks a scope.
///
/// # Errors
/// `NAME`.
pub fn check_scope(scope: &str) -> Result<()> {
    if scope.len() <= SCOPE_BYTES_MAX && !scope.chars().any(char::is_control) {
        return Ok(());
    }
    Err(code::NAME.error(format!("a scope has at most {SCOPE_BYTES_MAX} bytes and no control characters")))
}

/// How well a scope fits a path: its length, or nothing when it does not apply. A scope ends where a part of the path
/// ends, so that `s3://data` is not for `s3://database`.
pub fn fit(scope: &str, path: &str) -> Option<usize> {
    let rest = path.strip_prefix(scope)?;
    let whole = scope.is_empty() || rest.is_empty() || scope.ends_with('/') || rest.starts_with(['/', '?', '#', ':']);
    whole.then_some(scope.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_ends_where_a_part_of_the_path_ends() {
        assert_eq!(fit("s3://data", "s3://data/x"), Some(9));
        assert_eq!(fit("s3://data/", "s3://data/x"), Some(10));
        assert_eq!((fit("s3://data", "s3://database/x"), fit("s3://data/x", "s3://data")), (None, None));
        assert_eq!((fit("", "anything"), fit("s3://data", "s3://data")), (Some(0), Some(9)));
        assert_eq!(fit("https://h", "https://h:8080/x"), Some(9));
    }

    #[test]
    fn fields_show_nothing_and_come_back() {
        let mut fields = Fields::simple(Zeroizing::new(b"hunter2".to_vec()));
        fields.set("KEY", Zeroizing::new(vec![0, 255]));
        assert_eq!(format!("{fields:?}"), "[redacted]");
        let back = Fields::decode(&fields.encode().unwrap()).unwrap();
        assert_eq!((back.names(), back.get("KEY").unwrap().as_slice()), (vec!["KEY", "VALUE"], &[0, 255][..]));
        let large = Fields::simple(Zeroizing::new(vec![0; SECRET_BYTES_MAX]));
        assert!(code::TOO_LARGE.is(&large.encode().unwrap_err()));
    }
}
