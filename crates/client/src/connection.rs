//! One server or node, and the three forms that its answers have: a JSON value, a listing of lines, an
//! object's bytes. Owns time limits and size limits; knows no route but the status.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http::header::ACCEPT;
use reqwest::{RequestBuilder, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use wire::ErrorBody;
use wire::route::{self, Route};
use wire::v1::StatusBody;

use crate::address::fill;
use crate::endpoint::Endpoint;
use crate::error::{ClientError, ProtocolFault};
use crate::{Applications, Node, Objects};

/// One server or node. Cheap to clone; clones share their open connections. Nothing is connected
/// before the first call.
#[derive(Debug, Clone)]
pub struct Connection {
    http: reqwest::Client,
    endpoint: Endpoint,
}

impl Connection {
    /// A client for `endpoint`.
    ///
    /// # Errors
    /// [`ClientError::Setup`].
    pub fn new(endpoint: &Endpoint) -> Result<Connection, ClientError> {
        let builder = reqwest::Client::builder()
            .no_proxy() // a proxy from the environment has no business between programs of one machine
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never()) // what is tried again is decided here, in view of the call
            .http1_only()
            .tcp_nodelay(true)
            .connect_timeout(CONNECT)
            .pool_idle_timeout(IDLE)
            .user_agent(concat!("fettle/", env!("CARGO_PKG_VERSION")));
        let builder = match endpoint {
            Endpoint::Http(_) => builder,
            Endpoint::Unix(path) => builder.unix_socket(path.as_path()),
        };
        let http = builder.build().map_err(|error| ClientError::Setup {
            endpoint: endpoint.clone(),
            source: error.into(),
        })?;
        Ok(Connection { http, endpoint: endpoint.clone() })
    }

    /// Where it leads.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// What is there.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn status(&self) -> Result<StatusBody, ClientError> {
        self.json(self.request(&route::STATUS, &fill(&route::STATUS, &[]))).await
    }

    /// The calls of the binary repository.
    pub fn objects(&self) -> Objects<'_> {
        Objects::new(self)
    }

    /// The calls of the application repository.
    pub fn applications(&self) -> Applications<'_> {
        Applications::new(self)
    }

    /// The calls of a node.
    pub fn node(&self) -> Node<'_> {
        Node::new(self)
    }

    /// A request of this route; `address` is its path, filled, with its query.
    pub(crate) fn request(&self, route: &Route, address: &str) -> RequestBuilder {
        self.http.request(route.method.clone(), format!("{}{address}", self.endpoint.base()))
    }

    /// As [`Connection::request`], with a JSON body.
    pub(crate) fn request_with(
        &self,
        route: &Route,
        address: &str,
        body: &impl Serialize,
    ) -> RequestBuilder {
        self.request(route, address).json(body)
    }

    /// The JSON value that answers a request.
    pub(crate) async fn json<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
    ) -> Result<T, ClientError> {
        self.json_within(request, PATIENCE).await
    }

    /// As [`Connection::json`], for a call that may keep the other side busy for longer.
    pub(crate) async fn json_within<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
        patience: Duration,
    ) -> Result<T, ClientError> {
        let response = self.send(request.header(ACCEPT, "application/json"), patience).await?;
        let body = self.whole_body(response).await?;
        serde_json::from_slice(&body).map_err(|source| self.fault(ProtocolFault::Json { source }))
    }

    /// Waits for an answer whose body does not matter.
    pub(crate) async fn done(&self, request: RequestBuilder) -> Result<(), ClientError> {
        let response = self.send(request, PATIENCE).await?;
        self.whole_body(response).await.map(drop)
    }

    /// As [`Connection::done`], for a request with a large body: it is given up only when `moved`, which
    /// counts the bytes that the network takes, stands still for as long as any answer may take.
    pub(crate) async fn done_while(
        &self,
        request: RequestBuilder,
        moved: &AtomicU64,
    ) -> Result<(), ClientError> {
        let mut sending = std::pin::pin!(request.send());
        let response = loop {
            let before = moved.load(Ordering::Relaxed);
            match tokio::time::timeout(PATIENCE, &mut sending).await {
                Ok(response) => break response,
                Err(_) if moved.load(Ordering::Relaxed) == before => {
                    return Err(self.stalled(PATIENCE));
                }
                Err(_) => {}
            }
        };
        let response = response.map_err(|error| ClientError::transport(&self.endpoint, error))?;
        let response = self.judge(response).await?;
        self.whole_body(response).await.map(drop)
    }

    /// Sends a request and waits for the head of a successful answer.
    pub(crate) async fn send(
        &self,
        request: RequestBuilder,
        patience: Duration,
    ) -> Result<Response, ClientError> {
        let sent = tokio::time::timeout(patience, request.send()).await;
        let response = sent.map_err(|_| self.stalled(patience))?;
        self.judge(response.map_err(|error| ClientError::transport(&self.endpoint, error))?).await
    }

    /// Tells answers from refusals.
    pub(crate) async fn judge(&self, response: Response) -> Result<Response, ClientError> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        if !status.is_client_error() && !status.is_server_error() {
            return Err(self.fault(ProtocolFault::Status { status }));
        }
        let body = self.whole_body(response).await?;
        Err(self.refusal(status, &body))
    }

    /// The next piece of a body; `None` at its proper end.
    pub(crate) async fn piece(
        &self,
        response: &mut Response,
    ) -> Result<Option<Bytes>, ClientError> {
        let piece = tokio::time::timeout(PATIENCE, response.chunk()).await;
        let piece = piece.map_err(|_| self.stalled(PATIENCE))?;
        piece.map_err(|error| ClientError::transport(&self.endpoint, error))
    }

    pub(crate) fn fault(&self, source: ProtocolFault) -> ClientError {
        ClientError::protocol(&self.endpoint, source)
    }

    pub(crate) fn stalled(&self, after: Duration) -> ClientError {
        ClientError::Stalled { endpoint: self.endpoint.clone(), after }
    }

    async fn whole_body(&self, mut response: Response) -> Result<Vec<u8>, ClientError> {
        let mut body = Vec::new();
        while let Some(piece) = self.piece(&mut response).await? {
            if body.len() + piece.len() > JSON_BYTES {
                return Err(self.fault(ProtocolFault::TooLarge { limit: JSON_BYTES }));
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }

    fn refusal(&self, status: StatusCode, body: &[u8]) -> ClientError {
        match serde_json::from_slice::<ErrorBody>(body) {
            Ok(body) => ClientError::Refused { status, body: Box::new(body) },
            Err(_) => self.fault(ProtocolFault::NoReason { status }),
        }
    }
}

/// The most bytes of a JSON value, and of one line of a listing.
pub(crate) const JSON_BYTES: usize = 16 * 1024 * 1024;
/// How long nothing may come before a call is given up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Longer than any connection within a machine or its neighbourhood takes.
const CONNECT: Duration = Duration::from_secs(10);
/// Shorter than the time after which a server closes an idle connection.
const IDLE: Duration = Duration::from_secs(20);
