//! The skeleton over real sockets: who calls, which right, which refusal, and a good end.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use axum::Extension;
use model::{Policy, Right};
use serde_json::Value;
use tokio::sync::oneshot;
use wire::route::{self, Route};
use wire::serve::{Address, Calling, Closing, Listener, Service, serve};
use wire::{Code, Problem};

/// A server of its own, on a thread of its own, until it goes out of scope.
struct Served {
    address: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Served {
    fn new(service: Service<()>) -> Served {
        let (tell, told) = std::sync::mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let address: Address = "127.0.0.1:0".parse().unwrap();
                let listener = Listener::bind(&address).await.unwrap();
                tell.send(listener.url().trim_start_matches("http://").to_owned()).unwrap();
                serve(listener, service, async { drop(stopped.await) }).await;
            });
        });
        Served { address: told.recv().unwrap(), stop: Some(stop), thread: Some(thread) }
    }

    /// Sends a head and reads the status and the whole answer.
    fn ask(&self, request: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let head = request.replace("\n", "\r\n");
        stream.write_all(format!("{head}\r\nConnection: close\r\n\r\n").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap();
        (status, answer)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.thread.take().unwrap().join().unwrap();
    }
}

fn body(answer: &str) -> Value {
    serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap()
}

#[test]
fn every_row_of_the_table_is_behind_the_check_of_its_right() {
    // A node that loopback callers may only look at: what they may do is exactly Resolve and Read.
    let policy = Policy::Owner { uid: u32::MAX, loopback_may_write: false };
    let mut service = Service::new(policy);
    for row in route::ALL {
        service = service.route(row, || async { "answered" });
    }
    let served = Served::new(service.with_state(()));
    for Route { method, path, right } in route::ALL {
        let path = path.replace("{*", "").replace(['{', '}'], "");
        let (status, answer) = served.ask(&format!("{method} {path} HTTP/1.1\nHost: localhost"));
        let allowed = matches!(right, Right::Resolve | Right::Read);
        assert_eq!(status, if allowed { 200 } else { 403 }, "{method} {path}: {answer}");
        if !allowed {
            assert_eq!(body(&answer)["code"], "denied");
        }
    }
}

#[test]
fn a_refusal_is_problem_json_with_the_id_of_its_request() {
    let refuse = || async { Err::<(), _>(Problem::new(Code::NotFound, "there is no `x`")) };
    let service = Service::new(Policy::OpenToThisMachine).route(&route::STATUS, refuse);
    let served = Served::new(service.with_state(()));
    let (status, answer) = served.ask("GET /v1/status HTTP/1.1\nHost: 127.0.0.1");
    assert_eq!(status, 404);
    assert!(answer.contains("content-type: application/problem+json"), "{answer}");
    let problem = body(&answer);
    assert_eq!(problem["code"], "not-found");
    assert_eq!(problem["detail"], "there is no `x`");
    let id = problem["request"].as_str().unwrap();
    assert!(answer.contains(&format!("fettle-request: {id}")), "{answer}");
    assert_eq!(served.ask("GET /nowhere HTTP/1.1\nHost: localhost").0, 404);
    let (status, answer) =
        served.ask("POST /v1/status HTTP/1.1\nHost: localhost\nContent-Length: 0");
    assert_eq!((status, &body(&answer)["code"]), (400, &Value::from("usage")));
}

#[test]
fn a_web_page_reaches_nothing() {
    let service =
        Service::new(Policy::OpenToThisMachine).route(&route::STATUS, || async { "open" });
    let served = Served::new(service.with_state(()));
    for head in [
        "Host: evil.example",
        "Host: localhost\nOrigin: http://localhost",
        "Host: localhost\nOrigin: null",
    ] {
        let (status, answer) = served.ask(&format!("GET /v1/status HTTP/1.1\n{head}"));
        assert_eq!((status, &body(&answer)["code"]), (403, &Value::from("denied")), "{head}");
    }
    assert_eq!(served.ask("GET /v1/status HTTP/1.1\nHost: localhost").0, 200);
}

#[test]
fn a_handler_that_panics_is_a_problem_for_its_caller_alone() {
    let service = Service::new(Policy::OpenToThisMachine)
        .route(&route::STATUS, || async { panic!("on purpose") as () })
        .route(
            &route::OPERATION_LIST,
            |Calling(caller): Calling| async move { caller.to_string() },
        );
    let served = Served::new(service.with_state(()));
    let (status, answer) = served.ask("GET /v1/status HTTP/1.1\nHost: localhost");
    assert_eq!((status, &body(&answer)["code"]), (500, &Value::from("internal")));
    let (status, answer) = served.ask("GET /v1/operations HTTP/1.1\nHost: localhost");
    assert!(status == 200 && answer.ends_with("loopback"), "{answer}");
}

#[test]
fn an_answer_without_an_end_does_not_hold_up_the_end_of_the_server() {
    let endless = |Extension(mut closing): Extension<Closing>| async move { closing.begun().await };
    let service = Service::new(Policy::OpenToThisMachine).route(&route::STATUS, endless);
    let mut served = Served::new(service.with_state(()));
    let mut stream = TcpStream::connect(&served.address).unwrap();
    stream.write_all(b"GET /v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    // The answer comes only because the server wants to end, and it comes whole.
    std::thread::sleep(Duration::from_millis(50));
    drop(served.stop.take());
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
