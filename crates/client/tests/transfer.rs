//! Uploads and downloads against a real server, over a wire that is cut.
#![allow(clippy::disallowed_methods, reason = "tests play the user, whose files are not synced")]
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod world;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use client::transfer::{Source, TransferError, Upload, Uploaded, download, media_of, upload};
use client::{Connection, NoProgress, Progress};
use model::{Digest, MediaInfo};
use wire::Code;
use world::{Told, Wire, World, bytes, connect, name, names_in};

const MIB: usize = 1024 * 1024;

fn silent() -> Arc<dyn Progress> {
    Arc::new(NoProgress)
}

async fn send(
    connection: &Connection,
    object: &str,
    path: &Path,
    progress: &Arc<dyn Progress>,
) -> Result<Uploaded, TransferError> {
    let media = media_of(path)?;
    let request = Upload { name: name(object), source: Source::at(path)?, media };
    upload(connection, request, progress).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_was_given_up_goes_on_with_the_parts_that_are_missing() {
    let world = World::start().await;
    let content = bytes(33 * MIB, 1);
    let path = world.file("big.bin", &content);
    let wire = Wire::to(&world.address).await;
    // Four parts of 4 MiB are on their way at a time: by now some have long arrived, and some have not.
    wire.cut_after_up(25 * MIB as i64, true);
    let (connection, file) = (connect(&wire.address), path.clone());
    let first =
        tokio::spawn(async move { send(&connection, "big", &file, &silent()).await.map(drop) });
    wire.was_cut().await;
    first.abort();
    let _ = first.await;

    let stat = settled(&world.connect(), "big").await;
    assert!(!stat.complete);
    let missing: u64 = stat.parts.iter().filter(|part| !part.received).map(|part| part.size).sum();
    assert!(missing > 0 && missing < content.len() as u64, "{missing}");

    wire.mend();
    let before = wire.up.load(Ordering::SeqCst);
    let told = Arc::new(Told::default());
    let progress: Arc<dyn Progress> = told.clone();
    let second = send(&connect(&wire.address), "big", &path, &progress).await.unwrap();
    assert_eq!(second.sent, missing);
    assert_eq!(told.bytes.load(Ordering::SeqCst), content.len() as u64, "what is there counts");
    assert_eq!(second.digest, Digest::of(&content));
    let moved = wire.up.load(Ordering::SeqCst) - before;
    assert!(moved < missing + 64 * 1024, "{moved} bytes on the wire for {missing}");
}

/// What the server has when it has noticed that nobody sends any more.
async fn settled(connection: &Connection, object: &str) -> wire::v1::ObjectBody {
    let mut last = connection.objects().stat(&name(object)).await.unwrap();
    loop {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        let next = connection.objects().stat(&name(object)).await.unwrap();
        if next == last {
            return next;
        }
        last = next;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_survives_a_cut_and_counts_each_byte_once_for_the_listener() {
    let world = World::start().await;
    let content = bytes(18 * MIB + 5, 2);
    let path = world.file("big.bin", &content);
    let wire = Wire::to(&world.address).await;
    wire.cut_after_up(9 * MIB as i64, false);
    let told = Arc::new(Told::default());
    let progress: Arc<dyn Progress> = told.clone();
    let uploaded = send(&connect(&wire.address), "big", &path, &progress).await.unwrap();
    assert_eq!(wire.cuts(), 1);
    assert!(!told.notes.lock().unwrap().is_empty());
    assert_eq!(told.bytes.load(Ordering::SeqCst), content.len() as u64);
    // Repeats count as sent, and at most what was on its way is repeated.
    assert!(uploaded.sent >= content.len() as u64);
    assert!(uploaded.sent <= content.len() as u64 + 16 * MIB as u64, "{}", uploaded.sent);
    let stat = world.connect().objects().stat(&name("big")).await.unwrap();
    assert!(stat.complete && stat.digest == Digest::of(&content));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_has_is_not_sent_again_under_any_name() {
    let world = World::start().await;
    let path = world.file("a.txt", &bytes(5 * MIB, 3));
    let connection = world.connect();
    let first = send(&connection, "one", &path, &silent()).await.unwrap();
    assert_eq!(first.sent, 5 * MIB as u64);
    assert_eq!(send(&connection, "one", &path, &silent()).await.unwrap().sent, 0);
    assert_eq!(send(&connection, "two", &path, &silent()).await.unwrap().sent, 0);
    assert!(connection.objects().stat(&name("two")).await.unwrap().complete);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_holds_other_content_is_refused_before_anything_is_sent() {
    let world = World::start().await;
    let connection = world.connect();
    let path = world.file("a", b"one");
    send(&connection, "x", &path, &silent()).await.unwrap();
    let wire = Wire::to(&world.address).await;
    let other = world.file("b", &bytes(6 * MIB, 4));
    let refusal = send(&connect(&wire.address), "x", &other, &silent()).await.unwrap_err();
    assert_eq!(refusal.code(), Code::NameTaken);
    assert!(wire.up.load(Ordering::SeqCst) < 16 * 1024);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changes_after_it_was_hashed_is_named_and_takes_no_name() {
    let world = World::start().await;
    let mut content = bytes(6 * MIB, 5);
    let path = world.file("changing", &content);
    content[5 * MIB] ^= 1;
    let changed = path.clone();
    let hook = move |what: &str| {
        if what.starts_with("sending") {
            std::fs::write(&changed, &content).unwrap();
        }
    };
    let told = Told { at_begin: Some(Box::new(hook)), ..Told::default() };
    let progress: Arc<dyn Progress> = Arc::new(told);
    let error = send(&world.connect(), "x", &path, &progress).await.unwrap_err();
    assert!(matches!(&error, TransferError::Changed { path: named } if *named == path), "{error}");
    assert!(!world.connect().objects().stat(&name("x")).await.unwrap().complete);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_file_a_directory_and_a_pipe_arrive() {
    let world = World::start().await;
    let connection = world.connect();
    let empty = world.file("empty", b"");
    assert_eq!(send(&connection, "empty", &empty, &silent()).await.unwrap().size, 0);

    world.file("tree/bin/run", b"#!/bin/sh\n");
    let tree = world.dir.path().join("tree");
    let sent = send(&connection, "tree", &tree, &silent()).await.unwrap();
    let stat = connection.objects().stat(&name("tree")).await.unwrap();
    assert_eq!(stat.media(), MediaInfo::packed_directory());
    assert_eq!((stat.digest, stat.measured.unwrap().unpacked_bytes), (sent.digest, 10));

    let pipe = Source::Reader("-".into(), Box::new(std::io::Cursor::new(bytes(5 * MIB, 6))));
    let media = MediaInfo::from_file_name("-");
    let request = Upload { name: name("pipe"), source: pipe, media };
    let sent = upload(&connection, request, &silent()).await.unwrap();
    assert_eq!(sent.digest, Digest::of(&bytes(5 * MIB, 6)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_is_whole_has_its_media_info_and_replaces_what_was_there() {
    let world = World::start().await;
    let connection = world.connect();
    let content = bytes(3 * MIB, 7);
    let path = world.file("a.tar.gz", &content);
    send(&connection, "x", &path, &silent()).await.unwrap();
    let to = world.file("down/here", b"old");
    world.file("down/here.__info", b"stale");
    let got = download(&connection, &name("x"), &to, &silent()).await.unwrap();
    assert_eq!((got.size, got.digest), (content.len() as u64, Digest::of(&content)));
    assert_eq!(std::fs::read(&to).unwrap(), content);
    let info = std::fs::read_to_string(world.dir.path().join("down/here.__info")).unwrap();
    assert_eq!(info, r#"{"Type":"application/x-tar","Encoding":"gzip"}"#);
    assert_eq!(names_in(&world.dir.path().join("down")), ["here", "here.__info"]);
    assert_eq!(media_of(&to).unwrap(), got.media);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_was_given_up_goes_on_where_it_was_and_shows_nothing_before() {
    let world = World::start().await;
    let content = bytes(20 * MIB, 8);
    let path = world.file("big", &content);
    send(&world.connect(), "big", &path, &silent()).await.unwrap();
    let to = world.file("down/.keep", b"").with_file_name("big");
    let wire = Wire::to(&world.address).await;
    wire.cut_after_down(12 * MIB as i64, true);
    let (connection, target) = (connect(&wire.address), to.clone());
    let first = tokio::spawn(async move {
        download(&connection, &name("big"), &target, &silent()).await.map(drop)
    });
    wire.was_cut().await;
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    first.abort();
    let _ = first.await;
    assert!(!to.exists());
    let hidden = names_in(&world.dir.path().join("down"));
    assert_eq!(hidden.len(), 2, "{hidden:?}");
    let kept = std::fs::metadata(world.dir.path().join("down").join(&hidden[0])).unwrap().len();
    assert!(hidden[0].starts_with(".fettle-") && kept > MIB as u64, "{hidden:?} {kept}");

    wire.mend();
    let before = wire.down.load(Ordering::SeqCst);
    let told = Arc::new(Told::default());
    let progress: Arc<dyn Progress> = told.clone();
    loop {
        // The aborted call's writer may hold its file for a moment more.
        match download(&connect(&wire.address), &name("big"), &to, &progress).await {
            Err(TransferError::UnderWay { .. }) => tokio::task::yield_now().await,
            done => break done.map(drop).unwrap(),
        }
    }
    assert_eq!(std::fs::read(&to).unwrap(), content);
    let moved = wire.down.load(Ordering::SeqCst) - before;
    assert!(moved < content.len() as u64 - kept + 64 * 1024, "{moved} moved, {kept} were kept");
    assert_eq!(told.bytes.load(Ordering::SeqCst), content.len() as u64);
    assert_eq!(names_in(&world.dir.path().join("down")), [".keep", "big", "big.__info"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_survives_a_cut() {
    let world = World::start().await;
    let content = bytes(10 * MIB, 9);
    let path = world.file("big", &content);
    send(&world.connect(), "big", &path, &silent()).await.unwrap();
    let wire = Wire::to(&world.address).await;
    wire.cut_after_down(4 * MIB as i64, false);
    let to = world.dir.path().join("copy");
    download(&connect(&wire.address), &name("big"), &to, &silent()).await.unwrap();
    assert_eq!((wire.cuts(), std::fs::read(&to).unwrap()), (1, content.clone()));
    assert!(wire.down.load(Ordering::SeqCst) < content.len() as u64 + 5 * MIB as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_over_a_line_that_breaks_again_and_again_comes_to_its_end() {
    let world = World::start().await;
    let content = bytes(5 * MIB, 19);
    let path = world.file("big", &content);
    send(&world.connect(), "big", &path, &silent()).await.unwrap();
    let wire = Wire::to(&world.address).await;
    wire.cut_each_after_down(400_000);
    let to = world.dir.path().join("copy");
    download(&connect(&wire.address), &name("big"), &to, &silent()).await.unwrap();
    assert_eq!(std::fs::read(&to).unwrap(), content);
    assert!(wire.cuts() > 10, "{}", wire.cuts());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_kept_and_is_damaged_is_found_thrown_away_and_fetched_anew() {
    let world = World::start().await;
    let content = bytes(2 * MIB, 10);
    let path = world.file("x", &content);
    send(&world.connect(), "x", &path, &silent()).await.unwrap();
    let wire = Wire::to(&world.address).await;
    wire.cut_after_down(MIB as i64, true);
    let to = world.file("down/.keep", b"").with_file_name("x");
    let (connection, target) = (connect(&wire.address), to.clone());
    let first = tokio::spawn(async move {
        download(&connection, &name("x"), &target, &silent()).await.map(drop)
    });
    wire.was_cut().await;
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    first.abort();
    let _ = first.await;
    wire.mend();
    let hidden = world.dir.path().join("down").join(&names_in(to.parent().unwrap())[0]);
    let mut kept = std::fs::read(&hidden).unwrap();
    kept[1000] ^= 1;
    std::fs::write(&hidden, kept).unwrap();

    let error = loop {
        match download(&world.connect(), &name("x"), &to, &silent()).await.unwrap_err() {
            TransferError::UnderWay { .. } => tokio::task::yield_now().await,
            error => break error,
        }
    };
    assert_eq!(error.code(), Code::DigestMismatch, "{error}");
    assert_eq!(names_in(to.parent().unwrap()), [".keep"]);
    download(&world.connect(), &name("x"), &to, &silent()).await.unwrap();
    assert_eq!(std::fs::read(&to).unwrap(), content);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resumed_download_never_mixes_two_objects_of_one_name() {
    let world = World::start().await;
    let connection = world.connect();
    let (old, new) = (bytes(MIB, 11), bytes(MIB, 12));
    let path = world.file("x", &old);
    send(&connection, "x", &path, &silent()).await.unwrap();
    let (half, digest) = (MIB as u64 / 2, Digest::of(&old));
    let mut rest = connection.objects().open(&name("x"), half, Some(&digest)).await.unwrap();
    assert_eq!((rest.size, rest.from, rest.digest), (MIB as u64, half, digest));
    let mut came = Vec::new();
    while let Some(piece) = rest.next_piece().await.unwrap() {
        came.extend_from_slice(&piece);
    }
    assert_eq!(came, old[MIB / 2..]);
    connection.objects().delete(&name("x")).await.unwrap();
    let path = world.file("x", &new);
    send(&connection, "x", &path, &silent()).await.unwrap();
    let other = connection.objects().open(&name("x"), half, Some(&digest)).await.unwrap_err();
    assert!(matches!(other, client::ClientError::OtherObject { .. }), "{other:?}");
    assert_eq!(other.code(), Code::DigestMismatch);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unix_socket_serves_like_tcp() {
    let dir = tempfile::tempdir().unwrap();
    let socket = format!("unix://{}", dir.path().join("s.sock").display());
    let world = World::start_at(dir, &socket).await;
    assert_eq!(world.address, socket);
    let path = world.file("x", &bytes(5 * MIB, 13));
    let sent = send(&world.connect(), "x", &path, &silent()).await.unwrap();
    let to = world.dir.path().join("back");
    let got = download(&world.connect(), &name("x"), &to, &silent()).await.unwrap();
    assert_eq!(got.digest, sent.digest);
    let stat = world.connect().objects().stat(&name("x")).await.unwrap();
    assert!(stat.created_by.to_string().starts_with("uid:"), "{}", stat.created_by);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_of_what_is_not_there_or_to_nowhere_leaves_nothing() {
    let world = World::start().await;
    let connection = world.connect();
    let to = world.file("down/.keep", b"").with_file_name("x");
    let absent = download(&connection, &name("x"), &to, &silent()).await.unwrap_err();
    assert_eq!(absent.code(), Code::NotFound);
    let path = world.file("x", b"content");
    send(&connection, "x", &path, &silent()).await.unwrap();
    let dir = to.parent().unwrap();
    let onto_dir = download(&connection, &name("x"), dir, &silent()).await.unwrap_err();
    assert_eq!(onto_dir.code(), Code::Usage);
    let nowhere = world.dir.path().join("none/x");
    let nowhere = download(&connection, &name("x"), &nowhere, &silent()).await.unwrap_err();
    assert_eq!(nowhere.code(), Code::NotFound);
    assert_eq!(names_in(dir), [".keep"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn listings_come_whole_in_order_and_narrowed_by_a_glob() {
    let world = World::start().await;
    let connection = world.connect();
    let path = world.file("x", b"content");
    for n in 0..30 {
        send(&connection, &format!("dir {}/o?{n:02}", n % 2), &path, &silent()).await.unwrap();
    }
    let glob = "dir 1/*".parse().unwrap();
    let mut lines = connection.objects().list(Some(&glob)).await.unwrap();
    let mut found = Vec::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        found.push(line.name.to_string());
    }
    let wanted: Vec<String> = (0..15).map(|n| format!("dir 1/o?{:02}", n * 2 + 1)).collect();
    assert_eq!(found, wanted);
    connection.objects().delete(&name("dir 1/o?01")).await.unwrap();
    let again = connection.objects().delete(&name("dir 1/o?01")).await.unwrap_err();
    assert_eq!(again.code(), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn real_archives_are_measured_and_come_back_as_they_were() {
    let world = World::start().await;
    let connection = world.connect();
    for (number, path) in crate_files().into_iter().enumerate() {
        let object = format!("crates/{number}");
        let media = MediaInfo::from_file_name("x.tar.gz");
        let request = Upload { name: name(&object), source: Source::at(&path).unwrap(), media };
        let sent = upload(&connection, request, &silent()).await.unwrap();
        let stat = connection.objects().stat(&name(&object)).await.unwrap();
        assert!(stat.measured.is_some_and(|measured| measured.entries > 0), "{}", path.display());
        let to = world.dir.path().join("back");
        let got = download(&connection, &name(&object), &to, &silent()).await.unwrap();
        assert_eq!((got.digest, stat.size), (sent.digest, std::fs::metadata(&to).unwrap().len()));
    }
}

/// Archives that cargo has downloaded to build this; a few of them.
fn crate_files() -> Vec<std::path::PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(std::path::PathBuf::from);
    let home = home.or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(".cargo")));
    let caches = home.and_then(|home| std::fs::read_dir(home.join("registry/cache")).ok());
    let files = caches.into_iter().flatten().flatten().flat_map(|cache| {
        std::fs::read_dir(cache.path()).into_iter().flatten().flatten().map(|file| file.path())
    });
    let mut files: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|e| e == "crate")).collect();
    files.sort();
    files.into_iter().step_by(9).take(20).collect()
}
