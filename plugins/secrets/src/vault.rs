//! The vault: making, reading, changing and rotating, decided on the records that the caller's transaction sees. It
//! refuses to believe any record before the whole was checked, and to know where a key came from.

use crate::header::{Header, SLOTS_MAX};
use crate::record::{self, Fields, Head, VERSIONS_MAX, Version};
use crate::records::{self, EPOCHS, HEADER, HEADS, Records, STATE};
use crate::seal::{self, Key, Refused, random};
use crate::slot::{Kind, Slot};
use crate::state::{self, State, summand};
use crate::wire::Writer;
use crate::{MAGIC, code};
use kodiak_plugin_api::Result;
use std::collections::{BTreeMap, BTreeSet, HashMap};

mod rotate;

/// The keys of an open vault, and what was checked with them.
pub struct Unlocked {
    /// The vault's identity.
    pub vault: [u8; 16],
    /// The slot that opened it.
    pub slot: u32,
    private: Key,
    root: Key,
    root_version: u32,
    catalog: Key,
    wrapping: Key,
    epochs: BTreeMap<u32, Key>,
    seen: Option<Seen>,
}

/// The records as they were when all of them were checked.
struct Seen {
    header: Vec<u8>,
    bytes: Vec<u8>,
    state: State,
    summands: HashMap<String, [u8; 32]>,
    /// Secrets with versions of older epochs.
    pending: BTreeSet<String>,
}

/// An open vault in one transaction.
pub struct Vault<'a> {
    records: &'a dyn Records,
    keys: &'a mut Unlocked,
    now: i64,
}

/// What to do when there is such a secret already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Fail.
    Refuse,
    /// Leave it.
    Keep,
    /// Give it a new version with these fields alone.
    Replace,
}

/// A change of a secret; what is none stays.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// What it is for.
    pub kind: Option<String>,
    /// Where it applies.
    pub scope: Option<String>,
    /// Fields to set.
    pub set: Fields,
    /// Fields to remove.
    pub remove: Vec<String>,
}

/// Reads the header without believing it; none when there is no vault.
///
/// # Errors
/// `TAMPERED`, `FORMAT`, `WEAK`.
pub fn header(records: &dyn Records) -> Result<Option<Header>> {
    records.get(HEADER)?.map(|bytes| Header::decode(&bytes)).transpose()
}

/// Heads by name, not checked by any key.
///
/// # Errors
/// `TAMPERED`, `FORMAT`.
pub fn heads(records: &dyn Records) -> Result<Vec<Head>> {
    records.scan(HEADS)?.iter().map(|(_, bytes)| Head::decode(bytes)).collect()
}

/// Of the secrets of a type, that whose scope fits a path best; of equal ones the first by name.
///
/// # Errors
/// As [`heads`].
pub fn which(records: &dyn Records, path: &str, kind: Option<&str>) -> Result<Option<String>> {
    let mut best: Option<(usize, String)> = None;
    for head in heads(records)? {
        let version = head.current()?;
        if kind.is_some_and(|kind| !kind.eq_ignore_ascii_case(&version.kind)) {
            continue;
        }
        if let Some(fit) = record::fit(&version.scope, path)
            && best.as_ref().is_none_or(|(length, _)| fit > *length)
        {
            best = Some((fit, head.name));
        }
    }
    Ok(best.map(|(_, name)| name))
}

/// Makes a vault with one slot.
///
/// # Errors
/// `VAULT_EXISTS`, `CHANCE`.
pub fn init(records: &dyn Records, now: i64, id: [u8; 16], kind: Kind, unlocking: &Key) -> Result<Unlocked> {
    if records.get(HEADER)?.is_some() {
        return Err(code::VAULT_EXISTS.error("the database has a vault already").help("kodiak secrets status"));
    }
    let root = Key::random()?;
    let slot = Slot::new(&id, 1, kind, now, unlocking, (&root, 1))?;
    let opened = slot.open(&id, unlocking, 1).map_err(|Refused| state::tampered())?;
    let header = Header { vault: id, created_at: now, generation: 1, root_version: 1, next_slot: 2, slots: vec![slot] };
    let bytes = header.encode(&root);
    let (catalog, wrapping) = (root.derive("catalog", &id), root.derive("wrapping", &id));
    let epoch = Key::random()?;
    records.put(&records::epoch(1), &seal::seal(&wrapping, &epoch_associated(&id, 1, 1), epoch.expose())?)?;
    let state = State { generation: 1, epoch: 1, header: seal::digest(&bytes), ..State::default() };
    records.put(STATE, &state.encode(&catalog))?;
    records.put(HEADER, &bytes)?;
    Ok(Unlocked {
        vault: id,
        slot: 1,
        private: opened.private,
        root,
        root_version: 1,
        catalog,
        wrapping,
        epochs: BTreeMap::from([(1, epoch)]),
        seen: None,
    })
}

/// The identity of a vault that is to be made.
///
/// # Errors
/// `CHANCE`.
pub fn new_id() -> Result<[u8; 16]> {
    random()
}

/// Opens the vault with the key that `key` gives for a slot; none when none of them fits.
///
/// # Errors
/// `NO_VAULT`, `TAMPERED`, and those of `key`.
pub fn unlock(records: &dyn Records, key: impl Fn(&Header, &Slot) -> Option<Result<Key>>) -> Result<Option<Unlocked>> {
    let bytes = records.get(HEADER)?.ok_or_else(no_vault)?;
    let header = Header::decode(&bytes)?;
    let Some((slot, opened)) = header.open(|slot| key(&header, slot))? else { return Ok(None) };
    let (root, vault) = (opened.root, header.vault);
    header.check(&bytes, &root)?;
    let mut unlocked = Unlocked {
        vault,
        slot,
        private: opened.private,
        catalog: root.derive("catalog", &vault),
        wrapping: root.derive("wrapping", &vault),
        root,
        root_version: header.root_version,
        epochs: BTreeMap::new(),
        seen: None,
    };
    unlocked.check(records)?;
    Ok(Some(unlocked))
}

/// That there is no vault.
pub fn no_vault() -> kodiak_plugin_api::Error {
    let error = code::NO_VAULT.error("the database has no vault for secrets yet");
    error.help("kodiak secrets init --key-file PATH, or with a passphrase: kodiak secrets init")
}

fn epoch_associated(vault: &[u8; 16], number: u32, root_version: u32) -> Vec<u8> {
    Writer::new().bytes(MAGIC).text("epoch").bytes(vault).u32(number).u32(root_version).finish()
}

impl Unlocked {
    /// The vault as a transaction sees it, after every record in it was checked that is not known.
    ///
    /// # Errors
    /// `TAMPERED`, `NO_VAULT`, `LOCKED` when it is another vault or its slot is gone.
    pub fn vault<'a>(&'a mut self, records: &'a dyn Records, now: i64) -> Result<Vault<'a>> {
        self.check(records)?;
        Ok(Vault { records, keys: self, now })
    }

    fn check(&mut self, records: &dyn Records) -> Result<()> {
        let header_bytes = records.get(HEADER)?.ok_or_else(no_vault)?;
        let bytes = records.get(STATE)?.ok_or_else(state::tampered)?;
        if self.seen.as_ref().is_some_and(|seen| seen.bytes == bytes && seen.header == header_bytes) {
            return Ok(());
        }
        self.seen = None;
        let header = Header::decode(&header_bytes)?;
        if header.vault != self.vault {
            return Err(code::LOCKED.error("the vault was replaced by another one").help("UNLOCK SECRETS"));
        }
        let slot = header.slot(self.slot).ok_or_else(|| {
            code::LOCKED.error("the unlock slot that opened the vault was removed").help("UNLOCK SECRETS")
        })?;
        let root = slot.open_root(&self.vault, &self.private, header.root_version);
        self.root = root.map_err(|Refused| state::tampered())?;
        header.check(&header_bytes, &self.root)?;
        self.root_version = header.root_version;
        self.catalog = self.root.derive("catalog", &self.vault);
        self.wrapping = self.root.derive("wrapping", &self.vault);
        let state = State::decode(&bytes, &self.catalog)?;
        if state.header != seal::digest(&header_bytes) {
            return Err(state::tampered());
        }
        self.epochs = self.read_epochs(records)?;
        let (mut summands, mut sum) = (HashMap::new(), state::Sum::default());
        let mut pending = BTreeSet::new();
        for (key, head) in records.scan(HEADS)? {
            let summand = summand(&self.catalog, &key, &head);
            sum.add(&summand);
            let name = String::from_utf8(key[HEADS.len()..].to_vec()).map_err(|_| state::tampered())?;
            if self.epochs.len() > 1 && Head::decode(&head)?.versions.iter().any(|v| v.epoch != state.epoch) {
                pending.insert(name.clone());
            }
            summands.insert(name, summand);
        }
        if sum != state.sum || summands.len() as u64 != state.count || !self.epochs.contains_key(&state.epoch) {
            return Err(state::tampered());
        }
        self.seen = Some(Seen { header: header_bytes, bytes, state, summands, pending });
        Ok(())
    }

    fn read_epochs(&self, records: &dyn Records) -> Result<BTreeMap<u32, Key>> {
        let mut epochs = BTreeMap::new();
        for (key, sealed) in records.scan(EPOCHS)? {
            let number: [u8; 4] = key[EPOCHS.len()..].try_into().map_err(|_| state::tampered())?;
            let number = u32::from_be_bytes(number);
            let associated = epoch_associated(&self.vault, number, self.root_version);
            let epoch = seal::open_key(&self.wrapping, &associated, &sealed);
            epochs.insert(number, epoch.map_err(|Refused| state::tampered())?);
        }
        Ok(epochs)
    }

    fn seen(&self) -> Result<&Seen> {
        self.seen.as_ref().ok_or_else(state::tampered)
    }
}

impl std::fmt::Debug for Unlocked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

impl Vault<'_> {
    /// Every secret, by name.
    ///
    /// # Errors
    /// `TAMPERED`.
    pub fn list(&self) -> Result<Vec<Head>> {
        heads(self.records)
    }

    /// A secret without its values; none when there is no such secret.
    ///
    /// # Errors
    /// `TAMPERED`.
    pub fn find(&self, name: &str) -> Result<Option<Head>> {
        let (key, known) = (records::head(name), self.keys.seen()?.summands.get(name));
        match (self.records.get(&key)?, known) {
            (None, None) => Ok(None),
            (Some(bytes), Some(known)) => {
                let found = seal::Tag::new(summand(&self.keys.catalog, &key, &bytes));
                if !found.matches(&seal::Tag::new(*known)) {
                    return Err(record::tampered(name));
                }
                let head = Head::decode(&bytes)?;
                if head.name == name { Ok(Some(head)) } else { Err(record::tampered(name)) }
            }
            _ => Err(record::tampered(name)),
        }
    }

    /// A secret without its values.
    ///
    /// # Errors
    /// `NO_SECRET`, `TAMPERED`.
    pub fn head(&self, name: &str) -> Result<Head> {
        self.find(name)?.ok_or_else(|| no_secret(name))
    }

    /// The values of a version, or of the current one.
    ///
    /// # Errors
    /// `NO_SECRET`, `TAMPERED`.
    pub fn read(&self, name: &str, number: Option<u32>) -> Result<(Head, Version, Fields)> {
        let head = self.head(name)?;
        let version = head.version(number)?.clone();
        let fields = self.open(&head, &version)?;
        Ok((head, version, fields))
    }

    fn open(&self, head: &Head, version: &Version) -> Result<Fields> {
        let sealed = self.records.get(&records::version(&head.id, version.number))?;
        let sealed = sealed.ok_or_else(|| record::tampered(&head.name))?;
        let epoch = self.keys.epochs.get(&version.epoch).ok_or_else(|| record::tampered(&head.name))?;
        record::open(&self.keys.vault, head, version, epoch, &sealed)
    }

    /// Makes a secret; gives its version, or none when it was there and is kept.
    ///
    /// # Errors
    /// `SECRET_EXISTS`, `NAME`, `TOO_LARGE`, `VALUE` without any field.
    pub fn create(
        &mut self,
        name: &str,
        kind: &str,
        scope: &str,
        fields: &Fields,
        existing: Existing,
    ) -> Result<Option<u32>> {
        record::check_name("secret's name", name)?;
        let head = match (self.find(name)?, existing) {
            (None, _) => Head {
                id: random()?,
                name: name.to_owned(),
                created_at: self.now,
                rotated_at: None,
                versions: Vec::new(),
            },
            (Some(_), Existing::Keep) => return Ok(None),
            (Some(_), Existing::Refuse) => {
                let error = code::SECRET_EXISTS.error(format!("a secret `{name}` exists already"));
                return Err(error.help(format!("CREATE OR REPLACE SECRET, or kodiak secrets set {name}")));
            }
            (Some(head), Existing::Replace) => head,
        };
        self.add(head, kind, scope, fields).map(Some)
    }

    /// Changes a secret by giving it a new version; gives its number.
    ///
    /// # Errors
    /// `NO_SECRET`, `NAME`, `TOO_LARGE`, `TAMPERED`.
    pub fn alter(&mut self, name: &str, change: &Change) -> Result<u32> {
        let (head, version, mut fields) = self.read(name, None)?;
        for field in &change.remove {
            if !fields.remove(field) {
                return Err(no_field(name, &fields));
            }
        }
        change.set.iter().for_each(|(field, value)| fields.set(field, value.clone()));
        let kind = change.kind.clone().unwrap_or(version.kind);
        let scope = change.scope.clone().unwrap_or(version.scope);
        self.add(head, &kind, &scope, &fields)
    }

    /// Removes a secret with all its versions.
    ///
    /// # Errors
    /// `NO_SECRET`, `TAMPERED`.
    pub fn drop_secret(&mut self, name: &str) -> Result<()> {
        let head = self.head(name)?;
        for version in &head.versions {
            self.records.remove(&records::version(&head.id, version.number))?;
        }
        self.place(name, None)
    }

    /// Adds a version; the oldest ones beyond the limit go.
    fn add(&mut self, mut head: Head, kind: &str, scope: &str, fields: &Fields) -> Result<u32> {
        record::check_name("type", kind)?;
        record::check_scope(scope)?;
        if fields.names().is_empty() {
            return Err(code::VALUE.error("a secret has at least one field").help("VALUE '...'"));
        }
        for name in fields.names() {
            record::check_name("field's name", name)?;
        }
        let number = head.versions.last().map_or(1, |last| last.number.saturating_add(1));
        if number > 1 {
            head.rotated_at = Some(self.now);
        }
        let (kind, scope) = (kind.to_ascii_lowercase(), scope.to_owned());
        let version = Version { number, created_at: self.now, kind, scope, epoch: 0, digest: [0; 32] };
        let version = self.seal(&head, version, fields)?;
        head.versions.push(version);
        while head.versions.len() > VERSIONS_MAX {
            let oldest = head.versions.remove(0);
            self.records.remove(&records::version(&head.id, oldest.number))?;
        }
        let name = head.name.clone();
        self.place(&name, Some(&head))?;
        Ok(number)
    }

    /// Seals a version under the current epoch.
    fn seal(&self, head: &Head, version: Version, fields: &Fields) -> Result<Version> {
        let epoch = self.keys.seen()?.state.epoch;
        let key = self.keys.epochs.get(&epoch).ok_or_else(state::tampered)?;
        let version = Version { epoch, ..version };
        let sealed = record::seal(&self.keys.vault, head, &version, key, fields)?;
        self.records.put(&records::version(&head.id, version.number), &sealed)?;
        Ok(Version { digest: seal::digest(&sealed), ..version })
    }

    /// Puts or removes a head, and the state that follows from it.
    fn place(&mut self, name: &str, head: Option<&Head>) -> Result<()> {
        // Until all of it is written nothing is known: a failure in between is found by checking again.
        let mut seen = self.keys.seen.take().ok_or_else(state::tampered)?;
        let key = records::head(name);
        if let Some(old) = seen.summands.remove(name) {
            seen.state.sum.remove(&old);
            seen.state.count -= 1;
        }
        seen.pending.remove(name);
        match head {
            Some(head) => {
                let bytes = head.encode();
                let new = summand(&self.keys.catalog, &key, &bytes);
                seen.state.sum.add(&new);
                seen.state.count += 1;
                seen.summands.insert(name.to_owned(), new);
                if head.versions.iter().any(|version| version.epoch != seen.state.epoch) {
                    seen.pending.insert(name.to_owned());
                }
                self.records.put(&key, &bytes)?;
            }
            None => self.records.remove(&key)?,
        }
        self.write_state(seen)
    }

    fn write_state(&mut self, mut seen: Seen) -> Result<()> {
        seen.state.generation += 1;
        seen.bytes = seen.state.encode(&self.keys.catalog);
        self.records.put(STATE, &seen.bytes)?;
        self.keys.seen = Some(seen);
        Ok(())
    }

    /// The header.
    ///
    /// # Errors
    /// `TAMPERED`.
    pub fn header(&self) -> Result<Header> {
        Header::decode(&self.keys.seen()?.header)
    }

    /// What the vault must hold.
    ///
    /// # Errors
    /// `TAMPERED`.
    pub fn state(&self) -> Result<State> {
        Ok(self.keys.seen()?.state)
    }

    /// How many secrets wait for the current epoch.
    ///
    /// # Errors
    /// `TAMPERED`.
    pub fn pending(&self) -> Result<usize> {
        Ok(self.keys.seen()?.pending.len())
    }

    /// Adds an unlock slot; gives its number.
    ///
    /// # Errors
    /// `SLOT` when there are too many.
    pub fn add_slot(&mut self, kind: Kind, unlocking: &Key) -> Result<u32> {
        let mut header = self.header()?;
        if header.slots.len() >= SLOTS_MAX {
            return Err(code::SLOT.error(format!("a vault has at most {SLOTS_MAX} unlock slots")));
        }
        let (id, root) = (header.next_slot, (&self.keys.root, header.root_version));
        header.slots.push(Slot::new(&header.vault, id, kind, self.now, unlocking, root)?);
        header.next_slot += 1;
        self.write_header(header)?;
        Ok(id)
    }

    /// Removes an unlock slot, and gives it.
    ///
    /// # Errors
    /// `SLOT` when it is not there, or is the last one.
    pub fn remove_slot(&mut self, id: u32) -> Result<Slot> {
        let mut header = self.header()?;
        let at = header.slots.iter().position(|slot| slot.id == id);
        let at = at.ok_or_else(|| {
            code::SLOT.error(format!("there is no unlock slot {id}")).help("kodiak secrets slots list")
        })?;
        if header.slots.len() == 1 {
            let error = code::SLOT.error(format!("unlock slot {id} is the last one: nothing would open the vault"));
            return Err(error.help("kodiak secrets slots add"));
        }
        let removed = header.slots.remove(at);
        self.write_header(header)?;
        Ok(removed)
    }

    fn write_header(&mut self, mut header: Header) -> Result<()> {
        let mut seen = self.keys.seen.take().ok_or_else(state::tampered)?;
        header.generation += 1;
        seen.header = header.encode(&self.keys.root);
        seen.state.header = seal::digest(&seen.header);
        self.records.put(HEADER, &seen.header)?;
        self.write_state(seen)
    }
}

/// That there is no such secret.
pub fn no_secret(name: &str) -> kodiak_plugin_api::Error {
    code::NO_SECRET.error(format!("there is no secret `{name}`")).help("kodiak secrets list")
}

/// That a secret has no such field. What was asked for is not shown: it may have been meant as a value.
pub fn no_field(name: &str, fields: &Fields) -> kodiak_plugin_api::Error {
    let error = code::NO_SECRET.error(format!("secret `{name}` has no such field"));
    error.detail(format!("fields: {}", fields.names().join(", ")))
}

#[cfg(test)]
mod faults;
#[cfg(test)]
mod tamper;
#[cfg(test)]
mod tests;
