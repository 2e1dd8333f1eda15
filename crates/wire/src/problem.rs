//! A refusal as it is sent: `application/problem+json` (RFC 9457) with the fields that the command line
//! prints. Owns the two bodies; the request's id is put in by [`crate::serve`] when the response leaves.

use axum::response::{IntoResponse, Response};
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use model::{OperationId, RequestId};
use serde::{Deserialize, Serialize};

use crate::code::Code;

/// What failed, as the command line prints it under `error` and as an operation keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The kind of refusal.
    pub code: Code,
    /// What failed, on which thing.
    pub message: String,
    /// Why, the nearest cause first.
    pub causes: Vec<String>,
    /// The next step for the user.
    pub hint: Option<String>,
    /// The operation that it happened in.
    pub operation: Option<OperationId>,
    /// The request that it happened in, as the server's log has it.
    pub request: Option<RequestId>,
}

impl ErrorBody {
    /// A refusal without causes and hint.
    pub fn new(code: Code, message: impl Into<String>) -> ErrorBody {
        ErrorBody {
            code,
            message: message.into(),
            causes: Vec::new(),
            hint: None,
            operation: None,
            request: None,
        }
    }

    /// A refusal that says what an error and all its sources say.
    pub fn from_error(code: Code, error: &dyn std::error::Error) -> ErrorBody {
        let causes = std::iter::successors(error.source(), |cause| cause.source());
        let causes = causes.map(ToString::to_string).collect();
        ErrorBody { causes, ..ErrorBody::new(code, error.to_string()) }
    }

    /// With the next step for the user.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> ErrorBody {
        self.hint = Some(hint.into());
        self
    }
}

/// A refusal on its way out of a handler. Boxed, since most calls succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem(Box<ErrorBody>);

impl From<ErrorBody> for Problem {
    fn from(body: ErrorBody) -> Problem {
        Problem(Box::new(body))
    }
}

impl Problem {
    /// A refusal without causes and hint.
    pub fn new(code: Code, message: impl Into<String>) -> Problem {
        ErrorBody::new(code, message).into()
    }

    /// What failed.
    pub fn body(&self) -> &ErrorBody {
        &self.0
    }

    /// The response, with the id of the request that it answers.
    pub(crate) fn render(mut self, request: RequestId) -> Response {
        self.0.request.get_or_insert(request);
        let status = self.0.code.status();
        let fields = ProblemFields {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or_default(),
            status: status.as_u16(),
            detail: &self.0.message,
            error: &self.0,
        };
        // Serialising strings and numbers into memory has no way to fail.
        let bytes = serde_json::to_vec(&fields).unwrap_or_default();
        let mut response = (status, bytes).into_response();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        response
    }
}

/// The response carries the problem itself; `serve` renders it when it knows the request's id.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.0.code.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

#[derive(Serialize)]
struct ProblemFields<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(flatten)]
    error: &'a ErrorBody,
}

/// RFC 9457 §3.
const PROBLEM_JSON: &str = "application/problem+json";
