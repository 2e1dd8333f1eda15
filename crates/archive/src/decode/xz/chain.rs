//! The filters of one block, from its compressed bytes to its content.

use std::io::{self, Read};

use lzma_rust2::filter::bcj::BcjReader;
use lzma_rust2::filter::delta::DeltaReader;
use lzma_rust2::{FilterType, Lzma2Reader};

use crate::decode::xz::format::{BlockHeader, Filter};

/// LZMA2, and up to three filters around it. The dictionary grows with what is decoded, to what
/// the header declares at most.
pub(super) enum Chain<R> {
    Lzma2(Box<Lzma2Reader<Counted<R>>>),
    Delta(DeltaReader<Box<Chain<R>>>),
    Branch(BcjReader<Box<Chain<R>>>),
}

impl<R: Read> Chain<R> {
    pub(super) fn new(input: R, header: &BlockHeader) -> Self {
        let input = Counted { input, count: 0 };
        let lzma2 = Lzma2Reader::new(input, header.dictionary, None);
        let lzma2 = Chain::Lzma2(Box::new(lzma2));
        header.filters.iter().fold(lzma2, |chain, filter| chain.filtered(*filter))
    }

    fn filtered(self, Filter { kind, property }: Filter) -> Self {
        let (inner, property) = (Box::new(self), property as usize);
        match kind {
            // The parser lets no other LZMA2 through.
            FilterType::Lzma2 => *inner,
            FilterType::Delta => Chain::Delta(DeltaReader::new(inner, property)),
            FilterType::BcjX86 => Chain::Branch(BcjReader::new_x86(inner, property)),
            FilterType::BcjPpc => Chain::Branch(BcjReader::new_ppc(inner, property)),
            FilterType::BcjIa64 => Chain::Branch(BcjReader::new_ia64(inner, property)),
            FilterType::BcjArm => Chain::Branch(BcjReader::new_arm(inner, property)),
            FilterType::BcjArmThumb => Chain::Branch(BcjReader::new_arm_thumb(inner, property)),
            FilterType::BcjSparc => Chain::Branch(BcjReader::new_sparc(inner, property)),
            FilterType::BcjArm64 => Chain::Branch(BcjReader::new_arm64(inner, property)),
            FilterType::BcjRiscv => Chain::Branch(BcjReader::new_riscv(inner, property)),
        }
    }
}

impl<R> Chain<R> {
    /// The input, and the bytes of it that were taken.
    pub(super) fn into_input(self) -> (R, u64) {
        match self {
            Chain::Lzma2(reader) => {
                let Counted { input, count } = reader.into_inner();
                (input, count)
            }
            Chain::Delta(reader) => reader.into_inner().into_input(),
            Chain::Branch(reader) => reader.into_inner().into_input(),
        }
    }

    pub(super) fn input(&self) -> &R {
        match self {
            Chain::Lzma2(reader) => &reader.inner().input,
            Chain::Delta(reader) => reader.inner().input(),
            Chain::Branch(reader) => reader.inner().input(),
        }
    }
}

impl<R: Read> Read for Chain<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Chain::Lzma2(reader) => reader.read(buffer),
            Chain::Delta(reader) => reader.read(buffer),
            Chain::Branch(reader) => reader.read(buffer),
        }
    }
}

/// Counts the bytes that are taken from the input.
pub(super) struct Counted<R> {
    input: R,
    count: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.count += read as u64;
        Ok(read)
    }
}
