//! One way to open the vault. A slot has an X25519 key pair: the private half is sealed by the key that a passphrase, a
//! key file, the system's keyring or a recovery code gives, and the vault's root key is sealed to the public half. So a
//! new root key reaches every slot without anybody's passphrase, and the old one opens nothing that comes after it.
//!
//! It refuses to know where such a key comes from.

use crate::passphrase::{Cost, SALT_BYTES};
use crate::seal::{self, Key, Refused};
use crate::wire::{Reader, Writer};
use crate::{MAGIC, code};
use kodiak_plugin_api::Result;
use x25519_dalek::{X25519_BASEPOINT_BYTES, x25519};
use zeroize::Zeroizing;

/// What opens a slot, and what must be known for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An entry of the system's keyring.
    Keyring {
        /// Which keyring: never another one than that which the slot was made with.
        provider: String,
        /// The entry's account.
        account: String,
    },
    /// Argon2id.
    Passphrase {
        /// Its parameters.
        cost: Cost,
        /// Of this slot alone.
        salt: [u8; SALT_BYTES],
    },
    /// A file that only its owner reads.
    KeyFile {
        /// Where it was when the slot was made; a hint.
        path: String,
    },
    /// A code on paper.
    Recovery,
}

/// One way to open the vault.
#[derive(Clone, PartialEq, Eq)]
pub struct Slot {
    /// Its number, never used again.
    pub id: u32,
    /// What opens it.
    pub kind: Kind,
    /// Microseconds since 1970.
    pub created_at: i64,
    public: [u8; 32],
    private: Vec<u8>,
    ephemeral: [u8; 32],
    root: Vec<u8>,
}

/// What a slot gives.
pub struct Opened {
    /// Opens the root key again after another process changed it.
    pub private: Key,
    /// The vault's root key.
    pub root: Key,
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slot").field("id", &self.id).field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl Slot {
    /// Makes a slot that `unlocking` opens.
    ///
    /// # Errors
    /// `CHANCE`.
    pub fn new(
        vault: &[u8; 16],
        id: u32,
        kind: Kind,
        created_at: i64,
        unlocking: &Key,
        root: (&Key, u32),
    ) -> Result<Self> {
        let private = Key::random()?;
        let public = x25519(*private.expose(), X25519_BASEPOINT_BYTES);
        let (ephemeral, root_bytes) = ([0; 32], Vec::new());
        let mut slot = Self { id, kind, created_at, public, private: Vec::new(), ephemeral, root: root_bytes };
        slot.private = seal::seal(&slot.wrapping(vault, unlocking), &slot.associated(vault), private.expose())?;
        slot.seal_root(vault, root)?;
        Ok(slot)
    }

    /// Seals a root key to this slot, in place of the one before.
    ///
    /// # Errors
    /// `CHANCE`.
    pub fn seal_root(&mut self, vault: &[u8; 16], (root, version): (&Key, u32)) -> Result<()> {
        let once = Key::random()?;
        self.ephemeral = x25519(*once.expose(), X25519_BASEPOINT_BYTES);
        let shared = Zeroizing::new(x25519(*once.expose(), self.public));
        let key = self.agreed(vault, &shared).map_err(|Refused| self.broken())?;
        self.root = seal::seal(&key, &self.associated_root(vault, version), root.expose())?;
        Ok(())
    }

    /// Opens it with the key that its kind gives.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn open(&self, vault: &[u8; 16], unlocking: &Key, version: u32) -> Result<Opened, Refused> {
        let private = seal::open_key(&self.wrapping(vault, unlocking), &self.associated(vault), &self.private)?;
        let root = self.open_root(vault, &private, version)?;
        Ok(Opened { private, root })
    }

    /// Opens the root key with what [`Slot::open`] gave earlier.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn open_root(&self, vault: &[u8; 16], private: &Key, version: u32) -> Result<Key, Refused> {
        let shared = Zeroizing::new(x25519(*private.expose(), self.ephemeral));
        seal::open_key(&self.agreed(vault, &shared)?, &self.associated_root(vault, version), &self.root)
    }

    /// What users call its kind.
    pub fn word(&self) -> &'static str {
        self.kind.word()
    }

    /// Writes it into a header.
    pub fn write(&self, writer: &mut Writer) {
        writer.u32(self.id).i64(self.created_at);
        self.kind.write(writer);
        writer.raw(&self.public).bytes(&self.private).raw(&self.ephemeral).bytes(&self.root);
    }

    /// Reads it from a header.
    ///
    /// # Errors
    /// `TAMPERED`, `FORMAT`, `WEAK`.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let (id, created_at) = (reader.u32()?, reader.i64()?);
        let kind = Kind::read(reader)?;
        let (public, private) = (reader.array()?, reader.bytes()?.to_vec());
        let (ephemeral, root) = (reader.array()?, reader.bytes()?.to_vec());
        Ok(Self { id, kind, created_at, public, private, ephemeral, root })
    }

    fn wrapping(&self, vault: &[u8; 16], unlocking: &Key) -> Key {
        unlocking.derive("slot", &Writer::new().raw(vault).u32(self.id).finish())
    }

    fn agreed(&self, vault: &[u8; 16], shared: &[u8; 32]) -> Result<Key, Refused> {
        // A public half of small order would make a key that everybody knows.
        if shared.iter().fold(0, |all, byte| all | byte) == 0 {
            return Err(Refused);
        }
        let context = Writer::new().raw(vault).u32(self.id).raw(&self.ephemeral).raw(&self.public).finish();
        Ok(seal::derive(shared, "slot root", &context))
    }

    fn associated(&self, vault: &[u8; 16]) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.bytes(MAGIC).text("slot").bytes(vault).u32(self.id).i64(self.created_at);
        self.kind.write(&mut writer);
        writer.raw(&self.public).finish()
    }

    fn associated_root(&self, vault: &[u8; 16], version: u32) -> Vec<u8> {
        Writer::new().bytes(MAGIC).text("root").bytes(vault).u32(self.id).u32(version).finish()
    }

    fn broken(&self) -> kodiak_plugin_api::Error {
        code::TAMPERED.error(format!("unlock slot {} is damaged", self.id))
    }
}

impl Kind {
    /// What users call it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Keyring { .. } => "keyring",
            Self::Passphrase { .. } => "passphrase",
            Self::KeyFile { .. } => "key file",
            Self::Recovery => "recovery code",
        }
    }

    /// What else is known about it, for a listing.
    pub fn detail(&self) -> String {
        match self {
            Self::Keyring { provider, .. } => provider.clone(),
            Self::Passphrase { cost: Cost { memory_kib, iterations, lanes }, .. } => {
                format!("argon2id m={memory_kib} t={iterations} p={lanes}")
            }
            Self::KeyFile { path } => path.clone(),
            Self::Recovery => String::new(),
        }
    }

    fn write(&self, writer: &mut Writer) {
        match self {
            Self::Keyring { provider, account } => writer.u8(1).text(provider).text(account),
            Self::Passphrase { cost, salt } => {
                writer.u8(2).u32(cost.memory_kib).u32(cost.iterations).u32(cost.lanes).raw(salt)
            }
            Self::KeyFile { path } => writer.u8(3).text(path),
            Self::Recovery => writer.u8(4),
        };
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        Ok(match reader.u8()? {
            1 => Self::Keyring { provider: reader.text()?, account: reader.text()? },
            2 => {
                let cost = Cost { memory_kib: reader.u32()?, iterations: reader.u32()?, lanes: reader.u32()? };
                // Before anything is spent on them: a changed header must not exhaust the machine.
                Self::Passphrase { cost: cost.check()?, salt: reader.array()? }
            }
            3 => Self::KeyFile { path: reader.text()? },
            4 => Self::Recovery,
            other => {
                let text = format!("the vault has an unlock slot of kind {other}, which this version does not know");
                return Err(code::FORMAT.error(text).help("kodiak ext update secrets"));
            }
        })
    }
}
