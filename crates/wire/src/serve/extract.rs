//! What a handler takes from the head of a request, with refusals of ours instead of axum's texts.

use axum::extract::FromRequestParts;
use axum::extract::rejection::PathRejection;
use http::request::Parts;
use model::Caller;
use serde::de::DeserializeOwned;

use crate::code::Code;
use crate::problem::Problem;

/// The parameters of the path, decoded and parsed. What is no legal name is a `bad-name` problem.
#[derive(Debug, Clone, Copy)]
pub struct Path<T>(pub T);

/// The query. What cannot be read is a `usage` problem that says where.
#[derive(Debug, Clone, Copy)]
pub struct Query<T>(pub T);

/// Who calls.
#[derive(Debug, Clone)]
pub struct Calling(pub Caller);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Path::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Path(value)),
            Err(PathRejection::FailedToDeserializePathParams(why)) => {
                Err(Problem::new(Code::BadName, why.into_kind().to_string()))
            }
            Err(other) => Err(Problem::new(Code::Internal, other.body_text())),
        }
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Query::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(value)) => Ok(Query(value)),
            Err(rejection) => Err(Problem::new(Code::Usage, rejection.body_text())),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Calling {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let caller = parts.extensions.get::<Caller>().cloned();
        caller.map(Calling).ok_or_else(|| Problem::new(Code::Denied, "nobody knows who calls"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::body::Body;
    use axum::routing::get;
    use http::Request;
    use model::{Glob, ObjectName, Profile};
    use tower::ServiceExt;

    async fn refusal(uri: &str) -> Option<Code> {
        #[derive(serde::Deserialize)]
        struct Wanted {
            glob: Option<Glob>,
        }
        let router: Router = Router::new()
            .route(
                "/o/{*name}",
                get(|Path(name): Path<ObjectName>| async move { name.to_string() }),
            )
            .route("/p/{a}/{b}", get(|Path(_): Path<(Profile, u32)>| async {}))
            .route("/q", get(|Query(q): Query<Wanted>| async move { format!("{:?}", q.glob) }))
            .route("/c", get(|_: Calling| async {}));
        let request = Request::get(uri).body(Body::empty()).unwrap();
        let response = router.oneshot(request).await.unwrap();
        response.extensions().get::<Problem>().map(|problem| problem.body().code)
    }

    #[tokio::test]
    async fn what_is_no_legal_name_in_a_path_is_bad_name_and_in_a_query_usage() {
        for good in ["/o/a%20b/c%2Fd", "/o/gr%C3%B6%C3%9Fe", "/p/any/1", "/q?glob=a%2F*", "/q"] {
            assert_eq!(refusal(good).await, None, "{good}");
        }
        for bad in ["/o/a//b", "/o/a/%2E%2E/b", "/o/%00", "/p/Any/1", "/p/any/x", "/o/%FF"] {
            assert_eq!(refusal(bad).await, Some(Code::BadName), "{bad}");
        }
        assert_eq!(refusal("/q?glob=").await, Some(Code::Usage));
        assert_eq!(refusal("/c").await, Some(Code::Denied));
    }
}
