//! Looking through one unpacked tree: every entry of its manifest, and what is there beside them. Reads and
//! changes nothing; of a tree no more than a fingerprint of each path is in memory.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use durable::{Kind, Stat};
use model::{Digest, counted};
use unpacker::manifest::{Kind as LineKind, Line};
use unpacker::{FILES, MANIFEST, ManifestReader};

use super::Store;
use super::examine::{Flaws, hash, words, wrong_content};
use crate::layout;

/// Looks at a tree: every entry of its manifest, and what is there beside them.
pub(super) fn examine_tree(
    store: &Store,
    digest: &Digest,
    name: &str,
    read: &dyn Fn(u64),
) -> Flaws {
    let path = layout::tree_named(digest, name);
    let twins = RefCell::default();
    let mut look = Look { store, files: path.join(FILES), flaws: Flaws::default(), twins, read };
    let about = |what: String| {
        let mut flaws = Flaws::default();
        flaws.add(None, what);
        flaws
    };
    match store.disk().metadata(&path) {
        Ok(Some(stat)) if stat.kind == Kind::Directory => {}
        Ok(Some(_)) => return about("it is no directory".to_owned()),
        Ok(None) => return about("it is missing".to_owned()),
        Err(error) => return about(words(&error)),
    }
    let manifest = || {
        let opened = store.disk().open_file(&path.join(MANIFEST)).map_err(|error| words(&error))?;
        opened.ok_or_else(|| "its manifest is missing".to_owned())
    };
    let manifest = || manifest().map(|file| ManifestReader::new(BufReader::new(file)));
    match manifest().and_then(|lines| look.replaced(lines)) {
        Err(what) => look.flaws.add(None, what),
        Ok(replaced) => match manifest().and_then(|lines| look.lines(lines, &replaced)) {
            Err(what) => look.flaws.add(None, what),
            Ok(known) => look.beside(&path, &known),
        },
    }
    look.flaws
}

/// A fingerprint of a path: two of them that are alike are the same path.
pub(super) type Mark = [u8; 16];

pub(super) fn mark(path: &Path) -> Mark {
    let digest = Digest::of(path.as_os_str().as_encoded_bytes());
    let mut mark = [0; 16];
    mark.copy_from_slice(&digest.as_bytes()[..16]);
    mark
}

struct Look<'a> {
    store: &'a Store,
    files: PathBuf,
    flaws: Flaws,
    /// Whether two files are the same, by their inodes.
    twins: RefCell<HashMap<(u64, u64), bool>>,
    read: &'a dyn Fn(u64),
}

type Lines = ManifestReader<BufReader<File>>;

impl Look<'_> {
    /// Paths that come again, and the number of the line that holds for each.
    fn replaced(&self, lines: Lines) -> Result<HashMap<Mark, u64>, String> {
        let mut replaced = HashMap::new();
        for (number, line) in (0..).zip(lines) {
            let line = line.map_err(|error| error.to_string())?;
            if line.replaces {
                replaced.insert(mark(line.path.as_path()), number);
            }
        }
        Ok(replaced)
    }

    /// Looks at what each line says, and gives back which paths there are, and which are directories.
    fn lines(
        &mut self,
        lines: Lines,
        last: &HashMap<Mark, u64>,
    ) -> Result<HashMap<Mark, bool>, String> {
        let mut known = HashMap::new();
        // What a path was that comes again: earlier names of it stay what they were.
        let mut before: HashMap<Mark, LineKind> = HashMap::new();
        for (number, line) in (0..).zip(lines) {
            let line = line.map_err(|error| error.to_string())?;
            let path = line.path.as_path();
            let this = mark(path);
            if last.get(&this).is_some_and(|holds| number < *holds) {
                before.insert(this, first(&line.kind, &before));
                continue;
            }
            before.remove(&this);
            for above in path.ancestors().skip(1) {
                if known.insert(mark(above), true) == Some(true) {
                    break;
                }
            }
            known.insert(this, line.kind == LineKind::Directory);
            if let Some(what) = self.line(&line, &before) {
                self.flaws.add(Some(path.to_owned()), what);
            }
        }
        Ok(known)
    }

    /// What is wrong with an entry.
    fn line(&self, line: &Line, before: &HashMap<Mark, LineKind>) -> Option<String> {
        let path = self.files.join(line.path.as_path());
        let stat = match self.store.disk().metadata(&path) {
            Ok(Some(stat)) => stat,
            Ok(None) => return Some("it is missing".to_owned()),
            Err(error) => return Some(words(&error)),
        };
        match &line.kind {
            // Its mode is looked at with those of directories that have no line.
            LineKind::Directory => (stat.kind != Kind::Directory).then(|| is(stat, "a directory")),
            LineKind::File { size, executable, digest } => {
                let mode = if *executable { 0o555 } else { 0o444 };
                self.file(&path, stat, Some(mode), (*size, *digest))
            }
            LineKind::Symlink { target } => self.link(&path, stat, target.as_path()),
            LineKind::HardLink { .. } => match first(&line.kind, before) {
                LineKind::File { size, digest, .. } => self.file(&path, stat, None, (size, digest)),
                LineKind::Symlink { target } => self.link(&path, stat, target.as_path()),
                LineKind::Directory => Some("it is another name of a directory".to_owned()),
                LineKind::HardLink { original } => {
                    let original = original.as_path();
                    match self.store.disk().metadata(&self.files.join(original)) {
                        Ok(Some(first)) if first.ino == stat.ino => None,
                        // At the most names that its file system gives a file, it is a copy.
                        Ok(Some(first)) if self.is_twin(original, first, &path, stat) => None,
                        _ => Some(format!("it is another file than `{}`", original.display())),
                    }
                }
            },
        }
    }

    /// Whether two names are of files of the same content, or of links to the same.
    fn is_twin(&self, original: &Path, first: Stat, path: &Path, stat: Stat) -> bool {
        let original = self.files.join(original);
        let target = |path: &Path| self.store.disk().read_link(path).ok().flatten();
        let content = |path: &Path| hash(self.store, path, &|_| {}).ok().flatten();
        match (first.kind, stat.kind) {
            (Kind::File, Kind::File) => {
                // Two files may have many names, and are read once.
                let compare = || {
                    (first.size, first.mode) == (stat.size, stat.mode)
                        && content(path).is_some_and(|found| content(&original) == Some(found))
                };
                *self.twins.borrow_mut().entry((first.ino, stat.ino)).or_insert_with(compare)
            }
            (Kind::Link, Kind::Link) => target(path).is_some() && target(path) == target(&original),
            _ => false,
        }
    }

    fn link(&self, path: &Path, stat: Stat, target: &Path) -> Option<String> {
        if stat.kind != Kind::Link {
            return Some(is(stat, "a symbolic link"));
        }
        match self.store.disk().read_link(path) {
            Ok(Some(found)) if found == target => None,
            Ok(found) => Some(format!("it leads to `{}`", found.unwrap_or_default().display())),
            Err(error) => Some(words(&error)),
        }
    }

    fn file(
        &self,
        path: &Path,
        stat: Stat,
        mode: Option<u32>,
        (size, digest): (u64, Digest),
    ) -> Option<String> {
        if stat.kind != Kind::File {
            return Some(is(stat, "a file"));
        }
        if stat.size != size {
            let found = counted(stat.size, "byte");
            return Some(format!("it has {found}, and {size} are right"));
        }
        if let Some(what) = wrong_content(self.store, path, &digest, self.read) {
            return Some(what);
        }
        mode.filter(|mode| *mode != stat.mode).map(|mode| wrong_mode(stat, mode))
    }

    /// What is there and has no line, and directories that are not closed.
    fn beside(&mut self, tree: &Path, known: &HashMap<Mark, bool>) {
        let disk = self.store.disk();
        let top = disk.list(tree).unwrap_or_else(|error| {
            self.flaws.add(None, words(&error));
            Vec::new()
        });
        for entry in top {
            if entry.name != FILES && entry.name != MANIFEST {
                let what = "it has no place beside the files".to_owned();
                self.flaws.add(Some(PathBuf::from(entry.name)), what);
            }
        }
        let mut waiting = vec![PathBuf::new()];
        while let Some(path) = waiting.pop() {
            let whole = if path.as_os_str().is_empty() {
                self.files.clone()
            } else {
                self.files.join(&path)
            };
            let (stat, list) = match (disk.metadata(&whole), disk.list(&whole)) {
                (Ok(Some(stat)), Ok(list)) => (stat, list),
                (Ok(None), _) => continue,
                (Err(error), _) | (_, Err(error)) => {
                    self.flaws.add(Some(path), words(&error));
                    continue;
                }
            };
            if stat.mode != 0o555 {
                let what = wrong_mode(stat, 0o555);
                self.flaws.add(Some(path.clone()), what);
            }
            for entry in list {
                let path = path.join(entry.name);
                let known = known.get(&mark(&path));
                if known.is_none() {
                    let what = "it has no place here".to_owned();
                    self.flaws.add(Some(path), what);
                } else if entry.kind == Kind::Directory && known == Some(&true) {
                    waiting.push(path);
                }
            }
        }
    }
}

pub(super) fn wrong_mode(stat: Stat, right: u32) -> String {
    format!("its mode is {:04o}, and {right:04o} is right", stat.mode)
}

pub(super) fn is(stat: Stat, wanted: &str) -> String {
    let found = match stat.kind {
        Kind::File => "a file",
        Kind::Directory => "a directory",
        Kind::Link => "a symbolic link",
        Kind::Other => "something else",
    };
    format!("it is {found}, and {wanted} is right")
}

/// What a further name stands for: what its original was then, if that came again, else the original.
fn first(kind: &LineKind, before: &HashMap<Mark, LineKind>) -> LineKind {
    let LineKind::HardLink { original } = kind else { return kind.clone() };
    before.get(&mark(original.as_path())).unwrap_or(kind).clone()
}
