//! What publishing comes to, decided before anything is touched: is it one version, and does it agree with
//! what is there?

use std::collections::BTreeMap;

use model::{AppName, Difference, Envelope, Profile, Title, Version};
use wire::v1::{EnvelopeBody, InvalidEnvelope};

use crate::envelope::Published;

/// Why a request is no version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Manifest {
    /// No envelope at all.
    #[error("a version has at least one envelope")]
    Empty,
    /// Too many.
    #[error("a version has at most {MOST} envelopes, these are {0}")]
    TooMany(usize),
    /// An envelope of something else.
    #[error("the envelope for `{profile}` is one of {application}@{version}")]
    Other {
        /// Its profile.
        profile: Profile,
        /// Its application.
        application: AppName,
        /// Its version.
        version: Box<Version>,
    },
    /// Two envelopes for one profile.
    #[error("the profile `{0}` stands twice")]
    Twice(Profile),
    /// The installations of a version would be grouped by its profile.
    #[error("the profiles have different titles: `{0}` and `{1}`")]
    Titles(Title, Title),
    /// One envelope contradicts itself.
    #[error("the envelope for `{profile}` cannot be")]
    Envelope {
        /// Its profile.
        profile: Profile,
        /// Why not.
        source: InvalidEnvelope,
    },
}

/// The version holds, or held, other content.
#[derive(Debug, Clone, PartialEq)]
pub enum Conflict {
    /// The envelope of one profile differs.
    Content {
        /// The profile.
        profile: Profile,
        /// In what.
        differences: Vec<Difference>,
        /// Is it one that was removed?
        removed: bool,
    },
    /// The other profiles of this version have another title.
    Title {
        /// Theirs.
        there: Title,
    },
}

/// The envelopes of one version, checked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Release {
    pub(crate) application: AppName,
    pub(crate) version: Version,
    pub(crate) envelopes: BTreeMap<Profile, Envelope>,
}

impl Release {
    /// Checks that the bodies are the envelopes of this one version.
    pub(crate) fn new(
        application: AppName,
        version: Version,
        bodies: &[EnvelopeBody],
    ) -> Result<Release, Manifest> {
        if bodies.len() > MOST {
            return Err(Manifest::TooMany(bodies.len()));
        }
        let title = &bodies.first().ok_or(Manifest::Empty)?.title;
        let mut envelopes = BTreeMap::new();
        for body in bodies {
            let profile = body.profile.clone();
            if body.application != application || body.version != version {
                let (application, version) = (body.application.clone(), body.version.clone());
                return Err(Manifest::Other { profile, application, version: Box::new(version) });
            }
            if body.title != *title {
                return Err(Manifest::Titles(title.clone(), body.title.clone()));
            }
            let envelope = match body.to_model() {
                Ok(envelope) => envelope,
                Err(source) => return Err(Manifest::Envelope { profile, source }),
            };
            if envelopes.insert(profile.clone(), envelope).is_some() {
                return Err(Manifest::Twice(profile));
            }
        }
        Ok(Release { application, version, envelopes })
    }

    /// Which envelopes are to be published, given those that this version has and had: new ones, and removed
    /// ones that come back as they were.
    pub(crate) fn against<'a>(
        &'a self,
        there: &'a [Published],
    ) -> Result<Vec<&'a Envelope>, Conflict> {
        let mut wanted = Vec::new();
        for (profile, envelope) in &self.envelopes {
            match there.iter().find(|published| published.envelope.profile == *profile) {
                None => wanted.push(envelope),
                Some(published) => {
                    let differences = published.envelope.differences(envelope);
                    if !differences.is_empty() {
                        let (profile, removed) = (profile.clone(), published.removed);
                        return Err(Conflict::Content { profile, differences, removed });
                    }
                    if published.removed {
                        // Its pins come back with it, not those that say the same in other words.
                        wanted.push(&published.envelope);
                    }
                }
            }
        }
        let title = self.envelopes.values().map(|envelope| &envelope.title).next();
        match there.iter().find(|published| Some(&published.envelope.title) != title) {
            Some(other) => Err(Conflict::Title { there: other.envelope.title.clone() }),
            None => Ok(wanted),
        }
    }
}

const MOST: usize = 64;
