//! Bodies about identities, as the command line prints them.

use model::identity::{Prefix, Principal, TrustDomain};
use model::{Digest, Timestamp};
use serde::{Deserialize, Serialize};

/// Who somebody is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityBody {
    /// The name; `null` while a request waits for its answer.
    pub name: Option<Principal>,
    /// Until when the name holds.
    pub not_after: Option<Timestamp>,
    /// Who extended whom: what each signing certificate above it may sign, the nearest first.
    pub signers: Vec<Prefix>,
    /// What it may sign; `null` if nothing.
    pub may_sign: Option<Prefix>,
    /// Until when it may.
    pub may_sign_until: Option<Timestamp>,
    /// Does a request wait for its answer?
    pub pending: bool,
    /// Whom it trusts.
    pub roots: Vec<RootBody>,
    /// Where its keys lie.
    pub directory: String,
}

/// The root of a trust domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootBody {
    /// Whose.
    pub domain: TrustDomain,
    /// The digest of its certificate, to be compared over another way.
    pub fingerprint: Digest,
    /// Until when it holds.
    pub not_after: Timestamp,
}

/// A request for a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestBody {
    /// The text to be sent to whoever gives names.
    pub request: String,
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerBody {
    /// The text to be sent back.
    pub answer: String,
}

/// A certificate that was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuedLine {
    /// Who somebody became; `null` for a signing certificate.
    pub name: Option<Principal>,
    /// What somebody may sign; `null` for a leaf.
    pub may_sign: Option<Prefix>,
    /// Its number, as hexadecimal digits.
    pub serial: String,
    /// When it was given.
    pub issued: Timestamp,
    /// Until when it holds.
    pub not_after: Timestamp,
}
