//! What the tests share: a place to work in that goes away afterwards.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use durable::Disk;
use tempfile::TempDir;

/// A temporary directory that goes away even if it has closed directories in it, and for an ordinary
/// user too.
pub(crate) struct Scratch(TempDir);

impl Scratch {
    pub(crate) fn new() -> Scratch {
        Scratch(tempfile::tempdir().expect("a temporary directory"))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

#[allow(clippy::disallowed_methods, reason = "cleaning up after a test promises nothing")]
impl Drop for Scratch {
    fn drop(&mut self) {
        let mut waiting = vec![self.0.path().to_path_buf()];
        while let Some(dir) = waiting.pop() {
            let _ = fs::set_permissions(&dir, Permissions::from_mode(0o700));
            for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    waiting.push(entry.path());
                }
            }
        }
    }
}

/// A new disk below a scratch directory.
#[allow(dead_code, reason = "not every test file wants one")]
pub(crate) fn disk(scratch: &Scratch) -> Disk {
    Disk::create(&scratch.path().join("root")).expect("create")
}

#[allow(dead_code, reason = "not every test file wants one")]
pub(crate) fn p(path: &str) -> &Path {
    Path::new(path)
}
