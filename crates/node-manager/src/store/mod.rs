//! Content by digest, shared by every version and instance: downloaded blobs, and the trees that they
//! were unpacked to. Owns the names of both and what is there; who uses it, `roots` alone knows.
//!
//! A blob or a tree is whole under its name or not there: both are published by one rename after a sync.
//! What nobody uses any more is decided in `garbage` and removed by `collect`. Whether content is what its
//! name says, `examine` looks; where it can be had again, `needs` knows; what installations should lead to,
//! `links`.

mod collect;
mod examine;
mod examine_tree;
mod garbage;
mod links;
mod needs;
mod roots;
mod size;

pub(crate) use collect::{collect, list};
pub(crate) use examine::{Findings, REMEMBERED, Wrong, bytes_of, examine, is_right};
pub(crate) use links::{Broken, Owner, chain};
pub(crate) use needs::{Need, Needs};
pub(crate) use roots::{RootsError, wanted};
pub(crate) use size::taken;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use archive::{Container, Encoding, Limits};
use durable::{Blobs, DirEntry, Disk, DiskError, Kind};
use model::{Digest, InstallationId, MediaInfo};
use unpacker::Unpacker;

use crate::layout;

/// What a package becomes on the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Form {
    /// The bytes as they are.
    File,
    /// Unpacked.
    Tree(TreeKey),
}

/// Name of an unpacked tree: of what, and how. The way is part of the name, since the same bytes under
/// another media type become another tree; so is the unpacker's version, if it ever makes other trees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TreeKey {
    digest: Digest,
    container: Container,
    encoding: Encoding,
}

/// The media info asks for something that this fettle cannot unpack.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this fettle cannot unpack {media_type} with the encoding {encoding}")]
pub(crate) struct CannotUnpack {
    media_type: String,
    encoding: model::Encoding,
}

impl Form {
    /// What an object with this digest and media info becomes. The stored media info alone decides;
    /// neither names nor bytes are looked at.
    pub(crate) fn of(digest: Digest, media: &MediaInfo) -> Result<Form, CannotUnpack> {
        let media_type = &media.media_type;
        let cannot = |encoding| CannotUnpack { media_type: media_type.to_string(), encoding };
        let (container, encoding) = match (media_type.is_tar(), media_type.is_zip(), media.encoding)
        {
            (true, _, None) => (Container::Tar, Encoding::Identity),
            (true, _, Some(model::Encoding::Gzip)) => (Container::Tar, Encoding::Gzip),
            (true, _, Some(model::Encoding::Bzip2)) => (Container::Tar, Encoding::Bzip2),
            (true, _, Some(model::Encoding::Zstd)) => (Container::Tar, Encoding::Zstd),
            (true, _, Some(model::Encoding::Xz)) => (Container::Tar, Encoding::Xz),
            (_, true, None) => (Container::Zip, Encoding::Identity),
            (_, true, Some(other)) => return Err(cannot(other)),
            (false, false, _) => return Ok(Form::File),
        };
        Ok(Form::Tree(TreeKey { digest, container, encoding }))
    }
}

impl TreeKey {
    /// Of which bytes.
    pub(crate) fn digest(&self) -> &Digest {
        &self.digest
    }

    /// In which container.
    pub(crate) fn container(&self) -> Container {
        self.container
    }

    /// Is this the name of the same tree, as this or another version of the unpacker makes it?
    pub(crate) fn is_form_of(&self, name: &str) -> bool {
        let form = |name: &str| name.rsplit_once('.').map(|(form, _)| form.to_owned());
        form(&self.to_string()) == form(name)
    }

    /// In which encoding.
    pub(crate) fn encoding(&self) -> Encoding {
        self.encoding
    }
}

impl fmt::Display for TreeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let encoding = match self.encoding {
            Encoding::Identity => "",
            Encoding::Gzip => "-gzip",
            Encoding::Bzip2 => "-bzip2",
            Encoding::Zstd => "-zstd",
            Encoding::Xz => "-xz",
        };
        write!(f, "{}.{}{encoding}.{UNPACKER}", self.digest.hex(), self.container)
    }
}

/// The store of one node. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    disk: Disk,
    blobs: Blobs,
    unpacker: Unpacker,
    unmeasured: Limits,
    /// Held shared for a look at what is there, alone while something is taken away; see `collect`.
    sight: Arc<RwLock<()>>,
    /// Where trees are being unpacked, by name.
    unpacking: Arc<Mutex<BTreeMap<String, PathBuf>>>,
}

/// A tree is being unpacked in `staging/`, for as long as this value lives.
#[derive(Debug)]
pub(crate) struct Unpacking {
    of: Arc<Mutex<BTreeMap<String, PathBuf>>>,
    name: String,
}

impl Store {
    /// The store of this tree, filled by this unpacker; `unmeasured` is what an archive may amount to
    /// that comes without figures.
    pub(crate) fn new(disk: Disk, unpacker: Unpacker, unmeasured: Limits) -> Store {
        let blobs = Blobs::new(disk.clone(), &layout::blobs());
        let (sight, unpacking) = (Arc::default(), Arc::default());
        Store { disk, blobs, unpacker, unmeasured, sight, unpacking }
    }

    /// What makes trees of archives.
    pub(crate) fn unpacker(&self) -> &Unpacker {
        &self.unpacker
    }

    /// What an archive without figures may amount to.
    pub(crate) fn unmeasured(&self) -> &Limits {
        &self.unmeasured
    }

    /// The disk that it lies on.
    pub(crate) fn disk(&self) -> &Disk {
        &self.disk
    }

    /// The downloaded bytes.
    pub(crate) fn blobs(&self) -> &Blobs {
        &self.blobs
    }

    /// Is this blob there? If so it stays, for an operation that has recorded that it counts on it.
    pub(crate) fn has_blob(&self, digest: &Digest) -> Result<bool, DiskError> {
        let _look = self.look();
        Ok(self.blobs.contains(layout::key(digest))?.is_some())
    }

    /// Bytes of this blob that have been received; `None` if nobody has begun.
    pub(crate) fn arrived(&self, digest: &Digest) -> Result<Option<u64>, DiskError> {
        Ok(self.disk.metadata(&layout::partial_path(digest))?.map(|partial| partial.size))
    }

    /// Notes where in `staging/` a tree of this name is being unpacked; absolute.
    pub(crate) fn begin_unpacking(&self, name: &str, path: &Path) -> Unpacking {
        let path = path.strip_prefix(self.disk.root()).unwrap_or(path).to_owned();
        lock(&self.unpacking).insert(name.to_owned(), path);
        Unpacking { of: self.unpacking.clone(), name: name.to_owned() }
    }

    /// Where a tree of this name is being unpacked now.
    pub(crate) fn unpacking(&self, name: &str) -> Option<PathBuf> {
        lock(&self.unpacking).get(name).cloned()
    }

    /// Is this tree there, and closed? If so it stays, as a blob does. One that is open is being mended,
    /// or its publication failed at its very last step: whoever has the lock of its digest knows.
    pub(crate) fn has_closed_tree(&self, key: &TreeKey) -> Result<bool, DiskError> {
        let _look = self.look();
        Ok(self.disk.metadata(&layout::tree(key))?.is_some_and(|stat| stat.mode == CLOSED))
    }

    /// Is this tree there? If so it stays. It is closed now if it is not; so the caller has the lock of
    /// its digest, without which it might be closed under the hands of who mends it.
    pub(crate) fn has_tree(&self, key: &TreeKey) -> Result<bool, DiskError> {
        let _look = self.look();
        let path = layout::tree(key);
        let there = self.disk.metadata(&path)?.is_some();
        if there {
            self.disk.close_tree(&path)?;
        }
        Ok(there)
    }

    /// The names of all trees, and of which bytes each was unpacked.
    pub(crate) fn trees(&self) -> Result<Vec<(String, Digest)>, DiskError> {
        let mut trees = Vec::new();
        let is_directory = |entry: &DirEntry| entry.kind == Kind::Directory;
        for shard in self.disk.list(&layout::trees())?.into_iter().filter(is_directory) {
            for entry in self.disk.list(&layout::trees().join(&shard.name))? {
                let name = entry.name.to_str().filter(|_| is_directory(&entry));
                let found = name.and_then(|name| Some((name, layout::tree_digest(name)?)));
                let ours = found.filter(|(_, digest)| shard.name == digest.hex()[..2]);
                trees.extend(ours.map(|(name, digest)| (name.to_owned(), digest)));
            }
        }
        Ok(trees)
    }

    /// Removes an installation, but not while names of blobs are put right: that would make its directories
    /// again.
    pub(crate) fn discard_installation(&self, id: &InstallationId) -> Result<(), DiskError> {
        let _look = self.look();
        self.disk.discard(&layout::installation(id))
    }

    /// For as long as the guard lives, nothing is taken away and no name is put right; blocking, and not
    /// to be asked for twice by one thread.
    pub(crate) fn look(&self) -> RwLockReadGuard<'_, ()> {
        self.sight.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// For as long as the guard lives, nobody looks and nobody makes links to content.
    pub(crate) fn alone(&self) -> RwLockWriteGuard<'_, ()> {
        self.sight.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Unpacking {
    fn drop(&mut self) {
        lock(&self.of).remove(&self.name);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The mode of the top of a tree that is finished.
const CLOSED: u32 = 0o555;
/// Counts up when the unpacker makes another tree of the same bytes.
const UNPACKER: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn form(name: &str) -> Result<Form, CannotUnpack> {
        Form::of(Digest::of(b""), &MediaInfo::from_file_name(name))
    }

    #[test]
    fn the_media_info_decides_what_a_package_becomes() {
        assert_eq!(form("a.txt"), Ok(Form::File));
        assert_eq!(form("a.bin"), Ok(Form::File));
        for (name, suffix) in [
            ("a.tar", ".tar.2"),
            ("a.tgz", ".tar-gzip.2"),
            ("a.tbz", ".tar-bzip2.2"),
            ("a.tar.zst", ".tar-zstd.2"),
            ("a.txz", ".tar-xz.2"),
            ("a.zip", ".zip.2"),
        ] {
            match form(name) {
                Ok(Form::Tree(key)) => assert!(key.to_string().ends_with(suffix), "{key}"),
                other => panic!("{name}: {other:?}"),
            }
        }
    }

    #[test]
    fn what_cannot_be_unpacked_is_refused_before_anything_is_fetched() {
        let zipped =
            MediaInfo { encoding: Some(model::Encoding::Xz), ..MediaInfo::from_file_name("a.zip") };
        assert!(Form::of(Digest::of(b""), &zipped).is_err());
    }

    /// Only whoever has the lock of the digest may close it: it may be open because it is being mended.
    #[test]
    fn a_look_at_a_tree_leaves_one_that_is_open_alone() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::create(dir.path()).unwrap();
        let unpacker = Unpacker::new(unpacker::Isolation::Inline);
        let store = Store::new(disk.clone(), unpacker, Limits::default());
        let Ok(Form::Tree(key)) = form("a.tar") else { panic!("a tree") };
        let mode = || disk.metadata(&layout::tree(&key)).unwrap().unwrap().mode;
        assert!(!store.has_closed_tree(&key).unwrap() && !store.has_tree(&key).unwrap());
        disk.make_dir(&layout::tree(&key), 0o755).unwrap();
        assert!(!store.has_closed_tree(&key).unwrap());
        assert_eq!(mode(), 0o755);
        assert!(store.has_tree(&key).unwrap());
        assert_eq!(mode(), 0o555);
        assert!(store.has_closed_tree(&key).unwrap());
    }
}
