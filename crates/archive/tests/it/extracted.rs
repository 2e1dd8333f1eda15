//! Archives of every writer at hand: the tree that we read is the one that every reader at hand
//! extracts.
#![expect(clippy::disallowed_methods, reason = "trees of a test need not outlast a power cut")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use archive::{Container, Encoding, Entries, EntryKind, Limits, ZipReader, open};

use crate::foreign::tree;

/// What is under a name: directories, links with their targets, files with their time, whether they
/// may be executed, and content.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    Directory,
    Symlink(Vec<u8>),
    File { seconds: i64, executable: bool, content: Vec<u8> },
}

type Tree = BTreeMap<Vec<u8>, Node>;

const TARS: [(&str, &str); 12] = [
    ("tar", "tar --format=v7 --exclude=deep -cf \"$1\" ."),
    ("tar", "tar --format=ustar --exclude=deep -cf \"$1\" ."),
    ("tar", "tar --format=oldgnu -cf \"$1\" ."),
    ("tar", "tar --format=gnu -cf \"$1\" ."),
    ("tar", "tar --format=posix --pax-option=globexthdr.name=g,comment=c -cf \"$1\" ."),
    ("bsdtar", "bsdtar --format=v7 --exclude=deep -cf \"$1\" . 2>/dev/null"),
    ("bsdtar", "bsdtar --format=ustar --exclude=deep -cf \"$1\" . 2>/dev/null"),
    ("bsdtar", "bsdtar --format=gnutar -cf \"$1\" . 2>/dev/null"),
    // It cannot turn the names into UTF-8 here, and says so with `hdrcharset`.
    ("bsdtar", "LC_ALL=C bsdtar --format=pax -cf \"$1\" . 2>/dev/null"),
    (
        "python3",
        "python3 -c 'import sys, tarfile; t = tarfile.open(sys.argv[1], \"w\", format=tarfile.PAX_FORMAT); t.add(\".\"); t.close()' \"$1\"",
    ),
    (
        "python3",
        "python3 -c 'import sys, tarfile; t = tarfile.open(sys.argv[1], \"w\", format=tarfile.GNU_FORMAT); t.add(\".\"); t.close()' \"$1\"",
    ),
    (
        "git",
        "git init -q . && git add . && git -c user.name=n -c user.email=e commit -qm m && git archive --format=tar -o \"$1\" HEAD && rm -rf .git",
    ),
];

const ZIPS: [(&str, &str); 8] = [
    ("zip", "zip -q -r -y \"$1\" ."),
    ("zip", "zip -q -r -y -Z bzip2 \"$1\" ."),
    ("zip", "zip -q -r -y - . > \"$1\""),
    ("bsdtar", "LC_ALL=C.UTF-8 bsdtar --format=zip -cf \"$1\" ."),
    ("bsdtar", "LC_ALL=C.UTF-8 bsdtar --format=zip -cf - . | cat > \"$1\""),
    (
        "bsdtar",
        "LC_ALL=C.UTF-8 bsdtar --format=zip --options zip:compression=store -cf - . | cat > \"$1\"",
    ),
    (
        "git",
        "git init -q . && git add . && git -c user.name=n -c user.email=e commit -qm m && git archive --format=zip -o \"$1\" HEAD && rm -rf .git",
    ),
    (
        "python3",
        "python3 -c 'import sys, shutil; shutil.make_archive(sys.argv[1][:-4], \"zip\", \".\")' \"$1\"",
    ),
];

#[test]
fn a_tar_of_any_writer_is_what_any_reader_extracts() {
    // Not Python's: it sets the mode of the file behind a hard link to a symbolic link. What it
    // reads is compared in `foreign`.
    let readers = [("tar", "tar -xf \"$1\""), ("bsdtar", "bsdtar -xf \"$1\"")];
    compare(&TARS, &readers, Container::Tar);
}

#[test]
fn a_zip_of_any_writer_is_what_any_reader_extracts() {
    let readers = [("unzip", "unzip -q \"$1\""), ("bsdtar", "LC_ALL=C.UTF-8 bsdtar -xf \"$1\"")];
    compare(&ZIPS, &readers, Container::Zip);
}

fn compare(writers: &[(&str, &str)], readers: &[(&str, &str)], container: Container) {
    let dir = tempfile::tempdir().unwrap();
    let tree = tree(dir.path());
    if container == Container::Tar {
        symlink("file", tree.join("sub/a link")).unwrap();
        // Another name of the link itself.
        fs::hard_link(tree.join("sub/a link"), tree.join("sub/same link")).unwrap();
    }
    for (writer, command) in writers {
        let archive = dir.path().join("archive.zip");
        if !run(writer, command, &tree, &archive) {
            continue;
        }
        let ours = ours(&archive, container);
        assert!(ours.len() > 5, "{command}");
        for (reader, extract) in readers {
            let target = dir.path().join("extracted");
            fs::create_dir(&target).unwrap();
            if run(reader, extract, &target, &archive) {
                let mut theirs = Tree::new();
                walk(&target, &target, &mut theirs);
                for (path, node) in &theirs {
                    let name = String::from_utf8_lossy(path);
                    assert_eq!(ours.get(path), Some(node), "{command} | {extract}: {name}");
                }
                assert_eq!(ours.len(), theirs.len(), "{command} | {extract}");
            }
            fs::remove_dir_all(&target).unwrap();
        }
        fs::remove_file(&archive).unwrap();
    }
}

fn run(program: &str, command: &str, directory: &Path, archive: &Path) -> bool {
    let there = Command::new("sh").args(["-c", &format!("command -v {program}")]).output().unwrap();
    if !there.status.success() {
        println!("skipped a part: no {program}");
        return false;
    }
    let done = Command::new("sh")
        .args(["-c", command, "sh"])
        .arg(archive)
        .current_dir(directory)
        .env("TZ", "UTC")
        .output()
        .unwrap();
    assert!(done.status.success(), "{command}: {done:?}");
    true
}

fn walk(top: &Path, directory: &Path, tree: &mut Tree) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let meta = fs::symlink_metadata(&path).unwrap();
        let node = if meta.is_dir() {
            walk(top, &path, tree);
            Node::Directory
        } else if meta.is_symlink() {
            Node::Symlink(fs::read_link(&path).unwrap().into_os_string().as_bytes().to_vec())
        } else {
            let (seconds, executable) = (meta.mtime(), meta.mode() & 0o111 != 0);
            Node::File { seconds, executable, content: fs::read(&path).unwrap() }
        };
        let name: PathBuf = path.strip_prefix(top).unwrap().into();
        tree.insert(name.into_os_string().as_bytes().to_vec(), node);
    }
}

/// What a writer makes of our entries; of a zip, read both ways.
fn ours(archive: &Path, container: Container) -> Tree {
    let file = File::open(archive).unwrap();
    let mut entries = open(file, container, Encoding::Identity, Limits::default()).unwrap();
    let tree = built(&mut *entries);
    if container == Container::Zip {
        let bytes = fs::read(archive).unwrap();
        let mut reader = ZipReader::new(std::io::Cursor::new(&bytes), Limits::default()).unwrap();
        while let Some((entry, packed)) = reader.next_apart().unwrap() {
            let Some(packed) = packed else { continue };
            let mut content = Vec::new();
            let input = &bytes[packed.offset() as usize..];
            std::io::Read::read_to_end(&mut packed.open(input), &mut content).unwrap();
            let Some(Node::File { content: one, .. }) = tree.get(entry.path.as_bytes()) else {
                panic!("{entry:?}")
            };
            assert!(*one == content, "{entry:?}");
        }
    }
    tree
}

fn built(entries: &mut dyn Entries) -> Tree {
    let mut tree = Tree::new();
    while let Some(entry) = entries.next_entry().unwrap() {
        let path = entry.path.as_bytes();
        for (at, _) in path.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
            tree.insert(path[..at].to_vec(), Node::Directory);
        }
        let node = match entry.kind {
            EntryKind::Directory => Node::Directory,
            EntryKind::Symlink { target } => Node::Symlink(target.as_bytes().to_vec()),
            EntryKind::HardLink { original } => tree[original.as_bytes()].clone(),
            EntryKind::File { executable, .. } => {
                let mut content = Vec::new();
                std::io::Read::read_to_end(entries, &mut content).unwrap();
                Node::File { seconds: entry.modified.unwrap().seconds, executable, content }
            }
        };
        tree.insert(path.to_vec(), node);
    }
    tree
}
