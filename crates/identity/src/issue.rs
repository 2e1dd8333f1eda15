//! Giving names: the root of a trust domain, leaves, and signing certificates for those who may go on.
//! Owns what our certificates look like; whether a name may be given decides `model::identity`. Refuses to
//! sign what its own certificate would not be believed for.

use std::time::Duration;

use model::Timestamp;
use model::identity::{MAX_CHAIN, Prefix, Principal, TrustDomain};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, CustomExtension,
    DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, PublicKeyData,
    SanType,
};
use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;
use x509_parser::asn1_rs::{ToDer as _, Utf8String};

use crate::certificate::{Malformed, PREFIX_OID, Signing, USAGE_OID, standing};
use crate::key::Key;

/// Whoever may give names: a signing certificate with its key.
#[derive(Debug)]
pub struct Issuer {
    key: Key,
    signing: Signing,
    /// How many signing certificates may stand below it.
    below: u8,
    /// Its certificate first, then those above it; the root is the last one if it is this one, and else
    /// left out.
    chain: Vec<CertificateDer<'static>>,
    is_root: bool,
}

/// A public key that is to get a certificate, with the proof that whoever asks has the private one.
#[derive(Debug)]
pub struct Request(CertificateSigningRequestParams);

/// Why a request cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it is no certificate request in PEM that its own key signed")]
pub struct RequestError;

/// Why a name is not given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    /// The name does not extend the issuer's.
    #[error("`{prefix}` may name what extends it, and `{wanted}` does not")]
    NotExtended {
        /// What the issuer may sign.
        prefix: Prefix,
        /// What it was asked to sign.
        wanted: String,
    },
    /// The issuer's own certificate is not valid now.
    #[error(
        "the signing certificate of `{prefix}` is valid from {from} to {until}, and it is {now}"
    )]
    NotValid {
        /// What the issuer may sign.
        prefix: Prefix,
        /// From when on.
        from: Timestamp,
        /// Until when.
        until: Timestamp,
        /// What the clock says.
        now: Timestamp,
    },
    /// The chain would be too long.
    #[error("no more signing certificates may stand below that of `{prefix}`")]
    TooDeep {
        /// What the issuer may sign.
        prefix: Prefix,
    },
    /// Key and certificate do not belong together.
    #[error("the key is not that of the certificate")]
    OtherKey,
    /// The signing certificate is none of ours.
    #[error("the signing certificate cannot be used")]
    Malformed(#[from] Malformed),
    /// The library fails.
    #[error("the certificate cannot be made: {0}")]
    Library(String),
}

impl Request {
    /// Asks for a certificate for this key, as PEM. What it shall say is the issuer's decision.
    ///
    /// # Errors
    /// The library fails.
    pub fn pem(key: &Key) -> Result<String, IssueError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let request = params.serialize_request(key.pair()).map_err(library)?;
        request.pem().map_err(library)
    }

    /// Reads one, and verifies that its own key signed it.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn from_pem(pem: &str) -> Result<Request, RequestError> {
        CertificateSigningRequestParams::from_pem(pem).map(Request).map_err(|_| RequestError)
    }

    /// The public key, as a certificate has it.
    pub fn public(&self) -> Vec<u8> {
        self.0.public_key.subject_public_key_info()
    }
}

impl Issuer {
    /// The root of a new trust domain.
    ///
    /// # Errors
    /// The library fails.
    pub fn root(domain: TrustDomain, key: Key, now: Timestamp) -> Result<Issuer, IssueError> {
        let below = u8::try_from(MAX_CHAIN - 1).unwrap_or(u8::MAX);
        let prefix = Prefix::Whole(domain);
        let params = signing_params(&prefix, &key.public(), below, (now, now.plus(ROOT)))?;
        let certificate = params.self_signed(key.pair()).map_err(library)?;
        Issuer::open(key, vec![certificate.der().clone()])
    }

    /// A signing certificate, those above it, and its key.
    ///
    /// # Errors
    /// [`IssueError::Malformed`], [`IssueError::OtherKey`].
    pub fn open(key: Key, chain: Vec<CertificateDer<'static>>) -> Result<Issuer, IssueError> {
        let own = chain.first().ok_or(Malformed::Syntax)?;
        let signing = Signing::read(own)?;
        let facts = standing(own)?;
        if facts.public != key.public() {
            return Err(IssueError::OtherKey);
        }
        Ok(Issuer { key, signing, below: facts.below, is_root: facts.is_root, chain })
    }

    /// What it may sign.
    pub fn prefix(&self) -> &Prefix {
        &self.signing.prefix
    }

    /// Is it the root of its trust domain?
    pub fn is_root(&self) -> bool {
        self.is_root
    }

    /// Its key.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Until when.
    pub fn not_after(&self) -> Timestamp {
        self.signing.not_after
    }

    /// Its certificate and those above it; the root only if it is the root itself.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// Gives a name to the key of the request: a leaf and those above it, without the root. It holds for
    /// `lifetime`, and no longer than the issuer.
    ///
    /// # Errors
    /// See [`IssueError`].
    pub fn name(
        &self,
        request: &Request,
        name: &Principal,
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<Vec<CertificateDer<'static>>, IssueError> {
        if !self.prefix().may_name(name) {
            return Err(self.not_extended(name.to_string()));
        }
        let mut params = params(self.lifetime(lifetime, now)?)?;
        // What X.509 tools show; what counts is the URI.
        params.distinguished_name.push(DnType::CommonName, shortened(name.as_str()));
        let uri = name.to_uri().try_into().map_err(library)?;
        params.subject_alt_names = vec![SanType::URI(uri)];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        self.sign(&params, request)
    }

    /// Lets the key of the request sign what extends `prefix`: a signing certificate and those above it,
    /// without the root.
    ///
    /// # Errors
    /// See [`IssueError`].
    pub fn delegate(
        &self,
        request: &Request,
        prefix: &Prefix,
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<Vec<CertificateDer<'static>>, IssueError> {
        if !self.prefix().may_delegate(prefix) {
            return Err(self.not_extended(prefix.to_string()));
        }
        let below = self.below.checked_sub(1);
        let below = below.ok_or_else(|| IssueError::TooDeep { prefix: self.prefix().clone() })?;
        let dates = self.lifetime(lifetime, now)?;
        self.sign(&signing_params(prefix, &request.public(), below, dates)?, request)
    }

    fn lifetime(
        &self,
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<(Timestamp, Timestamp), IssueError> {
        let (from, until) = (self.signing.not_before, self.signing.not_after);
        if now < from || now >= until {
            let prefix = self.prefix().clone();
            return Err(IssueError::NotValid { prefix, from, until, now });
        }
        Ok((now, now.plus(lifetime).min(until)))
    }

    fn sign(
        &self,
        params: &CertificateParams,
        request: &Request,
    ) -> Result<Vec<CertificateDer<'static>>, IssueError> {
        let own = self.chain.first().ok_or(Malformed::Syntax)?;
        let issuer = rcgen::Issuer::from_ca_cert_der(own, self.key.pair()).map_err(library)?;
        let signed = params.signed_by(&request.0.public_key, &issuer).map_err(library)?;
        let above = if self.is_root { &[][..] } else { &self.chain[..] };
        Ok([signed.der().clone()].into_iter().chain(above.iter().cloned()).collect())
    }

    fn not_extended(&self, wanted: String) -> IssueError {
        IssueError::NotExtended { prefix: self.prefix().clone(), wanted }
    }
}

fn signing_params(
    prefix: &Prefix,
    public: &[u8],
    below: u8,
    dates: (Timestamp, Timestamp),
) -> Result<CertificateParams, IssueError> {
    let mut params = params(dates)?;
    // Whoever looks for an issuer looks for this name: it has the key in it, so that two keys of one
    // principal are told apart without trying both.
    let digest = model::Digest::of(public).to_string();
    let key = digest.trim_start_matches("sha256:").chars().take(16).collect::<String>();
    let name = format!("{} {key}", shortened(&prefix.to_string()));
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(below));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let text = Utf8String::new(&prefix.to_string()).to_der_vec().map_err(library)?;
    params.custom_extensions = vec![CustomExtension::from_oid_content(&PREFIX_OID, text)];
    Ok(params)
}

fn params((from, until): (Timestamp, Timestamp)) -> Result<CertificateParams, IssueError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.use_authority_key_identifier_extension = true;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Other(USAGE_OID.to_vec())];
    let at = |time: Timestamp| {
        OffsetDateTime::from_unix_timestamp(time.as_millis().div_euclid(1000)).map_err(library)
    };
    // A clock that is a little behind shall not refuse what was given a moment ago.
    params.not_before = at(from)? - SKEW;
    params.not_after = at(until)?;
    Ok(params)
}

/// X.520 gives a common name 64 characters; the key's 17 go to it too.
fn shortened(name: &str) -> String {
    match name.len() {
        ..=40 => name.to_owned(),
        // Names are ASCII.
        length => format!("…{}", &name[length - 39..]),
    }
}

fn library(error: impl std::fmt::Display) -> IssueError {
    IssueError::Library(error.to_string())
}

/// How long a leaf holds if nobody says otherwise.
pub const LEAF: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long a signing certificate holds if nobody says otherwise.
pub const SIGNING: Duration = Duration::from_secs(365 * 24 * 3600);
/// How long the root of a trust domain holds.
pub const ROOT: Duration = Duration::from_secs(3650 * 24 * 3600);
/// How much before it was made a certificate holds.
const SKEW: Duration = Duration::from_secs(5 * 60);
