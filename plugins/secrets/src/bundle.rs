//! A sealed file of secrets, for another vault. It refuses files that are cut, changed, too large or of another format.

use crate::code;
use crate::passphrase::{self, Cost};
use crate::record::Fields;
use crate::seal::{self, Key, Refused, Secret};
use crate::wire::{Reader, Writer};
use kodiak_plugin_api::{Error, Result};
use zeroize::Zeroizing;

const MAGIC: &[u8] = b"KODIAK-SECRETS-BUNDLE";
const FORMAT_VERSION: u16 = 1;
/// Bytes that are read of a file.
pub const BYTES_MAX: u64 = 256 << 20;

/// A secret on its way.
#[derive(Debug)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub kind: String,
    /// Where it applies.
    pub scope: String,
    /// Its values.
    pub fields: Fields,
}

/// What seals the file.
pub enum Lock {
    /// A passphrase.
    Passphrase(Secret),
    /// A key file's key.
    Key(Key),
}

/// The bytes of a file with these secrets.
///
/// # Errors
/// `TOO_LARGE`, `CHANCE`.
pub fn seal(entries: &[Entry], lock: &Lock) -> Result<Vec<u8>> {
    let mut writer = Writer::new();
    writer.raw(MAGIC).u16(FORMAT_VERSION);
    let key = match lock {
        Lock::Passphrase(passphrase) => {
            let (cost, salt) = (Cost::default(), passphrase::salt()?);
            writer.u8(1).u32(cost.memory_kib).u32(cost.iterations).u32(cost.lanes).raw(&salt);
            cost.stretch(passphrase, &salt)?
        }
        Lock::Key(key) => {
            writer.u8(2);
            key.derive("bundle", b"")
        }
    };
    let head = writer.finish();
    let mut payload = Writer::new();
    payload.u32(u32::try_from(entries.len()).unwrap_or(u32::MAX));
    for Entry { name, kind, scope, fields } in entries {
        payload.text(name).text(kind).text(scope).bytes(&fields.encode()?);
    }
    let sealed = seal::seal(&key, &head, &Zeroizing::new(payload.finish()))?;
    Ok([head, sealed].concat())
}

/// Whether the file wants a key file, and not a passphrase.
///
/// # Errors
/// `BUNDLE`, `FORMAT`.
pub fn wants_key_file(bytes: &[u8]) -> Result<bool> {
    Ok(start(bytes)?.u8().map_err(|_| broken())? == 2)
}

/// The secrets of a file.
///
/// # Errors
/// `BUNDLE`, `FORMAT`, `WEAK`, `WRONG_KEY`.
pub fn open(bytes: &[u8], lock: &Lock) -> Result<Vec<Entry>> {
    if bytes.len() as u64 > BYTES_MAX {
        return Err(broken());
    }
    let mut reader = start(bytes)?;
    let fail = |_: Error| broken();
    let (key, head_bytes) = match (reader.u8().map_err(fail)?, lock) {
        (1, Lock::Passphrase(passphrase)) => {
            let mut number = || reader.u32().map_err(fail);
            let cost = Cost { memory_kib: number()?, iterations: number()?, lanes: number()? }.check()?;
            let salt = reader.array().map_err(fail)?;
            (cost.stretch(passphrase, &salt)?, MAGIC.len() + 2 + 1 + 12 + passphrase::SALT_BYTES)
        }
        (2, Lock::Key(key)) => (key.derive("bundle", b""), MAGIC.len() + 2 + 1),
        (1, _) => return Err(code::WRONG_KEY.error("the file was sealed with a passphrase, not with a key file")),
        (2, _) => return Err(code::WRONG_KEY.error("the file was sealed with a key file, not with a passphrase")),
        _ => return Err(broken()),
    };
    let (head, sealed) = bytes.split_at(head_bytes);
    let payload = seal::open(&key, head, sealed).map_err(|Refused| {
        code::WRONG_KEY.error("the file does not open: another passphrase or key file, or the file was changed")
    })?;
    let mut reader = Reader::new(&payload, "the file of secrets");
    let count = reader.u32().map_err(fail)?;
    let mut entries = Vec::new();
    for _ in 0..count {
        let mut text = || reader.text().map_err(fail);
        let (name, kind, scope) = (text()?, text()?, text()?);
        let fields = Fields::decode(reader.bytes().map_err(fail)?).map_err(fail)?;
        entries.push(Entry { name, kind, scope, fields });
    }
    reader.end().map_err(fail)?;
    Ok(entries)
}

fn start(bytes: &[u8]) -> Result<Reader<'_>> {
    let mut reader = Reader::new(bytes, "the file of secrets");
    if reader.raw(MAGIC.len()).map_err(|_| broken())? != MAGIC {
        return Err(broken());
    }
    let format = reader.u16().map_err(|_| broken())?;
    if format != FORMAT_VERSION {
        let text = format!("the file of secrets has format {format}; this version knows format {FORMAT_VERSION}");
        return Err(code::FORMAT.error(text).help("kodiak ext update secrets"));
    }
    Ok(reader)
}

fn broken() -> Error {
    code::BUNDLE.error("this is no file of secrets, or not all of it")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries() -> Vec<Entry> {
        let fields = Fields::simple(Zeroizing::new(b"hunter2".to_vec()));
        vec![Entry { name: "n".into(), kind: "s3".into(), scope: "s3://b".into(), fields }]
    }

    #[test]
    fn a_file_comes_back_with_its_key_and_no_other() {
        let key = || Key::from_slice(&[7; 32]).unwrap();
        let bytes = seal(&entries(), &Lock::Key(key())).unwrap();
        let back = open(&bytes, &Lock::Key(key())).unwrap();
        assert_eq!((back[0].name.as_str(), back[0].kind.as_str(), back[0].scope.as_str()), ("n", "s3", "s3://b"));
        assert_eq!(back[0].fields.get("VALUE").unwrap().as_slice(), b"hunter2");
        assert!(code::WRONG_KEY.is(&open(&bytes, &Lock::Key(Key::random().unwrap())).unwrap_err()));
        let passphrase = Lock::Passphrase(Zeroizing::new(b"passphrase".to_vec()));
        assert!(code::WRONG_KEY.is(&open(&bytes, &passphrase).unwrap_err()));
        assert!(wants_key_file(&bytes).unwrap());
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(open(&changed, &Lock::Key(key())).is_err(), "byte {at}");
            assert!(open(&bytes[..at], &Lock::Key(key())).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_passphrase_opens_a_file_and_weak_parameters_do_not() {
        let lock = |text: &[u8]| Lock::Passphrase(Zeroizing::new(text.to_vec()));
        let bytes = seal(&entries(), &lock(b"correct horse")).unwrap();
        assert_eq!(open(&bytes, &lock(b"correct horse")).unwrap().len(), 1);
        assert!(code::WRONG_KEY.is(&open(&bytes, &lock(b"correct hose")).unwrap_err()));
        let mut weak = bytes;
        weak[MAGIC.len() + 3..MAGIC.len() + 7].copy_from_slice(&8_u32.to_le_bytes());
        assert!(code::WEAK.is(&open(&weak, &lock(b"correct horse")).unwrap_err()));
    }
}
