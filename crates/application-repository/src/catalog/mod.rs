//! The catalog: which envelopes there are and were, as one contract that several databases can keep.
//!
//! Every method is atomic, and what it answered is durable. Times come from the caller. Methods block.

mod schema;
pub mod sqlite;

use std::fmt;

use model::{AppName, Profile, Title, Version};

use crate::envelope::Published;

/// One envelope in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its version.
    pub version: Version,
    /// Its profile.
    pub profile: Profile,
    /// Its title.
    pub title: Title,
}

/// What removing a version came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removal {
    /// The version is only remembered now, as it may have been before. These are all profiles that it had.
    Removed(Vec<Profile>),
    /// The application never had this version.
    NoVersion,
    /// There never was such an application.
    NoApplication,
}

/// The catalog failed.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The database refused.
    #[error("the catalog cannot {doing}")]
    Database {
        /// What was tried, e.g. `publish a version`.
        doing: &'static str,
        /// The database's answer.
        source: rusqlite::Error,
    },
    /// A row says what no row may say.
    #[error("the catalog is damaged: {what}")]
    Damaged {
        /// Which row, and what it says.
        what: String,
    },
}

/// The contract. One conformance suite (`tests/catalog.rs`) holds for every implementation.
pub trait Catalog: fmt::Debug + Send + Sync {
    /// All envelopes that a version has and had, sorted by profile.
    fn version(
        &self,
        application: &AppName,
        version: &Version,
    ) -> Result<Vec<Published>, CatalogError>;

    /// The envelopes that an application has; `None` if there never was one.
    fn entries(&self, application: &AppName) -> Result<Option<Vec<Entry>>, CatalogError>;

    /// One envelope that is not removed.
    fn envelope(
        &self,
        application: &AppName,
        version: &Version,
        profile: &Profile,
    ) -> Result<Option<Published>, CatalogError>;

    /// Publishes all of these envelopes, or none. One that is there, or was there, must say the same
    /// ([`model::Envelope::differences`]), and comes back as it was; `false`: one does not, and nothing
    /// happened.
    fn publish(&self, envelopes: &[Published]) -> Result<bool, CatalogError>;

    /// Turns all envelopes of a version into a memory.
    fn remove(&self, application: &AppName, version: &Version) -> Result<Removal, CatalogError>;

    /// At most `limit` names of applications that have an envelope, begin with `prefix` and come after
    /// `after`, sorted.
    fn applications(
        &self,
        prefix: &str,
        after: Option<&AppName>,
        limit: u32,
    ) -> Result<Vec<AppName>, CatalogError>;
}

impl CatalogError {
    /// Is the disk of the database full?
    pub fn is_no_space(&self) -> bool {
        match self {
            CatalogError::Database { source, .. } => {
                source.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull)
            }
            CatalogError::Damaged { .. } => false,
        }
    }
}
