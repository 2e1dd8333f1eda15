//! Finding out who somebody is by a chain of certificates. Owns the verdict: webpki verifies signatures,
//! dates and usage, and for each path that it finds the one rule of ours must hold too. Refuses to know
//! what the principal may do.

use model::Timestamp;
use model::identity::{ChainFault, Prefix, TrustDomain, check_chain};
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use std::cell::RefCell;
use std::time::Duration;
use webpki::{EndEntityCert, KeyUsage, VerifiedPath, anchor_from_trusted_cert};

use crate::certificate::{Leaf, Malformed, Signing, USAGE_DER, standing};
use crate::tls::provider;

/// The roots that are trusted: those of one trust domain or of several, old and new.
#[derive(Debug, Clone, Default)]
pub struct Roots {
    roots: Vec<Root>,
}

#[derive(Debug, Clone)]
struct Root {
    der: CertificateDer<'static>,
    anchor: TrustAnchor<'static>,
    signing: Signing,
}

/// Who somebody is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The leaf.
    pub leaf: Leaf,
    /// Who extended whom: what each signing certificate may sign, the leaf's issuer first, the root last.
    pub signers: Vec<Prefix>,
    /// The numbers of all certificates but the root's, the leaf's first: what a deny list names.
    pub serials: Vec<String>,
    /// Until when all of them hold.
    pub not_after: Timestamp,
}

/// Why somebody is nobody to us.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Untrusted {
    /// There is no certificate.
    #[error("it shows no certificate")]
    Nothing,
    /// The leaf says nothing to us.
    #[error("its certificate says nothing to fettle")]
    Leaf(#[source] Malformed),
    /// One of those above it says nothing to us.
    #[error("one of the certificates above its own says nothing to fettle")]
    Signing(#[source] Malformed),
    /// Nobody trusted is above it.
    #[error("none of the trusted roots is above it")]
    UnknownRoot,
    /// Some certificate holds no more.
    #[error("a certificate expired at {at}, and the clock says {now}")]
    Expired {
        /// When.
        at: Timestamp,
        /// What the clock says.
        now: Timestamp,
    },
    /// Some certificate does not hold yet.
    #[error("a certificate holds from {from} on, and the clock says {now}")]
    NotYet {
        /// From when on.
        from: Timestamp,
        /// What the clock says.
        now: Timestamp,
    },
    /// Somebody gave a name that it may not give.
    #[error("somebody gave a name that it may not give")]
    Chain(#[from] ChainFault),
    /// A signature is wrong.
    #[error("a signature is wrong")]
    Signature,
    /// A certificate that is for something else than fettle.
    #[error("a certificate is not for fettle")]
    Usage,
    /// Whatever else X.509 forbids.
    #[error("the chain of certificates is refused: {0}")]
    Other(String),
}

impl Roots {
    /// Trusts these.
    ///
    /// # Errors
    /// One of them is no root of a trust domain.
    pub fn new(
        roots: impl IntoIterator<Item = CertificateDer<'static>>,
    ) -> Result<Roots, Malformed> {
        let mut all = Roots::default();
        for der in roots {
            let signing = Signing::read(&der)?;
            if matches!(signing.prefix, Prefix::Below(_)) {
                return Err(Malformed::NoRoot);
            }
            let anchor = anchor_from_trusted_cert(&der).map_err(|_| Malformed::Syntax)?.to_owned();
            if !all.roots.iter().any(|known| known.der == der) {
                all.roots.push(Root { der, anchor, signing });
            }
        }
        Ok(all)
    }

    /// Those among these certificates that are roots.
    pub(crate) fn among(certificates: &[CertificateDer<'static>]) -> Roots {
        let is_root = |der: &&CertificateDer<'static>| {
            standing(der).is_ok_and(|standing| standing.is_root) && Signing::read(der).is_ok()
        };
        Roots::new(certificates.iter().filter(is_root).cloned()).unwrap_or_default()
    }

    /// Those of one trust domain.
    pub fn of_domain<'a>(
        &'a self,
        domain: &'a TrustDomain,
    ) -> impl Iterator<Item = &'a CertificateDer<'static>> {
        let its = |root: &&Root| root.signing.prefix.trust_domain() == *domain;
        self.roots.iter().filter(its).map(|root| &root.der)
    }

    /// Those of all others.
    pub(crate) fn without_domain<'a>(
        &'a self,
        domain: &'a TrustDomain,
    ) -> impl Iterator<Item = &'a CertificateDer<'static>> {
        let others = |root: &&Root| root.signing.prefix.trust_domain() != *domain;
        self.roots.iter().filter(others).map(|root| &root.der)
    }

    /// Their certificates.
    pub fn certificates(&self) -> impl Iterator<Item = &CertificateDer<'static>> {
        self.roots.iter().map(|root| &root.der)
    }

    /// Their certificates, whose roots they are, and until when they hold.
    pub fn all(&self) -> impl Iterator<Item = (&[u8], TrustDomain, Timestamp)> {
        self.roots.iter().map(|root| {
            let Signing { prefix, not_after, .. } = &root.signing;
            (root.der.as_ref(), prefix.trust_domain(), *not_after)
        })
    }

    /// Is nobody trusted?
    pub fn is_empty(&self) -> bool {
        self.roots.is_empty()
    }

    /// webpki knows a root by name and key alone, and several certificates may say the same of one key.
    fn of(&self, anchor: &TrustAnchor<'_>) -> impl Iterator<Item = &Root> {
        self.roots.iter().filter(|root| {
            root.anchor.subject == anchor.subject
                && root.anchor.subject_public_key_info == anchor.subject_public_key_info
        })
    }
}

/// Who has this leaf, by these certificates above it (in any order)?
///
/// # Errors
/// See [`Untrusted`].
pub fn verify(
    roots: &Roots,
    leaf: &CertificateDer<'_>,
    above: &[CertificateDer<'_>],
    now: Timestamp,
) -> Result<Verified, Untrusted> {
    let said = Leaf::read(leaf).map_err(Untrusted::Leaf)?;
    let anchors: Vec<TrustAnchor<'_>> =
        roots.roots.iter().map(|root| root.anchor.clone()).collect();
    let end = EndEntityCert::try_from(leaf).map_err(|error| refusal(&error, now))?;
    // webpki asks for every path that it finds; the last refusal of ours says more than its "unknown issuer".
    let (verified, refused) = (RefCell::new(None), RefCell::new(None));
    let judge = |path: &VerifiedPath<'_>| match judge_path(roots, &said, path, now) {
        Ok(who) => {
            verified.replace(Some(who));
            Ok(())
        }
        Err(why) => {
            refused.replace(Some(why));
            Err(webpki::Error::UnknownIssuer)
        }
    };
    let outcome = end.verify_for_usage(
        provider().signature_verification_algorithms.all,
        &anchors,
        above,
        UnixTime::since_unix_epoch(since_epoch(now)),
        KeyUsage::required(USAGE_DER),
        None,
        Some(&judge),
    );
    match (outcome.err(), verified.into_inner(), refused.into_inner()) {
        (None, Some(who), _) => Ok(who),
        (_, _, Some(why)) => Err(why),
        (Some(error), ..) => Err(refusal(&error, now)),
        (None, None, None) => Err(Untrusted::UnknownRoot),
    }
}

/// The rule of ours, for one path whose signatures and dates hold: by any of the certificates of its root.
fn judge_path(
    roots: &Roots,
    leaf: &Leaf,
    path: &VerifiedPath<'_>,
    now: Timestamp,
) -> Result<Verified, Untrusted> {
    let mut signings = Vec::new();
    for certificate in path.intermediate_certificates() {
        signings.push(Signing::read(&certificate.der()).map_err(Untrusted::Signing)?);
    }
    let mut why = Untrusted::UnknownRoot;
    for root in roots.of(path.anchor()) {
        match judge(leaf, &signings, &root.signing, now) {
            Ok(who) => return Ok(who),
            Err(refused) => why = refused,
        }
    }
    Err(why)
}

fn judge(
    leaf: &Leaf,
    signings: &[Signing],
    root: &Signing,
    now: Timestamp,
) -> Result<Verified, Untrusted> {
    // webpki takes a root as it is, also an old one.
    check_dates(root, now)?;
    let all = || signings.iter().chain([root]);
    let signers: Vec<Prefix> = all().map(|signing| signing.prefix.clone()).collect();
    check_chain(&leaf.principal, &signers)?;
    let not_after = all().map(|signing| signing.not_after).fold(leaf.not_after, Timestamp::min);
    let serials = signings.iter().map(|signing| signing.serial.clone());
    let serials = [leaf.serial.clone()].into_iter().chain(serials).collect();
    Ok(Verified { leaf: leaf.clone(), signers, serials, not_after })
}

fn check_dates(signing: &Signing, now: Timestamp) -> Result<(), Untrusted> {
    if now < signing.not_before {
        return Err(Untrusted::NotYet { from: signing.not_before, now });
    }
    if now > signing.not_after {
        return Err(Untrusted::Expired { at: signing.not_after, now });
    }
    Ok(())
}

fn refusal(error: &webpki::Error, now: Timestamp) -> Untrusted {
    use webpki::Error;
    let at = |time: &UnixTime| {
        Timestamp::from_millis(
            i64::try_from(time.as_secs()).unwrap_or(i64::MAX).saturating_mul(1000),
        )
    };
    match error {
        Error::CertExpired { not_after, .. } => Untrusted::Expired { at: at(not_after), now },
        Error::CertNotValidYet { not_before, .. } => {
            Untrusted::NotYet { from: at(not_before), now }
        }
        Error::UnknownIssuer => Untrusted::UnknownRoot,
        Error::InvalidSignatureForPublicKey => Untrusted::Signature,
        Error::RequiredEkuNotFoundContext(_) => Untrusted::Usage,
        other => Untrusted::Other(format!("{other:?}")),
    }
}

/// A clock before 1970 is as wrong as one at 1970.
fn since_epoch(now: Timestamp) -> Duration {
    Duration::from_millis(u64::try_from(now.as_millis()).unwrap_or(0))
}
