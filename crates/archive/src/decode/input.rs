//! The input of a decoder, and what became of it: decoders report everything as `io::Error`, so
//! whether the input failed or ended is remembered here, where it happens.

use std::io::{self, BufReader, Read};

/// The buffered input of a decoder.
pub(super) type Input<R> = BufReader<Tap<R>>;

/// What became of the input so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Fate {
    /// It answered with an error.
    pub(super) failed: bool,
    /// It was read to its end.
    pub(super) ended: bool,
}

/// The input, remembering whether an error came from it rather than from a decoder.
pub(super) struct Tap<R> {
    input: R,
    pub(super) fate: Fate,
}

impl<R> Tap<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, fate: Fate::default() }
    }
}

impl<R: Read> Read for Tap<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.input.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.fate.failed = true;
                    return Err(error);
                }
                Ok(0) if !buffer.is_empty() => {
                    self.fate.ended = true;
                    return Ok(0);
                }
                read => return read,
            }
        }
    }
}

pub(super) fn buffered<R: Read>(input: R) -> Input<R> {
    BufReader::with_capacity(BUFFER, Tap::new(input))
}

/// The input broke off in the middle of something.
pub(super) fn cut_off() -> io::Error {
    io::ErrorKind::UnexpectedEof.into()
}

/// The encoding does not follow its format.
pub(super) fn damaged(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Bytes that are read at once: large enough that a system call costs nothing beside the decoding,
/// small enough to stay in the nearest cache.
pub(super) const BUFFER: usize = 64 << 10;
