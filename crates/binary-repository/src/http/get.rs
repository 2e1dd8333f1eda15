//! GET and HEAD of an object: conditions, ranges, and the bytes, a piece at a time. A slow client holds an
//! open file and one piece of memory, and no thread.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{Stream, stream};
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    ETAG, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE, LAST_MODIFIED,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use model::ObjectName;
use wire::serve::{Path, blocking};
use wire::{Precondition, Problem, REPR_DIGEST, Selection, evaluate, format_digest, select_range};

use super::Repository;
use super::fields::{etag, http_date, parse_date};
use crate::catalog::ObjectRecord;
use crate::store::Content;

pub(super) async fn get(
    State(repository): Repository,
    Path(name): Path<ObjectName>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (object, content) = blocking(move || repository.read(&name)).await?;
    let (etag, modified) = (etag(&object.digest), http_date(object.created));
    let answer = match conditions(headers, &etag, &modified) {
        Precondition::NotModified => StatusCode::NOT_MODIFIED.into_response(),
        Precondition::Failed => StatusCode::PRECONDITION_FAILED.into_response(),
        // Range is defined for GET alone (RFC 9110 §14.2).
        Precondition::Proceed { range } => {
            bytes(content, &object, range.filter(|_| method == Method::GET).as_deref())
        }
    };
    Ok(with_validators(answer, &etag, &modified))
}

/// What the conditions of the request come to. A date that is none is as if it were not there.
fn conditions(mut headers: HeaderMap, etag: &str, modified: &str) -> Precondition {
    for name in [IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE] {
        let date = headers.get(&name).map(|value| value.to_str().ok().and_then(parse_date));
        if date == Some(None) {
            headers.remove(&name);
        }
    }
    evaluate(&headers, etag, modified, |a, b| parse_date(a) <= parse_date(b))
}

/// The whole, the part that is asked for, or that there is none.
fn bytes(content: Content, object: &ObjectRecord, range: Option<&str>) -> Response {
    let size = object.size;
    let (status, range) = match select_range(range, size) {
        Selection::Whole => (StatusCode::OK, 0..size),
        Selection::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
        Selection::Unsatisfiable => {
            let extent = [(CONTENT_RANGE, format!("bytes */{size}"))];
            return (StatusCode::RANGE_NOT_SATISFIABLE, extent).into_response();
        }
    };
    let length = range.end - range.start;
    let extent = format!("bytes {}-{}/{size}", range.start, range.end.saturating_sub(1));
    let mut response = (status, Body::from_stream(pieces(content, range))).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, length.into());
    insert(headers, CONTENT_TYPE, object.media.media_type.as_str());
    if let Some(encoding) = object.media.encoding {
        insert(headers, CONTENT_ENCODING, encoding.as_str());
    }
    if status == StatusCode::PARTIAL_CONTENT {
        insert(headers, CONTENT_RANGE, &extent);
    }
    insert(headers, REPR_DIGEST, &format_digest(&object.digest));
    response
}

fn with_validators(mut response: Response, etag: &str, modified: &str) -> Response {
    let headers = response.headers_mut();
    insert(headers, ETAG, etag);
    insert(headers, LAST_MODIFIED, modified);
    insert(headers, ACCEPT_RANGES, "bytes");
    insert(headers, CACHE_CONTROL, "no-transform");
    response
}

/// The bytes of a range. When the file turns out too short the stream fails, which breaks the connection
/// off: the client sees that bytes are missing.
fn pieces(content: Content, range: Range<u64>) -> impl Stream<Item = io::Result<Bytes>> {
    let content = Arc::new(content);
    stream::try_unfold(range.start, move |offset| {
        let content = content.clone();
        async move {
            let length = usize::try_from(range.end - offset).unwrap_or(PIECE).min(PIECE);
            if length == 0 {
                return Ok(None);
            }
            let piece = blocking(move || content.read_exact_at(offset, length)).await;
            let piece = piece.inspect_err(|error| {
                tracing::error!(%error, offset, "an object cannot be read to its end");
            })?;
            Ok(Some((piece.into(), offset + length as u64)))
        }
    })
}

/// Digests, dates and media types are printable ASCII; what is not would be left out.
fn insert(headers: &mut HeaderMap, name: impl http::header::IntoHeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// Large enough that the hop to a blocking thread does not show.
const PIECE: usize = 256 * 1024;
