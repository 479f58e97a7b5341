//! No core dumps while keys are in memory. It refuses to fail: where the system does not let it, the vault works all the
//! same, and docs/secrets.md says what is not protected.

use rlimit::Resource;
use std::fs;
use std::sync::{Mutex, PoisonError};

/// Which mappings a core dump has; none of them.
const FILTER: &str = "/proc/self/coredump_filter";

/// What was there before.
struct Before {
    filter: Option<String>,
    soft: Option<u64>,
}

static BEFORE: Mutex<Option<Before>> = Mutex::new(None);

/// Makes core dumps empty, and keeps them from being written.
pub fn protect() {
    let mut before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner);
    if before.is_some() {
        return;
    }
    let filter = fs::read_to_string(FILTER).ok();
    let limits = Resource::CORE.get().ok();
    *before = Some(Before { filter, soft: limits.map(|(soft, _)| soft) });
    // A dump that a daemon takes through a pipe does not ask for the limit; the filter holds for it as well.
    let _ = fs::write(FILTER, "0");
    if let Some((_, hard)) = limits {
        // The hard limit stays, so that a program that takes this one's place gets back what it had.
        let _ = Resource::CORE.set(0, hard);
    }
}

/// Gives a program that takes this one's place what the user had set.
pub fn release() {
    let Some(before) = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
    if let Some(filter) = before.filter {
        let _ = fs::write(FILTER, format!("0x{}", filter.trim()));
    }
    if let (Some(soft), Ok((_, hard))) = (before.soft, Resource::CORE.get()) {
        let _ = Resource::CORE.set(soft, hard);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_dump_would_be_empty_and_is_not_written() {
        let (soft, hard) = Resource::CORE.get().unwrap();
        let filter = fs::read_to_string(FILTER).unwrap();
        protect();
        assert_eq!(Resource::CORE.get().unwrap(), (0, hard));
        assert_eq!(u32::from_str_radix(fs::read_to_string(FILTER).unwrap().trim(), 16), Ok(0));
        release();
        assert_eq!(Resource::CORE.get().unwrap(), (soft, hard));
        assert_eq!(fs::read_to_string(FILTER).unwrap(), filter);
    }
}
