//! What the tests stand on: a real server in this process, and a wire to it that can be counted and cut.
#![allow(dead_code, unreachable_pub, reason = "a module of several test binaries")]
#![allow(clippy::disallowed_methods, reason = "tests play the user, whose files are not synced")]
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use binary_repository::{BinaryRepository, Config};
use client::{Connection, Endpoint, Progress};
use model::{ObjectName, Policy};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use wire::serve::{Address, Listener, Service, serve};

/// A server with its data in a temporary directory. It is gone with the runtime of the test.
pub struct World {
    pub dir: tempfile::TempDir,
    pub address: String,
}

impl World {
    pub async fn start() -> World {
        World::start_at(tempfile::tempdir().unwrap(), LOOPBACK).await
    }

    pub async fn start_at(dir: tempfile::TempDir, address: &str) -> World {
        let repository = BinaryRepository::open(&Config::new(&dir.path().join("server"))).unwrap();
        World::serving(dir, repository.service(Policy::OpenToThisMachine), address).await
    }

    pub async fn serving(dir: tempfile::TempDir, service: Service<()>, address: &str) -> World {
        let address: Address = address.parse().unwrap();
        let listener = Listener::bind(&address).await.unwrap();
        let address = listener.url();
        tokio::spawn(serve(listener, service, std::future::pending()));
        World { dir, address }
    }

    pub fn connect(&self) -> Connection {
        connect(&self.address)
    }

    /// A file of the user.
    pub fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

/// Some free port of this machine.
pub const LOOPBACK: &str = "127.0.0.1:0";

pub fn connect(address: &str) -> Connection {
    Connection::new(&address.parse::<Endpoint>().unwrap()).unwrap()
}

pub fn name(text: &str) -> ObjectName {
    text.parse().unwrap()
}

/// Bytes that no two parts have in common.
pub fn bytes(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..len.div_ceil(8)).flat_map(|_| next().to_le_bytes()).take(len).collect()
}

/// The names in a directory, sorted.
pub fn names_in(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Called when a phase begins.
type Hook = Box<dyn Fn(&str) + Send + Sync>;

/// Adds up what it is told.
#[derive(Default)]
pub struct Told {
    pub bytes: AtomicU64,
    pub notes: Mutex<Vec<String>>,
    pub at_begin: Option<Hook>,
}

impl Progress for Told {
    fn begin(&self, what: &str, _bytes: Option<u64>) {
        self.bytes.store(0, Ordering::SeqCst);
        if let Some(hook) = &self.at_begin {
            hook(what);
        }
    }
    fn advance(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::SeqCst);
    }
    fn note(&self, text: &str) {
        self.notes.lock().unwrap().push(text.to_owned());
    }
    fn end(&self) {}
}

/// A wire to a server: counts the bytes of each direction and can be cut.
#[derive(Clone)]
pub struct Wire {
    pub address: String,
    pub up: Arc<AtomicU64>,
    pub down: Arc<AtomicU64>,
    budget_up: Arc<AtomicI64>,
    budget_down: Arc<AtomicI64>,
    /// The budget after a cut.
    again_down: Arc<AtomicI64>,
    dead: Arc<AtomicBool>,
    stays_dead: Arc<AtomicBool>,
    cut: watch::Sender<u64>,
}

impl Wire {
    pub async fn to(server: &str) -> Wire {
        let server = server.strip_prefix("http://").unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let wire = Wire {
            address: format!("http://{}", listener.local_addr().unwrap()),
            up: Arc::default(),
            down: Arc::default(),
            budget_up: Arc::new(AtomicI64::new(i64::MAX)),
            budget_down: Arc::new(AtomicI64::new(i64::MAX)),
            again_down: Arc::new(AtomicI64::new(i64::MAX)),
            dead: Arc::default(),
            stays_dead: Arc::default(),
            cut: watch::Sender::new(0),
        };
        let accepting = wire.clone();
        tokio::spawn(async move {
            loop {
                let (near, _) = listener.accept().await.unwrap();
                if accepting.dead.load(Ordering::SeqCst) {
                    continue; // closed at once
                }
                let far = TcpStream::connect(&server).await.unwrap();
                accepting.join(near, far);
            }
        });
        wire
    }

    /// Cuts all connections after so many more bytes to the server, and comes back to life at once or
    /// only with [`Wire::mend`].
    pub fn cut_after_up(&self, bytes: i64, stays_dead: bool) {
        self.stays_dead.store(stays_dead, Ordering::SeqCst);
        self.budget_up.store(bytes, Ordering::SeqCst);
    }

    /// The same for bytes from the server.
    pub fn cut_after_down(&self, bytes: i64, stays_dead: bool) {
        self.stays_dead.store(stays_dead, Ordering::SeqCst);
        self.budget_down.store(bytes, Ordering::SeqCst);
    }

    /// Cuts all connections after each so many more bytes from the server.
    pub fn cut_each_after_down(&self, bytes: i64) {
        self.again_down.store(bytes, Ordering::SeqCst);
        self.cut_after_down(bytes, false);
    }

    pub fn mend(&self) {
        self.dead.store(false, Ordering::SeqCst);
    }

    /// How often it was cut.
    pub fn cuts(&self) -> u64 {
        *self.cut.borrow()
    }

    /// Waits until it has been cut.
    pub async fn was_cut(&self) {
        self.cut.subscribe().wait_for(|cuts| *cuts > 0).await.unwrap();
    }

    fn join(&self, near: TcpStream, far: TcpStream) {
        let (near_read, near_write) = near.into_split();
        let (far_read, far_write) = far.into_split();
        let up = self.clone().copy(near_read, far_write, true);
        let down = self.clone().copy(far_read, near_write, false);
        let mut cut = self.cut.subscribe();
        tokio::spawn(async move {
            tokio::select! {
                _ = async { tokio::join!(up, down) } => {}
                _ = cut.changed() => {}
            }
        });
    }

    async fn copy(
        self,
        mut from: tokio::net::tcp::OwnedReadHalf,
        mut to: tokio::net::tcp::OwnedWriteHalf,
        up: bool,
    ) {
        let (count, budget) =
            if up { (&self.up, &self.budget_up) } else { (&self.down, &self.budget_down) };
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(read @ 1..) = from.read(&mut buffer).await {
            if to.write_all(&buffer[..read]).await.is_err() {
                return;
            }
            count.fetch_add(read as u64, Ordering::SeqCst);
            let read = read as i64;
            let left = budget.fetch_sub(read, Ordering::SeqCst);
            if left > 0 && left <= read {
                budget.store(
                    if up { i64::MAX } else { self.again_down.load(Ordering::SeqCst) },
                    Ordering::SeqCst,
                );
                self.dead.store(self.stays_dead.load(Ordering::SeqCst), Ordering::SeqCst);
                self.cut.send_modify(|cuts| *cuts += 1);
                return;
            }
        }
    }
}

/// A server that says what it is told to, whatever it was asked: each connection is one request, and the
/// answer is made of its head and written as it is; then the connection is closed.
pub async fn liar(
    answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static,
) -> (String, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (asked, answer) = (Arc::new(AtomicU64::new(0)), Arc::new(answer));
    let count = asked.clone();
    tokio::spawn(async move {
        loop {
            let (mut near, _) = listener.accept().await.unwrap();
            let (answer, count) = (answer.clone(), count.clone());
            tokio::spawn(async move {
                let Some(request) = read_request(&mut near).await else { return };
                count.fetch_add(1, Ordering::SeqCst);
                let _ = near.write_all(&answer(&request)).await;
                let _ = near.shutdown().await;
                let _ = tokio::io::copy(&mut near, &mut tokio::io::sink()).await;
            });
        }
    });
    (address, asked)
}

/// The head of a request; its body, of a stated length, is read and dropped.
pub async fn read_request(near: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        let mut buffer = [0; 4096];
        match near.read(&mut buffer).await {
            Ok(read @ 1..) => bytes.extend_from_slice(&buffer[..read]),
            _ => return None,
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.map_or(0, |length| length.parse().unwrap());
    let mut left = length.saturating_sub(bytes.len() - end);
    let mut buffer = vec![0; 65536];
    while left > 0 {
        let most = left.min(buffer.len());
        match near.read(&mut buffer[..most]).await {
            Ok(read @ 1..) => left -= read,
            _ => return None,
        }
    }
    Some(head)
}

/// An answer with these header fields, each ending in a line break, and this body.
pub fn answer(status: &str, fields: &str, body: &[u8]) -> Vec<u8> {
    let fields = fields.replace('\n', "\r\n");
    [format!("HTTP/1.1 {status}\r\nconnection: close\r\n{fields}\r\n").as_bytes(), body].concat()
}
