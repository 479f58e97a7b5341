//! `kodiak blob`: reads its arguments and sends them to the file that does the work.

mod arguments;
mod maintain;
mod show;
mod sync;
mod transfer;
mod walk;

use crate::extension::Blob;
use arguments::{Arguments, Verb};
use kodiak_plugin_api::prelude::*;

/// Registers the command.
pub fn register(registrar: &mut Registrar<Blob>) {
    registrar.command(run);
}

fn run(blob: &Blob, call: &Call, arguments: Arguments) -> Result<Output> {
    let done = match arguments.verb {
        Verb::Mb(given) => maintain::make(blob, call, &given),
        Verb::Rb(given) => maintain::remove(blob, call, &given),
        Verb::Put(given) => transfer::put(blob, call, given),
        Verb::Get(given) => transfer::get(blob, call, &given),
        Verb::Cat(given) => transfer::cat(blob, call, &given),
        Verb::Ls(given) => show::list(blob, call, given),
        Verb::Rm(given) => transfer::remove(blob, call, &given),
        Verb::Cp(given) => transfer::copy(blob, call, given),
        Verb::Mv(given) => transfer::rename(blob, call, given),
        Verb::Sync(given) => sync::sync(blob, call, &given),
        Verb::Stat(given) => show::stat(blob, call, &given),
        Verb::Versions(given) => show::versions(blob, call, &given),
        Verb::Tag(given) => transfer::tag(blob, call, &given),
        Verb::Verify(given) => maintain::verify(blob, call, &given),
        Verb::Gc(given) => maintain::gc(call, &given),
    };
    // A command has no transaction that outlives it.
    blob.writers.close();
    done
}
