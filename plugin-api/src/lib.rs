//! Everything that the author of a Kodiak extension sees.
//!
//! An extension is a dynamic library with a manifest, `kodiak-plugin.toml`, that says what it is called and what it
//! adds. The library exports one type:
//!
//! ```no_run
//! use kodiak_plugin_api::prelude::*;
//!
//! struct Hello;
//!
//! #[derive(clap::Parser)]
//! #[command(name = "kodiak hello", about = "Greets people")]
//! struct Greet {
//!     name: String,
//! }
//!
//! impl Plugin for Hello {
//!     fn activate(_host: &Host) -> Result<Self> {
//!         Ok(Hello)
//!     }
//!
//!     fn register(r: &mut Registrar<Self>) {
//!         // `kodiak hello NAME`
//!         r.command(|_, _, args: Greet| Ok(Output::text(format!("Hello, {}!\n", args.name))));
//!         // SELECT hello(name) FROM people
//!         r.scalar("hello", Signature::<(Text,), Text>::immutable(), |(name,)| format!("Hello, {name}!"));
//!     }
//! }
//! ```
//!
//! ```toml
//! [extension]
//! name = "hello"
//! version = "0.1.0"
//! api = "1.0"
//! summary = "Greets people"
//! [contributes]
//! command = "Greets people"
//! functions = ["hello"]
//! ```
//!
//! The crate is a `cdylib`; the last line of its `lib.rs` is `export_plugin!(Hello);`. `kodiak ext install ./hello`
//! builds and installs it. The host reads the manifest without loading the library, loads it when a contribution is
//! first used, and compares what it registers with what the manifest declares.
//!
//! Contributions: commands ([`command`]), statements ([`statement`]), scalar functions ([`function`]) and table
//! functions ([`table`]). Services of the host come with every call: [`Call`].

pub mod abi;
#[cfg(feature = "mimalloc")]
pub mod allocator;
pub mod arrow;
pub mod code;
pub mod command;
pub mod error;
pub mod function;
pub mod guard;
pub mod host;
pub mod language;
pub mod plugin;
pub mod statement;
pub mod table;

pub mod value;
mod views;

pub use arrow_array;
pub use arrow_buffer;
pub use arrow_schema;
pub use clap;
pub use error::{Error, Result};
pub use host::{Call, Host};
pub use plugin::{Plugin, Registrar};

/// What nearly every plugin needs.
pub mod prelude {
    pub use crate::command::Output;
    pub use crate::error::{Error, Result};
    pub use crate::export_plugin;
    pub use crate::function::{
        BigInt, BigUnsigned, Binary, Boolean, Date, Double, Integer, Nullable, Real, Signature, SmallInt, Text,
        Timestamp, TimestampTz, TinyInt, Unsigned, Volatility,
    };
    pub use crate::host::{Call, Host, Level};
    pub use crate::plugin::{Plugin, Registrar, batches};
    pub use crate::statement::{Cursor, Outcome, Statement, TokenKind};
    pub use crate::table::{Scan, Table, TableArguments};
    pub use crate::value::{Row, Value, rows};
}
