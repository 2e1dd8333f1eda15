//! From checked entries to a tree in staging. A dull executor: what may be written where was decided by
//! `archive`, how it is written safely by `durable`. The tree has no name before [`Unpacked::publish`].

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use archive::{Dropped, Entries, Entry, EntryKind, Limits, Modified, TarReader, ZipReader};
use durable::{Disk, DiskError, Seal, StagedDir};
use model::Hasher;

use super::tree_manifest::ManifestWriter;
use crate::layout;
use crate::store::TreeKey;

/// Why an archive was not unpacked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnpackError {
    /// The archive is damaged, unsafe, too large, or of a kind that fettle does not read.
    #[error(transparent)]
    Archive(archive::Error),
    /// A file of it cannot be written.
    #[error("cannot unpack `{path}`")]
    Write {
        /// Where in the archive.
        path: String,
        /// Why.
        source: DiskError,
    },
    /// The tree cannot be made.
    #[error("cannot make the tree of the archive")]
    Tree(#[from] DiskError),
    /// The manifest cannot be written.
    #[error("cannot write the manifest of the tree")]
    Manifest(#[source] io::Error),
}

/// A whole tree without a name.
#[derive(Debug)]
pub(crate) struct Unpacked {
    tree: StagedDir,
    key: TreeKey,
    dropped: Dropped,
}

/// Unpacks a tar as it comes, to the last byte of the input.
pub(crate) fn unpack_tar(
    disk: &Disk,
    key: TreeKey,
    input: impl Read,
) -> Result<Unpacked, UnpackError> {
    let mut reader =
        TarReader::new(input, key.encoding(), Limits::default()).map_err(UnpackError::Archive)?;
    unpack(disk, key, &mut reader)
}

/// Unpacks an archive that lies in a file.
pub(crate) fn unpack_file(
    disk: &Disk,
    key: TreeKey,
    file: std::fs::File,
) -> Result<Unpacked, UnpackError> {
    match key.container() {
        archive::Container::Tar => unpack_tar(disk, key, io::BufReader::with_capacity(PIECE, file)),
        archive::Container::Zip => {
            let input = io::BufReader::with_capacity(PIECE, file);
            let mut reader =
                ZipReader::new(input, Limits::default()).map_err(UnpackError::Archive)?;
            unpack(disk, key, &mut reader)
        }
    }
}

impl UnpackError {
    /// Is the disk full?
    pub(crate) fn is_no_space(&self) -> bool {
        match self {
            UnpackError::Archive(_) => false,
            UnpackError::Write { source, .. } | UnpackError::Tree(source) => source.is_no_space(),
            UnpackError::Manifest(error) => {
                matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
        }
    }
}

impl Unpacked {
    /// Gives the tree its name, synced, unless it is there already. Says what was left out.
    pub(crate) fn publish(self, disk: &Disk) -> Result<Dropped, DiskError> {
        let path = layout::tree(&self.key);
        disk.make_dir(path.parent().unwrap_or(&layout::trees()), 0o755)?;
        self.tree.publish(&path, Seal::ReadOnly)?;
        Ok(self.dropped)
    }
}

fn unpack(disk: &Disk, key: TreeKey, entries: &mut dyn Entries) -> Result<Unpacked, UnpackError> {
    let mut tree = disk.stage_dir()?;
    tree.directory(Path::new(layout::TREE_FILES), None)?;
    let manifest = tree.file(Path::new(layout::TREE_MANIFEST), 0o444, None, false)?;
    let mut manifest = ManifestWriter::new(manifest);
    let mut buffer = vec![0; PIECE];
    while let Some(entry) = entries.next_entry().map_err(UnpackError::Archive)? {
        let content = write_entry(&mut tree, &entry, entries, &mut buffer)?;
        manifest.add(&entry, content).map_err(UnpackError::Manifest)?;
    }
    manifest.finish().map_err(UnpackError::Manifest)?.close()?;
    let dropped = entries.summary().map(|summary| summary.dropped).unwrap_or_default();
    Ok(Unpacked { tree, key, dropped })
}

fn write_entry(
    tree: &mut StagedDir,
    entry: &Entry,
    entries: &mut dyn Entries,
    buffer: &mut [u8],
) -> Result<Option<model::Digest>, UnpackError> {
    let path = inside(entry.path.as_path());
    let modified = entry.modified.and_then(system_time);
    let failed = |source| UnpackError::Write {
        path: entry.path.as_path().to_string_lossy().into_owned(),
        source,
    };
    match &entry.kind {
        EntryKind::Directory => tree.directory(&path, modified).map_err(failed)?,
        EntryKind::Symlink { target } => {
            tree.symlink(&path, target.as_bytes(), modified, entry.replaces).map_err(failed)?;
        }
        EntryKind::HardLink { original } => {
            tree.hard_link(&inside(original.as_path()), &path, entry.replaces).map_err(failed)?;
        }
        EntryKind::File { executable, .. } => {
            let mode = if *executable { 0o555 } else { 0o444 };
            let mut file = tree.file(&path, mode, modified, entry.replaces).map_err(failed)?;
            let mut hasher = Hasher::new();
            loop {
                let count = entries.read_content(buffer).map_err(UnpackError::Archive)?;
                if count == 0 {
                    break;
                }
                hasher.update(&buffer[..count]);
                file.append(&buffer[..count]).map_err(failed)?;
            }
            file.close().map_err(failed)?;
            return Ok(Some(hasher.finish()));
        }
    }
    Ok(None)
}

fn inside(path: &Path) -> PathBuf {
    Path::new(layout::TREE_FILES).join(path)
}

/// A time that no clock of this system can have is left out.
fn system_time(modified: Modified) -> Option<SystemTime> {
    let whole = Duration::from_secs(modified.seconds.unsigned_abs());
    let second = match modified.seconds {
        0.. => UNIX_EPOCH.checked_add(whole),
        _ => UNIX_EPOCH.checked_sub(whole),
    };
    second?.checked_add(Duration::from_nanos(modified.nanos.into()))
}

/// Small pieces stay in the processor's cache: 64-KiB reads are several times faster than 1-MiB ones.
const PIECE: usize = 64 * 1024;
