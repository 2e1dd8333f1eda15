//! The encodings around a tar, and the decoded stream that the tar reader pulls from.
//!
//! It tells apart what all arrives as `io::Error`: the input failed, the input is cut off, the
//! encoding is damaged, it asks for something that is not supported, and it is more than is
//! allowed. Another encoding is one more file here and one more variant of `Decoder`. Memory is
//! taken when a header has said that it is needed, never before.

mod bzip2;
mod gzip;
mod input;
mod xz;
pub(crate) mod zstd;

use std::fmt;
use std::io::{self, BufRead, BufReader, Read};

use crate::decode::input::{BUFFER, Fate, Tap, buffered};
use crate::{Error, Limit, Limits};

/// What is around the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Nothing.
    Identity,
    /// gzip (RFC 1952), one member or several.
    Gzip,
    /// bzip2, one stream or several.
    Bzip2,
    /// zstd (RFC 8878).
    Zstd,
    /// xz.
    Xz,
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Encoding::Identity => "identity",
            Encoding::Gzip => "gzip",
            Encoding::Bzip2 => "bzip2",
            Encoding::Zstd => "zstd",
            Encoding::Xz => "xz",
        })
    }
}

/// The decoded bytes, counted and limited.
pub(crate) struct Stream<R> {
    decoder: BufReader<Decoder<R>>,
    encoding: Encoding,
    position: u64,
    /// Bytes of content that were announced.
    content: u64,
    /// Bytes that may come beside it.
    beside: u64,
}

impl<R: Read> Stream<R> {
    /// Decodes `input`. Of the limits the window holds here; bytes are allowed as entries come. Nothing
    /// is read yet.
    pub(crate) fn new(input: R, encoding: Encoding, limits: &Limits) -> Self {
        let decoder = match encoding {
            Encoding::Identity => Decoder::Identity(Tap::new(input)),
            Encoding::Gzip => Decoder::Gzip(gzip::Members::new(buffered(input))),
            Encoding::Bzip2 => Decoder::Bzip2(Box::new(bzip2::Streams::new(Tap::new(input)))),
            Encoding::Zstd => Decoder::Zstd(zstd::Frames::new(buffered(input), limits.window)),
            Encoding::Xz => Decoder::Xz(xz::Streams::new(buffered(input), limits.window)),
        };
        let decoder = BufReader::with_capacity(BUFFER, decoder);
        Self { decoder, encoding, position: 0, content: 0, beside: PADDING }
    }

    /// One more entry was accepted, with so many bytes of content: they may come, and more headers.
    pub(crate) fn allow_entry(&mut self, content: u64) {
        self.content = self.content.saturating_add(content);
        self.beside = self.beside.saturating_add(HEADERS_AN_ENTRY);
    }

    /// Bytes of the largest window that the encoding declared so far; 0 where the window is a
    /// small fixed one.
    pub(crate) fn window(&self) -> u64 {
        match self.decoder.get_ref() {
            Decoder::Identity(_) | Decoder::Gzip(_) | Decoder::Bzip2(_) => 0,
            Decoder::Zstd(frames) => frames.window(),
            Decoder::Xz(streams) => streams.window(),
        }
    }

    /// Decoded bytes that were handed out.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Some bytes; 0 at the end only (or for an empty buffer).
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let read = self.decoder.read(buffer).map_err(|error| self.explain(error))?;
        self.advance(read)?;
        Ok(read)
    }

    /// As many bytes as fit, fewer at the end only.
    pub(crate) fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.read(&mut buffer[filled..])? {
                0 => break,
                read => filled += read,
            }
        }
        Ok(filled)
    }

    /// Passes over so many bytes.
    pub(crate) fn skip(&mut self, mut bytes: u64) -> Result<(), Error> {
        while bytes > 0 {
            let ready = match self.decoder.fill_buf() {
                Ok(ready) => ready.len(),
                Err(error) => return Err(self.explain(error)),
            };
            if ready == 0 {
                return Err(Error::Truncated);
            }
            let step = usize::try_from(bytes).map_or(ready, |bytes| bytes.min(ready));
            self.decoder.consume(step);
            self.advance(step)?;
            bytes -= step as u64;
        }
        Ok(())
    }

    /// Passes over all that is left, so that the encoding verifies its checksums.
    pub(crate) fn drain(&mut self) -> Result<(), Error> {
        loop {
            let ready = match self.decoder.fill_buf() {
                Ok(ready) => ready.len(),
                Err(error) => return Err(self.explain(error)),
            };
            if ready == 0 {
                return Ok(());
            }
            self.decoder.consume(ready);
            self.advance(ready)?;
        }
    }

    fn advance(&mut self, bytes: usize) -> Result<(), Error> {
        self.position += bytes as u64;
        if self.position > self.content.saturating_add(self.beside) {
            return Err(Error::TooLarge { limit: Limit::BesideContent, most: self.beside });
        }
        Ok(())
    }

    fn explain(&self, source: io::Error) -> Error {
        let fate = self.decoder.get_ref().fate();
        if fate.failed {
            return Error::Read { source };
        }
        match source.downcast::<Error>() {
            Ok(ours) => ours,
            // A decoder may also run out of bytes where a damaged length lies.
            Err(source) if source.kind() == io::ErrorKind::UnexpectedEof && fate.ended => {
                Error::Truncated
            }
            Err(source) => Error::Decode { encoding: self.encoding, source },
        }
    }
}

/// One variant an encoding.
enum Decoder<R> {
    Identity(Tap<R>),
    Gzip(gzip::Members<R>),
    Bzip2(Box<bzip2::Streams<R>>),
    Zstd(zstd::Frames<R>),
    Xz(xz::Streams<R>),
}

impl<R> Decoder<R> {
    fn fate(&self) -> Fate {
        match self {
            Decoder::Identity(input) => input.fate,
            Decoder::Gzip(members) => members.fate(),
            Decoder::Bzip2(streams) => streams.fate(),
            Decoder::Zstd(frames) => frames.fate(),
            Decoder::Xz(streams) => streams.fate(),
        }
    }
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Decoder::Identity(input) => input.read(buffer),
            Decoder::Gzip(members) => members.read(buffer),
            Decoder::Bzip2(streams) => streams.read(buffer),
            Decoder::Zstd(frames) => frames.read(buffer),
            Decoder::Xz(streams) => streams.read(buffer),
        }
    }
}

/// Decoded bytes that are no content, for each entry: as many as the longest extended header has.
const HEADERS_AN_ENTRY: u64 = 1 << 20;
/// Decoded bytes that are no content, in any archive: padding, and what lies behind the end marker. Both
/// depend on what was read and on no limit, so that whoever measures an archive and whoever unpacks it
/// with those figures for limits come to the same judgement.
const PADDING: u64 = 64 << 20;
