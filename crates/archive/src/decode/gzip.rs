//! gzip (RFC 1952): members and padding; flate2 inflates and verifies each member.

use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;

use crate::decode::input::{Fate, Input, damaged};

/// gzip members one after another, as gzip itself reads them: zeros behind the last one are
/// padding (of tapes, and of writers that fill blocks), anything else is an error. flate2's own
/// multi-member reader has no padding.
pub(super) enum Members<R> {
    Member(Box<GzDecoder<Input<R>>>),
    Behind(Input<R>),
    /// Only while one of the above turns into another.
    Turning,
}

impl<R: Read> Members<R> {
    pub(super) fn new(input: Input<R>) -> Self {
        Members::Member(Box::new(GzDecoder::new(input)))
    }
}

impl<R> Members<R> {
    pub(super) fn fate(&self) -> Fate {
        match self {
            Members::Member(decoder) => decoder.get_ref().get_ref().fate,
            Members::Behind(input) => input.get_ref().fate,
            Members::Turning => Fate::default(),
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
            return Err(damaged("something else follows the compressed data"));
        }
        let length = ready.len();
        input.consume(length);
    }
}
