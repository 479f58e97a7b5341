//! What the vault must hold, in one authenticated record: a generation, the number of secrets, a sum over their heads,
//! the current epoch, and the header. So a record that is taken away, put back or rolled back on its own is noticed,
//! and a change costs the same whatever the number of secrets.
//!
//! The sum is over HMACs of the heads, modulo 2^256: who has no key can neither make a summand nor a set of heads with
//! another sum, and the record with the sum is authenticated together with its generation.

use crate::code;
use crate::seal::{Key, Tag};
use crate::wire::{Reader, Writer};
use kodiak_plugin_api::{Error, Result};

/// The record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Grows with every change of the vault.
    pub generation: u64,
    /// How many secrets there are.
    pub count: u64,
    /// The sum over their heads.
    pub sum: Sum,
    /// The epoch that new versions get.
    pub epoch: u32,
    /// SHA-256 of the header.
    pub header: [u8; 32],
}

/// A number modulo 2^256.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum([u64; 4]);

impl Sum {
    /// Adds a tag.
    pub fn add(&mut self, tag: &[u8; 32]) {
        let mut carry = false;
        for (limb, other) in self.0.iter_mut().zip(limbs(tag)) {
            let (sum, first) = limb.overflowing_add(other);
            let (sum, second) = sum.overflowing_add(carry.into());
            (*limb, carry) = (sum, first || second);
        }
    }

    /// Takes a tag away again.
    pub fn remove(&mut self, tag: &[u8; 32]) {
        let mut borrow = false;
        for (limb, other) in self.0.iter_mut().zip(limbs(tag)) {
            let (difference, first) = limb.overflowing_sub(other);
            let (difference, second) = difference.overflowing_sub(borrow.into());
            (*limb, borrow) = (difference, first || second);
        }
    }
}

fn limbs(tag: &[u8; 32]) -> impl Iterator<Item = u64> + '_ {
    tag.chunks_exact(8).map(|chunk| chunk.iter().rev().fold(0, |limb, byte| limb << 8 | u64::from(*byte)))
}

/// The summand of a head under its key.
pub fn summand(catalog: &Key, key: &[u8], head: &[u8]) -> [u8; 32] {
    *catalog.authenticate("head", &Writer::new().bytes(key).raw(head).finish()).bytes()
}

impl State {
    /// The bytes of the record, authenticated.
    pub fn encode(&self, catalog: &Key) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u8(1).u64(self.generation).u64(self.count);
        for limb in self.sum.0 {
            writer.u64(limb);
        }
        let mut bytes = writer.u32(self.epoch).raw(&self.header).finish();
        let tag = catalog.authenticate("state", &bytes);
        bytes.extend_from_slice(tag.bytes());
        bytes
    }

    /// Reads the record without believing it, for a listing of a locked vault.
    ///
    /// # Errors
    /// `TAMPERED`, `FORMAT`.
    pub fn peek(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes, "the state of the vault");
        let format = reader.u8()?;
        if format != 1 {
            let text = format!("the state of the vault has format {format}, which this version does not know");
            return Err(code::FORMAT.error(text).help("kodiak ext update secrets"));
        }
        let (generation, count) = (reader.u64()?, reader.u64()?);
        let sum = Sum([reader.u64()?, reader.u64()?, reader.u64()?, reader.u64()?]);
        let (epoch, header) = (reader.u32()?, reader.array()?);
        reader.array::<32>()?;
        reader.end()?;
        Ok(Self { generation, count, sum, epoch, header })
    }

    /// Reads the record and checks who made it.
    ///
    /// # Errors
    /// `TAMPERED`, `FORMAT`.
    pub fn decode(bytes: &[u8], catalog: &Key) -> Result<Self> {
        let (body, tag) = bytes.split_last_chunk::<32>().ok_or_else(tampered)?;
        if !catalog.authenticate("state", body).matches(&Tag::new(*tag)) {
            return Err(tampered());
        }
        Self::peek(bytes)
    }
}

/// That the vault as a whole is not what it was left as.
pub fn tampered() -> Error {
    let text = "the vault is not as it was left: a record was removed, put back or rolled back";
    code::TAMPERED.error(text).help("restore the database from a copy")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_sum_is_that_of_the_set_whatever_the_order(tags in proptest::collection::vec(any::<[u8; 32]>(), 1..20), at in any::<prop::sample::Index>()) {
            let (mut there, mut back) = (Sum::default(), Sum::default());
            tags.iter().for_each(|tag| there.add(tag));
            tags.iter().rev().for_each(|tag| back.add(tag));
            prop_assert_eq!(there, back);
            let taken = at.get(&tags);
            there.remove(taken);
            there.add(taken);
            prop_assert_eq!(there, back);
            tags.iter().for_each(|tag| there.remove(tag));
            prop_assert_eq!(there, Sum::default());
        }
    }

    #[test]
    fn the_largest_summand_carries_through() {
        let mut sum = Sum::default();
        sum.add(&[255; 32]);
        let mut one = [0; 32];
        one[0] = 1;
        sum.add(&one);
        assert_eq!(sum, Sum::default());
    }
}
