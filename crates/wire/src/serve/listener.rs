//! Where a server listens: TCP on this machine's loopback, or a Unix socket. Owns the address rule, the
//! accept loop, and the peer's identity as the kernel tells it.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use axum::extract::Request;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use model::Caller;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tower::ServiceExt as _;

use super::service::Service;

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// An address of this machine's loopback. Anything else needs identity, which does not exist yet.
    Loopback(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

/// Why a text is no address to listen on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAddress {
    /// Neither `IP:PORT` nor `unix:PATH`.
    #[error("`{0}` is no address: `127.0.0.1:7420` or `unix:/path/to/socket` is wanted")]
    Syntax(String),
    /// Reachable from other machines.
    #[error("`{0}` can be reached from other machines, and fettle cannot tell yet who calls")]
    NotLoopback(SocketAddr),
}

impl FromStr for Address {
    type Err = InvalidAddress;
    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return match Path::new(path).is_absolute() {
                true => Ok(Address::Unix(path.into())),
                false => Err(InvalidAddress::Syntax(text.to_owned())),
            };
        }
        let numeric = text.replacen("localhost:", "127.0.0.1:", 1);
        let address: SocketAddr =
            numeric.parse().map_err(|_| InvalidAddress::Syntax(text.to_owned()))?;
        match address.ip().is_loopback() {
            true => Ok(Address::Loopback(address)),
            false => Err(InvalidAddress::NotLoopback(address)),
        }
    }
}

/// A socket that listens.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// A Unix socket, and where it is.
    Unix(UnixListener, PathBuf),
}

impl Listener {
    /// Listens. A Unix socket that nobody listens on any more is replaced; it is made with mode 0600 from
    /// its first moment. The caller holds the lock of the tree that the socket is in, so nobody else does
    /// this at the same time.
    ///
    /// # Errors
    /// The system's, e.g. that the port is taken.
    pub async fn bind(address: &Address) -> io::Result<Listener> {
        match address {
            Address::Loopback(address) => Ok(Listener::Tcp(TcpListener::bind(address).await?)),
            Address::Unix(path) => {
                if tokio::net::UnixStream::connect(path).await.is_ok() {
                    return Err(io::ErrorKind::AddrInUse.into());
                }
                #[expect(
                    clippy::disallowed_methods,
                    reason = "a socket is no data: a crash leaves nothing to lose"
                )]
                match std::fs::remove_file(path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
                Ok(Listener::Unix(bind_private(path)?, path.clone()))
            }
        }
    }

    /// The URL that reaches it, as the `ready` line prints it.
    pub fn url(&self) -> String {
        match self {
            Listener::Tcp(listener) => match listener.local_addr() {
                Ok(address) => format!("http://{address}"),
                Err(_) => String::new(), // a bound socket has an address
            },
            Listener::Unix(_, path) => Address::Unix(path.clone()).to_string(),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Loopback(address) => write!(f, "http://{address}"),
            Address::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

/// Tells handlers whose answers have no end of their own that the server wants to end. Every request
/// carries one as an extension.
#[derive(Debug, Clone)]
pub struct Closing(watch::Receiver<bool>);

impl Closing {
    /// Waits until the server wants to end.
    pub async fn begun(&mut self) {
        let _ = self.0.wait_for(|closing| *closing).await; // a server that is gone has ended
    }
}

/// Accepts and answers until `shutdown` is there, then lets what is in flight finish, for at most
/// ten seconds; what is not finished then is cut. Answers that go on until somebody leaves heed
/// [`Closing`].
pub async fn serve(listener: Listener, service: Service<()>, shutdown: impl Future<Output = ()>) {
    let router = service.into_router();
    let graceful = GracefulShutdown::new();
    let (close, closing) = watch::channel(false);
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = accept(&listener) => accepted,
        };
        let (stream, caller) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors or memory: others go on, this one may come again.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let closing = Closing(closing.clone());
        let router =
            router.clone().map_request(move |request: http::Request<hyper::body::Incoming>| {
                let mut request: Request = request.map(axum::body::Body::new);
                request.extensions_mut().insert(caller.clone());
                request.extensions_mut().insert(closing.clone());
                request
            });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended");
            }
        });
    }
    drop(listener);
    close.send_replace(true);
    let _ = tokio::time::timeout(GRACE, graceful.shutdown()).await;
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

async fn accept(listener: &Listener) -> io::Result<(Box<dyn Stream>, Caller)> {
    match listener {
        Listener::Tcp(listener) => {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?; // an answer waits for nothing
            Ok((Box::new(stream), Caller::Loopback))
        }
        Listener::Unix(listener, _) => {
            let (stream, _) = listener.accept().await?;
            let caller = Caller::Uid(stream.peer_cred()?.uid());
            Ok((Box::new(stream), caller))
        }
    }
}

/// Binds under a name of its own, narrows the mode, and only then gives it the name that clients know.
fn bind_private(path: &Path) -> io::Result<UnixListener> {
    use std::os::unix::fs::PermissionsExt as _;
    let mut aside = path.as_os_str().to_owned();
    aside.push(".new");
    let aside = PathBuf::from(aside);
    #[expect(
        clippy::disallowed_methods,
        reason = "a socket is no data: a crash leaves nothing to lose"
    )]
    {
        let _ = std::fs::remove_file(&aside);
        let listener = UnixListener::bind(&aside)?;
        std::fs::set_permissions(&aside, std::fs::Permissions::from_mode(0o600))?;
        std::fs::rename(&aside, path)?;
        Ok(listener)
    }
}

/// From the first byte of a request, or from the last answer, to the end of the request's head.
const HEADER_TIMEOUT: Duration = Duration::from_secs(60);
/// How long what is in flight may take after SIGTERM.
const GRACE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_and_unix_sockets_are_addresses() {
        for good in
            ["127.0.0.1:0", "[::1]:7420", "localhost:80", "unix:/run/x.sock", "unix:///run/x.sock"]
        {
            assert!(good.parse::<Address>().is_ok(), "{good}");
        }
        for bad in ["0.0.0.0:80", "[::]:80", "10.0.0.1:80"] {
            assert!(matches!(bad.parse::<Address>(), Err(InvalidAddress::NotLoopback(_))), "{bad}");
        }
        for bad in ["", "80", "example.org:80", "unix:relative"] {
            assert!(matches!(bad.parse::<Address>(), Err(InvalidAddress::Syntax(_))), "{bad}");
        }
    }
}
