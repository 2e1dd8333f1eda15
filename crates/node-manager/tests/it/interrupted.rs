//! Installs over lines that break again and again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use client::Change;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::failures::publish_with;
use crate::machine::{Machine, install};
use crate::world::{World, names_in, noise, tar};

/// A line to a server on which every connection breaks after so many bytes from there. `at_connection` is
/// called with the number of each before a byte of it passes. Counts the breaks.
async fn breaking(
    server: &str,
    bytes: usize,
    at_connection: impl Fn() + Send + 'static,
) -> (String, Arc<AtomicU64>) {
    let server = server.strip_prefix("http://").unwrap().to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let breaks = Arc::new(AtomicU64::new(0));
    let count = breaks.clone();
    tokio::spawn(async move {
        loop {
            let (near, _) = listener.accept().await.unwrap();
            at_connection();
            let far = TcpStream::connect(&server).await.unwrap();
            let (mut near_read, mut near_write) = near.into_split();
            let (far_read, mut far_write) = far.into_split();
            let count = count.clone();
            tokio::spawn(async move {
                let mut far_read = far_read.take(bytes as u64);
                tokio::select! {
                    _ = tokio::io::copy(&mut near_read, &mut far_write) => {}
                    _ = tokio::io::copy(&mut far_read, &mut near_write) => {
                        count.fetch_add(1, Ordering::SeqCst);
                        let _ = near_write.shutdown().await;
                    }
                }
            });
        }
    });
    (address, breaks)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_breaks_again_and_again_brings_it_all_in_the_end() {
    let world = World::start().await;
    let archive = tar(&[("file", b'0', "", &noise(3_000_000, 4), 0o644)]);
    publish_with(&world, "breaking", world.object("breaking/data.tar", &archive)).await;
    let (address, breaks) = breaking(&world.address, 250_000, || {}).await;
    let machine = Machine::start_at(&world.dir.path().join("node"), &address).await;
    let ended = machine.change(Change::Install(install("breaking"))).await;
    assert_eq!(ended.error, None);
    assert!(breaks.load(Ordering::SeqCst) >= 10);
}

/// While what is there is read again, which may take minutes, no server waits for its answer to be read.
#[tokio::test(flavor = "multi_thread")]
async fn the_rest_is_asked_for_when_what_is_there_was_read_again() {
    let world = World::start().await;
    let entries = [
        ("first", b'0', "", &b"small"[..], 0o644),
        ("second", b'0', "", &noise(1_000_000, 5), 0o644),
    ];
    publish_with(&world, "asking", world.object("asking/data.tar", &tar(&entries))).await;
    let root = world.dir.path().join("node");
    let (asked, staging) = (Arc::new(std::sync::Mutex::new(Vec::new())), root.join("staging"));
    let seen = asked.clone();
    let look = move || seen.lock().unwrap().push(names_in(&staging));
    let (address, breaks) = breaking(&world.address, 600_000, look).await;
    let machine = Machine::start_at(&root, &address).await;
    let ended = machine.change(Change::Install(install("asking"))).await;
    assert_eq!(ended.error, None);
    assert_eq!(breaks.load(Ordering::SeqCst), 1);
    // When the connection for the rest was made, the tree was begun already, from what was there.
    let asked = asked.lock().unwrap();
    let last = asked.last().unwrap();
    assert!(last.iter().any(|name| name.starts_with("receive-")), "{last:?}");
    assert!(last.iter().any(|name| !name.starts_with("receive-")), "{last:?}");
}
