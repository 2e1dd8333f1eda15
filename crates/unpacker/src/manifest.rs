//! The manifest of an unpacked tree: one JSON object per line for each entry, in the archive's order,
//! and a last line that counts them and has the SHA-256 of all lines before it. It is written while the
//! tree is unpacked and read line by line, so a tree of any size needs no memory for it.
//!
//! ```text
//! {"path":"bin/run","kind":"file","mode":"0555","size":12,"sha256":"…","target":null,"modified":[1700000000,0]}
//! {"entries":1,"sha256":"…"}
//! ```
//!
//! Paths and targets are UTF-8 as it is, other bytes and `%` as `%XX`. `kind` is `directory`, `file`,
//! `symlink` or `hard-link` (whose `target` is an earlier path). Directories that no entry names have no
//! line. Where a name came again in the archive the later line has `"replaces":true`, and holds.
//! `modified` is seconds since 1970 and nanoseconds; null if the archive does not say.

use std::fmt::Write as _;
use std::io::{self, BufRead, Write};

use archive::{Entry, EntryKind, EntryPath, LinkTarget, Modified};
use model::{Digest, Hasher};
use serde::{Deserialize, Serialize};

/// One entry of a tree, as its manifest has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Where it is, relative to `files/`.
    pub path: EntryPath,
    /// What it is.
    pub kind: Kind,
    /// When it was modified, if the archive says.
    pub modified: Option<Modified>,
    /// It takes the place of an earlier line with this path.
    pub replaces: bool,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A directory; its mode is 0555.
    Directory,
    /// A file; its mode is 0555 if it can be executed, else 0444.
    File {
        /// Bytes of content, holes included.
        size: u64,
        /// Whether anyone may execute it.
        executable: bool,
        /// SHA-256 of the content.
        digest: Digest,
    },
    /// A symbolic link.
    Symlink {
        /// What it says.
        target: LinkTarget,
    },
    /// A further name of an earlier entry.
    HardLink {
        /// The name that it had first.
        original: EntryPath,
    },
}

/// Why a manifest cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It cannot be read.
    #[error("the manifest cannot be read")]
    Read(#[from] io::Error),
    /// A line is not one.
    #[error("line {number} of the manifest is not one: {why}")]
    Line {
        /// Counted from 1.
        number: u64,
        /// In which way.
        why: String,
    },
    /// It has no last line, or one that belongs to other lines.
    #[error("the manifest is not whole: {why}")]
    NotWhole {
        /// In which way.
        why: &'static str,
    },
}

/// A manifest that is being written.
#[derive(Debug)]
pub(crate) struct ManifestWriter<W: Write> {
    output: io::BufWriter<W>,
    line: Vec<u8>,
    hasher: Hasher,
    entries: u64,
}

/// Reads a manifest line by line. `None` comes only after a last line that agrees with all before it.
#[derive(Debug)]
pub struct ManifestReader<R> {
    input: R,
    line: Vec<u8>,
    hasher: Hasher,
    entries: u64,
    ended: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text<'a> {
    path: String,
    kind: &'a str,
    mode: Option<&'a str>,
    size: Option<u64>,
    sha256: Option<String>,
    target: Option<String>,
    modified: Option<(i64, u32)>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    replaces: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Last {
    entries: u64,
    sha256: String,
}

impl Line {
    /// What the manifest says of an entry; `content` is the digest of a file's.
    pub(crate) fn new(entry: &Entry, content: Option<Digest>) -> Line {
        let kind = match &entry.kind {
            EntryKind::Directory => Kind::Directory,
            EntryKind::File { size, executable, .. } => Kind::File {
                size: *size,
                executable: *executable,
                digest: content.unwrap_or_else(|| Digest::of(b"")),
            },
            EntryKind::Symlink { target } => Kind::Symlink { target: target.clone() },
            EntryKind::HardLink { original } => Kind::HardLink { original: original.clone() },
        };
        let (path, modified) = (entry.path.clone(), entry.modified);
        Line { path, kind, modified, replaces: entry.replaces }
    }

    fn to_text(&self) -> Text<'static> {
        let mut line = Text {
            path: text(self.path.as_bytes()),
            kind: "directory",
            mode: None,
            size: None,
            sha256: None,
            target: None,
            modified: self.modified.map(|Modified { seconds, nanos }| (seconds, nanos)),
            replaces: self.replaces,
        };
        match &self.kind {
            Kind::Directory => line.mode = Some(EXECUTABLE),
            Kind::File { size, executable, digest } => {
                line.kind = "file";
                line.mode = Some(if *executable { EXECUTABLE } else { PLAIN });
                line.size = Some(*size);
                line.sha256 = Some(digest.hex());
            }
            Kind::Symlink { target } => {
                line.kind = "symlink";
                line.target = Some(text(target.as_bytes()));
            }
            Kind::HardLink { original } => {
                line.kind = "hard-link";
                line.target = Some(text(original.as_bytes()));
            }
        }
        line
    }

    fn parse(bytes: &[u8]) -> Result<Line, String> {
        let Text { path, kind, mode, size, sha256, target, modified, replaces } =
            serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let entry_path = |text: &str| {
            let bytes = untext(text).ok_or("a path has a bad `%`")?;
            EntryPath::parse(&bytes).map_err(|rule| rule.to_string())
        };
        let executable = || match mode {
            Some(EXECUTABLE) => Ok(true),
            Some(PLAIN) => Ok(false),
            _ => Err("the mode is none that fettle gives"),
        };
        let kind = match (kind, size, sha256, target) {
            ("directory", None, None, None) if executable()? => Kind::Directory,
            ("file", Some(size), Some(sha256), None) => {
                let digest = format!("sha256:{sha256}").parse().map_err(|_| "a bad digest")?;
                Kind::File { size, executable: executable()?, digest }
            }
            ("symlink", None, None, Some(target)) => {
                let target = untext(&target).ok_or("a target has a bad `%`")?;
                let target = LinkTarget::parse(&target).map_err(|rule| rule.to_string())?;
                Kind::Symlink { target }
            }
            ("hard-link", None, None, Some(original)) => {
                Kind::HardLink { original: entry_path(&original)? }
            }
            _ => return Err("kind and fields do not fit".to_owned()),
        };
        let modified = modified.map(|(seconds, nanos)| Modified { seconds, nanos });
        Ok(Line { path: entry_path(&path)?, kind, modified, replaces })
    }
}

impl<W: Write> ManifestWriter<W> {
    /// Begins with nothing.
    pub(crate) fn new(output: W) -> ManifestWriter<W> {
        let output = io::BufWriter::with_capacity(64 << 10, output);
        ManifestWriter { output, line: Vec::new(), hasher: Hasher::new(), entries: 0 }
    }

    /// Adds a line.
    pub(crate) fn add(&mut self, line: &Line) -> io::Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, &line.to_text())?;
        self.line.push(b'\n');
        self.hasher.update(&self.line);
        self.entries += 1;
        self.output.write_all(&self.line)
    }

    /// Writes the last line. Without it the manifest is not whole.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        let last = Last { entries: self.entries, sha256: self.hasher.finish().hex() };
        serde_json::to_writer(&mut self.output, &last)?;
        self.output.write_all(b"\n")?;
        self.output.into_inner().map_err(io::IntoInnerError::into_error)
    }
}

impl<R: BufRead> ManifestReader<R> {
    /// Reads from the first line.
    pub fn new(input: R) -> ManifestReader<R> {
        ManifestReader { input, line: Vec::new(), hasher: Hasher::new(), entries: 0, ended: false }
    }

    fn next_line(&mut self) -> Result<Option<Line>, ManifestError> {
        let not_whole = |why| Err(ManifestError::NotWhole { why });
        self.line.clear();
        let mut limited = io::Read::take(&mut self.input, LONGEST);
        limited.read_until(b'\n', &mut self.line)?;
        if self.line.last() != Some(&b'\n') {
            return not_whole("its last line is missing");
        }
        if self.line.starts_with(b"{\"entries\":") {
            let last: Last = match serde_json::from_slice(&self.line) {
                Ok(last) => last,
                Err(_) => return not_whole("its last line is not one"),
            };
            if last.entries != self.entries {
                return not_whole("lines are missing");
            }
            if last.sha256 != std::mem::take(&mut self.hasher).finish().hex() {
                return not_whole("its lines are not those that were written");
            }
            if !self.input.fill_buf()?.is_empty() {
                return not_whole("something follows its last line");
            }
            return Ok(None);
        }
        self.hasher.update(&self.line);
        self.entries += 1;
        let failed = |why| ManifestError::Line { number: self.entries, why };
        Line::parse(&self.line).map(Some).map_err(failed)
    }
}

impl<R: BufRead> Iterator for ManifestReader<R> {
    type Item = Result<Line, ManifestError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let line = self.next_line();
        self.ended = !matches!(line, Ok(Some(_)));
        line.transpose()
    }
}

/// Bytes as text: UTF-8 as it is, other bytes and `%` as `%XX`.
fn text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(&chunk.valid().replace('%', "%25"));
        for byte in chunk.invalid() {
            let _ = write!(text, "%{byte:02X}"); // writing to a String cannot fail
        }
    }
    text
}

/// The bytes that became this text.
fn untext(text: &str) -> Option<Vec<u8>> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (code, rest) = (part.get(..2)?, part.get(2..)?);
        bytes.push(u8::from_str_radix(code, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    Some(bytes)
}

const EXECUTABLE: &str = "0555";
const PLAIN: &str = "0444";
/// Bytes of a line: two paths of 4 KiB, each byte as three characters or an escape of six.
const LONGEST: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(lines: &[Line]) -> Vec<u8> {
        let mut writer = ManifestWriter::new(Vec::new());
        for line in lines {
            writer.add(line).unwrap();
        }
        writer.finish().unwrap()
    }

    fn read(bytes: &[u8]) -> Result<Vec<Line>, ManifestError> {
        ManifestReader::new(bytes).collect()
    }

    fn path() -> impl Strategy<Value = EntryPath> {
        let byte = prop_oneof![Just(b'/'), Just(b'%'), 1u8..];
        proptest::collection::vec(byte, 1..30)
            .prop_filter_map("a path", |bytes| EntryPath::parse(&bytes).ok())
    }

    fn line() -> impl Strategy<Value = Line> {
        let kind = prop_oneof![
            Just(Kind::Directory),
            (any::<u64>(), any::<bool>(), any::<[u8; 32]>()).prop_map(
                |(size, executable, digest)| {
                    Kind::File { size, executable, digest: Digest::from_bytes(digest) }
                }
            ),
            proptest::collection::vec(1u8.., 1..30).prop_filter_map("a target", |bytes| {
                Some(Kind::Symlink { target: LinkTarget::parse(&bytes).ok()? })
            }),
            path().prop_map(|original| Kind::HardLink { original }),
        ];
        let modified = proptest::option::of((any::<i64>(), 0u32..1_000_000_000));
        (path(), kind, modified, any::<bool>()).prop_map(|(path, kind, modified, replaces)| Line {
            path,
            kind,
            modified: modified.map(|(seconds, nanos)| Modified { seconds, nanos }),
            replaces,
        })
    }

    #[test]
    fn names_that_are_no_utf8_can_be_told_apart_from_those_that_are() {
        assert_eq!(text("größe".as_bytes()), "größe");
        assert_eq!(text(b"a\xffb%c"), "a%FFb%25c");
        assert_eq!(text(b"a%FFb"), "a%25FFb");
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_again(lines in proptest::collection::vec(line(), 0..8)) {
            prop_assert_eq!(read(&written(&lines)).unwrap(), lines);
        }

        #[test]
        fn a_manifest_that_lost_or_changed_a_byte_is_not_taken(
            lines in proptest::collection::vec(line(), 0..4),
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
        ) {
            let whole = written(&lines);
            let mut changed = whole.clone();
            let at = at.index(changed.len());
            prop_assert!(read(&whole[..at]).is_err());
            changed[at] = byte;
            prop_assert!(changed == whole || read(&changed).is_err());
        }

        #[test]
        fn arbitrary_bytes_are_refused_and_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(read(&bytes).is_err());
        }
    }
}
