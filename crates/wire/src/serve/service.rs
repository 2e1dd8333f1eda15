//! What is mounted where: handlers under rows of the route table, each behind the check of its right.

use std::convert::Infallible;

use axum::Router;
use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, FromRequest, Request};
use axum::handler::Handler;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use model::Policy;

use super::door;
use crate::code::Code;
use crate::problem::Problem;
use crate::route::Route;

/// Handlers of one server, with the rule for who may call them.
#[derive(Debug)]
pub struct Service<S> {
    router: Router<S>,
    policy: Policy,
}

impl<S: Clone + Send + Sync + 'static> Service<S> {
    /// Nothing mounted yet.
    pub fn new(policy: Policy) -> Service<S> {
        Service { router: Router::new(), policy }
    }

    /// Mounts a handler under a row of the table, behind the check of its right. Bodies are not limited
    /// here: whoever reads one brings the limit ([`Json`] has its own).
    #[must_use]
    pub fn route<T: 'static>(mut self, route: &Route, handler: impl Handler<T, S>) -> Service<S> {
        let (policy, right) = (self.policy, route.right);
        let check =
            from_fn(move |request: Request, next: Next| door::check(policy, right, request, next));
        let filter = match route.method {
            http::Method::GET => MethodFilter::GET.or(MethodFilter::HEAD),
            http::Method::PUT => MethodFilter::PUT,
            http::Method::DELETE => MethodFilter::DELETE,
            _ => MethodFilter::POST,
        };
        let mounted: MethodRouter<S> =
            on(filter, handler).layer::<_, Infallible>(check).layer(DefaultBodyLimit::disable());
        self.router = self.router.route(route.path, mounted);
        self
    }

    /// The handlers with their state.
    pub fn with_state(self, state: S) -> Service<()> {
        Service { router: self.router.with_state(state), policy: self.policy }
    }
}

impl Service<()> {
    /// Both services under one address.
    #[must_use]
    pub fn merge(self, other: Service<()>) -> Service<()> {
        Service { router: self.router.merge(other.router), policy: self.policy }
    }

    pub(super) fn into_router(self) -> Router {
        let absent = || async { Problem::new(Code::NotFound, "there is no such route") };
        let wrong_method =
            || async { Problem::new(Code::Usage, "this route does not know this method") };
        self.router
            .fallback(absent)
            .method_not_allowed_fallback(wrong_method)
            .layer(from_fn(door::door))
    }
}

/// A JSON body of at most 4 MiB, in and out. What cannot be read is a `usage` problem that says where.
#[derive(Debug, Clone, Copy)]
pub struct Json<T>(pub T);

impl<T: serde::de::DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let body = axum::body::Body::new(http_body_util::Limited::new(body, JSON_BYTES));
        match axum::Json::<T>::from_request(Request::from_parts(parts, body), state).await {
            Ok(axum::Json(value)) => Ok(Json(value)),
            Err(JsonRejection::BytesRejection(rejection)) => {
                let message = format!("the body cannot be read: {}", rejection.body_text());
                let large = rejection.status() == http::StatusCode::PAYLOAD_TOO_LARGE;
                Err(Problem::new(if large { Code::TooLarge } else { Code::Usage }, message))
            }
            Err(rejection) => Err(Problem::new(Code::Usage, rejection.body_text())),
        }
    }
}

impl<T: serde::Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

const JSON_BYTES: usize = 4 * 1024 * 1024;
