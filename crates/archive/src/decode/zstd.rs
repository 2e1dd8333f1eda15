//! zstd (RFC 8878): frames and skippable frames one after another, as `zstd -d` reads them.
//!
//! Frame headers are parsed here, before the decoder sees them: the window that a frame declares is
//! limited before memory is taken, and a frame that needs a dictionary is refused as such. The
//! blocks, the content size and the content checksum are the business of the reference decoder.

use std::io::{self, BufRead, Read};

use zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer, get_error_name};

use crate::decode::Encoding;
use crate::decode::input::{Fate, Input, cut_off, damaged};
use crate::{Error, Feature, Limit};

/// All frames of an input as one stream.
pub(super) struct Frames<R> {
    input: Input<R>,
    /// Taken for the first frame, kept for the next ones.
    context: Option<DCtx<'static>>,
    state: State,
    most: u64,
    window: u64,
    seen: bool,
}

enum State {
    Between,
    Frame,
    Skipping(u32),
}

impl<R> Frames<R> {
    /// Refuses windows of more than `most` bytes.
    pub(super) fn new(input: Input<R>, most: u64) -> Self {
        let most = most.min(LARGEST_WINDOW);
        Self { input, context: None, state: State::Between, most, window: 0, seen: false }
    }

    pub(super) fn fate(&self) -> Fate {
        self.input.get_ref().fate
    }

    /// The largest window that a frame declared so far.
    pub(super) fn window(&self) -> u64 {
        self.window
    }
}

impl<R: Read> Frames<R> {
    /// Reads the start of the next frame; `false` at the end of the input.
    fn start(&mut self) -> io::Result<bool> {
        let mut bytes = [0; LONGEST_START];
        let mut length = 0;
        let start = loop {
            if let Some(start) = Start::parse(&bytes[..length])? {
                break start;
            }
            match self.input.fill_buf()? {
                [] if length == 0 && self.seen => return Ok(false),
                [] => return Err(cut_off()),
                [byte, ..] => bytes[length] = *byte,
            }
            self.input.consume(1);
            length += 1;
        };
        self.seen = true;
        self.state = match start {
            Start::Skippable { length } => State::Skipping(length),
            Start::Frame { window, dictionary } => {
                if dictionary != 0 {
                    let what = Feature::Dictionary(dictionary);
                    return Err(Error::UnsupportedCoding { encoding: Encoding::Zstd, what }.into());
                }
                if window > self.most {
                    return Err(Error::TooLarge { limit: Limit::Window, most: self.most }.into());
                }
                self.window = self.window.max(window);
                self.feed(&bytes[..length])?;
                State::Frame
            }
        };
        Ok(true)
    }

    /// Gives the decoder a frame header; nothing comes out of it yet.
    fn feed(&mut self, header: &[u8]) -> io::Result<()> {
        let context = match &mut self.context {
            Some(context) => context,
            none => {
                let mut context = DCtx::try_create().ok_or(io::ErrorKind::OutOfMemory)?;
                context
                    .set_parameter(DParameter::WindowLogMax(LARGEST_WINDOW_LOG))
                    .map_err(told)?;
                none.insert(context)
            }
        };
        let mut input = InBuffer::around(header);
        while input.pos() < header.len() {
            let before = input.pos();
            let mut nothing = [];
            context
                .decompress_stream(&mut OutBuffer::around(&mut nothing[..]), &mut input)
                .map_err(told)?;
            if input.pos() == before {
                return Err(damaged("a frame header is not one"));
            }
        }
        Ok(())
    }

    /// Some bytes of the frame; 0 when it is over.
    fn frame(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(context) = &mut self.context else { return Ok(0) };
        while let State::Frame = self.state {
            let ready = self.input.fill_buf()?;
            let ended = ready.is_empty();
            let (mut input, mut output) = (InBuffer::around(ready), OutBuffer::around(buffer));
            let hint = context.decompress_stream(&mut output, &mut input).map_err(told)?;
            let (read, written) = (input.pos(), output.pos());
            self.input.consume(read);
            if hint == 0 {
                self.state = State::Between;
            }
            if written > 0 {
                return Ok(written);
            }
            if ended && hint != 0 {
                return Err(cut_off());
            }
        }
        Ok(0)
    }
}

impl<R: Read> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            match self.state {
                State::Between => {
                    if !self.start()? {
                        return Ok(0);
                    }
                }
                State::Frame => match self.frame(buffer)? {
                    0 => {}
                    read => return Ok(read),
                },
                State::Skipping(0) => self.state = State::Between,
                State::Skipping(left) => {
                    let ready = self.input.fill_buf()?.len();
                    if ready == 0 {
                        return Err(cut_off());
                    }
                    let step = ready.min(left as usize);
                    self.input.consume(step);
                    self.state = State::Skipping(left - step as u32);
                }
            }
        }
    }
}

/// How a frame starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// RFC 8878 section 3.1.1.1.
    Frame {
        /// Bytes of history that decoding may refer to.
        window: u64,
        /// 0 for none.
        dictionary: u32,
    },
    /// RFC 8878 section 3.1.2: so many bytes that mean nothing here.
    Skippable { length: u32 },
}

impl Start {
    /// Parses the first bytes of a frame; `None` as long as there are too few.
    pub(crate) fn parse(bytes: &[u8]) -> io::Result<Option<Self>> {
        let Some((magic, rest)) = bytes.split_first_chunk() else { return Ok(None) };
        match u32::from_le_bytes(*magic) {
            MAGIC => Self::frame(rest),
            magic if magic & !0xf == SKIPPABLE => {
                Ok(number(rest, 4).map(|(length, _)| Start::Skippable { length: length as u32 }))
            }
            _ => Err(damaged("this is not a zstd frame")),
        }
    }

    fn frame(bytes: &[u8]) -> io::Result<Option<Self>> {
        let Some((descriptor, rest)) = bytes.split_first() else { return Ok(None) };
        if descriptor & 0b1000 != 0 {
            return Err(damaged("a frame header sets a reserved bit"));
        }
        let single_segment = descriptor & 0b10_0000 != 0;
        let content_size = match (descriptor >> 6, single_segment) {
            (0, false) => 0,
            (0, true) => 1,
            (flag, _) => 1 << flag,
        };
        let dictionary = [0, 1, 2, 4][usize::from(descriptor & 0b11)];
        let fields = number(rest, usize::from(!single_segment)).and_then(|(window, rest)| {
            let (dictionary, rest) = number(rest, dictionary)?;
            let (content, _) = number(rest, content_size)?;
            Some((window, dictionary, content))
        });
        Ok(fields.map(|(window, dictionary, content)| {
            let window = if single_segment {
                // Two bytes count from 256, the first size that one byte cannot say.
                content + if content_size == 2 { 256 } else { 0 }
            } else {
                let base = 1 << (10 + (window >> 3));
                base + base / 8 * (window & 0b111)
            };
            Start::Frame { window, dictionary: dictionary as u32 }
        }))
    }
}

/// A little-endian number of so many bytes, and what follows it.
fn number(bytes: &[u8], length: usize) -> Option<(u64, &[u8])> {
    let (number, rest) = bytes.split_at_checked(length)?;
    Some((number.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)), rest))
}

fn told(code: usize) -> io::Error {
    damaged(get_error_name(code))
}

const MAGIC: u32 = 0xfd2f_b528;
const SKIPPABLE: u32 = 0x184d_2a50;
/// Magic, descriptor, window, dictionary, content size.
pub(crate) const LONGEST_START: usize = 4 + 1 + 1 + 4 + 8;
/// What the reference decoder can do at most.
const LARGEST_WINDOW_LOG: u32 = 31;
const LARGEST_WINDOW: u64 = 1 << LARGEST_WINDOW_LOG;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(bytes: &[u8]) -> Option<Start> {
        Start::parse(bytes).unwrap()
    }

    #[test]
    fn the_window_is_what_the_format_says() {
        let frame = |window| Some(Start::Frame { window, dictionary: 0 });
        assert_eq!(parse(b"\x28\xb5\x2f\xfd\x00\x00"), frame(1024));
        assert_eq!(parse(b"\x28\xb5\x2f\xfd\x00\x88"), frame(128 << 20));
        assert_eq!(parse(b"\x28\xb5\x2f\xfd\x00\x07"), frame(1024 + 7 * 128));
        assert_eq!(parse(b"\x28\xb5\x2f\xfd\x00\xff"), frame((1 << 41) + 7 * (1 << 38)));
        // A single segment is its own window.
        assert_eq!(parse(b"\x28\xb5\x2f\xfd\x20\x05"), frame(5));
        assert_eq!(parse(b"\x28\xb5\x2f\xfd\x60\x05\x00"), frame(261));
        assert_eq!(parse(b"\x28\xb5\x2f\xfd\xa0\x00\x00\x01\x00"), frame(1 << 16));
    }

    #[test]
    fn dictionaries_and_skippable_frames_are_recognized() {
        let needs = Start::Frame { window: 1024, dictionary: 0x0201 };
        assert_eq!(parse(b"\x28\xb5\x2f\xfd\x02\x00\x01\x02"), Some(needs));
        assert_eq!(parse(b"\x5a\x2a\x4d\x18\x01\x02\0\0"), Some(Start::Skippable { length: 513 }));
    }

    proptest! {
        #[test]
        fn a_start_is_read_byte_by_byte_to_one_answer(
            magic in prop::sample::select(vec![MAGIC, SKIPPABLE, SKIPPABLE + 15, 0x1234]),
            rest in prop::collection::vec(any::<u8>(), LONGEST_START - 4),
        ) {
            let bytes = [&magic.to_le_bytes()[..], &rest].concat();
            let mut answer = None;
            for length in 0..=bytes.len() {
                match (Start::parse(&bytes[..length]), answer) {
                    (Ok(now), None) => answer = now,
                    (Ok(now), before) => prop_assert_eq!(now, before),
                    (Err(_), before) => {
                        prop_assert_eq!(before, None);
                        prop_assert!(magic == 0x1234 || magic == MAGIC && rest[0] & 8 != 0);
                        return Ok(());
                    }
                }
            }
            prop_assert!(answer.is_some(), "18 bytes are always enough");
        }
    }
}
