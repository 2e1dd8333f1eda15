//! Random interleavings of what several callers ask for, against a model in memory that knows nothing of
//! files, catalogs and leases: who has which name, and which parts were sent.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use binary_repository::{
    BeginError, BinaryRepository, Clock, CompleteError, Config, DeleteError, NewObject, PartError,
    PutError, ReadError, Stated,
};
use model::{Caller, Digest, MediaInfo, Timestamp, UploadId, part_size_for};
use proptest::prelude::*;
use tempfile::TempDir;
use wire::v1::{StatedPart, UploadRequest};

/// What somebody does. Callers, names and contents are few, so that they meet.
#[derive(Debug, Clone, Copy)]
enum Act {
    Put { name: usize, content: usize },
    Begin { caller: u32, name: usize, content: usize },
    Part { caller: u32, name: usize, content: usize, number: u32, spoilt: bool },
    Complete { caller: u32, name: usize, content: usize },
    Delete { name: usize },
    Sweep,
    Pass { hours: i64 },
    Restart,
}

#[derive(Debug, Default)]
struct Model {
    objects: BTreeMap<usize, usize>,
    /// By caller, name and content: the id, and the parts that were sent.
    uploads: BTreeMap<(u32, usize, usize), (UploadId, BTreeSet<u32>)>,
    /// Contents whose bytes were in place at some time: they may still be, unless an object has them, when
    /// they must be.
    once_here: BTreeSet<usize>,
}

struct World {
    dir: TempDir,
    now: Arc<AtomicI64>,
    repository: Option<Arc<BinaryRepository>>,
    model: Model,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn names_and_parts_are_as_the_model_says(acts in prop::collection::vec(act(), 1..60)) {
        let mut world = World::new();
        for act in acts {
            world.act(act);
            world.check_objects();
        }
        world.end();
    }
}

fn act() -> impl Strategy<Value = Act> {
    let (caller, name, content) = (|| 0..2u32, || 0..NAMES.len(), || 0..3usize);
    prop_oneof![
        2 => (name(), content()).prop_map(|(name, content)| Act::Put { name, content }),
        4 => (caller(), name(), content())
            .prop_map(|(caller, name, content)| Act::Begin { caller, name, content }),
        6 => (caller(), name(), content(), 1..4u32, prop::bool::weighted(0.1)).prop_map(
            |(caller, name, content, number, spoilt)| Act::Part { caller, name, content, number, spoilt }
        ),
        4 => (caller(), name(), content())
            .prop_map(|(caller, name, content)| Act::Complete { caller, name, content }),
        2 => name().prop_map(|name| Act::Delete { name }),
        1 => Just(Act::Sweep),
        1 => (1..30i64).prop_map(|hours| Act::Pass { hours }),
        1 => Just(Act::Restart),
    ]
}

impl World {
    fn new() -> World {
        let mut world = World {
            dir: tempfile::tempdir().unwrap(),
            now: Arc::new(AtomicI64::new(1_790_000_000_000)),
            repository: None,
            model: Model::default(),
        };
        world.open();
        world
    }

    fn open(&mut self) {
        self.repository = None;
        let now = self.now.clone();
        let clock = Clock::new(move || Timestamp::from_millis(now.load(Ordering::SeqCst)));
        let config = Config { clock, ..Config::new(&self.dir.path().join("data")) };
        self.repository = Some(BinaryRepository::open(&config).unwrap());
    }

    fn repository(&self) -> Arc<BinaryRepository> {
        self.repository.clone().unwrap()
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Put { name, content } => self.put(name, content),
            Act::Begin { caller, name, content } => self.begin(caller, name, content),
            Act::Part { caller, name, content, number, spoilt } => {
                self.part(caller, name, content, number, spoilt);
            }
            Act::Complete { caller, name, content } => self.complete(caller, name, content),
            Act::Delete { name } => self.delete(name),
            Act::Sweep => drop(self.repository().sweep().unwrap()),
            Act::Pass { hours } => {
                self.now.fetch_add(hours * 3_600_000, Ordering::SeqCst);
            }
            Act::Restart => self.open(),
        }
    }

    fn put(&mut self, name: usize, content: usize) {
        let new = NewObject {
            name: NAMES[name].parse().unwrap(),
            media: MediaInfo::from_file_name(""),
            caller: Caller::Loopback,
        };
        let answer = self.repository().put(new, Stated::default(), &mut &bytes(content)[..]);
        self.model.once_here.insert(content);
        match (answer, self.model.objects.get(&name)) {
            (Ok(stored), None) => assert!(stored.new),
            (Ok(stored), Some(there)) => assert!(!stored.new && *there == content),
            (Err(PutError::NameTaken { .. }), Some(there)) => return assert_ne!(*there, content),
            (answer, there) => panic!("{answer:?}, there is {there:?}"),
        }
        self.model.objects.insert(name, content);
    }

    fn begin(&mut self, caller: u32, name: usize, content: usize) {
        let answer = self.repository().begin(request(name, content), Caller::Uid(caller));
        let key = (caller, name, content);
        let here = self.model.objects.values().any(|there| *there == content);
        match (answer, self.model.objects.get(&name)) {
            (Err(BeginError::NameTaken { .. }), Some(there)) => assert_ne!(*there, content),
            (Ok(begun), Some(there)) => {
                assert!(begun.complete && begun.missing.is_empty() && *there == content);
                self.model.uploads.insert(key, (begun.id, BTreeSet::new()));
            }
            (Ok(begun), None) => {
                assert!(!begun.complete);
                let known = self.model.uploads.get(&key).filter(|(id, _)| *id == begun.id);
                let sent = known.map(|(_, sent)| sent.clone()).unwrap_or_default();
                let lacking: Vec<u32> =
                    (1..=parts(content)).filter(|n| !sent.contains(n)).collect();
                if here {
                    assert!(begun.missing.is_empty(), "an object has these bytes");
                } else if !self.model.once_here.contains(&content) {
                    assert_eq!(begun.missing, lacking);
                } else {
                    assert!(begun.missing.is_empty() || begun.missing == lacking);
                }
                self.model.uploads.insert(key, (begun.id, sent));
            }
            (answer, there) => panic!("{answer:?}, there is {there:?}"),
        }
    }

    fn part(&mut self, caller: u32, name: usize, content: usize, number: u32, spoilt: bool) {
        let Some((id, sent)) = self.model.uploads.get_mut(&(caller, name, content)) else { return };
        let all = bytes(content);
        let usual = part_size_for(all.len() as u64) as usize;
        let mut part = all.chunks(usual).nth(number as usize - 1).unwrap_or_default().to_vec();
        if let Some(byte) = part.first_mut().filter(|_| spoilt) {
            *byte ^= 1;
        }
        let answer =
            self.repository.as_ref().unwrap().part(*id, number, Stated::default(), &mut &part[..]);
        match answer {
            Ok(()) if self.model.objects.get(&name) == Some(&content) => return, // not looked at
            Ok(()) => {
                assert!(number <= parts(content) && (!spoilt || sent.contains(&number)));
            }
            Err(PartError::NoUpload { .. }) => return, // removed with its object, or the name was taken
            Err(PartError::NoPart { .. }) => return assert!(number > parts(content)),
            Err(PartError::Digest { .. }) => return assert!(spoilt),
            Err(other) => panic!("{other:?}"),
        }
        sent.insert(number);
    }

    fn complete(&mut self, caller: u32, name: usize, content: usize) {
        let key = (caller, name, content);
        let Some((id, sent)) = self.model.uploads.get(&key) else { return };
        let all_sent = sent.len() == parts(content) as usize;
        let there = self.model.objects.get(&name).copied();
        match self.repository().complete(*id) {
            Ok(object) => {
                assert_eq!(object.digest, Digest::of(&bytes(content)));
                assert!(there.is_none_or(|there| there == content), "the name has other content");
                assert!(all_sent || self.model.once_here.contains(&content), "parts were missing");
                self.model.objects.insert(name, content);
                self.model.once_here.insert(content);
            }
            Err(CompleteError::NameTaken { .. }) => {
                assert!(there.is_some_and(|there| there != content));
                self.model.once_here.insert(content);
                self.model.uploads.remove(&key);
            }
            Err(CompleteError::Missing { missing, .. }) => {
                assert_ne!(there, Some(content));
                assert!(!missing.is_empty());
                // Sent once, put in place, given up and swept: the parts are wanted again.
                let lacking =
                    (1..=parts(content)).filter(|n| !sent.contains(n)).collect::<Vec<_>>();
                assert!(missing == lacking || self.model.once_here.contains(&content));
                let left = (1..=parts(content)).filter(|n| !missing.contains(n)).collect();
                self.model.uploads.insert(key, (*id, left));
            }
            Err(CompleteError::NoUpload { .. }) => {
                self.model.uploads.remove(&key);
            }
            Err(other) => panic!("{other:?}"),
        }
    }

    fn delete(&mut self, name: usize) {
        let answer = self.repository().delete(&NAMES[name].parse().unwrap());
        match (answer, self.model.objects.remove(&name)) {
            (Ok(()), Some(_)) | (Err(DeleteError::NotFound { .. }), None) => {}
            (answer, there) => panic!("{answer:?}, there was {there:?}"),
        }
    }

    /// Every name has what the model says, whole, or is not there.
    fn check_objects(&self) {
        for (name, text) in NAMES.iter().enumerate() {
            match (self.repository().read(&text.parse().unwrap()), self.model.objects.get(&name)) {
                (Ok((object, content)), Some(wanted)) => {
                    let found = content.read_exact_at(0, content.size() as usize).unwrap();
                    assert!(found == bytes(*wanted) && object.digest == Digest::of(&found));
                }
                (Err(ReadError::NotFound { .. } | ReadError::Incomplete { .. }), None) => {}
                (answer, wanted) => panic!("`{text}`: {answer:?}, wanted {wanted:?}"),
            }
        }
    }

    /// When all leases have ended, exactly what objects want is kept.
    fn end(mut self) {
        self.now.fetch_add(1_000 * 3_600_000, Ordering::SeqCst);
        self.repository().sweep().unwrap();
        let wanted: BTreeSet<String> =
            self.model.objects.values().map(|content| Digest::of(&bytes(*content)).hex()).collect();
        let mut kept = BTreeSet::new();
        for shard in std::fs::read_dir(self.dir.path().join("data/blobs")).into_iter().flatten() {
            for blob in std::fs::read_dir(shard.unwrap().path()).unwrap() {
                kept.insert(blob.unwrap().file_name().into_string().unwrap());
            }
        }
        assert_eq!(kept, wanted);
        self.open();
        self.check_objects();
    }
}

fn request(name: usize, content: usize) -> UploadRequest {
    let all = bytes(content);
    let stated = |part: &[u8]| StatedPart { size: part.len() as u64, digest: Digest::of(part) };
    UploadRequest {
        name: NAMES[name].parse().unwrap(),
        media_type: "application/octet-stream".parse().unwrap(),
        encoding: None,
        size: all.len() as u64,
        digest: Digest::of(&all),
        parts: all.chunks(part_size_for(all.len() as u64) as usize).map(stated).collect(),
        measured: None,
    }
}

/// Nothing, a few bytes, and two parts.
fn bytes(content: usize) -> Vec<u8> {
    vec![content as u8; [0, 5, 4 * 1024 * 1024 + 1][content]]
}

fn parts(content: usize) -> u32 {
    [0, 1, 2][content]
}

const NAMES: [&str; 2] = ["a", "b/c"];
