//! What happened that the user should know, and that stopped nobody. It refuses to grow without bound.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// The newest ones are kept, each once.
const COUNT_MAX: usize = 64;

/// Warnings of an open database, in the order in which they came up.
#[derive(Debug, Default)]
pub(crate) struct Warnings(Mutex<VecDeque<String>>);

impl Warnings {
    pub(crate) fn add(&self, warning: String) {
        let mut warnings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !warnings.contains(&warning) {
            warnings.push_back(warning);
        }
        if warnings.len() > COUNT_MAX {
            warnings.pop_front();
        }
    }

    pub(crate) fn extend(&self, warnings: impl IntoIterator<Item = String>) {
        warnings.into_iter().for_each(|warning| self.add(warning));
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept_each_once() {
        let warnings = Warnings::default();
        (0..200).for_each(|number| warnings.extend([format!("warning {number}"), "the same".to_owned()]));
        let all = warnings.all();
        assert!(
            all.len() <= COUNT_MAX && all.contains(&"warning 199".to_owned()) && !all.contains(&"warning 3".to_owned())
        );
        assert!(all.iter().filter(|warning| *warning == "the same").count() <= 1);
    }
}
