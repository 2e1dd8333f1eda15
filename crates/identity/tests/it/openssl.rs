//! Certificates that our own code would never make, by another tool; and ours, as another tool sees them.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use identity::{Issuer, Key, LEAF, Leaf, Malformed, Request, Signing, Untrusted};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::world::*;

fn openssl(dir: &Path, words: &[&str]) -> Output {
    Command::new("openssl").args(words).current_dir(dir).output().expect("openssl is installed")
}

fn made(dir: &Path, words: &[&str]) {
    let output = openssl(dir, words);
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn pem(chain: &[CertificateDer<'_>]) -> String {
    let one = |der: &CertificateDer<'_>| {
        pkcs8::der::pem::encode_string("CERTIFICATE", pkcs8::LineEnding::LF, der).unwrap()
    };
    chain.iter().map(one).collect()
}

/// What openssl makes of these extensions, signed by `by`, with its key.
fn certificate(by: &Issuer, extensions: &str, days: u32) -> (Chain, Key) {
    let (own, key) = signed(by.key(), &by.chain()[..1], extensions, days);
    let above = if by.is_root() { &[][..] } else { by.chain() };
    (std::iter::once(own).chain(above.iter().cloned()).collect(), key)
}

/// The same, signed with any certificate: openssl does not ask whether it may.
fn signed(
    with: &Key,
    certificate: &[CertificateDer<'_>],
    extensions: &str,
    days: u32,
) -> (CertificateDer<'static>, Key) {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    fs::write(at.join("issuer.key"), with.to_pem()).unwrap();
    fs::write(at.join("issuer.pem"), pem(certificate)).unwrap();
    fs::write(at.join("extensions"), format!("[x]\n{extensions}\n")).unwrap();
    made(at, &["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "own.sec1"]);
    made(at, &["pkcs8", "-topk8", "-nocrypt", "-in", "own.sec1", "-out", "own.key"]);
    made(
        at,
        &["req", "-new", "-key", "own.key", "-subj", "/CN=made by openssl", "-out", "own.csr"],
    );
    let days = days.to_string();
    made(
        at,
        &[
            "x509",
            "-req",
            "-in",
            "own.csr",
            "-CA",
            "issuer.pem",
            "-CAkey",
            "issuer.key",
            "-CAcreateserial",
            "-days",
            &days,
            "-sha256",
            "-extfile",
            "extensions",
            "-extensions",
            "x",
            "-out",
            "own.pem",
        ],
    );
    let own = CertificateDer::from_pem_file(at.join("own.pem")).unwrap();
    let key = Key::from_pem(&fs::read_to_string(at.join("own.key")).unwrap(), None).unwrap();
    (own, key)
}

/// A leaf with these names and everything else as it should be.
pub(crate) fn leaf(by: &Issuer, names: &str, days: u32) -> Chain {
    certificate(by, &format!("subjectAltName={names}\nextendedKeyUsage={USAGE}"), days).0
}

/// A signing certificate that states this prefix, whatever `by` may sign.
pub(crate) fn signing(by: &Issuer, prefix: &str) -> Issuer {
    let extensions = format!("{CA}\nextendedKeyUsage={USAGE}\n{PREFIX}=ASN1:UTF8String:{prefix}");
    let (chain, key) = certificate(by, &extensions, 30);
    Issuer::open(key, chain).unwrap()
}

#[test]
fn a_leaf_of_another_tool_is_as_good_as_ours() {
    let acme = root("acme");
    let roots = trusting(&[&acme]);
    let found = who(&roots, &leaf(&acme, "URI:spiffe://acme/alice", 30), *NOW).unwrap();
    assert_eq!(found.leaf.principal.as_str(), "acme/alice");
    let below = signing(&acme, "acme/alice");
    assert!(who(&roots, &leaf(&below, "URI:spiffe://acme/alice/laptop", 30), *NOW).is_ok());
}

#[test]
fn a_leaf_has_one_name_and_it_is_one() {
    let acme = root("acme");
    let roots = trusting(&[&acme]);
    for (names, count) in [
        ("URI:spiffe://acme/alice,URI:spiffe://acme/admin", 2),
        ("URI:spiffe://acme/alice,DNS:acme.example", 2),
        ("DNS:acme.example", 1),
        ("email:alice@acme.example", 1),
    ] {
        let refused = who(&roots, &leaf(&acme, names, 30), *NOW);
        assert_eq!(refused, Err(Untrusted::Leaf(Malformed::Names(count))), "{names}");
    }
    let (none, _) = certificate(&acme, &format!("extendedKeyUsage={USAGE}"), 30);
    assert_eq!(who(&roots, &none, *NOW), Err(Untrusted::Leaf(Malformed::Names(0))));
    for bad in [
        "spiffe://acme/../other/admin",
        "spiffe://acme/alice/..",
        "spiffe://acme//admin",
        "spiffe://acme/%2e%2e/admin",
        "spiffe://acme/alice%2f..%2fadmin",
        "spiffe://ACME/alice",
        "spiffe://acme",
        "spiffe://acme/",
        "spiffe://acme/alice?admin",
        "spiffe://alice@acme/x",
        "spiffe://acme:443/x",
        "https://acme/alice",
        "acme/alice",
    ] {
        let refused = who(&roots, &leaf(&acme, &format!("URI:{bad}"), 30), *NOW);
        assert!(matches!(refused, Err(Untrusted::Leaf(Malformed::Name(_)))), "{bad}: {refused:?}");
    }
}

#[test]
fn what_is_for_something_else_is_not_for_us() {
    let acme = root("acme");
    let roots = trusting(&[&acme]);
    let name = "subjectAltName=URI:spiffe://acme/alice";
    for usage in ["", "extendedKeyUsage=clientAuth,serverAuth", "extendedKeyUsage=codeSigning"] {
        let (chain, _) = certificate(&acme, &format!("{name}\n{usage}"), 30);
        assert_eq!(who(&roots, &chain, *NOW), Err(Untrusted::Usage), "{usage}");
    }
    // One above it that is for something else.
    let extensions = format!("{CA}\nextendedKeyUsage=clientAuth\n{PREFIX}=ASN1:UTF8String:acme/a");
    let (chain, key) = certificate(&acme, &extensions, 30);
    let by = Issuer::open(key, chain).unwrap();
    assert_eq!(who(&roots, &named(&by, "acme/a/b"), *NOW), Err(Untrusted::Usage));
}

#[test]
fn a_signing_certificate_states_what_it_may_sign_once_and_has_no_name() {
    let acme = root("acme");
    for (extensions, fault) in [
        (CA.to_owned(), Malformed::NoPrefix),
        (format!("{PREFIX}=ASN1:UTF8String:acme/a"), Malformed::NoAuthority),
        (format!("{CA}\n{PREFIX}=ASN1:PRINTABLESTRING:acme"), Malformed::Prefix),
        (format!("{CA}\n{PREFIX}=DER:0c0461636d"), Malformed::Prefix),
        (format!("{CA}\n{PREFIX}=DER:0c0461636d6500"), Malformed::Prefix),
        (
            format!("{CA}\nsubjectAltName=URI:spiffe://acme/a\n{PREFIX}=ASN1:UTF8String:acme/a"),
            Malformed::NamedAuthority,
        ),
    ] {
        let (chain, _) = certificate(&acme, &extensions, 30);
        assert_eq!(Signing::read(&chain[0]), Err(fault), "{extensions}");
    }
    for bad in ["acme/../other", "acme//a", "ACME", "acme/a/"] {
        let extensions = format!("{CA}\n{PREFIX}=ASN1:UTF8String:{bad}");
        let (chain, _) = certificate(&acme, &extensions, 30);
        assert!(matches!(Signing::read(&chain[0]), Err(Malformed::Name(_))), "{bad}");
    }
    // A leaf that says that it may sign.
    let both = format!("{CA}\nsubjectAltName=URI:spiffe://acme/a\nextendedKeyUsage={USAGE}");
    let (chain, _) = certificate(&acme, &both, 30);
    assert_eq!(Leaf::read(&chain[0]), Err(Malformed::Authority));
}

#[test]
fn a_leaf_that_signs_anyway_and_a_wrong_signature_are_refused() {
    let acme = root("acme");
    let roots = trusting(&[&acme]);
    let key = Key::generate().unwrap();
    let alice = acme.name(&request(&key), &"acme/alice".parse().unwrap(), LEAF, *NOW).unwrap();
    let extensions = format!("subjectAltName=URI:spiffe://acme/alice/x\nextendedKeyUsage={USAGE}");
    let (own, _) = signed(&key, &alice[..1], &extensions, 9);
    let chain: Chain = [own].into_iter().chain(alice.clone()).collect();
    assert!(who(&roots, &chain, *NOW).is_err());
    let mut broken = alice[0].to_vec();
    *broken.last_mut().unwrap() ^= 1;
    let refused = who(&roots, &vec![broken.into()], *NOW);
    assert!(matches!(refused, Err(Untrusted::Signature | Untrusted::UnknownRoot)), "{refused:?}");
}

#[test]
fn other_tools_read_our_certificates_and_take_nobody_for_a_server_or_client_by_them() {
    let acme = root("acme");
    let alice = delegate(&acme, "acme/alice");
    let chain = named(&alice, "acme/alice/laptop");
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    fs::write(at.join("root.pem"), pem(acme.chain())).unwrap();
    fs::write(at.join("above.pem"), pem(&chain[1..])).unwrap();
    fs::write(at.join("leaf.pem"), pem(&chain[..1])).unwrap();
    let shown = openssl(at, &["x509", "-in", "leaf.pem", "-noout", "-text"]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    for said in ["URI:spiffe://acme/alice/laptop", "CN = acme/alice/laptop", "Digital Signature"] {
        assert!(shown.contains(said), "{said}: {shown}");
    }
    let verify = |purpose: &[&str]| {
        let at_time = (NOW.as_millis() / 1000).to_string();
        let words =
            ["verify", "-attime", &at_time, "-CAfile", "root.pem", "-untrusted", "above.pem"];
        let words: Vec<&str> = words.iter().chain(purpose).chain(&["leaf.pem"]).copied().collect();
        openssl(at, &words)
    };
    let plain = verify(&[]);
    assert!(plain.status.success(), "as X.509 it is right: {plain:?}");
    for purpose in ["sslclient", "sslserver"] {
        assert!(!verify(&["-purpose", purpose]).status.success(), "{purpose}");
    }
}

#[test]
fn openssl_reads_our_keys_and_we_read_its() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let key = Key::generate().unwrap();
    fs::write(at.join("sealed"), key.to_encrypted_pem("a b").unwrap()).unwrap();
    made(
        at,
        &[
            "pkey", "-in", "sealed", "-passin", "pass:a b", "-pubout", "-outform", "DER", "-out",
            "public",
        ],
    );
    assert_eq!(fs::read(at.join("public")).unwrap(), key.public());
    assert!(
        !openssl(at, &["pkey", "-in", "sealed", "-passin", "pass:x", "-noout"]).status.success()
    );
    fs::write(at.join("plain"), key.to_pem()).unwrap();
    for kind in [&["-scrypt"][..], &["-v2", "aes-256-cbc"]] {
        let words = ["pkcs8", "-topk8", "-in", "plain", "-passout", "pass:c", "-out", "theirs"];
        made(at, &words.iter().chain(kind).copied().collect::<Vec<_>>());
        let theirs = fs::read_to_string(at.join("theirs")).unwrap();
        assert_eq!(Key::from_pem(&theirs, Some("c")).unwrap().public(), key.public());
    }
    let request = Request::pem(&key).unwrap();
    fs::write(at.join("csr"), &request).unwrap();
    made(at, &["req", "-in", "csr", "-verify", "-noout"]);
    let mut forged = request.into_bytes();
    let middle = forged.len() - 60;
    forged[middle] = if forged[middle] == b'A' { b'B' } else { b'A' };
    assert!(Request::from_pem(&String::from_utf8(forged).unwrap()).is_err());
}

const CA: &str = "basicConstraints=critical,CA:true\nkeyUsage=keyCertSign";
/// The OIDs as the documentation has them, so that a change of the code shows.
const PREFIX: &str = "2.25.4871365920773041657.1";
const USAGE: &str = "2.25.4871365920773041657.2";
