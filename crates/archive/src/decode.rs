//! The encodings around a tar, and the decoded stream that the tar reader pulls from.
//!
//! It tells four things apart that all arrive as `io::Error`: the input failed, the input is cut
//! off, the encoding is damaged, and more came out than is allowed. Another encoding is one more
//! variant of `Decoder`.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read};

use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::GzDecoder;

use crate::{Container, Error, Limit};

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
    most: u64,
}

impl<R: Read> Stream<R> {
    /// Decodes `input`, at most `most` bytes of it.
    pub(crate) fn new(input: R, encoding: Encoding, most: u64) -> Result<Self, Error> {
        let input = Tap { input, failed: false };
        let decoder = match encoding {
            Encoding::Identity => Decoder::Identity(input),
            Encoding::Gzip => Decoder::Gzip(Members::new(input)),
            Encoding::Bzip2 => Decoder::Bzip2(MultiBzDecoder::new(buffered(input))),
            Encoding::Zstd | Encoding::Xz => {
                return Err(Error::UnsupportedEncoding { container: Container::Tar, encoding });
            }
        };
        Ok(Self { decoder: BufReader::with_capacity(BUFFER, decoder), encoding, position: 0, most })
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
        if self.position > self.most {
            return Err(Error::TooLarge { limit: Limit::StreamBytes, most: self.most });
        }
        Ok(())
    }

    fn explain(&self, source: io::Error) -> Error {
        if self.decoder.get_ref().input_failed() {
            Error::Read { source }
        } else if source.kind() == io::ErrorKind::UnexpectedEof {
            Error::Truncated
        } else {
            Error::Decode { encoding: self.encoding, source }
        }
    }
}

/// One variant an encoding.
enum Decoder<R> {
    Identity(Tap<R>),
    Gzip(Members<R>),
    Bzip2(MultiBzDecoder<BufReader<Tap<R>>>),
}

impl<R> Decoder<R> {
    fn input_failed(&self) -> bool {
        match self {
            Decoder::Identity(input) => input.failed,
            Decoder::Gzip(members) => members.input_failed(),
            Decoder::Bzip2(decoder) => decoder.get_ref().get_ref().failed,
        }
    }
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Decoder::Identity(input) => input.read(buffer),
            Decoder::Gzip(members) => members.read(buffer),
            Decoder::Bzip2(decoder) => decoder.read(buffer),
        }
    }
}

/// gzip members one after another, as gzip itself reads them: zeros behind the last one are
/// padding (of tapes, and of writers that fill blocks), anything else is an error. flate2's own
/// multi-member reader has no padding.
enum Members<R> {
    Member(Box<GzDecoder<BufReader<Tap<R>>>>),
    Behind(BufReader<Tap<R>>),
    /// Only while one of the above turns into another.
    Turning,
}

impl<R: Read> Members<R> {
    fn new(input: Tap<R>) -> Self {
        Members::Member(Box::new(GzDecoder::new(buffered(input))))
    }
}

impl<R> Members<R> {
    fn input_failed(&self) -> bool {
        match self {
            Members::Member(decoder) => decoder.get_ref().get_ref().failed,
            Members::Behind(input) => input.get_ref().failed,
            Members::Turning => false,
        }
    }
}

impl<R: Read> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            match self {
                Members::Member(decoder) => {
                    let read = decoder.read(buffer)?;
                    if read > 0 {
                        return Ok(read);
                    }
                    if let Members::Member(decoder) = std::mem::replace(self, Members::Turning) {
                        *self = Members::Behind(decoder.into_inner());
                    }
                }
                Members::Behind(input) => match input.fill_buf()? {
                    [] => return Ok(0),
                    [0, ..] => return padding(input),
                    _ => {
                        if let Members::Behind(input) = std::mem::replace(self, Members::Turning) {
                            *self = Members::Member(Box::new(GzDecoder::new(input)));
                        }
                    }
                },
                Members::Turning => return Ok(0),
            }
        }
    }
}

fn padding(input: &mut impl BufRead) -> io::Result<usize> {
    loop {
        let ready = input.fill_buf()?;
        if ready.is_empty() {
            return Ok(0);
        }
        if ready.iter().any(|byte| *byte != 0) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "something else follows the compressed data",
            ));
        }
        let length = ready.len();
        input.consume(length);
    }
}

/// The input, remembering whether an error came from it rather than from a decoder.
struct Tap<R> {
    input: R,
    failed: bool,
}

impl<R: Read> Read for Tap<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.input.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.failed = true;
                    return Err(error);
                }
                read => return read,
            }
        }
    }
}

fn buffered<R: Read>(input: Tap<R>) -> BufReader<Tap<R>> {
    BufReader::with_capacity(BUFFER, input)
}

const BUFFER: usize = 64 << 10;
