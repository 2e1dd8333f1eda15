//! Certificates, and texts that hold several things in PEM.

use std::sync::LazyLock;
use std::time::Duration;

use identity::{Bundle, Leaf, Request, Roots, Signing, to_pem, verify};
use model::Timestamp;
use model::identity::{Prefix, Principal};

/// The root of `acme`, which named `acme/alice` and let it name others: the chain in `seeds/identity/chain`.
static CHAIN: LazyLock<Bundle> = LazyLock::new(|| {
    Bundle::parse(include_str!("../seeds/identity/chain")).expect("the chain is a seed")
});

static ROOTS: LazyLock<(Roots, Timestamp)> = LazyLock::new(|| {
    let root = CHAIN.certificates.last().expect("the root comes last").clone();
    let made = Signing::read(&root).expect("a root").not_before;
    (Roots::new([root]).expect("a root"), made.plus(Duration::from_secs(3600)))
});

/// Reads `data` as a certificate, and as a text.
pub fn identity(data: &[u8]) {
    certificate(data);
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(bundle) = Bundle::parse(text) {
        let again = Bundle::parse(&to_pem(&bundle.certificates)).expect("what was cut can be cut");
        assert_eq!(again.certificates, bundle.certificates);
        bundle.certificates.iter().for_each(|der| certificate(der));
        for request in &bundle.requests {
            let _ = Request::from_pem(request);
        }
        believed(&bundle);
    }
}

fn certificate(der: &[u8]) {
    let (leaf, signing) = (Leaf::read(der), Signing::read(der));
    assert!(leaf.is_err() || signing.is_err(), "whoever signs does not authenticate");
    if let Ok(leaf) = &leaf {
        let name = &leaf.principal;
        assert_eq!(Principal::from_uri(&name.to_uri()).as_ref(), Ok(name));
        assert!(name.as_str().split('/').all(|part| !matches!(part, "" | "." | "..")));
    }
    if let Ok(signing) = &signing {
        assert_eq!(signing.prefix.to_string().parse::<Prefix>().as_ref(), Ok(&signing.prefix));
    }
    // With all that the real chain has above it.
    if let Ok(who) = verify(&ROOTS.0, &der.into(), &CHAIN.certificates, ROOTS.1) {
        nobody_else(&who.leaf.principal);
    }
}

/// Whoever is believed was named by a key that nobody here has.
fn believed(bundle: &Bundle) {
    for leaf in &bundle.certificates {
        if let Ok(who) = verify(&ROOTS.0, leaf, &bundle.certificates, ROOTS.1) {
            nobody_else(&who.leaf.principal);
        }
    }
}

fn nobody_else(name: &Principal) {
    assert!(matches!(name.as_str(), "acme/alice" | "acme/alice/laptop"), "{name}");
}
