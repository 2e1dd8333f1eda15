//! Counts in sentences.

/// So many of something: `1 tree`, `2 trees`, `0 entries`. Knows the plurals of the nouns that fettle
/// counts: those that end in a consonant and `y`, and those that take an `s`.
#[must_use]
pub fn counted(count: u64, noun: &str) -> String {
    if count == 1 {
        return format!("1 {noun}");
    }
    match noun.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'i', 'o', 'u']) => format!("{count} {stem}ies"),
        _ => format!("{count} {noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_one_and_all_others_are_many() {
        let said = |noun| [0, 1, 2].map(|count| counted(count, noun));
        assert_eq!(said("tree"), ["0 trees", "1 tree", "2 trees"]);
        assert_eq!(said("entry"), ["0 entries", "1 entry", "2 entries"]);
        assert_eq!(counted(2, "day"), "2 days");
    }
}
