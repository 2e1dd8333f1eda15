//! The bytes of the log of small writes: how changes become frames, and what a log says after a crash. Pure.
//!
//! ```text
//! log    := first frame, then others, until one that is not whole or not the next of its generation
//! frame  := length u32 | number u32 | generation 16 bytes | SHA-256 of these and the body | body
//! body   := "fettle redo 1\n"            (the first frame, number 0)
//!         | change …                     (all others, numbers from 1)
//! change := 1 | mode u32 | path | bytes  (this is what the file holds)
//!         | 2 | path                     (what was said before of this path, and of all below it, is settled)
//! path, bytes := length u32 | so many bytes
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
}

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) mode: u32,
    pub(super) bytes: Vec<u8>,
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
        }
    }
    frame(generation, number, &body)
}

/// How long a frame of these changes is at most, in bytes.
pub(super) fn size_of<'a>(changes: impl IntoIterator<Item = &'a Change<'a>>) -> usize {
    let size = |change: &Change<'_>| match change {
        Change::Put { path, bytes, .. } => path.as_os_str().len() + bytes.len() + 13,
        Change::Settled { path } => path.as_os_str().len() + 5,
    };
    HEAD + changes.into_iter().map(size).sum::<usize>()
}

/// What each file holds by the last word of a log. An empty or torn one says nothing.
pub(super) fn last_words(log: &[u8]) -> Result<BTreeMap<PathBuf, Content>, TooNew> {
    let mut files = BTreeMap::new();
    let Some((generation, body, mut rest)) = whole_frame(log, 0) else { return Ok(files) };
    if body != FORMAT {
        return Err(TooNew);
    }
    for number in 1.. {
        let Some((found, mut body, behind)) = whole_frame(rest, number) else { break };
        if found != generation {
            break;
        }
        while !body.is_empty() {
            match take_change(&mut body).ok_or(TooNew)? {
                Change::Put { path, mode, bytes } => {
                    files.insert(path.to_owned(), Content { mode, bytes: bytes.to_vec() });
                }
                Change::Settled { path } => files.retain(|known, _| !known.starts_with(path)),
            }
        }
        rest = behind;
    }
    Ok(files)
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

fn counted(body: &mut Vec<u8>, bytes: &[u8]) {
    body.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
    body.extend_from_slice(bytes);
}

fn take_change<'a>(body: &mut &'a [u8]) -> Option<Change<'a>> {
    match *body.split_off_first()? {
        PUT => {
            let mode = take_number(body)?;
            let (path, bytes) = (take_counted(body)?, take_counted(body)?);
            Some(Change::Put { path: Path::new(OsStr::from_bytes(path)), mode, bytes })
        }
        SETTLED => {
            let path = take_counted(body)?;
            Some(Change::Settled { path: Path::new(OsStr::from_bytes(path)) })
        }
        _ => None,
    }
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

const FORMAT: &[u8] = b"fettle redo 1\n";
const DIGEST: usize = 32;
const HEAD: usize = 4 + 4 + 16 + DIGEST;
const PUT: u8 = 1;
const SETTLED: u8 = 2;

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
        let files = last_words(log).unwrap().into_iter();
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
        let unknown = [first(&OLD), frame(&OLD, 1, &[3])].concat();
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
            let found = last_words(&broken).unwrap().remove(Path::new("a"));
            prop_assert_eq!(found.map(|content| content.bytes), expected);
        }

        #[test]
        fn no_bytes_at_all_make_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = last_words(&bytes);
            let _ = last_words(&[first(&OLD), frame(&OLD, 1, &bytes)].concat());
        }
    }
}
