//! The manifest of an unpacked tree: one JSON object per line for each entry, in the archive's order, and
//! a last line that counts them. It is written while the tree is unpacked, so a tree of any size needs no
//! memory for it; where a path comes twice, the later line holds.

use std::fmt::Write as _;
use std::io::{self, Write};

use archive::{Entry, EntryKind, Modified};
use durable::TreeFile;
use model::Digest;
use serde::Serialize;

/// A manifest that is being written.
#[derive(Debug)]
pub(super) struct ManifestWriter {
    file: io::BufWriter<TreeFile>,
    entries: u64,
}

#[derive(Serialize)]
struct Line {
    path: String,
    kind: &'static str,
    mode: Option<&'static str>,
    size: Option<u64>,
    sha256: Option<String>,
    target: Option<String>,
    modified: Option<[i64; 2]>,
}

impl ManifestWriter {
    /// Begins with an empty file.
    pub(super) fn new(file: TreeFile) -> ManifestWriter {
        ManifestWriter { file: io::BufWriter::with_capacity(64 * 1024, file), entries: 0 }
    }

    /// Adds an entry; `content` is the digest of a file's.
    pub(super) fn add(&mut self, entry: &Entry, content: Option<Digest>) -> io::Result<()> {
        let (kind, mode, size, target) = match &entry.kind {
            EntryKind::Directory => ("directory", Some("0555"), None, None),
            EntryKind::File { size, executable, .. } => {
                ("file", Some(if *executable { "0555" } else { "0444" }), Some(*size), None)
            }
            EntryKind::Symlink { target } => ("symlink", None, None, Some(text(target.as_bytes()))),
            EntryKind::HardLink { original } => {
                ("hard-link", None, None, Some(text(original.as_bytes())))
            }
        };
        let line = Line {
            path: text(entry.path.as_bytes()),
            kind,
            mode,
            size,
            sha256: content.map(|digest| digest.hex()),
            target,
            modified: entry.modified.map(|Modified { seconds, nanos }| [seconds, i64::from(nanos)]),
        };
        serde_json::to_writer(&mut self.file, &line)?;
        self.entries += 1;
        self.file.write_all(b"\n")
    }

    /// Writes the last line. Without it the manifest is not whole.
    pub(super) fn finish(mut self) -> io::Result<TreeFile> {
        writeln!(self.file, "{{\"entries\":{}}}", self.entries)?;
        self.file.into_inner().map_err(io::IntoInnerError::into_error)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_no_utf8_can_be_told_apart_from_those_that_are() {
        assert_eq!(text("größe".as_bytes()), "größe");
        assert_eq!(text(b"a\xffb%c"), "a%FFb%25c");
        assert_eq!(text(b"a%FFb"), "a%25FFb");
    }
}
