//! What the readers of all containers have in common, for callers that have one loop.

use std::fmt;
use std::io::{Read, Seek};

use crate::{Encoding, Entry, Error, Limits, Summary, TarReader, ZipReader};

/// The format that holds the entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    /// tar: v7, ustar, GNU and PAX.
    Tar,
    /// zip, with zip64.
    Zip,
}

impl fmt::Display for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Container::Tar => "tar",
            Container::Zip => "zip",
        })
    }
}

/// An archive that is pulled entry by entry. As [`Read`] it is the content of the current file;
/// what goes wrong there is an [`Error`] inside an `io::Error`: [`Error::from_read`] gets it out.
pub trait Entries: Read {
    /// The next checked entry. What was not read of the last one's content is passed over.
    ///
    /// `Ok(None)` is the end, and the proof that the whole archive keeps the rules: only then may
    /// what was made of it be published.
    ///
    /// # Errors
    /// Any [`Error`]; the archive is then given up.
    fn next_entry(&mut self) -> Result<Option<Entry>, Error>;

    /// Some bytes of the current file's content; 0 at its end, and when the current entry is not
    /// a file (or the buffer is empty).
    ///
    /// # Errors
    /// Any [`Error`]; the archive is then given up.
    fn read_content(&mut self, buffer: &mut [u8]) -> Result<usize, Error>;

    /// What the archive amounts to; `None` until [`next_entry`](Self::next_entry) has said that
    /// this was all.
    fn summary(&self) -> Option<Summary>;
}

/// Opens an archive that lies somewhere with a beginning and an end. (A tar that comes as a stream
/// needs no [`Seek`]: [`TarReader::new`].)
///
/// # Errors
/// [`Error::UnsupportedEncoding`], and whatever is wrong with the directory of a zip.
pub fn open<'a, R: Read + Seek + 'a>(
    input: R,
    container: Container,
    encoding: Encoding,
    limits: Limits,
) -> Result<Box<dyn Entries + 'a>, Error> {
    match (container, encoding) {
        (Container::Tar, _) => Ok(Box::new(TarReader::new(input, encoding, limits)?)),
        (Container::Zip, Encoding::Identity) => Ok(Box::new(ZipReader::new(input, limits)?)),
        (Container::Zip, _) => Err(Error::UnsupportedEncoding { container, encoding }),
    }
}

/// Reads an archive to its end, all content included, and says what it amounts to: a dry run.
///
/// # Errors
/// Any [`Error`] that unpacking it would give.
pub fn measure(entries: &mut dyn Entries) -> Result<Summary, Error> {
    let mut buffer = vec![0; 64 << 10];
    while entries.next_entry()?.is_some() {
        while entries.read_content(&mut buffer)? > 0 {}
    }
    entries.summary().ok_or(Error::Ended)
}

/// How far a reader is. There is no way back from a failure.
#[derive(Clone, Copy)]
pub(crate) enum State {
    Reading,
    Complete(Summary),
    Failed,
}

impl State {
    pub(crate) fn summary(self) -> Option<Summary> {
        match self {
            State::Complete(summary) => Some(summary),
            State::Reading | State::Failed => None,
        }
    }
}
