//! TLS 1.3 both ways: each side shows its leaf, and each learns who the other is. Owns the configuration;
//! whom a chain shows is `verify`'s answer, and what it may do somebody else's.
//!
//! Keys and roots can be replaced while connections go on: the next handshake uses the new ones. Sessions
//! are not resumed, so that nobody stays who it was longer than its connection; there is no early data that
//! could be played again.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};

use model::Timestamp;
use model::identity::CallerPattern;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, OtherError,
    ServerConfig, SignatureScheme, version,
};

use crate::home::Identity;
use crate::verify::{Roots, Untrusted, Verified, verify};

/// What one side shows, and whom it believes. Replaced as a whole.
#[derive(Debug)]
pub struct Credentials {
    current: RwLock<Arc<Current>>,
}

#[derive(Debug)]
struct Current {
    certified: Arc<CertifiedKey>,
    roots: Roots,
}

/// The key cannot be used for TLS.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the key cannot be used for TLS: {0}")]
pub struct UnusableKey(String);

/// Why a connection was refused by what the other side showed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Nobody knows who it is.
    #[error(transparent)]
    Untrusted(#[from] Untrusted),
    /// It is somebody else than who was called.
    #[error("it is `{found}`, and `{wanted}` was called")]
    SomebodyElse {
        /// Who it is.
        found: String,
        /// Who was called.
        wanted: CallerPattern,
    },
}

impl Credentials {
    /// Shows this identity and believes these roots.
    ///
    /// # Errors
    /// [`UnusableKey`].
    pub fn new(identity: &Identity, roots: Roots) -> Result<Arc<Credentials>, UnusableKey> {
        let current = RwLock::new(Arc::new(Current::new(identity, roots)?));
        Ok(Arc::new(Credentials { current }))
    }

    /// From the next handshake on.
    ///
    /// # Errors
    /// [`UnusableKey`]; then everything stays as it is.
    pub fn replace(&self, identity: &Identity, roots: Roots) -> Result<(), UnusableKey> {
        let new = Arc::new(Current::new(identity, roots)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    /// What is shown: the chain with the key.
    pub fn certified(&self) -> Arc<CertifiedKey> {
        self.current().certified.clone()
    }

    fn current(&self) -> Arc<Current> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn who(
        &self,
        leaf: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Verified, Refused> {
        Ok(verify(&self.current().roots, leaf, above, timestamp(now))?)
    }
}

impl Current {
    fn new(identity: &Identity, roots: Roots) -> Result<Current, UnusableKey> {
        let unusable = |error: rustls::Error| UnusableKey(error.to_string());
        let key = provider().key_provider.load_private_key(identity.key.to_tls());
        let certified = CertifiedKey::new(identity.chain.clone(), key.map_err(unusable)?);
        certified.keys_match().map_err(unusable)?;
        Ok(Current { certified: Arc::new(certified), roots })
    }
}

/// The side that is called. Whoever calls has to show who it is.
///
/// # Errors
/// The library refuses its own defaults.
pub fn server(credentials: &Arc<Credentials>) -> Result<ServerConfig, rustls::Error> {
    let side = Arc::new(Side::new(credentials, None));
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&version::TLS13])?
        .with_client_cert_verifier(side.clone())
        .with_cert_resolver(side);
    config.alpn_protocols = vec![HTTP.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// The side that calls. Whoever answers has to be `wanted`: that somebody is trusted is not enough, since
/// everybody of a trust domain is.
///
/// # Errors
/// The library refuses its own defaults.
pub fn client(
    credentials: &Arc<Credentials>,
    wanted: CallerPattern,
) -> Result<ClientConfig, rustls::Error> {
    let side = Arc::new(Side::new(credentials, Some(wanted)));
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&version::TLS13])?
        .dangerous() // the name of the library for a verifier that is not its own
        .with_custom_certificate_verifier(side.clone())
        .with_client_cert_resolver(side);
    config.alpn_protocols = vec![HTTP.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_sni = false; // nobody chooses by host name who answers
    Ok(config)
}

/// Who is at the other end of a connection whose handshake is done.
///
/// # Errors
/// It has shown nothing, or nothing that is believed at this moment.
pub fn peer(
    credentials: &Credentials,
    shown: Option<&[CertificateDer<'static>]>,
    now: Timestamp,
) -> Result<Verified, Untrusted> {
    let (leaf, above) = shown.and_then(<[_]>::split_first).ok_or(Untrusted::Nothing)?;
    verify(&credentials.current().roots, leaf, above, now)
}

/// Why a handshake failed, if it failed by what the other side showed: the library says it in its own words
/// alone, and wraps them.
pub fn reason<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Refused> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(why)))) =
            error.downcast_ref()
        {
            return why.downcast_ref();
        }
        next = match error.downcast_ref::<io::Error>() {
            Some(error) => error.get_ref().map(|inner| inner as &(dyn Error + 'static)),
            None => error.source(),
        };
    }
    None
}

/// One side of a handshake.
struct Side {
    credentials: Arc<Credentials>,
    /// Who has to answer; `None` for the side that is called.
    wanted: Option<CallerPattern>,
}

impl Side {
    fn new(credentials: &Arc<Credentials>, wanted: Option<CallerPattern>) -> Side {
        Side { credentials: credentials.clone(), wanted }
    }
}

impl ResolvesServerCert for Side {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.credentials.certified())
    }
}

impl rustls::client::ResolvesClientCert for Side {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.credentials.certified())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for Side {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[] // whom a server trusts is nobody's business
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let known = self.credentials.who(leaf, above, now).map_err(refuse)?;
        tracing::debug!(name = %known.leaf.principal, "a handshake");
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, leaf, signature, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

impl ServerCertVerifier for Side {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let found = self.credentials.who(leaf, above, now).map_err(refuse)?.leaf.principal;
        let caller = model::Caller::Principal(found);
        match &self.wanted {
            Some(wanted) if !wanted.matches(&caller) => Err(refuse(Refused::SomebodyElse {
                found: caller.to_string(),
                wanted: wanted.clone(),
            })),
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        ClientCertVerifier::verify_tls12_signature(self, message, leaf, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        ClientCertVerifier::verify_tls13_signature(self, message, leaf, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ClientCertVerifier::supported_verify_schemes(self)
    }
}

impl fmt::Debug for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Side").field("wanted", &self.wanted).finish_non_exhaustive()
    }
}

/// What the library tells the other side is one word; here the reason stays whole.
fn refuse(why: Refused) -> rustls::Error {
    CertificateError::Other(OtherError(Arc::new(why))).into()
}

fn timestamp(time: UnixTime) -> Timestamp {
    Timestamp::from_millis(i64::try_from(time.as_secs()).unwrap_or(i64::MAX).saturating_mul(1000))
}

/// The one provider of cryptography; made once.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    use std::sync::LazyLock;
    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(aws_lc_rs::default_provider()));
    PROVIDER.clone()
}

const HTTP: &[u8] = b"http/1.1";
