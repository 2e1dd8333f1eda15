//! What the application repository needs of the objects that its envelopes pin: that nobody removes them.
//! `fettle server` puts the binary repository behind this.

use std::fmt;
use std::str::FromStr;

use model::{AppName, Digest, Envelope, MediaInfo, ObjectName, Pin, Profile, Version};

/// Who holds objects: one envelope. As text `envelope:<application>@<version>/<profile>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The application.
    pub application: AppName,
    /// The version.
    pub version: Version,
    /// The profile.
    pub profile: Profile,
}

/// The objects that one envelope needs.
#[derive(Debug, Clone, PartialEq)]
pub struct Claim {
    /// The envelope.
    pub holder: Holder,
    /// What it pins.
    pub pins: Vec<Pin>,
}

/// Holds on objects.
pub trait Holds: fmt::Debug + Send + Sync {
    /// Takes the holds of all claims, or none. Every object must be there, complete, with the digest, size
    /// and media info that it is pinned with. What a holder holds already it goes on holding.
    ///
    /// # Errors
    /// See [`HoldError`]; nothing is held then that was not before.
    fn take(&self, claims: &[Claim]) -> Result<(), HoldError>;

    /// Gives back all holds of one holder; none is fine.
    ///
    /// # Errors
    /// [`HoldError::Failed`].
    fn release(&self, holder: &Holder) -> Result<(), HoldError>;

    /// At most `limit` texts of holders, of whatever kind, that come after `after`; sorted.
    ///
    /// # Errors
    /// [`HoldError::Failed`].
    fn holders(&self, after: Option<&str>, limit: u32) -> Result<Vec<String>, HoldError>;
}

/// Why objects are not held.
#[derive(Debug, thiserror::Error)]
pub enum HoldError {
    /// These are not there, or not completely.
    #[error("the repository lacks {}", .0.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "))]
    Absent(Vec<ObjectName>),
    /// One is something else than what was pinned.
    #[error("{}", differing(pinned, digest, *size, media))]
    Differs {
        /// What was pinned.
        pinned: Box<Pin>,
        /// The digest that is there.
        digest: Digest,
        /// The size that is there, in bytes.
        size: u64,
        /// The media info that is there.
        media: MediaInfo,
    },
    /// The binary repository failed.
    #[error("the holds on objects cannot be changed")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A text that is no holder of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no envelope that holds objects")]
pub struct InvalidHolder {
    /// The text as it was given, cut to 80 characters.
    pub text: String,
}

impl Claim {
    /// What this envelope needs.
    pub fn of(envelope: &Envelope) -> Claim {
        let holder = Holder {
            application: envelope.application.clone(),
            version: envelope.version.clone(),
            profile: envelope.profile.clone(),
        };
        Claim { holder, pins: envelope.pins().map(|(_, pin)| pin.clone()).collect() }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}@{}/{}", self.application, self.version, self.profile)
    }
}

impl FromStr for Holder {
    type Err = InvalidHolder;
    fn from_str(text: &str) -> Result<Self, InvalidHolder> {
        let parse = || {
            let (application, rest) = text.strip_prefix(PREFIX)?.split_once('@')?;
            let (version, profile) = rest.split_once('/')?;
            Some(Holder {
                application: application.parse().ok()?,
                version: version.parse().ok()?,
                profile: profile.parse().ok()?,
            })
        };
        parse().ok_or_else(|| InvalidHolder { text: text.chars().take(80).collect() })
    }
}

fn differing(pinned: &Pin, digest: &Digest, size: u64, media: &MediaInfo) -> String {
    let object = &pinned.object;
    if pinned.digest != *digest {
        return format!("`{object}` is pinned as {}, the repository has {digest}", pinned.digest);
    }
    if pinned.size != size {
        return format!("`{object}` is pinned with {} bytes, it has {size}", pinned.size);
    }
    let words = |media: &MediaInfo| match media.encoding {
        Some(encoding) => format!("{} in {encoding}", media.media_type),
        None => media.media_type.to_string(),
    };
    format!("`{object}` is pinned as {}, it is {}", words(&pinned.media), words(media))
}

const PREFIX: &str = "envelope:";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_prints_and_parses_to_itself() {
        let text = "envelope:demo/weather@1.4.0-rc.1+b/linux-amd64";
        assert_eq!(text.parse::<Holder>().map(|holder| holder.to_string()), Ok(text.to_owned()));
        for bad in ["", "envelope:a@1.0.0", "a@1.0.0/any", "envelope:a@1/any", "profile:x"] {
            assert!(bad.parse::<Holder>().is_err(), "{bad}");
        }
    }
}
