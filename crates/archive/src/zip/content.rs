//! The content of one entry: inflated, counted, and verified before its last byte is handed out.

use std::io::{self, Read};

use flate2::{Decompress, FlushDecompress, Status};

use super::packed::{Method, Packed};
use super::read_error;
use crate::{Ambiguity, Damage, Error};

/// Content that is being read. The input stands where the unread packed bytes begin.
pub(super) struct Content {
    /// Of the entry, for messages.
    name: String,
    packing: Packing,
    /// Packed bytes that are still in the input.
    packed: u64,
    /// Bytes of content to hand out.
    left: u64,
    hasher: crc32fast::Hasher,
    crc: u32,
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

enum Packing {
    Stored,
    Deflate(Box<Inflate>),
}

struct Inflate {
    state: Decompress,
    buffer: Vec<u8>,
    /// The part of the buffer that was not inflated yet.
    from: usize,
    to: usize,
    ended: bool,
}

impl Content {
    /// Content of which nothing was read yet.
    pub(super) fn new(packed: Packed) -> Self {
        let packing = match packed.method {
            Method::Stored => Packing::Stored,
            Method::Deflate => Packing::Deflate(Box::new(Inflate {
                state: Decompress::new(false),
                buffer: Vec::new(),
                from: 0,
                to: 0,
                ended: false,
            })),
        };
        Self {
            name: packed.name,
            packing,
            packed: packed.packed,
            left: packed.size,
            hasher: crc32fast::Hasher::new(),
            crc: packed.crc,
            state: State::Reading,
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
            let entry = self.name.clone();
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
        if let Packing::Deflate(inflate) = &self.packing
            && (self.packed > 0 || inflate.from < inflate.to)
        {
            return Err(Fault::Ambiguous(Ambiguity::HiddenBytes));
        }
        if self.hasher.clone().finalize() != self.crc {
            return Err(Fault::Damaged(Damage::Checksum));
        }
        Ok(())
    }

    /// Some bytes; 0 at the end of the packed data.
    fn unpack(&mut self, input: &mut impl Read, out: &mut [u8]) -> Result<usize, Fault> {
        match &mut self.packing {
            Packing::Stored => take(input, &mut self.packed, out),
            Packing::Deflate(inflate) => inflate.read(input, &mut self.packed, out),
        }
    }
}

impl Inflate {
    fn read(
        &mut self,
        input: &mut impl Read,
        packed: &mut u64,
        out: &mut [u8],
    ) -> Result<usize, Fault> {
        while !self.ended {
            if self.from == self.to {
                self.buffer.resize(BUFFER, 0);
                self.to = take(input, packed, &mut self.buffer)?;
                self.from = 0;
            }
            let (before_in, before_out) = (self.state.total_in(), self.state.total_out());
            let status = self
                .state
                .decompress(&self.buffer[self.from..self.to], out, FlushDecompress::None)
                .map_err(|_| Fault::Damaged(Damage::Compressed))?;
            let consumed = (self.state.total_in() - before_in) as usize;
            let produced = (self.state.total_out() - before_out) as usize;
            self.from += consumed;
            self.ended = matches!(status, Status::StreamEnd);
            if produced > 0 {
                return Ok(produced);
            }
            if consumed == 0 && !self.ended {
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
