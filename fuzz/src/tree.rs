//! The whole way from bytes to a tree: nothing outside of it is touched, its manifest says what is on
//! disk, nothing in it is special or leads out, and it is no more than a dry run announced.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufReader, Cursor, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use archive::{Container, Encoding, Measured};
use durable::Tree;
use model::Digest;
use unpacker::manifest::{Kind, Line};
use unpacker::{FILES, How, Isolation, MANIFEST, ManifestReader, Source, Unpacker};

use crate::{LIMITS, encoding, links, mended};

/// Unpacks `data`: as a zip if it has the end of one, else as a tar in the encoding that it announces; a
/// plain one with its checksums put right.
pub fn tree(data: &[u8]) {
    let end = data.len().saturating_sub(200);
    if data[end..].windows(4).any(|bytes| bytes == b"PK\x05\x06") {
        return unpack(data, Container::Zip, Encoding::Identity);
    }
    match encoding(data) {
        Encoding::Identity => unpack(&mended(data), Container::Tar, Encoding::Identity),
        encoding => unpack(data, Container::Tar, encoding),
    }
}

fn unpack(data: &[u8], container: Container, encoding: Encoding) {
    let world = World::new();
    let mut tree = Tree::beneath(&world.dir.path().join("tree")).expect("an empty directory");
    let how = How { container, encoding, limits: LIMITS, writers: 0 };
    let mut file = tempfile::tempfile_in(MEMORY).expect("memory");
    file.write_all(data).expect("memory");
    std::io::Seek::rewind(&mut file).expect("a file");
    let unpacked = Unpacker::new(Isolation::Inline).unpack(&mut tree, how, Source::File(file));
    world.assert_untouched();

    let measured = archive::open(Cursor::new(data), container, encoding, LIMITS)
        .and_then(|mut entries| archive::measure(&mut *entries));
    match (unpacked, measured) {
        (Ok(_), Ok(summary)) => compare(&world.dir.path().join("tree"), &summary.measured),
        (Err(_), Err(_)) => {}
        (unpacked, measured) => panic!("unpacked: {unpacked:?}, measured: {measured:?}"),
    }
}

/// A directory with something beside the tree that hostile names would hit.
struct World {
    dir: tempfile::TempDir,
}

impl World {
    fn new() -> World {
        let dir = tempfile::tempdir_in(MEMORY).expect("memory");
        fs::create_dir(dir.path().join("tree")).expect("memory");
        fs::write(dir.path().join("canary"), "alive").expect("memory");
        World { dir }
    }

    fn assert_untouched(&self) {
        let mut names: Vec<_> = fs::read_dir(self.dir.path())
            .expect("the directory")
            .map(|entry| entry.expect("an entry").file_name())
            .collect();
        names.sort();
        assert_eq!(names, ["canary", "tree"]);
        assert_eq!(fs::read(self.dir.path().join("canary")).expect("the canary"), b"alive");
        assert!(!Path::new(ABSOLUTE).exists(), "an absolute name was followed");
    }
}

impl Drop for World {
    fn drop(&mut self) {
        open_up(self.dir.path());
    }
}

/// Directories of a tree are read-only; to be removed they must be writable.
fn open_up(dir: &Path) {
    let _ = fs::set_permissions(dir, fs::Permissions::from_mode(0o755));
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_up(&entry.path());
        }
    }
}

/// What is on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    Directory,
    File { inode: u64, mode: u32, size: u64, digest: Digest },
    Symlink { inode: u64, target: Vec<u8> },
}

fn compare(tree: &Path, measured: &Measured) {
    let mut found = Found::default();
    found.walk(&tree.join(FILES), &[]);
    assert!(found.bytes <= measured.unpacked_bytes, "{} bytes of {measured:?}", found.bytes);
    assert!(found.inodes.len() as u64 <= measured.inodes, "{found:?} is more than {measured:?}");
    assert!(found.disk <= measured.disk_bytes, "{} on disk of {measured:?}", found.disk);

    let manifest = BufReader::new(File::open(tree.join(MANIFEST)).expect("a manifest"));
    let lines: Vec<Line> =
        ManifestReader::new(manifest).collect::<Result<_, _>>().expect("a whole manifest");
    assert!(lines.len() as u64 <= measured.entries, "{} lines of {measured:?}", lines.len());
    let mut last: BTreeMap<Vec<u8>, &Line> = BTreeMap::new();
    for line in &lines {
        let before = last.insert(line.path.as_bytes().to_vec(), line);
        let again = before.is_some_and(|line| line.kind != Kind::Directory);
        assert_eq!(line.replaces, again, "{line:?}");
    }
    for (path, line) in &last {
        let node = found.nodes.get(path).unwrap_or_else(|| panic!("{line:?} is not on disk"));
        agrees(line, node);
    }
    for (path, node) in &found.nodes {
        let implied = *node == Node::Directory && path_is_parent(path, &last);
        assert!(last.contains_key(path) || implied, "{node:?} is not in the manifest");
    }
    let targets: BTreeMap<Vec<u8>, Vec<u8>> = found
        .nodes
        .iter()
        .filter_map(|(path, node)| match node {
            Node::Symlink { target, .. } => Some((path.clone(), target.clone())),
            _ => None,
        })
        .collect();
    for path in targets.keys() {
        assert!(!links::leaves(&targets, path), "a link leads out: {targets:?}");
    }
}

fn agrees(line: &Line, node: &Node) {
    match (&line.kind, node) {
        (Kind::Directory, Node::Directory) => {}
        (
            Kind::File { size, executable, digest },
            Node::File { mode, size: on_disk, digest: found, .. },
        ) => {
            assert_eq!((size, digest), (on_disk, found), "{line:?}");
            assert_eq!(*mode, if *executable { 0o555 } else { 0o444 }, "{line:?}");
        }
        (Kind::Symlink { target }, Node::Symlink { target: found, .. }) => {
            assert_eq!(target.as_bytes(), found);
        }
        // Its original may have been replaced since; that it is one of several names is all there is.
        (Kind::HardLink { .. }, Node::File { .. } | Node::Symlink { .. }) => {}
        _ => panic!("{line:?} is {node:?} on disk"),
    }
}

fn path_is_parent(path: &[u8], lines: &BTreeMap<Vec<u8>, &Line>) -> bool {
    let below = [path, b"/"].concat();
    lines.range(below.clone()..).next().is_some_and(|(path, _)| path.starts_with(&below))
}

#[derive(Debug, Default)]
struct Found {
    nodes: BTreeMap<Vec<u8>, Node>,
    inodes: BTreeSet<u64>,
    bytes: u64,
    disk: u64,
}

impl Found {
    fn walk(&mut self, dir: &Path, prefix: &[u8]) {
        for entry in fs::read_dir(dir).expect("a directory") {
            let entry = entry.expect("an entry");
            let facts = entry.metadata().expect("what it is");
            let path = [prefix, entry.file_name().as_bytes()].concat();
            let inode = facts.ino();
            let new = self.inodes.insert(inode);
            if new {
                self.disk += facts.blocks() * 512;
            }
            let mode = facts.permissions().mode() & 0o7777;
            let node = if facts.is_dir() {
                assert_eq!(mode, 0o555);
                self.walk(&entry.path(), &[&path[..], b"/"].concat());
                Node::Directory
            } else if facts.is_symlink() {
                let target = fs::read_link(entry.path()).expect("a target");
                Node::Symlink { inode, target: target.as_os_str().as_bytes().to_vec() }
            } else {
                assert!(facts.is_file(), "{path:?} is something special");
                if new {
                    self.bytes += facts.len();
                }
                let content = fs::read(entry.path()).expect("content");
                Node::File { inode, mode, size: facts.len(), digest: Digest::of(&content) }
            };
            self.nodes.insert(path, node);
        }
    }
}

/// A file system in memory: nothing is to last, and thousands a second are made.
const MEMORY: &str = "/dev/shm";
/// What hostile seeds name with an absolute path.
const ABSOLUTE: &str = "/dev/shm/fettle-fuzz-escaped";
