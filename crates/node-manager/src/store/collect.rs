//! Collecting what nothing refers to. Owns the order that makes it safe beside running operations;
//! what is garbage, `garbage` decides.
//!
//! An operation says (in memory at least) what it counts on before it looks into the store, and a look holds the store's
//! lock shared. Here the lock is held alone from reading those records to taking the names away. So what
//! an operation has seen was wanted before it looked, and stays; what goes, it has not seen. Operations
//! are read before links, since one that ends in between has made its links by then.
//!
//! What lies in `trash/` since somebody could not delete it is tried again each time.
//!
//! A crash leaves some of it gone and some of it garbage still, or in `trash/`; nothing in between.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use durable::{DiskError, Kind, Thrown};
use model::Digest;
use wire::v1::{CollectedBody, GarbageKind, GarbageLine};

use super::Store;
use super::garbage::{Garbage, Present, Roots, garbage};
use super::roots::{self, RootsError};
use super::size::taken;
use crate::layout;

/// Reads what unfinished operations count on.
pub(crate) type Wanted<'a> = &'a dyn Fn() -> Result<BTreeSet<Digest>, RootsError>;

/// What would go if it were collected now.
pub(crate) fn list(store: &Store, wanted: Wanted<'_>) -> Result<Vec<GarbageLine>, RootsError> {
    let found = {
        let _look = store.look();
        find(store, wanted)?
    };
    let line = |item: Garbage| {
        let bytes = taken(store.disk(), &path_of(store, &item))?.bytes;
        Ok(GarbageLine { kind: item.kind(), name: item.name(), bytes })
    };
    found.into_iter().map(line).collect()
}

/// Collects it.
pub(crate) fn collect(store: &Store, wanted: Wanted<'_>) -> Result<CollectedBody, RootsError> {
    // First what somebody could not delete before: names of blobs may be among it.
    let mut freed = 0;
    let mut failed = match store.disk().left_in_trash() {
        Ok(left) => delete(store, left, &mut freed),
        Err(error) => Some(error),
    };
    let (found, thrown) = {
        let _alone = store.alone();
        let found = find(store, wanted)?;
        let paths: Vec<PathBuf> = found.iter().map(|item| path_of(store, item)).collect();
        (found, store.disk().throw_away(&paths)?)
    };
    let count = |kind| found.iter().filter(|item| item.kind() == kind).count() as u64;
    let mut collected = CollectedBody {
        bytes: freed,
        blobs: count(GarbageKind::Blob),
        trees: count(GarbageKind::Tree),
        partial: count(GarbageKind::Partial),
    };
    // One that cannot be deleted keeps the others from nothing.
    failed = delete(store, thrown, &mut collected.bytes).or(failed);
    failed.map_or(Ok(collected), |error| Err(error.into()))
}

/// Deletes what has lost its name, and counts what it took. The first failure, if there is one.
fn delete(store: &Store, thrown: Vec<Thrown>, freed: &mut u64) -> Option<DiskError> {
    let mut failed = None;
    for gone in thrown {
        let bytes = taken(store.disk(), &gone.path()).map_or(0, |room| room.bytes);
        match Thrown::delete(gone) {
            Ok(()) => *freed = freed.saturating_add(bytes),
            Err(error) => drop(failed.get_or_insert(error)),
        }
    }
    failed
}

fn find(store: &Store, wanted: Wanted<'_>) -> Result<Vec<Garbage>, RootsError> {
    let wanted = wanted()?;
    let roots = Roots { linked: roots::linked(store.disk())?, wanted };
    Ok(garbage(&roots, &present(store)?))
}

/// What is in the store. Names that are not ours are not seen, and so stay.
fn present(store: &Store) -> Result<Present, DiskError> {
    let disk = store.disk();
    let mut present = Present::default();
    for key in store.blobs().keys() {
        let key = key?;
        if let Some(stat) = disk.metadata(&store.blobs().path_of(key))? {
            present.blobs.push((Digest::from_bytes(key.0), stat.nlink));
        }
    }
    present.trees = store.trees()?;
    for entry in disk.list(Path::new("staging"))? {
        let digest = entry.name.to_str().and_then(layout::partial_digest);
        present.partial.extend(digest.filter(|_| entry.kind == Kind::File));
    }
    Ok(present)
}

fn path_of(store: &Store, item: &Garbage) -> PathBuf {
    match item {
        Garbage::Blob(digest) => store.blobs().path_of(layout::key(digest)),
        Garbage::Tree(name, digest) => layout::tree_named(digest, name),
        Garbage::Partial(digest) => layout::partial_path(digest),
    }
}
