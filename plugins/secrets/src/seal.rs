//! The construction that everything in the vault rests on: keys that wipe themselves, derivation by HKDF-SHA256, and
//! sealing by XChaCha20-Poly1305 under a key that commits to itself. It refuses to say what a key is for.
//!
//! `seal(key, associated, plain)`: a fresh nonce of 24 bytes is the salt of HKDF (RFC 5869) over the key; of its 64
//! bytes the first half encrypts (draft-irtf-cfrg-xchacha-03), the second half is the *commitment*. The commitment is
//! compared first and in constant time, so that a ciphertext opens under one key only, which the tag of Poly1305 alone
//! does not promise.

use crate::code;
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use kodiak_plugin_api::Result;
use secrecy::{ExposeSecret, ExposeSecretMut, SecretBox};
use sha2::{Digest, Sha256};
use std::fmt;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;
const COMMITMENT_BYTES: usize = 32;

/// A key. It is wiped when dropped, shows nothing of itself, and can neither be copied nor compared.
pub struct Key(SecretBox<[u8; KEY_BYTES]>);

/// An authenticator or commitment: it can only be compared in constant time.
#[derive(Clone, Copy)]
pub struct Tag([u8; 32]);

/// Bytes that are wiped when dropped.
pub type Secret = Zeroizing<Vec<u8>>;

/// That a key does not open what it was tried on, or that what it was tried on was changed. Which of the two cannot be
/// known, and is not said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

impl Key {
    /// A key from the system's generator.
    ///
    /// # Errors
    /// `CHANCE`.
    pub fn random() -> Result<Self> {
        let mut key = SecretBox::<[u8; KEY_BYTES]>::default();
        fill_random(key.expose_secret_mut())?;
        Ok(Self(key))
    }

    /// A key from bytes, of which there must be as many as a key has.
    ///
    /// # Errors
    /// [`Refused`] for another length.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, Refused> {
        if bytes.len() != KEY_BYTES {
            return Err(Refused);
        }
        Ok(Self(SecretBox::init_with_mut(|key: &mut [u8; KEY_BYTES]| key.copy_from_slice(bytes))))
    }

    /// A key that `fill` writes.
    ///
    /// # Errors
    /// Those of `fill`.
    pub fn try_fill<E>(fill: impl FnOnce(&mut [u8; KEY_BYTES]) -> Result<(), E>) -> Result<Self, E> {
        let mut key = SecretBox::<[u8; KEY_BYTES]>::default();
        fill(key.expose_secret_mut())?;
        Ok(Self(key))
    }

    /// A key for another purpose: HKDF-SHA256 with the purpose and the context as its information.
    pub fn derive(&self, purpose: &str, context: &[u8]) -> Self {
        derive(self.0.expose_secret(), purpose, context)
    }

    /// HMAC-SHA256 over these bytes.
    pub fn authenticate(&self, purpose: &str, bytes: &[u8]) -> Tag {
        let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(self.0.expose_secret()).expect("HMAC takes any key");
        mac.update(&u32::try_from(purpose.len()).unwrap_or(u32::MAX).to_le_bytes());
        mac.update(purpose.as_bytes());
        mac.update(bytes);
        Tag(mac.finalize().into_bytes().into())
    }

    /// The bytes, for what must leave this file: sealing one key by another, X25519, a key file.
    pub fn expose(&self) -> &[u8; KEY_BYTES] {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl Tag {
    /// From its bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes, for a record.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether it is the same, in a time that does not depend on where they differ.
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

/// A key from any bytes that hold one: see [`Key::derive`].
pub fn derive(material: &[u8], purpose: &str, context: &[u8]) -> Key {
    let hkdf = Hkdf::<Sha256>::new(None, material);
    let length = u32::try_from(purpose.len()).unwrap_or(u32::MAX).to_le_bytes();
    let filled = Key::try_fill(|key| hkdf.expand_multi_info(&[&length, purpose.as_bytes(), context], key));
    filled.expect("32 bytes are within what HKDF gives")
}

/// SHA-256.
pub fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Random bytes of the system's.
///
/// # Errors
/// `CHANCE`.
pub fn fill_random(bytes: &mut [u8]) -> Result<()> {
    getrandom::fill(bytes).map_err(|error| code::CHANCE.error(format!("the system gives no random numbers: {error}")))
}

/// Random bytes of the system's.
///
/// # Errors
/// `CHANCE`.
pub fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    fill_random(&mut bytes)?;
    Ok(bytes)
}

/// Encrypts and authenticates `plain`, bound to `associated`: commitment, nonce, ciphertext with tag.
///
/// # Errors
/// `CHANCE`.
pub fn seal(key: &Key, associated: &[u8], plain: &[u8]) -> Result<Vec<u8>> {
    let nonce = random::<NONCE_BYTES>()?;
    let (cipher, commitment) = schedule(key, &nonce);
    let payload = Payload { msg: plain, aad: associated };
    let sealed = cipher.encrypt(XNonce::from_slice(&nonce), payload);
    let sealed = sealed.map_err(|_| code::TOO_LARGE.error("too much to be sealed at once"))?;
    Ok([&commitment.0[..], &nonce, &sealed].concat())
}

/// The inverse of [`seal`].
///
/// # Errors
/// [`Refused`] for another key, other associated data or any changed byte.
pub fn open(key: &Key, associated: &[u8], sealed: &[u8]) -> Result<Secret, Refused> {
    let (committed, rest) = sealed.split_first_chunk::<COMMITMENT_BYTES>().ok_or(Refused)?;
    let (nonce, ciphertext) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(Refused)?;
    let (cipher, commitment) = schedule(key, nonce);
    if !commitment.matches(&Tag(*committed)) {
        return Err(Refused);
    }
    let payload = Payload { msg: ciphertext, aad: associated };
    cipher.decrypt(XNonce::from_slice(nonce), payload).map(Zeroizing::new).map_err(|_| Refused)
}

/// [`open`] for a sealed key.
///
/// # Errors
/// As [`open`].
pub fn open_key(key: &Key, associated: &[u8], sealed: &[u8]) -> Result<Key, Refused> {
    Key::from_slice(&open(key, associated, sealed)?)
}

fn schedule(key: &Key, nonce: &[u8; NONCE_BYTES]) -> (XChaCha20Poly1305, Tag) {
    let hkdf = Hkdf::<Sha256>::new(Some(nonce), key.0.expose_secret());
    let mut both = Zeroizing::new([0; KEY_BYTES + COMMITMENT_BYTES]);
    hkdf.expand(b"kodiak secrets seal 1", both.as_mut()).expect("64 bytes are within what HKDF gives");
    let (encryption, commitment) = both.split_at(KEY_BYTES);
    let cipher = XChaCha20Poly1305::new_from_slice(encryption).expect("32 bytes are a key");
    let mut tag = [0; COMMITMENT_BYTES];
    tag.copy_from_slice(commitment);
    (cipher, Tag(tag))
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;
