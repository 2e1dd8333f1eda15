//! What the repository is asked for, step by step, and what must be true after each.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use binary_repository::catalog::sqlite::Sqlite;
use binary_repository::catalog::{Catalog, Claim};
use binary_repository::{
    BinaryRepository, Clock, CompleteError, DeleteError, NewObject, PartError, Stated,
};
use durable::Disk;
use durable::faults::{Recorder, Script};
use model::lifecycle::BlobState;
use model::{Caller, Digest, MediaInfo, Pin, Timestamp, part_size_for};
use tempfile::TempDir;
use wire::v1::{StatedPart, UploadRequest};

use crate::mortal::{Commit, Death, Mortal};
use crate::{Shared, mortal};

type Failure = Box<dyn std::error::Error>;

/// How large the uploads are: in two parts, or small, where every write is cut and torn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Size {
    TwoParts,
    Small,
}

/// The steps, and the objects that are there after each.
pub(crate) const STEPS: [(&str, &[&str]); 8] = [
    ("put one", &["one"]),
    ("put its twin", &["one", "twin"]),
    ("upload", &["one", "twin", "upload"]),
    ("send the first part of another", &["one", "twin", "upload"]),
    ("remove the twin while one is held", &["one", "upload"]),
    ("remove one and sweep", &["upload"]),
    ("put one again", &["one", "upload"]),
    ("put two", &["one", "two", "upload"]),
];

/// The workload in a directory of its own.
pub(crate) struct Run {
    scratch: TempDir,
    recorder: Recorder,
    catalog: Arc<Mortal>,
    repository: Option<Arc<BinaryRepository>>,
    size: Size,
}

impl Run {
    pub(crate) fn prepare(death: Death, size: Size, commits: Option<Shared<Vec<Commit>>>) -> Run {
        let scratch = tempfile::tempdir().unwrap();
        let database = scratch.path().join("catalog.sqlite");
        let data = scratch.path().join("data");
        std::fs::create_dir(&data).unwrap();
        let recorder = Recorder::new(scratch.path()).unwrap();
        let disk = Disk::open_recorded(&data, &recorder).unwrap();
        let first = Sqlite::open(&database).unwrap();
        let catalog = mortal(&recorder, death, first, commits.map(|commits| (database, commits)));
        let repository =
            BinaryRepository::open_on(disk, catalog.clone(), Clock::new(|| at(0))).ok();
        Run { scratch, recorder, catalog, repository, size }
    }

    pub(crate) fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    pub(crate) fn survived(&self) -> bool {
        !self.catalog.is_dead()
    }

    /// Goes on after so many steps; says how many are done when it ends or breaks off.
    pub(crate) fn go_on_from(&self, done: usize) -> usize {
        let Some(repository) = &self.repository else { return done };
        (done..STEPS.len())
            .find(|&n| step(repository, n, self.size).is_err())
            .unwrap_or(STEPS.len())
    }

    pub(crate) fn step(&self, number: usize) -> Result<(), Failure> {
        step(self.repository.as_ref().unwrap(), number, self.size)
    }

    /// What the next process finds, and that it comes to the end.
    pub(crate) fn restart_and_check(mut self, done: usize, when: &str) {
        self.repository = None;
        self.recorder.play(Script::Nothing);
        let data = self.scratch.path().join("data");
        let disk = Disk::open_recorded(&data, &self.recorder).unwrap();
        let catalog = Arc::new(Sqlite::open(&self.scratch.path().join("catalog.sqlite")).unwrap());
        check(disk, &catalog, &data, done, self.size, when);
    }
}

/// Opens what is left after `done` steps, checks it, goes on to the end, and checks that.
pub(crate) fn check(
    disk: Disk,
    catalog: &Arc<Sqlite>,
    data: &Path,
    done: usize,
    size: Size,
    when: &str,
) {
    let now = Arc::new(AtomicI64::new(at(1).as_millis()));
    let clock = now.clone();
    let clock = Clock::new(move || Timestamp::from_millis(clock.load(Ordering::SeqCst)));
    let repository = BinaryRepository::open_on(disk, catalog.clone(), clock)
        .unwrap_or_else(|error| panic!("{when}: {error:?}"));
    check_state(&repository, &**catalog, data, [done, done + 1], when);
    if done > 3 {
        let half = upload_request("half", size);
        let missing = repository.begin(half, Caller::Loopback).unwrap().missing;
        assert!(!missing.contains(&1), "{when}: a part that was acknowledged is lost");
    }
    for number in done..STEPS.len() {
        step(&repository, number, size)
            .unwrap_or_else(|why| panic!("{when}, step {number}: {why}"));
    }
    complete(&repository, "half", size).unwrap_or_else(|why| panic!("{when}: {why}"));
    repository.delete(&"half".parse().unwrap()).unwrap();
    now.store(at(1_000_000).as_millis(), Ordering::SeqCst);
    repository.sweep().unwrap();
    check_state(&repository, &**catalog, data, [STEPS.len(); 2], &format!("{when}, at the end"));
    let wanted: BTreeSet<Digest> = objects(&**catalog).values().copied().collect();
    let kept: BTreeSet<Digest> = present(&**catalog).into_keys().collect();
    assert_eq!(kept, wanted, "{when}: at the end only what is wanted is kept");
}

/// Is what there is one of these two states, and whole?
fn check_state(
    repository: &BinaryRepository,
    catalog: &dyn Catalog,
    data: &Path,
    after: [usize; 2],
    when: &str,
) {
    let there = objects(catalog);
    let expected = after.map(|steps| match steps.min(STEPS.len()).checked_sub(1) {
        Some(last) => STEPS[last].1.iter().copied().collect(),
        None => BTreeSet::new(),
    });
    for name in expected[0].intersection(&expected[1]) {
        assert!(there.contains_key(*name), "{when}: `{name}` is lost, there are {there:?}");
    }
    for (name, digest) in &there {
        let legal = expected.iter().any(|names| names.contains(&name.as_str()));
        assert!(legal, "{when}: `{name}` came back");
        let (_, content) = repository
            .read(&name.parse().unwrap())
            .unwrap_or_else(|error| panic!("{when}: `{name}` is there and {error}"));
        let bytes = content.read_exact_at(0, content.size() as usize).unwrap();
        assert_eq!(Digest::of(&bytes), *digest, "{when}: `{name}` is not whole");
    }
    for state in [BlobState::Writing, BlobState::Doomed] {
        assert_eq!(catalog.blobs_in(state).unwrap(), [], "{when}: left {state}");
    }
    let rows: BTreeMap<String, u64> =
        present(catalog).into_iter().map(|(digest, size)| (digest.hex(), size)).collect();
    assert_eq!(files(&data.join("blobs")), rows, "{when}: blobs on disk and in the catalog");
    let uploads: BTreeSet<String> =
        catalog.uploads_in_progress().unwrap().iter().map(|u| u.id.to_string()).collect();
    for name in files(&data.join("staging")).into_keys() {
        assert!(uploads.contains(&name), "{when}: {name} is left in staging");
    }
    assert!(files(&data.join("trash")).is_empty(), "{when}: left in trash");
}

fn step(repository: &BinaryRepository, number: usize, size: Size) -> Result<(), Failure> {
    let name = |text: &str| text.parse().unwrap();
    match number {
        0 => put(repository, "one", b"one"),
        1 => put(repository, "twin", b"one"),
        2 => complete(repository, "upload", size),
        3 => begin_and_send(repository, "half", size, &[1]).map(drop),
        4 => {
            let pin = Pin {
                object: name("one"),
                digest: Digest::of(b"one"),
                size: 3,
                media: MediaInfo::from_file_name(""),
                measured: None,
                writable: false,
            };
            repository.hold(&[Claim { holder: "holder".into(), pins: vec![pin] }])?;
            assert!(matches!(
                repository.delete(&name("one")),
                Err(DeleteError::InUse { .. } | DeleteError::Storage(_))
            ));
            delete(repository, "twin")
        }
        5 => {
            repository.release("holder")?;
            delete(repository, "one")?;
            repository.sweep()?;
            Ok(())
        }
        6 => put(repository, "one", b"one"),
        _ => put(repository, "two", b"two"),
    }
}

fn put(repository: &BinaryRepository, name: &str, bytes: &[u8]) -> Result<(), Failure> {
    let (name, media) = (name.parse()?, MediaInfo::from_file_name(""));
    let new = NewObject { name, media, caller: Caller::Loopback };
    repository.put(new, Stated::default(), &mut &*bytes)?;
    Ok(())
}

/// Removed is removed, by whichever attempt.
fn delete(repository: &BinaryRepository, name: &str) -> Result<(), Failure> {
    match repository.delete(&name.parse()?) {
        Err(DeleteError::NotFound { .. }) | Ok(()) => Ok(()),
        Err(other) => Err(other.into()),
    }
}

fn complete(repository: &BinaryRepository, name: &str, size: Size) -> Result<(), Failure> {
    let id = begin_and_send(repository, name, size, &[1, 2])?;
    match repository.complete(id) {
        Ok(_) => Ok(()),
        Err(error @ CompleteError::Digest { .. }) => panic!("the parts were verified: {error}"),
        Err(error) => Err(error.into()),
    }
}

fn begin_and_send(
    repository: &BinaryRepository,
    name: &str,
    size: Size,
    numbers: &[u32],
) -> Result<model::UploadId, Failure> {
    let begun = repository.begin(upload_request(name, size), Caller::Loopback)?;
    let bytes = content(name, size);
    let usual = part_size_for(bytes.len() as u64) as usize;
    for number in begun.missing.into_iter().filter(|number| numbers.contains(number)) {
        let part = bytes.chunks(usual).nth(number as usize - 1).unwrap();
        match repository.part(begun.id, number, Stated::default(), &mut Slowly(part)) {
            Ok(()) => {}
            Err(error @ PartError::Digest { .. }) => panic!("{error}"),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(begun.id)
}

fn upload_request(name: &str, size: Size) -> UploadRequest {
    let bytes = content(name, size);
    let stated = |part: &[u8]| StatedPart { size: part.len() as u64, digest: Digest::of(part) };
    let usual = part_size_for(bytes.len() as u64) as usize;
    UploadRequest {
        name: name.parse().unwrap(),
        media_type: "application/x-tar".parse().unwrap(),
        encoding: None,
        size: bytes.len() as u64,
        digest: Digest::of(&bytes),
        parts: bytes.chunks(usual).map(stated).collect(),
        measured: None,
    }
}

fn content(name: &str, size: Size) -> Vec<u8> {
    let length: usize = match size {
        Size::TwoParts => 4 * 1024 * 1024 + 5,
        Size::Small => 300,
    };
    let mut bytes = name.as_bytes().repeat(length.div_ceil(name.len()));
    bytes.truncate(length);
    bytes
}

fn objects(catalog: &dyn Catalog) -> BTreeMap<String, Digest> {
    let all = catalog.objects("", None, 100).unwrap();
    all.into_iter().map(|object| (object.name.to_string(), object.digest)).collect()
}

fn present(catalog: &dyn Catalog) -> BTreeMap<Digest, u64> {
    catalog.blobs_in(BlobState::Present).unwrap().into_iter().collect()
}

fn files(dir: &Path) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    let mut waiting: Vec<PathBuf> = vec![dir.to_owned()];
    while let Some(dir) = waiting.pop() {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let facts = entry.metadata().unwrap();
            match facts.is_dir() {
                true => waiting.push(entry.path()),
                false => drop(found.insert(entry.file_name().into_string().unwrap(), facts.len())),
            }
        }
    }
    found
}

/// A body that comes in two pieces, whatever is asked for.
struct Slowly<'a>(&'a [u8]);

impl Read for Slowly<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = into.len().min(self.0.len().div_ceil(2));
        (&self.0[..count]).read(&mut into[..count])?;
        self.0 = &self.0[count..];
        Ok(count)
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_millis(1_790_000_000_000 + second * 1000)
}
