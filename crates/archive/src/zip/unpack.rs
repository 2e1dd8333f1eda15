//! The compression methods of a zip, one step at a time: packed bytes in, content out.
//!
//! What a method needs in memory at most, for each file that is being read: deflate 40 KiB,
//! deflate64 150 KiB, bzip2 4 MiB, zstd its window.

use std::io;

use bzip2::{Decompress as Bunzip2, Status as Bzip2Status};
use deflate64::InflaterManaged;
use flate2::{Decompress as Inflate, FlushDecompress, Status};
use zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer};

use super::packed::Method;

/// Unpacks one stream of compressed data; of zstd, one frame.
pub(super) enum Unpacker {
    Stored,
    Deflate(Inflate),
    Deflate64(Box<InflaterManaged>),
    Bzip2(Bunzip2),
    Zstd(DCtx<'static>),
}

/// What one step did. With neither, it wants more input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) consumed: usize,
    pub(super) produced: usize,
    /// The compressed data says that it ends here.
    pub(super) ended: bool,
}

/// The compressed data does not decode.
pub(super) struct Undecodable;

impl Unpacker {
    /// Sets up the method; `window` is what zstd may keep. An error is one of memory.
    pub(super) fn new(method: Method, window: u64) -> io::Result<Self> {
        Ok(match method {
            Method::Stored => Self::Stored,
            Method::Deflate => Self::Deflate(Inflate::new(false)),
            Method::Deflate64 => Self::Deflate64(Box::new(InflaterManaged::new())),
            Method::Bzip2 => Self::Bzip2(Bunzip2::new(false)),
            Method::Zstd => {
                let mut context = DCtx::try_create().ok_or(io::ErrorKind::OutOfMemory)?;
                let log = window.max(1).checked_next_power_of_two().map_or(u32::MAX, u64::ilog2);
                let log = log.clamp(SMALLEST_WINDOW_LOG, LARGEST_WINDOW_LOG);
                context
                    .set_parameter(DParameter::WindowLogMax(log))
                    .map_err(|_| io::ErrorKind::OutOfMemory)?;
                Self::Zstd(context)
            }
        })
    }

    /// Whether the data does not say itself where it ends.
    pub(super) fn is_stored(&self) -> bool {
        matches!(self, Self::Stored)
    }

    pub(super) fn step(&mut self, packed: &[u8], out: &mut [u8]) -> Result<Step, Undecodable> {
        match self {
            Self::Stored => {
                let length = packed.len().min(out.len());
                out[..length].copy_from_slice(&packed[..length]);
                Ok(Step { consumed: length, produced: length, ended: false })
            }
            Self::Deflate(state) => {
                let before = (state.total_in(), state.total_out());
                let status = state
                    .decompress(packed, out, FlushDecompress::None)
                    .map_err(|_| Undecodable)?;
                Ok(Step {
                    consumed: (state.total_in() - before.0) as usize,
                    produced: (state.total_out() - before.1) as usize,
                    ended: status == Status::StreamEnd,
                })
            }
            Self::Deflate64(state) => {
                let done = state.inflate(packed, out);
                if done.data_error || state.errored() {
                    return Err(Undecodable);
                }
                Ok(Step {
                    consumed: done.bytes_consumed,
                    produced: done.bytes_written,
                    ended: state.finished(),
                })
            }
            Self::Bzip2(state) => {
                let before = (state.total_in(), state.total_out());
                let status = state.decompress(packed, out).map_err(|_| Undecodable)?;
                if status == Bzip2Status::MemNeeded {
                    return Err(Undecodable);
                }
                Ok(Step {
                    consumed: (state.total_in() - before.0) as usize,
                    produced: (state.total_out() - before.1) as usize,
                    ended: status == Bzip2Status::StreamEnd,
                })
            }
            Self::Zstd(state) => {
                let (mut input, mut output) = (InBuffer::around(packed), OutBuffer::around(out));
                let hint =
                    state.decompress_stream(&mut output, &mut input).map_err(|_| Undecodable)?;
                Ok(Step { consumed: input.pos(), produced: output.pos(), ended: hint == 0 })
            }
        }
    }
}

/// What zstd takes for its parameter, on machines of 64 bits.
const SMALLEST_WINDOW_LOG: u32 = 10;
const LARGEST_WINDOW_LOG: u32 = 31;
