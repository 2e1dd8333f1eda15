//! From an archive to a tree in the store: what it may amount to, and the tree's name when it is whole.
//!
//! How entries become files, and in which process, is `unpacker`'s. The tree has no name before
//! [`Unpacked::publish`]; a crash leaves a directory in staging.

use std::fs::File;
use std::io::Read;

use archive::{Container, Limits};
use durable::{DiskError, Mended, Seal, StagedDir};
use model::{Measured, Pin};
use unpacker::{How, Outcome, Source, UnpackError};

use crate::layout;
use crate::store::{Store, TreeKey, Unpacking};

/// A whole tree without a name.
#[derive(Debug)]
pub(crate) struct Unpacked {
    tree: StagedDir,
    key: TreeKey,
    outcome: Outcome,
    _under_way: Unpacking,
}

/// Unpacks a tar as it comes.
pub(crate) fn unpack_stream(
    store: &Store,
    key: TreeKey,
    measured: Option<Measured>,
    input: &mut dyn Read,
) -> Result<Unpacked, UnpackError> {
    unpack(store, key, measured, Source::Stream(input))
}

/// Unpacks a blob of the store.
pub(crate) fn unpack_blob(store: &Store, pin: &Pin, key: TreeKey) -> Result<Unpacked, UnpackError> {
    let file: Option<File> = store.blobs().open(layout::key(&pin.digest))?;
    let gone = || UnpackError::Input { message: format!("the store has no {}", pin.digest) };
    unpack(store, key, pin.measured, Source::File(file.ok_or_else(gone)?))
}

impl Unpacked {
    /// Gives the tree its name, synced, unless it is there already. Says what was left out.
    pub(crate) fn publish(self, store: &Store) -> Result<Outcome, DiskError> {
        let path = layout::tree(&self.key);
        store.disk().make_dir(path.parent().unwrap_or(&layout::trees()), 0o755)?;
        self.tree.publish(&path, Seal::ReadOnly)?;
        Ok(self.outcome)
    }

    /// Makes the tree of this name what it should be: whole if it is missing, else entry by entry.
    pub(crate) fn mend(self, store: &Store, name: &str) -> Result<Mended, DiskError> {
        let path = layout::tree_named(self.key.digest(), name);
        if store.disk().metadata(&path)?.is_some() {
            return store.disk().mend_tree(&path, self.tree);
        }
        store.disk().make_dir(path.parent().unwrap_or(&layout::trees()), 0o755)?;
        self.tree.publish(&path, Seal::ReadOnly)?;
        Ok(Mended { replaced: 1, ..Mended::default() })
    }
}

fn unpack(
    store: &Store,
    key: TreeKey,
    measured: Option<Measured>,
    source: Source<'_>,
) -> Result<Unpacked, UnpackError> {
    let limits = limits(measured, *store.unmeasured());
    let window = measured.map_or(limits.window, |measured| measured.window);
    let how = How {
        container: key.container(),
        encoding: key.encoding(),
        limits,
        writers: writers(key.container(), window, store.unmeasured().window),
    };
    let mut tree = store.disk().stage_dir()?;
    let _under_way = store.begin_unpacking(&key.to_string(), tree.path());
    let outcome = store.unpacker().unpack(&mut tree, how, source)?;
    Ok(Unpacked { tree, key, outcome, _under_way })
}

/// What an archive may amount to: what was measured when it was published, so that a bomb stops at the
/// first byte beyond and an honest giant passes. `unmeasured` holds for one without figures.
fn limits(measured: Option<Measured>, unmeasured: Limits) -> Limits {
    let Some(measured) = measured else { return unmeasured };
    Limits {
        // Names of directories that no entry mentions count too.
        entries: measured.entries.saturating_add(measured.inodes),
        unpacked_bytes: measured.unpacked_bytes,
        largest_file: measured.largest_file,
        inodes: measured.inodes,
        longest_path: measured.deepest_path,
        disk_bytes: match measured.disk_bytes {
            0 if measured.inodes > 0 => u64::MAX, // younger than the other figures too
            bytes => bytes,
        },
        // Memory is this machine's, whatever was measured.
        window: match measured.window {
            0 => unmeasured.window, // figures of before it was one of them
            window => window.min(unmeasured.window),
        },
        metadata_bytes: Limits::default().metadata_bytes,
    }
}

/// Threads beside the one that decodes. Of a zip, whose files are unpacked by them, one for each core, and
/// no more than the windows of all of them together may take.
fn writers(container: Container, window: u64, ceiling: u64) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    match container {
        Container::Tar => (cores - 1).clamp(1, 4),
        Container::Zip => {
            let windows = ceiling.checked_div(window).unwrap_or(u64::MAX);
            cores.min(usize::try_from(windows).unwrap_or(usize::MAX)).clamp(1, 8)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_windows_of_all_threads_together_stay_below_the_ceiling() {
        let many = writers(Container::Zip, 0, 128 << 20);
        assert_eq!(many, std::thread::available_parallelism().map_or(1, usize::from).clamp(1, 8));
        assert_eq!(writers(Container::Zip, 8 << 20, 128 << 20), many);
        assert_eq!(writers(Container::Zip, 100 << 20, 128 << 20), 1);
        assert!(writers(Container::Tar, 128 << 20, 128 << 20) >= 1);
    }

    #[test]
    fn the_figures_of_the_publisher_are_the_limits_and_defaults_hold_without_them() {
        let measured = Measured {
            entries: 2,
            unpacked_bytes: 1 << 50,
            largest_file: 1 << 49,
            inodes: 5,
            deepest_path: 9,
            disk_bytes: 0,
            window: 1 << 20,
        };
        let from_figures = limits(Some(measured), Limits::default());
        assert_eq!((from_figures.unpacked_bytes, from_figures.window), (1 << 50, 1 << 20));
        let large = Measured { window: 1 << 30, ..measured };
        assert_eq!(limits(Some(large), Limits::default()).window, 128 << 20);
        assert_eq!((from_figures.entries, from_figures.inodes), (7, 5));
        let small = Limits { unpacked_bytes: 7, ..Limits::default() };
        assert_eq!(limits(None, small), small);
    }
}
