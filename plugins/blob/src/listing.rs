//! Keys under a common prefix, as a listing with a delimiter shows them: pure functions over keys in the order of
//! their bytes. It refuses to know rows.

/// What a listing does with the next key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is listed itself.
    Object,
    /// It is the first one under this common prefix, which is listed.
    Prefix(String),
    /// It lies under a common prefix that was listed, or before where the listing begins.
    Covered,
}

/// Decides about keys one by one.
#[derive(Clone, Debug)]
pub struct Grouper {
    prefix: usize,
    delimiter: String,
    after: Option<String>,
    last: Option<String>,
}

impl Grouper {
    /// For keys that begin with `prefix`; an empty delimiter means none. What sorts at or before `after`, which may be
    /// a common prefix that an earlier page ended with, is left out.
    pub fn new(prefix: &str, delimiter: &str, after: Option<&str>) -> Self {
        let (delimiter, after) = (delimiter.to_owned(), after.map(str::to_owned));
        Self { prefix: prefix.len(), delimiter, after, last: None }
    }

    /// The next key; several versions of one key may follow each other.
    pub fn step(&mut self, key: &str) -> Step {
        if let Some(last) = &self.last
            && key.starts_with(last.as_str())
        {
            return Step::Covered;
        }
        let rest = key.get(self.prefix..).filter(|_| !self.delimiter.is_empty());
        let common =
            rest.and_then(|rest| rest.find(&self.delimiter)).map(|at| &key[..self.prefix + at + self.delimiter.len()]);
        let step = match common {
            None => Step::Object,
            Some(common) => {
                self.last = Some(common.to_owned());
                Step::Prefix(common.to_owned())
            }
        };
        let shown = common.unwrap_or(key);
        if self.after.as_deref().is_some_and(|after| shown <= after) { Step::Covered } else { step }
    }
}

/// The least text that sorts behind every text with this prefix; none when there is no such text.
pub fn end_of_prefix(prefix: &str) -> Option<String> {
    let mut end = prefix.to_owned();
    while let Some(last) = end.pop() {
        // The order of UTF-8 bytes is the order of scalar values; surrogates are not among them.
        let next = if last == '\u{d7ff}' { Some('\u{e000}') } else { char::from_u32(last as u32 + 1) };
        if let Some(next) = next {
            end.push(next);
            return Some(end);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn grouped(keys: &[String], prefix: &str, delimiter: &str, after: Option<&str>) -> Vec<String> {
        let mut grouper = Grouper::new(prefix, delimiter, after);
        let step = |key: &String| match grouper.step(key) {
            Step::Object => Some(key.clone()),
            Step::Prefix(common) => Some(common),
            Step::Covered => None,
        };
        keys.iter().filter(|key| key.starts_with(prefix)).filter_map(step).collect()
    }

    /// What S3 says a listing is: the set of keys without the delimiter behind the prefix, and of what stands before it.
    fn model(keys: &[String], prefix: &str, delimiter: &str, after: Option<&str>) -> Vec<String> {
        let shown = |key: &String| match key[prefix.len()..].split_once(delimiter) {
            Some((head, _)) if !delimiter.is_empty() => format!("{prefix}{head}{delimiter}"),
            _ => key.clone(),
        };
        let set: BTreeSet<String> = keys.iter().filter(|key| key.starts_with(prefix)).map(shown).collect();
        set.into_iter().filter(|shown| after.is_none_or(|after| shown.as_str() > after)).collect()
    }

    proptest! {
        #[test]
        fn a_listing_is_what_the_model_says(
            keys in prop::collection::btree_set("[ab/\u{fc}\u{1f43b}]{1,6}", 0..40),
            prefix in "[ab/]{0,2}",
            delimiter in prop::sample::select(vec!["", "/", "a", "//", "\u{fc}", "b/"]),
            after in prop::option::of("[ab/]{0,3}"),
        ) {
            let keys: Vec<String> = keys.into_iter().collect();
            let (grouped, model) = (
                grouped(&keys, &prefix, delimiter, after.as_deref()),
                model(&keys, &prefix, delimiter, after.as_deref()),
            );
            prop_assert_eq!(grouped, model);
        }

        #[test]
        fn pages_join_to_the_whole(
            keys in prop::collection::btree_set("[ab/]{1,5}", 0..40),
            delimiter in prop::sample::select(vec!["", "/"]),
            page in 1_usize..5,
        ) {
            let keys: Vec<String> = keys.into_iter().collect();
            let (mut joined, mut after) = (Vec::new(), None::<String>);
            loop {
                let listed: Vec<String> = grouped(&keys, "", delimiter, after.as_deref()).into_iter().take(page).collect();
                let Some(last) = listed.last() else { break };
                after = Some(last.clone());
                joined.extend(listed);
            }
            prop_assert_eq!(joined, grouped(&keys, "", delimiter, None));
        }

        #[test]
        fn the_end_of_a_prefix_is_the_least_text_behind_it(prefix in "\\PC{0,4}", text in "\\PC{0,6}") {
            let Some(end) = end_of_prefix(&prefix) else {
                prop_assert!(prefix.chars().all(|c| c == char::MAX));
                return Ok(());
            };
            prop_assert!(!end.starts_with(&prefix) && end > prefix);
            let inside = prefix.as_str() <= text.as_str() && text < end;
            prop_assert_eq!(inside, text.starts_with(&prefix));
        }
    }

    #[test]
    fn the_end_of_a_prefix_steps_over_what_is_no_character() {
        assert_eq!(end_of_prefix("a\u{d7ff}").as_deref(), Some("a\u{e000}"));
        assert_eq!(end_of_prefix("a\u{10ffff}").as_deref(), Some("b"));
        assert_eq!(end_of_prefix("\u{10ffff}"), None);
        assert_eq!(end_of_prefix(""), None);
    }
}
