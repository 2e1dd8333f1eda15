//! Which path a unit should start: the one that the user types, not the file that it leads to now, so that an upgrade
//! that replaces the file or switches a link is an upgrade of the service too. Owns that choice; the last question,
//! whether two paths are one file, is asked of the disk.

use std::ffi::OsStr;
use std::io;
use std::path::{Component, Path, PathBuf};

/// Nobody knows where this program lies.
#[derive(Debug, thiserror::Error)]
#[error("cannot tell where this program lies")]
pub(crate) struct NoProgram {
    source: io::Error,
}

/// The path of this program that outlives an upgrade.
pub(super) fn of_this_process() -> Result<PathBuf, NoProgram> {
    let own = std::env::current_exe().map_err(|source| NoProgram { source })?;
    // Replaced or removed since it was started: the kernel says so in the path.
    let own = std::fs::canonicalize(&own).map_err(|source| NoProgram { source })?;
    let typed = std::env::args_os().next().unwrap_or_default();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let here = std::env::current_dir().unwrap_or_else(|_| "/".into());
    let is_own = |path: &Path| std::fs::canonicalize(path).is_ok_and(|path| path == own);
    let candidates = candidates(&typed, &path, &here);
    Ok(candidates.into_iter().find(|path| is_own(path)).unwrap_or_else(|| own.clone()))
}

/// What the typed word may mean, the likeliest first; systemd takes no path with `..` in it.
fn candidates(typed: &OsStr, path: &OsStr, here: &Path) -> Vec<PathBuf> {
    let typed = Path::new(typed);
    let all: Vec<PathBuf> = match typed.components().count() {
        0 => Vec::new(),
        1 if typed.is_relative() && !starts_here(typed) => std::env::split_paths(path)
            .filter(|dir| dir.is_absolute())
            .map(|dir| dir.join(typed))
            .collect(),
        _ => vec![here.join(typed)],
    };
    let plain = |path: &PathBuf| !path.components().any(|part| part == Component::ParentDir);
    // Components leave out `.` and doubled slashes.
    all.into_iter().map(|path| path.components().collect()).filter(plain).collect()
}

/// `./fettle` has one component too.
fn starts_here(typed: &Path) -> bool {
    typed.as_os_str() != typed.file_name().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(typed: &str) -> Vec<PathBuf> {
        candidates(typed.as_ref(), "/usr/local/bin:bin:/usr/bin".as_ref(), Path::new("/here"))
    }

    #[test]
    fn a_word_is_looked_for_where_the_shell_does_and_a_path_is_what_it_says() {
        let path = |path: &str| PathBuf::from(path);
        assert_eq!(of("fettle"), [path("/usr/local/bin/fettle"), path("/usr/bin/fettle")]);
        assert_eq!(of("./fettle"), [path("/here/fettle")]);
        assert_eq!(of("target//debug/./fettle"), [path("/here/target/debug/fettle")]);
        assert_eq!(of("/opt/current/fettle"), [path("/opt/current/fettle")]);
        assert!(of("../fettle").is_empty() && of("").is_empty());
    }
}
