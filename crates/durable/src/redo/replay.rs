//! Making again what a log says has to be there, at the start and before anybody reads: directories in the
//! order in which they appeared, then files. Owns what counts as there already; a crash on the way is followed by
//! the same replay. Nothing is synced here.

use std::io;
use std::path::Path;

use super::frame::{Content, Item, LastWords};
use crate::disk::{Disk, Kind};
use crate::error::DiskError;
use crate::tree::Seal;

/// `true` if anything was not as it should be. What lay in a directory that is gone is gone with it.
pub(super) fn redo(disk: &Disk, words: &LastWords) -> Result<bool, DiskError> {
    let mut changed = false;
    for (path, items) in &words.trees {
        changed |= match disk.metadata(path)? {
            None => unless_gone(make_tree(disk, path, items))?,
            Some(_) => {
                let mut mended = false;
                for item in items {
                    let at = path.join(item.path());
                    // The directories on the way were made with it, and are no items of their own.
                    mended |= make_parent(disk, &at)?;
                    if !words.files.contains_key(&at) {
                        mended |= unless_gone(mend(disk, &at, item))?;
                    }
                }
                mended
            }
        };
    }
    for (path, content) in &words.files {
        changed |= unless_gone(mend_file(disk, path, content))?;
    }
    Ok(changed)
}

fn make_tree(disk: &Disk, path: &Path, items: &[Item]) -> Result<bool, DiskError> {
    let parent = path.parent().unwrap_or(Path::new(""));
    if !parent.as_os_str().is_empty() && disk.metadata(parent)?.is_none() {
        return Ok(false);
    }
    let mut staged = disk.stage_dir()?;
    for item in items {
        match item {
            Item::Directory { path } => staged.directory(path, None)?,
            Item::File { path, content } => staged.write(path, &content.bytes, content.mode)?,
            Item::Symlink { path, target } => {
                staged.symlink(path, target.as_os_str().as_encoded_bytes(), None, false)?;
            }
            Item::Link { path, from } => {
                unless_gone(staged.link_from(from, path).map(|()| true))?;
            }
        }
    }
    staged.publish(path, Seal::Writable)?;
    Ok(true)
}

fn make_parent(disk: &Disk, at: &Path) -> Result<bool, DiskError> {
    let Some(parent) = at.parent() else { return Ok(false) };
    let is_missing = disk.metadata(parent)?.is_none();
    if is_missing {
        disk.make_dir(parent, 0o755)?;
    }
    Ok(is_missing)
}

/// One item of a directory that is there: a power cut may have kept its name and not all that is in it.
fn mend(disk: &Disk, at: &Path, item: &Item) -> Result<bool, DiskError> {
    if let Item::File { content, .. } = item {
        return mend_file(disk, at, content);
    }
    // Whatever is there under its name was put there since.
    if disk.metadata(at)?.is_some() {
        return Ok(false);
    }
    match item {
        Item::Directory { .. } => disk.make_dir(at, 0o755)?,
        Item::Symlink { target, .. } => disk.point(at, target)?,
        Item::Link { from, .. } => disk.link(from, at)?,
        Item::File { .. } => {}
    }
    Ok(true)
}

fn mend_file(disk: &Disk, path: &Path, content: &Content) -> Result<bool, DiskError> {
    let Content { mode, bytes } = content;
    let size = bytes.len() as u64;
    if let Some(stat) = disk.metadata(path)?
        && (stat.kind, stat.mode, stat.size) == (Kind::File, *mode, size)
        && disk.read(path, size)?.is_some_and(|found| found == *bytes)
    {
        return Ok(false);
    }
    disk.replace_unsynced(path, bytes, *mode)?;
    Ok(true)
}

fn unless_gone(done: Result<bool, DiskError>) -> Result<bool, DiskError> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        done => done,
    }
}
