//! Diagnostics for the people who build and run Kodiak, off unless `KODIAK_LOG` asks for them. It refuses to print
//! anything a user needs to know: that goes through the command line's ui.

use std::env;
use std::io;
use std::sync::Once;

use tracing_subscriber::EnvFilter;

/// The variable that switches diagnostics on, such as `KODIAK_LOG=kodiak=debug`.
pub const LOG_VARIABLE: &str = "KODIAK_LOG";

/// Sends diagnostics to stderr when `KODIAK_LOG` is set; otherwise costs one look at the environment.
///
/// A filter that cannot be parsed is treated as `info`: diagnostics must never be a reason to fail.
pub fn start() {
    static STARTED: Once = Once::new();
    let Some(filter) = env::var_os(LOG_VARIABLE).filter(|filter| !filter.is_empty()) else { return };
    STARTED.call_once(|| {
        let filter = filter
            .to_str()
            .and_then(|filter| EnvFilter::try_new(filter).ok())
            .unwrap_or_else(|| EnvFilter::new("info"));
        let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(io::stderr);
        // An embedding program may have its own subscriber already: then ours gives way.
        let _ = subscriber.try_init();
    });
}
