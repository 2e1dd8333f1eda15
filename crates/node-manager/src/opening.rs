//! Opening what a node finds when it starts: its tree under one name, locked and cleared up, its journal, its
//! control groups. Owns the order of that; starts nothing. Whatever a crash left, the same again is harmless.

use std::path::{Path, PathBuf};

use cgroup::{Group, Groups};
use durable::{Disk, DiskError, Kind, Lock, LockMode};
use model::Digest;

use crate::commit::Commits;
use crate::layout;
use crate::node::{OpenError, now};
use crate::operation::{Journal, JournalError};
use crate::record::{self, FormatRecord, Unusable};
use crate::supervise::LeftGroups;

/// The tree under one name, however it was spelled: programs know their workspaces by it, and are known by
/// it again after a restart.
pub(crate) fn create_resolved(
    root: &Path,
    create: impl Fn(&Path) -> Result<Disk, DiskError>,
) -> Result<Disk, OpenError> {
    let resolved = |root: &Path| {
        let unresolved = |source| OpenError::Root { root: root.to_owned(), source };
        std::fs::canonicalize(root).map_err(unresolved)
    };
    if root.exists() {
        return Ok(create(&resolved(root)?)?);
    }
    let disk = create(root)?;
    let name = resolved(root)?;
    Ok(if name == disk.root() { disk } else { create(&name)? })
}

pub(crate) fn open_tree(disk: Disk, boot: &str) -> Result<(Disk, Lock), OpenError> {
    let root = disk.root();
    let locked = disk.try_lock(&layout::lock(), LockMode::Exclusive)?;
    let lock = locked.ok_or_else(|| OpenError::Locked { root: root.to_owned() })?;
    match record::find::<FormatRecord>(&disk, &layout::format()) {
        Ok(Some(_)) => {}
        Ok(None) => {
            if let Some(found) = foreign(&disk)? {
                return Err(OpenError::Foreign { root: root.to_owned(), found });
            }
            let format = FormatRecord { created: now() };
            record::write(&disk, &layout::format(), &format).map_err(OpenError::of_record)?;
        }
        Err(Unusable::TooNew { found, known, .. }) => {
            return Err(OpenError::TooNew { root: root.to_owned(), found, known });
        }
        Err(unusable) => return Err(OpenError::of_record(unusable)),
    }
    disk.keep_log(&layout::redo(), REDO_ROOM)?;
    for directory in [layout::blobs(), layout::trees(), layout::apps(), layout::operations()] {
        disk.make_dir(&directory, 0o755)?;
    }
    // What cannot be deleted (a program may have left files of another account) must not keep the node down.
    for emptied in
        [disk.empty_trash(), disk.empty_staging_except(|name| name.starts_with(layout::PARTIAL))]
    {
        if let Err(error) = emptied {
            let error: &(dyn std::error::Error + 'static) = &error;
            tracing::warn!(error, "what was thrown away stays on the disk");
        }
    }
    forget_other_boots(&disk, boot)?;
    close_trees(&disk)?;
    Ok((disk, lock))
}

pub(crate) fn open_journal(disk: Disk, commits: Commits) -> Result<Journal, OpenError> {
    Journal::open(disk, commits).map_err(|error| match error {
        JournalError::Disk(error) => OpenError::Disk(error),
        JournalError::Record(unusable) => OpenError::of_record(unusable),
        other => OpenError::damaged(other),
    })
}

/// The control groups of this node's instances, and those that are there; what a crash left empty goes.
/// Nothing starts yet.
pub(crate) fn open_groups(root: &Path) -> Result<(Groups, LeftGroups), OpenError> {
    let digest = Digest::of(root.as_os_str().as_encoded_bytes());
    let groups = Groups::open(&format!("fettle-{}", &digest.hex()[..8]));
    let groups = groups.map_err(OpenError::damaged)?;
    let left = match groups.sweep() {
        Ok(left) => {
            let named = |group: Group| (group.name().to_owned(), group);
            LeftGroups::These(left.into_iter().map(named).collect())
        }
        Err(error) => {
            tracing::warn!(%error, "control groups that nobody needs stay");
            LeftGroups::Unknown
        }
    };
    Ok((groups, left))
}

/// Something in a directory without a format that no node put there. What a node throws away and clears
/// up must never be somebody else's.
fn foreign(disk: &Disk) -> Result<Option<PathBuf>, DiskError> {
    let mut found = disk.list(Path::new(""))?.into_iter().map(|entry| PathBuf::from(entry.name));
    let ours = ["lock", "staging", "trash", "lost+found"];
    if let Some(found) = found.find(|name| !ours.iter().any(|ours| name == Path::new(ours))) {
        return Ok(Some(found));
    }
    // Until there is a format nothing is thrown away, and nothing is staged but the format itself.
    let within = |dir: &str, legal: fn(&str) -> bool| {
        let entries = disk.list(Path::new(dir))?.into_iter().map(|entry| entry.name);
        let mut others = entries.filter(|name| !name.to_str().is_some_and(legal));
        Ok::<_, DiskError>(others.next().map(|name| Path::new(dir).join(name)))
    };
    let in_trash = within("trash", |_| false)?;
    Ok(in_trash.or(within("staging", |name| name.starts_with('.'))?))
}

fn forget_other_boots(disk: &Disk, boot: &str) -> Result<(), DiskError> {
    for entry in disk.list(&layout::runs())? {
        if entry.name != boot {
            disk.discard(&layout::runs().join(entry.name))?;
        }
    }
    disk.make_dir(&layout::run(boot), 0o700)
}

/// A tree is renamed into the store with its top still open; a crash right then leaves it so.
fn close_trees(disk: &Disk) -> Result<(), DiskError> {
    let shards = disk.list(&layout::trees())?.into_iter();
    for shard in shards.filter(|shard| shard.kind == Kind::Directory) {
        let shard = layout::trees().join(shard.name);
        for tree in disk.list(&shard)?.into_iter().filter(|tree| tree.kind == Kind::Directory) {
            disk.close_tree(&shard.join(tree.name))?;
        }
    }
    Ok(())
}

/// Bytes of the log of small writes: some hundred records, which a start compares with their files.
const REDO_ROOM: u64 = 256 * 1024;
