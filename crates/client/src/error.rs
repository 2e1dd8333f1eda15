//! What can go wrong with a call, and which of the shared codes that is. Owns the words for failures of
//! the network and of the other side's answers; a refusal of the other side is passed on as it came.

use std::fmt;
use std::io;
use std::time::Duration;

use http::StatusCode;
use model::{Digest, ObjectName};
use wire::{Code, ErrorBody};

use crate::endpoint::Endpoint;

/// A call to a server or node failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Nothing answers there: no connection came about.
    #[error("`{endpoint}` cannot be reached")]
    Unreachable {
        /// Where.
        endpoint: Endpoint,
        /// What the system says.
        source: Transport,
    },
    /// The connection broke off before the answer was complete.
    #[error("the connection to `{endpoint}` broke off")]
    Interrupted {
        /// Where.
        endpoint: Endpoint,
        /// What the system says.
        source: Transport,
    },
    /// The connection is there, and nothing moves on it.
    #[error("`{endpoint}` sent nothing for {} seconds", .after.as_secs())]
    Stalled {
        /// Where.
        endpoint: Endpoint,
        /// How long nothing came.
        after: Duration,
    },
    /// The server or node said no, and why.
    #[error("{}", .body.message)]
    Refused {
        /// The status of the response.
        status: StatusCode,
        /// What it said.
        body: Box<ErrorBody>,
    },
    /// The answer is none that a server or node of fettle gives.
    #[error("`{endpoint}` does not answer as fettle does")]
    Protocol {
        /// Where.
        endpoint: Endpoint,
        /// What is wrong with the answer.
        source: ProtocolFault,
    },
    /// The name holds another object than the one that was asked for.
    #[error("the object `{name}` is not {expected} (any more)")]
    OtherObject {
        /// The name.
        name: ObjectName,
        /// The digest that was asked for.
        expected: Digest,
    },
    /// The client itself could not be set up.
    #[error("the HTTP client cannot be set up for `{endpoint}`")]
    Setup {
        /// For which endpoint.
        endpoint: Endpoint,
        /// Why not.
        source: Transport,
    },
}

/// What is wrong with an answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolFault {
    /// An error status without a problem in the body.
    #[error("status {status} came without a reason")]
    NoReason {
        /// The status.
        status: StatusCode,
    },
    /// A status that has no meaning for this call.
    #[error("status {status} means nothing here")]
    Status {
        /// The status.
        status: StatusCode,
    },
    /// A body that is not what belongs there.
    #[error("the body cannot be read")]
    Json {
        /// Where and why.
        source: serde_json::Error,
    },
    /// A body, or a line of a listing, that is larger than any of fettle's.
    #[error("the body is larger than {limit} bytes")]
    TooLarge {
        /// The most that is taken.
        limit: usize,
    },
    /// A header field that is missing or makes no sense.
    #[error("the header field `{field}` is missing or makes no sense")]
    Header {
        /// Its name.
        field: &'static str,
    },
    /// Fewer bytes than announced.
    #[error("{received} bytes came, {announced} were announced")]
    Short {
        /// How many came.
        received: u64,
        /// How many should have come.
        announced: u64,
    },
    /// More bytes than announced.
    #[error("more than the {announced} bytes came that were announced")]
    Long {
        /// How many should have come.
        announced: u64,
    },
    /// The answer speaks of another object than the question.
    #[error("the ETag is {received}, not {expected}")]
    OtherEntity {
        /// The digest that was asked for.
        expected: Digest,
        /// The digest in the answer.
        received: Digest,
    },
}

/// A failure of the network, as its innermost cause tells it: `Connection refused (os error 111)`.
#[derive(Debug)]
pub struct Transport(reqwest::Error);

impl ClientError {
    /// A failure of a request, told apart by whether there was a connection.
    pub(crate) fn transport(endpoint: &Endpoint, error: reqwest::Error) -> ClientError {
        let endpoint = endpoint.clone();
        let (connect, source) = (error.is_connect(), Transport::from(error));
        match connect {
            true => ClientError::Unreachable { endpoint, source },
            false => ClientError::Interrupted { endpoint, source },
        }
    }

    pub(crate) fn protocol(endpoint: &Endpoint, source: ProtocolFault) -> ClientError {
        ClientError::Protocol { endpoint: endpoint.clone(), source }
    }

    /// Which kind of refusal this is.
    pub fn code(&self) -> Code {
        match self {
            ClientError::Unreachable { source, .. } if source.is_denied() => Code::Denied,
            ClientError::Unreachable { .. }
            | ClientError::Interrupted { .. }
            | ClientError::Stalled { .. } => Code::Unreachable,
            ClientError::Refused { body, .. } => body.code,
            ClientError::OtherObject { .. } => Code::DigestMismatch,
            ClientError::Protocol { source: ProtocolFault::Short { .. }, .. } => Code::Unreachable,
            ClientError::Protocol { .. } | ClientError::Setup { .. } => Code::Internal,
        }
    }

    /// May the same call succeed in a moment? True for what the network did and for failures of the
    /// server, false for refusals.
    pub fn is_transient(&self) -> bool {
        match self {
            ClientError::Unreachable { source, .. } => !source.is_denied(),
            ClientError::Interrupted { .. }
            | ClientError::Stalled { .. }
            | ClientError::Protocol { source: ProtocolFault::Short { .. }, .. } => true,
            // A full or damaged disk does not mend itself.
            ClientError::Refused { status, body } => {
                status.is_server_error() && matches!(body.code, Code::Internal | Code::Unreachable)
            }
            ClientError::Protocol {
                source: ProtocolFault::NoReason { status } | ProtocolFault::Status { status },
                ..
            } => status.is_server_error(),
            _ => false,
        }
    }

    /// The refusal as the command line prints it and as an operation keeps it.
    pub fn to_body(&self) -> ErrorBody {
        let body = ErrorBody::from_error(self.code(), self);
        match self {
            ClientError::Refused { body, .. } => ErrorBody::clone(body),
            ClientError::Unreachable { source, .. } if source.is_denied() => {
                body.hint("the socket is its owner's: call as the account that runs it")
            }
            ClientError::Unreachable { endpoint, .. } => {
                let who = match endpoint {
                    Endpoint::Unix(_) => "`fettle node`",
                    Endpoint::Http(_) => "`fettle server` or `fettle node`",
                };
                body.hint(format!("is {who} running at {endpoint}?"))
            }
            ClientError::Interrupted { .. } | ClientError::Stalled { .. } => {
                body.hint("repeat the command: what arrived is kept")
            }
            ClientError::Protocol { endpoint, .. } => {
                body.hint(format!("is it a fettle of this version that listens at {endpoint}?"))
            }
            ClientError::OtherObject { .. } | ClientError::Setup { .. } => body,
        }
    }
}

impl Transport {
    /// Did the system refuse, rather than find nobody there? A socket of another account does.
    fn is_denied(&self) -> bool {
        let mut cause: Option<&dyn std::error::Error> = Some(&self.0);
        while let Some(error) = cause {
            let system = error.downcast_ref::<io::Error>();
            if system.is_some_and(|system| system.kind() == io::ErrorKind::PermissionDenied) {
                return true;
            }
            cause = error.source();
        }
        false
    }
}

impl From<reqwest::Error> for Transport {
    fn from(error: reqwest::Error) -> Transport {
        Transport(error)
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut innermost: &dyn std::error::Error = &self.0;
        while let Some(cause) = innermost.source() {
            innermost = cause;
        }
        write!(f, "{innermost}")
    }
}

/// Without a source: its own text is the innermost one, and the layers between say nothing more.
impl std::error::Error for Transport {}
