//! What a checked archive consists of.

use std::cmp::Ordering;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::error::printable;
use crate::{Measured, Rule};

/// One checked entry: safe to create relative to the tree's root in the order given, by a writer
/// that follows no link.
///
/// A writer creates parents that are missing (they are directories; no entry announces them), and
/// takes a directory that exists already as done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it goes.
    pub path: EntryPath,
    /// What it is.
    pub kind: EntryKind,
    /// When it was last modified, if the archive says.
    pub modified: Option<Modified>,
    /// There is an earlier file or link under this name: remove the name first, then create. To
    /// write into the old file would change what is under its other names (its hard links), which
    /// keep the old content.
    pub replaces: bool,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A directory.
    Directory,
    /// A regular file, whose content follows.
    File {
        /// Bytes of content.
        size: u64,
        /// Whether anyone may execute it.
        executable: bool,
        /// Where its data is, if it has holes; else all of it is data.
        sparse: Option<SparseMap>,
    },
    /// A symbolic link.
    Symlink {
        /// Its target. Nothing to follow before the archive has been read to its end.
        target: LinkTarget,
    },
    /// Another name for an earlier file or symbolic link of this archive. The link itself is meant,
    /// not what it leads to.
    HardLink {
        /// The name of that file or link, which is there when this entry is created.
        original: EntryPath,
    },
}

/// Where the data of a file with holes is. What a reader gives as its content is the data alone, one
/// extent after the other; everything else reads as zeros.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SparseMap(Box<[Extent]>);

/// A run of data in a file with holes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Where in the file it begins.
    pub offset: u64,
    /// How many bytes it has; not 0.
    pub length: u64,
}

impl SparseMap {
    /// The map of a file of `size` bytes; empty extents are left out.
    ///
    /// `None` unless the extents are in order, do not overlap, and end within the file.
    pub fn new(extents: impl IntoIterator<Item = Extent>, size: u64) -> Option<Self> {
        let mut end = 0;
        let mut kept = Vec::new();
        for extent in extents {
            let next = extent.offset.checked_add(extent.length)?;
            if extent.offset < end || next > size {
                return None;
            }
            end = next;
            if extent.length > 0 {
                kept.push(extent);
            }
        }
        Some(Self(kept.into()))
    }

    /// The extents, in order.
    pub fn extents(&self) -> &[Extent] {
        &self.0
    }

    /// How many blocks of [`Measured::BLOCK`] bytes hold data.
    pub(crate) fn blocks(&self) -> u64 {
        let mut counted = 0;
        let mut blocks = 0;
        for extent in &self.0 {
            let first = counted.max(extent.offset / Measured::BLOCK);
            counted = (extent.offset + extent.length).div_ceil(Measured::BLOCK);
            blocks += counted - first;
        }
        blocks
    }

    /// Bytes of data.
    pub fn data(&self) -> u64 {
        self.0.iter().map(|extent| extent.length).sum()
    }
}

/// A point in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Modified {
    /// Whole seconds since 1970-01-01 UTC, rounded down.
    pub seconds: i64,
    /// Nanoseconds on top, below 1,000,000,000.
    pub nanos: u32,
}

/// A path relative to the root of a tree: one or more components joined by `/`, 4096 bytes at
/// most. A component has 1 to 255 bytes, none of them NUL or `/`, and is not `.` or `..`. Bytes:
/// not necessarily UTF-8.
///
/// Its order is the one that trees are packed in: component by component, as bytes. So a directory
/// comes right before what is in it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EntryPath(Box<[u8]>);

impl EntryPath {
    /// The most bytes of a path.
    pub const LONGEST: usize = 4096;

    /// Parses a name as archives write it: `.` components, doubled and trailing slashes are left
    /// out.
    ///
    /// # Errors
    /// The rule that the name breaks; [`Rule::EmptyName`] for `./`, which names the root.
    pub fn parse(name: &[u8]) -> Result<Self, Rule> {
        Self::parse_or_root(name)?.ok_or(Rule::EmptyName)
    }

    /// As [`parse`](Self::parse), but the root is `None`.
    pub(crate) fn parse_or_root(name: &[u8]) -> Result<Option<Self>, Rule> {
        if name.is_empty() {
            return Err(Rule::EmptyName);
        }
        if name[0] == b'/' {
            return Err(Rule::AbsoluteName);
        }
        if name.contains(&0) {
            return Err(Rule::NulInName);
        }
        let mut path = Vec::with_capacity(name.len().min(Self::LONGEST));
        for component in name.split(|byte| *byte == b'/') {
            match component {
                b"" | b"." => continue,
                b".." => return Err(Rule::ParentComponent),
                long if long.len() > LONGEST_COMPONENT => return Err(Rule::ComponentTooLong),
                _ => {}
            }
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(component);
            if path.len() > Self::LONGEST {
                return Err(Rule::NameTooLong);
            }
        }
        Ok((!path.is_empty()).then(|| Self(path.into_boxed_slice())))
    }

    /// The bytes, components joined by `/`.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The path for the file system; relative.
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    /// The components, from the root down; at least one.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.0.split(|byte| *byte == b'/')
    }
}

impl Ord for EntryPath {
    fn cmp(&self, other: &Self) -> Ordering {
        self.components().cmp(other.components())
    }
}

impl PartialOrd for EntryPath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for EntryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EntryPath({})", printable(&self.0))
    }
}

/// The target of a symbolic link: 1 to 4095 bytes, relative, without NUL. That it does not lead
/// out of the tree is known when its archive has been read to the end.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct LinkTarget(Box<[u8]>);

impl LinkTarget {
    /// The most bytes of a target: what Linux stores.
    pub const LONGEST: usize = 4095;

    /// Parses a target.
    ///
    /// # Errors
    /// The rule that the target breaks.
    pub fn parse(target: &[u8]) -> Result<Self, Rule> {
        match target {
            [] => Err(Rule::TargetEmpty),
            [b'/', ..] => Err(Rule::TargetAbsolute),
            _ if target.contains(&0) => Err(Rule::TargetNul),
            _ if target.len() > Self::LONGEST => Err(Rule::TargetTooLong),
            _ => Ok(Self(target.into())),
        }
    }

    /// The bytes as the archive has them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The target for the file system; relative to the directory of the link.
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }
}

impl fmt::Debug for LinkTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LinkTarget({})", printable(&self.0))
    }
}

const LONGEST_COMPONENT: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_brought_into_its_one_form() {
        for (name, path) in [("a", "a"), ("./a//b/./c/", "a/b/c"), ("a.b/..c", "a.b/..c")] {
            assert_eq!(EntryPath::parse(name.as_bytes()).unwrap().as_bytes(), path.as_bytes());
        }
        assert_eq!(EntryPath::parse(b"\xff\\").unwrap().as_bytes(), b"\xff\\");
    }

    #[test]
    fn the_root_is_no_path() {
        assert_eq!(EntryPath::parse(b"./"), Err(Rule::EmptyName));
        assert_eq!(EntryPath::parse_or_root(b"././/"), Ok(None));
    }

    #[test]
    fn lengths_are_judged_to_the_byte() {
        assert!(EntryPath::parse(&[b'a'; 255]).is_ok());
        assert_eq!(EntryPath::parse(&[b'a'; 256]), Err(Rule::ComponentTooLong));
        let longest = [b"a/".repeat(2047), b"bb".to_vec()].concat();
        assert_eq!(longest.len(), EntryPath::LONGEST);
        assert!(EntryPath::parse(&longest).is_ok());
        let longer = [longest, b"b".to_vec()].concat();
        assert_eq!(EntryPath::parse(&longer), Err(Rule::NameTooLong));
    }

    #[test]
    fn blocks_that_hold_data_are_counted_once() {
        let map = |extents: &[(u64, u64)]| {
            let extents = extents.iter().map(|&(offset, length)| Extent { offset, length });
            SparseMap::new(extents, 1 << 20).unwrap()
        };
        assert_eq!(map(&[(0, 1)]).blocks(), 1);
        assert_eq!(map(&[(4095, 2)]).blocks(), 2);
        assert_eq!(map(&[(0, 10), (20, 10), (4096, 1)]).blocks(), 2);
        assert_eq!(map(&[(0, 5000), (8000, 100), (12288, 4096)]).blocks(), 3);
        assert_eq!(map(&[(100, 0), (1 << 20, 0)]), map(&[]));
        assert_eq!(map(&[]).blocks(), 0);
    }

    #[test]
    fn a_map_is_in_order_and_within_its_file() {
        let map = |extents: &[(u64, u64)], size| {
            let extents = extents.iter().map(|&(offset, length)| Extent { offset, length });
            SparseMap::new(extents, size).map(|map| map.data())
        };
        assert_eq!(map(&[(0, 5), (5, 5)], 10), Some(10));
        assert_eq!(map(&[(0, 5), (4, 5)], 10), None);
        assert_eq!(map(&[(5, 5), (0, 5)], 10), None);
        assert_eq!(map(&[(5, 6)], 10), None);
        assert_eq!(map(&[(u64::MAX, 2)], u64::MAX), None);
    }

    #[test]
    fn a_directory_comes_right_before_what_is_in_it() {
        let mut paths: Vec<EntryPath> = ["a.b", "a", "a/b", "a-b", "a/b/c"]
            .map(|p| EntryPath::parse(p.as_bytes()).unwrap())
            .into();
        paths.sort();
        let sorted: Vec<&[u8]> = paths.iter().map(EntryPath::as_bytes).collect();
        assert_eq!(sorted, [&b"a"[..], b"a/b", b"a/b/c", b"a-b", b"a.b"]);
    }
}
