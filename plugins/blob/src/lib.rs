//! Buckets and objects with S3's semantics, whose rows commit in the caller's transaction.
//!
//! From the outside in: `statements`, `functions` and `command` read what users write; `objects`, `buckets` and `sweep`
//! decide; `sql` keeps the rows behind the trait in `index`; `payload` keeps larger contents in files, behind the disk
//! in `files`; `writers` says which of them are still needed by a transaction under way.

mod address;
mod buckets;
mod code;
mod digest;
mod files;
mod index;
mod listing;
#[cfg(test)]
mod memory;
mod name;
mod objects;
mod payload;
mod sql;
mod stamp;
mod sweep;
mod writers;
