//! What happens to every request before a handler sees it: an id, the guard against web pages, the right
//! of its route; and after: the id in the response, refusals rendered, one line in the log.

use std::panic::AssertUnwindSafe;
use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt as _;
use http::header::{HOST, ORIGIN};
use http::{HeaderMap, HeaderValue};
use model::{Caller, Decision, Policy, RequestId, Right};

use crate::code::Code;
use crate::problem::Problem;

/// The id of the request that is being answered; every request carries one as an extension.
#[derive(Debug, Clone, Copy)]
pub struct CurrentRequest(pub RequestId);

/// Runs around everything.
pub(super) async fn door(mut request: Request, next: Next) -> Response {
    let id = RequestId::from(uuid::Uuid::now_v7());
    let began = Instant::now();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    request.extensions_mut().insert(CurrentRequest(id));
    let over_tcp = request.extensions().get::<Caller>() == Some(&Caller::Loopback);
    let mut response = match refuse_web_pages(request.headers(), over_tcp) {
        Some(refusal) => refusal.into_response(),
        None => {
            let answered = AssertUnwindSafe(next.run(request)).catch_unwind().await;
            answered.unwrap_or_else(|_| {
                // The panic's message went to stderr, with the place.
                Problem::new(Code::Internal, "the server made a mistake").into_response()
            })
        }
    };
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        log_problem(&problem, id);
        response = problem.render(id);
    }
    if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    let (status, took) = (response.status().as_u16(), began.elapsed());
    tracing::debug!(request = %id, %method, %path, status, ?took);
    response
}

/// Checks the right of one route. Mounted by [`super::Service::route`] around each handler.
pub(super) async fn check(policy: Policy, right: Right, request: Request, next: Next) -> Response {
    let Some(caller) = request.extensions().get::<Caller>() else {
        return Problem::new(Code::Denied, "nobody knows who calls").into_response();
    };
    match policy.decide(caller, right) {
        Decision::Allowed => next.run(request).await,
        Decision::Denied(reason) => {
            let path = request.extensions().get::<MatchedPath>().map_or("", |p| p.as_str());
            tracing::warn!(%caller, ?right, path, reason, "denied");
            let message = format!("`{caller}` may not do this: {right:?} is needed");
            let body = crate::ErrorBody {
                causes: vec![reason.to_owned()],
                ..crate::ErrorBody::new(Code::Denied, message)
            };
            Problem::from(body).into_response()
        }
    }
}

/// A web page in a browser on this machine can send requests here. It cannot hide its `Origin`, and with a
/// name of its own that points to 127.0.0.1 it cannot hide its `Host`.
fn refuse_web_pages(headers: &HeaderMap, over_tcp: bool) -> Option<Problem> {
    if headers.contains_key(ORIGIN) {
        return Some(Problem::new(
            Code::Denied,
            "requests of web pages (with an Origin) are refused",
        ));
    }
    let ours = headers.get(HOST).and_then(|host| host.to_str().ok()).is_some_and(is_loopback_host);
    (over_tcp && !ours).then(|| {
        Problem::new(
            Code::Denied,
            "the Host of the request is not an address of this machine's loopback",
        )
    })
}

fn is_loopback_host(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn log_problem(problem: &Problem, id: RequestId) {
    let body = problem.body();
    let (code, causes) = (body.code, body.causes.join(": "));
    if body.code.status().is_server_error() {
        tracing::error!(request = %id, %code, causes, "{}", body.message);
    } else {
        tracing::info!(request = %id, %code, causes, "{}", body.message);
    }
}

/// The response field that holds the request's id.
pub(super) const REQUEST_ID: &str = "fettle-request";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_our_host() {
        for good in
            ["localhost", "LOCALHOST:80", "127.0.0.1:7420", "127.1.2.3", "[::1]:7420", "[::1]"]
        {
            assert!(is_loopback_host(good), "{good}");
        }
        for bad in
            ["", "evil.example", "127.0.0.1.evil.example", "10.0.0.1", "[::2]", "localhost.x"]
        {
            assert!(!is_loopback_host(bad), "{bad}");
        }
    }

    #[test]
    fn a_request_with_an_origin_is_refused_on_every_listener() {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, "localhost".parse().unwrap());
        assert!(refuse_web_pages(&headers, true).is_none());
        assert!(refuse_web_pages(&HeaderMap::new(), true).is_some());
        assert!(refuse_web_pages(&HeaderMap::new(), false).is_none());
        headers.insert(ORIGIN, "null".parse().unwrap());
        assert!(
            refuse_web_pages(&headers, true).is_some()
                && refuse_web_pages(&headers, false).is_some()
        );
    }
}
