//! Handshakes over real connections: who gets through, who does not, and what each side learns.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use identity::tls::{self, Credentials};
use identity::{Home, Identity, Issuer, Key, Roots, to_pem};
use model::Timestamp;
use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, HandshakeKind, ServerConfig,
    ServerConnection, SignatureScheme,
};

use crate::home::{at, founded, wish};
use crate::world::*;

/// Some principals of `acme`, and one who gave itself the same name elsewhere.
struct People {
    dir: tempfile::TempDir,
    admin: Home,
}

impl People {
    fn new() -> People {
        let dir = tempfile::tempdir().unwrap();
        let admin = founded(&dir.path().join("admin"));
        People { dir, admin }
    }

    fn named(&self, name: &str) -> Home {
        let home = at(&self.dir.path().join(name.replace('/', "-")));
        let request = home.request(false).unwrap();
        let answer = self.admin.extend(&request, &wish(name, false), *NOW).unwrap();
        home.accept(&answer, *NOW).unwrap();
        home
    }
}

fn identity(home: &Home) -> Identity {
    home.identity(*NOW).unwrap().unwrap()
}

fn credentials(home: &Home) -> Arc<Credentials> {
    Credentials::new(&identity(home), home.roots().unwrap()).unwrap()
}

/// Answers one connection: what it read, or why not; and whom.
struct Server {
    address: SocketAddr,
    thread: JoinHandle<Result<(String, String), String>>,
}

fn serve(credentials: &Arc<Credentials>) -> Server {
    serve_with(tls::server(credentials).unwrap(), credentials.clone())
}

fn serve_with(config: ServerConfig, credentials: Arc<Credentials>) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut connection = ServerConnection::new(Arc::new(config)).unwrap();
        let mut tls = rustls::Stream::new(&mut connection, &mut stream);
        let mut said = [0; 4];
        tls.read_exact(&mut said).map_err(|error| why(&error))?;
        tls.write_all(b"pong").map_err(|error| why(&error))?;
        tls.conn.send_close_notify();
        let _ = tls.flush();
        let who = tls::peer(&credentials, connection.peer_certificates(), *NOW);
        let who = who.map_err(|error| error.to_string())?;
        Ok((who.leaf.principal.to_string(), String::from_utf8_lossy(&said).into_owned()))
    });
    Server { address, thread }
}

/// Says `ping`: the kind of the handshake, or why not.
fn call(address: SocketAddr, config: ClientConfig) -> Result<HandshakeKind, String> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut tls = rustls::Stream::new(&mut connection, &mut stream);
    tls.write_all(b"ping").map_err(|error| why(&error))?;
    let mut said = [0; 4];
    tls.read_exact(&mut said).map_err(|error| why(&error))?;
    assert_eq!(&said, b"pong");
    Ok(connection.handshake_kind().unwrap())
}

/// Our reason, or the library's.
fn why(error: &std::io::Error) -> String {
    tls::reason(error).map_or_else(|| error.to_string(), ToString::to_string)
}

/// Calls `acme/server` there.
fn calling(home: &Home) -> ClientConfig {
    tls::client(&credentials(home), "acme/server".parse().unwrap()).unwrap()
}

fn heard(server: Server) -> Result<(String, String), String> {
    server.thread.join().unwrap()
}

#[test]
fn each_side_learns_who_the_other_is_and_every_handshake_is_a_whole_one() {
    let people = People::new();
    let (server, alice) = (people.named("acme/server"), people.named("acme/alice"));
    let config = calling(&alice);
    for _ in 0..2 {
        let listening = serve(&credentials(&server));
        // The same configuration: a session could be resumed, and is not.
        assert_eq!(call(listening.address, config.clone()), Ok(HandshakeKind::Full));
        assert_eq!(heard(listening), Ok(("acme/alice".to_owned(), "ping".to_owned())));
    }
}

#[test]
fn a_man_in_the_middle_with_a_good_name_of_its_own_is_not_who_was_called() {
    let people = People::new();
    let (eve, alice) = (people.named("acme/eve"), people.named("acme/alice"));
    let listening = serve(&credentials(&eve));
    let refused = call(listening.address, calling(&alice)).unwrap_err();
    assert!(refused.contains("`acme/eve`") && refused.contains("`acme/server`"), "{refused}");
    assert!(heard(listening).is_err(), "it heard nothing of what was to be said");
}

#[test]
fn an_impostor_of_the_same_name_is_a_stranger_on_either_side() {
    let (people, elsewhere) = (People::new(), People::new());
    let (server, alice) = (people.named("acme/server"), people.named("acme/alice"));
    let (false_server, false_alice) =
        (elsewhere.named("acme/server"), elsewhere.named("acme/alice"));
    let listening = serve(&credentials(&false_server));
    let refused = call(listening.address, calling(&alice)).unwrap_err();
    assert!(refused.contains("none of the trusted roots"), "{refused}");
    assert!(heard(listening).is_err());
    // Who is no stranger to itself trusts the right server too, and is refused all the same.
    let roots = fs::read_to_string(alice.dir().join("roots.pem")).unwrap();
    false_alice.trust_also(&roots).unwrap();
    let listening = serve(&credentials(&server));
    assert!(call(listening.address, calling(&false_alice)).is_err());
    let refused = heard(listening).unwrap_err();
    assert!(refused.contains("none of the trusted roots"), "{refused}");
}

#[test]
fn who_shows_nothing_or_a_stolen_leaf_does_not_get_through() {
    let people = People::new();
    let (server, alice) = (people.named("acme/server"), people.named("acme/alice"));
    let refused = |config: ClientConfig| {
        let listening = serve(&credentials(&server));
        let told = call(listening.address, config);
        (heard(listening).unwrap_err(), told.is_err())
    };
    let (why, told) = refused(attacker().with_no_client_auth());
    assert!(why.contains("sent no certificates") && told, "{why}");
    // Everything of alice but her key.
    let stolen = |key: Key| {
        let key = rustls::crypto::aws_lc_rs::sign::any_ecdsa_type(&key.to_tls()).unwrap();
        Shows(Arc::new(CertifiedKey::new(identity(&alice).chain, key)))
    };
    let thief = stolen(Key::generate().unwrap());
    let (why, told) = refused(attacker().with_client_cert_resolver(Arc::new(thief)));
    assert!(why.contains("BadSignature") && told, "{why}");
    // With her key it is she, as far as anybody can tell: the attacker's side of this test works.
    let herself = stolen(identity(&alice).key);
    let listening = serve(&credentials(&server));
    let config = attacker().with_client_cert_resolver(Arc::new(herself));
    assert!(call(listening.address, config).is_ok());
    assert_eq!(heard(listening).unwrap().0, "acme/alice");
}

#[test]
fn what_has_expired_and_what_holds_only_in_a_year_is_refused_on_either_side() {
    let real = Timestamp::from(std::time::SystemTime::now());
    for (made, says) in [(-400, "expired"), (365, "holds from")] {
        let then = Timestamp::from_millis(real.as_millis() + made * 86_400_000);
        let root = Issuer::root("acme".parse().unwrap(), Key::generate().unwrap(), then).unwrap();
        let of = |name: &str, when: Timestamp| {
            let key = Key::generate().unwrap();
            let chain = root.name(&request(&key), &name.parse().unwrap(), DAY, when).unwrap();
            let roots = Roots::new(root.chain().to_vec()).unwrap();
            let who = identity::verify(&roots, &chain[0], &[], when).unwrap();
            Credentials::new(&Identity { key, chain, who }, roots).unwrap()
        };
        let (server, alice) = (of("acme/server", then), of("acme/alice", then));
        // The caller looks first, and so says it; one that does not look is refused by the other side.
        let listening = serve(&server);
        let config = tls::client(&alice, "acme/server".parse().unwrap()).unwrap();
        let refused = call(listening.address, config).unwrap_err();
        assert!(refused.contains(says), "{refused}");
        assert!(heard(listening).is_err());
        let listening = serve(&server);
        let shows = Shows(alice.certified());
        assert!(
            call(listening.address, attacker().with_client_cert_resolver(Arc::new(shows))).is_err()
        );
        let refused = heard(listening).unwrap_err();
        assert!(refused.contains(says), "{refused}");
    }
}

#[test]
fn keys_and_roots_are_replaced_between_two_handshakes() {
    let (people, elsewhere) = (People::new(), People::new());
    let (server, alice) = (people.named("acme/server"), people.named("acme/alice"));
    let stranger = elsewhere.named("acme/bob");
    let roots = fs::read_to_string(server.dir().join("roots.pem")).unwrap();
    stranger.trust_also(&roots).unwrap();
    let shown = credentials(&server);
    let config = tls::server(&shown).unwrap();
    let listening = serve_with(config.clone(), shown.clone());
    assert!(call(listening.address, calling(&stranger)).is_err());
    assert!(heard(listening).is_err());
    // The server learns the other root and takes a new key; its configuration stays.
    let before = identity(&server).key.public();
    let others = fs::read_to_string(elsewhere.admin.dir().join("roots.pem")).unwrap();
    server.trust_also(&others).unwrap();
    let renewed = server.request(false).unwrap();
    let answer = people.admin.extend(&renewed, &wish("acme/server", false), *NOW).unwrap();
    server.accept(&answer, *NOW).unwrap();
    assert_ne!(identity(&server).key.public(), before);
    shown.replace(&identity(&server), server.roots().unwrap()).unwrap();
    for caller in [&stranger, &alice] {
        let listening = serve_with(config.clone(), shown.clone());
        assert!(call(listening.address, calling(caller)).is_ok());
        assert!(heard(listening).is_ok());
    }
}

#[test]
fn a_conversation_that_was_recorded_opens_nothing_when_it_is_played_again() {
    let people = People::new();
    let (server, alice) = (people.named("acme/server"), people.named("acme/alice"));
    let listening = serve(&credentials(&server));
    let (address, recorded) = recording(listening.address);
    assert!(call(address, calling(&alice)).is_ok());
    assert!(heard(listening).is_ok());
    let said = recorded.join().unwrap();
    assert!(said.len() > 500, "a hello, a chain, a signature: {} bytes", said.len());
    let listening = serve(&credentials(&server));
    let mut stream = TcpStream::connect(listening.address).unwrap();
    // The server may have hung up before the end of it.
    let _ = stream.write_all(&said);
    assert!(heard(listening).is_err());
}

/// Passes one connection on to `to`; what its caller said comes back at the end.
fn recording(to: SocketAddr) -> (SocketAddr, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        let (mut caller, _) = listener.accept().unwrap();
        let mut server = TcpStream::connect(to).unwrap();
        let (mut back, mut answers) = (caller.try_clone().unwrap(), server.try_clone().unwrap());
        let answering = std::thread::spawn(move || std::io::copy(&mut answers, &mut back));
        let (mut said, mut piece) = (Vec::new(), [0; 4096]);
        while let Ok(count @ 1..) = caller.read(&mut piece) {
            said.extend_from_slice(&piece[..count]);
            if server.write_all(&piece[..count]).is_err() {
                break;
            }
        }
        drop(answering);
        said
    });
    (address, thread)
}

#[test]
fn another_tool_gets_through_with_tls_1_3_and_a_name_and_with_nothing_less() {
    let people = People::new();
    let (server, alice) = (people.named("acme/server"), people.named("acme/alice"));
    let dir = tempfile::tempdir().unwrap();
    let own = identity(&alice);
    fs::write(dir.path().join("key"), own.key.to_pem()).unwrap();
    fs::write(dir.path().join("leaf"), to_pem(&own.chain[..1])).unwrap();
    fs::write(dir.path().join("above"), to_pem(&own.chain[1..])).unwrap();
    let named = ["-cert", "leaf", "-key", "key", "-cert_chain", "above"];
    let talk = |words: &[&str]| {
        let listening = serve(&credentials(&server));
        let said = s_client(dir.path(), listening.address, words);
        (said, heard(listening))
    };
    let (said, heard) = talk(&named);
    assert!(said.contains("pong"), "{said}");
    assert_eq!(heard, Ok(("acme/alice".to_owned(), "ping".to_owned())));
    let (said, heard) = talk(&[&named[..], &["-tls1_2"]].concat());
    assert!(!said.contains("pong") && heard.is_err(), "{said}");
    let (said, heard) = talk(&[]);
    assert!(!said.contains("pong") && heard.is_err(), "{said}");
}

fn s_client(dir: &Path, address: SocketAddr, words: &[&str]) -> String {
    let mut child = Command::new("openssl")
        .args(["s_client", "-connect", &address.to_string(), "-quiet", "-no_ign_eof"])
        .args(words)
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // One that was refused is not there any more.
    let _ = stdin.write_all(b"ping");
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    drop(stdin);
    child.wait().unwrap();
    said
}

/// Believes everything, and shows what it is told to show.
fn attacker() -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Gullible))
}

#[derive(Debug)]
struct Gullible;

impl ServerCertVerifier for Gullible {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

#[derive(Debug)]
struct Shows(Arc<CertifiedKey>);

impl ResolvesClientCert for Shows {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

const PATIENCE: Duration = Duration::from_secs(60);
