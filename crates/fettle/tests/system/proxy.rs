//! A TCP proxy in front of a server that counts what passes in either direction, and can hold it up: so a
//! test kills somebody at a certain byte and not at a certain time.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub(crate) struct Proxy {
    pub(crate) url: String,
    /// From clients to the server.
    pub(crate) up: Arc<Meter>,
    /// From the server to clients.
    pub(crate) down: Arc<Meter>,
}

/// Bytes in one direction.
pub(crate) struct Meter {
    passed: AtomicU64,
    limit: AtomicU64,
}

impl Proxy {
    /// Listens on a port of its own and passes everything on to the server at this URL.
    pub(crate) fn new(server: &str) -> Proxy {
        let target = server.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (up, down) = (Arc::new(Meter::new()), Arc::new(Meter::new()));
        let proxy = Proxy { url, up: up.clone(), down: down.clone() };
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), Ok(server)) = (client, TcpStream::connect(&target)) else {
                    continue;
                };
                let back = (server.try_clone().unwrap(), client.try_clone().unwrap());
                let (up, down) = (up.clone(), down.clone());
                std::thread::spawn(move || up.pass(client, server));
                std::thread::spawn(move || down.pass(back.0, back.1));
            }
        });
        proxy
    }
}

impl Meter {
    fn new() -> Meter {
        Meter { passed: AtomicU64::new(0), limit: AtomicU64::new(u64::MAX) }
    }

    /// Bytes that were passed on.
    pub(crate) fn passed(&self) -> u64 {
        self.passed.load(Ordering::SeqCst)
    }

    /// Passes so many bytes in all, and holds up what comes then.
    pub(crate) fn hold_after(&self, bytes: u64) {
        self.limit.store(bytes, Ordering::SeqCst);
    }

    /// Passes everything again.
    pub(crate) fn release(&self) {
        self.hold_after(u64::MAX);
    }

    /// Waits until the limit is reached.
    pub(crate) fn wait_until_held(&self) {
        while self.passed() < self.limit.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn pass(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            while self.passed() >= self.limit.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(1));
            }
            let Ok(length @ 1..) = from.read(&mut buffer) else { break };
            self.passed.fetch_add(length as u64, Ordering::SeqCst);
            if to.write_all(&buffer[..length]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    }
}
