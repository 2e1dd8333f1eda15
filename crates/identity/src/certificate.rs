//! What a certificate says. Owns our extension and our key usage; refuses to trust: whether what it says is
//! so, `verify` finds out.
//!
//! Both numbers lie below one OID of the 2.25 arc, which needs no registration (X.667). The extension is not
//! critical, since webpki refuses every critical extension that it does not know. That nobody else takes a
//! signing certificate of ours for an ordinary authority is what the key usage is for: it is the only one
//! that they have, and it passes on to what they sign, so that verifiers that want `serverAuth` or
//! `clientAuth` refuse the chain.

use model::Timestamp;
use model::identity::{InvalidPrincipal, MAX_CHAIN, Prefix, Principal};
use x509_parser::asn1_rs::{FromDer as _, Utf8String};
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::X509Certificate;

/// A leaf: who authenticates with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// Whose it is.
    pub principal: Principal,
    /// From when on it holds.
    pub not_before: Timestamp,
    /// Until when it holds.
    pub not_after: Timestamp,
    /// Its number, as hexadecimal digits: what a deny list names.
    pub serial: String,
}

/// A signing certificate: what may be signed with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signing {
    /// What the names that it gives begin with.
    pub prefix: Prefix,
    /// From when on it holds.
    pub not_before: Timestamp,
    /// Until when it holds.
    pub not_after: Timestamp,
    /// Its number, as hexadecimal digits.
    pub serial: String,
}

/// Why a certificate says nothing to us.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// No X.509 certificate in DER.
    #[error("it is no X.509 certificate")]
    Syntax,
    /// A leaf with none or several URIs, or with other names beside it.
    #[error("it has {0} names where exactly one, a SPIFFE ID, is wanted")]
    Names(usize),
    /// Its name is none.
    #[error("its name is none")]
    Name(#[from] InvalidPrincipal),
    /// A leaf that may sign.
    #[error("it may sign others, and whoever signs does not authenticate")]
    Authority,
    /// A signing certificate that may not.
    #[error("it may not sign others")]
    NoAuthority,
    /// A signing certificate that has a name of its own.
    #[error("it may sign others, and has a name that could authenticate")]
    NamedAuthority,
    /// A signing certificate without our extension.
    #[error("it does not state which names it may sign")]
    NoPrefix,
    /// A root that is not that of a whole trust domain.
    #[error("it is no root of a trust domain")]
    NoRoot,
    /// Our extension holds something else.
    #[error("what it states about the names that it may sign cannot be read")]
    Prefix,
}

impl Leaf {
    /// Reads one.
    ///
    /// # Errors
    /// See [`Malformed`].
    pub fn read(der: &[u8]) -> Result<Leaf, Malformed> {
        let certificate = parse(der)?;
        if certificate.is_ca() {
            return Err(Malformed::Authority);
        }
        let names = names(&certificate)?;
        let [GeneralName::URI(uri)] = names[..] else { return Err(Malformed::Names(names.len())) };
        let (not_before, not_after) = dates(&certificate);
        let principal = Principal::from_uri(uri)?;
        Ok(Leaf { principal, not_before, not_after, serial: serial(&certificate) })
    }
}

impl Signing {
    /// Reads one.
    ///
    /// # Errors
    /// See [`Malformed`].
    pub fn read(der: &[u8]) -> Result<Signing, Malformed> {
        let certificate = parse(der)?;
        if !certificate.is_ca() {
            return Err(Malformed::NoAuthority);
        }
        if !names(&certificate)?.is_empty() {
            return Err(Malformed::NamedAuthority);
        }
        let (not_before, not_after) = dates(&certificate);
        let prefix = prefix(&certificate)?;
        Ok(Signing { prefix, not_before, not_after, serial: serial(&certificate) })
    }
}

/// Its public key.
pub(crate) fn public_key(der: &[u8]) -> Result<Vec<u8>, Malformed> {
    Ok(parse(der)?.public_key().raw.to_vec())
}

/// What its issuer needs to know of a signing certificate.
pub(crate) struct Standing {
    /// Its public key.
    pub(crate) public: Vec<u8>,
    /// How many signing certificates may stand below it.
    pub(crate) below: u8,
    /// Did it sign itself?
    pub(crate) is_root: bool,
}

/// Reads that. A certificate without a limit has the one of ours.
pub(crate) fn standing(der: &[u8]) -> Result<Standing, Malformed> {
    let certificate = parse(der)?;
    let limits = certificate.basic_constraints().map_err(|_| Malformed::Syntax)?;
    let stated = limits.and_then(|limits| limits.value.path_len_constraint);
    let most = u32::try_from(MAX_CHAIN - 1).unwrap_or(u32::MAX);
    Ok(Standing {
        public: certificate.public_key().raw.to_vec(),
        below: u8::try_from(stated.unwrap_or(most).min(most)).unwrap_or(u8::MAX),
        is_root: certificate.issuer() == certificate.subject(),
    })
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, Malformed> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(Malformed::Syntax),
    }
}

fn names<'a>(certificate: &'a X509Certificate<'a>) -> Result<Vec<&'a GeneralName<'a>>, Malformed> {
    let names = certificate.subject_alternative_name().map_err(|_| Malformed::Syntax)?;
    Ok(names.map(|names| names.value.general_names.iter().collect()).unwrap_or_default())
}

fn prefix(certificate: &X509Certificate<'_>) -> Result<Prefix, Malformed> {
    let mut stated = certificate.extensions().iter().filter(|extension| {
        extension.oid.iter().is_some_and(|oid| oid.eq(PREFIX_OID.iter().copied()))
    });
    let extension = stated.next().ok_or(Malformed::NoPrefix)?;
    if stated.next().is_some()
        || !matches!(extension.parsed_extension(), ParsedExtension::UnsupportedExtension { .. })
    {
        return Err(Malformed::Prefix);
    }
    match Utf8String::from_der(extension.value) {
        Ok(([], text)) => Ok(text.as_ref().parse()?),
        _ => Err(Malformed::Prefix),
    }
}

fn dates(certificate: &X509Certificate<'_>) -> (Timestamp, Timestamp) {
    let validity = certificate.validity();
    let at = |seconds: i64| Timestamp::from_millis(seconds.saturating_mul(1000));
    (at(validity.not_before.timestamp()), at(validity.not_after.timestamp()))
}

fn serial(certificate: &X509Certificate<'_>) -> String {
    certificate.raw_serial().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Our arc: 2.25 and a number drawn once.
const ARC: [u64; 3] = [2, 25, 4_871_365_920_773_041_657];
/// The extension of signing certificates: a UTF8String, the text of a [`Prefix`].
pub(crate) const PREFIX_OID: [u64; 4] = [ARC[0], ARC[1], ARC[2], 1];
/// The extended key usage of all our certificates: authenticating to, and being vouched for in, fettle.
pub(crate) const USAGE_OID: [u64; 4] = [ARC[0], ARC[1], ARC[2], 2];
/// [`USAGE_OID`] as DER has it, without tag and length: what webpki compares.
pub(crate) const USAGE_DER: &[u8] =
    &[0x69, 0xc3, 0xcd, 0xa4, 0xaf, 0xec, 0xf4, 0xfb, 0xdb, 0x79, 0x02];
