//! Listings: one JSON value per line (NDJSON), so that neither side has to hold more than a few.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use http::header::CONTENT_TYPE;
use serde::Serialize;

use super::blocking;
use crate::v1::NDJSON;

/// One line of a listing.
pub fn json_line<T: Serialize>(value: &T) -> Bytes {
    let mut line = serde_json::to_vec(value).unwrap_or_default();
    line.push(b'\n');
    line.into()
}

/// A listing of what is in memory already.
pub fn listing<T: Serialize>(values: impl IntoIterator<Item = T>) -> Response {
    let lines: Vec<Bytes> = values.into_iter().map(|value| json_line(&value)).collect();
    ndjson(Body::from(lines.concat()))
}

/// A listing of any length, a page at a time. `page` is blocking code: it gets the key that the last page
/// ended with, and gives the values of the next one and the key that it ends with, if there may be more.
/// The first page is asked for before anything is answered; a later one that fails breaks the connection
/// off, so that no listing ends early unnoticed.
///
/// # Errors
/// Those of the first page.
pub async fn paged_listing<T, K, E>(
    page: impl Fn(Option<K>) -> Result<(Vec<T>, Option<K>), E> + Clone + Send + 'static,
) -> Result<Response, E>
where
    T: Serialize + Send + 'static,
    K: Send + 'static,
    E: std::error::Error + Send + Sync + 'static,
{
    let ask = move |after: Option<K>| {
        let page = page.clone();
        blocking(move || page(after))
    };
    let first = ask(None).await?;
    let pages = stream::try_unfold(Some(first), move |page| {
        let ask = ask.clone();
        async move {
            let Some((values, last)) = page else { return Ok(None) };
            let lines: Bytes = values.iter().flat_map(json_line).collect();
            let next = match last {
                Some(last) => Some(ask(Some(last)).await?),
                None => None,
            };
            Ok::<_, E>(Some((lines, next)))
        }
    });
    Ok(ndjson(Body::from_stream(pages)))
}

/// A body of lines.
pub fn ndjson(body: Body) -> Response {
    ([(CONTENT_TYPE, NDJSON)], body).into_response()
}
