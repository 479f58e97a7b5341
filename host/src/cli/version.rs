//! `kodiak version`: which program this is. It refuses to look anything up: all is known when it is built.

use super::context::Context;
use super::exit::Exit;
use crate::error::Result;

/// Arguments of `kodiak version`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Also print what it was built for and where it lies
    #[arg(long, short)]
    pub verbose: bool,
}

/// Prints the version.
///
/// # Errors
/// Those of rendering.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit> {
    let mut facts = vec![("version", crate::VERSION.into())];
    if args.verbose {
        let program = std::env::current_exe().ok().map(|path| path.display().to_string());
        facts.extend([
            ("platform", format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS).into()),
            ("build", if cfg!(debug_assertions) { "debug" } else { "release" }.into()),
            ("arrow", arrow::ARROW_VERSION.into()),
            ("program", program.into()),
        ]);
    }
    if context.ui.is_structured() || args.verbose {
        context.ui.facts(&facts)?;
    } else {
        context.ui.say(&format!("kodiak {}", crate::VERSION));
    }
    Ok(Exit::Done)
}
