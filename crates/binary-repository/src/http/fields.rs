//! The header fields of objects, read and written.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderName};
use model::{Digest, Encoding, MediaInfo, MediaType, Timestamp};
use wire::{CONTENT_DIGEST, Code, Problem, REPR_DIGEST, parse_digest};

use crate::store::Stated;

/// What the bytes are, as the request says: without a type they are `application/octet-stream`.
pub(super) fn media(headers: &HeaderMap) -> Result<MediaInfo, Problem> {
    let media_type: MediaType = match text(headers, &CONTENT_TYPE)? {
        Some(stated) => {
            stated.parse().map_err(|error| Problem::new(Code::BadName, format!("{error}")))?
        }
        None => MediaInfo::from_file_name("").media_type,
    };
    let stated = text(headers, &CONTENT_ENCODING)?.unwrap_or_default();
    let encoding = Encoding::parse_stated(stated)
        .map_err(|error| Problem::new(Code::Unsupported, error.to_string()))?;
    Ok(MediaInfo { media_type, encoding })
}

/// How many bytes come, and their digest. A message carries its object as it is, so that `Content-Digest`
/// and `Repr-Digest` mean the same.
pub(super) fn stated(headers: &HeaderMap) -> Result<Stated, Problem> {
    let digest = |name| -> Result<Option<Digest>, Problem> {
        let field = text(headers, &HeaderName::from_static(name))?;
        let parsed = field.map(parse_digest).transpose();
        parsed.map_err(|error| Problem::new(Code::BadName, format!("{name}: {error}")))
    };
    let digest = match (digest(CONTENT_DIGEST)?, digest(REPR_DIGEST)?) {
        (Some(message), Some(whole)) if message != whole => {
            return Err(Problem::new(
                Code::DigestMismatch,
                format!("Content-Digest says {message}, Repr-Digest says {whole}"),
            ));
        }
        (message, whole) => message.or(whole),
    };
    let length = text(headers, &CONTENT_LENGTH)?.and_then(|length| length.parse().ok());
    Ok(Stated { length, digest })
}

/// The strong tag of bytes: their quoted digest.
pub(super) fn etag(digest: &Digest) -> String {
    format!("\"{digest}\"")
}

/// The date form of HTTP (RFC 9110 §5.6.7), in whole seconds.
pub(super) fn http_date(time: Timestamp) -> String {
    let seconds = u64::try_from(time.as_millis() / 1000).unwrap_or(0);
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds))
}

/// A date in one of the three forms that a recipient must know.
pub(super) fn parse_date(text: &str) -> Option<SystemTime> {
    httpdate::parse_http_date(text).ok()
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Problem> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let refusal = |_| Problem::new(Code::Usage, format!("the field `{name}` is not plain ASCII"));
    value.to_str().map(Some).map_err(refusal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_dates_are_written_in_one_form_and_read_in_three() {
        let time = Timestamp::from_millis(784_111_777_999);
        assert_eq!(http_date(time), "Sun, 06 Nov 1994 08:49:37 GMT");
        for form in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(parse_date(form), Some(UNIX_EPOCH + Duration::from_secs(784_111_777)));
        }
        assert_eq!(parse_date("yesterday"), None);
        assert_eq!(http_date(Timestamp::from_millis(i64::MIN)), "Thu, 01 Jan 1970 00:00:00 GMT");
    }
}
