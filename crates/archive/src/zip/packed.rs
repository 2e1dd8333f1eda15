//! The content of one file apart from the walk through the directory, so that several can be
//! unpacked at once, each through a handle of its own on the archive.
//!
//! It is the same code as the sequential reader's: that one opens what this describes, in place.

use std::io::{self, Read};

use super::content::Content;
use crate::Error;

/// Where the content of a file lies in a zip, and what it must be: from
/// [`ZipReader::next_apart`](crate::ZipReader::next_apart), which has judged the entry already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    /// Of the entry, made printable.
    pub(super) name: String,
    pub(super) method: Method,
    /// Bytes of history that unpacking keeps; of zstd only.
    pub(super) window: u64,
    /// Where the packed bytes begin in the input.
    pub(super) offset: u64,
    /// How many there are.
    pub(super) packed: u64,
    /// Bytes of content.
    pub(super) size: u64,
    /// CRC-32 of the content.
    pub(super) crc: u32,
}

/// How content is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Stored,
    Deflate,
    Deflate64,
    Bzip2,
    Zstd,
}

impl Method {
    /// The method of that number in APPNOTE 4.4.5, if it is supported.
    pub(super) fn of(number: u16) -> Option<Self> {
        match number {
            0 => Some(Self::Stored),
            8 => Some(Self::Deflate),
            9 => Some(Self::Deflate64),
            12 => Some(Self::Bzip2),
            93 => Some(Self::Zstd),
            _ => None,
        }
    }
}

impl Packed {
    /// Where the packed bytes begin, from position 0 of the input.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// How many packed bytes there are.
    pub fn packed_bytes(&self) -> u64 {
        self.packed
    }

    /// Reads the content from `input`, which stands at [`offset`](Self::offset) of the same
    /// archive. No more than [`packed_bytes`](Self::packed_bytes) of it are read.
    pub fn open<R: Read>(self, input: R) -> PackedReader<R> {
        PackedReader { input, content: Content::new(self) }
    }
}

/// Unpacks the content of one file of a zip. As [`Read`] it gives the same; what goes wrong there
/// is an [`Error`] inside an `io::Error`: [`Error::from_read`] gets it out.
pub struct PackedReader<R> {
    input: R,
    content: Content,
}

impl<R: Read> PackedReader<R> {
    /// Some bytes of content; 0 at its end only (or for an empty buffer). Size and checksum are
    /// verified before the last byte is handed out; of an empty file, by the first call. So only
    /// content that was read until 0 is known to be good.
    ///
    /// # Errors
    /// [`Error::Damaged`], [`Error::Ambiguous`], [`Error::Truncated`], [`Error::Read`]; after one,
    /// [`Error::Ended`].
    pub fn read_content(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        self.content.read(&mut self.input, buffer)
    }
}

impl<R: Read> Read for PackedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(self.read_content(buffer)?)
    }
}
