//! Ids of versions: ULIDs that sort in the order in which they were made, within a process always, and on one key
//! whatever the clocks of the processes say.

use std::sync::{Mutex, PoisonError};
use ulid::{Generator, Ulid};

static GENERATOR: Mutex<Generator> = Mutex::new(Generator::new());

/// The next stamp, after `previous`, the newest one on its key.
pub fn next(previous: Option<&str>) -> String {
    let mut generator = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    let made = generator.generate().unwrap_or_else(|overflow| overflow.commit_overflow_increment());
    let made = match previous.and_then(|text| Ulid::from_string(text).ok()) {
        // Another process's clock is ahead.
        Some(previous) if previous >= made => previous.increment().unwrap_or_else(|overflow| overflow),
        _ => made,
    };
    made.to_string()
}

#[cfg(test)]
mod tests {
    use super::next;
    use ulid::Ulid;

    #[test]
    fn stamps_sort_in_the_order_of_their_making() {
        let made: Vec<String> = (0..1000).map(|_| next(None)).collect();
        assert!(made.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn a_clock_behind_does_not_turn_the_order() {
        let ahead = Ulid::from_parts(1 << 45, 9).to_string();
        let after = next(Some(&ahead));
        assert!(after > ahead);
        assert!(next(Some(&after)) > after);
    }
}
