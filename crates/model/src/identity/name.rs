//! Names of principals. Owns their spelling, which is that of SPIFFE IDs; refuses to know who has one.
//!
//! Source: the SPIFFE-ID standard, section 2: a trust domain of `[a-z0-9._-]`, segments of `[a-zA-Z0-9._-]`,
//! none empty, none `.` or `..`, no query, no percent-encoding, 2,048 bytes at most.

use std::fmt;
use std::str::FromStr;

use crate::string_form::string_form;

/// Whose root vouches for a name: the first part of every name, `[a-z0-9._-]{1,255}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrustDomain(String);

/// Who somebody is: a trust domain and a path of 1 to 16 segments, `acme/ops/alice`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Principal(String);

/// Why a text names no principal or trust domain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no {kind}: {fault}", .text.escape_debug())]
pub struct InvalidPrincipal {
    /// What it was meant to be.
    pub kind: &'static str,
    /// The text, cut to 80 characters.
    pub text: String,
    /// The rule that it breaks.
    pub fault: PrincipalFault,
}

/// The rule that a refused name breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PrincipalFault {
    /// The URI of a SPIFFE ID begins otherwise.
    #[error("it does not begin with `spiffe://`")]
    Scheme,
    /// A trust domain alone is nobody.
    #[error("a trust domain and a path are wanted, as in `acme/alice`")]
    NoPath,
    /// Nothing between two slashes, or after the last.
    #[error("it has an empty segment")]
    Empty,
    /// `.` and `..` are no names.
    #[error("it has a segment `.` or `..`")]
    Dots,
    /// A character that no name has.
    #[error("a trust domain may hold only a-z, 0-9, `.`, `_`, `-`; a path also A-Z")]
    Alphabet,
    /// Too many segments.
    #[error("its path has more than {MAX_SEGMENTS} segments")]
    TooDeep,
    /// Too many bytes.
    #[error("it is too long")]
    TooLong,
}

impl TrustDomain {
    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Principal {
    /// From the URI of a certificate, `spiffe://acme/ops/alice`.
    ///
    /// # Errors
    /// It is none, or not the one spelling of it.
    pub fn from_uri(uri: &str) -> Result<Principal, InvalidPrincipal> {
        match uri.strip_prefix(SCHEME) {
            Some(name) => name.parse(),
            None => Err(refuse("SPIFFE ID", uri, PrincipalFault::Scheme)),
        }
    }

    /// The URI that certificates say.
    pub fn to_uri(&self) -> String {
        format!("{SCHEME}{}", self.0)
    }

    /// Whose root vouches for it.
    pub fn trust_domain(&self) -> TrustDomain {
        TrustDomain(self.0.split('/').next().unwrap_or_default().to_owned())
    }

    /// This name with more segments: what it may call others.
    ///
    /// # Errors
    /// The segments are none, or too many.
    pub fn extended(&self, by: &str) -> Result<Principal, InvalidPrincipal> {
        format!("{}/{by}", self.0).parse()
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Is it `name` with at least one more segment?
    pub(super) fn extends(&self, name: &str) -> bool {
        self.0.strip_prefix(name).is_some_and(|rest| rest.starts_with('/'))
    }
}

impl FromStr for TrustDomain {
    type Err = InvalidPrincipal;
    fn from_str(text: &str) -> Result<Self, InvalidPrincipal> {
        let checked = check_domain(text).map(|()| TrustDomain(text.to_owned()));
        checked.map_err(|fault| refuse("trust domain", text, fault))
    }
}

impl FromStr for Principal {
    type Err = InvalidPrincipal;
    fn from_str(text: &str) -> Result<Self, InvalidPrincipal> {
        let check = || {
            if SCHEME.len() + text.len() > MAX_URI {
                return Err(PrincipalFault::TooLong);
            }
            let (domain, path) = text.split_once('/').ok_or(PrincipalFault::NoPath)?;
            check_domain(domain)?;
            if path.split('/').count() > MAX_SEGMENTS {
                return Err(PrincipalFault::TooDeep);
            }
            path.split('/')
                .try_for_each(|segment| check_segment(segment, u8::is_ascii_alphanumeric))
        };
        check()
            .map(|()| Principal(text.to_owned()))
            .map_err(|fault| refuse("name of a principal", text, fault))
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

string_form!(TrustDomain);
string_form!(Principal);

fn check_domain(text: &str) -> Result<(), PrincipalFault> {
    if text.len() > MAX_DOMAIN {
        return Err(PrincipalFault::TooLong);
    }
    check_segment(text, |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

fn check_segment(text: &str, is_plain: impl Fn(&u8) -> bool) -> Result<(), PrincipalFault> {
    match text {
        "" => Err(PrincipalFault::Empty),
        "." | ".." => Err(PrincipalFault::Dots),
        _ if text.bytes().all(|byte| is_plain(&byte) || b"._-".contains(&byte)) => Ok(()),
        _ => Err(PrincipalFault::Alphabet),
    }
}

fn refuse(kind: &'static str, text: &str, fault: PrincipalFault) -> InvalidPrincipal {
    InvalidPrincipal { kind, text: text.chars().take(80).collect(), fault }
}

const SCHEME: &str = "spiffe://";
/// Bytes of a SPIFFE ID, by the standard.
const MAX_URI: usize = 2048;
/// Bytes of a trust domain, by the standard.
const MAX_DOMAIN: usize = 255;
/// Ours: more than any organisation is deep, and few enough to be compared with any list.
const MAX_SEGMENTS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_is_a_trust_domain_and_a_path() {
        for good in ["acme/alice", "a.b-c_9/Ops/x.y/0", "acme/...", "acme/-", "1/1"] {
            let name: Principal = good.parse().unwrap();
            assert_eq!(name.to_string(), good);
            assert_eq!(Principal::from_uri(&format!("spiffe://{good}")), Ok(name));
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_no_name() {
        use PrincipalFault::*;
        let deep = format!("acme{}", "/a".repeat(17));
        let long = format!("acme/{}", "a".repeat(2048));
        let wide = format!("{}/a", "a".repeat(256));
        for (bad, fault) in [
            ("", NoPath),
            ("acme", NoPath),
            ("acme/", Empty),
            ("/alice", Empty),
            ("acme//alice", Empty),
            ("acme/alice/", Empty),
            ("acme/..", Dots),
            ("acme/../other/admin", Dots),
            ("acme/./alice", Dots),
            ("../acme", Dots),
            ("Acme/alice", Alphabet),
            ("acme/al%2fice", Alphabet),
            ("acme/al%2e%2e", Alphabet),
            ("acme/a\\b", Alphabet),
            ("acme/a\0b", Alphabet),
            ("acme/a b", Alphabet),
            ("acme/alice?x", Alphabet),
            ("acme/alice#x", Alphabet),
            ("acme/alic\u{e9}", Alphabet),
            ("user@acme/alice", Alphabet),
            ("acme:443/alice", Alphabet),
            ("acme/*", Alphabet),
            ("acme/alice$", Alphabet),
            (&deep, TooDeep),
            (&long, TooLong),
            (&wide, TooLong),
        ] {
            assert_eq!(bad.parse::<Principal>().unwrap_err().fault, fault, "{bad:?}");
        }
        for bad in
            ["", "acme/alice", "SPIFFE://acme/alice", "https://acme/alice", "spiffe:acme/alice"]
        {
            assert_eq!(Principal::from_uri(bad).unwrap_err().fault, Scheme, "{bad:?}");
        }
    }

    #[test]
    fn only_whole_segments_extend_a_name() {
        let alice: Principal = "acme/alice".parse().unwrap();
        let laptop = alice.extended("laptop").unwrap();
        assert!(laptop.extends(alice.as_str()) && laptop.extends("acme"));
        assert!(!alice.extends(alice.as_str()) && !alice.extends(laptop.as_str()));
        assert!(!"acme/alicia".parse::<Principal>().unwrap().extends("acme/alic"));
        assert!(alice.extended("../admin").is_err() && alice.extended("").is_err());
    }

    proptest! {
        #[test]
        fn whatever_is_a_name_prints_and_parses_to_itself(text in "[a-zA-Z0-9._/%-]{0,24}") {
            if let Ok(name) = text.parse::<Principal>() {
                prop_assert_eq!(name.to_string(), &*text);
                prop_assert_eq!(Principal::from_uri(&name.to_uri()), Ok(name.clone()));
                prop_assert!(name.extends(name.trust_domain().as_str()));
                prop_assert!(!text.contains("//") && !text.ends_with('/') && !text.contains('%'));
            }
        }
    }
}
