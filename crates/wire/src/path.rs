//! Names in URLs: percent-encoding (RFC 3986). Owns which bytes are escaped.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// A name of several segments, its slashes kept: `a b/c` becomes `a%20b/c`.
pub fn encode_name(name: &str) -> String {
    utf8_percent_encode(name, NAME).to_string()
}

/// A name as one segment, its slashes escaped: `demo/weather` becomes `demo%2Fweather`.
pub fn encode_segment(name: &str) -> String {
    utf8_percent_encode(name, SEGMENT).to_string()
}

/// All but the unreserved characters of RFC 3986 §2.3.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const NAME: &AsciiSet = &SEGMENT.remove(b'/');

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_end_a_path_is_escaped() {
        assert_eq!(encode_name("a b/c?d#e%f"), "a%20b/c%3Fd%23e%25f");
        assert_eq!(encode_segment("demo/größe"), "demo%2Fgr%C3%B6%C3%9Fe");
    }
}
