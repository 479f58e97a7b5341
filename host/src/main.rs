//! The program `kodiak`: picks the allocator and hands over to the command line. It refuses to do anything else.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    kodiak::cli::main()
}
