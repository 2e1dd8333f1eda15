//! Room on the disk: what an operation takes, and whether that is there beside what others were promised.
//! Pure: what was promised, `ledger` keeps; what is there, it asks.
//!
//! What a tree takes is never estimated too small: its content was measured when it was published, its
//! manifest and its directories have a bound that follows from what was measured.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use durable::Space;
use model::{Digest, Measured, Pin, counted};

use crate::store::TreeKey;

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
    /// Bytes downloaded once more, to take the place of those that are there.
    BlobAgain(Digest),
    /// A tree unpacked once more, to mend the one that is there.
    TreeAgain(String),
    /// A copy of a writable package, and where it will lie.
    Copy(PathBuf),
}

/// What each thing takes.
pub(crate) type Claims = BTreeMap<Thing, Room>;

/// What has been written of things already, and is no longer free.
pub(crate) type Arrived = BTreeMap<Thing, Room>;

/// There is not enough room; nothing was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) struct Shortage {
    /// What it takes.
    pub(crate) needed: Room,
    /// What is free.
    pub(crate) free: Room,
    /// Bytes that stay free whatever happens.
    pub(crate) reserved: u64,
    /// What operations under way will still take.
    pub(crate) promised: Room,
    /// Bytes that a collection of the store would free, if that is known.
    pub(crate) reclaimable: Option<u64>,
}

/// Is there room for these claims beside those of others?
pub(super) fn judge<'a>(
    mine: &Claims,
    others: impl Iterator<Item = &'a Claims>,
    arrived: &Arrived,
    space: Space,
    reserved: u64,
) -> Result<(), Shortage> {
    let to_come = |(thing, room): (&Thing, &Room)| {
        let arrived = arrived.get(thing).copied().unwrap_or_default();
        Room {
            bytes: room.bytes.saturating_sub(arrived.bytes / BLOCK * BLOCK),
            inodes: room.inodes.saturating_sub(arrived.inodes),
        }
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
pub(super) fn usual_reserve(total: u64) -> u64 {
    (total / 50).min(64 << 20)
}

/// Bytes in whole blocks.
fn whole_blocks(bytes: u64) -> u64 {
    bytes.div_ceil(BLOCK).saturating_mul(BLOCK)
}

/// What downloaded bytes take.
pub(crate) fn of_blob(pin: &Pin) -> Room {
    Room { bytes: whole_blocks(pin.size), inodes: 1 }
}

/// What a small directory takes.
pub(crate) fn of_a_directory() -> Room {
    Room { bytes: BLOCK, inodes: 1 }
}

/// What a tree takes that was measured when it was published: its files and directories, its manifest,
/// and the directories around both.
pub(crate) fn of_tree(measured: &Measured) -> Room {
    let line = MANIFEST_LINE.saturating_add(u64::from(measured.deepest_path));
    let manifest = whole_blocks(measured.entries.saturating_mul(line));
    let around = 4; // the tree, its files, its manifest, and the directory that it lies in
    let files = of_files(measured);
    Room {
        bytes: files.bytes.saturating_add(manifest).saturating_add(around * BLOCK),
        inodes: files.inodes.saturating_add(around),
    }
}

/// What the files and directories of a tree take by themselves.
pub(crate) fn of_files(measured: &Measured) -> Room {
    let content = match measured.disk_bytes {
        // Measured by an older fettle: each file may have one block that is not full.
        0 => measured.unpacked_bytes.saturating_add(measured.inodes.saturating_mul(BLOCK)),
        bytes => bytes,
    };
    Room { bytes: content.saturating_add(of_names(measured)), inodes: measured.inodes }
}

/// What the names in directories may take beyond the one block of each directory that was measured. An
/// entry of an ext4 directory has 8 bytes and the name, in fours ("Directory Entries" of the kernel's
/// ext4 documentation); a block that is full is split into two that are half full, which is the worst
/// that is left of a directory that only grows, and one block in a hundred is an index.
fn of_names(measured: &Measured) -> u64 {
    let longest = u64::from(measured.deepest_path).min(255);
    let entry = (8 + longest).next_multiple_of(4);
    // Every entry of the archive has a name, and so has every directory that none mentions.
    let names = measured.entries.saturating_add(measured.inodes);
    // A directory of one block was counted; one that is larger has more than a block's half of names.
    match names.saturating_mul(entry) {
        few if few <= BLOCK / 2 => 0,
        many => whole_blocks(many.saturating_mul(2).saturating_add(many / 50)),
    }
}

impl TreeKey {
    /// What the ledger calls it.
    pub(crate) fn thing(&self) -> Thing {
        Thing::Tree(self.to_string())
    }
}

impl Room {
    /// More than any thing takes.
    pub(crate) const ALL: Room = Room { bytes: u64::MAX, inodes: u64::MAX };

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
                "this takes {} on the node's disk, where {} are free: {reserved} of them are \
                 the reserve, and {} are promised to other operations",
                counted(needed.bytes, "byte"),
                free.bytes,
                promised.bytes
            )
        } else {
            write!(
                f,
                "this takes {} on the node's disk (files, directories and links), where {} are free: \
                 {} of them are promised to other operations",
                counted(needed.inodes, "inode"),
                free.inodes,
                promised.inodes
            )
        }
    }
}

/// What file systems give out at a time.
const BLOCK: u64 = Measured::BLOCK;
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
        assert!(short.to_string().starts_with("this takes 2 inodes"), "{short}");
    }

    #[test]
    fn what_another_install_wants_too_counts_once() {
        let both = claims(&[(blob(1), 10)]);
        assert_eq!(judge(&both, [&both].into_iter(), &BTreeMap::new(), space(10, 1), 0), Ok(()));
    }

    #[test]
    fn what_has_arrived_is_not_to_come_whoever_receives_it() {
        let bytes = |bytes| Room { bytes, inodes: 0 };
        let arrived = [(blob(1), bytes(3 * BLOCK + 1)), (blob(2), bytes(99 * BLOCK))].into();
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

    /// On whatever file system the tests run; ext4's directories are the ones that the bound is about.
    #[test]
    #[allow(clippy::disallowed_methods, reason = "nothing is to last")]
    fn directories_with_many_names_take_no_more_than_is_said() {
        use std::os::unix::fs::MetadataExt as _;
        let dir = tempfile::tempdir().unwrap();
        for (count, length) in [(40u32, 20usize), (3000, 12), (3000, 200)] {
            let inside = dir.path().join(format!("{count}-{length}"));
            std::fs::create_dir(&inside).unwrap();
            let original = inside.join("original");
            std::fs::write(&original, "").unwrap();
            for number in 0..count {
                let name = format!("{:0length$}", number.wrapping_mul(2_654_435_761));
                std::fs::hard_link(&original, inside.join(name)).unwrap();
            }
            let measured = Measured {
                entries: u64::from(count) + 1,
                unpacked_bytes: 0,
                largest_file: 0,
                inodes: 2,
                deepest_path: u32::try_from(length).unwrap(),
                disk_bytes: BLOCK,
                window: 0,
            };
            let taken = std::fs::metadata(&inside).unwrap().blocks() * 512;
            let said = of_files(&measured).bytes;
            println!("{count} names of {length} bytes take {taken}, {said} were said");
            assert!(taken <= said, "{taken} bytes where {said} were said");
        }
    }
}
