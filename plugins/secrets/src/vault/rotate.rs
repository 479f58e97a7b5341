//! Rotation: of one secret, of the epoch that wraps data keys, and of the root key. It refuses to leave a state that an
//! end at any write could make unreadable: everything that belongs together is written in the caller's transaction, and
//! what is left to do afterwards is found in the records.

use super::{Seen, Vault, epoch_associated};
use crate::records::{self, HEADER, HEADS};
use crate::seal::{self, Key, Tag};
use crate::state::{self, Sum, summand};
use kodiak_plugin_api::Result;
use std::collections::HashMap;

impl Vault<'_> {
    /// Seals the current values again, under a fresh data key, as a new version; gives its number.
    ///
    /// # Errors
    /// `NO_SECRET`, `TAMPERED`.
    pub fn rotate_secret(&mut self, name: &str) -> Result<u32> {
        let (head, version, fields) = self.read(name, None)?;
        self.add(head, &version.kind, &version.scope, &fields)
    }

    /// Begins a new epoch; what older ones wrap is sealed again by [`Vault::rewrap`].
    ///
    /// # Errors
    /// `CHANCE`.
    pub fn rotate_key(&mut self) -> Result<u32> {
        let mut seen = self.keys.seen.take().ok_or_else(state::tampered)?;
        let number = self.keys.epochs.keys().next_back().copied().unwrap_or_default() + 1;
        let epoch = Key::random()?;
        self.put_epoch(number, &epoch)?;
        self.keys.epochs.insert(number, epoch);
        seen.state.epoch = number;
        seen.pending = seen.summands.keys().cloned().collect();
        self.write_state(seen)?;
        self.forget_epochs()?;
        Ok(number)
    }

    fn put_epoch(&self, number: u32, epoch: &Key) -> Result<()> {
        let associated = epoch_associated(&self.keys.vault, number, self.keys.root_version);
        self.records.put(&records::epoch(number), &seal::seal(&self.keys.wrapping, &associated, epoch.expose())?)
    }

    /// Seals at most so many secrets again under the current epoch, and forgets the older epochs when none is left;
    /// gives how many are left.
    ///
    /// # Errors
    /// `TAMPERED`.
    pub fn rewrap(&mut self, secrets_max: usize) -> Result<usize> {
        let some: Vec<String> = self.keys.seen()?.pending.iter().take(secrets_max).cloned().collect();
        for name in &some {
            let mut head = self.head(name)?;
            let current = self.keys.seen()?.state.epoch;
            for at in 0..head.versions.len() {
                let version = head.versions[at].clone();
                if version.epoch != current {
                    let fields = self.open(&head, &version)?;
                    head.versions[at] = self.seal(&head, version, &fields)?;
                }
            }
            self.place(name, Some(&head))?;
        }
        self.forget_epochs()?;
        self.pending()
    }

    fn forget_epochs(&mut self) -> Result<()> {
        let seen = self.keys.seen()?;
        let current = seen.state.epoch;
        if !seen.pending.is_empty() {
            return Ok(());
        }
        let old: Vec<u32> = self.keys.epochs.keys().copied().filter(|number| *number != current).collect();
        for number in old {
            self.records.remove(&records::epoch(number))?;
            self.keys.epochs.remove(&number);
        }
        Ok(())
    }

    /// Takes a new root key: every slot gets it, and everything that the old one protected is sealed again. No key
    /// file, passphrase, keyring entry or recovery code changes.
    ///
    /// # Errors
    /// `CHANCE`, `TAMPERED`.
    pub fn rotate_master(&mut self) -> Result<u32> {
        let mut header = self.header()?;
        let old = self.keys.seen.take().ok_or_else(state::tampered)?;
        let (root, vault) = (Key::random()?, self.keys.vault);
        header.root_version += 1;
        header.generation += 1;
        for slot in &mut header.slots {
            slot.seal_root(&vault, (&root, header.root_version))?;
        }
        let catalog = root.derive("catalog", &vault);
        self.keys.wrapping = root.derive("wrapping", &vault);
        self.keys.root_version = header.root_version;
        let bytes = header.encode(&root);
        self.keys.root = root;
        for (number, epoch) in &self.keys.epochs {
            self.put_epoch(*number, epoch)?;
        }
        let (mut sum, mut summands) = (Sum::default(), HashMap::new());
        for (key, head) in self.records.scan(HEADS)? {
            let name = String::from_utf8(key[HEADS.len()..].to_vec()).map_err(|_| state::tampered())?;
            // The new key must not vouch for anything that the old one did not.
            let known = old.summands.get(&name).ok_or_else(state::tampered)?;
            if !Tag::new(summand(&self.keys.catalog, &key, &head)).matches(&Tag::new(*known)) {
                return Err(state::tampered());
            }
            let new = summand(&catalog, &key, &head);
            sum.add(&new);
            summands.insert(name, new);
        }
        if summands.len() != old.summands.len() {
            return Err(state::tampered());
        }
        self.keys.catalog = catalog;
        self.records.put(HEADER, &bytes)?;
        let mut seen = Seen { header: bytes, summands, ..old };
        (seen.state.sum, seen.state.header) = (sum, seal::digest(&seen.header));
        self.write_state(seen)?;
        Ok(header.root_version)
    }
}
