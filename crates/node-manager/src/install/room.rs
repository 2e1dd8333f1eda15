//! Room on the disk: what an install takes, what is promised to those under way, and whether there is
//! enough for one more. The judgement is pure; the ledger is memory alone, and gone with the process that
//! the installs are gone with.
//!
//! A promise is never smaller than what is still to be written. A download that is under way counts what
//! has not arrived yet, as its file in `staging/` says at the moment of the question; a tree counts whole
//! until it has its name, since nobody knows how much of it lies in `staging/`. What two installs want is
//! received and unpacked once, and counts once.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use durable::{DiskError, Space};
use model::Digest;

use crate::store::{Store, TreeKey};

/// Room on a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Room {
    /// Bytes, in whole blocks.
    pub(crate) bytes: u64,
    /// Files, directories and links.
    pub(crate) inodes: u64,
}

/// One thing that is brought in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Thing {
    /// Downloaded bytes.
    Blob(Digest),
    /// An unpacked tree, by name.
    Tree(String),
}

/// What each thing takes.
pub(crate) type Claims = BTreeMap<Thing, Room>;

/// There is not enough room; nothing was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) struct Shortage {
    /// What it takes.
    pub(crate) needed: Room,
    /// What is free.
    pub(crate) free: Room,
    /// Bytes that stay free whatever happens.
    pub(crate) reserved: u64,
    /// What installs under way will still take.
    pub(crate) promised: Room,
    /// Bytes that a collection of the store would free, if that is known.
    pub(crate) reclaimable: Option<u64>,
}

/// What is promised to installs under way.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<Promises>);

#[derive(Debug, Default)]
struct Promises {
    next: u64,
    made: BTreeMap<u64, Claims>,
}

/// Room that is promised to one install, until this value is dropped.
#[derive(Debug)]
#[must_use = "the room is given back when this value is dropped"]
pub(crate) struct Promise {
    ledger: Arc<Ledger>,
    number: u64,
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
        let space = store.disk().space()?;
        let mut arrived = BTreeMap::new();
        for thing in claims.keys().chain(promises.made.values().flat_map(BTreeMap::keys)) {
            if let Thing::Blob(digest) = thing {
                arrived.insert(*digest, store.arrived(digest)?);
            }
        }
        let reserved = reserve.unwrap_or_else(|| usual_reserve(space.total_bytes));
        judge(&claims, promises.made.values(), &arrived, space, reserved)?;
        let number = promises.next;
        promises.next += 1;
        promises.made.insert(number, claims);
        Ok(Promise { ledger: self.clone(), number })
    }

    fn lock(&self) -> MutexGuard<'_, Promises> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
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

/// Is there room for these claims beside those of others?
fn judge<'a>(
    mine: &Claims,
    others: impl Iterator<Item = &'a Claims>,
    arrived: &BTreeMap<Digest, u64>,
    space: Space,
    reserved: u64,
) -> Result<(), Shortage> {
    let to_come = |(thing, room): (&Thing, &Room)| match thing {
        Thing::Blob(digest) => {
            let arrived = arrived.get(digest).copied().unwrap_or_default();
            Room { bytes: room.bytes.saturating_sub(arrived / BLOCK * BLOCK), ..*room }
        }
        Thing::Tree(_) => *room,
    };
    let sum = |claims: &Claims| claims.iter().map(to_come).fold(Room::default(), Room::and);
    let needed = sum(mine);
    let mut theirs = Claims::new();
    for (thing, room) in others.flatten().filter(|(thing, _)| !mine.contains_key(thing)) {
        let known = theirs.entry(thing.clone()).or_default();
        known.bytes = known.bytes.max(room.bytes);
        known.inodes = known.inodes.max(room.inodes);
    }
    let promised = sum(&theirs);
    let free = Room { bytes: space.free_bytes, inodes: space.free_inodes };
    let all = needed.and(promised).and(Room { bytes: reserved, inodes: 0 });
    // What takes nothing is done on the fullest disk too.
    if needed == Room::default() || (all.bytes <= free.bytes && all.inodes <= free.inodes) {
        return Ok(());
    }
    Err(Shortage { needed, free, reserved, promised, reclaimable: None })
}

/// What stays free where nobody said how much: for records, logs and the links of instances.
fn usual_reserve(total: u64) -> u64 {
    (total / 50).min(64 << 20)
}

/// Bytes in whole blocks.
pub(crate) fn whole_blocks(bytes: u64) -> u64 {
    bytes.div_ceil(BLOCK).saturating_mul(BLOCK)
}

/// What a tree takes that was measured when it was published: its content, its manifest, and the
/// directories around both.
pub(crate) fn of_tree(measured: &model::Measured) -> Room {
    let line = MANIFEST_LINE.saturating_add(u64::from(measured.deepest_path));
    let manifest = whole_blocks(measured.entries.saturating_mul(line));
    let around = 4; // the tree, its files, its manifest, and the directory that it lies in
    let content = match measured.disk_bytes {
        // Measured by an older fettle: each file may have one block that is not full.
        0 => measured.unpacked_bytes.saturating_add(measured.inodes.saturating_mul(BLOCK)),
        bytes => bytes,
    };
    Room {
        bytes: content.saturating_add(manifest).saturating_add(around * BLOCK),
        inodes: measured.inodes.saturating_add(around),
    }
}

impl TreeKey {
    /// What the ledger calls it.
    pub(crate) fn thing(&self) -> Thing {
        Thing::Tree(self.to_string())
    }
}

impl Room {
    /// Both together.
    pub(crate) fn and(self, other: Room) -> Room {
        Room {
            bytes: self.bytes.saturating_add(other.bytes),
            inodes: self.inodes.saturating_add(other.inodes),
        }
    }
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shortage { needed, free, reserved, promised, .. } = self;
        let short = |needed: u64, kept: u64, free: u64| needed.saturating_add(kept) > free;
        if short(needed.bytes, reserved.saturating_add(promised.bytes), free.bytes) {
            write!(
                f,
                "this takes {} bytes on the node's disk, where {} are free: {reserved} of them are \
                 the reserve, and {} are promised to other installs",
                needed.bytes, free.bytes, promised.bytes
            )
        } else {
            write!(
                f,
                "this takes {} files and directories on the node's disk, where {} are free: {} of \
                 them are promised to other installs",
                needed.inodes, free.inodes, promised.inodes
            )
        }
    }
}

/// What file systems give out at a time.
const BLOCK: u64 = model::Measured::BLOCK;
/// A line of a tree's manifest without its path: names of fields, a digest, a size, a time.
const MANIFEST_LINE: u64 = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(n: u8) -> Thing {
        Thing::Blob(Digest::of(&[n]))
    }

    fn claims(things: &[(Thing, u64)]) -> Claims {
        let room = |blocks| Room { bytes: blocks * BLOCK, inodes: 1 };
        things.iter().map(|(thing, blocks)| (thing.clone(), room(*blocks))).collect()
    }

    fn space(blocks: u64, inodes: u64) -> Space {
        Space { total_bytes: 1000 * BLOCK, free_bytes: blocks * BLOCK, free_inodes: inodes }
    }

    #[test]
    fn there_is_room_if_reserve_and_promises_leave_it() {
        let nothing = BTreeMap::new();
        let mine = claims(&[(blob(1), 10), (Thing::Tree("t".into()), 20)]);
        let other = claims(&[(blob(2), 5)]);
        let fits = |free, inodes| {
            judge(&mine, [&other].into_iter(), &nothing, space(free, inodes), 7 * BLOCK)
        };
        assert_eq!(fits(42, 3), Ok(()));
        let short = fits(41, 3).unwrap_err();
        assert_eq!((short.needed.bytes, short.promised.bytes), (30 * BLOCK, 5 * BLOCK));
        assert!(short.to_string().contains("122880 bytes"), "{short}");
        let short = fits(42, 2).unwrap_err();
        assert!(short.to_string().starts_with("this takes 2 files"), "{short}");
    }

    #[test]
    fn what_another_install_wants_too_counts_once() {
        let both = claims(&[(blob(1), 10)]);
        assert_eq!(judge(&both, [&both].into_iter(), &BTreeMap::new(), space(10, 1), 0), Ok(()));
    }

    #[test]
    fn what_has_arrived_is_not_to_come_whoever_receives_it() {
        let arrived = [(Digest::of(&[1]), 3 * BLOCK + 1), (Digest::of(&[2]), 99 * BLOCK)].into();
        let (mine, other) = (claims(&[(blob(1), 10)]), claims(&[(blob(2), 10)]));
        let judged = |free| judge(&mine, [&other].into_iter(), &arrived, space(free, 9), 0);
        assert_eq!(judged(7), Ok(()));
        assert_eq!(judged(6).unwrap_err().needed.bytes, 7 * BLOCK);
    }

    #[test]
    fn what_takes_nothing_needs_no_room() {
        assert_eq!(judge(&Claims::new(), [].iter(), &BTreeMap::new(), space(0, 0), 1), Ok(()));
    }

    #[test]
    fn the_usual_reserve_is_small_on_a_small_disk() {
        assert_eq!(usual_reserve(1 << 40), 64 << 20);
        assert_eq!(usual_reserve(100 << 20), 2 << 20);
    }

    #[test]
    fn a_promise_ends_with_what_was_brought_in_or_with_its_value() {
        let dir = tempfile::tempdir().unwrap();
        let disk = durable::Disk::create(dir.path()).unwrap();
        let unpacker = unpacker::Unpacker::new(unpacker::Isolation::Inline);
        let store = Store::new(disk, unpacker, archive::Limits::default());
        let (ledger, giant) = (Arc::new(Ledger::default()), u64::MAX / BLOCK);
        let ask = |thing, blocks| ledger.promise(&store, claims(&[(thing, blocks)]), Some(0));
        let held = ask(blob(1), 1).unwrap();
        assert!(matches!(ask(blob(2), giant), Err(PromiseError::Shortage(_))));
        let promised = || ledger.lock().made.values().map(BTreeMap::len).collect::<Vec<_>>();
        assert_eq!(promised(), [1]);
        held.kept(&blob(1));
        assert_eq!(promised(), [0]);
        drop(held);
        assert!(promised().is_empty());
    }
}
