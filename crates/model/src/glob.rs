//! Globs over names: `*` and `?` within a segment, `**` across segments. Owns the matching; everything
//! that is not one of these three stands for itself.

use std::fmt;
use std::str::FromStr;

use crate::string_form::string_form;

/// A pattern over names of segments joined by `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob(String);

/// Why a text is no glob.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a pattern has 1 to {MAX_BYTES} bytes and no control character")]
pub struct InvalidGlob;

impl Glob {
    /// Everything: `**`.
    pub fn all() -> Glob {
        Glob("**".to_owned())
    }

    /// Does this text hold a wildcard? A name without one is looked up, not searched for.
    pub fn is_pattern(text: &str) -> bool {
        text.contains(['*', '?'])
    }

    /// Does the whole name match? Takes time proportional to pattern times name at most.
    pub fn matches(&self, name: &str) -> bool {
        matches(self.0.as_bytes(), name)
    }

    /// The longest beginning that every match has, for an index to narrow the search.
    pub fn literal_prefix(&self) -> &str {
        self.0.split(['*', '?']).next().unwrap_or_default()
    }
}

impl FromStr for Glob {
    type Err = InvalidGlob;
    fn from_str(text: &str) -> Result<Self, InvalidGlob> {
        let legal =
            !text.is_empty() && text.len() <= MAX_BYTES && !text.chars().any(char::is_control);
        legal.then(|| Glob(text.to_owned())).ok_or(InvalidGlob)
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

string_form!(Glob);

/// Runs the pattern as a set of positions in it (an NFA), so no pattern is slow: `reached[i]` says that
/// the pattern's first `i` bytes match what was read of the name.
fn matches(pattern: &[u8], name: &str) -> bool {
    let mut reached = vec![false; pattern.len() + 1];
    reached[0] = true;
    close(pattern, &mut reached);
    let mut stepped = vec![false; pattern.len() + 1];
    for (_, c) in name.char_indices() {
        let mut buffer = [0; 4];
        let bytes = c.encode_utf8(&mut buffer).as_bytes();
        stepped.fill(false);
        for at in (0..pattern.len()).filter(|&at| reached[at]) {
            match pattern[at] {
                b'*' if crosses(pattern, at) => stepped[at] = true,
                b'*' => stepped[at] |= c != '/',
                b'?' => stepped[at + 1] |= c != '/',
                _ if pattern[at..].starts_with(bytes) => stepped[at + bytes.len()] = true,
                _ => {}
            }
        }
        std::mem::swap(&mut reached, &mut stepped);
        close(pattern, &mut reached);
    }
    reached[pattern.len()]
}

/// A star may match nothing: whoever stands before one also stands after it.
fn close(pattern: &[u8], reached: &mut [bool]) {
    for at in 0..pattern.len() {
        if reached[at] && pattern[at] == b'*' {
            reached[at + 1] = true;
        }
    }
}

/// Is the star at `at` one of two in a row?
fn crosses(pattern: &[u8], at: usize) -> bool {
    pattern.get(at + 1) == Some(&b'*') || (at > 0 && pattern[at - 1] == b'*')
}

const MAX_BYTES: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hit(glob: &str, name: &str) -> bool {
        glob.parse::<Glob>().unwrap().matches(name)
    }

    #[test]
    fn one_star_stays_within_a_segment_and_two_cross() {
        assert!(hit("weather/*/1", "weather/2/1") && !hit("weather/*", "weather/2/1"));
        assert!(
            hit("**", "weather/2/1")
                && hit("weather/**", "weather/2/1")
                && hit("**/1", "weather/2/1")
        );
        assert!(!hit("*", "weather/2") && hit("*", "weather") && hit("w*r", "weather"));
    }

    #[test]
    fn a_question_mark_is_one_character_of_a_segment() {
        assert!(
            hit("weather/?", "weather/1") && !hit("weather/?", "weather/12") && !hit("a?b", "a/b")
        );
        assert!(hit("gr?n", "grün"));
    }

    #[test]
    fn everything_else_stands_for_itself() {
        assert!(hit("a.b[c]{d}", "a.b[c]{d}") && !hit("a.b", "axb") && hit("файл*", "файл.tar"));
    }

    #[test]
    fn a_pattern_made_to_be_slow_is_not() {
        let glob = format!("{}b", "a*".repeat(300));
        assert!(!hit(&glob, &"a".repeat(1000)));
    }

    proptest! {
        #[test]
        fn agrees_with_the_plain_recursive_definition(glob in "[ab/*?]{1,8}", name in "[ab/]{0,8}") {
            fn plain(p: &[u8], n: &[u8]) -> bool {
                match (p, n) {
                    ([], []) => true,
                    ([b'*', b'*', rest @ ..], _) => {
                        plain(rest, n) || (!n.is_empty() && plain(p, &n[1..]))
                            || (rest.first() == Some(&b'*') && plain(&p[1..], n))
                    }
                    ([b'*', rest @ ..], _) => plain(rest, n) || (!n.is_empty() && n[0] != b'/' && plain(p, &n[1..])),
                    ([b'?', rest @ ..], [c, tail @ ..]) => *c != b'/' && plain(rest, tail),
                    ([c, rest @ ..], [d, tail @ ..]) => c == d && plain(rest, tail),
                    _ => false,
                }
            }
            prop_assert_eq!(hit(&glob, &name), plain(glob.as_bytes(), name.as_bytes()));
        }
    }
}
