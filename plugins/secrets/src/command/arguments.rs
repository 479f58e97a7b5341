//! Arguments of `kodiak secrets`. No argument is ever a value: a list of processes shows it to everybody.

use crate::passphrase::Cost;
use crate::unlock::{Given, from_descriptor};
use kodiak_plugin_api::clap;
use kodiak_plugin_api::prelude::*;
use std::path::PathBuf;

/// Keep, use and rotate secrets.
#[derive(clap::Parser, Debug)]
#[command(name = "kodiak secrets", bin_name = "kodiak secrets", about, disable_version_flag = true)]
pub struct Arguments {
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(clap::Subcommand, Debug)]
pub enum Verb {
    /// Make the vault of a database, with its first unlock slot
    Init(Init),
    /// Open the vault once, check everything in it, and take back `lock`
    Unlock(Unlock),
    /// Keep the vault from being opened by a key file or keyring alone, until `unlock`
    Lock,
    /// Make a secret, or give it a new version, from a prompt, standard input or a file
    Set(Set),
    /// Show what a secret is, and with --reveal its value
    Get(Get),
    /// List secrets, without their values
    List,
    /// Remove a secret with all its versions
    Rm(Rm),
    /// Seal a secret again, begin a new key epoch, or take a new root key
    Rotate(Rotate),
    /// Add, remove and list ways to open the vault
    #[command(subcommand)]
    Slots(Slots),
    /// Make a recovery code and print it, once
    Recovery(Recovery),
    /// Write secrets to a sealed file for another vault
    Export(Export),
    /// Read secrets from a sealed file
    Import(Import),
    /// Say what there is to say about the vault without opening a secret
    Status(Status),
    /// Run a program with secrets in its environment
    Exec(Exec),
}

/// What opens the vault for one command.
#[derive(clap::Args, Debug, Default)]
pub struct Credential {
    /// Read a passphrase or recovery code from this open file descriptor
    #[arg(long, value_name = "N", conflicts_with = "key_file")]
    pub passphrase_fd: Option<u32>,
    /// Use this key file
    #[arg(long, value_name = "PATH")]
    pub key_file: Option<PathBuf>,
}

#[derive(clap::Args, Debug)]
#[group(skip)]
pub struct Init {
    #[command(flatten)]
    pub way: NewWay,
}

/// A new way to open the vault.
#[derive(clap::Args, Debug)]
#[group(skip)]
pub struct NewWay {
    /// Make this key file, readable by its owner alone, or use it when it is there
    #[arg(long, value_name = "PATH", conflicts_with_all = ["passphrase_fd", "keyring"])]
    pub key_file: Option<PathBuf>,
    /// Read the passphrase from this open file descriptor instead of asking for it
    #[arg(long, value_name = "N", conflicts_with = "keyring")]
    pub passphrase_fd: Option<u32>,
    /// Keep the key in the system's keyring: secret-service or keyutils
    #[arg(long, value_name = "PROVIDER", num_args = 0..=1, default_missing_value = "secret-service", value_parser = ["secret-service", "keyutils"])]
    pub keyring: Option<String>,
    #[command(flatten)]
    pub work: Work,
}

/// How much a guess at a passphrase costs.
#[derive(clap::Args, Debug)]
pub struct Work {
    /// Memory of Argon2id, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 64)]
    pub memory_mib: u32,
    /// Passes of Argon2id
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub iterations: u32,
    /// Lanes of Argon2id
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub lanes: u32,
}

#[derive(clap::Args, Debug)]
pub struct Unlock {
    #[command(flatten)]
    pub credential: Credential,
}

#[derive(clap::Args, Debug)]
pub struct Set {
    /// The secret
    pub name: String,
    /// Caught here so that nothing repeats it: a value is never an argument
    #[arg(hide = true, allow_hyphen_values = true)]
    pub refused: Vec<String>,
    /// Caught as well
    #[arg(long, hide = true, num_args = 0.., allow_hyphen_values = true)]
    pub value: Option<Vec<String>>,
    /// What it is for, such as s3; `generic` for a new one
    #[arg(long = "type", value_name = "TYPE")]
    pub kind: Option<String>,
    /// The prefix of paths to which it applies
    #[arg(long)]
    pub scope: Option<String>,
    /// The field to set
    #[arg(long, default_value = "VALUE")]
    pub field: String,
    /// Read the value from this file, verbatim; - is standard input
    #[arg(long, value_name = "PATH")]
    pub file: Option<PathBuf>,
    #[command(flatten)]
    pub credential: Credential,
}

#[derive(clap::Args, Debug)]
pub struct Get {
    /// The secret
    pub name: String,
    /// Print the value; it is written down that you did
    #[arg(long)]
    pub reveal: bool,
    /// Which field
    #[arg(long)]
    pub field: Option<String>,
    /// Which version
    #[arg(long, value_name = "N")]
    pub version: Option<u32>,
    #[command(flatten)]
    pub credential: Credential,
}

#[derive(clap::Args, Debug)]
pub struct Rm {
    /// The secret
    pub name: String,
    /// Do nothing when there is none
    #[arg(long)]
    pub if_exists: bool,
    /// Only say what would go
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub credential: Credential,
}

#[derive(clap::Args, Debug)]
#[group(skip)]
pub struct Rotate {
    /// The secret whose current values are sealed again as a new version
    #[arg(required_unless_present_any = ["key", "master"], conflicts_with_all = ["key", "master"])]
    pub name: Option<String>,
    /// Begin a new epoch, and seal every data key under it; goes on where an earlier one was interrupted
    #[arg(long, conflicts_with = "master")]
    pub key: bool,
    /// Take a new root key; what opens the vault stays valid
    #[arg(long)]
    pub master: bool,
    #[command(flatten)]
    pub credential: Credential,
}

#[derive(clap::Subcommand, Debug)]
pub enum Slots {
    /// Add a way to open the vault
    Add(SlotAdd),
    /// Remove one; the last one stays
    Remove(SlotRemove),
    /// List them
    List,
}

#[derive(clap::Args, Debug)]
#[group(skip)]
pub struct SlotAdd {
    /// Make this key file, or use it when it is there
    #[arg(long, value_name = "PATH", conflicts_with_all = ["new_passphrase_fd", "keyring"])]
    pub key_file: Option<PathBuf>,
    /// Read the new passphrase from this open file descriptor instead of asking for it
    #[arg(long, value_name = "N", conflicts_with = "keyring")]
    pub new_passphrase_fd: Option<u32>,
    /// Keep the key in the system's keyring: secret-service or keyutils
    #[arg(long, value_name = "PROVIDER", num_args = 0..=1, default_missing_value = "secret-service", value_parser = ["secret-service", "keyutils"])]
    pub keyring: Option<String>,
    #[command(flatten)]
    pub work: Work,
    /// Open the vault with the passphrase from this open file descriptor
    #[arg(long, value_name = "N", conflicts_with = "unlock_key_file")]
    pub passphrase_fd: Option<u32>,
    /// Open the vault with this key file
    #[arg(long, value_name = "PATH")]
    pub unlock_key_file: Option<PathBuf>,
}

#[derive(clap::Args, Debug)]
pub struct SlotRemove {
    /// Its number, as `slots list` shows it
    pub slot: u32,
    #[command(flatten)]
    pub credential: Credential,
}

#[derive(clap::Args, Debug)]
pub struct Recovery {
    /// Remove earlier recovery codes
    #[arg(long)]
    pub replace: bool,
    #[command(flatten)]
    pub credential: Credential,
}

/// What seals a file of secrets.
#[derive(clap::Args, Debug)]
pub struct Bundle {
    /// Read the file's passphrase from this open file descriptor instead of asking for it
    #[arg(long, value_name = "N", conflicts_with = "bundle_key_file")]
    pub bundle_passphrase_fd: Option<u32>,
    /// Seal it with this key file
    #[arg(long, value_name = "PATH")]
    pub bundle_key_file: Option<PathBuf>,
}

#[derive(clap::Args, Debug)]
pub struct Export {
    /// The file to write; it must not be there
    pub file: PathBuf,
    /// Only this secret, repeatable
    #[arg(long, value_name = "NAME")]
    pub only: Vec<String>,
    #[command(flatten)]
    pub bundle: Bundle,
    #[command(flatten)]
    pub credential: Credential,
}

#[derive(clap::Args, Debug)]
pub struct Import {
    /// A file that `export` wrote
    pub file: PathBuf,
    /// Give secrets that are there a new version
    #[arg(long, conflicts_with = "keep")]
    pub replace: bool,
    /// Leave secrets that are there as they are
    #[arg(long)]
    pub keep: bool,
    #[command(flatten)]
    pub bundle: Bundle,
    #[command(flatten)]
    pub credential: Credential,
}

#[derive(clap::Args, Debug)]
pub struct Status {
    #[command(flatten)]
    pub credential: Credential,
}

#[derive(clap::Args, Debug)]
pub struct Exec {
    /// Only this secret, repeatable; all of them otherwise
    #[arg(long, value_name = "NAME", conflicts_with = "env")]
    pub only: Vec<String>,
    /// Only this variable, repeatable: VARIABLE=SECRET or VARIABLE=SECRET:FIELD
    #[arg(long, value_name = "VAR=SECRET[:FIELD]")]
    pub env: Vec<String>,
    #[command(flatten)]
    pub credential: Credential,
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

impl Credential {
    /// What it says, if it says anything.
    ///
    /// # Errors
    /// `FILE`.
    pub fn given(&self) -> Result<Option<Given>> {
        match (self.passphrase_fd, &self.key_file) {
            (Some(descriptor), _) => from_descriptor(descriptor).map(Given::Passphrase).map(Some),
            (None, Some(path)) => Ok(Some(Given::KeyFile(path.clone()))),
            (None, None) => Ok(None),
        }
    }
}

impl Work {
    /// As Argon2id takes it.
    ///
    /// # Errors
    /// `WEAK`.
    pub fn cost(&self) -> Result<Cost> {
        let memory_kib = self.memory_mib.saturating_mul(1 << 10);
        Cost { memory_kib, iterations: self.iterations, lanes: self.lanes }.check()
    }
}
