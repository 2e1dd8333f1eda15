//! Publishing against real repositories: what moves, what is refused, and what an attempt that was given
//! up leaves for the next one.
#![allow(clippy::disallowed_methods, reason = "tests play the user, whose files are not synced")]
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod world;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use application_repository::{ApplicationRepository, Claim, HoldError, Holder, Holds};
use archive::Limits;
use binary_repository::{BinaryRepository, Config, HoldError as Denied, HoldRefusal};
use client::publish::{Manifest, PathFault, PublishError, Published, publish};
use client::transfer::download;
use client::{Connection, NoProgress, Progress};
use model::{Digest, MediaInfo, Policy, Profile};
use wire::Code;
use wire::v1::{EnvelopeBody, ProgramBody};
use world::{LOOPBACK, Wire, World, bytes, connect, name};

const MIB: usize = 1024 * 1024;

/// The binary repository, as the application repository sees it.
#[derive(Debug)]
struct Objects(Arc<BinaryRepository>);

impl Holds for Objects {
    fn take(&self, claims: &[Claim]) -> Result<(), HoldError> {
        let claims: Vec<_> = claims
            .iter()
            .map(|claim| binary_repository::catalog::Claim {
                holder: claim.holder.to_string(),
                pins: claim.pins.clone(),
            })
            .collect();
        self.0.hold(&claims).map_err(|error| match error {
            Denied::Refused(HoldRefusal::Absent(names)) => HoldError::Absent(names),
            other => HoldError::Failed(Box::new(other)),
        })
    }
    fn release(&self, holder: &Holder) -> Result<(), HoldError> {
        let released = self.0.release(&holder.to_string());
        released.map_err(|error| HoldError::Failed(Box::new(error)))
    }
    fn holders(&self, after: Option<&str>, limit: u32) -> Result<Vec<String>, HoldError> {
        self.0.holders(after, limit).map_err(|error| HoldError::Failed(Box::new(error)))
    }
}

async fn start() -> World {
    let dir = tempfile::tempdir().unwrap();
    let config = Config::new(&dir.path().join("server"));
    let objects = BinaryRepository::open(&config).unwrap();
    let holds = Arc::new(Objects(objects.clone()));
    let applications =
        ApplicationRepository::open(&config.database, holds, || SystemTime::now().into()).unwrap();
    let policy = Policy::OpenToThisMachine;
    let service = objects.service(policy).merge(applications.service(policy));
    World::serving(dir, service, LOOPBACK).await
}

const MANIFEST: &str = r#"
title = "weather"
name = "demo/weather"
version = "1.4.0"
[program]
linux-amd64 = "bin/weather"
any = { package = "app", path = "run.sh" }
[packages]
model = "model.bin"
copy = "model.bin"
app = "app/"
"#;

/// The files of a publisher; answers where the manifest lies.
fn project(world: &World, program: &[u8], model: &[u8]) -> PathBuf {
    world.file("project/bin/weather", program);
    world.file("project/model.bin", model);
    world.file("project/app/run.sh", b"#!/bin/sh\n");
    world.file("project/weather.toml", MANIFEST.as_bytes())
}

async fn publish_at(connection: &Connection, manifest: &Path) -> Result<Published, PublishError> {
    let progress: Arc<dyn Progress> = Arc::new(NoProgress);
    publish(connection, &Manifest::read(manifest).unwrap(), Limits::default(), &progress).await
}

async fn found(connection: &Connection, reference: &str, profile: &str) -> EnvelopeBody {
    let profiles: Vec<Profile> = vec![profile.parse().unwrap(), Profile::any()];
    connection.applications().find(&reference.parse().unwrap(), &profiles).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_can_be_found_and_downloaded_by_its_pins() {
    let world = start().await;
    let manifest = project(&world, b"an executable", &bytes(MIB, 1));
    let connection = world.connect();
    let published = publish_at(&connection, &manifest).await.unwrap();
    assert!(published.published);
    assert_eq!(published.objects.len(), 3, "the same file twice is one object");
    assert_eq!(published.bytes_sent, published.bytes_total);

    let envelope = found(&connection, "demo/weather", "linux-amd64").await;
    let ProgramBody::Object(program) = &envelope.program else { panic!("{envelope:?}") };
    assert_eq!(program.digest, Digest::of(b"an executable"));
    assert_eq!(program.to_model().media, MediaInfo::from_file_name(""));
    let app = &envelope.packages[&"app".parse().unwrap()];
    assert_eq!(app.measured.unwrap().entries, 1);
    let model = &envelope.packages[&"model".parse().unwrap()];
    assert_eq!(model, &envelope.packages[&"copy".parse().unwrap()]);
    let to = world.dir.path().join("got");
    let progress: Arc<dyn Progress> = Arc::new(NoProgress);
    let got = download(&connection, &model.object, &to, &progress).await.unwrap();
    assert_eq!((got.digest, got.media), (model.digest, MediaInfo::from_file_name("a.bin")));
    let any = found(&connection, "demo/weather@1.4.0", "plan9-mips").await;
    assert!(matches!(any.program, ProgramBody::InPackage { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_again_publishes_nothing_and_moves_nothing() {
    let world = start().await;
    let manifest = project(&world, b"program", &bytes(5 * MIB, 2));
    let first = publish_at(&world.connect(), &manifest).await.unwrap();
    let wire = Wire::to(&world.address).await;
    let second = publish_at(&connect(&wire.address), &manifest).await.unwrap();
    assert!(!second.published);
    assert_eq!((second.bytes_sent, second.bytes_total), (0, first.bytes_total));
    assert!(wire.up.load(Ordering::SeqCst) < 32 * 1024);
    let names = |published: &Published| -> Vec<_> {
        published.objects.iter().map(|object| object.name.clone()).collect()
    };
    assert_eq!(names(&first), names(&second));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_version_moves_only_what_changed() {
    let world = start().await;
    let manifest = project(&world, b"program", &bytes(5 * MIB, 3));
    publish_at(&world.connect(), &manifest).await.unwrap();
    project(&world, b"program two", &bytes(5 * MIB, 3));
    let next = MANIFEST.replace("1.4.0", "1.5.0");
    let manifest = world.file("project/weather.toml", next.as_bytes());
    let published = publish_at(&world.connect(), &manifest).await.unwrap();
    assert!(published.published);
    assert_eq!(published.bytes_sent, b"program two".len() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_is_taken_is_refused_before_anything_moves() {
    let world = start().await;
    let manifest = project(&world, b"program", b"model");
    publish_at(&world.connect(), &manifest).await.unwrap();
    project(&world, b"program", &bytes(6 * MIB, 4));
    let wire = Wire::to(&world.address).await;
    let error = publish_at(&connect(&wire.address), &manifest).await;
    assert_eq!(error.unwrap_err().code(), Code::VersionTaken);
    let kept = found(&world.connect(), "demo/weather", "linux-amd64").await;
    assert_eq!(kept.packages[&"model".parse().unwrap()].digest, Digest::of(b"model"));
    assert!(wire.up.load(Ordering::SeqCst) < 32 * 1024);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_was_given_up_is_in_nobodys_way() {
    let world = start().await;
    let manifest = project(&world, b"program", &bytes(13 * MIB, 5));
    let wire = Wire::to(&world.address).await;
    wire.cut_after_up(6 * MIB as i64, true);
    let (connection, path) = (connect(&wire.address), manifest.clone());
    let first = tokio::spawn(async move { publish_at(&connection, &path).await.map(drop) });
    wire.was_cut().await;
    first.abort();
    let _ = first.await;
    let show = world.connect();
    let reference = "demo/weather".parse().unwrap();
    let nothing = show.applications().show(&reference, None).await.unwrap_err();
    assert_eq!(nothing.code(), Code::NotFound);

    // The publisher mends the program and comes back: the new bytes have a name of their own.
    project(&world, b"mended program", &bytes(13 * MIB, 5));
    let second = publish_at(&world.connect(), &manifest).await.unwrap();
    assert!(second.published);
    let envelope = found(&world.connect(), "demo/weather", "linux-amd64").await;
    let ProgramBody::Object(program) = &envelope.program else { panic!("{envelope:?}") };
    assert_eq!(program.digest, Digest::of(b"mended program"));
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_of_the_repository_are_pinned_and_missing_ones_are_refused() {
    let world = start().await;
    let manifest = project(&world, b"program", b"model");
    publish_at(&world.connect(), &manifest).await.unwrap();
    let objects = found(&world.connect(), "demo/weather", "linux-amd64").await;
    let model = &objects.packages[&"model".parse().unwrap()];
    let pinning = |object: &str| {
        let text = format!(
            "title = \"t\"\nname = \"demo/other\"\nversion = \"1.0.0\"\n\
             [program]\nany = \"bin/weather\"\n[packages]\nfonts = {{ object = \"{object}\" }}\n"
        );
        world.file("project/other.toml", text.as_bytes())
    };
    let missing = publish_at(&world.connect(), &pinning("shared/none")).await.unwrap_err();
    assert_eq!(missing.code(), Code::NotFound);
    assert!(missing.to_body().message.contains("`shared/none`, the package `fonts`"));
    let manifest = pinning(model.object.as_str());
    let published = publish_at(&world.connect(), &manifest).await.unwrap();
    assert_eq!(published.objects[1].name, model.object);
    assert_eq!(published.bytes_sent, 0, "the program is the same as that of the other one");
    let envelope = found(&world.connect(), "demo/other", "any").await;
    assert_eq!(&envelope.packages[&"fonts".parse().unwrap()], model);
    // Both versions hold it now.
    let in_use = world.connect().objects().delete(&name(model.object.as_str())).await;
    assert_eq!(in_use.unwrap_err().code(), Code::InUse);
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_that_lead_nowhere_are_refused_before_anything_is_asked() {
    let world = start().await;
    let manifest = project(&world, b"program", b"model");
    let refused = async |from: &str, to: &str| {
        assert!(MANIFEST.contains(from));
        world.file("project/weather.toml", MANIFEST.replace(from, to).as_bytes());
        let nowhere = connect("http://127.0.0.1:9");
        match publish_at(&nowhere, &manifest).await.unwrap_err() {
            PublishError::Path { of, source, .. } => (of.to_string(), source),
            other => panic!("{other:?}"),
        }
    };
    let (of, fault) = refused("bin/weather", "bin/none").await;
    assert_eq!(of, "the program for `linux-amd64`");
    assert!(matches!(fault, PathFault::Unreadable(_)));
    assert!(matches!(refused("bin/weather", "bin").await.1, PathFault::Directory));
    let (of, fault) = refused("app/", "/dev/null").await;
    assert!(of == "the package `app`" && matches!(fault, PathFault::NoContent));
}

#[tokio::test(flavor = "multi_thread")]
async fn media_info_beside_a_file_wins_over_its_name() {
    let world = start().await;
    let manifest = project(&world, b"program", b"model");
    world.file("project/model.bin.__info", br#"{"type":"text/plain","encoding":""}"#);
    publish_at(&world.connect(), &manifest).await.unwrap();
    let envelope = found(&world.connect(), "demo/weather", "linux-amd64").await;
    let model = envelope.packages[&"model".parse().unwrap()].to_model();
    assert_eq!(model.media, MediaInfo::from_file_name("a.txt"));
}
