//! Files put into a directory that is no tree of ours: a user's download, a spool under `/tmp`.
//!
//! The directory may hold anything, also a `staging` of its own. So files are built under hidden names
//! right beside the one that they get (`.<pid>-<n>`, or `.fettle-<name>` to resume), and no verb that
//! empties a room can be reached from here. A crash leaves at most such a hidden file.

use std::ffi::OsString;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock};

use rustix::fs::{self, CWD, Mode, OFlags};

use super::{Disk, Inner, Making};
use crate::error::{DiskError, Refused, Verb};
use crate::gate::Gate;
use crate::resolve::Root;
use crate::stage::{Alone, StagedFile};

/// A directory that is no tree of ours, in which single files are built and replaced.
#[derive(Debug, Clone)]
pub struct Guest {
    disk: Disk,
}

impl Guest {
    /// Enters an existing directory. Unlike [`Disk::open`] it syncs nothing: what was left there to be
    /// resumed is to be checked before it is relied on.
    pub fn enter(dir: &Path) -> Result<Guest, DiskError> {
        let enter = || {
            let path = std::path::absolute(dir)?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let handle = fs::openat(CWD, &path, flags, Mode::empty())?;
            Ok(Inner {
                path,
                staging: handle.try_clone()?,
                staging_path: Path::new(""),
                trash: handle.try_clone()?,
                root: Root::new(handle),
                gate: Gate::default(),
                names: AtomicU64::new(0),
                making: Mutex::new(Making::default()),
                log: OnceLock::new(),
            })
        };
        let inner = enter().map_err(|error| DiskError::new(Verb::OpenRoot, dir, error))?;
        Ok(Guest { disk: Disk { inner: Arc::new(inner) } })
    }

    /// See [`Disk::stage_file`].
    pub fn stage_file(&self) -> Result<StagedFile, DiskError> {
        self.disk.stage_file()
    }

    /// The hidden file `.fettle-<name>`, opened where it was left, or a new one; see
    /// [`Disk::resume_file`]. It is the caller's alone for as long as the value lives; `None` while
    /// another one has it.
    pub fn resume_file(&self, name: &str) -> Result<Option<StagedFile>, DiskError> {
        let hidden = OsString::from(format!(".fettle-{name}"));
        self.disk.on(Verb::Stage, Path::new(&hidden), || {
            if name.is_empty() || name.contains('/') {
                return Err(Refused::NotAName.into());
            }
            loop {
                let staged = self.disk.resume_staged(&hidden)?;
                match staged.lock_alone()? {
                    Alone::Yes => return Ok(Some(staged)),
                    Alone::HeldByAnother => return Ok(None),
                    Alone::NameLost => {}
                }
            }
        })
    }

    /// See [`Disk::replace`].
    pub fn replace(&self, path: &Path, bytes: &[u8], mode: u32) -> Result<(), DiskError> {
        self.disk.replace(path, bytes, mode)
    }

    /// See [`Disk::create_new`].
    pub fn create_new(&self, path: &Path, bytes: &[u8], mode: u32) -> Result<bool, DiskError> {
        self.disk.create_new(path, bytes, mode)
    }

    /// See [`Disk::make_dir`].
    pub fn make_dir(&self, path: &Path, mode: u32) -> Result<(), DiskError> {
        self.disk.make_dir(path, mode)
    }

    /// See [`Disk::remove`].
    pub fn remove(&self, path: &Path) -> Result<(), DiskError> {
        self.disk.remove(path)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::stage::IfExists;

    #[test]
    fn a_directory_of_somebody_else_gets_the_file_and_nothing_more() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("staging")).unwrap();
        let guest = Guest::enter(dir.path()).unwrap();
        let mut staged = guest.stage_file().unwrap();
        staged.write_all(b"content").unwrap();
        staged.publish(Path::new("file"), 0o644, IfExists::Replace).unwrap();
        drop(guest.stage_file().unwrap());
        let mut names: Vec<_> =
            std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["file", "staging"]);
        assert_eq!(std::fs::read_dir(dir.path().join("staging")).unwrap().count(), 0);
    }

    #[test]
    fn directories_are_made_with_nothing_beside_them_and_a_file_that_is_there_stays() {
        let dir = tempfile::tempdir().unwrap();
        let guest = Guest::enter(dir.path()).unwrap();
        guest.make_dir(Path::new("a/b"), 0o755).unwrap();
        assert!(guest.create_new(Path::new("a/b/file"), b"first", 0o644).unwrap());
        assert!(!guest.create_new(Path::new("a/b/file"), b"second", 0o644).unwrap());
        assert_eq!(std::fs::read(dir.path().join("a/b/file")).unwrap(), b"first");
        let count = |path: &str| std::fs::read_dir(dir.path().join(path)).unwrap().count();
        assert_eq!((count(""), count("a"), count("a/b")), (1, 1, 1));
    }

    #[test]
    fn a_resumable_file_belongs_to_one_and_goes_on_where_it_was_left() {
        let dir = tempfile::tempdir().unwrap();
        let guest = Guest::enter(dir.path()).unwrap();
        let mut first = guest.resume_file("part").unwrap().unwrap();
        first.write_all(b"half").unwrap();
        assert!(Guest::enter(dir.path()).unwrap().resume_file("part").unwrap().is_none());
        drop(first);
        let second = guest.resume_file("part").unwrap().unwrap();
        assert_eq!(second.len(), 4);
        second.publish(Path::new("whole"), 0o644, IfExists::Replace).unwrap();
        assert!(guest.resume_file("part").unwrap().unwrap().is_empty());
        assert!(guest.resume_file("a/b").is_err());
    }
}
