//! Finds the name that a user may have meant. It only compares; what names there are is told by the caller.

/// The nearest of `names` to `name`, if one is near enough to be worth a line.
pub(crate) fn nearest<S: AsRef<str>>(name: &str, names: impl IntoIterator<Item = S>) -> Option<String> {
    let wanted = name.to_lowercase();
    let scored = names.into_iter().map(|known| {
        let known = known.as_ref().to_owned();
        (strsim::jaro_winkler(&wanted, &known.to_lowercase()), known)
    });
    let best = scored.filter(|(score, _)| *score > 0.8).max_by(|a, b| a.0.total_cmp(&b.0).then_with(|| b.1.cmp(&a.1)));
    best.map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        assert_eq!(nearest("custmer", ["orders", "customer"]).as_deref(), Some("customer"));
        assert_eq!(nearest("NAME", ["name", "nam"]).as_deref(), Some("name"));
        assert_eq!(nearest("xyzzy", ["orders", "customer"]), None);
    }
}
