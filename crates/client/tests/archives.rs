//! Archives at publication: measured, or refused before anything is sent; what is in the repository without
//! figures is fetched and measured once.
#![allow(clippy::disallowed_methods, reason = "tests play the user, whose files are not synced")]
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod world;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use application_repository::{ApplicationRepository, Claim, HoldError, Holder, Holds};
use archive::{EntryPath, Limits, TarWriter};
use binary_repository::{BinaryRepository, Config};
use client::publish::{Manifest, PublishError, Published, publish};
use client::{Connection, NoProgress, Progress};
use model::Policy;
use wire::Code;
use world::{LOOPBACK, Told, Wire, World, bytes, connect, name};

/// Nothing is removed here: no hold is missed.
#[derive(Debug)]
struct NoHolds;

impl Holds for NoHolds {
    fn take(&self, _: &[Claim]) -> Result<(), HoldError> {
        Ok(())
    }
    fn release(&self, _: &Holder) -> Result<(), HoldError> {
        Ok(())
    }
    fn holders(&self, _: Option<&str>, _: u32) -> Result<Vec<String>, HoldError> {
        Ok(Vec::new())
    }
}

async fn start() -> World {
    let dir = tempfile::tempdir().unwrap();
    let config = Config::new(&dir.path().join("server"));
    let objects = BinaryRepository::open(&config).unwrap();
    let now = || SystemTime::now().into();
    let applications =
        ApplicationRepository::open(&config.database, Arc::new(NoHolds), now).unwrap();
    let policy = Policy::OpenToThisMachine;
    let service = objects.service(policy).merge(applications.service(policy));
    World::serving(dir, service, LOOPBACK).await
}

async fn publish_package(
    world: &World,
    connection: &Connection,
    version: &str,
    package: &str,
) -> Result<Published, PublishError> {
    publish_within(world, connection, version, package, Limits::default()).await
}

async fn publish_within(
    world: &World,
    connection: &Connection,
    version: &str,
    package: &str,
    limits: Limits,
) -> Result<Published, PublishError> {
    let progress: Arc<dyn Progress> = Arc::new(NoProgress);
    publish(connection, &manifest(world, version, package), limits, &progress).await
}

fn manifest(world: &World, version: &str, package: &str) -> Manifest {
    world.file("program", b"#!/bin/sh\n");
    let text = format!(
        "title = \"a\"\nname = \"demo/a\"\nversion = \"{version}\"\n[program]\nany = \"program\"\n\
         [packages]\np = {package}\n"
    );
    Manifest::read(&world.file("manifest.toml", text.as_bytes())).unwrap()
}

fn tar(names: &[&str], content: &[u8]) -> Vec<u8> {
    let mut writer = TarWriter::new(Vec::new());
    for name in names {
        let path = EntryPath::parse(name.as_bytes()).unwrap();
        writer.file(&path, content.len() as u64, false, &mut &content[..]).unwrap();
    }
    writer.finish().unwrap()
}

/// What a filter makes of these bytes.
fn through(program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut output = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input).unwrap());
        child.stdout.take().unwrap().read_to_end(&mut output).unwrap();
    });
    assert!(child.wait().unwrap().success());
    output
}

/// Stores an object by plain HTTP, as any program can.
fn put(world: &World, name: &str, media_type: &str, bytes: &[u8]) {
    let address = world.address.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!(
        "PUT /v1/objects/{name} HTTP/1.1\r\nHost: {address}\r\nContent-Type: {media_type}\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        bytes.len()
    );
    stream.write_all(&[head.as_bytes(), bytes].concat()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_no_node_would_unpack_is_refused_before_anything_is_sent() {
    let world = start().await;
    let whole = tar(&["a"], &bytes(2_000_000, 1));
    let mut link = tar(&["a"], b"");
    (link[156], link[157]) = (b'2', b'/');
    let sum: u32 = link[..512]
        .iter()
        .enumerate()
        .map(|(at, byte)| match at {
            148..156 => u32::from(b' '),
            _ => u32::from(*byte),
        })
        .sum();
    link[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    let zipped = through("gzip", &["-c"], &whole);
    for (file, content, code, said) in [
        ("link.tar", &link[..], Code::UnsafeArchive, "absolute"),
        ("cut.tar", &whole[..1_000_000], Code::UnsafeArchive, "cut off"),
        ("cut.tar.gz", &zipped[..zipped.len() / 2], Code::UnsafeArchive, "cut off"),
        ("none.zip", &whole[..], Code::UnsafeArchive, "malformed"),
        ("none.tar.zst", &whole[..], Code::UnsafeArchive, "damaged"),
    ] {
        world.file(file, content);
        let wire = Wire::to(&world.address).await;
        let (connection, package) = (connect(&wire.address), format!("\"{file}\""));
        let refused = publish_package(&world, &connection, "1.0.0", &package).await;
        let body = refused.unwrap_err().to_body();
        assert_eq!(body.code, code, "{body:#?}");
        let text = format!("{} {:?}", body.message, body.causes);
        assert!(text.contains(file) && text.contains(said) && body.hint.is_some(), "{body:#?}");
        assert_eq!(wire.up.load(Ordering::SeqCst), 0, "{file}");
    }
    // The same bytes are fine where they are said to be no archive.
    world.file("none.zip.__info", br#"{"Type":"application/octet-stream","Encoding":""}"#);
    publish_package(&world, &world.connect(), "1.0.0", "\"none.zip\"").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_needs_a_large_window_is_refused_with_the_command_that_repacks_it() {
    let world = start().await;
    let long = through("zstd", &["-c", "--long=28"], &tar(&["a"], &[7; 1000]));
    world.file("long.tar.zst", &long);
    let refused = publish_package(&world, &world.connect(), "1.0.0", "\"long.tar.zst\"").await;
    let body = refused.unwrap_err().to_body();
    assert_eq!(body.code, Code::TooLarge, "{body:#?}");
    let hint = body.hint.unwrap();
    let command = hint.split(": ").last().unwrap();
    assert!(command.contains("long.tar.zst"), "{hint}");
    // It is a command that can be run, and what it makes is taken.
    let dir = world.file("long.tar.zst", &long);
    let ran = Command::new("sh").args(["-c", command]).current_dir(dir.parent().unwrap()).status();
    assert!(ran.unwrap().success(), "{command}");
    publish_package(&world, &world.connect(), "1.0.0", "\"repacked.tar.zst\"").await.unwrap();
    // Who knows the machines may allow more.
    let more = Limits { window: 1 << 28, ..Limits::default() };
    let allowed = publish_within(&world, &world.connect(), "1.1.0", "\"long.tar.zst\"", more).await;
    let envelope = envelope(&world.connect(), "demo/a@1.1.0").await;
    assert!(allowed.unwrap().published && envelope.window == 1 << 28);
}

async fn envelope(connection: &Connection, reference: &str) -> wire::v1::MeasuredBody {
    let reference = reference.parse().unwrap();
    let found = connection.applications().find(&reference, &[model::Profile::any()]).await.unwrap();
    found.packages[&"p".parse().unwrap()].measured.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_without_figures_is_measured_once_by_the_publication_that_names_it() {
    let world = start().await;
    let archive = tar(&["a", "b/c"], &bytes(1_000_000, 3));
    put(&world, "shared/data", "application/x-tar", &archive);
    let connection = world.connect();
    let stat = connection.objects().stat(&name("shared/data")).await.unwrap();
    assert_eq!(stat.measured, None);
    let package = "{ object = \"shared/data\" }";
    publish_package(&world, &connection, "1.0.0", package).await.unwrap();
    let stat = connection.objects().stat(&name("shared/data")).await.unwrap();
    assert_eq!(stat.measured.unwrap().unpacked_bytes, 2_000_000);
    assert_eq!(envelope(&connection, "demo/a").await, stat.measured.unwrap());

    let wire = Wire::to(&world.address).await;
    publish_package(&world, &connect(&wire.address), "1.1.0", package).await.unwrap();
    assert!(wire.down.load(Ordering::SeqCst) < 100_000, "it was fetched again");
    assert_eq!(envelope(&connection, "demo/a@1.1.0").await, stat.measured.unwrap());

    put(&world, "shared/bomb", "application/x-tar", &archive);
    let small = Limits { unpacked_bytes: 1_999_999, ..Limits::default() };
    let package = "{ object = \"shared/bomb\" }";
    let refused = publish_within(&world, &connection, "1.2.0", package, small).await.unwrap_err();
    assert_eq!(refused.code(), Code::TooLarge);
    put(&world, "shared/none", "application/zip", &archive);
    let refused =
        publish_package(&world, &connection, "1.2.0", "{ object = \"shared/none\" }").await;
    assert_eq!(refused.unwrap_err().code(), Code::UnsafeArchive);
}

#[tokio::test(flavor = "multi_thread")]
async fn measuring_what_is_in_the_repository_survives_a_line_that_breaks() {
    let world = start().await;
    let archive = tar(&["a"], &bytes(3_000_000, 3));
    put(&world, "shared/data", "application/x-tar", &archive);
    let wire = Wire::to(&world.address).await;
    wire.cut_each_after_down(400_000);
    let told = Arc::new(Told::default());
    let progress: Arc<dyn Progress> = told.clone();
    let manifest = manifest(&world, "1.0.0", "{ object = \"shared/data\" }");
    let limits = Limits::default();
    publish(&connect(&wire.address), &manifest, limits, &progress).await.unwrap();
    let stat = world.connect().objects().stat(&name("shared/data")).await.unwrap();
    assert_eq!(stat.measured.unwrap().unpacked_bytes, 3_000_000);
    // What had come was not fetched again.
    assert!(wire.cuts() >= 7 && wire.down.load(Ordering::SeqCst) < 4_000_000);
    assert!(told.notes.lock().unwrap().iter().any(|note| note.ends_with("trying again")));
}
