//! The content of one entry: unpacked, counted, and verified before its last byte is handed out.
//!
//! Compressed data is one stream (of zstd one frame), as all readers of zip take it, and ends with
//! the last of the packed bytes: what some reader might find behind it, we refuse.

use std::io::{self, Read};

use super::packed::Packed;
use super::read_error;
use super::unpack::{Undecodable, Unpacker};
use crate::{Ambiguity, Damage, Error};

/// Content that is being read. The input stands where the unread packed bytes begin.
pub(super) struct Content {
    packed: Packed,
    /// Nothing before the first byte is wanted.
    unpacker: Option<Unpacker>,
    ended: bool,
    /// Packed bytes that are still in the input.
    unread: u64,
    buffer: Vec<u8>,
    /// The part of the buffer that was not unpacked yet.
    from: usize,
    to: usize,
    /// Bytes of content to hand out.
    left: u64,
    hasher: crc32fast::Hasher,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Reading,
    Verified,
    Failed,
}

/// Why content cannot be had.
enum Fault {
    Damaged(Damage),
    Ambiguous(Ambiguity),
    Read(io::Error),
}

impl Content {
    /// Content of which nothing was read yet.
    pub(super) fn new(packed: Packed) -> Self {
        Self {
            unpacker: None,
            ended: false,
            unread: packed.packed,
            buffer: Vec::new(),
            from: 0,
            to: 0,
            left: packed.size,
            hasher: crc32fast::Hasher::new(),
            state: State::Reading,
            packed,
        }
    }

    /// Some bytes of content; 0 at the end only (or for an empty buffer). What has no bytes is
    /// verified by the first call.
    pub(super) fn read(&mut self, input: &mut impl Read, out: &mut [u8]) -> Result<usize, Error> {
        match self.state {
            State::Verified => return Ok(0),
            State::Failed => return Err(Error::Ended),
            State::Reading => {}
        }
        self.pull(input, out).map_err(|fault| {
            self.state = State::Failed;
            let entry = self.packed.name.clone();
            match fault {
                Fault::Damaged(what) => Error::Damaged { entry, what },
                Fault::Ambiguous(what) => Error::Ambiguous { entry, what },
                Fault::Read(source) => read_error(source),
            }
        })
    }

    fn pull(&mut self, input: &mut impl Read, out: &mut [u8]) -> Result<usize, Fault> {
        let mut read = 0;
        if self.left > 0 {
            let most = usize::try_from(self.left).map_or(out.len(), |left| left.min(out.len()));
            let out = &mut out[..most];
            if out.is_empty() {
                return Ok(0);
            }
            read = self.unpack(input, out)?;
            if read == 0 {
                return Err(Fault::Damaged(Damage::Size));
            }
            self.hasher.update(&out[..read]);
            self.left -= read as u64;
        }
        if self.left == 0 {
            self.verify(input)?;
            self.state = State::Verified;
        }
        Ok(read)
    }

    /// Nothing may follow, and the checksum must be right.
    fn verify(&mut self, input: &mut impl Read) -> Result<(), Fault> {
        if self.unpack(input, &mut [0])? > 0 {
            return Err(Fault::Damaged(Damage::Size));
        }
        if self.unread > 0 || self.from < self.to {
            return Err(Fault::Ambiguous(Ambiguity::HiddenBytes));
        }
        if self.hasher.clone().finalize() != self.packed.crc {
            return Err(Fault::Damaged(Damage::Checksum));
        }
        Ok(())
    }

    /// Some bytes; 0 at the end of the packed data.
    fn unpack(&mut self, input: &mut impl Read, out: &mut [u8]) -> Result<usize, Fault> {
        let unpacker = match &mut self.unpacker {
            Some(unpacker) => unpacker,
            none => none.insert(
                Unpacker::new(self.packed.method, self.packed.window).map_err(Fault::Read)?,
            ),
        };
        if unpacker.is_stored() {
            return take(input, &mut self.unread, out);
        }
        while !self.ended {
            if self.from == self.to {
                self.buffer.resize(BUFFER, 0);
                self.to = take(input, &mut self.unread, &mut self.buffer)?;
                self.from = 0;
            }
            // The last byte goes in alone: data that ends without it hides it. (An unpacker that
            // reads bits ahead would have swallowed it otherwise.)
            let ready = &self.buffer[self.from..self.to];
            let last = self.unread == 0 && ready.len() > 1;
            let ready = if last { &ready[..ready.len() - 1] } else { ready };
            let step = unpacker
                .step(ready, out)
                .map_err(|Undecodable| Fault::Damaged(Damage::Compressed))?;
            self.from += step.consumed;
            self.ended = step.ended;
            if step.produced > 0 {
                return Ok(step.produced);
            }
            if step.consumed == 0 && !step.ended {
                // It wants more than there is (or is stuck, which is the same to us).
                return Err(Fault::Damaged(Damage::Compressed));
            }
        }
        Ok(0)
    }
}

/// Some of the packed bytes; 0 when there are none left.
fn take(input: &mut impl Read, packed: &mut u64, out: &mut [u8]) -> Result<usize, Fault> {
    let most = usize::try_from(*packed).map_or(out.len(), |packed| packed.min(out.len()));
    if most == 0 {
        return Ok(0);
    }
    loop {
        match input.read(&mut out[..most]) {
            Ok(0) => return Err(Fault::Read(io::ErrorKind::UnexpectedEof.into())),
            Ok(read) => {
                *packed -= read as u64;
                return Ok(read);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Fault::Read(error)),
        }
    }
}

const BUFFER: usize = 32 << 10;
