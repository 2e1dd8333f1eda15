//! Looking whether content is what its name says: blobs against their digests, trees against their
//! manifests. Reads and changes nothing; a file is read in small pieces, and of a tree no more than a
//! fingerprint of each path is in memory.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use durable::{DiskError, Kind, Stat};
use model::{Digest, Hasher};
use unpacker::manifest::{Kind as LineKind, Line};
use unpacker::{FILES, MANIFEST, ManifestReader};

use super::Store;
use super::needs::Need;
use crate::layout;

/// What is wrong with the content of one digest.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// The blob is missing, or is something else.
    pub(crate) blob: Option<String>,
    /// Names of the blob in versions, and what is wrong with each.
    pub(crate) names: Vec<(PathBuf, String)>,
    /// Trees by name, and what is wrong in each.
    pub(crate) trees: Vec<(String, Vec<Flaw>)>,
}

/// One thing that is wrong in a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Flaw {
    /// Where in the tree; `None` if it is about the tree.
    pub(crate) path: Option<PathBuf>,
    /// In which way.
    pub(crate) what: String,
}

impl Findings {
    /// Is everything as it should be?
    pub(crate) fn is_empty(&self) -> bool {
        self.blob.is_none() && self.names.is_empty() && self.trees.is_empty()
    }
}

/// Looks at a blob, its names and the trees that were made of it. `read` hears how many bytes were read.
pub(crate) fn examine(
    store: &Store,
    digest: &Digest,
    need: Option<&Need>,
    trees: &[String],
    read: &dyn Fn(u64),
) -> Findings {
    let mut findings = Findings::default();
    let blob = store.blobs().path_of(layout::key(digest));
    let there = store.disk().metadata(&blob);
    match &there {
        // What nothing needs may be absent.
        Ok(None) if need.is_none() => {}
        Ok(None) => findings.blob = Some("it is missing".to_owned()),
        Ok(Some(_)) => findings.blob = wrong_content(store, &blob, digest, read),
        Err(error) => findings.blob = Some(error.to_string()),
    }
    let ino = there.ok().flatten().map(|stat| stat.ino);
    for name in need.iter().flat_map(|need| &need.names) {
        let what = match store.disk().metadata(name) {
            Ok(None) => Some("it is missing".to_owned()),
            // The same file was looked at already.
            Ok(Some(stat)) if Some(stat.ino) == ino => None,
            Ok(Some(_)) => wrong_content(store, name, digest, read),
            Err(error) => Some(error.to_string()),
        };
        findings.names.extend(what.map(|what| (name.clone(), what)));
    }
    for tree in trees {
        let flaws = examine_tree(store, digest, tree, read);
        if !flaws.is_empty() {
            findings.trees.push((tree.clone(), flaws));
        }
    }
    findings
}

/// So many bytes will be read, as far as sizes and manifests say.
pub(crate) fn bytes_of(store: &Store, digest: &Digest, trees: &[String]) -> u64 {
    let blob = store.blobs().contains(layout::key(digest)).ok().flatten().unwrap_or_default();
    let of_tree = |tree: &String| -> u64 {
        let manifest = layout::tree_named(digest, tree).join(MANIFEST);
        let Ok(Some(file)) = store.disk().open_file(&manifest) else { return 0 };
        // Of a path that comes again, the last line holds.
        let mut sizes = HashMap::new();
        for line in ManifestReader::new(BufReader::new(file)).map_while(Result::ok) {
            let size = match line.kind {
                LineKind::File { size, .. } => size,
                _ => 0,
            };
            sizes.insert(mark(line.path.as_path()), size);
        }
        sizes.into_values().fold(0, u64::saturating_add)
    };
    trees.iter().map(of_tree).fold(blob, u64::saturating_add)
}

fn wrong_content(
    store: &Store,
    path: &Path,
    digest: &Digest,
    read: &dyn Fn(u64),
) -> Option<String> {
    match hash(store, path, read) {
        Ok(Some((_, found))) if found == *digest => None,
        Ok(Some((size, found))) => Some(format!("its {size} bytes have the digest {found}")),
        Ok(None) => Some("it is missing".to_owned()),
        Err(why) => Some(why),
    }
}

/// Size and digest of a file.
fn hash(store: &Store, path: &Path, read: &dyn Fn(u64)) -> Result<Option<(u64, Digest)>, String> {
    let opened = store.disk().open_file(path).map_err(|error| words(&error))?;
    let Some(mut file): Option<File> = opened else { return Ok(None) };
    let (mut hasher, mut size, mut buffer) = (Hasher::new(), 0, vec![0; PIECE]);
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(Some((size, hasher.finish()))),
            Ok(count) => {
                hasher.update(&buffer[..count]);
                size += count as u64;
                read(count as u64);
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(format!("it cannot be read: {error}")),
        }
    }
}

fn words(error: &DiskError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("it cannot be read: {source}"),
        None => error.to_string(),
    }
}

/// Looks at a tree: every entry of its manifest, and what is there beside them.
fn examine_tree(store: &Store, digest: &Digest, name: &str, read: &dyn Fn(u64)) -> Vec<Flaw> {
    let path = layout::tree_named(digest, name);
    let mut look = Look { store, files: path.join(FILES), flaws: Vec::new(), read };
    let about = |what: String| vec![Flaw { path: None, what }];
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
        Err(what) => look.flaws.push(Flaw { path: None, what }),
        Ok(replaced) => match manifest().and_then(|lines| look.lines(lines, &replaced)) {
            Err(what) => look.flaws.push(Flaw { path: None, what }),
            Ok(known) => look.beside(&path, &known),
        },
    }
    look.flaws
}

/// A fingerprint of a path: two of them that are alike are the same path.
type Mark = [u8; 16];

fn mark(path: &Path) -> Mark {
    let digest = Digest::of(path.as_os_str().as_encoded_bytes());
    let mut mark = [0; 16];
    mark.copy_from_slice(&digest.as_bytes()[..16]);
    mark
}

struct Look<'a> {
    store: &'a Store,
    files: PathBuf,
    flaws: Vec<Flaw>,
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
                self.flaws.push(Flaw { path: Some(path.to_owned()), what });
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
                        _ => Some(format!("it is another file than `{}`", original.display())),
                    }
                }
            },
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
            return Some(format!("it has {} bytes, and {size} are right", stat.size));
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
            self.flaws.push(Flaw { path: None, what: words(&error) });
            Vec::new()
        });
        for entry in top {
            if entry.name != FILES && entry.name != MANIFEST {
                let what = "it has no place beside the files".to_owned();
                self.flaws.push(Flaw { path: Some(PathBuf::from(entry.name)), what });
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
                    self.flaws.push(Flaw { path: Some(path), what: words(&error) });
                    continue;
                }
            };
            if stat.mode != 0o555 {
                let what = wrong_mode(stat, 0o555);
                self.flaws.push(Flaw { path: Some(path.clone()), what });
            }
            for entry in list {
                let path = path.join(entry.name);
                let known = known.get(&mark(&path));
                if known.is_none() {
                    let what = "it has no place here".to_owned();
                    self.flaws.push(Flaw { path: Some(path), what });
                } else if entry.kind == Kind::Directory && known == Some(&true) {
                    waiting.push(path);
                }
            }
        }
    }
}

fn wrong_mode(stat: Stat, right: u32) -> String {
    format!("its mode is {:04o}, and {right:04o} is right", stat.mode)
}

fn is(stat: Stat, wanted: &str) -> String {
    let found = match stat.kind {
        Kind::File => "a file",
        Kind::Directory => "a directory",
        Kind::Link => "a symbolic link",
        Kind::Other => "something else",
    };
    format!("it is {found}, and {wanted} is right")
}

const PIECE: usize = 64 * 1024;
/// What a further name stands for: what its original was then, if that came again, else the original.
fn first(kind: &LineKind, before: &HashMap<Mark, LineKind>) -> LineKind {
    let LineKind::HardLink { original } = kind else { return kind.clone() };
    before.get(&mark(original.as_path())).unwrap_or(kind).clone()
}
