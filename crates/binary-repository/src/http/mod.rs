//! The routes of the binary repository. A handler reads the head of the request, calls the store on a
//! blocking thread, and makes the body; it decides nothing.

mod fields;
mod get;
mod problem;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::ETAG;
use http::{HeaderMap, StatusCode};
use model::{Glob, ObjectName, Policy, UploadId};
use wire::serve::{Calling, Json, Path, Query, Service, blocking, paged_listing, read_in_order};
use wire::v1::{
    GlobQuery, ObjectBody, ObjectLine, PartBody, StoredBody, UploadBody, UploadRequest,
};
use wire::{Problem, route};

use crate::catalog::ObjectRecord;
use crate::store::{BinaryRepository, Found, NewObject, StorageError};

type Repository = State<Arc<BinaryRepository>>;

impl BinaryRepository {
    /// The routes, for whom `policy` lets in.
    pub fn service(self: &Arc<Self>, policy: Policy) -> Service<()> {
        Service::new(policy)
            .route(&route::OBJECT_LIST, list)
            .route(&route::OBJECT_PUT, put)
            .route(&route::OBJECT_GET, get::get)
            .route(&route::OBJECT_DELETE, delete)
            .route(&route::OBJECT_STAT, stat)
            .route(&route::UPLOAD_BEGIN, begin)
            .route(&route::UPLOAD_PART, part)
            .route(&route::UPLOAD_COMPLETE, complete)
            .with_state(self.clone())
    }
}

async fn put(
    State(repository): Repository,
    Calling(caller): Calling,
    Path(name): Path<ObjectName>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (media, stated) = (fields::media(&headers)?, fields::stated(&headers)?);
    let new = NewObject { name, media, caller };
    let stored =
        read_in_order(body, move |mut body| repository.put(new, stated, &mut body)).await?;
    let status = if stored.new { StatusCode::CREATED } else { StatusCode::OK };
    let etag = [(ETAG, fields::etag(&stored.object.digest))];
    Ok((status, etag, Json(stored_body(stored.object))).into_response())
}

async fn delete(
    State(repository): Repository,
    Path(name): Path<ObjectName>,
) -> Result<StatusCode, Problem> {
    blocking(move || repository.delete(&name)).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn stat(
    State(repository): Repository,
    Path(name): Path<ObjectName>,
) -> Result<Json<ObjectBody>, Problem> {
    let found = blocking(move || repository.stat(&name)).await?;
    Ok(Json(object_body(found)))
}

async fn list(
    State(repository): Repository,
    Query(query): Query<GlobQuery>,
) -> Result<Response, Problem> {
    let glob = query.glob.unwrap_or_else(Glob::all);
    let page = move |after: Option<ObjectName>| {
        let (objects, last) = repository.list(&glob, after.as_ref(), PAGE)?;
        Ok::<_, StorageError>((objects.iter().map(object_line).collect(), last))
    };
    Ok(paged_listing(page).await?)
}

async fn begin(
    State(repository): Repository,
    Calling(caller): Calling,
    Json(request): Json<UploadRequest>,
) -> Result<Json<UploadBody>, Problem> {
    let begun = blocking(move || repository.begin(request, caller)).await?;
    let (upload, missing, complete) = (begun.id, begun.missing, begun.complete);
    Ok(Json(UploadBody { upload, missing, complete }))
}

async fn part(
    State(repository): Repository,
    Path((upload, number)): Path<(UploadId, u32)>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Problem> {
    let stated = fields::stated(&headers)?;
    read_in_order(body, move |mut body| repository.part(upload, number, stated, &mut body)).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn complete(
    State(repository): Repository,
    Path(upload): Path<UploadId>,
) -> Result<Json<StoredBody>, Problem> {
    let object = blocking(move || repository.complete(upload)).await?;
    Ok(Json(stored_body(object)))
}

fn stored_body(object: ObjectRecord) -> StoredBody {
    StoredBody { name: object.name, digest: object.digest, size: object.size }
}

fn object_line(object: &ObjectRecord) -> ObjectLine {
    ObjectLine {
        name: object.name.clone(),
        media_type: object.media.media_type.clone(),
        encoding: object.media.encoding,
        size: object.size,
        digest: object.digest,
        created: object.created,
        created_by: object.created_by.clone(),
    }
}

fn object_body(found: Found) -> ObjectBody {
    let (object, complete, parts) = match found {
        Found::Complete(object, parts) => {
            let received = (1..).zip(parts).map(|(number, part)| (number, part, true));
            (object, true, received.collect::<Vec<_>>())
        }
        Found::Incomplete(upload, parts) => {
            let parts = parts.iter().map(|part| (part.number, part.part, part.received));
            (upload.object, false, parts.collect())
        }
    };
    let part_body = |(number, part, received): (u32, model::Part, bool)| PartBody {
        number,
        size: part.size,
        digest: part.digest,
        received,
    };
    ObjectBody {
        name: object.name,
        media_type: object.media.media_type,
        encoding: object.media.encoding,
        size: object.size,
        digest: object.digest,
        complete,
        parts: parts.into_iter().map(part_body).collect(),
        measured: object.measured.map(Into::into),
        created: object.created,
        created_by: object.created_by,
    }
}

/// Objects in one page of a listing.
const PAGE: u32 = 500;
