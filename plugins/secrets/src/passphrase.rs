//! Keys from passphrases: Argon2id version 1.3 (RFC 9106). It refuses parameters that are too weak to protect anything,
//! or so large that opening the vault would exhaust a machine.

use crate::code;
use crate::seal::{Key, random};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use kodiak_plugin_api::Result;
use zeroize::Zeroize;

/// How much work a guess costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub iterations: u32,
    /// Lanes.
    pub lanes: u32,
}

/// Bytes of salt.
pub const SALT_BYTES: usize = 16;
/// OWASP's least memory for Argon2id.
pub const MEMORY_KIB_MIN: u32 = 19 << 10;
/// What a process may be expected to have.
pub const MEMORY_KIB_MAX: u32 = 1 << 20;
const ITERATIONS_MIN: u32 = 2;
const ITERATIONS_MAX: u32 = 64;
const LANES_MAX: u32 = 64;
/// Characters of a passphrase.
pub const CHARACTERS_MIN: usize = 8;

impl Default for Cost {
    fn default() -> Self {
        Self { memory_kib: 64 << 10, iterations: 3, lanes: 4 }
    }
}

impl Cost {
    /// Checks the bounds, whether a user or a header gave them.
    ///
    /// # Errors
    /// `WEAK`.
    pub fn check(self) -> Result<Self> {
        let Self { memory_kib, iterations, lanes } = self;
        let within = (MEMORY_KIB_MIN..=MEMORY_KIB_MAX).contains(&memory_kib)
            && (ITERATIONS_MIN..=ITERATIONS_MAX).contains(&iterations)
            && (1..=LANES_MAX).contains(&lanes);
        if within {
            return Ok(self);
        }
        let text = format!("Argon2id with {memory_kib} KiB, {iterations} iterations and {lanes} lanes is refused");
        Err(code::WEAK.error(text).help("19 MiB to 1 GiB, 2 to 64 iterations, 1 to 64 lanes"))
    }

    /// The key of a passphrase.
    ///
    /// # Errors
    /// `WEAK`.
    pub fn stretch(self, passphrase: &[u8], salt: &[u8; SALT_BYTES]) -> Result<Key> {
        let Self { memory_kib, iterations, lanes } = self.check()?;
        let refused = |error| code::WEAK.error(format!("Argon2id refuses its parameters: {error}"));
        let params = Params::new(memory_kib, iterations, lanes, Some(32)).map_err(refused)?;
        let mut memory = vec![Block::default(); params.block_count()];
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let key = Key::try_fill(|key| argon.hash_password_into_with_memory(passphrase, salt, key, &mut memory));
        memory.iter_mut().for_each(Zeroize::zeroize);
        key.map_err(refused)
    }
}

/// A salt of its own for each slot.
///
/// # Errors
/// `CHANCE`.
pub fn salt() -> Result<[u8; SALT_BYTES]> {
    random()
}

/// Checks a passphrase that is to protect something.
///
/// # Errors
/// `WEAK` when it is too short.
pub fn check_new(passphrase: &[u8]) -> Result<()> {
    if String::from_utf8_lossy(passphrase).chars().count() >= CHARACTERS_MIN {
        return Ok(());
    }
    Err(code::WEAK.error(format!("a passphrase has at least {CHARACTERS_MIN} characters")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9106, section 5.3: the inputs that this crate's own API can take; with secret and associated data.
    #[test]
    fn argon2id_gives_the_tag_of_the_rfc() {
        let params = argon2::ParamsBuilder::new()
            .m_cost(32)
            .t_cost(3)
            .p_cost(4)
            .data(argon2::AssociatedData::new(&[4; 12]).unwrap())
            .output_len(32)
            .build()
            .unwrap();
        let argon = Argon2::new_with_secret(&[3; 8], Algorithm::Argon2id, Version::V0x13, params).unwrap();
        let mut memory = vec![Block::default(); 32];
        let mut tag = [0; 32];
        argon.hash_password_into_with_memory(&[1; 32], &[2; 16], &mut tag, &mut memory).unwrap();
        let expected = "0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659";
        assert_eq!(crate::wire::hex(&tag), expected);
    }

    #[test]
    fn weak_and_enormous_parameters_are_refused() {
        let good = Cost { memory_kib: MEMORY_KIB_MIN, iterations: 2, lanes: 1 };
        assert!(good.check().is_ok() && Cost::default().check().is_ok());
        for bad in [
            Cost { memory_kib: MEMORY_KIB_MIN - 1, ..good },
            Cost { memory_kib: MEMORY_KIB_MAX + 1, ..good },
            Cost { iterations: 1, ..good },
            Cost { iterations: 65, ..good },
            Cost { lanes: 0, ..good },
            Cost { lanes: 65, ..good },
        ] {
            assert!(code::WEAK.is(&bad.check().unwrap_err()), "{bad:?}");
            assert!(code::WEAK.is(&bad.stretch(b"passphrase", &[0; 16]).unwrap_err()), "{bad:?}");
        }
        assert!(check_new("1234567".as_bytes()).is_err() && check_new("äöüßäöüß".as_bytes()).is_ok());
    }
}
