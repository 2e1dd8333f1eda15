//! A trust domain, made in a moment.

use identity::{Issuer, Key, LEAF, Request, Roots, SIGNING, Untrusted, Verified, verify};
use std::sync::LazyLock;
use std::time::SystemTime;

use model::Timestamp;
use rustls::pki_types::CertificateDer;

pub(crate) type Chain = Vec<CertificateDer<'static>>;

/// A little after the clock, so that what openssl dates by it holds already, and so little that what holds from
/// five minutes before on holds for TLS, which goes by the clock.
pub(crate) static NOW: LazyLock<Timestamp> = LazyLock::new(|| {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    // Certificates know whole seconds.
    Timestamp::from_millis(i64::try_from(since.as_secs()).unwrap() * 1000 + 240_000)
});
pub(crate) const DAY: std::time::Duration = std::time::Duration::from_secs(24 * 3600);

pub(crate) fn root(domain: &str) -> Issuer {
    Issuer::root(domain.parse().unwrap(), Key::generate().unwrap(), *NOW).unwrap()
}

pub(crate) fn request(key: &Key) -> Request {
    Request::from_pem(&Request::pem(key).unwrap()).unwrap()
}

/// A leaf of this name, with those above it.
pub(crate) fn named(by: &Issuer, name: &str) -> Chain {
    let key = Key::generate().unwrap();
    by.name(&request(&key), &name.parse().unwrap(), LEAF, *NOW).unwrap()
}

/// Whoever may sign below this name.
pub(crate) fn delegate(by: &Issuer, prefix: &str) -> Issuer {
    let key = Key::generate().unwrap();
    let chain = by.delegate(&request(&key), &prefix.parse().unwrap(), SIGNING, *NOW).unwrap();
    Issuer::open(key, chain).unwrap()
}

pub(crate) fn trusting(roots: &[&Issuer]) -> Roots {
    Roots::new(roots.iter().map(|root| root.chain()[0].clone())).unwrap()
}

pub(crate) fn who(roots: &Roots, chain: &Chain, now: Timestamp) -> Result<Verified, Untrusted> {
    verify(roots, &chain[0], &chain[1..], now)
}

pub(crate) fn later(days: u32) -> Timestamp {
    NOW.plus(DAY * days)
}
