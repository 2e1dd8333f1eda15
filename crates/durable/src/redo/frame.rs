//! The bytes of the log of small writes: how changes become frames, and what a log says after a crash. Pure.
//!
//! ```text
//! log    := first frame, then others, until one that is not whole or not the next of its generation
//! frame  := length u32 | number u32 | generation 16 bytes | SHA-256 of these and the body | body
//! body   := "fettle redo 1\n"            (the first frame, number 0)
//!         | change …                     (all others, numbers from 1)
//! change := 1 | mode u32 | path | bytes  (this is what the file holds)
//!         | 2 | path                     (what was said before of this path, and of all below it, is settled)
//!         | 3 | path | count u32 | item …   (this directory was published with these items)
//! item   := 1 | path                     (a directory)
//!         | 2 | path | mode u32 | bytes  (a file)
//!         | 3 | path | target            (a symbolic link)
//!         | 4 | path | from              (a further name of the file `from` of the disk)
//! path, bytes, target, from := length u32 | so many bytes
//! ```
//!
//! Numbers are little-endian. The log is written over from its beginning again and again; what lies behind
//! its end is older, and known by its generation.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// Which use of the log's space a frame belongs to: drawn anew each time it begins again.
pub(super) type Generation = [u8; 16];

/// One change, as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change<'a> {
    /// A file has this content and mode.
    Put { path: &'a Path, mode: u32, bytes: &'a [u8] },
    /// Something else has become of it, and lasts: nothing is to be made of what was said before.
    Settled { path: &'a Path },
    /// A directory has appeared, with these in it.
    Tree { path: &'a Path, items: &'a [Item] },
}

/// What a published directory began with. Paths are relative to it, those of directories before what is in
/// them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    Directory {
        path: PathBuf,
    },
    File {
        path: PathBuf,
        content: Content,
    },
    Symlink {
        path: PathBuf,
        target: PathBuf,
    },
    /// `from` is relative to the disk.
    Link {
        path: PathBuf,
        from: PathBuf,
    },
}

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) mode: u32,
    pub(crate) bytes: Vec<u8>,
}

/// What a log says has to be there.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct LastWords {
    /// Directories, in the order in which they appeared, without what became something else since.
    pub(super) trees: Vec<(PathBuf, Vec<Item>)>,
    /// Files, which may be in these directories, and then differ from what those began with.
    pub(super) files: BTreeMap<PathBuf, Content>,
}

/// The log is whole, and a program that knows more than this one wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it was written by a newer program")]
pub struct TooNew;

/// The frame that a generation begins with.
pub(super) fn first(generation: &Generation) -> Vec<u8> {
    frame(generation, 0, FORMAT)
}

/// The frame of some changes, which are there together or not at all.
pub(super) fn of_changes(generation: &Generation, number: u32, changes: &[Change<'_>]) -> Vec<u8> {
    let mut body = Vec::new();
    for change in changes {
        match change {
            Change::Put { path, mode, bytes } => {
                body.push(PUT);
                body.extend_from_slice(&mode.to_le_bytes());
                counted(&mut body, path.as_os_str().as_bytes());
                counted(&mut body, bytes);
            }
            Change::Settled { path } => {
                body.push(SETTLED);
                counted(&mut body, path.as_os_str().as_bytes());
            }
            Change::Tree { path, items } => {
                body.push(TREE);
                counted(&mut body, path.as_os_str().as_bytes());
                number_of(&mut body, items.len());
                items.iter().for_each(|item| put_item(&mut body, item));
            }
        }
    }
    frame(generation, number, &body)
}

/// How long a frame of these changes is at most, in bytes.
pub(super) fn size_of<'a>(changes: impl IntoIterator<Item = &'a Change<'a>>) -> usize {
    let size = |change: &Change<'_>| match change {
        Change::Put { path, bytes, .. } => path.as_os_str().len() + bytes.len() + 13,
        Change::Settled { path } => path.as_os_str().len() + 5,
        Change::Tree { path, items } => {
            path.as_os_str().len() + 9 + items.iter().map(size_of_item).sum::<usize>()
        }
    };
    HEAD + changes.into_iter().map(size).sum::<usize>()
}

/// What a log says at its end. An empty or torn one says nothing.
pub(super) fn last_words(log: &[u8]) -> Result<LastWords, TooNew> {
    let mut words = LastWords::default();
    let Some((generation, body, mut rest)) = whole_frame(log, 0) else { return Ok(words) };
    if body != FORMAT {
        return Err(TooNew);
    }
    for number in 1.. {
        let Some((found, mut body, behind)) = whole_frame(rest, number) else { break };
        if found != generation {
            break;
        }
        while !body.is_empty() {
            words.hear(&mut body).ok_or(TooNew)?;
        }
        rest = behind;
    }
    Ok(words)
}

impl LastWords {
    /// Takes the next change; `None` if it is none that this program knows.
    fn hear(&mut self, body: &mut &[u8]) -> Option<()> {
        match take_byte(body)? {
            PUT => {
                let mode = take_number(body)?;
                let (path, bytes) = (take_path(body)?, take_counted(body)?.to_vec());
                self.files.insert(path, Content { mode, bytes });
            }
            SETTLED => self.settle(&take_path(body)?),
            TREE => {
                let path = take_path(body)?;
                let count = take_number(body)?;
                let items = (0..count).map(|_| take_item(body)).collect::<Option<Vec<_>>>()?;
                self.trees.push((path, items));
            }
            _ => return None,
        }
        Some(())
    }

    fn settle(&mut self, path: &Path) {
        self.files.retain(|known, _| !known.starts_with(path));
        self.trees.retain(|(known, _)| !known.starts_with(path));
        for (tree, items) in &mut self.trees {
            if let Ok(within) = path.strip_prefix(tree) {
                items.retain(|item| !item.path().starts_with(within));
            }
        }
    }
}

impl Item {
    pub(super) fn path(&self) -> &Path {
        match self {
            Item::Directory { path }
            | Item::File { path, .. }
            | Item::Symlink { path, .. }
            | Item::Link { path, .. } => path,
        }
    }
}

fn put_item(body: &mut Vec<u8>, item: &Item) {
    let (kind, path) = match item {
        Item::Directory { path } => (DIRECTORY, path),
        Item::File { path, .. } => (FILE, path),
        Item::Symlink { path, .. } => (SYMLINK, path),
        Item::Link { path, .. } => (LINK, path),
    };
    body.push(kind);
    counted(body, path.as_os_str().as_bytes());
    match item {
        Item::Directory { .. } => {}
        Item::File { content, .. } => {
            body.extend_from_slice(&content.mode.to_le_bytes());
            counted(body, &content.bytes);
        }
        Item::Symlink { target: other, .. } | Item::Link { from: other, .. } => {
            counted(body, other.as_os_str().as_bytes());
        }
    }
}

fn size_of_item(item: &Item) -> usize {
    let more = match item {
        Item::Directory { .. } => 0,
        Item::File { content, .. } => 8 + content.bytes.len(),
        Item::Symlink { target: other, .. } | Item::Link { from: other, .. } => {
            4 + other.as_os_str().len()
        }
    };
    5 + item.path().as_os_str().len() + more
}

fn take_item(body: &mut &[u8]) -> Option<Item> {
    let kind = take_byte(body)?;
    let path = take_path(body)?;
    Some(match kind {
        DIRECTORY => Item::Directory { path },
        FILE => {
            let (mode, bytes) = (take_number(body)?, take_counted(body)?.to_vec());
            Item::File { path, content: Content { mode, bytes } }
        }
        SYMLINK => Item::Symlink { path, target: take_path(body)? },
        LINK => Item::Link { path, from: take_path(body)? },
        _ => return None,
    })
}

fn frame(generation: &Generation, number: u32, body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(HEAD + body.len());
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX); // no log is that large
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(&number.to_le_bytes());
    frame.extend_from_slice(generation);
    let digest = Sha256::new().chain_update(&frame).chain_update(body).finalize();
    frame.extend_from_slice(&digest);
    frame.extend_from_slice(body);
    frame
}

/// The frame that `log` begins with, if it is whole and has this number; and what lies behind it.
fn whole_frame(log: &[u8], number: u32) -> Option<(&Generation, &[u8], &[u8])> {
    let (head, rest) = log.split_at_checked(HEAD)?;
    let (facts, digest) = head.split_at(HEAD - DIGEST);
    let length = u32::from_le_bytes(*facts.first_chunk()?);
    let (body, behind) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    let found = Sha256::new().chain_update(facts).chain_update(body).finalize();
    let is_next = facts[4..8] == number.to_le_bytes();
    (is_next && found[..] == *digest).then_some((facts.last_chunk()?, body, behind))
}

fn number_of(body: &mut Vec<u8>, number: usize) {
    body.extend_from_slice(&u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes());
}

fn counted(body: &mut Vec<u8>, bytes: &[u8]) {
    number_of(body, bytes.len());
    body.extend_from_slice(bytes);
}

fn take_byte(body: &mut &[u8]) -> Option<u8> {
    body.split_off_first().copied()
}

fn take_number(body: &mut &[u8]) -> Option<u32> {
    let (number, rest) = body.split_first_chunk()?;
    *body = rest;
    Some(u32::from_le_bytes(*number))
}

fn take_counted<'a>(body: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = take_number(body)?;
    body.split_off(..usize::try_from(length).ok()?)
}

fn take_path(body: &mut &[u8]) -> Option<PathBuf> {
    Some(OsStr::from_bytes(take_counted(body)?).into())
}

const FORMAT: &[u8] = b"fettle redo 1\n";
const DIGEST: usize = 32;
const HEAD: usize = 4 + 4 + 16 + DIGEST;
const PUT: u8 = 1;
const SETTLED: u8 = 2;
const TREE: u8 = 3;
const DIRECTORY: u8 = 1;
const FILE: u8 = 2;
const SYMLINK: u8 = 3;
const LINK: u8 = 4;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FIRST: usize = HEAD + FORMAT.len();
    const OLD: Generation = [1; 16];
    const NEW: Generation = [2; 16];

    fn put<'a>(path: &'a str, bytes: &'a [u8]) -> Change<'a> {
        Change::Put { path: Path::new(path), mode: 0o600, bytes }
    }

    fn log(generation: &Generation, frames: &[Vec<Change<'_>>]) -> Vec<u8> {
        let frames = frames
            .iter()
            .zip(1..)
            .flat_map(|(changes, number)| of_changes(generation, number, changes));
        first(generation).into_iter().chain(frames).collect()
    }

    fn read(log: &[u8]) -> Vec<(String, Vec<u8>)> {
        let files = last_words(log).unwrap().files.into_iter();
        files.map(|(path, content)| (path.display().to_string(), content.bytes)).collect()
    }

    #[test]
    fn the_last_word_on_each_file_counts() {
        let log = log(&OLD, &[vec![put("a", b"1"), put("b", b"1")], vec![put("a", b"2")]]);
        assert_eq!(read(&log), [("a".into(), b"2".to_vec()), ("b".into(), b"1".to_vec())]);
    }

    #[test]
    fn what_is_settled_is_left_alone_with_all_below_it() {
        let settled = |path| Change::Settled { path: Path::new(path) };
        let log = log(
            &OLD,
            &[
                vec![put("a/x", b"1"), put("a/y/z", b"1"), put("ab", b"1"), put("b", b"1")],
                vec![settled("a"), settled("b"), put("b", b"2")],
            ],
        );
        assert_eq!(read(&log), [("ab".into(), b"1".to_vec()), ("b".into(), b"2".to_vec())]);
    }

    #[test]
    fn a_directory_is_said_with_all_that_it_began_with_but_what_was_settled() {
        let items = [
            Item::Directory { path: "sub".into() },
            Item::File {
                path: "sub/file".into(),
                content: Content { mode: 0o640, bytes: b"content".to_vec() },
            },
            Item::Symlink { path: "current".into(), target: "sub".into() },
            Item::Link { path: "bin".into(), from: "blobs/x".into() },
        ];
        let tree = |path| Change::Tree { path: Path::new(path), items: &items };
        let settled = |path| Change::Settled { path: Path::new(path) };
        let whole = log(&OLD, &[vec![tree("a")], vec![put("a/sub/file", b"later")]]);
        assert_eq!(
            whole.len(),
            FIRST + size_of(&[tree("a")]) + size_of(&[put("a/sub/file", b"later")])
        );
        let words = last_words(&whole).unwrap();
        assert_eq!(words.trees, [("a".into(), items.to_vec())]);
        assert_eq!(read(&whole), [("a/sub/file".into(), b"later".to_vec())]);
        let rest = log(&OLD, &[vec![tree("a"), tree("b"), settled("a/sub"), settled("b")]]);
        assert_eq!(last_words(&rest).unwrap().trees, [("a".into(), items[2..].to_vec())]);
    }

    #[test]
    fn what_lies_behind_the_end_is_of_an_older_use_and_says_nothing() {
        let older = log(&OLD, &[vec![put("a", b"1")], vec![put("a", b"2")], vec![put("a", b"3")]]);
        let newer = log(&NEW, &[vec![put("a", b"4")]]);
        let mut both = older.clone();
        both[..newer.len()].copy_from_slice(&newer);
        assert_eq!(read(&both), [("a".into(), b"4".to_vec())]);
    }

    #[test]
    fn a_log_of_a_newer_program_is_not_taken_for_an_empty_one() {
        assert_eq!(last_words(&frame(&OLD, 0, b"fettle redo 2\n")), Err(TooNew));
        let unknown = [first(&OLD), frame(&OLD, 1, &[4])].concat();
        assert_eq!(last_words(&unknown), Err(TooNew));
    }

    proptest! {
        #[test]
        fn a_log_that_is_cut_or_damaged_anywhere_says_what_its_whole_frames_said(
            contents in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 1..6),
            at in any::<prop::sample::Index>(),
            flip in 1..=255u8,
            is_cut in any::<bool>(),
        ) {
            let frames: Vec<_> = contents.iter().map(|bytes| vec![put("a", bytes)]).collect();
            let whole = log(&OLD, &frames);
            let at = at.index(whole.len());
            let mut broken = whole.clone();
            if is_cut { broken.truncate(at) } else { broken[at] ^= flip }
            let mut end = FIRST;
            let sizes = frames.iter().map(|changes| { end += size_of(changes); end });
            let left = if at < FIRST { 0 } else { sizes.filter(|end| *end <= at).count() };
            let expected = left.checked_sub(1).map(|last| contents[last].clone());
            let found = last_words(&broken).unwrap().files.remove(Path::new("a"));
            prop_assert_eq!(found.map(|content| content.bytes), expected);
        }

        #[test]
        fn no_bytes_at_all_make_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = last_words(&bytes);
            let _ = last_words(&[first(&OLD), frame(&OLD, 1, &bytes)].concat());
        }
    }
}
