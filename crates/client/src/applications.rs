//! The calls of the application repository.

use model::{AppName, Glob, Profile, Reference, Version};
use wire::route;
use wire::v1::{
    ApplicationLine, EnvelopeBody, MatchQuery, PublishedBody, ShowBody, VersionRequest,
};

use crate::address::{Query, fill};
use crate::connection::Connection;
use crate::error::ClientError;
use crate::lines::{Lines, Pause};

/// The calls of the application repository; [`Connection::applications`]. Errors are those of
/// [`ClientError`].
#[derive(Debug, Clone, Copy)]
pub struct Applications<'a>(&'a Connection);

impl<'a> Applications<'a> {
    pub(crate) fn new(connection: &'a Connection) -> Applications<'a> {
        Applications(connection)
    }

    /// The applications whose names match, with their versions; all without a glob.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn list(&self, glob: Option<&Glob>) -> Result<Lines<ApplicationLine>, ClientError> {
        let address = Query::of(fill(&route::APPLICATION_LIST, &[])).with("glob", glob).finish();
        self.0.lines(self.0.request(&route::APPLICATION_LIST, &address), Pause::Usual).await
    }

    /// The envelopes of the newest version that the reference wants, of this profile alone if there is
    /// one.
    ///
    /// # Errors
    /// `not-found`, `no-version`, `no-profile`.
    pub async fn show(
        &self,
        reference: &Reference,
        profile: Option<&Profile>,
    ) -> Result<ShowBody, ClientError> {
        let address = Query::of(fill(&route::APPLICATION_SHOW, &[]))
            .with("reference", Some(reference))
            .with("profile", profile)
            .finish();
        self.0.json(self.0.request(&route::APPLICATION_SHOW, &address)).await
    }

    /// The envelope of the newest version that the reference wants, for the first of the profiles (the
    /// best first) that it has one for.
    ///
    /// # Errors
    /// `not-found`, `no-version`, `no-profile`.
    pub async fn find(
        &self,
        reference: &Reference,
        profiles: &[Profile],
    ) -> Result<EnvelopeBody, ClientError> {
        let MatchQuery { reference, profiles } = MatchQuery::new(reference, profiles);
        let address = Query::of(fill(&route::APPLICATION_MATCH, &[]))
            .with("reference", Some(reference))
            .with("profiles", Some(profiles))
            .finish();
        self.0.json(self.0.request(&route::APPLICATION_MATCH, &address)).await
    }

    /// Publishes a version: all envelopes or none. The same again is fine.
    ///
    /// # Errors
    /// `version-taken`, `not-found` or `incomplete` if an object that is pinned is.
    pub async fn publish_version(
        &self,
        application: &AppName,
        version: &Version,
        request: &VersionRequest,
    ) -> Result<PublishedBody, ClientError> {
        let address = fill(&route::VERSION_PUT, &[application.as_str(), &version.to_string()]);
        self.0.json(self.0.request_with(&route::VERSION_PUT, &address, request)).await
    }

    /// Removes a version.
    ///
    /// # Errors
    /// `not-found`.
    pub async fn remove(
        &self,
        application: &AppName,
        version: &Version,
    ) -> Result<(), ClientError> {
        let address = fill(&route::VERSION_DELETE, &[application.as_str(), &version.to_string()]);
        self.0.done(self.0.request(&route::VERSION_DELETE, &address)).await
    }
}
