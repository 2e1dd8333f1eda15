//! Looking whether content is what its name says: blobs against their digests and modes, every name that
//! versions have for them, trees against their manifests. Reads and changes nothing; a file is read in
//! small pieces, and of what is wrong no more than the first findings are remembered.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use durable::{DiskError, Kind};
use model::{Digest, Hasher, counted};
use unpacker::manifest::Kind as LineKind;
use unpacker::{MANIFEST, ManifestReader};

use super::Store;
use super::examine_tree::{examine_tree, is, mark, wrong_mode};
use super::needs::Need;
use crate::layout;

/// What is wrong with the content of one digest.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// What is wrong with the blob.
    pub(crate) blob: Option<Wrong>,
    /// A name of the blob in a version that leads to the right bytes, where the blob has others or is
    /// missing.
    pub(crate) intact: Option<PathBuf>,
    /// Names of the blob in versions, and what is wrong with each.
    pub(crate) names: Vec<(PathBuf, String)>,
    /// So many names are files of their own, of the right bytes and mode: no damage, since a blob that has
    /// all names that its file system gives a file gets a copy; see [`Disk::relink`](durable::Disk::relink).
    pub(crate) copies: u64,
    /// Trees by name, and what is wrong in each.
    pub(crate) trees: Vec<(String, Flaws)>,
}

/// What is wrong with a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// It is missing, or is something else.
    Content(String),
    /// Its bytes are right, and its mode is not.
    Mode(String),
}

/// One thing that is wrong in a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Flaw {
    /// Where in the tree; `None` if it is about the tree.
    pub(crate) path: Option<PathBuf>,
    /// In which way.
    pub(crate) what: String,
}

/// What is wrong in a tree: all of it is counted, the first of it remembered.
#[derive(Debug, Default)]
pub(crate) struct Flaws {
    /// How much.
    pub(crate) all: u64,
    /// Which.
    pub(crate) first: Vec<Flaw>,
}

impl Flaws {
    /// One more.
    pub(super) fn add(&mut self, path: Option<PathBuf>, what: String) {
        self.all += 1;
        if self.first.len() < REMEMBERED {
            self.first.push(Flaw { path, what });
        }
    }
}

impl Wrong {
    /// In words.
    pub(crate) fn what(&self) -> &str {
        let (Wrong::Content(what) | Wrong::Mode(what)) = self;
        what
    }
}

impl Findings {
    /// Is everything as it should be?
    pub(crate) fn is_empty(&self) -> bool {
        self.blob.is_none() && self.names.is_empty() && self.trees.is_empty()
    }

    /// Are there names to be put right, or to be joined to the blob?
    pub(crate) fn want_names(&self) -> bool {
        self.blob.is_some() || !self.names.is_empty() || self.copies > 0
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
    findings.blob = match &there {
        // What nothing needs may be absent.
        Ok(None) if need.is_none() => None,
        Ok(None) => Some(Wrong::Content("it is missing".to_owned())),
        Ok(Some(stat)) if stat.kind != Kind::File => Some(Wrong::Content(is(*stat, "a file"))),
        Ok(Some(stat)) => match wrong_content(store, &blob, digest, read) {
            Some(what) => Some(Wrong::Content(what)),
            None => {
                let right = need.map(|need| need.mode_for(stat.mode));
                let wrong = right.filter(|right| *right != stat.mode);
                wrong.map(|right| Wrong::Mode(wrong_mode(*stat, right)))
            }
        },
        Err(error) => Some(Wrong::Content(error.to_string())),
    };
    let ino = there.ok().flatten().map(|stat| stat.ino);
    // One file may have many names, and is read once.
    let mut seen = HashMap::new();
    for name in need.iter().flat_map(|need| &need.names) {
        let what = match store.disk().metadata(name) {
            // A version goes as a whole, with its installation.
            Ok(None) if is_gone(store, name) => None,
            Ok(None) => Some("it is missing".to_owned()),
            Ok(Some(stat)) if Some(stat.ino) == ino => None, // it was looked at already
            Ok(Some(stat)) if stat.kind != Kind::File => Some(is(stat, "a file")),
            Ok(Some(stat)) => {
                let content = || wrong_content(store, name, digest, read);
                let what = seen.entry(stat.ino).or_insert_with(content).clone();
                match (what, &findings.blob) {
                    (None, Some(Wrong::Content(_))) => {
                        findings.intact.get_or_insert_with(|| name.clone());
                        None
                    }
                    (None, _) => {
                        let right = need.map_or(stat.mode, |need| need.mode_for(stat.mode));
                        findings.copies += u64::from(right == stat.mode);
                        (right != stat.mode).then(|| wrong_mode(stat, right))
                    }
                    (what, _) => what,
                }
            }
            Err(error) => Some(error.to_string()),
        };
        findings.names.extend(what.map(|what| (name.clone(), what)));
    }
    for tree in trees {
        let flaws = examine_tree(store, digest, tree, read);
        if flaws.all > 0 {
            findings.trees.push((tree.clone(), flaws));
        }
    }
    findings
}

/// Whether the installation of this name in a version is not there any more.
fn is_gone(store: &Store, name: &Path) -> bool {
    let installation = layout::installation_of(name);
    installation.is_some_and(|path| matches!(store.disk().metadata(path), Ok(None)))
}

/// Whether a name of a blob is a file of the right bytes and mode, be it another than the blob.
pub(crate) fn is_right(store: &Store, name: &Path, digest: &Digest, need: &Need) -> bool {
    let stat = store.disk().metadata(name).ok().flatten();
    stat.is_some_and(|stat| stat.kind == Kind::File && need.mode_for(stat.mode) == stat.mode)
        && wrong_content(store, name, digest, &|_| {}).is_none()
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

pub(super) fn wrong_content(
    store: &Store,
    path: &Path,
    digest: &Digest,
    read: &dyn Fn(u64),
) -> Option<String> {
    match hash(store, path, read) {
        Ok(Some((_, found))) if found == *digest => None,
        Ok(Some((size, found))) => {
            Some(format!("it has {} with the digest {found}", counted(size, "byte")))
        }
        Ok(None) => Some("it is missing".to_owned()),
        Err(why) => Some(why),
    }
}

/// Size and digest of a file.
pub(super) fn hash(
    store: &Store,
    path: &Path,
    read: &dyn Fn(u64),
) -> Result<Option<(u64, Digest)>, String> {
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

pub(super) fn words(error: &DiskError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("it cannot be read: {source}"),
        None => error.to_string(),
    }
}

const PIECE: usize = 64 * 1024;
/// What is wrong and told one by one.
pub(crate) const REMEMBERED: usize = 1000;
