//! What things take on the disk, as the file system says.

use std::collections::BTreeSet;
use std::path::Path;

use durable::{Disk, DiskError, Kind};

use crate::install::Room;

/// What something takes with all that is in it; nothing if it is not there. A file of several names counts
/// once, and what goes in the meantime not at all. Memory grows with the directories that wait and with
/// the files of several names.
pub(crate) fn taken(disk: &Disk, path: &Path) -> Result<Room, DiskError> {
    let (mut room, mut seen) = (Room::default(), BTreeSet::new());
    let mut waiting = vec![path.to_owned()];
    while let Some(path) = waiting.pop() {
        let Some(stat) = disk.metadata(&path)? else { continue };
        if stat.nlink > 1 && stat.kind != Kind::Directory && !seen.insert(stat.ino) {
            continue;
        }
        room = room.and(Room { bytes: stat.allocated, inodes: 1 });
        if stat.kind == Kind::Directory {
            waiting.extend(disk.list(&path)?.into_iter().map(|entry| path.join(entry.name)));
        }
    }
    Ok(room)
}
