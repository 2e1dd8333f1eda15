//! Conditional requests (RFC 9110 §13) on things whose ETag is strong and never changes. Owns the
//! decision; the server brings the fields.

use http::HeaderMap;
use http::header::{
    IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE,
};

/// What a conditional request gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Precondition {
    /// The representation; with this `Range` field, if the range still applies.
    Proceed {
        /// The `Range` field to go by.
        range: Option<String>,
    },
    /// 304: the client has it.
    NotModified,
    /// 412: it is not what the client thinks.
    Failed,
}

/// Decides a GET or HEAD. `etag` is the quoted strong tag, `modified` the HTTP date of `Last-Modified`.
/// Dates are compared as text for `If-Range` (which wants the exact date) and through `earlier_or_same`,
/// which says whether the first date is not after the second.
pub fn evaluate(
    headers: &HeaderMap,
    etag: &str,
    modified: &str,
    earlier_or_same: impl Fn(&str, &str) -> bool,
) -> Precondition {
    let field = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(tags) = field(IF_MATCH) {
        if !lists(tags, etag, false) {
            return Precondition::Failed;
        }
    } else if let Some(date) = field(IF_UNMODIFIED_SINCE)
        && !earlier_or_same(modified, date)
    {
        return Precondition::Failed;
    }
    if let Some(tags) = field(IF_NONE_MATCH) {
        if lists(tags, etag, true) {
            return Precondition::NotModified;
        }
    } else if let Some(date) = field(IF_MODIFIED_SINCE)
        && earlier_or_same(modified, date)
    {
        return Precondition::NotModified;
    }
    let applies =
        field(IF_RANGE).is_none_or(|validator| validator == etag || validator == modified);
    let range = field(RANGE).filter(|_| applies).map(str::to_owned);
    Precondition::Proceed { range }
}

/// Is the tag in the list, or the list `*`? `W/` counts only where weak comparison does.
fn lists(list: &str, etag: &str, weak: bool) -> bool {
    list.trim() == "*"
        || list.split(',').map(str::trim).any(|tag| {
            tag == etag || (weak && tag.strip_prefix("W/").is_some_and(|tag| tag == etag))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAG: &str = "\"sha256:aa\"";
    const DATE: &str = "Sun, 22 Nov 2026 12:00:00 GMT";

    fn decide(fields: &[(&'static str, &str)]) -> Precondition {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.insert(*name, value.parse().unwrap());
        }
        evaluate(&headers, TAG, DATE, |a, b| a == b)
    }

    #[test]
    fn a_client_that_has_it_gets_304() {
        for tags in [TAG, "*", "\"x\", \"sha256:aa\"", "W/\"sha256:aa\""] {
            assert_eq!(decide(&[("if-none-match", tags)]), Precondition::NotModified, "{tags}");
        }
        assert_eq!(decide(&[("if-modified-since", DATE)]), Precondition::NotModified);
        // A tag decides alone; the date beside it is not looked at.
        let both = decide(&[("if-none-match", "\"other\""), ("if-modified-since", DATE)]);
        assert_eq!(both, Precondition::Proceed { range: None });
    }

    #[test]
    fn a_client_that_expects_something_else_gets_412() {
        assert_eq!(decide(&[("if-match", "\"other\"")]), Precondition::Failed);
        assert_eq!(decide(&[("if-match", "W/\"sha256:aa\"")]), Precondition::Failed);
        assert_eq!(decide(&[("if-unmodified-since", "other")]), Precondition::Failed);
        assert_eq!(decide(&[("if-match", TAG)]), Precondition::Proceed { range: None });
    }

    #[test]
    fn a_range_applies_only_to_what_the_client_began_with() {
        let ranged = Precondition::Proceed { range: Some("bytes=1-".into()) };
        assert_eq!(decide(&[("range", "bytes=1-")]), ranged);
        assert_eq!(decide(&[("range", "bytes=1-"), ("if-range", TAG)]), ranged);
        assert_eq!(decide(&[("range", "bytes=1-"), ("if-range", DATE)]), ranged);
        let other = decide(&[("range", "bytes=1-"), ("if-range", "\"other\"")]);
        assert_eq!(other, Precondition::Proceed { range: None });
    }
}
