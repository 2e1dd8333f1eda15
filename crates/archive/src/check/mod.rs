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
//! same kind; a change of kind is refused. A hard link is a regular file like any other. It shares
//! the file that its original's name has *then*; if that name is replaced later, the link keeps the
//! old content, which is what [`Entry::replaces`] tells a writer to take care of.

mod links;
mod tree;

use crate::check::tree::{Node, Tree};
use crate::error::printable;
use crate::{
    Dropped, Entry, EntryKind, EntryPath, Error, Limit, Limits, LinkTarget, Modified, Rule, Summary,
};

/// An entry as its container has it.
pub(crate) struct RawEntry<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) kind: RawKind<'a>,
    /// Permission bits, with set-user-id, set-group-id and sticky.
    pub(crate) mode: u32,
    pub(crate) modified: Option<Modified>,
    /// It comes with extended attributes or access lists.
    pub(crate) attributes: bool,
}

/// What an entry is, as its container has it.
pub(crate) enum RawKind<'a> {
    Directory,
    File { size: u64 },
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
        let names = self.tree.names();
        let Some((kind, replaces)) = self.place(&path, raw)? else { return Ok(None) };
        // What replaces a name takes an inode but no new name; a hard link the other way round.
        let taken = self.tree.names() - names + usize::from(replaces);
        let shared = usize::from(matches!(kind, EntryKind::HardLink { .. }));
        self.summary.measured.inodes += (taken - shared) as u64;
        self.note(&path, raw);
        Ok(Some(Entry { path, kind, modified: raw.modified, replaces }))
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
        let kind = match raw.kind {
            RawKind::Directory => EntryKind::Directory,
            RawKind::File { size } => {
                self.count_content(size)?;
                EntryKind::File { size, executable: raw.mode & 0o111 != 0, sparse: None }
            }
            RawKind::Symlink { target } => {
                let target = LinkTarget::parse(target).map_err(refuse)?;
                if leaves_at_once(path, &target) {
                    return Err(refuse(Rule::TargetLeaves));
                }
                EntryKind::Symlink { target }
            }
            RawKind::HardLink { original } => {
                let original =
                    EntryPath::parse(original).map_err(|_| refuse(Rule::HardLinkOriginal))?;
                if self.tree.find(&original).map(|id| self.tree.node(id)) != Some(Node::File) {
                    return Err(refuse(Rule::HardLinkOriginal));
                }
                if original == *path {
                    return Ok(None);
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
            match &kind {
                EntryKind::Directory => {
                    self.tree.insert(parent, name, Node::Directory { implied: false });
                }
                EntryKind::File { .. } | EntryKind::HardLink { .. } => {
                    self.tree.insert(parent, name, Node::File);
                }
                EntryKind::Symlink { target } => {
                    self.tree.insert_link(parent, name, target.as_bytes());
                }
            }
            return Ok(Some((kind, false)));
        };
        let replaces = match (self.tree.node(existing), &kind) {
            (Node::Directory { implied: true }, EntryKind::Directory) => {
                self.tree.make_explicit(existing);
                false
            }
            (Node::Directory { implied: false }, EntryKind::Directory)
                if self.repeats == Repeats::LastWins =>
            {
                false
            }
            (Node::File, EntryKind::File { .. } | EntryKind::HardLink { .. })
                if self.repeats == Repeats::LastWins =>
            {
                true
            }
            (Node::Symlink(link), EntryKind::Symlink { target })
                if self.repeats == Repeats::LastWins =>
            {
                self.make_room(target_len)?;
                self.tree.retarget(link, target.as_bytes());
                true
            }
            (Node::Directory { implied: false }, EntryKind::Directory)
            | (Node::File, EntryKind::File { .. } | EntryKind::HardLink { .. })
            | (Node::Symlink(_), EntryKind::Symlink { .. }) => return Err(refuse(Rule::Repeated)),
            _ => return Err(refuse(Rule::OtherKind)),
        };
        Ok(Some((kind, replaces)))
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
        let Dropped { special_bits, attributes, .. } = &mut self.summary.dropped;
        *special_bits += u64::from(raw.mode & 0o7000 != 0);
        *attributes += u64::from(raw.attributes);
    }
}

/// Whether the target climbs above the root before it names anything. The parents of a link are
/// real directories for good, so this needs no look at the tree.
fn leaves_at_once(path: &EntryPath, target: &LinkTarget) -> bool {
    let depth = path.components().count() - 1;
    let climbs = target
        .as_bytes()
        .split(|byte| *byte == b'/')
        .take_while(|component| matches!(*component, b"" | b"." | b".."))
        .filter(|component| *component == b"..")
        .count();
    climbs > depth
}

#[cfg(test)]
mod tests;
