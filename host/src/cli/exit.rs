//! Exit codes and the last line of defence: what a failure means to the shell, and what the user reads instead of the text
//! of a Rust panic. It refuses to render errors: the ui does.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Mutex;

use crate::error::{Error, Result, codes};

/// The exit codes of the program; no other is ever used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Failed: an SQL error, a refused operation, findings of a check.
    Failed = 1,
    /// The command line cannot be understood.
    Usage = 2,
    /// A needed extension is missing or not usable.
    Gated = 3,
    /// A bug of ours.
    Bug = 101,
}

/// What the code of `error` means when it ends a command.
///
/// `kodiak ext` reports the same codes as results of its own work (`ext verify` finds a modified file, `ext install`
/// refuses one): there they mean failure, which [`of_registry`] says.
pub(crate) fn of(error: &Error) -> Exit {
    const USAGE: &[crate::error::Code] = &[codes::USAGE, codes::NO_TERMINAL, codes::UNKNOWN_COMMAND];
    const GATED: &[crate::error::Code] = &[
        codes::NOT_INSTALLED,
        codes::DEPENDENCY,
        codes::DISABLED,
        codes::DORMANT,
        codes::MODIFIED,
        codes::NOT_A_PLUGIN,
        codes::NO_MANIFEST,
        codes::LOAD_FAILED,
        codes::LAYOUT,
        codes::REGISTRATION,
        codes::ACTIVATION,
        codes::ABI_VERSION,
        codes::QUARANTINED,
    ];
    let among = |group: &[crate::error::Code]| group.iter().any(|code| error.is(*code));
    match error {
        error if error.is(codes::INTERNAL) => Exit::Bug,
        _ if among(USAGE) => Exit::Usage,
        _ if among(GATED) => Exit::Gated,
        _ => Exit::Failed,
    }
}

/// What the code of `error` means when it ends `kodiak ext`: nothing is gated there.
pub(crate) fn of_registry(error: &Error) -> Exit {
    match of(error) {
        Exit::Gated => Exit::Failed,
        other => other,
    }
}

/// Where the last panic happened, for the report that [`guard`] asks for.
static PANIC_PLACE: Mutex<Option<String>> = Mutex::new(None);

/// Runs the command; a panic becomes KDK-0001.
///
/// The hook prints nothing, because panics inside plugins and query tasks are caught where they happen and reported
/// there. Its text goes to the diagnostics.
pub(crate) fn guard(run: impl FnOnce() -> Result<Exit>) -> Result<Exit> {
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string);
        tracing::error!(place, message = message_of(info.payload()), "panic");
        if let Ok(mut last) = PANIC_PLACE.lock() {
            *last = place;
        }
    }));
    panic::catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| {
        let place = PANIC_PLACE.lock().ok().and_then(|mut last| last.take());
        let error = Error::new(codes::INTERNAL, "Kodiak came upon a bug of its own and stopped")
            .detail(format!("place: {}, version {}", place.as_deref().unwrap_or("unknown"), crate::VERSION))
            .help("please report this with what you ran; KODIAK_LOG=error shows more");
        Err(error)
    })
}

fn message_of(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}

#[cfg(test)]
mod tests {
    use super::{Exit, guard, of, of_registry};
    use crate::error::{Error, codes};

    #[test]
    fn codes_mean_what_the_interface_says() {
        let exit = |code| of(&Error::new(code, "x"));
        assert_eq!(exit(codes::NO_TABLE), Exit::Failed);
        assert_eq!(exit(codes::STILL_NEEDED), Exit::Failed);
        assert_eq!(exit(codes::USAGE), Exit::Usage);
        assert_eq!(exit(codes::UNKNOWN_COMMAND), Exit::Usage);
        assert_eq!(exit(codes::NOT_INSTALLED), Exit::Gated);
        assert_eq!(exit(codes::ABI_VERSION), Exit::Gated);
        assert_eq!(exit(codes::INTERNAL), Exit::Bug);
        assert_eq!(of_registry(&Error::new(codes::MODIFIED, "x")), Exit::Failed);
    }

    #[test]
    fn a_panic_becomes_an_error_with_its_place() {
        let error = guard(|| panic!("secret of the implementation")).unwrap_err();
        let _ = std::panic::take_hook();
        assert!(error.is(codes::INTERNAL));
        assert!(error.details()[0].contains("exit.rs"), "{error:?}");
        assert!(!format!("{error:?}").contains("secret"));
    }
}
