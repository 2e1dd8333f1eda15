//! Publishing a version: holds first, then the envelopes in one transaction. A crash in between leaves
//! holds without an envelope, which the next start gives back.

use std::sync::PoisonError;

use model::{AppName, Caller, Envelope, Profile, Version};
use wire::v1::EnvelopeBody;

use crate::catalog::CatalogError;
use crate::envelope::Published;
use crate::holds::{Claim, HoldError};
use crate::plan::{Conflict, Manifest, Release};
use crate::repository::ApplicationRepository;

/// What publishing gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// The profiles that the version is there for now, sorted.
    pub profiles: Vec<Profile>,
    /// Was something published? `false`: the same was there.
    pub published: bool,
}

/// Why a version was not published. Nothing of it is there that was not before.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The envelopes are not those of one version.
    #[error("this is no version of `{application}`")]
    Manifest {
        /// The application.
        application: AppName,
        /// Why not.
        source: Manifest,
    },
    /// The version holds, or held, other content.
    #[error("{}", taken(application, version, conflict))]
    Taken {
        /// The application.
        application: AppName,
        /// The version.
        version: Box<Version>,
        /// What differs.
        conflict: Conflict,
    },
    /// What it pins is not there so.
    #[error("`{application}@{version}` pins what the repository does not have")]
    Objects {
        /// The application.
        application: AppName,
        /// The version.
        version: Box<Version>,
        /// What is not there so.
        source: HoldError,
    },
    /// The catalog failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

impl ApplicationRepository {
    /// Publishes all envelopes of one version, or none. The same again is fine; further profiles are added;
    /// a version that was removed comes back as it was.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub fn publish(
        &self,
        application: AppName,
        version: Version,
        bodies: &[EnvelopeBody],
        caller: &Caller,
    ) -> Result<Publication, PublishError> {
        let release = match Release::new(application.clone(), version, bodies) {
            Ok(release) => release,
            Err(source) => return Err(PublishError::Manifest { application, source }),
        };
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut published = false;
        loop {
            let there = self.catalog.version(&release.application, &release.version)?;
            let wanted =
                release.against(&there).map_err(|conflict| taken_by(&release, conflict))?;
            if wanted.is_empty() {
                let live = there.iter().filter(|published| !published.removed);
                let profiles = live.map(|published| published.envelope.profile.clone()).collect();
                return Ok(Publication { profiles, published });
            }
            // If another server was quicker, what it published is looked at in the next round.
            published |= self.publish_held(&release, &wanted, caller)?;
        }
    }

    /// Holds what the envelopes pin, then publishes them; `false` if others are there by now.
    fn publish_held(
        &self,
        release: &Release,
        wanted: &[&Envelope],
        caller: &Caller,
    ) -> Result<bool, PublishError> {
        let claims: Vec<Claim> = wanted.iter().map(|envelope| Claim::of(envelope)).collect();
        let objects = |source| PublishError::Objects {
            application: release.application.clone(),
            version: Box::new(release.version.clone()),
            source,
        };
        self.holds.take(&claims).map_err(objects)?;
        let (created, created_by) = (self.now(), caller);
        let records: Vec<Published> = wanted
            .iter()
            .map(|&envelope| Published {
                envelope: envelope.clone(),
                created,
                created_by: created_by.clone(),
                removed: false,
            })
            .collect();
        let published = self.catalog.publish(&records);
        if !matches!(published, Ok(true)) {
            for claim in &claims {
                // Another server may have published the same envelope: its holds are these.
                self.release_unless_there(&claim.holder).map_err(objects)?;
            }
        }
        Ok(published?)
    }
}

fn taken_by(release: &Release, conflict: Conflict) -> PublishError {
    PublishError::Taken {
        application: release.application.clone(),
        version: Box::new(release.version.clone()),
        conflict,
    }
}

fn taken(application: &AppName, version: &Version, conflict: &Conflict) -> String {
    match conflict {
        Conflict::Content { profile, differences, removed } => {
            let verb = if *removed { "held (it was removed)" } else { "holds" };
            let differences: Vec<String> = differences.iter().map(ToString::to_string).collect();
            let differences = differences.join(", ");
            format!("`{application}@{version}` {verb} other content for `{profile}`: {differences}")
        }
        Conflict::Title { there } => {
            format!("the other profiles of `{application}@{version}` have the title `{there}`")
        }
    }
}
