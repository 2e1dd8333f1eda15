//! How much an archive may be, and how much it was.

use crate::EntryPath;

/// Upper bounds, enforced while reading: a bomb stops at the first byte beyond. The defaults are
/// far above honest packages; a caller that knows its disk sets smaller ones.
///
/// Memory while reading is bounded by `metadata_bytes` and some 30 bytes for each of `entries`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most entries in the archive, and most names in the tree (directories that are only implied
    /// by the names below them are counted there).
    pub entries: u64,
    /// Most bytes of file content in all. A repeated name counts each time.
    pub unpacked_bytes: u64,
    /// Most bytes of content of one file.
    pub largest_file: u64,
    /// Most bytes kept in memory for names and link targets while reading (each component of a
    /// path is kept once), and most bytes of a zip's directory.
    pub metadata_bytes: u64,
    /// Most inodes to create; see [`Measured::inodes`].
    pub inodes: u64,
    /// Most bytes of one path.
    pub longest_path: u32,
    /// Most bytes that the tree may take on a disk; see [`Measured::disk_bytes`].
    pub disk_bytes: u64,
    /// Largest window that the encoding (or an entry of a zip) may ask for; see
    /// [`Measured::window`].
    pub window: u64,
}

impl Default for Limits {
    /// Two million entries, 1 TiB of content, 64 MiB of metadata, a window of 128 MiB.
    fn default() -> Self {
        Self {
            entries: 2_000_000,
            unpacked_bytes: 1 << 40,
            largest_file: 1 << 40,
            metadata_bytes: 64 << 20,
            inodes: 4_000_000,
            longest_path: EntryPath::LONGEST as u32,
            disk_bytes: u64::MAX,
            window: 128 << 20,
        }
    }
}

/// Which of the [`Limits`] was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Limit {
    /// [`Limits::entries`].
    #[error("entries")]
    Entries,
    /// [`Limits::unpacked_bytes`].
    #[error("bytes of content")]
    UnpackedBytes,
    /// [`Limits::largest_file`].
    #[error("bytes in one file")]
    LargestFile,
    /// [`Limits::metadata_bytes`].
    #[error("bytes of names and link targets")]
    MetadataBytes,
    /// [`Limits::inodes`].
    #[error("files, directories and links")]
    Inodes,
    /// [`Limits::longest_path`].
    #[error("bytes in one path")]
    LongestPath,
    /// [`Limits::disk_bytes`].
    #[error("bytes on the disk")]
    DiskBytes,
    /// [`Limits::window`].
    #[error("bytes of decompression window")]
    Window,
    /// Bytes of a decoded tar that are no content: headers, padding, and what lies behind its end
    /// marker. Fixed at 64 MiB, and 1 MiB more for each entry.
    #[error("bytes beside the content of its files")]
    BesideContent,
    /// One extended header of a tar; fixed at 1 MiB.
    #[error("bytes in one extended header")]
    ExtendedHeader,
}

/// What the archive amounts to, counted over all of its entries. A name that occurs twice counts
/// twice, so what is on disk afterwards is never more than this.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    /// Entries of the archive. The root, and a hard link of a name to itself, count although there is
    /// nothing to create, and so are not delivered.
    pub entries: u64,
    /// Bytes of content of all files; a hard link adds none.
    pub unpacked_bytes: u64,
    /// Bytes of the largest file.
    pub largest_file: u64,
    /// Inodes to create: files, symbolic links, and directories including implied ones; a hard
    /// link adds none, and neither does the root.
    pub inodes: u64,
    /// Bytes of the longest path.
    pub longest_path: u32,
    /// Bytes that the tree takes on a file system with blocks of [`BLOCK`](Self::BLOCK) bytes: the
    /// content of each file in whole blocks (of a sparse one, its data), and a block for each
    /// directory and symbolic link. What a file system packs more tightly takes less.
    pub disk_bytes: u64,
    /// Bytes of history that decompression has to keep, as the archive declares it: of zstd the
    /// window, of xz the dictionary, else 0 (gzip, bzip2 and deflate have small fixed ones). The
    /// largest, where there are several.
    pub window: u64,
}

impl Measured {
    /// Bytes of a block on the disk, as [`disk_bytes`](Self::disk_bytes) counts.
    pub const BLOCK: u64 = 4096;
}

/// What the archive holds and fettle does not keep, in entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Entries that belong to another account or group than 0.
    pub owners: u64,
    /// Entries with a set-user-id, set-group-id or sticky bit.
    pub special_bits: u64,
    /// Entries with extended attributes or access lists.
    pub attributes: u64,
    /// Directories whose mode would lock their owner out (not readable or not searchable).
    pub directory_modes: u64,
}

/// What is known when an archive has been read to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// What it amounts to.
    pub measured: Measured,
    /// What was left out.
    pub dropped: Dropped,
}
