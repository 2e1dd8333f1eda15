//! Why an archive cannot be used: whose fault it is, on which entry, and which rule.

use std::io;

use crate::{Container, Encoding, Limit, Rule};

/// Ends the reading of an archive. After one, a reader answers only [`Error::Ended`].
///
/// Names of entries are made printable: not UTF-8 becomes U+FFFD, control characters are escaped,
/// and long ones are cut.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The entry must not be created.
    #[error("entry `{entry}` is unsafe: {rule}")]
    Unsafe {
        /// The entry's name.
        entry: String,
        /// The rule that it breaks.
        rule: Rule,
    },
    /// Readers in use disagree about what this archive holds, so it is refused.
    #[error("entry `{entry}` means different things to different readers: {what}")]
    Ambiguous {
        /// The entry's name.
        entry: String,
        /// What they disagree about.
        what: Ambiguity,
    },
    /// The entry is stored in a way that is not supported.
    #[error("entry `{entry}` cannot be read: {what} is not supported")]
    Unsupported {
        /// The entry's name.
        entry: String,
        /// What it would take.
        what: Feature,
    },
    /// The encoding around the archive uses something that is not supported.
    #[error("the {encoding} data around the archive cannot be decoded: {what} is not supported")]
    UnsupportedCoding {
        /// The encoding.
        encoding: Encoding,
        /// What it would take.
        what: Feature,
    },
    /// The encoding is not supported for this container.
    #[error("a {container} archive with encoding {encoding} is not supported")]
    UnsupportedEncoding {
        /// The container.
        container: Container,
        /// The encoding around it.
        encoding: Encoding,
    },
    /// The archive is larger than allowed.
    #[error("the archive has more than {most} {limit}")]
    TooLarge {
        /// The limit that was reached.
        limit: Limit,
        /// Its value.
        most: u64,
    },
    /// The input ends before the archive does.
    #[error("the archive is cut off")]
    Truncated,
    /// The archive does not follow its format.
    #[error("the archive is malformed at byte {at}: {what}")]
    Malformed {
        /// Offset in the archive; of a tar, in the decoded one.
        at: u64,
        /// What is wrong there.
        what: Flaw,
    },
    /// The content of an entry is not what its header promises.
    #[error("the content of entry `{entry}` is damaged: {what}")]
    Damaged {
        /// The entry's name.
        entry: String,
        /// How it differs.
        what: Damage,
    },
    /// The encoding around the archive does not decode, or its checksum is wrong.
    #[error("the {encoding} data around the archive is damaged")]
    Decode {
        /// The encoding.
        encoding: Encoding,
        /// What the decoder says.
        source: io::Error,
    },
    /// The input failed; the archive itself may be good.
    #[error("the archive cannot be read")]
    Read {
        /// What the input says.
        source: io::Error,
    },
    /// An earlier error ended this archive.
    #[error("the archive was given up after an earlier error")]
    Ended,
}

impl Error {
    /// The error behind an `io::Error` that came out of a reader's [`io::Read`], for callers that
    /// read content through that trait.
    pub fn from_read(error: io::Error) -> Self {
        match error.downcast::<Error>() {
            Ok(ours) => ours,
            Err(source) => Error::Read { source },
        }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Truncated => io::ErrorKind::UnexpectedEof,
            Error::Read { source } => source.kind(),
            _ => io::ErrorKind::InvalidData,
        };
        io::Error::new(kind, error)
    }
}

/// What readers disagree about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Ambiguity {
    /// A directory (or, in a tar, a link) with a size; some readers skip that much, some do not.
    #[error("it has a size although its kind has no content")]
    SizeWithoutContent,
    /// tar: two extended headers of one sort, or two that set the same thing to different values.
    #[error("it has several extended headers that contradict each other")]
    ExtendedTwice,
    /// tar: a global header sets the name, link target, size or sparse map of all entries.
    #[error("a global header sets its name, link target, size or sparse map")]
    GlobalIdentity,
    /// tar: the header and a PAX record give different sizes, as no honest writer does.
    #[error("its header says that {field} bytes follow, a PAX record {record}")]
    SizeTwice {
        /// The header's own number.
        field: u64,
        /// The record's.
        record: u64,
    },
    /// tar: the map of a sparse file does not fit what is stored of it, or comes in two forms.
    #[error("its map of a sparse file does not fit what is stored")]
    SparseMap,
    /// zip: the local header has another name.
    #[error("its local header has another name")]
    LocalName,
    /// zip: the local header has another compression method.
    #[error("its local header has another compression method")]
    LocalMethod,
    /// zip: the local header has other flags (encryption, character set).
    #[error("its local header has other flags")]
    LocalFlags,
    /// zip: the local header has another size or checksum.
    #[error("its local header has another size or checksum")]
    LocalSize,
    /// zip: the data descriptor behind the content has another size or checksum.
    #[error("its data descriptor has another size or checksum")]
    Descriptor,
    /// zip: the content overlaps another entry or the directory.
    #[error("it overlaps another entry or the directory")]
    Overlap,
    /// zip: two extra fields give the same thing.
    #[error("it has an extra field twice")]
    ExtraTwice,
    /// zip: the Unicode path differs from a name that is plain ASCII.
    #[error("its Unicode path is another name")]
    UnicodePath,
    /// zip: the compressed stream ends before its compressed size does.
    #[error("it has bytes behind the end of its compressed data")]
    HiddenBytes,
    /// zip: mode, attributes and name disagree on the kind of the entry.
    #[error("its mode and its name disagree on what it is")]
    Kind,
}

/// What it would take to read an entry, or to decode what is around the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Feature {
    /// tar: a sparse file in a form that is not one of GNU tar's.
    #[error("a sparse file that is not in one of GNU tar's forms")]
    Sparse,
    /// tar: a part of an archive of several volumes.
    #[error("an archive of several volumes")]
    Volumes,
    /// tar: a GNU incremental dump.
    #[error("an incremental dump")]
    Incremental,
    /// tar: a list of long names, as GNU tar had them before types `L` and `K`.
    #[error("a list of long names in the oldest form")]
    OldLongNames,
    /// zip: encryption.
    #[error("encryption")]
    Encryption,
    /// zip: compressed patch data.
    #[error("patch data")]
    Patch,
    /// zip: a compression method that is not supported, by its number in APPNOTE 4.4.5.
    #[error("compression method {0}{name}", name = method_name(*.0))]
    Method(u16),
    /// zstd: a frame that needs a dictionary, by its number.
    #[error("a dictionary (number {0})")]
    Dictionary(u32),
    /// xz: a filter, by its number in the format's section 5.3, or a chain of filters that the
    /// format does not allow.
    #[error("filter {0:#x}")]
    Filter(u64),
    /// xz: an integrity check, by its number in the format's section 2.1.1.2.
    #[error("integrity check {0}")]
    Check(u8),
}

/// Where an archive departs from its format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Flaw {
    /// tar: the checksum of a header is wrong; not a tar at all, if at byte 0.
    #[error("this is not a tar header (its checksum is wrong)")]
    HeaderChecksum,
    /// tar: a number in a header is neither octal nor base-256, or is out of range.
    #[error("a number in the header is not one")]
    HeaderNumber,
    /// tar: a single zero block between entries.
    #[error("a lone zero block stands between entries")]
    LoneZeroBlock,
    /// tar: an extended header has no entry behind it.
    #[error("an extended header has no entry")]
    ExtendedAlone,
    /// tar: a record of an extended header is malformed.
    #[error("an extended header has a malformed record")]
    ExtendedRecord,
    /// tar: the map of a sparse file is malformed, or its extents are not in order.
    #[error("the map of a sparse file is malformed")]
    SparseMap,
    /// zip: no end of central directory record at the end of the input.
    #[error("the directory that ends a zip archive is missing")]
    NoDirectory,
    /// zip: more than one end record could be meant.
    #[error("the archive has more than one directory")]
    TwoDirectories,
    /// zip: the end record and the directory do not fit together.
    #[error("the directory does not fit its end record")]
    DirectoryPlace,
    /// zip: a record of the directory is malformed.
    #[error("a record of the directory is malformed")]
    DirectoryRecord,
    /// zip: an archive of several volumes.
    #[error("the archive is one of several volumes")]
    Volumes,
    /// zip: no local header where the directory says.
    #[error("the local header of an entry is missing")]
    LocalHeader,
    /// zip: an extra field is malformed.
    #[error("an extra field is malformed")]
    ExtraField,
}

/// How content differs from what its header promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// The compressed data does not decode.
    #[error("it does not decompress")]
    Compressed,
    /// The checksum differs.
    #[error("its checksum is wrong")]
    Checksum,
    /// The size differs.
    #[error("its size is wrong")]
    Size,
}

/// A name for messages: UTF-8, without control characters, not long.
pub(crate) fn printable(name: &[u8]) -> String {
    let mut text = String::new();
    for (count, c) in String::from_utf8_lossy(name).chars().enumerate() {
        if count == LONGEST_PRINTED {
            text.push('…');
            break;
        }
        // Bidirectional controls can make a terminal show another name.
        let deceives = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if c.is_control() || deceives {
            text.extend(c.escape_unicode());
        } else {
            text.push(c);
        }
    }
    text
}

fn method_name(method: u16) -> &'static str {
    match method {
        1 => " (shrink)",
        2..=5 => " (reduce)",
        6 => " (implode)",
        14 => " (LZMA)",
        95 => " (xz)",
        98 => " (PPMd)",
        _ => "",
    }
}

const LONGEST_PRINTED: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_messages_cannot_talk_to_the_terminal() {
        assert_eq!(printable(b"a\x1b[2Jb\n"), "a\\u{1b}[2Jb\\u{a}");
        assert_eq!(printable("a\u{202e}b".as_bytes()), "a\\u{202e}b");
        assert_eq!(printable(b"\xffz"), "\u{fffd}z");
        assert_eq!(printable(&[b'a'; 5000]).chars().count(), LONGEST_PRINTED + 1);
    }

    #[test]
    fn an_unsupported_method_is_named() {
        assert_eq!(Feature::Method(95).to_string(), "compression method 95 (xz)");
        assert_eq!(Feature::Method(77).to_string(), "compression method 77");
    }

    #[test]
    fn an_error_survives_the_way_through_io() {
        let io: io::Error = Error::Truncated.into();
        assert!(matches!(Error::from_read(io), Error::Truncated));
        let foreign = io::Error::other("x");
        assert!(matches!(Error::from_read(foreign), Error::Read { .. }));
    }
}
