//! The integrity checks of xz blocks.

use sha2::{Digest, Sha256};

use crate::decode::xz::format::Check;

/// A check over what has been decoded of a block.
pub(super) enum Running {
    None,
    Crc32(crc32fast::Hasher),
    Crc64(Crc64),
    Sha256(Box<Sha256>),
}

impl Running {
    pub(super) fn new(check: Check) -> Self {
        match check {
            Check::None => Running::None,
            Check::Crc32 => Running::Crc32(crc32fast::Hasher::new()),
            Check::Crc64 => Running::Crc64(Crc64(!0)),
            Check::Sha256 => Running::Sha256(Box::default()),
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Running::None => {}
            Running::Crc32(crc) => crc.update(bytes),
            Running::Crc64(crc) => crc.update(bytes),
            Running::Sha256(sha) => sha.update(bytes),
        }
    }

    /// Whether it comes to `stored`.
    pub(super) fn matches(self, stored: &[u8]) -> bool {
        match self {
            Running::None => stored.is_empty(),
            Running::Crc32(crc) => stored == crc.finalize().to_le_bytes(),
            Running::Crc64(Crc64(crc)) => stored == (!crc).to_le_bytes(),
            Running::Sha256(sha) => stored == sha.finalize().as_slice(),
        }
    }
}

/// CRC-64 of ECMA-182, reflected, eight bytes a step: its cost vanishes beside LZMA's.
pub(super) struct Crc64(u64);

impl Crc64 {
    fn update(&mut self, bytes: &[u8]) {
        let (steps, rest) = bytes.as_chunks::<8>();
        for step in steps {
            let mixed = (self.0 ^ u64::from_le_bytes(*step)).to_le_bytes();
            self.0 = (0..8).fold(0, |crc, at| crc ^ TABLES[7 - at][usize::from(mixed[at])]);
        }
        for byte in rest {
            self.0 = self.0 >> 8 ^ TABLES[0][usize::from(self.0 as u8 ^ byte)];
        }
    }
}

/// `TABLES[n][b]`: what byte `b` adds when `n` more bytes follow it.
static TABLES: [[u64; 256]; 8] = tables();

const fn tables() -> [[u64; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u64;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ POLYNOMIAL } else { crc >> 1 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut table = 1;
    while table < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before: u64 = tables[table - 1][byte];
            tables[table][byte] = before >> 8 ^ tables[0][(before & 0xff) as usize];
            byte += 1;
        }
        table += 1;
    }
    tables
}

const POLYNOMIAL: u64 = 0xc96c_5795_d787_0f42;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_check_gives_its_known_value_however_the_bytes_arrive() {
        let table: [(Check, &[u8]); 3] = [
            (Check::None, b""),
            (Check::Crc32, &0xcbf4_3926_u32.to_le_bytes()),
            (Check::Crc64, &0x995d_c9bb_df19_39fa_u64.to_le_bytes()),
        ];
        for (check, expected) in table {
            for cut in 0..9 {
                let mut running = Running::new(check);
                running.update(&b"123456789"[..cut]);
                running.update(&b"123456789"[cut..]);
                assert!(running.matches(expected), "{check:?} {cut}");
            }
            assert!(check == Check::None || !Running::new(check).matches(expected));
        }
    }
}
