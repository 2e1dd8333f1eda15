//! A tree in memory: where a log starts from.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::op::Ino;

/// Everything under one directory.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub(super) base: Ino,
    pub(super) nodes: BTreeMap<Ino, Node>,
}

#[derive(Debug, Clone)]
pub(super) enum Node {
    File { mode: u32, data: Vec<u8> },
    Dir { mode: u32, names: BTreeMap<OsString, Ino> },
    Link { target: OsString },
}

impl Snapshot {
    /// Reads the tree under `base`. Sockets, pipes and devices are passed over.
    pub fn take(base: &Path) -> io::Result<Snapshot> {
        let mut snapshot = Snapshot { base: fs::metadata(base)?.ino(), nodes: BTreeMap::new() };
        snapshot.add(base)?;
        Ok(snapshot)
    }

    fn add(&mut self, path: &Path) -> io::Result<Option<Ino>> {
        let facts = fs::symlink_metadata(path)?;
        let mode = facts.mode() & 0o7777;
        let node = if facts.is_dir() {
            let mut names = BTreeMap::new();
            for entry in fs::read_dir(path)? {
                let entry = entry?;
                if let Some(ino) = self.add(&entry.path())? {
                    names.insert(entry.file_name(), ino);
                }
            }
            Node::Dir { mode, names }
        } else if facts.is_symlink() {
            Node::Link { target: fs::read_link(path)?.into_os_string() }
        } else if facts.is_file() {
            Node::File { mode, data: fs::read(path)? }
        } else {
            return Ok(None);
        };
        self.nodes.insert(facts.ino(), node);
        Ok(Some(facts.ino()))
    }
}
