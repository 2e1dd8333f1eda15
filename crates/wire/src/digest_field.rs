//! `Content-Digest` and `Repr-Digest` (RFC 9530): the digest of a message's bytes and of a whole object.
//! Owns reading and writing of the one algorithm that fettle speaks; others in the field are passed over.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::Digest;

/// Digest of the bytes of this message.
pub const CONTENT_DIGEST: &str = "content-digest";
/// Digest of the whole object, also where a range of it is sent.
pub const REPR_DIGEST: &str = "repr-digest";

/// Why a digest field cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the digest field holds no `sha-256=:…:` with 32 bytes in base64")]
pub struct InvalidDigestField;

/// `sha-256=:<base64>:`.
pub fn format_digest(digest: &Digest) -> String {
    format!("sha-256=:{}:", STANDARD.encode(digest.as_bytes()))
}

/// The SHA-256 of a field that may name several digests.
///
/// # Errors
/// There is none, or it is not 32 bytes of base64.
pub fn parse_digest(field: &str) -> Result<Digest, InvalidDigestField> {
    let member = |entry: &str| {
        let (name, value) = entry.trim().split_once('=')?;
        let encoded = value.split(';').next()?.trim().strip_prefix(':')?.strip_suffix(':')?;
        (name.trim() == "sha-256").then(|| STANDARD.decode(encoded).ok()).flatten()
    };
    let bytes = field.split(',').find_map(member).ok_or(InvalidDigestField)?;
    bytes.try_into().map(Digest::from_bytes).map_err(|_| InvalidDigestField)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_field_is_the_one_of_the_standard() {
        // RFC 9530 appendix B.1: {"hello": "world"} followed by a line feed.
        let field = "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:";
        assert_eq!(format_digest(&Digest::of(b"{\"hello\": \"world\"}\n")), field);
        assert_eq!(parse_digest(field), Ok(Digest::of(b"{\"hello\": \"world\"}\n")));
    }

    #[test]
    fn other_algorithms_beside_it_are_passed_over() {
        let field = format!("sha-512=:AAAA:, {} ;x=1", format_digest(&Digest::of(b"a")));
        assert_eq!(parse_digest(&field), Ok(Digest::of(b"a")));
        for bad in ["", "sha-256", "sha-256=abc", "sha-256=:!:", "sha-256=:AAAA:", "sha-512=:AAAA:"]
        {
            assert_eq!(parse_digest(bad), Err(InvalidDigestField), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_fields_never_panic(field in "\\PC{0,80}") {
            let _ = parse_digest(&field);
        }
    }
}
