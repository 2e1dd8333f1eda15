//! Builds archives byte by byte, whatever they say, and reads them back. For tests only: it checks
//! nothing, so that hostile ones can be built.

use std::io::{Cursor, Write};

use archive::{Encoding, Entries, Entry, Error, Limits, TarReader, ZipReader};

/// A header of a tar, all fields free.
#[derive(Clone)]
pub(crate) struct Header {
    pub(crate) kind: u8,
    pub(crate) name: Vec<u8>,
    pub(crate) link: Vec<u8>,
    pub(crate) prefix: Vec<u8>,
    pub(crate) magic: [u8; 8],
    pub(crate) mode: Vec<u8>,
    pub(crate) size: Vec<u8>,
    pub(crate) modified: Vec<u8>,
}

impl Header {
    pub(crate) fn new(kind: u8, name: impl AsRef<[u8]>) -> Self {
        Self {
            kind,
            name: name.as_ref().to_vec(),
            link: Vec::new(),
            prefix: Vec::new(),
            magic: *b"ustar\x0000",
            mode: b"0000644".to_vec(),
            size: b"00000000000".to_vec(),
            modified: b"00000000000".to_vec(),
        }
    }

    pub(crate) fn link(mut self, link: impl AsRef<[u8]>) -> Self {
        self.link = link.as_ref().to_vec();
        self
    }

    pub(crate) fn size(mut self, size: usize) -> Self {
        self.size = format!("{size:011o}").into_bytes();
        self
    }

    pub(crate) fn block(&self) -> [u8; 512] {
        let mut block = [0; 512];
        for (at, field) in [
            (0, &self.name[..]),
            (100, &self.mode),
            (124, &self.size),
            (136, &self.modified),
            (148, b"        "),
            (156, &[self.kind]),
            (157, &self.link),
            (257, &self.magic),
            (345, &self.prefix),
        ] {
            block[at..at + field.len()].copy_from_slice(field);
        }
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        block
    }
}

/// A tar in the making.
#[derive(Clone, Default)]
pub(crate) struct Tar(pub(crate) Vec<u8>);

impl Tar {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn header(mut self, header: &Header) -> Self {
        self.0.extend(header.block());
        self
    }

    pub(crate) fn content(mut self, content: &[u8]) -> Self {
        self.0.extend(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn file(self, name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Self {
        self.sized(b'0', name.as_ref(), content.as_ref())
    }

    pub(crate) fn directory(self, name: impl AsRef<[u8]>) -> Self {
        self.header(&Header::new(b'5', name))
    }

    pub(crate) fn symlink(self, name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        self.header(&Header::new(b'2', name).link(target))
    }

    pub(crate) fn hard_link(self, name: impl AsRef<[u8]>, original: impl AsRef<[u8]>) -> Self {
        self.header(&Header::new(b'1', name).link(original))
    }

    pub(crate) fn sized(self, kind: u8, name: &[u8], content: &[u8]) -> Self {
        self.header(&Header::new(kind, name).size(content.len())).content(content)
    }

    /// An extended header of kind `x` or `g`.
    pub(crate) fn pax(self, kind: u8, records: &[(&str, &[u8])]) -> Self {
        let records: Vec<u8> = records.iter().flat_map(|(key, value)| record(key, value)).collect();
        self.sized(kind, b"PaxHeaders", &records)
    }

    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.extend([0; 1024]);
        self.0
    }
}

fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let length = (rest..).find(|n| *n == rest + n.to_string().len()).unwrap();
    [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
}

/// An entry of a zip, all fields free; what is `None` in the local header is as in the directory.
#[derive(Clone)]
pub(crate) struct Packed {
    pub(crate) name: Vec<u8>,
    pub(crate) local_name: Option<Vec<u8>>,
    pub(crate) host: u8,
    pub(crate) flags: u16,
    pub(crate) local_flags: Option<u16>,
    pub(crate) method: u16,
    pub(crate) local_method: Option<u16>,
    pub(crate) time: u16,
    pub(crate) date: u16,
    pub(crate) crc: u32,
    pub(crate) local_crc: Option<u32>,
    pub(crate) size: u32,
    pub(crate) local_size: Option<u32>,
    pub(crate) packed_size: Option<u32>,
    pub(crate) local_packed_size: Option<u32>,
    pub(crate) attributes: u32,
    pub(crate) extra: Vec<u8>,
    pub(crate) local_extra: Vec<u8>,
    pub(crate) packed: Vec<u8>,
    pub(crate) descriptor: Vec<u8>,
    pub(crate) offset: Option<u32>,
}

impl Packed {
    pub(crate) fn stored(name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Self {
        let content = content.as_ref();
        Self {
            name: name.as_ref().to_vec(),
            local_name: None,
            host: 3,
            flags: 0,
            local_flags: None,
            method: 0,
            local_method: None,
            time: 0,
            date: 0x21,
            crc: crc32fast::hash(content),
            local_crc: None,
            size: content.len() as u32,
            local_size: None,
            packed_size: None,
            local_packed_size: None,
            attributes: 0o100644 << 16,
            extra: Vec::new(),
            local_extra: Vec::new(),
            packed: content.to_vec(),
            descriptor: Vec::new(),
            offset: None,
        }
    }

    pub(crate) fn deflated(name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Self {
        let mut entry = Self::stored(name, content);
        entry.packed = deflate(&entry.packed);
        entry.method = 8;
        entry
    }

    /// Packed by a method of that number.
    pub(crate) fn as_method(
        name: impl AsRef<[u8]>,
        content: impl AsRef<[u8]>,
        method: u16,
        pack: fn(&[u8]) -> Vec<u8>,
    ) -> Self {
        let mut entry = Self::stored(name, content);
        entry.packed = pack(&entry.packed);
        entry.method = method;
        entry
    }

    pub(crate) fn mode(mut self, mode: u32) -> Self {
        self.attributes = mode << 16;
        self
    }
}

pub(crate) fn zip(entries: &[Packed]) -> Vec<u8> {
    zip_behind(b"", entries, b"")
}

/// A zip behind something else, with a comment; offsets count from its own beginning.
pub(crate) fn zip_behind(before: &[u8], entries: &[Packed], comment: &[u8]) -> Vec<u8> {
    let (mut local, mut central) = (Vec::new(), Vec::new());
    for entry in entries {
        let offset = entry.offset.unwrap_or(local.len() as u32);
        let packed_size = entry.packed_size.unwrap_or(entry.packed.len() as u32);
        let name = entry.local_name.as_ref().unwrap_or(&entry.name);
        local.extend(b"PK\x03\x04\x14\0");
        for number in [
            entry.local_flags.unwrap_or(entry.flags),
            entry.local_method.unwrap_or(entry.method),
            entry.time,
            entry.date,
        ] {
            local.extend(number.to_le_bytes());
        }
        for number in [
            entry.local_crc.unwrap_or(entry.crc),
            entry.local_packed_size.unwrap_or(packed_size),
            entry.local_size.unwrap_or(entry.size),
        ] {
            local.extend(number.to_le_bytes());
        }
        local.extend((name.len() as u16).to_le_bytes());
        local.extend((entry.local_extra.len() as u16).to_le_bytes());
        local.extend(
            [name, &entry.local_extra, &entry.packed, &entry.descriptor].map(|b| &b[..]).concat(),
        );

        central.extend([b'P', b'K', 1, 2, 30, entry.host, 20, 0]);
        for number in [entry.flags, entry.method, entry.time, entry.date] {
            central.extend(number.to_le_bytes());
        }
        for number in [entry.crc, packed_size, entry.size] {
            central.extend(number.to_le_bytes());
        }
        for number in [entry.name.len() as u16, entry.extra.len() as u16, 0, 0, 0] {
            central.extend(number.to_le_bytes());
        }
        for number in [entry.attributes, offset] {
            central.extend(number.to_le_bytes());
        }
        central.extend([&entry.name[..], &entry.extra].concat());
    }
    let end = end(entries.len() as u16, central.len() as u32, local.len() as u32, comment);
    [before, &local, &central, &end].concat()
}

/// The record that ends a zip.
pub(crate) fn end(count: u16, size: u32, offset: u32, comment: &[u8]) -> Vec<u8> {
    let mut end = b"PK\x05\x06\0\0\0\0".to_vec();
    end.extend([count, count].map(u16::to_le_bytes).concat());
    end.extend([size, offset].map(u32::to_le_bytes).concat());
    end.extend((comment.len() as u16).to_le_bytes());
    end.extend(comment);
    end
}

pub(crate) fn deflate(content: &[u8]) -> Vec<u8> {
    let mut encoder =
        flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn bzip2(content: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn zstd(content: &[u8]) -> Vec<u8> {
    let mut packed = vec![0; zstd_safe::compress_bound(content.len())];
    let length = zstd_safe::compress(&mut packed[..], content, 3).unwrap();
    packed.truncate(length);
    packed
}

/// All entries, with the content of files.
pub(crate) type Contents = Vec<(Entry, Vec<u8>)>;

pub(crate) fn read_tar(bytes: &[u8]) -> Result<Contents, Error> {
    read_tar_as(bytes, Encoding::Identity)
}

pub(crate) fn read_tar_as(bytes: &[u8], encoding: Encoding) -> Result<Contents, Error> {
    read(&mut TarReader::new(bytes, encoding, Limits::default())?)
}

pub(crate) fn read_zip(bytes: &[u8]) -> Result<Contents, Error> {
    read(&mut ZipReader::new(Cursor::new(bytes), Limits::default())?)
}

pub(crate) fn read(entries: &mut dyn Entries) -> Result<Contents, Error> {
    let mut contents = Vec::new();
    while let Some(entry) = entries.next_entry()? {
        let mut content = Vec::new();
        std::io::Read::read_to_end(entries, &mut content).map_err(Error::from_read)?;
        contents.push((entry, content));
    }
    assert!(entries.summary().is_some());
    Ok(contents)
}

/// The paths, for tests that need no more.
pub(crate) fn paths(contents: &Contents) -> Vec<String> {
    contents
        .iter()
        .map(|(entry, _)| String::from_utf8_lossy(entry.path.as_bytes()).into_owned())
        .collect()
}
