//! What a file system owes us, and nothing more: the model that power cuts are made from.
//!
//! - **Content.** A file has the bytes of its last `fsync` or `fdatasync`. Each later write may be
//!   missing, there, cut short, or have lengthened the file with zeros in place of its data (delayed
//!   allocation: the length reached the disk, the blocks did not). Writes are independent of each
//!   other and of every name.
//! - **Released heads.** Punching the head of a file may be missing, there, or there for the first half;
//!   collapsing it is there or missing. (ext4 and XFS move the extents of a collapse in journal
//!   transactions of their own each; a cut between them is not followed here.)
//! - **Modes.** A mode is there after `fsync` of the file or directory; `fdatasync` leaves it out.
//! - **Names.** A directory has the names of its last `fsync`. Each later change of a name may be
//!   missing or there, whatever became of the others. `fsync` of a file says nothing about its name,
//!   `fsync` of a directory nothing about what its names lead to, and a synced directory is reached
//!   only if its own name was synced in its parent.
//! - **Renames.** Within one directory both halves are there or none. Between two directories a file
//!   may be seen under both names, never under none: the old name goes only if the new one is there.
//!   A directory has exactly one of its two names. `fsync` of the old parent therefore brings the new
//!   name with it.
//! - **Symbolic links** are there with what they say, as their name is.
//! - **syncfs** makes everything durable that was done before it. Times are not followed.
//!
//! This is weaker than any of the file systems that it stands for, on purpose. POSIX promises only
//! that `rename` is atomic for running programs and that `fsync` forces what belongs to one file;
//! fsync(2) of Linux adds that the directory wants a sync of its own. ext4 (data=ordered, see the
//! kernel's `filesystems/ext4` and `journalling` documents) and XFS write names through one ordered
//! journal, so that they leave fewer states than these; btrfs writes per-file logs, which is where the
//! independence of names comes from. The classes of lost, torn and reordered writes follow Pillai et
//! al., "All File Systems Are Not Created Equal" (OSDI 2014).

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;

use super::snapshot::{Node, Snapshot};
use crate::op::{Ino, Op};

/// One file, directory or link, for as long as the log runs; inode numbers come back, these do not.
pub(super) type Id = usize;

/// The disk as it stands after some prefix of a log.
#[derive(Debug, Clone)]
pub(super) struct Model {
    pub(super) base: Id,
    pub(super) inodes: Vec<Inode>,
    /// Names that last; with the number of the change that made or removed them.
    pub(super) names: BTreeMap<(Id, OsString), (usize, Option<Id>)>,
    /// What has happened but does not last yet, in order.
    pub(super) pending: Vec<Pending>,
    /// The names as every running program sees them.
    seen: HashMap<(Id, OsString), Id>,
    live: HashMap<Ino, Id>,
    next: usize,
}

#[derive(Debug, Clone)]
pub(super) struct Inode {
    pub(super) kind: InodeKind,
    /// The mode that lasts.
    pub(super) mode: u32,
}

#[derive(Debug, Clone)]
pub(super) enum InodeKind {
    /// With the content that lasts.
    File(Vec<u8>),
    Dir,
    Link(OsString),
}

/// One change that may or may not be there after a power cut.
#[derive(Debug, Clone)]
pub(super) struct Pending {
    pub(super) number: usize,
    pub(super) change: Change,
}

#[derive(Debug, Clone)]
pub(super) enum Change {
    /// Names that come and go together; it happens only if change `needs` does.
    Names { set: Vec<(Id, OsString, Option<Id>)>, needs: Option<usize> },
    /// Bytes at an offset.
    Write { file: Id, offset: usize, data: Vec<u8> },
    /// A new length.
    SetLen { file: Id, len: usize },
    /// Zeros in place of the first bytes.
    Punch { file: Id, len: usize },
    /// The first bytes taken out.
    Collapse { file: Id, len: usize },
    /// A new mode.
    Mode { file: Id, mode: u32 },
}

impl Model {
    pub(super) fn new(start: &Snapshot) -> Model {
        let live: HashMap<Ino, Id> =
            start.nodes.keys().enumerate().map(|(id, &ino)| (ino, id)).collect();
        let mut model = Model {
            base: live[&start.base],
            inodes: Vec::new(),
            names: BTreeMap::new(),
            pending: Vec::new(),
            seen: HashMap::new(),
            live,
            next: 1,
        };
        for (id, node) in start.nodes.values().enumerate() {
            let (kind, mode) = match node {
                Node::File { mode, data } => (InodeKind::File(data.clone()), *mode),
                Node::Link { target } => (InodeKind::Link(target.clone()), 0o777),
                Node::Dir { mode, names } => {
                    for (name, ino) in names {
                        let there = model.live[ino];
                        model.names.insert((id, name.clone()), (0, Some(there)));
                        model.seen.insert((id, name.clone()), there);
                    }
                    (InodeKind::Dir, *mode)
                }
            };
            model.inodes.push(Inode { kind, mode });
        }
        model
    }

    /// Applies the next operation of the log. What lies outside the snapshot is not followed.
    pub(super) fn apply(&mut self, op: &Op) {
        match op {
            Op::Mkdir { dir, name, made, mode } => {
                self.make(*dir, name, *made, InodeKind::Dir, *mode);
            }
            Op::Create { dir, name, made, mode } => {
                self.make(*dir, name, *made, InodeKind::File(Vec::new()), *mode);
            }
            Op::Symlink { dir, name, made, target } => {
                self.make(*dir, name, *made, InodeKind::Link(target.clone()), 0o777);
            }
            Op::Link { file, dir, name } => {
                if let (Some(file), Some(dir)) = (self.id(*file), self.id(*dir)) {
                    self.name(vec![(dir, name.clone(), Some(file))], None);
                }
            }
            Op::Unlink { dir, name } | Op::Rmdir { dir, name } => {
                if let Some(dir) = self.id(*dir) {
                    self.name(vec![(dir, name.clone(), None)], None);
                }
            }
            Op::Rename { from_dir, from, to_dir, to, .. } => {
                if let (Some(from_dir), Some(to_dir)) = (self.id(*from_dir), self.id(*to_dir)) {
                    self.rename((from_dir, from.clone()), (to_dir, to.clone()));
                }
            }
            Op::Write { file, offset, data } => {
                if let Some(file) = self.id(*file) {
                    let offset = usize::try_from(*offset).expect("a test's files fit in memory");
                    self.later(Change::Write { file, offset, data: data.clone() });
                }
            }
            Op::SetLen { file, len } => {
                if let Some(file) = self.id(*file) {
                    let len = usize::try_from(*len).expect("a test's files fit in memory");
                    self.later(Change::SetLen { file, len });
                }
            }
            Op::PunchHead { file, len } => {
                if let Some(file) = self.id(*file) {
                    let len = usize::try_from(*len).expect("a test's files fit in memory");
                    self.later(Change::Punch { file, len });
                }
            }
            Op::CollapseHead { file, len } => {
                if let Some(file) = self.id(*file) {
                    let len = usize::try_from(*len).expect("a test's files fit in memory");
                    self.later(Change::Collapse { file, len });
                }
            }
            Op::Chmod { file, mode } => {
                if let Some(file) = self.id(*file) {
                    self.later(Change::Mode { file, mode: *mode });
                }
            }
            Op::Times { .. } => {}
            Op::SyncData { file } => {
                let synced = self.id(*file);
                self.settle(|change| match change {
                    Change::Write { file, .. }
                    | Change::SetLen { file, .. }
                    | Change::Punch { file, .. }
                    | Change::Collapse { file, .. } => Some(*file) == synced,
                    Change::Mode { .. } | Change::Names { .. } => false,
                });
            }
            Op::SyncFile { file: synced } | Op::SyncDir { dir: synced } => {
                let synced = self.id(*synced);
                let brought: Vec<usize> = self
                    .pending
                    .iter()
                    .filter(|pending| pending.change.is_in(synced))
                    .filter_map(|pending| match &pending.change {
                        Change::Names { needs, .. } => *needs,
                        _ => None,
                    })
                    .collect();
                self.settle_numbered(|number, change| {
                    change.is_in(synced) || brought.contains(&number)
                });
            }
            Op::SyncFs => self.settle(|_| true),
        }
    }

    fn id(&self, ino: Ino) -> Option<Id> {
        self.live.get(&ino).copied()
    }

    fn make(&mut self, dir: Ino, name: &OsString, made: Ino, kind: InodeKind, mode: u32) {
        let Some(dir) = self.id(dir) else { return };
        let id = self.inodes.len();
        self.inodes.push(Inode { kind, mode });
        self.live.insert(made, id);
        self.name(vec![(dir, name.clone(), Some(id))], None);
    }

    fn rename(&mut self, from: (Id, OsString), to: (Id, OsString)) {
        let moved = self.seen.get(&from).copied().expect("what was renamed was there");
        if self.seen.get(&to) == Some(&moved) {
            return; // two names of one file: POSIX does nothing
        }
        let gone = (from.0, from.1, None);
        let there = (to.0, to.1, Some(moved));
        if gone.0 == there.0 || matches!(self.inodes[moved].kind, InodeKind::Dir) {
            self.name(vec![gone, there], None);
        } else {
            let first = self.name(vec![there], None);
            self.name(vec![gone], Some(first));
        }
    }

    fn name(&mut self, set: Vec<(Id, OsString, Option<Id>)>, needs: Option<usize>) -> usize {
        for (dir, name, id) in &set {
            match id {
                Some(id) => self.seen.insert((*dir, name.clone()), *id),
                None => self.seen.remove(&(*dir, name.clone())),
            };
        }
        self.later(Change::Names { set, needs })
    }

    fn later(&mut self, change: Change) -> usize {
        let number = self.next;
        self.next += 1;
        self.pending.push(Pending { number, change });
        number
    }

    fn settle(&mut self, lasts: impl Fn(&Change) -> bool) {
        self.settle_numbered(|_, change| lasts(change));
    }

    fn settle_numbered(&mut self, lasts: impl Fn(usize, &Change) -> bool) {
        for Pending { number, change } in std::mem::take(&mut self.pending) {
            if !lasts(number, &change) {
                self.pending.push(Pending { number, change });
                continue;
            }
            match change {
                Change::Names { set, .. } => {
                    for (dir, name, id) in set {
                        put_name(&mut self.names, dir, name, number, id);
                    }
                }
                Change::Write { file, offset, data } => {
                    if let InodeKind::File(content) = &mut self.inodes[file].kind {
                        write(content, offset, &data);
                    }
                }
                Change::SetLen { file, len } => {
                    if let InodeKind::File(content) = &mut self.inodes[file].kind {
                        content.resize(len, 0);
                    }
                }
                Change::Punch { file, len } => {
                    if let InodeKind::File(content) = &mut self.inodes[file].kind {
                        punch(content, len);
                    }
                }
                Change::Collapse { file, len } => {
                    if let InodeKind::File(content) = &mut self.inodes[file].kind {
                        collapse(content, len);
                    }
                }
                Change::Mode { file, mode } => self.inodes[file].mode = mode,
            }
        }
    }
}

impl Change {
    /// Whether `fsync` of this file or directory covers it.
    fn is_in(&self, synced: Option<Id>) -> bool {
        match self {
            Change::Names { set, .. } => set.iter().any(|(dir, ..)| Some(*dir) == synced),
            Change::Write { file, .. }
            | Change::SetLen { file, .. }
            | Change::Punch { file, .. }
            | Change::Collapse { file, .. }
            | Change::Mode { file, .. } => Some(*file) == synced,
        }
    }
}

/// Sets a name unless a later change has set it already.
pub(super) fn put_name(
    names: &mut BTreeMap<(Id, OsString), (usize, Option<Id>)>,
    dir: Id,
    name: OsString,
    number: usize,
    id: Option<Id>,
) {
    let slot = names.entry((dir, name)).or_insert((0, None));
    if number >= slot.0 {
        *slot = (number, id);
    }
}

/// Puts `data` at `offset`; what is skipped reads as zeros.
pub(super) fn write(content: &mut Vec<u8>, offset: usize, data: &[u8]) {
    let end = offset + data.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[offset..end].copy_from_slice(data);
}

/// Puts zeros in place of the first `len` bytes.
pub(super) fn punch(content: &mut [u8], len: usize) {
    let len = len.min(content.len());
    content[..len].fill(0);
}

/// Takes the first `len` bytes out.
pub(super) fn collapse(content: &mut Vec<u8>, len: usize) {
    content.drain(..len.min(content.len()));
}
