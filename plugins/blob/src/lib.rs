//! Buckets and objects with S3's semantics, whose rows commit in the caller's transaction.
//!
//! From the outside in: `statements` (read by `syntax`), `functions` and `command` take what users write; `objects`,
//! `buckets` and `sweep` decide; `sql` keeps the rows, behind the trait in `index`; `payload` keeps larger contents in
//! files, behind the disk in `files`; `writers` says which of them a transaction under way still needs.

mod address;
mod buckets;
mod code;
mod command;
mod content;
mod digest;
mod extension;
#[cfg(test)]
mod faulty;
mod files;
mod functions;
mod index;
mod listing;
#[cfg(test)]
mod memory;
mod name;
mod objects;
mod payload;
mod shown;
mod sql;
mod stamp;
mod statements;
mod sweep;
mod syntax;
mod writers;

pub use code::ALL as CODES;
pub use extension::Blob;

kodiak_plugin_api::export_plugin!(Blob);
