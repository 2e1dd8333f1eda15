//! From a body into something, piece by piece, in bounded memory.

use std::io::{self, Read};

/// Why pouring ended before the end of the body.
#[derive(Debug)]
pub(super) enum Spilt<E> {
    /// The body has more bytes than are wanted.
    TooLong,
    /// The body broke off after so many bytes.
    Broken(u64, io::Error),
    /// The sink refused.
    Sink(E),
}

/// Hands the body to `sink` in pieces with their offsets, at most `limit` bytes; says how many there were.
pub(super) fn pour<E>(
    body: &mut dyn Read,
    limit: u64,
    mut sink: impl FnMut(u64, &[u8]) -> Result<(), E>,
) -> Result<u64, Spilt<E>> {
    let mut buffer = vec![0; PIECE];
    let mut offset = 0;
    loop {
        let filled = fill(body, &mut buffer)
            .map_err(|(filled, cause)| Spilt::Broken(offset + filled as u64, cause))?;
        if filled == 0 {
            return Ok(offset);
        }
        if offset + filled as u64 > limit {
            return Err(Spilt::TooLong);
        }
        sink(offset, &buffer[..filled]).map_err(Spilt::Sink)?;
        offset += filled as u64;
    }
}

/// Reads until the buffer is full or the body ends; if it breaks off, how many bytes came before.
fn fill(body: &mut dyn Read, buffer: &mut [u8]) -> Result<usize, (usize, io::Error)> {
    let mut filled = 0;
    while filled < buffer.len() {
        match body.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err((filled, error)),
        }
    }
    Ok(filled)
}

/// Large enough that system calls and locks do not show, small enough for many uploads at a time.
const PIECE: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    struct Breaks<'a>(&'a [u8]);

    impl Read for Breaks<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            match self.0.read(into)? {
                0 => Err(io::ErrorKind::ConnectionAborted.into()),
                count => Ok(count),
            }
        }
    }

    #[test]
    fn what_is_longer_than_wanted_is_not_handed_on_beyond_the_limit() {
        for (length, limit) in [(1, 0), (PIECE + 1, PIECE), (3 * PIECE, 2 * PIECE)] {
            let mut most = 0;
            let spilt = pour(&mut io::repeat(7).take(length as u64), limit as u64, |at, piece| {
                most = at + piece.len() as u64;
                Ok::<(), ()>(())
            });
            assert!(matches!(spilt, Err(Spilt::TooLong)) && most <= limit as u64);
        }
    }

    #[test]
    fn a_body_that_breaks_off_is_not_a_short_body() {
        let spilt = pour(&mut Breaks(b"abc"), 10, |_, _| Ok::<(), ()>(()));
        assert!(matches!(spilt, Err(Spilt::Broken(3, _))));
        assert_eq!(pour(&mut &b"abc"[..], 10, |_, _| Ok::<(), ()>(())).ok(), Some(3));
    }
}
