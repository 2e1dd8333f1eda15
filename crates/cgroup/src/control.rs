//! The files and directories of a control group: the only place of this crate that touches them.
//!
//! Nothing here is on a disk, so nothing is staged or synced; each write is one call, since the kernel takes
//! every call as one request. No file is ever made: a control file that is missing is an error.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{self, Access, AtFlags, CWD, Dir, FileType, Mode, OFlags};
use rustix::io::{self, Errno};

use crate::limits::Request;

/// What the kernel answered, about which file.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{verb} {}", path.display())]
pub struct ControlError {
    verb: &'static str,
    path: PathBuf,
    #[source]
    errno: Errno,
}

impl ControlError {
    pub(crate) fn new(verb: &'static str, path: &Path, errno: Errno) -> ControlError {
        ControlError { verb, path: path.to_owned(), errno }
    }

    /// The kernel's answer.
    #[must_use]
    pub fn errno(&self) -> Errno {
        self.errno
    }

    /// The file or directory it was about.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What was tried, on what, and the answer: for a list of reasons.
    pub(crate) fn sentence(&self) -> String {
        format!("{self}: {}", self.errno)
    }

    /// The group, or this file of it, is not there (`ENODEV`: it went while its file was open).
    pub(crate) fn is_absent(&self) -> bool {
        matches!(self.errno, Errno::NOENT | Errno::NODEV)
    }
}

/// The whole of a control file. One that grows without end is cut at [`LARGEST`].
pub(crate) fn read(path: &Path) -> Result<String, ControlError> {
    let failed = |errno| ControlError::new("read", path, errno);
    let file = open(path, OFlags::RDONLY)?;
    let mut text = Vec::new();
    let mut part = [0; 4096];
    loop {
        match io::read(&file, &mut part) {
            Ok(0) => break,
            Ok(count) => text.extend_from_slice(&part[..count]),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(failed(errno)),
        }
        if text.len() >= LARGEST {
            break;
        }
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// One request to the kernel.
pub(crate) fn write(path: &Path, request: &str) -> Result<(), ControlError> {
    let file = open(path, OFlags::WRONLY)?;
    loop {
        match io::write(&file, request.as_bytes()) {
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(ControlError::new("write", path, errno)),
        }
    }
}

/// A descriptor that is closed when the process runs another program.
pub(crate) fn open(path: &Path, how: OFlags) -> Result<OwnedFd, ControlError> {
    fs::open(path, how | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty())
        .map_err(|errno| ControlError::new("open", path, errno))
}

/// Several requests to one group, in order, up to the first that is refused.
pub(crate) fn write_all(dir: &Path, requests: &[Request]) -> Result<(), ControlError> {
    for request in requests {
        match write(&dir.join(request.file), &request.text) {
            Err(error) if request.may_be_missing && error.is_absent() => {}
            other => other?,
        }
    }
    Ok(())
}

/// Makes a group, and says whether it is new. One that is there already is fine.
pub(crate) fn make_dir(path: &Path) -> Result<bool, ControlError> {
    match fs::mkdirat(CWD, path, Mode::from_raw_mode(0o755)) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(errno) => Err(ControlError::new("make the group", path, errno)),
    }
}

/// Removes a group without processes and groups below it. One that is gone is fine.
pub(crate) fn remove_dir(path: &Path) -> Result<(), ControlError> {
    match fs::unlinkat(CWD, path, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(ControlError::new("remove the group", path, errno)),
    }
}

/// Removes a group with all that are below it, the lowest first.
pub(crate) fn remove_tree(path: &Path) -> Result<(), ControlError> {
    match remove_dir(path) {
        Err(error) if matches!(error.errno, Errno::BUSY | Errno::NOTEMPTY) => {}
        other => return other,
    }
    for below in tree(path)?.iter().rev() {
        remove_dir(below)?;
    }
    Ok(())
}

/// The group itself and all groups below it, each before those below it.
pub(crate) fn tree(path: &Path) -> Result<Vec<PathBuf>, ControlError> {
    let mut found = vec![path.to_owned()];
    let mut next = 0;
    while let Some(dir) = found.get(next).cloned() {
        next += 1;
        match children(&dir) {
            Ok(names) => found.extend(names.iter().map(|name| dir.join(name))),
            Err(error) if error.is_absent() && next > 1 => {} // it went meanwhile
            Err(error) => return Err(error),
        }
        if found.len() > MOST_GROUPS {
            return Err(ControlError::new("list", path, Errno::OVERFLOW));
        }
    }
    Ok(found)
}

/// The names of the groups directly below this one.
pub(crate) fn children(path: &Path) -> Result<Vec<String>, ControlError> {
    let failed = |errno| ControlError::new("list", path, errno);
    // The kernel counts them: two are the group's own name and its `.`. Listing would show all its files too.
    if fs::stat(path).is_ok_and(|group| group.st_nlink == 2) {
        return Ok(Vec::new());
    }
    let dir = open(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
    let mut names = Vec::new();
    for entry in Dir::new(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy();
        if entry.file_type() == FileType::Directory && name != "." && name != ".." {
            names.push(name.into_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Whether the kernel would let this process write a file, by its effective rights.
pub(crate) fn may_write(path: &Path) -> Result<(), ControlError> {
    fs::accessat(CWD, path, Access::WRITE_OK, AtFlags::EACCESS)
        .map_err(|errno| ControlError::new("write", path, errno))
}

/// Whether the path is in a file system of this kind: it may be hidden beneath another mount.
pub(crate) fn is_in(path: &Path, magic: u64) -> Result<bool, ControlError> {
    let found = fs::statfs(path).map_err(|errno| ControlError::new("look at", path, errno))?;
    Ok(u64::try_from(found.f_type).is_ok_and(|kind| kind == magic))
}

/// Whether there is anything of this name.
pub(crate) fn exists(path: &Path) -> bool {
    fs::stat(path).is_ok()
}

/// The number in a file that holds nothing else.
pub(crate) fn number(path: &Path) -> Option<u64> {
    read(path).ok()?.trim().parse().ok()
}

/// The value of a key in a file of lines `key value`.
pub(crate) fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

/// No list of processes that anybody has is longer: 4 million at 8 bytes each.
const LARGEST: usize = 32 << 20;
/// Below one group. Whoever makes more is not listed to the end.
const MOST_GROUPS: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_only_as_a_whole_word() {
        let text = "oom 1\noom_kill 2\noom_group_kill 3\n";
        assert_eq!(keyed(text, "oom"), Some(1));
        assert_eq!(keyed(text, "oom_kill"), Some(2));
        assert_eq!(keyed(text, "oom_kil"), None);
        assert_eq!(keyed("", "oom"), None);
    }

    #[test]
    fn an_error_names_the_file_and_what_was_tried() {
        let path = Path::new("/nowhere/memory.max");
        let error = write(path, "1").unwrap_err();
        assert_eq!(error.to_string(), "open /nowhere/memory.max");
        assert!(error.sentence().contains("No such file"), "{}", error.sentence());
        assert!(error.is_absent());
    }
}
