//! The fence around everything that runs inside an exported function: a panic becomes an error, and so does a panic
//! in the drop of its payload. It refuses to print: the host decides what is shown.

use crate::abi::{AbiResult, RErr, ROk};
use crate::error::{Error, Result};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

#[cfg(not(panic = "unwind"))]
compile_error!("a Kodiak plugin must be built with panic = \"unwind\", or a panic would end the host");

/// Runs `f`; a panic becomes an error that says so.
///
/// # Errors
/// Those of `f`, or one for which [`Error::panicked`] holds.
pub fn guarded<T>(f: impl FnOnce() -> Result<T>) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(result) => result,
        Err(payload) => {
            let text = panic_text(&*payload);
            if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
                // The payload of a panic in the payload's drop: leaking it is the only way that cannot panic again.
                std::mem::forget(second);
            }
            Err(Error::panic(text))
        }
    }
}

/// [`guarded`] as the boundary wants it.
pub fn guard<T>(f: impl FnOnce() -> Result<T>) -> AbiResult<T> {
    match guarded(f) {
        Ok(value) => ROk(value),
        Err(error) => RErr(error.into()),
    }
}

fn panic_text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::guarded;

    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                panic!("second");
            }
        }
    }

    #[test]
    fn a_payload_that_panics_when_dropped_is_contained() {
        let error = guarded::<()>(|| std::panic::panic_any(Bomb)).expect_err("it panicked");
        assert!(error.panicked());
        assert_eq!(error.text(), "no message");
    }
}
