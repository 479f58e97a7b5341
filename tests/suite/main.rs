//! The tests of the whole, in one binary so that it links once: each module proves one promise from the outside.

#![allow(clippy::unwrap_used)]

mod abi_matrix;
mod attach;
mod blob;
mod cli;
mod connection;
mod docs;
mod extensions;
mod front_end;
mod indexes;
mod scan;
mod secrets;
mod slt;
mod tidy;

use kodiak_tests::Sandbox;

/// A sandbox for the program of this very build.
fn sandbox() -> Sandbox {
    Sandbox::new(env!("CARGO_BIN_EXE_kodiak-under-test"))
}
