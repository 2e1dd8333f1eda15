//! What is on disk after unpacking, and how two such trees differ.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::BufReader;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use model::{Digest, Hasher};
use unpacker::ManifestReader;
use unpacker::manifest::Line;

/// Path to what it is.
pub(crate) type Listing = BTreeMap<Vec<u8>, Node>;

/// What has a name in a tree.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    /// When it was modified, in whole seconds; `None`: not told.
    pub(crate) seconds: Option<i64>,
    /// The first of the names that share its inode; `None`: not told.
    pub(crate) shared: Option<Vec<u8>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Directory,
    File { size: u64, digest: Digest, executable: bool },
    Symlink { target: Vec<u8> },
    Special,
}

impl Node {
    pub(crate) fn size(&self) -> u64 {
        match self.kind {
            Kind::File { size, .. } => size,
            _ => 0,
        }
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of {:?}", self.kind, self.seconds)?;
        match &self.shared {
            Some(first) => write!(f, " = {}", first.escape_ascii()),
            None => Ok(()),
        }
    }
}

/// Everything below a directory.
pub(crate) fn list(top: &Path) -> Listing {
    let mut found = BTreeMap::new();
    walk(top, &[], &mut found);
    let mut first = BTreeMap::new();
    let mut listing = Listing::new();
    for (path, (inode, mut node)) in found {
        node.shared = Some(first.entry(inode).or_insert_with(|| path.clone()).clone());
        listing.insert(path, node);
    }
    listing
}

fn walk(dir: &Path, prefix: &[u8], found: &mut BTreeMap<Vec<u8>, (u64, Node)>) {
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let facts = entry.metadata().unwrap();
        let path = [prefix, entry.file_name().as_bytes()].concat();
        let kind = if facts.is_dir() {
            walk(&entry.path(), &[&path[..], b"/"].concat(), found);
            Kind::Directory
        } else if facts.is_symlink() {
            let target = fs::read_link(entry.path()).unwrap();
            Kind::Symlink { target: target.as_os_str().as_bytes().to_vec() }
        } else if facts.is_file() {
            let executable = facts.permissions().mode() & 0o111 != 0;
            Kind::File { size: facts.len(), digest: digest(&entry.path()), executable }
        } else {
            Kind::Special
        };
        let node = Node { kind, seconds: Some(facts.mtime()), shared: None };
        found.insert(path, (facts.ino(), node));
    }
}

fn digest(path: &Path) -> Digest {
    let mut hasher = Hasher::new();
    let mut file = File::open(path).unwrap();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match std::io::Read::read(&mut file, &mut buffer).unwrap() {
            0 => return hasher.finish(),
            read => hasher.update(&buffer[..read]),
        }
    }
}

/// A directory that no entry names has the time at which it was made.
pub(crate) fn forget_unsaid_times(listing: &mut Listing, manifest: &Path) {
    let lines = ManifestReader::new(BufReader::new(File::open(manifest).unwrap()));
    let said: BTreeMap<Vec<u8>, Line> =
        lines.map(|line| line.unwrap()).map(|line| (line.path.as_bytes().to_vec(), line)).collect();
    for (path, node) in listing {
        if said.get(path).is_none_or(|line| line.modified.is_none()) {
            assert!(said.contains_key(path) || node.kind == Kind::Directory, "{path:?} is new");
            node.seconds = None;
        }
    }
}

/// In which the two differ, one line each; what one of them does not tell is no difference.
pub(crate) fn differences(ours: &Listing, theirs: &Listing) -> Vec<String> {
    let paths = ours.keys().chain(theirs.keys().filter(|path| !ours.contains_key(*path)));
    let mut found = Vec::new();
    for path in paths {
        let name = path.escape_ascii();
        match (ours.get(path), theirs.get(path)) {
            (Some(one), Some(other)) => {
                let agree = one.kind == other.kind
                    && told_alike(one.seconds.as_ref(), other.seconds.as_ref())
                    && told_alike(one.shared.as_ref(), other.shared.as_ref());
                if !agree {
                    found.push(format!("{name}: {one} / {other}"));
                }
            }
            // Some readers tell only what has an entry.
            (Some(Node { kind: Kind::Directory, seconds: None, .. }), None)
                if theirs.values().all(|node| node.shared.is_none()) => {}
            (Some(one), None) => found.push(format!("{name}: {one} / nothing")),
            (None, other) => {
                found.push(format!(
                    "{name}: nothing / {}",
                    other.map_or(String::new(), Node::to_string)
                ));
            }
        }
    }
    found.truncate(20);
    found
}

fn told_alike<T: PartialEq>(one: Option<&T>, other: Option<&T>) -> bool {
    one.is_none() || other.is_none() || one == other
}

/// Read-only directories become writable, so that they can be removed.
pub(crate) fn removable(dir: &Path) {
    let _ = fs::set_permissions(dir, fs::Permissions::from_mode(0o755));
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            removable(&entry.path());
        }
    }
}
