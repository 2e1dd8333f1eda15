//! A directory as the reproducible tar: the same tree gives the same bytes on every machine. Files,
//! directories and symbolic links, sorted; no owners, no times; of the modes only whether a file may be
//! executed. Links stay as they are. Anything else is refused, naming its path.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use archive::{EntryPath, LinkTarget, PackError, TarWriter};

use super::error::TransferError;

/// Packs the directory `root` into `output`.
pub(super) fn pack(root: &Path, output: impl Write) -> Result<(), TransferError> {
    let mut writer = TarWriter::new(BufWriter::with_capacity(BUFFER, output));
    // One list of names for each level that is being worked on, the next name last.
    let mut levels = vec![(PathBuf::new(), names(root)?)];
    while let Some((dir, names_left)) = levels.last_mut() {
        let Some(name) = names_left.pop() else {
            levels.pop();
            continue;
        };
        let relative = dir.join(name);
        if let Some(below) = entry(&mut writer, root, &relative)? {
            levels.push((relative, below));
        }
    }
    writer.finish().map(drop).map_err(|error| packing(error, root))
}

/// Writes one entry; of a directory, says what is in it.
fn entry<W: Write>(
    writer: &mut TarWriter<W>,
    root: &Path,
    relative: &Path,
) -> Result<Option<Vec<OsString>>, TransferError> {
    let full = root.join(relative);
    let unread = |source| TransferError::Read { path: full.clone(), source };
    let bad = |source| TransferError::BadEntry { path: full.clone(), source };
    let path = EntryPath::parse(relative.as_os_str().as_bytes()).map_err(bad)?;
    let kind = fs::symlink_metadata(&full).map_err(unread)?.file_type();
    if kind.is_dir() {
        writer.directory(&path).map_err(|error| packing(error, &full))?;
        return names(&full).map(Some);
    }
    if kind.is_symlink() {
        let target = fs::read_link(&full).map_err(unread)?.into_os_string().into_vec();
        let target = LinkTarget::parse(&target).map_err(bad)?;
        writer.symlink(&path, &target).map_err(|error| packing(error, &full))?;
        return Ok(None);
    }
    if !kind.is_file() {
        return Err(TransferError::NotPackable { path: full });
    }
    let mut file = File::open(&full).map_err(unread)?;
    let facts = file.metadata().map_err(unread)?;
    if !facts.is_file() {
        return Err(TransferError::Changed { path: full });
    }
    let executable = facts.permissions().mode() & 0o111 != 0;
    let written = writer.file(&path, facts.len(), executable, &mut file);
    written.map(|()| None).map_err(|error| packing(error, &full))
}

/// The names in a directory, sorted by their bytes, the first last.
fn names(dir: &Path) -> Result<Vec<OsString>, TransferError> {
    let read = || -> io::Result<Vec<OsString>> {
        fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name())).collect()
    };
    let mut names =
        read().map_err(|source| TransferError::Read { path: dir.to_owned(), source })?;
    names.sort_unstable_by(|a, b| b.cmp(a));
    Ok(names)
}

fn packing(error: PackError, path: &Path) -> TransferError {
    let path = path.to_owned();
    match error {
        PackError::ContentShort { .. } | PackError::ContentLong { .. } => {
            TransferError::Changed { path }
        }
        PackError::Content { source, .. } => TransferError::Read { path, source },
        PackError::Write { source } => TransferError::Spool { source },
        // After an error nothing more is written, so this one is never the first.
        other => TransferError::Spool { source: io::Error::other(other) },
    }
}

const BUFFER: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use archive::{Encoding, Entries, EntryKind, Limits, TarReader};

    fn packed(root: &Path) -> Vec<u8> {
        let mut bytes = Vec::new();
        pack(root, &mut bytes).unwrap();
        bytes
    }

    fn tree(root: &Path) {
        fs::create_dir_all(root.join("a/inner")).unwrap();
        fs::create_dir(root.join("empty")).unwrap();
        fs::write(root.join("a/inner/run"), b"#!/bin/sh\n").unwrap();
        fs::set_permissions(root.join("a/inner/run"), fs::Permissions::from_mode(0o700)).unwrap();
        fs::write(root.join("a.b"), b"beside").unwrap();
        std::os::unix::fs::symlink("a.b", root.join("link")).unwrap();
    }

    #[test]
    fn the_same_tree_gives_the_same_bytes_wherever_and_whenever_it_was_made() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        tree(one.path());
        fs::write(two.path().join("link"), b"made in another order").unwrap();
        fs::remove_file(two.path().join("link")).unwrap();
        tree(two.path());
        fs::set_permissions(two.path().join("a"), fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(packed(one.path()), packed(two.path()));
    }

    #[test]
    fn every_kind_arrives_in_the_order_of_trees() {
        let dir = tempfile::tempdir().unwrap();
        tree(dir.path());
        let bytes = packed(dir.path());
        let mut reader = TarReader::new(&bytes[..], Encoding::Identity, Limits::default()).unwrap();
        let mut found = Vec::new();
        while let Some(entry) = reader.next_entry().unwrap() {
            let path = String::from_utf8(entry.path.as_bytes().to_vec()).unwrap();
            found.push(match entry.kind {
                EntryKind::Directory => format!("{path}/"),
                EntryKind::File { size, executable, .. } => format!("{path} {size} {executable}"),
                EntryKind::Symlink { .. } => format!("{path} ->"),
                EntryKind::HardLink { .. } => format!("{path} ="),
            });
        }
        let wanted = ["a/", "a/inner/", "a/inner/run 10 true", "a.b 6 false", "empty/", "link ->"];
        assert_eq!(found, wanted);
    }

    #[test]
    fn what_no_archive_holds_is_refused_with_its_path() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("deep");
        fs::create_dir(&socket).unwrap();
        let socket = socket.join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        match pack(dir.path(), io::sink()) {
            Err(TransferError::NotPackable { path }) => assert_eq!(path, socket),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_absolute_link_is_refused_with_its_path() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("l")).unwrap();
        assert!(matches!(pack(dir.path(), io::sink()), Err(TransferError::BadEntry { .. })));
    }
}
