//! The header of a vault: its identity, its unlock slots and a generation, authenticated by a key of the root key's. It
//! refuses versions of the format that it does not know, and parameters that are out of bounds.

use crate::seal::{Key, Tag};
use crate::slot::{Opened, Slot};
use crate::wire::{Reader, Writer};
use crate::{FORMAT_VERSION, MAGIC, code};
use kodiak_plugin_api::Result;

/// How many slots a vault may have.
pub const SLOTS_MAX: usize = 32;

/// A header, as it was read; [`Header::check`] says whether it is genuine.
#[derive(Clone)]
pub struct Header {
    /// The vault's identity.
    pub vault: [u8; 16],
    /// Microseconds since 1970.
    pub created_at: i64,
    /// Grows with every change of the header.
    pub generation: u64,
    /// Which root key the slots hold.
    pub root_version: u32,
    /// The number of the next slot.
    pub next_slot: u32,
    /// Ways to open the vault.
    pub slots: Vec<Slot>,
}

impl Header {
    /// The header's bytes, authenticated.
    pub fn encode(&self, root: &Key) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.raw(MAGIC).u16(FORMAT_VERSION).raw(&self.vault).i64(self.created_at);
        writer.u64(self.generation).u32(self.root_version).u32(self.next_slot);
        writer.u32(u32::try_from(self.slots.len()).unwrap_or(u32::MAX));
        self.slots.iter().for_each(|slot| slot.write(&mut writer));
        let mut bytes = writer.finish();
        let tag = tag(root, &self.vault, &bytes);
        bytes.extend_from_slice(tag.bytes());
        bytes
    }

    /// Reads a header, which nobody has authenticated yet.
    ///
    /// # Errors
    /// `TAMPERED`, `FORMAT`, `WEAK`.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes, "the header of the vault");
        if reader.raw(MAGIC.len())? != MAGIC {
            return Err(reader.broken());
        }
        let format = reader.u16()?;
        if format != FORMAT_VERSION {
            let text = format!("the vault has format {format}; this version knows format {FORMAT_VERSION}");
            return Err(code::FORMAT.error(text).help("kodiak ext update secrets"));
        }
        let (vault, created_at) = (reader.array()?, reader.i64()?);
        let (generation, root_version, next_slot) = (reader.u64()?, reader.u32()?, reader.u32()?);
        let count = usize::try_from(reader.u32()?).unwrap_or(usize::MAX);
        if count > SLOTS_MAX {
            return Err(reader.broken());
        }
        let slots = (0..count).map(|_| Slot::read(&mut reader)).collect::<Result<Vec<_>>>()?;
        reader.array::<32>()?;
        reader.end()?;
        Ok(Self { vault, created_at, generation, root_version, next_slot, slots })
    }

    /// Whether these bytes were made by who holds the root key.
    ///
    /// # Errors
    /// `TAMPERED`.
    pub fn check(&self, bytes: &[u8], root: &Key) -> Result<()> {
        let (body, found) = bytes.split_last_chunk::<32>().ok_or_else(tampered)?;
        if tag(root, &self.vault, body).matches(&Tag::new(*found)) { Ok(()) } else { Err(tampered()) }
    }

    /// Tries a key on every slot that `key` gives one for; gives the number of the slot that it opened. Every one of them
    /// is tried, whichever opens, so that the time says nothing about which did.
    ///
    /// # Errors
    /// Those of `key`; none opened is no error.
    pub fn open(&self, key: impl Fn(&Slot) -> Option<Result<Key>>) -> Result<Option<(u32, Opened)>> {
        let mut opened = None;
        for slot in &self.slots {
            if let Some(key) = key(slot)
                && let Ok(found) = slot.open(&self.vault, &key?, self.root_version)
            {
                opened = Some((slot.id, found));
            }
        }
        Ok(opened)
    }

    /// The slot of this number.
    pub fn slot(&self, id: u32) -> Option<&Slot> {
        self.slots.iter().find(|slot| slot.id == id)
    }
}

fn tag(root: &Key, vault: &[u8; 16], body: &[u8]) -> Tag {
    root.derive("header", vault).authenticate("header", body)
}

fn tampered() -> kodiak_plugin_api::Error {
    let error = code::TAMPERED.error("the header of the vault was changed by something else than the vault");
    error.help("restore the database from a copy")
}
