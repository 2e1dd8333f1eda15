//! The rules of safety, applied: raw entries in archive order go in, checked entries come out.
//!
//! Pure: no input, no output, no clock. It knows neither tar nor zip, only whether a name may occur
//! twice. Its memory is bounded by [`Limits::entries`] and [`Limits::metadata_bytes`].
//!
//! What can be judged at once is judged at once. Where symbolic links lead depends on links and
//! directories that come later, so [`Checker::finish`] follows all of them through the finished
//! tree; nothing may be published before that.
//!
//! Names that occur twice: in a tar the last one holds, as all readers have it, if it is of the
//! same kind; a change of kind is refused. A hard link is a regular file like any other, or a
//! symbolic link like its original, followed from where the new name is. It shares what its
//! original's name has *then*; if that name is replaced later, the link keeps the old content, which
//! is what [`Entry::replaces`] tells a writer to take care of.

mod links;
mod tree;

use crate::check::tree::{Node, Tree};
use crate::error::printable;
use crate::{
    Dropped, Entry, EntryKind, EntryPath, Error, Limit, Limits, LinkTarget, Measured, Modified,
    Rule, SparseMap, Summary,
};

/// An entry as its container has it.
pub(crate) struct RawEntry<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) kind: RawKind<'a>,
    /// Permission bits, with set-user-id, set-group-id and sticky, if the archive says.
    pub(crate) mode: Option<u32>,
    /// It belongs to another account or group than 0.
    pub(crate) owned: bool,
    pub(crate) modified: Option<Modified>,
    /// It comes with extended attributes or access lists.
    pub(crate) attributes: bool,
}

/// What an entry is, as its container has it.
pub(crate) enum RawKind<'a> {
    Directory,
    File { size: u64, sparse: Option<SparseMap> },
    Symlink { target: &'a [u8] },
    HardLink { original: &'a [u8] },
    Device,
    Fifo,
    Socket,
}

/// What a container's readers make of a name that occurs twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeats {
    /// The last one holds.
    LastWins,
    /// They disagree.
    Refused,
}

/// Judges the entries of one archive.
pub(crate) struct Checker {
    limits: Limits,
    repeats: Repeats,
    tree: Tree,
    summary: Summary,
}

impl Checker {
    pub(crate) fn new(limits: Limits, repeats: Repeats) -> Self {
        Self { limits, repeats, tree: Tree::new(), summary: Summary::default() }
    }

    /// The checked entry, or `None` where there is nothing to do: the root itself, or a hard link
    /// of a name to itself.
    pub(crate) fn check(&mut self, raw: &RawEntry<'_>) -> Result<Option<Entry>, Error> {
        self.count_entry()?;
        let refuse = |rule| Error::Unsafe { entry: printable(raw.name), rule };
        let Some(path) = EntryPath::parse_or_root(raw.name).map_err(refuse)? else {
            return match raw.kind {
                RawKind::Directory => Ok(None),
                _ => Err(refuse(Rule::OtherKind)),
            };
        };
        let length = path.as_bytes().len() as u64;
        self.within(Limit::LongestPath, length, u64::from(self.limits.longest_path))?;
        let names = self.tree.names();
        let Some((kind, replaces)) = self.place(&path, raw)? else { return Ok(None) };
        // What replaces a name takes an inode but no new name; a hard link the other way round.
        let taken = (self.tree.names() - names + usize::from(replaces)) as u64;
        self.count_disk(taken, &kind)?;
        self.note(&path, raw);
        Ok(Some(Entry { path, kind, modified: raw.modified, replaces }))
    }

    /// Something that is unpacked keeps so many bytes of history.
    pub(crate) fn count_window(&mut self, window: u64) -> Result<(), Error> {
        let largest = &mut self.summary.measured.window;
        *largest = (*largest).max(window);
        self.within(Limit::Window, window, self.limits.window)
    }

    /// Judges the tree as it finally stands.
    pub(crate) fn finish(&self) -> Result<Summary, Error> {
        match links::leaving(&self.tree) {
            None => Ok(self.summary),
            Some(link) => Err(Error::Unsafe {
                entry: printable(&self.tree.path(link)),
                rule: Rule::TargetLeaves,
            }),
        }
    }

    /// Gives the entry its place in the tree.
    fn place(
        &mut self,
        path: &EntryPath,
        raw: &RawEntry<'_>,
    ) -> Result<Option<(EntryKind, bool)>, Error> {
        let refuse = |rule| Error::Unsafe { entry: printable(raw.name), rule };
        // The symbolic link that a hard link is another name of.
        let mut linked = None;
        let kind = match raw.kind {
            RawKind::Directory => EntryKind::Directory,
            RawKind::File { size, ref sparse } => {
                self.count_content(size)?;
                let executable = raw.mode.unwrap_or(0) & 0o111 != 0;
                EntryKind::File { size, executable, sparse: sparse.clone() }
            }
            RawKind::Symlink { target } => {
                let target = LinkTarget::parse(target).map_err(refuse)?;
                if leaves_at_once(path, target.as_bytes()) {
                    return Err(refuse(Rule::TargetLeaves));
                }
                EntryKind::Symlink { target }
            }
            RawKind::HardLink { original } => {
                let original =
                    EntryPath::parse(original).map_err(|_| refuse(Rule::HardLinkOriginal))?;
                linked = match self.tree.find(&original).map(|id| self.tree.node(id)) {
                    Some(Node::File) => None,
                    Some(Node::Symlink(link)) => Some(link),
                    _ => return Err(refuse(Rule::HardLinkOriginal)),
                };
                if original == *path {
                    return Ok(None);
                }
                if linked.is_some_and(|link| leaves_at_once(path, self.tree.target(link))) {
                    return Err(refuse(Rule::TargetLeaves));
                }
                EntryKind::HardLink { original }
            }
            RawKind::Device => return Err(refuse(Rule::Device)),
            RawKind::Fifo => return Err(refuse(Rule::Fifo)),
            RawKind::Socket => return Err(refuse(Rule::Socket)),
        };

        let mut parent = Tree::ROOT;
        let mut components = path.components();
        let name = components.next_back().expect("a path has at least one component");
        for component in components {
            parent = match self.tree.child(parent, component) {
                None => {
                    self.make_room(component.len())?;
                    self.tree.insert(parent, component, Node::Directory { implied: true })
                }
                Some(id) => match self.tree.node(id) {
                    Node::Directory { .. } => id,
                    Node::File => return Err(refuse(Rule::UnderFile)),
                    Node::Symlink(_) => return Err(refuse(Rule::UnderLink)),
                },
            };
        }

        let target_len = match &kind {
            EntryKind::Symlink { target } => target.as_bytes().len(),
            _ => 0,
        };
        let Some(existing) = self.tree.child(parent, name) else {
            self.make_room(name.len() + target_len)?;
            match (&kind, linked) {
                (EntryKind::Directory, _) => {
                    self.tree.insert(parent, name, Node::Directory { implied: false });
                }
                (EntryKind::Symlink { target }, _) => {
                    self.tree.insert_link(parent, name, target.as_bytes());
                }
                (_, Some(link)) => self.tree.insert_same_link(parent, name, link),
                (EntryKind::File { .. } | EntryKind::HardLink { .. }, None) => {
                    self.tree.insert(parent, name, Node::File);
                }
            }
            return Ok(Some((kind, false)));
        };
        let there = self.tree.node(existing);
        let same_kind = match (there, &kind) {
            (Node::Directory { .. }, EntryKind::Directory)
            | (Node::File, EntryKind::File { .. })
            | (Node::Symlink(_), EntryKind::Symlink { .. }) => true,
            (Node::File, EntryKind::HardLink { .. }) => linked.is_none(),
            (Node::Symlink(_), EntryKind::HardLink { .. }) => linked.is_some(),
            _ => false,
        };
        if !same_kind {
            return Err(refuse(Rule::OtherKind));
        }
        match there {
            Node::Directory { implied: true } => self.tree.make_explicit(existing),
            _ if self.repeats == Repeats::Refused => return Err(refuse(Rule::Repeated)),
            Node::Directory { implied: false } | Node::File => {}
            Node::Symlink(link) => match (&kind, linked) {
                (EntryKind::Symlink { target }, _) => {
                    self.make_room(target_len)?;
                    self.tree.retarget(link, target.as_bytes());
                }
                (_, Some(same)) => self.tree.retarget_same(link, same),
                (_, None) => {}
            },
        }
        Ok(Some((kind, !matches!(there, Node::Directory { .. }))))
    }

    fn count_entry(&mut self) -> Result<(), Error> {
        // Entries with nothing to do count too: an archive of a billion `./` is a bomb as well.
        self.summary.measured.entries += 1;
        self.within(Limit::Entries, self.summary.measured.entries, self.limits.entries)
    }

    fn count_content(&mut self, size: u64) -> Result<(), Error> {
        self.within(Limit::LargestFile, size, self.limits.largest_file)?;
        let measured = &mut self.summary.measured;
        measured.largest_file = measured.largest_file.max(size);
        measured.unpacked_bytes = measured.unpacked_bytes.saturating_add(size);
        let unpacked = measured.unpacked_bytes;
        self.within(Limit::UnpackedBytes, unpacked, self.limits.unpacked_bytes)
    }

    /// Counts so many inodes: the entry's own (a hard link shares one), else implied directories.
    fn count_disk(&mut self, taken: u64, kind: &EntryKind) -> Result<(), Error> {
        let (inodes, blocks) = match kind {
            EntryKind::Directory | EntryKind::Symlink { .. } => (taken, taken),
            EntryKind::HardLink { .. } => (taken - 1, taken - 1),
            EntryKind::File { size, sparse, .. } => {
                let content = match sparse {
                    None => size.div_ceil(Measured::BLOCK),
                    Some(sparse) => sparse.blocks(),
                };
                (taken, (taken - 1).saturating_add(content))
            }
        };
        let measured = &mut self.summary.measured;
        measured.disk_bytes =
            measured.disk_bytes.saturating_add(blocks.saturating_mul(Measured::BLOCK));
        measured.inodes += inodes;
        self.within(Limit::DiskBytes, self.summary.measured.disk_bytes, self.limits.disk_bytes)?;
        self.within(Limit::Inodes, self.summary.measured.inodes, self.limits.inodes)
    }

    /// One more name of this many bytes must fit.
    fn make_room(&self, bytes: usize) -> Result<(), Error> {
        let names = self.limits.entries.min(u64::from(tree::MOST_NAMES));
        self.within(Limit::Entries, self.tree.names() as u64 + 1, names)?;
        let most = self.limits.metadata_bytes.min(u64::from(u32::MAX));
        self.within(Limit::MetadataBytes, (self.tree.bytes() + bytes) as u64, most)
    }

    fn within(&self, limit: Limit, value: u64, most: u64) -> Result<(), Error> {
        if value <= most { Ok(()) } else { Err(Error::TooLarge { limit, most }) }
    }

    fn note(&mut self, path: &EntryPath, raw: &RawEntry<'_>) {
        let longest = &mut self.summary.measured.longest_path;
        *longest = (*longest).max(path.as_bytes().len() as u32);
        let Dropped { owners, special_bits, attributes, directory_modes } =
            &mut self.summary.dropped;
        *owners += u64::from(raw.owned);
        *special_bits += u64::from(raw.mode.is_some_and(|mode| mode & 0o7000 != 0));
        *attributes += u64::from(raw.attributes);
        let locks = raw.mode.is_some_and(|mode| mode & 0o500 != 0o500);
        *directory_modes += u64::from(locks && matches!(raw.kind, RawKind::Directory));
    }
}

/// Whether the target climbs above the root before it names anything. The parents of a link are
/// real directories for good, so this needs no look at the tree.
fn leaves_at_once(path: &EntryPath, target: &[u8]) -> bool {
    let depth = path.components().count() - 1;
    let climbs = target
        .split(|byte| *byte == b'/')
        .take_while(|component| matches!(*component, b"" | b"." | b".."))
        .filter(|component| *component == b"..")
        .count();
    climbs > depth
}

#[cfg(test)]
mod tests;
