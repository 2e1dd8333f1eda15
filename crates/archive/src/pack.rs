//! Writes the reproducible tar: the same tree gives the same bytes, on every machine and day.
//!
//! No owners (0, without names), one time for all entries (0 unless given), modes 0755 for
//! directories and executables, 0644 for other files, 0777 for links; ustar, with a PAX header only
//! for what does not fit; two zero blocks at the end and nothing behind them.
//!
//! Entries are written as given. For one tree to give one archive, give them in the order of
//! [`EntryPath`]: each directory right before what is in it.
//!
//! Formats: POSIX.1-2017 `pax`, "ustar Interchange Format" and "pax Extended Header".

use std::io::{self, Read, Write};

use crate::error::printable;
use crate::{EntryPath, LinkTarget, Modified};

/// Why a tar could not be written. The writer is of no use after an error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// The content ended early: the file shrank while it was packed.
    #[error("file `{path}` has only {found} bytes of the expected {size}")]
    ContentShort {
        /// The entry's path.
        path: String,
        /// Bytes that were announced.
        size: u64,
        /// Bytes that came.
        found: u64,
    },
    /// The content went on: the file grew while it was packed.
    #[error("file `{path}` has more than the expected {size} bytes")]
    ContentLong {
        /// The entry's path.
        path: String,
        /// Bytes that were announced.
        size: u64,
    },
    /// The content cannot be read.
    #[error("file `{path}` cannot be read")]
    Content {
        /// The entry's path.
        path: String,
        /// Why not.
        source: io::Error,
    },
    /// The archive cannot be written.
    #[error("the archive cannot be written")]
    Write {
        /// Why not.
        source: io::Error,
    },
    /// An earlier error left the archive incomplete.
    #[error("the archive was given up after an earlier error")]
    Ended,
}

/// Writes a tar, entry by entry.
pub struct TarWriter<W> {
    output: W,
    modified: Modified,
    failed: bool,
}

impl<W: Write> TarWriter<W> {
    /// Writes to `output`, with 1970-01-01 as the time of all entries. A buffer is the caller's
    /// matter.
    pub fn new(output: W) -> Self {
        Self { output, modified: Modified::default(), failed: false }
    }

    /// Gives the entries that follow another time.
    #[must_use]
    pub fn modified(mut self, modified: Modified) -> Self {
        self.modified = modified;
        self
    }

    /// Writes a directory.
    ///
    /// # Errors
    /// [`PackError::Write`].
    pub fn directory(&mut self, path: &EntryPath) -> Result<(), PackError> {
        let name = [path.as_bytes(), b"/"].concat();
        self.step(|writer| writer.header(Kind::Directory, &name, b"", 0))
    }

    /// Writes a file of exactly `size` bytes.
    ///
    /// # Errors
    /// Any [`PackError`]; content that is shorter or longer than `size` is one.
    pub fn file(
        &mut self,
        path: &EntryPath,
        size: u64,
        executable: bool,
        content: &mut dyn Read,
    ) -> Result<(), PackError> {
        let kind = if executable { Kind::Executable } else { Kind::File };
        self.step(|writer| {
            writer.header(kind, path.as_bytes(), b"", size)?;
            writer.content(path, size, content)
        })
    }

    /// Writes a symbolic link.
    ///
    /// # Errors
    /// [`PackError::Write`].
    pub fn symlink(&mut self, path: &EntryPath, target: &LinkTarget) -> Result<(), PackError> {
        self.step(|writer| writer.header(Kind::Symlink, path.as_bytes(), target.as_bytes(), 0))
    }

    /// Ends the archive and gives the output back.
    ///
    /// # Errors
    /// [`PackError::Write`]; [`PackError::Ended`] if an earlier call failed.
    pub fn finish(mut self) -> Result<W, PackError> {
        self.step(|writer| {
            writer.write(&[0; 2 * BLOCK])?;
            writer.output.flush().map_err(|source| PackError::Write { source })
        })?;
        Ok(self.output)
    }

    fn step(
        &mut self,
        write: impl FnOnce(&mut Self) -> Result<(), PackError>,
    ) -> Result<(), PackError> {
        if self.failed {
            return Err(PackError::Ended);
        }
        // Stays so unless all of it works.
        self.failed = true;
        write(self)?;
        self.failed = false;
        Ok(())
    }

    fn header(&mut self, kind: Kind, name: &[u8], link: &[u8], size: u64) -> Result<(), PackError> {
        let mut records = Records::default();
        let split = split(name);
        if split.is_none() {
            records.text("path", name);
        }
        if link.len() > LINK {
            records.text("linkpath", link);
        }
        if size > LARGEST_OCTAL {
            records.add("size", size.to_string().as_bytes());
        }
        let seconds = u64::try_from(self.modified.seconds)
            .ok()
            .filter(|seconds| *seconds <= LARGEST_OCTAL && self.modified.nanos == 0);
        if seconds.is_none() {
            records.add("mtime", time(self.modified).as_bytes());
        }
        if !records.0.is_empty() {
            let size = records.0.len() as u64;
            self.write(&block(Kind::Extended, b"", EXTENDED_NAME, b"", size, 0))?;
            self.write(&records.0)?;
            self.pad(size)?;
        }
        // What did not fit is cut here; readers that know PAX take it from there.
        let (prefix, short) = split.unwrap_or((b"", &name[..name.len().min(NAME)]));
        let link = &link[..link.len().min(LINK)];
        let size = if size > LARGEST_OCTAL { 0 } else { size };
        self.write(&block(kind, prefix, short, link, size, seconds.unwrap_or(0)))
    }

    fn content(
        &mut self,
        path: &EntryPath,
        size: u64,
        content: &mut dyn Read,
    ) -> Result<(), PackError> {
        let name = || printable(path.as_bytes());
        let mut buffer = vec![0; COPY.min(size.saturating_add(1) as usize)];
        let mut found = 0;
        loop {
            // One byte more than is left, to notice what is too long.
            let left = (size - found).saturating_add(1);
            let most = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
            let read = match content.read(&mut buffer[..most]) {
                Ok(0) if found == size => return self.pad(size),
                Ok(0) => return Err(PackError::ContentShort { path: name(), size, found }),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(PackError::Content { path: name(), source }),
            };
            if read as u64 == left {
                return Err(PackError::ContentLong { path: name(), size });
            }
            self.write(&buffer[..read])?;
            found += read as u64;
        }
    }

    fn pad(&mut self, size: u64) -> Result<(), PackError> {
        let over = (size % BLOCK as u64) as usize;
        if over == 0 { Ok(()) } else { self.write(&[0; BLOCK][over..]) }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), PackError> {
        self.output.write_all(bytes).map_err(|source| PackError::Write { source })
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Directory,
    File,
    Executable,
    Symlink,
    Extended,
}

/// One ustar header. Everything fits: the caller has seen to it.
fn block(
    kind: Kind,
    prefix: &[u8],
    name: &[u8],
    link: &[u8],
    size: u64,
    seconds: u64,
) -> [u8; BLOCK] {
    let (flag, mode) = match kind {
        Kind::Directory => (b'5', 0o755),
        Kind::File => (b'0', 0o644),
        Kind::Executable => (b'0', 0o755),
        Kind::Symlink => (b'2', 0o777),
        Kind::Extended => (b'x', 0o644),
    };
    let mut block = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name);
    put(100, format!("{mode:07o}\0").as_bytes());
    put(108, b"0000000\0"); // user
    put(116, b"0000000\0"); // group
    put(124, format!("{size:011o}\0").as_bytes());
    put(136, format!("{seconds:011o}\0").as_bytes());
    put(148, b"        "); // counted as blanks in its own sum
    put(156, &[flag]);
    put(157, link);
    put(257, b"ustar\x0000");
    put(329, b"0000000\0"); // device, major
    put(337, b"0000000\0"); // device, minor
    put(345, prefix);
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// The name as ustar's prefix and name, at the first slash that makes both fit.
fn split(name: &[u8]) -> Option<(&[u8], &[u8])> {
    if name.len() <= NAME {
        return Some((b"", name));
    }
    let earliest = name.len() - NAME - 1;
    // The slash that ends a directory's name is no place to split.
    let slash = (earliest..name.len() - 1).find(|at| name[*at] == b'/')?;
    (1..=PREFIX).contains(&slash).then(|| (&name[..slash], &name[slash + 1..]))
}

/// PAX records.
#[derive(Default)]
struct Records(Vec<u8>);

impl Records {
    /// A name: UTF-8 by definition, unless another record says that it is bytes.
    fn text(&mut self, key: &str, value: &[u8]) {
        if std::str::from_utf8(value).is_err() {
            self.add("hdrcharset", b"BINARY");
        }
        self.add(key, value);
    }

    fn add(&mut self, key: &str, value: &[u8]) {
        // The length counts its own digits.
        let rest = key.len() + value.len() + 3;
        let mut length = rest + 1;
        while length != rest + length.to_string().len() {
            length = rest + length.to_string().len();
        }
        self.0.extend_from_slice(format!("{length} {key}=").as_bytes());
        self.0.extend_from_slice(value);
        self.0.push(b'\n');
    }
}

/// `[-]seconds[.fraction]`, without needless digits.
fn time(Modified { seconds, nanos }: Modified) -> String {
    let total = i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    let sign = if total < 0 { "-" } else { "" };
    let total = total.unsigned_abs();
    let (seconds, nanos) = (total / 1_000_000_000, total % 1_000_000_000);
    let text = format!("{sign}{seconds}.{nanos:09}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

const BLOCK: usize = 512;
const NAME: usize = 100;
const PREFIX: usize = 155;
const LINK: usize = 100;
const LARGEST_OCTAL: u64 = 0o777_7777_7777;
const EXTENDED_NAME: &[u8] = b"././@PaxHeader";
const COPY: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Encoding, Entries, EntryKind, Limits, TarReader};

    fn path(text: &str) -> EntryPath {
        EntryPath::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn content_must_be_as_long_as_announced() {
        let pack = |size, mut content: &[u8]| {
            let mut writer = TarWriter::new(Vec::new());
            let result = writer.file(&path("f"), size, false, &mut content);
            assert_eq!(result.is_err(), matches!(writer.finish(), Err(PackError::Ended)));
            result
        };
        assert!(pack(3, b"abc").is_ok());
        assert!(pack(0, b"").is_ok());
        assert!(matches!(pack(3, b"ab"), Err(PackError::ContentShort { found: 2, .. })));
        assert!(matches!(pack(3, b"abcd"), Err(PackError::ContentLong { size: 3, .. })));
        assert!(matches!(pack(0, b"a"), Err(PackError::ContentLong { .. })));
    }

    #[test]
    fn a_record_counts_its_own_length() {
        for length in 0..200 {
            let mut records = Records::default();
            records.add("k", &vec![b'v'; length]);
            let written = records.0.len();
            assert!(records.0.starts_with(format!("{written} k=").as_bytes()));
        }
    }

    #[test]
    fn a_size_beyond_octal_is_read_back() {
        for size in [LARGEST_OCTAL, LARGEST_OCTAL + 1, 1 << 39] {
            let mut writer = TarWriter::new(Vec::new());
            writer.header(Kind::File, b"f", b"", size).unwrap();
            let mut reader =
                TarReader::new(&writer.output[..], Encoding::Identity, Limits::default()).unwrap();
            let entry = reader.next_entry().unwrap().unwrap();
            assert_eq!(entry.kind, EntryKind::File { size, executable: false, sparse: None });
        }
    }

    #[test]
    fn times_are_written_without_needless_digits() {
        for (seconds, nanos, text) in [
            (0, 0, "0"),
            (100, 0, "100"),
            (1, 500_000_000, "1.5"),
            (-2, 750_000_000, "-1.25"),
            (-1, 999_999_999, "-0.000000001"),
        ] {
            assert_eq!(time(Modified { seconds, nanos }), text);
        }
    }

    #[test]
    fn names_are_split_at_a_slash_that_makes_both_parts_fit() {
        let long = format!("{}/{}", "p".repeat(155), "n".repeat(100));
        assert_eq!(split(long.as_bytes()).map(|(p, n)| (p.len(), n.len())), Some((155, 100)));
        assert_eq!(split(format!("{}/n", "p".repeat(156)).as_bytes()), None);
        assert_eq!(split(format!("{}/", "p".repeat(100)).as_bytes()), None);
        assert_eq!(split(&[b'n'; 100]), Some((&b""[..], &[b'n'; 100][..])));
    }
}
