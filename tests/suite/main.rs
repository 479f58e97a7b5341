//! Tests of the whole program, in one binary so that it links once.

mod cli;

use kodiak_tests::Sandbox;

/// A sandbox for the program of this very build.
fn sandbox() -> Sandbox {
    Sandbox::new(env!("CARGO_BIN_EXE_kodiak-under-test"))
}
