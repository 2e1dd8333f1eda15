//! A published envelope, and its form in the catalog: the JSON of the wire's version 1, whose fields may
//! grow but never change their meaning, which is what a catalog needs too.

use model::{Caller, Digest, Envelope, Timestamp};
use wire::v1::EnvelopeBody;

/// An envelope as it was published.
#[derive(Debug, Clone, PartialEq)]
pub struct Published {
    /// What it says.
    pub envelope: Envelope,
    /// When it was published first.
    pub created: Timestamp,
    /// Who did.
    pub created_by: Caller,
    /// Was its version removed? Then it is only remembered.
    pub removed: bool,
}

impl Published {
    /// The body that is sent.
    pub fn body(&self) -> EnvelopeBody {
        EnvelopeBody {
            created: Some(self.created),
            created_by: Some(self.created_by.clone()),
            ..EnvelopeBody::from_model(&self.envelope)
        }
    }

    /// SHA-256 of what it says, without who published it and when: what its ETag is made of.
    pub fn fingerprint(&self) -> Digest {
        Digest::of(to_json(&self.envelope).as_bytes())
    }
}

/// The envelope in its one spelling, without who published it and when.
pub(crate) fn to_json(envelope: &Envelope) -> String {
    // Strings, numbers and maps with text for keys have no way to fail.
    serde_json::to_string(&EnvelopeBody::from_model(envelope)).unwrap_or_default()
}

/// The envelope that [`to_json`] wrote; `None` if it did not.
pub(crate) fn from_json(json: &str) -> Option<Envelope> {
    serde_json::from_str::<EnvelopeBody>(json).ok()?.to_model().ok()
}
