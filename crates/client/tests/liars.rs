//! Servers that lie, break off, babble or fall silent: each gets a clear error, in bounded time and
//! memory, and nothing of it reaches the user's files.
#![allow(clippy::disallowed_methods, reason = "tests play the user, whose files are not synced")]
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod world;

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use client::transfer::{Source, TransferError, Upload, download, upload};
use client::{ClientError, Incoming, NoProgress, Progress, ProtocolFault};
use model::{Digest, MediaInfo, UploadId};
use wire::Code;
use wire::v1::UploadBody;
use world::{Told, answer, bytes, connect, liar, name, names_in, read_request};

/// What an honest server would say of an object with this content.
fn honest_fields(content: &[u8]) -> String {
    let digest = Digest::of(content);
    format!("content-type: text/plain\netag: \"{digest}\"\n")
}

async fn open(lie: Vec<u8>, from: u64, expect: Option<Digest>) -> Result<Incoming, ClientError> {
    let (address, _) = liar(move |_| lie.clone()).await;
    connect(&address).objects().open(&name("x"), from, expect.as_ref()).await
}

/// What is wrong with an answer, if that is what is wrong.
fn fault(error: ClientError) -> ProtocolFault {
    match error {
        ClientError::Protocol { source, .. } => source,
        other => panic!("{other}: {:?}", other.source().map(ToString::to_string)),
    }
}

#[tokio::test]
async fn a_body_that_ends_early_is_an_error_after_its_bytes() {
    let fields = honest_fields(b"0123456789") + "content-length: 10\n";
    let mut incoming = open(answer("200 OK", &fields, b"0123"), 0, None).await.unwrap();
    assert_eq!((incoming.size, incoming.from), (10, 0));
    assert_eq!(incoming.next_piece().await.unwrap().unwrap(), "0123");
    let error = incoming.next_piece().await.unwrap_err();
    assert!(matches!(error, ClientError::Interrupted { .. }), "{error:?}");
    assert_eq!(error.code(), Code::Unreachable);
}

#[tokio::test]
async fn another_entity_than_the_expected_is_refused() {
    let fields = honest_fields(b"other") + "content-length: 5\n";
    let lie = answer("200 OK", &fields, b"other");
    let error = open(lie, 0, Some(Digest::of(b"mine"))).await.unwrap_err();
    assert!(matches!(fault(error), ProtocolFault::OtherEntity { .. }));
    let honest = answer("412 Precondition Failed", "content-length: 0\n", b"");
    let error = open(honest, 0, Some(Digest::of(b"mine"))).await.unwrap_err();
    assert!(matches!(error, ClientError::OtherObject { .. }), "{error:?}");
}

#[tokio::test]
async fn a_range_that_was_not_asked_for_is_refused() {
    let fields = honest_fields(b"0123456789");
    for range in ["bytes 4-9/10", "bytes 5-8/10", "bytes 5-9/11", "bytes 5-9/*", "nonsense"] {
        let fields = format!("{fields}content-length: 5\ncontent-range: {range}\n");
        let error = open(answer("206 Partial Content", &fields, b"56789"), 5, None).await;
        let fault = fault(error.unwrap_err());
        assert!(matches!(fault, ProtocolFault::Header { field: "content-range" }), "{range}");
    }
    let whole = answer("200 OK", &(fields + "content-length: 10\n"), b"0123456789");
    let error = open(whole, 5, None).await.unwrap_err();
    assert!(matches!(fault(error), ProtocolFault::Status { .. }));
}

#[tokio::test]
async fn an_object_without_digest_type_or_length_is_refused() {
    let whole = honest_fields(b"0") + "content-length: 1\n";
    for missing in ["etag", "content-type", "content-length"] {
        let fields: Vec<&str> = whole.lines().filter(|line| !line.starts_with(missing)).collect();
        let lie = answer("200 OK", &(fields.join("\n") + "\n"), b"0");
        match fault(open(lie, 0, None).await.unwrap_err()) {
            ProtocolFault::Header { field } => assert_eq!(field, missing),
            other => panic!("{missing}: {other}"),
        }
    }
}

#[tokio::test]
async fn a_server_that_falls_silent_is_given_up() {
    let fields = honest_fields(b"0123456789") + "content-length: 10\n";
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        use tokio::io::AsyncWriteExt as _;
        let (mut near, _) = listener.accept().await.unwrap();
        read_request(&mut near).await.unwrap();
        near.write_all(&answer("200 OK", &fields, b"0123")).await.unwrap();
        std::future::pending::<()>().await;
    });
    let connection = connect(&address);
    let mut incoming = connection.objects().open(&name("x"), 0, None).await.unwrap();
    assert_eq!(incoming.next_piece().await.unwrap().unwrap(), "0123");
    tokio::time::pause(); // nothing but the clock is left to wait for: it jumps
    let error = incoming.next_piece().await.unwrap_err();
    assert!(matches!(error, ClientError::Stalled { .. }), "{error:?}");
}

#[tokio::test]
async fn endless_headers_and_endless_bodies_are_cut_off() {
    let (address, _) = liar(|_| {
        let header = format!("x: {}\r\n", "y".repeat(1000));
        ["HTTP/1.1 200 OK\r\n".to_owned(), header.repeat(20_000)].concat().into_bytes()
    })
    .await;
    let error = connect(&address).status().await.unwrap_err();
    assert!(matches!(error, ClientError::Interrupted { .. }), "{error:?}");

    let (address, _) = liar(|request| {
        let listing = request.contains("/v1/objects");
        let byte = if listing { b'x' } else { b' ' };
        answer("200 OK", "", &vec![byte; 20 * 1024 * 1024])
    })
    .await;
    let error = connect(&address).status().await.unwrap_err();
    assert!(matches!(fault(error), ProtocolFault::TooLarge { .. }));
    let mut lines = connect(&address).objects().list(None).await.unwrap();
    let error = lines.next_line().await.unwrap_err();
    assert!(matches!(fault(error), ProtocolFault::TooLarge { .. }));
}

#[tokio::test]
async fn what_is_no_answer_of_fettle_is_called_so() {
    for (lie, wanted) in [
        (answer("200 OK", "content-length: 2\n", b"[]"), "the body cannot be read"),
        (answer("200 OK", "content-length: 0\n", b""), "the body cannot be read"),
        (answer("404 Not Found", "content-length: 6\n", b"<html>"), "came without a reason"),
        (answer("302 Found", "location: /\ncontent-length: 0\n", b""), "means nothing here"),
    ] {
        let (address, asked) = liar(move |_| lie.clone()).await;
        let error = connect(&address).status().await.unwrap_err();
        let body = error.to_body();
        assert!(body.causes[0].contains(wanted), "{wanted}: {body:?}");
        assert_eq!((body.code, asked.load(Ordering::SeqCst)), (Code::Internal, 1));
        assert!(body.hint.is_some() && body.message.contains(&address));
    }
}

#[tokio::test]
async fn a_listing_that_breaks_off_is_never_a_shorter_listing() {
    let (address, _) =
        liar(|_| answer("200 OK", "transfer-encoding: chunked\n", b"2\r\n\"a\r\n")).await;
    let mut lines = connect(&address).objects().list(None).await.unwrap();
    let error = lines.next_line().await.unwrap_err();
    assert!(matches!(error, ClientError::Interrupted { .. }), "{error:?}");
    assert!(lines.next_line().await.unwrap().is_none());
}

#[tokio::test]
async fn a_refusal_is_passed_on_as_it_came() {
    let refusal =
        br#"{"type":"about:blank","title":"Conflict","status":409,"detail":"d","code":"busy",
        "message":"m","causes":["c"],"hint":"h","operation":null,"request":null}"#;
    let (address, _) = liar(|_| answer("409 Conflict", "", refusal)).await;
    let error = connect(&address).status().await.unwrap_err();
    let body = error.to_body();
    assert_eq!(
        (body.code, body.message.as_str(), body.hint.as_deref()),
        (Code::Busy, "m", Some("h"))
    );
    assert_eq!((error.to_string(), body.causes), ("m".to_owned(), vec!["c".to_owned()]));
}

#[tokio::test]
async fn nobody_there_is_said_with_the_reason_of_the_system_and_the_next_step() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let dir = tempfile::tempdir().unwrap();
    let socket = format!("unix://{}/node.sock", dir.path().display());
    for (address, reason) in [(address, "Connection refused"), (socket, "No such file")] {
        let body = connect(&address).status().await.unwrap_err().to_body();
        assert_eq!((body.code, body.causes.len()), (Code::Unreachable, 1));
        assert!(body.causes[0].starts_with(reason), "{body:?}");
        assert!(body.hint.unwrap().contains("fettle node"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_not_the_object_never_get_its_name() {
    let content = b"the object that was asked for";
    let stat = stat_body(content);
    let fields = honest_fields(content) + &format!("content-length: {}\n", content.len());
    let (address, _) = liar(move |request| match request.starts_with("get /v1/object-stat/") {
        true => answer("200 OK", "", stat.as_bytes()),
        false => answer("200 OK", &fields, b"THE OBJECT THAT WAS ASKED FOR"),
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("x");
    std::fs::write(&to, b"old").unwrap();
    let progress: Arc<dyn Progress> = Arc::new(NoProgress);
    let error = download(&connect(&address), &name("x"), &to, &progress).await.unwrap_err();
    assert!(matches!(error, TransferError::Mismatch { .. }), "{error:?}");
    assert_eq!(
        (names_in(dir.path()), std::fs::read(&to).unwrap()),
        (vec!["x".into()], b"old".into())
    );
}

fn stat_body(content: &[u8]) -> String {
    let digest = Digest::of(content);
    let size = content.len();
    format!(
        r#"{{"name":"x","type":"text/plain","encoding":null,"size":{size},"digest":"{digest}",
        "complete":true,"parts":[{{"number":1,"size":{size},"digest":"{digest}","received":true}}],
        "measured":null,"created":"2026-01-31T12:00:00.000Z","created_by":"loopback"}}"#
    )
}

fn upload_body(missing: &[u32]) -> Vec<u8> {
    let upload = UploadId::from(uuid::Uuid::now_v7());
    let body = UploadBody { upload, missing: missing.to_vec(), complete: false };
    answer("200 OK", "", &serde_json::to_vec(&body).unwrap())
}

async fn send_to(address: &str, len: usize) -> (Result<u64, TransferError>, Arc<Told>) {
    let source = Source::Reader("-".into(), Box::new(std::io::Cursor::new(bytes(len, 1))));
    let request = Upload { name: name("x"), source, media: MediaInfo::from_file_name("x") };
    let told = Arc::new(Told::default());
    let progress: Arc<dyn Progress> = told.clone();
    let sent = upload(&connect(address), request, &progress).await;
    (sent.map(|uploaded| uploaded.sent), told)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_wants_parts_that_do_not_exist_gets_none() {
    let (address, asked) = liar(|_| upload_body(&[1, 7])).await;
    let (sent, _) = send_to(&address, 1000).await;
    assert!(matches!(sent, Err(TransferError::Parts { .. })));
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_forgets_everything_is_not_served_for_ever() {
    let (address, asked) = liar(|request| {
        if request.starts_with("post /v1/uploads ") {
            upload_body(&[1])
        } else if request.starts_with("put ") {
            answer("204 No Content", "", b"")
        } else {
            let refusal = br#"{"code":"incomplete","message":"parts are missing","causes":[],
                "hint":null,"operation":null,"request":null}"#;
            answer("409 Conflict", "", refusal)
        }
    })
    .await;
    let bound = std::time::Duration::from_secs(120);
    let given_up = tokio::time::timeout(bound, send_to(&address, 1000)).await;
    let (sent, told) = given_up.expect("it is given up");
    assert_eq!(sent.unwrap_err().code(), Code::Incomplete);
    assert_eq!(told.bytes.load(Ordering::SeqCst), 1000);
    assert!(asked.load(Ordering::SeqCst) < 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_was_damaged_on_the_way_is_sent_again() {
    let damaged = std::sync::atomic::AtomicBool::new(true);
    let (address, _) = liar(move |request| {
        if request.starts_with("post /v1/uploads ") {
            upload_body(&[1])
        } else if request.starts_with("put ") && damaged.swap(false, Ordering::SeqCst) {
            let refusal = br#"{"code":"digest-mismatch","message":"other bytes","causes":[],
                "hint":null,"operation":null,"request":null}"#;
            answer("422 Unprocessable Entity", "", refusal)
        } else if request.starts_with("put ") {
            answer("204 No Content", "", b"")
        } else {
            let digest = Digest::of(b"");
            let body = format!(r#"{{"name":"x","digest":"{digest}","size":0}}"#);
            answer("200 OK", "", body.as_bytes())
        }
    })
    .await;
    let (sent, told) = send_to(&address, 1000).await;
    assert_eq!(sent.unwrap(), 2000);
    assert_eq!(told.notes.lock().unwrap().len(), 1);
}
