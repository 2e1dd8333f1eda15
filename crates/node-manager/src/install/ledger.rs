//! What is promised to operations under way that bring something in, and whether there is room for one
//! more. Memory alone, and gone with the process that the operations are gone with.
//!
//! A promise is never smaller than what is still to be written, and as little larger as can be told:
//! of a download its file in `staging/` says at the moment of the question how much has arrived, of a tree
//! the directory that it is unpacked in; what has its name has arrived. What two operations want is
//! brought in once, and counts once.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use durable::DiskError;

use super::room::{Arrived, Claims, Room, Shortage, Thing, judge, usual_reserve};
use crate::layout;
use crate::store::{Store, taken};

/// What is promised to operations under way.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<Promises>);

#[derive(Debug, Default)]
struct Promises {
    next: u64,
    made: BTreeMap<u64, Claims>,
}

/// Room that is promised to one operation, until this value is dropped.
#[derive(Debug)]
#[must_use = "the room is given back when this value is dropped"]
pub(crate) struct Promise {
    ledger: Arc<Ledger>,
    number: u64,
}

/// Why no room is promised.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PromiseError {
    /// There is too little.
    #[error(transparent)]
    Shortage(#[from] Shortage),
    /// The disk cannot tell.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl Ledger {
    /// Promises room, if there is enough beside what is promised already. Blocking.
    pub(crate) fn promise(
        self: &Arc<Self>,
        store: &Store,
        claims: Claims,
        reserve: Option<u64>,
    ) -> Result<Promise, PromiseError> {
        let mut promises = self.lock();
        let mut all = Arrived::new();
        for thing in claims.keys().chain(promises.made.values().flat_map(BTreeMap::keys)) {
            if !all.contains_key(thing) {
                all.insert(thing.clone(), arrived(store, thing)?);
            }
        }
        // After what has arrived: what is written in between is then counted twice, and never not at all.
        let space = store.disk().space()?;
        let reserved = reserve.unwrap_or_else(|| usual_reserve(space.total_bytes));
        judge(&claims, promises.made.values(), &all, space, reserved)?;
        let number = promises.next;
        promises.next += 1;
        promises.made.insert(number, claims);
        Ok(Promise { ledger: self.clone(), number })
    }

    fn lock(&self) -> MutexGuard<'_, Promises> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Promise {
    /// This thing has its name: what it took is no longer free, and no longer to come.
    pub(crate) fn kept(&self, thing: &Thing) {
        if let Some(claims) = self.ledger.lock().made.get_mut(&self.number) {
            claims.remove(thing);
        }
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.ledger.lock().made.remove(&self.number);
    }
}

/// How much of a thing is on the disk.
fn arrived(store: &Store, thing: &Thing) -> Result<Room, DiskError> {
    let is_there = |path: &Path| Ok(store.disk().metadata(path)?.is_some());
    let partial = |digest| {
        let bytes = store.arrived(digest)?;
        Ok(bytes.map_or(Room::default(), |bytes| Room { bytes, inodes: 1 }))
    };
    let staged = |name| match store.unpacking(name) {
        Some(path) => taken(store.disk(), &path),
        None => Ok(Room::default()),
    };
    match thing {
        // It goes from the one place to the other, so that it is found at one of them.
        Thing::Blob(digest) => match partial(digest)? {
            part if part != Room::default() => Ok(part),
            _ if is_there(&store.blobs().path_of(layout::key(digest)))? => Ok(Room::ALL),
            _ => Ok(Room::default()),
        },
        Thing::Tree(name) => match staged(name)? {
            part if part != Room::default() => Ok(part),
            _ => match layout::tree_digest(name) {
                Some(digest) if is_there(&layout::tree_named(&digest, name))? => Ok(Room::ALL),
                _ => Ok(Room::default()),
            },
        },
        Thing::BlobAgain(digest) => partial(digest),
        Thing::TreeAgain(name) => staged(name),
        Thing::Copy(path) if is_there(path)? => Ok(Room::ALL),
        Thing::Copy(_) => Ok(Room::default()),
    }
}

#[cfg(test)]
mod tests {
    use model::{Digest, Measured};

    use super::*;

    fn store(dir: &Path) -> Store {
        let disk = durable::Disk::create(dir).unwrap();
        let unpacker = unpacker::Unpacker::new(unpacker::Isolation::Inline);
        Store::new(disk, unpacker, archive::Limits::default())
    }

    fn claim(thing: Thing, blocks: u64) -> Claims {
        [(thing, Room { bytes: blocks * Measured::BLOCK, inodes: 1 })].into()
    }

    #[test]
    fn a_promise_ends_with_what_was_brought_in_or_with_its_value() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path());
        let blob = |n: u8| Thing::Blob(Digest::of(&[n]));
        let (ledger, giant) = (Arc::new(Ledger::default()), u64::MAX / Measured::BLOCK);
        let ask = |thing, blocks| ledger.promise(&store, claim(thing, blocks), Some(0));
        let held = ask(blob(1), 1).unwrap();
        assert!(matches!(ask(blob(2), giant), Err(PromiseError::Shortage(_))));
        let promised = || ledger.lock().made.values().map(BTreeMap::len).collect::<Vec<_>>();
        assert_eq!(promised(), [1]);
        held.kept(&blob(1));
        assert_eq!(promised(), [0]);
        drop(held);
        assert!(promised().is_empty());
    }

    #[test]
    fn what_has_its_name_or_lies_in_staging_is_not_to_come() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path());
        let disk = store.disk();
        let (digest, bytes) = (Digest::of(b"x"), vec![1; 10_000]);
        let name = format!("{}.tar.2", digest.hex());
        let said = |thing: &Thing| arrived(&store, thing).unwrap();
        let (blob, tree) = (Thing::Blob(digest), Thing::Tree(name.clone()));
        let (blob_again, tree_again) = (Thing::BlobAgain(digest), Thing::TreeAgain(name.clone()));
        let copy = Thing::Copy("apps/copy".into());
        for thing in [&blob, &tree, &blob_again, &tree_again, &copy] {
            assert_eq!(said(thing), Room::default());
        }
        let mut part = disk.resume_file(&layout::partial(&digest)).unwrap();
        part.append(&bytes).unwrap();
        for thing in [&blob, &blob_again] {
            assert_eq!(said(thing), Room { bytes: 10_000, inodes: 1 });
        }
        let mut staged = disk.stage_dir().unwrap();
        let building = store.begin_unpacking(&name, staged.path());
        staged.write(Path::new("files/d/file"), &bytes, 0o444).unwrap();
        for thing in [&tree, &tree_again] {
            let Room { bytes, inodes } = said(thing);
            assert!(bytes >= 10_000 && inodes == 4, "{bytes} bytes in {inodes}");
        }
        drop(building);
        store.blobs().publish(part, layout::key(&digest), 0o444).unwrap();
        let path = layout::tree_named(&digest, &name);
        disk.make_dir(path.parent().unwrap(), 0o755).unwrap();
        staged.publish(&path, durable::Seal::ReadOnly).unwrap();
        disk.make_dir(Path::new("apps/copy"), 0o755).unwrap();
        for thing in [&blob, &tree, &copy] {
            assert_eq!(said(thing), Room::ALL);
        }
        // What is to take the place of something is not there with that.
        for thing in [&blob_again, &tree_again] {
            assert_eq!(said(thing), Room::default());
        }
    }
}
