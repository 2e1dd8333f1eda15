//! Waiting for many groups through one descriptor.
//!
//! inotify on each group's `cgroup.events`: the kernel says that it was modified whenever the group becomes
//! empty or populated, frozen or thawed. The other way, polling each file for `POLLPRI`, takes an open file for
//! every group. Either way the kernel tells of one group at most every 10 ms (`CGROUP_FILE_NOTIFY_MIN_INTV`): what
//! follows sooner is told then, and nothing is lost.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

use crate::control::ControlError;
use crate::group::{Group, LookError};
use crate::places::Where;

/// One descriptor that becomes readable when something has changed in one of many groups.
#[derive(Debug)]
pub struct Watch(OwnedFd);

/// A group that is watched: its number is unique within its [`Watch`] and never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Watched(i32);

/// What is to be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changed {
    /// Something has changed in these, each named once; also those that were just forgotten.
    These(Vec<Watched>),
    /// More has changed than the kernel could keep: look at all.
    Any,
}

/// Why a group cannot be watched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WatchError {
    /// The kernel gives no watch: the user's number of instances is used up (`fs.inotify.max_user_instances`).
    #[error("no inotify: {0}")]
    NoWatch(Errno),
    /// Version 1 has no such event.
    #[error("the control group `{name}` is not of version 2 and tells nothing")]
    NoEvents {
        /// The group's name.
        name: String,
    },
    /// There is no group, or it has been removed.
    #[error("there is no control group to watch")]
    Look(#[from] LookError),
    /// The kernel refused (`fs.inotify.max_user_watches`).
    #[error("cannot watch a control group")]
    Control(#[from] ControlError),
    /// The descriptor cannot be read.
    #[error("cannot read what changed in the control groups: {0}")]
    Read(Errno),
}

impl Watch {
    /// Watches nothing yet.
    ///
    /// # Errors
    /// If the kernel has no more of them for this user.
    pub fn new() -> Result<Watch, WatchError> {
        inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)
            .map(Watch)
            .map_err(WatchError::NoWatch)
    }

    /// Watches a group until it is forgotten. Look at it once afterwards: what changed before is not told. The
    /// kernel does not tell that a group was removed, and keeps the watch: whoever removes it forgets it.
    ///
    /// # Errors
    /// If the group is not of version 2 or gone, or there are too many.
    pub fn add(&self, group: &Group) -> Result<Watched, WatchError> {
        let dir = group.members_dir()?;
        if group.members() != Some(Where::Unified) {
            return Err(WatchError::NoEvents { name: group.name().to_owned() });
        }
        let path = dir.join("cgroup.events");
        inotify::add_watch(&self.0, &path, WatchFlags::MODIFY)
            .map(Watched)
            .map_err(|errno| ControlError::new("watch", &path, errno).into())
    }

    /// Stops watching, before or after the group was removed. Can be repeated.
    pub fn forget(&self, watched: Watched) {
        let _ = inotify::remove_watch(&self.0, watched.0); // EINVAL: the kernel has forgotten it already
    }

    /// What has changed since the last call; does not wait. Nothing, if the descriptor was not readable.
    ///
    /// # Errors
    /// If the descriptor cannot be read.
    pub fn changed(&self) -> Result<Changed, WatchError> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(&self.0, &mut buffer);
        let mut these = Vec::new();
        let mut any = false;
        loop {
            match reader.next() {
                Ok(event) if event.events().contains(ReadFlags::QUEUE_OVERFLOW) => any = true,
                Ok(event) => these.push(Watched(event.wd())),
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(WatchError::Read(errno)),
            }
        }
        these.sort_unstable();
        these.dedup();
        Ok(if any { Changed::Any } else { Changed::These(these) })
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
