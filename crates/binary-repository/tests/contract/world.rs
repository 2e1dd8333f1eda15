//! One repository in a directory of its own, served on a port of its own, with a clock that stands still.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use binary_repository::{BinaryRepository, Clock, Config};
use bytes::Bytes;
use model::{Digest, Policy, Timestamp, part_size_for};
use reqwest::{Method, RequestBuilder, header::HeaderMap};
use serde::de::DeserializeOwned;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use wire::serve::{Address, Listener, serve};
use wire::v1::{ObjectBody, StatedPart, UploadBody, UploadRequest};
use wire::{Code, ErrorBody, encode_name};

pub(crate) struct World {
    dir: TempDir,
    now: Arc<AtomicI64>,
    client: reqwest::Client,
    server: Option<Server>,
}

struct Server {
    repository: Arc<BinaryRepository>,
    url: String,
    stop: Vec<oneshot::Sender<()>>,
    tasks: Vec<JoinHandle<()>>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl World {
    pub(crate) async fn start() -> World {
        let mut world = World {
            dir: tempfile::tempdir().unwrap(),
            now: Arc::new(AtomicI64::new(1_790_000_000_000)),
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
            server: None,
        };
        world.begin().await;
        world
    }

    /// The server ends and another one opens the same directory.
    pub(crate) async fn restart(&mut self) {
        self.end().await;
        self.begin().await;
    }

    pub(crate) async fn end(&mut self) {
        let Some(server) = self.server.take() else { return };
        for stop in server.stop {
            let _ = stop.send(());
        }
        for task in server.tasks {
            task.await.unwrap();
        }
        let repository = server.repository;
        while Arc::strong_count(&repository) > 1 {
            tokio::task::yield_now().await; // the last connection is being dropped
        }
    }

    pub(crate) async fn begin(&mut self) {
        let repository = self.open().unwrap();
        let listener = Listener::bind(&"127.0.0.1:0".parse::<Address>().unwrap()).await.unwrap();
        let url = listener.url();
        let service = repository.service(Policy::OpenToThisMachine);
        let (stop_serving, serving) = oneshot::channel();
        let (stop_sweeping, sweeping) = oneshot::channel();
        let tasks = vec![
            tokio::spawn(serve(listener, service, async { drop(serving.await) })),
            tokio::spawn(repository.clone().run_sweeper(async { drop(sweeping.await) })),
        ];
        let stop = vec![stop_serving, stop_sweeping];
        self.server = Some(Server { repository, url, stop, tasks });
    }

    pub(crate) fn open(&self) -> Result<Arc<BinaryRepository>, binary_repository::OpenError> {
        let now = self.now.clone();
        let clock = Clock::new(move || Timestamp::from_millis(now.load(Ordering::SeqCst)));
        let data = self.data();
        BinaryRepository::open(&Config { clock, ..Config::new(&data) })
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub(crate) fn repository(&self) -> &Arc<BinaryRepository> {
        &self.server.as_ref().unwrap().repository
    }

    pub(crate) fn pass(&self, time: Duration) {
        let millis = i64::try_from(time.as_millis()).unwrap();
        self.now.fetch_add(millis, Ordering::SeqCst);
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.server.as_ref().unwrap().url)
    }

    pub(crate) fn object(&self, method: Method, name: &str) -> RequestBuilder {
        self.client.request(method, self.url(&format!("/v1/objects/{}", encode_name(name))))
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, self.url(path))
    }

    pub(crate) async fn put(&self, name: &str, bytes: &[u8]) -> Answer {
        answer(self.object(Method::PUT, name).body(bytes.to_vec())).await
    }

    pub(crate) async fn get(&self, name: &str) -> Answer {
        answer(self.object(Method::GET, name)).await
    }

    pub(crate) async fn delete(&self, name: &str) -> Answer {
        answer(self.object(Method::DELETE, name)).await
    }

    pub(crate) async fn stat(&self, name: &str) -> Answer {
        let path = format!("/v1/object-stat/{}", encode_name(name));
        answer(self.request(Method::GET, &path)).await
    }

    pub(crate) async fn begin_upload(&self, request: &UploadRequest) -> Answer {
        answer(self.request(Method::POST, "/v1/uploads").json(request)).await
    }

    pub(crate) async fn open_upload(&self, request: &UploadRequest) -> UploadBody {
        self.begin_upload(request).await.json()
    }

    pub(crate) fn part(&self, upload: &UploadBody, number: u32, bytes: &[u8]) -> RequestBuilder {
        let path = format!("/v1/uploads/{}/parts/{number}", upload.upload);
        self.request(Method::PUT, &path).body(bytes.to_vec())
    }

    pub(crate) async fn send_part(&self, upload: &UploadBody, number: u32, bytes: &[u8]) -> Answer {
        answer(self.part(upload, number, bytes)).await
    }

    pub(crate) async fn complete(&self, upload: &UploadBody) -> Answer {
        let path = format!("/v1/uploads/{}/complete", upload.upload);
        answer(self.request(Method::POST, &path)).await
    }

    /// A connection without a client that knows HTTP.
    pub(crate) async fn raw(&self, head: &str) -> TcpStream {
        let url = &self.server.as_ref().unwrap().url;
        let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).await.unwrap();
        stream.write_all(head.replace('\n', "\r\n").as_bytes()).await.unwrap();
        stream
    }

    /// Sends these bytes as they are, and reads what comes back until the server closes.
    pub(crate) async fn raw_answer(&self, head: &str) -> String {
        let mut stream = self.raw(head).await;
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// The files of blobs, and of uploads.
    pub(crate) fn files(&self) -> (Vec<PathBuf>, Vec<PathBuf>) {
        (files_under(&self.data().join("blobs")), files_under(&self.data().join("staging")))
    }

    /// Waits until the sweeper did what it has to.
    pub(crate) async fn until_blobs(&self, count: usize) {
        for _ in 0..1000 {
            if self.files().0.len() == count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("there are {:?}", self.files().0);
    }
}

impl Answer {
    pub(crate) fn json<T: DeserializeOwned>(&self) -> T {
        assert!((200..300).contains(&self.status), "{self:?}");
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn error(&self) -> ErrorBody {
        let error: ErrorBody = serde_json::from_slice(&self.body).expect("a problem");
        assert_eq!(self.status, error.code.status().as_u16());
        error
    }

    #[track_caller]
    pub(crate) fn refused(&self, code: Code) -> String {
        let error = self.error();
        assert_eq!(error.code, code, "{error:?}");
        error.message
    }

    pub(crate) fn field(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

pub(crate) async fn answer(request: RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Answer { status, headers, body: response.bytes().await.unwrap() }
}

/// An upload of these bytes, cut as fettle cuts.
pub(crate) fn wanted(name: &str, bytes: &[u8]) -> UploadRequest {
    let size = bytes.len() as u64;
    let parts = bytes.chunks(part_size_for(size) as usize);
    let stated = |part: &[u8]| StatedPart { size: part.len() as u64, digest: Digest::of(part) };
    UploadRequest {
        name: name.parse().unwrap(),
        media_type: "application/x-tar".parse().unwrap(),
        encoding: None,
        size,
        digest: Digest::of(bytes),
        parts: parts.map(stated).collect(),
        measured: None,
    }
}

/// The bytes of part `number`.
pub(crate) fn part_of(bytes: &[u8], number: u32) -> &[u8] {
    bytes.chunks(part_size_for(bytes.len() as u64) as usize).nth(number as usize - 1).unwrap()
}

/// Bytes that look like nothing, different for each seed.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

pub(crate) fn object_body(answer: &Answer) -> ObjectBody {
    answer.json()
}

fn files_under(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(files_under(&entry.path())),
            false => found.push(entry.path()),
        }
    }
    found
}

pub(crate) const MIB: usize = 1024 * 1024;
pub(crate) const DAY: Duration = Duration::from_secs(24 * 60 * 60);
