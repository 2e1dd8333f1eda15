//! What is sent: a file, a directory packed as a tar, or what comes out of a pipe. Owns the one pass
//! that hashes the whole and every part and measures the archive in it, and the reading of the same
//! bytes again when they are sent. Blocking code.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use archive::{Container, Limits, Summary};
use durable::{Guest, StagedFile};
use model::{Digest, Encoding, Hasher, Measured, MediaInfo, Part, Parts, part_size_for};

use super::error::TransferError;
use super::pack::pack;
use crate::progress::Progress;

/// What is sent.
pub enum Source {
    /// A file, read where it lies.
    File(PathBuf),
    /// A directory, packed as a reproducible tar.
    Directory(PathBuf),
    /// A pipe, read to its end. The path is what it is called in errors, e.g. `-`.
    Reader(PathBuf, Box<dyn Read + Send>),
}

impl Source {
    /// What lies at `path`; a link stands for what it leads to.
    ///
    /// # Errors
    /// [`TransferError::Read`], [`TransferError::NoContent`].
    pub fn at(path: &Path) -> Result<Source, TransferError> {
        let path = path.to_owned();
        match std::fs::metadata(&path) {
            Ok(facts) if facts.is_file() => Ok(Source::File(path)),
            Ok(facts) if facts.is_dir() => Ok(Source::Directory(path)),
            Ok(_) => Err(TransferError::NoContent { path }),
            Err(source) => Err(TransferError::Read { path, source }),
        }
    }

    /// What it is called in errors.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Source::File(path) | Source::Directory(path) | Source::Reader(path, _) => path,
        }
    }
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Source::File(path) => f.debug_tuple("File").field(path).finish(),
            Source::Directory(path) => f.debug_tuple("Directory").field(path).finish(),
            Source::Reader(path, _) => f.debug_tuple("Reader").field(path).finish(),
        }
    }
}

/// A source of which everything is known that an upload states.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// What it is called in errors.
    pub(crate) path: PathBuf,
    pub(crate) media: MediaInfo,
    pub(crate) size: u64,
    pub(crate) digest: Digest,
    pub(crate) parts: Parts,
    /// What unpacking it takes.
    pub(crate) measuring: Measuring,
    content: Content,
}

/// What looking for the figures of an archive gave.
#[derive(Debug)]
pub(crate) enum Measuring {
    /// It is none.
    NoArchive,
    /// It takes this.
    Measured(Measured),
    /// It cannot, or must not, be unpacked.
    Refused(archive::Error),
}

/// Where the bytes are read again.
#[derive(Debug)]
enum Content {
    File,
    Spool(StagedFile),
}

/// The bytes of something prepared, open for reading.
#[derive(Debug)]
pub(crate) struct Reading {
    prepared: Arc<Prepared>,
    file: Option<File>,
}

/// Hashes a source, once from its first to its last byte. A directory and a pipe are written to a file
/// without a name in the directory for temporary files first. An archive is measured in the same pass, up
/// to `limits`.
pub(crate) fn prepare(
    source: Source,
    media: MediaInfo,
    limits: Limits,
    progress: &dyn Progress,
) -> Result<Prepared, TransferError> {
    match source {
        Source::File(path) => {
            let unread = |source| TransferError::Read { path: path.clone(), source };
            let file = File::open(&path).map_err(unread)?;
            let facts = file.metadata().map_err(unread)?;
            if !facts.is_file() {
                return Err(TransferError::NoContent { path });
            }
            let facts = hash(&file, facts.len(), &path, &media, limits, progress)?;
            Ok(facts.into_prepared(path, media, Content::File))
        }
        Source::Directory(path) => {
            let mut spool = Guest::enter(&std::env::temp_dir())?.stage_file()?;
            pack(&path, &mut spool)?;
            let facts = hash(&spool, spool.len(), &path, &media, limits, progress)?;
            Ok(facts.into_prepared(path, media, Content::Spool(spool)))
        }
        Source::Reader(path, mut reader) => {
            let mut spool = Guest::enter(&std::env::temp_dir())?.stage_file()?;
            let mut buffer = vec![0; SPOOL_BUFFER];
            loop {
                match reader.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(read) => spool.append(&buffer[..read])?,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(source) => return Err(TransferError::Read { path, source }),
                }
            }
            let facts = hash(&spool, spool.len(), &path, &media, limits, progress)?;
            Ok(facts.into_prepared(path, media, Content::Spool(spool)))
        }
    }
}

impl Prepared {
    /// What unpacking it takes; `None` for what is no archive or cannot be unpacked.
    pub(crate) fn measured(&self) -> Option<Measured> {
        match &self.measuring {
            Measuring::Measured(measured) => Some(*measured),
            Measuring::NoArchive | Measuring::Refused(_) => None,
        }
    }

    /// Opens the bytes once more.
    pub(crate) fn open(self: &Arc<Self>) -> Result<Reading, TransferError> {
        let file = match self.content {
            Content::Spool(_) => None,
            Content::File => {
                let unread = |source| TransferError::Read { path: self.path.clone(), source };
                Some(File::open(&self.path).map_err(unread)?)
            }
        };
        Ok(Reading { prepared: Arc::clone(self), file })
    }
}

impl Reading {
    /// Fills `into` with the bytes from `offset` on.
    pub(crate) fn read_exact_at(&self, offset: u64, into: &mut [u8]) -> Result<(), TransferError> {
        let mut filled = 0;
        while filled < into.len() {
            match self.read_at(offset + filled as u64, &mut into[filled..]) {
                Ok(0) => return Err(TransferError::Changed { path: self.prepared.path.clone() }),
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    return Err(TransferError::Read { path: self.prepared.path.clone(), source });
                }
            }
        }
        Ok(())
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        match (&self.file, &self.prepared.content) {
            (Some(file), _) => file.read_at(into, offset),
            (None, Content::Spool(spool)) => spool.positioned(offset, into),
            (None, Content::File) => Ok(0), // `open` gives every file its handle
        }
    }
}

/// What the one pass finds out.
struct Facts {
    size: u64,
    digest: Digest,
    parts: Parts,
    measuring: Measuring,
}

impl Facts {
    fn into_prepared(self, path: PathBuf, media: MediaInfo, content: Content) -> Prepared {
        let Facts { size, digest, parts, measuring } = self;
        Prepared { path, media, size, digest, parts, measuring, content }
    }
}

fn hash(
    content: &dyn Positioned,
    size: u64,
    path: &Path,
    media: &MediaInfo,
    limits: Limits,
    progress: &dyn Progress,
) -> Result<Facts, TransferError> {
    let too_large = |source| TransferError::TooLarge { path: path.to_owned(), source };
    // A size that no list of parts can have is refused before anything is read.
    if size > model::MAX_OBJECT {
        Parts::new(size, Vec::new()).map_err(too_large)?;
    }
    let input = Window { content, position: 0, size };
    let mut hashing = Hashing {
        input,
        progress,
        whole: Hasher::new(),
        part: Hasher::new(),
        part_size: part_size_for(size),
        in_part: 0,
        parts: Vec::new(),
        total: 0,
    };
    let container = container(media);
    let mut measured = None;
    if container == Some(Container::Tar) {
        let tar = archive::TarReader::new(&mut hashing, encoding(media), limits);
        measured = Some(tar.and_then(|mut tar| archive::measure(&mut tar)));
    }
    let unread = |source| TransferError::Read { path: path.to_owned(), source };
    drain(&mut hashing).map_err(unread)?; // what the reader of the tar left, or all of it
    if hashing.total != size {
        return Err(TransferError::Changed { path: path.to_owned() });
    }
    if container == Some(Container::Zip) {
        // The truth of a zip is at its end: it takes a second look.
        let input = Window { content, position: 0, size };
        let zip = archive::open(input, Container::Zip, encoding(media), limits);
        measured = Some(zip.and_then(|mut zip| archive::measure(&mut *zip)));
    }
    let measuring = match measured {
        Some(Ok(summary)) => Measuring::Measured(to_model(&summary)),
        Some(Err(archive::Error::Read { source })) => return Err(unread(source)),
        Some(Err(error)) => Measuring::Refused(error),
        None => Measuring::NoArchive,
    };
    let (digest, parts) = hashing.finish();
    let parts = Parts::new(size, parts).map_err(too_large)?;
    Ok(Facts { size, digest, parts, measuring })
}

fn drain(input: &mut dyn Read) -> io::Result<()> {
    let mut buffer = vec![0; HASH_BUFFER];
    loop {
        match input.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
    }
}

/// Bytes with a place for each: a file, or a spool.
trait Positioned {
    fn positioned(&self, offset: u64, into: &mut [u8]) -> io::Result<usize>;
}

impl Positioned for File {
    fn positioned(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        self.read_at(into, offset)
    }
}

impl Positioned for StagedFile {
    fn positioned(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        self.read_at(offset, into).map_err(io::Error::other)
    }
}

/// Reads on from a position, not beyond the size that was stated; one more byte shows that it grew.
struct Window<'a> {
    content: &'a dyn Positioned,
    position: u64,
    size: u64,
}

impl Read for Window<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = (self.size + 1).saturating_sub(self.position);
        let most = usize::try_from(left).map_or(into.len(), |left| left.min(into.len()));
        let read = self.content.positioned(self.position, &mut into[..most])?;
        self.position += read as u64;
        Ok(read)
    }
}

impl Seek for Window<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => self.size.checked_add_signed(by),
        };
        self.position = target.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

/// Hashes what is read through it.
struct Hashing<'a> {
    input: Window<'a>,
    progress: &'a dyn Progress,
    whole: Hasher,
    part: Hasher,
    part_size: u64,
    in_part: u64,
    parts: Vec<Part>,
    total: u64,
}

impl Read for Hashing<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(into)?;
        self.take(&into[..read]);
        Ok(read)
    }
}

impl Hashing<'_> {
    fn take(&mut self, mut bytes: &[u8]) {
        self.progress.advance(bytes.len() as u64);
        self.total += bytes.len() as u64;
        self.whole.update(bytes);
        while !bytes.is_empty() {
            let room = usize::try_from(self.part_size - self.in_part).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.part.update(now);
            self.in_part += now.len() as u64;
            if self.in_part == self.part_size {
                self.end_part();
            }
            bytes = later;
        }
    }

    fn end_part(&mut self) {
        let digest = std::mem::take(&mut self.part).finish();
        self.parts.push(Part { size: self.in_part, digest });
        self.in_part = 0;
    }

    fn finish(mut self) -> (Digest, Vec<Part>) {
        if self.in_part > 0 {
            self.end_part();
        }
        (self.whole.finish(), self.parts)
    }
}

fn container(media: &MediaInfo) -> Option<Container> {
    match &media.media_type {
        tar if tar.is_tar() => Some(Container::Tar),
        zip if zip.is_zip() => Some(Container::Zip),
        _ => None,
    }
}

fn encoding(media: &MediaInfo) -> archive::Encoding {
    match media.encoding {
        None => archive::Encoding::Identity,
        Some(Encoding::Gzip) => archive::Encoding::Gzip,
        Some(Encoding::Bzip2) => archive::Encoding::Bzip2,
        Some(Encoding::Zstd) => archive::Encoding::Zstd,
        Some(Encoding::Xz) => archive::Encoding::Xz,
    }
}

fn to_model(summary: &Summary) -> Measured {
    let archive::Measured {
        entries,
        unpacked_bytes,
        largest_file,
        inodes,
        longest_path: deepest_path,
        disk_bytes,
        window,
    } = summary.measured;
    Measured { entries, unpacked_bytes, largest_file, inodes, deepest_path, disk_bytes, window }
}

const HASH_BUFFER: usize = 64 * 1024;
const SPOOL_BUFFER: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::NoProgress;
    use model::MIN_PART;
    use proptest::prelude::*;

    fn prepared(bytes: &[u8], name: &str) -> Prepared {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        prepare(
            Source::at(&path).unwrap(),
            MediaInfo::from_file_name(name),
            Limits::default(),
            &NoProgress,
        )
        .unwrap()
    }

    #[test]
    fn the_whole_and_every_part_have_the_digests_of_their_bytes() {
        let bytes: Vec<u8> = (0..MIN_PART as usize * 2 + 1000).map(|i| (i / 7) as u8).collect();
        let prepared = prepared(&bytes, "x");
        assert_eq!((prepared.size, prepared.digest), (bytes.len() as u64, Digest::of(&bytes)));
        assert_eq!(prepared.parts.count(), 3);
        for number in 1..=3 {
            let (part, range) = prepared.parts.locate(number).unwrap();
            let bytes = &bytes[range.start as usize..range.end as usize];
            assert_eq!(part.digest, Digest::of(bytes), "{number}");
        }
    }

    #[test]
    fn an_empty_file_is_an_object_without_parts() {
        let prepared = prepared(b"", "x");
        assert_eq!((prepared.size, prepared.parts.count()), (0, 0));
        assert_eq!(prepared.digest, Digest::of(b""));
    }

    #[test]
    fn a_pipe_is_hashed_like_a_file_of_the_same_bytes() {
        let bytes = vec![7u8; MIN_PART as usize + 5];
        let file = prepared(&bytes, "x");
        let reader = Source::Reader("-".into(), Box::new(io::Cursor::new(bytes)));
        let pipe = prepare(reader, MediaInfo::from_file_name("x"), Limits::default(), &NoProgress)
            .unwrap();
        assert_eq!((pipe.digest, pipe.parts), (file.digest, file.parts));
    }

    #[test]
    fn an_archive_is_measured_in_the_same_pass_and_a_broken_one_is_still_hashed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("d")).unwrap();
        std::fs::write(dir.path().join("d/f"), [1; 700]).unwrap();
        let source = Source::at(dir.path()).unwrap();
        let packed =
            prepare(source, MediaInfo::packed_directory(), Limits::default(), &NoProgress).unwrap();
        let measured = packed.measured().unwrap();
        assert_eq!((measured.entries, measured.unpacked_bytes, measured.inodes), (2, 700, 2));
        let broken = prepared(&[0xff; 5000], "x.tar.gz");
        assert_eq!((broken.measured(), broken.digest), (None, Digest::of(&[0xff; 5000])));
    }

    #[test]
    fn a_file_that_shrank_after_it_was_hashed_is_noticed_when_it_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        std::fs::write(&path, [1; 100]).unwrap();
        let media = MediaInfo::from_file_name("x");
        let prepared = Arc::new(
            prepare(Source::at(&path).unwrap(), media, Limits::default(), &NoProgress).unwrap(),
        );
        std::fs::write(&path, [1; 50]).unwrap();
        let again = prepared.open().unwrap().read_exact_at(0, &mut [0; 100]);
        assert!(matches!(again, Err(TransferError::Changed { path: named }) if named == path));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn hashing_does_not_depend_on_how_the_bytes_come(
            bytes in prop::collection::vec(any::<u8>(), 0..5000), name in "x|x\\.tar|x\\.zip|x\\.tgz"
        ) {
            prop_assert_eq!(prepared(&bytes, &name).digest, Digest::of(&bytes));
        }
    }
}
