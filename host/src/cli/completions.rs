//! `kodiak completions SHELL`: a script that completes commands and options. It refuses to install it anywhere.

use clap::CommandFactory;
use clap_complete::Shell;

use super::context::Context;
use super::exit::Exit;
use crate::error::Result;

const EXAMPLES: &str = "\
Examples:
  kodiak completions bash > ~/.local/share/bash-completion/completions/kodiak
  kodiak completions fish > ~/.config/fish/completions/kodiak.fish";

/// Arguments of `kodiak completions`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The shell that will read it
    pub shell: Shell,
}

/// Prints the script.
///
/// # Errors
/// None; failures of stdout show at the end.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::args::Args::command(), "kodiak", &mut script);
    context.ui.data(&script);
    Ok(Exit::Done)
}
