//! Header fields of a request: ranges, conditions, digests, media types.

use http::{HeaderMap, HeaderName, HeaderValue};
use model::{Encoding, MediaType};
use wire::{Precondition, Selection, evaluate, format_digest, parse_digest, select_range};

const TAG: &str = "\"sha256:aa\"";
const DATE: &str = "Sun, 22 Nov 2026 12:00:00 GMT";

/// Reads `data` as the size of an object in its first line and a header field in each other one.
pub fn fields(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let size = lines.next().and_then(|line| std::str::from_utf8(line).ok()?.parse().ok());
    let size: u64 = size.unwrap_or(1000);
    let mut headers = HeaderMap::new();
    for line in lines.take(20) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
        {
            headers.append(name, value);
        }
    }
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    conditional(&headers, size, &text);
    for name in [wire::CONTENT_DIGEST, wire::REPR_DIGEST] {
        if let Some(digest) = text(name).and_then(|field| parse_digest(field).ok()) {
            assert_eq!(parse_digest(&format_digest(&digest)), Ok(digest));
        }
    }
    if let Some(Ok(media)) = text("content-type").map(str::parse::<MediaType>) {
        assert_eq!(media.to_string().parse(), Ok(media));
    }
    let _ = text("content-encoding").map(Encoding::parse_stated);
}

fn conditional<'a>(headers: &HeaderMap, size: u64, text: &impl Fn(&str) -> Option<&'a str>) {
    match evaluate(headers, TAG, DATE, |a, b| a <= b) {
        Precondition::Failed => {
            assert!(
                text("if-match").or(text("if-unmodified-since")).is_some(),
                "nothing was asked"
            );
            assert_ne!(text("if-match"), Some("*"));
            assert_ne!(text("if-match"), Some(TAG));
        }
        Precondition::NotModified => {
            assert!(text("if-none-match").or(text("if-modified-since")).is_some(), "nobody has it");
        }
        Precondition::Proceed { range } => {
            assert_ne!(text("if-none-match"), Some("*"));
            assert_ne!(text("if-none-match"), Some(TAG));
            if range.is_some() {
                assert_eq!(range.as_deref(), text("range"));
                let validator = text("if-range");
                assert!(validator.is_none_or(|validator| validator == TAG || validator == DATE));
            }
            ranged(range.as_deref(), size);
        }
    }
}

/// What is sent is a part of the object that the field asks for, or all of it.
fn ranged(field: Option<&str>, size: u64) {
    let Selection::Part(part) = select_range(field, size) else { return };
    assert!(part.start < part.end && part.end <= size, "{part:?} of {size}");
    let spec =
        field.and_then(|field| field.trim().strip_prefix("bytes=")).expect("a range of bytes");
    let (first, last) = spec.split_once('-').expect("one range");
    let number =
        |text: &str| (!text.trim().is_empty()).then(|| text.trim().parse().unwrap_or(u64::MAX));
    match (number(first), number(last)) {
        (Some(first), last) => {
            let last: u64 = last.unwrap_or(u64::MAX);
            assert_eq!((part.start, part.end - 1), (first, last.min(size - 1)));
        }
        (None, suffix) => assert_eq!(part.end - part.start, suffix.unwrap_or(0).min(size)),
    }
}
