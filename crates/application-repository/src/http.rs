//! The routes of the application repository. A handler reads the head of the request, calls the repository
//! on a blocking thread, and makes the body; it decides nothing.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{ETAG, IF_NONE_MATCH};
use http::{HeaderMap, StatusCode};
use model::{AppName, Glob, Policy, Profile, Reference, Version};
use wire::serve::{Calling, Json, Path, Query, Service, blocking, paged_listing};
use wire::v1::{self, GlobQuery, MatchQuery, PublishedBody, ShowBody, ShowQuery};
use wire::{Code, ErrorBody, Precondition, Problem, evaluate, route};

use crate::catalog::CatalogError;
use crate::envelope::Published;
use crate::holds::HoldError;
use crate::plan::Manifest;
use crate::publish::PublishError;
use crate::repository::{ApplicationLine, ApplicationRepository, FindError, RemoveError};

type Repository = State<Arc<ApplicationRepository>>;

impl ApplicationRepository {
    /// The routes, for whom `policy` lets in.
    pub fn service(self: &Arc<Self>, policy: Policy) -> Service<()> {
        Service::new(policy)
            .route(&route::APPLICATION_LIST, list)
            .route(&route::VERSION_PUT, publish)
            .route(&route::VERSION_DELETE, remove)
            .route(&route::APPLICATION_SHOW, show)
            .route(&route::APPLICATION_MATCH, find)
            .with_state(self.clone())
    }
}

async fn publish(
    State(repository): Repository,
    Calling(caller): Calling,
    Path((application, version)): Path<(AppName, Version)>,
    Json(request): Json<v1::VersionRequest>,
) -> Result<Response, Problem> {
    let (name, number) = (application.clone(), version.clone());
    let done =
        blocking(move || repository.publish(name, number, &request.envelopes, &caller)).await?;
    let status = if done.published { StatusCode::CREATED } else { StatusCode::OK };
    let (profiles, published) = (done.profiles, done.published);
    Ok((status, Json(PublishedBody { application, version, profiles, published })).into_response())
}

async fn remove(
    State(repository): Repository,
    Path((application, version)): Path<(AppName, Version)>,
) -> Result<StatusCode, Problem> {
    blocking(move || repository.remove(&application, &version)).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn show(
    State(repository): Repository,
    Query(query): Query<ShowQuery>,
) -> Result<Json<ShowBody>, Problem> {
    let found = blocking(move || repository.show(&query.reference, query.profile.as_ref())).await?;
    Ok(Json(ShowBody { envelopes: found.iter().map(Published::body).collect() }))
}

async fn find(
    State(repository): Repository,
    Query(query): Query<MatchQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (reference, profiles) = parse_match(&query)?;
    let found = blocking(move || repository.find(&reference, &profiles)).await?;
    let etag = format!("\"{}\"", found.fingerprint());
    Ok(match has_it(&headers, &etag) {
        true => (StatusCode::NOT_MODIFIED, [(ETAG, etag)]).into_response(),
        false => ([(ETAG, etag)], Json(found.body())).into_response(),
    })
}

async fn list(
    State(repository): Repository,
    Query(query): Query<GlobQuery>,
) -> Result<Response, Problem> {
    let glob = query.glob.unwrap_or_else(Glob::all);
    let page = move |after: Option<AppName>| {
        let (lines, last) = repository.list(&glob, after.as_ref(), PAGE)?;
        Ok::<_, CatalogError>((lines.into_iter().map(line_body).collect(), last))
    };
    Ok(paged_listing(page).await?)
}

fn line_body(line: ApplicationLine) -> v1::ApplicationLine {
    let version = |line: crate::VersionLine| v1::VersionLine {
        version: line.version,
        profiles: line.profiles,
        title: line.title,
    };
    let versions = line.versions.into_iter().map(version).collect();
    v1::ApplicationLine { application: line.application, versions }
}

fn parse_match(query: &MatchQuery) -> Result<(Reference, Vec<Profile>), Problem> {
    let bad =
        |error: &dyn std::error::Error| Problem::from(ErrorBody::from_error(Code::BadName, error));
    let reference = query.reference.parse().map_err(|error| bad(&error))?;
    let profiles = query.profiles.split(',').filter(|profile| !profile.is_empty());
    let profiles = profiles.map(|text| text.parse().map_err(|error| bad(&error)));
    Ok((reference, profiles.collect::<Result<_, _>>()?))
}

/// Has the client this envelope already? An envelope that comes back after a removal keeps its date, so
/// dates decide nothing here.
fn has_it(headers: &HeaderMap, etag: &str) -> bool {
    headers.contains_key(IF_NONE_MATCH)
        && evaluate(headers, etag, "", |_, _| false) == Precondition::NotModified
}

fn catalog(error: &CatalogError) -> Code {
    match error {
        full if full.is_no_space() => Code::NoSpace,
        CatalogError::Damaged { .. } => Code::Damaged,
        CatalogError::Database { .. } => Code::Internal,
    }
}

fn holds(error: &HoldError) -> Code {
    match error {
        HoldError::Absent(_) => Code::NotFound,
        HoldError::Differs { pinned, digest, .. } if pinned.digest != *digest => {
            Code::DigestMismatch
        }
        HoldError::Differs { .. } => Code::BadManifest,
        HoldError::Failed(_) => Code::Internal,
    }
}

impl From<CatalogError> for Problem {
    fn from(error: CatalogError) -> Problem {
        ErrorBody::from_error(catalog(&error), &error).into()
    }
}

impl From<PublishError> for Problem {
    fn from(error: PublishError) -> Problem {
        let (code, hint) = match &error {
            PublishError::Manifest { source: Manifest::Envelope { source, .. }, .. }
                if source.is_unsupported() =>
            {
                (Code::Unsupported, Some("the publisher has a newer fettle than this server"))
            }
            PublishError::Manifest { .. } => (Code::BadManifest, None),
            PublishError::Taken { .. } => (Code::VersionTaken, Some("publish it as a new version")),
            PublishError::Objects { source, .. } => {
                (holds(source), Some("upload the objects first; `fettle app publish` does both"))
            }
            PublishError::Catalog(error) => (catalog(error), None),
        };
        let body = ErrorBody::from_error(code, &error);
        ErrorBody { hint: hint.map(str::to_owned), ..body }.into()
    }
}

impl From<FindError> for Problem {
    fn from(error: FindError) -> Problem {
        let code = match &error {
            FindError::NoApplication(_) => Code::NotFound,
            FindError::NoVersion { .. } => Code::NoVersion,
            FindError::NoProfile { .. } => Code::NoProfile,
            FindError::Catalog(error) => catalog(error),
        };
        ErrorBody::from_error(code, &error).into()
    }
}

impl From<RemoveError> for Problem {
    fn from(error: RemoveError) -> Problem {
        let code = match &error {
            RemoveError::NoApplication(_) => Code::NotFound,
            RemoveError::NoVersion { .. } => Code::NoVersion,
            RemoveError::Catalog(error) => catalog(error),
            RemoveError::Holds(error) => holds(error),
        };
        ErrorBody::from_error(code, &error).into()
    }
}

/// Applications in one page of a listing.
const PAGE: u32 = 200;
