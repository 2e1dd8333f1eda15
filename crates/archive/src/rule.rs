//! The rules that an entry must keep to be safe, one variant a rule.
//!
//! They hold for every container. What is refused here would, in some reader or on some file
//! system, write outside of the tree, follow a link, or make something that is not a file.

/// Why an entry is refused. The display form completes "the entry is unsafe: …".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rule {
    /// The name begins with `/`.
    #[error("its name is absolute")]
    AbsoluteName,
    /// A component of the name is `..`.
    #[error("its name contains `..`")]
    ParentComponent,
    /// The name contains a NUL byte.
    #[error("its name contains a NUL byte")]
    NulInName,
    /// The name is empty, or names the root of the tree where that makes no sense.
    #[error("its name is empty")]
    EmptyName,
    /// A component of the name is longer than 255 bytes.
    #[error("a component of its name is longer than 255 bytes")]
    ComponentTooLong,
    /// The name is longer than 4096 bytes.
    #[error("its name is longer than 4096 bytes")]
    NameTooLong,
    /// A parent of the entry is a regular file of this archive.
    #[error("it lies under a regular file")]
    UnderFile,
    /// A parent of the entry is a symbolic link of this archive, even one that leads to a directory
    /// of it: some readers follow it, some put a directory in its place, some refuse.
    #[error("it lies under a symbolic link")]
    UnderLink,
    /// The symbolic link's target begins with `/`.
    #[error("its link target is absolute")]
    TargetAbsolute,
    /// The symbolic link's target is empty.
    #[error("its link target is empty")]
    TargetEmpty,
    /// The symbolic link's target contains a NUL byte.
    #[error("its link target contains a NUL byte")]
    TargetNul,
    /// The symbolic link's target is longer than 4095 bytes, the most that Linux stores.
    #[error("its link target is longer than 4095 bytes")]
    TargetTooLong,
    /// Followed component by component through the finished tree, the link leaves it.
    #[error("its link target leads out of the package")]
    TargetLeaves,
    /// The original of a hard link is not an earlier file or symbolic link of the same archive.
    #[error("it is a hard link to something that is not an earlier file or link of the archive")]
    HardLinkOriginal,
    /// A character or block device.
    #[error("it is a device")]
    Device,
    /// A named pipe.
    #[error("it is a named pipe")]
    Fifo,
    /// A socket.
    #[error("it is a socket")]
    Socket,
    /// The name was there already as something of another kind (a directory, a file, a link), or
    /// is needed as a directory by an earlier entry.
    #[error("its name is already taken by something of another kind")]
    OtherKind,
    /// The name was there already, in a container where readers disagree which one holds.
    #[error("its name occurs twice")]
    Repeated,
}
