//! xz (format version 1.2.1): streams one after another with padding between them, as `xz -d`
//! reads them.
//!
//! The container is parsed here: the dictionary that a block declares is limited before memory is
//! taken, the check of each block is verified, and the index must say what the blocks were. What
//! is inside a block (LZMA2 and the filters around it) is decoded by lzma-rust2. Memory does not
//! grow with the number of blocks.

mod chain;
mod check;
mod format;

use std::io::{self, Read};

use sha2::{Digest, Sha256};

use crate::decode::Encoding;
use crate::decode::input::{Fate, Input, cut_off, damaged};
use crate::decode::xz::chain::Chain;
use crate::decode::xz::check::Running;
use crate::decode::xz::format::{BlockHeader, Check, Number, Refusal, STREAM_HEADER};
use crate::{Error, Limit};

/// All streams of an input as one.
pub(super) struct Streams<R> {
    state: State<R>,
    most: u64,
    window: u64,
}

enum State<R> {
    /// Before the first stream (which must come), or before another one (which may).
    Between { input: Input<R>, first: bool },
    /// In a stream, where a block or the index comes next.
    Stream { input: Input<R>, stream: Stream },
    /// In a block.
    Block(Box<Block<R>>),
    /// At the end of the input.
    Done { input: Input<R> },
    /// Only while one of the above turns into another, and after an error.
    Turning { fate: Fate },
}

/// What is known of the current stream.
struct Stream {
    check: Check,
    blocks: Records,
}

struct Block<R> {
    stream: Stream,
    header: BlockHeader,
    header_length: u64,
    chain: Chain<Input<R>>,
    content: u64,
    check: Running,
}

impl<R> Streams<R> {
    /// Refuses dictionaries of more than `most` bytes.
    pub(super) fn new(input: Input<R>, most: u64) -> Self {
        Self { state: State::Between { input, first: true }, most, window: 0 }
    }

    pub(super) fn fate(&self) -> Fate {
        match &self.state {
            State::Between { input, .. } | State::Stream { input, .. } | State::Done { input } => {
                input.get_ref().fate
            }
            State::Block(block) => block.chain.input().get_ref().fate,
            State::Turning { fate } => *fate,
        }
    }

    /// The largest dictionary that a block declared so far.
    pub(super) fn window(&self) -> u64 {
        self.window
    }
}

impl<R: Read> Read for Streams<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            match &mut self.state {
                State::Block(block) => match block.chain.read(buffer)? {
                    0 => self.turn()?,
                    read => {
                        block.content += read as u64;
                        block.check.update(&buffer[..read]);
                        return Ok(read);
                    }
                },
                State::Done { .. } => return Ok(0),
                State::Turning { .. } => return Err(damaged("the data was given up")),
                State::Between { .. } | State::Stream { .. } => self.turn()?,
            }
        }
    }
}

impl<R: Read> Streams<R> {
    /// From one state to the next.
    fn turn(&mut self) -> io::Result<()> {
        let state = std::mem::replace(&mut self.state, State::Turning { fate: Fate::default() });
        let (mut input, step) = match state {
            State::Between { mut input, first } => {
                let header = next_stream(&mut input, first);
                (input, header.map(Step::Start))
            }
            State::Stream { mut input, stream } => {
                let step = self.block(&mut input, stream);
                (input, step)
            }
            State::Block(block) => {
                let Block { stream, header, header_length, chain, content, check } = *block;
                let (mut input, compressed) = chain.into_input();
                let sizes = Sizes { header: header_length, compressed, content };
                let stream = end_block(&mut input, stream, &header, sizes, check);
                (input, stream.map(Step::Go))
            }
            settled @ (State::Done { .. } | State::Turning { .. }) => {
                self.state = settled;
                return Ok(());
            }
        };
        // What the input did must be known even when this failed.
        self.state = match step {
            Ok(Step::Start(None)) => State::Done { input },
            Ok(Step::Start(Some(check))) => {
                State::Stream { input, stream: Stream { check, blocks: Records::default() } }
            }
            Ok(Step::Go(stream)) => State::Stream { input, stream },
            Ok(Step::End) => State::Between { input, first: false },
            Ok(Step::Block { stream, header, header_length }) => {
                let check = Running::new(stream.check);
                let chain = Chain::new(input, &header);
                State::Block(Box::new(Block {
                    stream,
                    header,
                    header_length,
                    chain,
                    content: 0,
                    check,
                }))
            }
            Err(error) => {
                self.state = State::Turning { fate: input.get_mut().fate };
                return Err(error);
            }
        };
        Ok(())
    }

    /// A block header, or the index and the footer that end the stream.
    fn block(&mut self, input: &mut Input<R>, stream: Stream) -> io::Result<Step> {
        let [size] = exactly(input)?;
        if size == 0 {
            end_stream(input, &stream)?;
            return Ok(Step::End);
        }
        let mut bytes = [0; LONGEST_BLOCK_HEADER];
        let bytes = &mut bytes[..(usize::from(size) + 1) * 4];
        bytes[0] = size;
        input.read_exact(&mut bytes[1..])?;
        let header = BlockHeader::parse(bytes).map_err(refused)?;
        let dictionary = u64::from(header.dictionary);
        if dictionary > self.most {
            return Err(Error::TooLarge { limit: Limit::Window, most: self.most }.into());
        }
        self.window = self.window.max(dictionary);
        Ok(Step::Block { stream, header, header_length: bytes.len() as u64 })
    }
}

/// What comes after a state.
enum Step {
    Start(Option<Check>),
    Go(Stream),
    Block { stream: Stream, header: BlockHeader, header_length: u64 },
    End,
}

/// The header of the next stream, behind padding (section 2.2); `None` at the end of the input.
fn next_stream<R: Read>(input: &mut Input<R>, first: bool) -> io::Result<Option<Check>> {
    let mut header = [0; STREAM_HEADER];
    loop {
        let mut filled = 0;
        while filled < 4 {
            match input.read(&mut header[filled..4])? {
                0 if filled == 0 && !first => return Ok(None),
                0 => return Err(cut_off()),
                read => filled += read,
            }
        }
        if first || header[..4] != [0; 4] {
            input.read_exact(&mut header[4..])?;
            return format::stream_header(&header).map(Some).map_err(refused);
        }
    }
}

/// Bytes of the parts of a block.
#[derive(Clone, Copy)]
struct Sizes {
    header: u64,
    compressed: u64,
    content: u64,
}

/// Padding and check behind a block (sections 3.3 and 3.4).
fn end_block<R: Read>(
    input: &mut Input<R>,
    mut stream: Stream,
    header: &BlockHeader,
    sizes: Sizes,
    check: Running,
) -> io::Result<Stream> {
    let stated = |stated: Option<u64>, is| stated.is_none_or(|stated| stated == is);
    if !stated(header.compressed, sizes.compressed) || !stated(header.content, sizes.content) {
        return Err(damaged("a block has another size than its header says"));
    }
    padding(input, sizes.compressed)?;
    let mut stored = [0; 32];
    let stored = &mut stored[..stream.check.length()];
    input.read_exact(stored)?;
    if !check.matches(stored) {
        return Err(damaged("the check of a block is wrong"));
    }
    stream.blocks.push(sizes.header + sizes.compressed + stored.len() as u64, sizes.content);
    Ok(stream)
}

/// Index (section 4, behind its first byte) and stream footer.
fn end_stream<R: Read>(input: &mut Input<R>, stream: &Stream) -> io::Result<()> {
    let mut index = Index { input, crc: crc32fast::Hasher::new(), length: 1 };
    index.crc.update(&[0]);
    let count = index.number()?;
    let mut records = Records::default();
    // One by one, so that a count that lies costs nothing.
    while records.count < count {
        let (unpadded, content) = (index.number()?, index.number()?);
        records.push(unpadded, content);
        if records.count > stream.blocks.count {
            break;
        }
    }
    if records.count != stream.blocks.count || records.sum() != stream.blocks.sum() {
        return Err(damaged("the index contradicts the blocks"));
    }
    while !index.length.is_multiple_of(4) {
        if index.byte()? != 0 {
            return Err(damaged("padding is not zero"));
        }
    }
    let Index { input, crc, length } = index;
    if exactly(input)? != crc.finalize().to_le_bytes() {
        return Err(damaged("the checksum of the index is wrong"));
    }
    let footer = exactly(input)?;
    format::stream_footer(&footer, stream.check, length + 4).map_err(refused)
}

struct Index<'a, R> {
    input: &'a mut Input<R>,
    crc: crc32fast::Hasher,
    length: u64,
}

impl<R: Read> Index<'_, R> {
    fn byte(&mut self) -> io::Result<u8> {
        let [byte] = exactly(self.input)?;
        self.crc.update(&[byte]);
        self.length += 1;
        Ok(byte)
    }

    fn number(&mut self) -> io::Result<u64> {
        let mut number = Number::default();
        loop {
            if let Some(value) = number.push(self.byte()?).map_err(refused)? {
                return Ok(value);
            }
        }
    }
}

/// The sizes of blocks, one after another: as the blocks had them, or as the index has them. Only
/// whether both are the same matters, so a digest is enough.
#[derive(Default)]
struct Records {
    count: u64,
    digest: Sha256,
}

impl Records {
    fn push(&mut self, unpadded: u64, content: u64) {
        self.count += 1;
        self.digest.update(unpadded.to_le_bytes());
        self.digest.update(content.to_le_bytes());
    }

    fn sum(&self) -> [u8; 32] {
        self.digest.clone().finalize().into()
    }
}

fn padding<R: Read>(input: &mut Input<R>, length: u64) -> io::Result<()> {
    for _ in 0..length.next_multiple_of(4) - length {
        if exactly(input)? != [0] {
            return Err(damaged("padding is not zero"));
        }
    }
    Ok(())
}

fn exactly<const LENGTH: usize>(input: &mut impl Read) -> io::Result<[u8; LENGTH]> {
    let mut bytes = [0; LENGTH];
    input.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn refused(refusal: Refusal) -> io::Error {
    match refusal {
        Refusal::Damaged(what) => damaged(what),
        Refusal::Unsupported(what) => {
            Error::UnsupportedCoding { encoding: Encoding::Xz, what }.into()
        }
    }
}

const LONGEST_BLOCK_HEADER: usize = 1024;
