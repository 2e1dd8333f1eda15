//! Content under its SHA-256: `<dir>/<first two hex digits>/<all 64>`.
//!
//! A blob is published whole and synced, under a name that says what it is, and never changes; so
//! whoever finds the name has the content. Whether the bytes match the key is checked by the one who
//! publishes, since it has hashed them on the way in; [`Blobs::hash`] does it again.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use sha2::{Digest, Sha256};

use crate::disk::{Disk, Kind};
use crate::error::DiskError;
use crate::stage::{IfExists, Published, StagedFile};

/// A SHA-256. Its text is 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub [u8; 32]);

/// The text is not 64 lower-case hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key is 64 lower-case hex digits")]
pub struct KeyError;

/// The blobs in one directory of a disk. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Blobs {
    disk: Disk,
    dir: PathBuf,
}

impl Blobs {
    /// The blobs under `dir`, which is made when the first one is published.
    pub fn new(disk: Disk, dir: &Path) -> Blobs {
        Blobs { disk, dir: dir.to_path_buf() }
    }

    /// Where a blob lies, relative to the disk.
    pub fn path_of(&self, key: Key) -> PathBuf {
        let name = key.to_string();
        self.dir.join(&name[..2]).join(name)
    }

    /// The size of a blob in bytes; `None` if it is absent.
    pub fn contains(&self, key: Key) -> Result<Option<u64>, DiskError> {
        Ok(self.disk.metadata(&self.path_of(key))?.map(|stat| stat.size))
    }

    /// A blob, open for reading; `None` if it is absent.
    pub fn open(&self, key: Key) -> Result<Option<File>, DiskError> {
        self.disk.open_file(&self.path_of(key))
    }

    /// Puts a staged file under its key, or drops it if the key is there already.
    pub fn publish(&self, staged: StagedFile, key: Key, mode: u32) -> Result<Published, DiskError> {
        let path = self.path_of(key);
        self.disk.make_dir(path.parent().unwrap_or(&self.dir), 0o700)?;
        staged.publish(&path, mode, IfExists::Keep)
    }

    /// Puts a staged file under its key, also over what is there and is not what the key says.
    pub fn replace(&self, staged: StagedFile, key: Key, mode: u32) -> Result<Published, DiskError> {
        let path = self.path_of(key);
        self.disk.make_dir(path.parent().unwrap_or(&self.dir), 0o700)?;
        staged.publish(&path, mode, IfExists::Replace)
    }

    /// Gives a blob the further name `to`.
    pub fn link_to(&self, key: Key, to: &Path) -> Result<(), DiskError> {
        self.disk.link(&self.path_of(key), to)
    }

    /// Removes a blob; an absent one is fine. Other names of it stay.
    pub fn remove(&self, key: Key) -> Result<(), DiskError> {
        self.disk.remove(&self.path_of(key))
    }

    /// All keys, in order. One of the 256 directories is in memory at a time; names that are no keys
    /// are passed over.
    pub fn keys(&self) -> impl Iterator<Item = Result<Key, DiskError>> {
        (0..=u8::MAX).flat_map(move |first| {
            let shard = self.dir.join(format!("{first:02x}"));
            let (found, failed) = match self.disk.list(&shard) {
                Ok(entries) => (entries, None),
                Err(error) => (Vec::new(), Some(Err(error))),
            };
            let keys = found.into_iter().filter_map(move |entry| {
                let key = Key::from_str(entry.name.to_str()?).ok()?;
                (entry.kind == Kind::File && key.0[0] == first).then_some(Ok(key))
            });
            keys.chain(failed)
        })
    }

    /// The key of what can be read here, from where it stands to its end.
    pub fn hash(mut content: impl io::Read) -> io::Result<Key> {
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match content.read(&mut buffer) {
                Ok(0) => return Ok(Key(hasher.finalize().into())),
                Ok(read) => hasher.update(&buffer[..read]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl FromStr for Key {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Key, KeyError> {
        let digits: &[u8; 64] = text.as_bytes().try_into().map_err(|_| KeyError)?;
        let mut key = [0; 32];
        for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        Ok(Key(key))
    }
}

fn nibble(digit: u8) -> Result<u8, KeyError> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        _ => Err(KeyError),
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}
