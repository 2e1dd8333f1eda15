//! Bits taken one code after another. Behind the end come zeros, without end: whoever reads asks
//! for the position when done.

/// Bits that are ready after [`Input::fill`], at least.
pub(super) const READY: u32 = 56;

/// Bytes as bits, the highest of each first.
pub(super) struct Input<'a> {
    bytes: &'a [u8],
    /// The next byte that is not counted in `count`.
    at: usize,
    /// The next bits, the first one highest.
    ready: u64,
    /// So many of them count. Behind these stand others that will be read again, or zeros.
    count: u32,
}

impl<'a> Input<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, ready: 0, count: 0 }
    }

    /// Makes at least [`READY`] bits ready.
    #[inline(always)]
    pub(super) fn fill(&mut self) {
        let word = match self.bytes.get(self.at..).and_then(<[u8]>::first_chunk) {
            Some(eight) => u64::from_be_bytes(*eight),
            None => self.last(),
        };
        self.ready |= word >> self.count;
        // As many whole bytes as fit: the count becomes 56 to 63, and keeps its lowest bits.
        self.at += ((63 - self.count) / 8) as usize;
        self.count |= READY;
    }

    /// What is left of the bytes, and zeros.
    #[cold]
    fn last(&self) -> u64 {
        let mut eight = [0; 8];
        let left = self.bytes.get(self.at..).unwrap_or_default();
        eight.iter_mut().zip(left).for_each(|(to, from)| *to = *from);
        u64::from_be_bytes(eight)
    }

    /// The next `count` bits (1 to 32) as a number, without taking them. They must be ready.
    #[inline(always)]
    pub(super) fn peek(&self, count: u32) -> u32 {
        (self.ready >> (64 - count)) as u32
    }

    /// Takes `count` bits. They must be ready.
    #[inline(always)]
    pub(super) fn skip(&mut self, count: u32) {
        self.ready <<= count;
        self.count -= count;
    }

    /// Takes 1 to 32 bits as a number.
    #[inline(always)]
    pub(super) fn take(&mut self, count: u32) -> u32 {
        self.fill();
        let value = self.peek(count);
        self.skip(count);
        value
    }

    /// Bits that were taken.
    pub(super) fn position(&self) -> usize {
        self.at * 8 - self.count as usize
    }
}
