//! The codes of refusals, shared by HTTP and the command line; listed with their meaning in
//! docs/errors.md. Owns the words and their HTTP status; refuses to know which error means which code
//! (the `http.rs` of each service does) and which exit code or hint follows (the command line does).

use std::fmt;
use std::str::FromStr;

use http::StatusCode;

/// What kind of refusal it is. The word never changes its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// The command or request is not of the form that is wanted.
    Usage,
    /// A name, version, digest or media type is not legal.
    BadName,
    /// A manifest cannot be read or contradicts itself.
    BadManifest,
    /// The thing is not there.
    NotFound,
    /// The name holds other content.
    NameTaken,
    /// The version holds, or held, other content.
    VersionTaken,
    /// Parts are missing.
    Incomplete,
    /// The bytes are not those that were stated.
    DigestMismatch,
    /// More bytes, parts or entries than allowed.
    TooLarge,
    /// No envelope for a profile of this machine.
    NoProfile,
    /// No version that is wanted.
    NoVersion,
    /// There is nothing newer, or nothing to go back to.
    NothingNew,
    /// The envelope is one of another application.
    OtherTitle,
    /// Something still needs it.
    InUse,
    /// Not possible in the state that it is in.
    WrongState,
    /// Something else is at work on it.
    Busy,
    /// The disk has too little space.
    NoSpace,
    /// An archive wants something that no archive may.
    UnsafeArchive,
    /// fettle cannot do this (yet).
    Unsupported,
    /// The server or node does not answer.
    Unreachable,
    /// An address that is not of this machine, without identity.
    NotLoopback,
    /// The caller may not do this.
    Denied,
    /// What is on disk is not what was written.
    Damaged,
    /// What is on disk was written by a newer fettle.
    TooNew,
    /// A mistake of ours, or a failure of the machine.
    Internal,
}

/// A text that is no code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no code of an error")]
pub struct UnknownCode {
    /// The text as it was given, cut to 80 characters.
    pub text: String,
}

impl Code {
    /// Every code, in the order of the contract.
    pub const ALL: [Code; 25] = [
        Code::Usage,
        Code::BadName,
        Code::BadManifest,
        Code::NotFound,
        Code::NameTaken,
        Code::VersionTaken,
        Code::Incomplete,
        Code::DigestMismatch,
        Code::TooLarge,
        Code::NoProfile,
        Code::NoVersion,
        Code::NothingNew,
        Code::OtherTitle,
        Code::InUse,
        Code::WrongState,
        Code::Busy,
        Code::NoSpace,
        Code::UnsafeArchive,
        Code::Unsupported,
        Code::Unreachable,
        Code::NotLoopback,
        Code::Denied,
        Code::Damaged,
        Code::TooNew,
        Code::Internal,
    ];

    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Code::Usage => "usage",
            Code::BadName => "bad-name",
            Code::BadManifest => "bad-manifest",
            Code::NotFound => "not-found",
            Code::NameTaken => "name-taken",
            Code::VersionTaken => "version-taken",
            Code::Incomplete => "incomplete",
            Code::DigestMismatch => "digest-mismatch",
            Code::TooLarge => "too-large",
            Code::NoProfile => "no-profile",
            Code::NoVersion => "no-version",
            Code::NothingNew => "nothing-new",
            Code::OtherTitle => "other-title",
            Code::InUse => "in-use",
            Code::WrongState => "wrong-state",
            Code::Busy => "busy",
            Code::NoSpace => "no-space",
            Code::UnsafeArchive => "unsafe-archive",
            Code::Unsupported => "unsupported",
            Code::Unreachable => "unreachable",
            Code::NotLoopback => "not-loopback",
            Code::Denied => "denied",
            Code::Damaged => "damaged",
            Code::TooNew => "too-new",
            Code::Internal => "internal",
        }
    }

    /// The HTTP status that goes with it.
    pub fn status(self) -> StatusCode {
        match self {
            Code::Usage | Code::BadName | Code::BadManifest => StatusCode::BAD_REQUEST,
            Code::NotFound | Code::NoProfile | Code::NoVersion => StatusCode::NOT_FOUND,
            Code::NameTaken
            | Code::VersionTaken
            | Code::Incomplete
            | Code::NothingNew
            | Code::OtherTitle
            | Code::InUse
            | Code::WrongState
            | Code::Busy => StatusCode::CONFLICT,
            Code::DigestMismatch | Code::UnsafeArchive => StatusCode::UNPROCESSABLE_ENTITY,
            Code::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Code::NoSpace => StatusCode::INSUFFICIENT_STORAGE,
            Code::Unsupported => StatusCode::NOT_IMPLEMENTED,
            Code::Unreachable => StatusCode::BAD_GATEWAY,
            Code::Denied | Code::NotLoopback => StatusCode::FORBIDDEN,
            Code::Damaged | Code::TooNew | Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Code {
    type Err = UnknownCode;
    fn from_str(text: &str) -> Result<Self, UnknownCode> {
        let hit = Code::ALL.into_iter().find(|code| code.as_str() == text);
        hit.ok_or_else(|| UnknownCode { text: text.chars().take(80).collect() })
    }
}

impl serde::Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> serde::Deserialize<'de> for Code {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_word_of_its_own_and_a_failing_status() {
        for code in Code::ALL {
            assert_eq!(code.as_str().parse(), Ok(code));
            assert!(code.status().is_client_error() || code.status().is_server_error());
        }
        assert!("teapot".parse::<Code>().is_err());
    }
}
