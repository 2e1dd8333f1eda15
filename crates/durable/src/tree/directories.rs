//! The directories of a tree that is being written, to be finished when all is in them. Pure.
//!
//! Each is known by the number of the one that it lies in and its own name: a tree of very many directories
//! far below takes as much memory as their names have bytes, and not as their paths have.

use std::collections::BTreeMap;
use std::collections::btree_map::Range;
use std::ffi::{OsStr, OsString};
use std::io;
use std::time::SystemTime;

/// A directory among all of one tree. 0 is the top.
pub(super) type Number = u32;

/// The directories so far.
#[derive(Debug, Default)]
pub(super) struct Directories {
    /// What is known of the top, while it is to be finished.
    top: Option<Finish>,
    below: BTreeMap<(Number, OsString), Directory>,
}

/// What is to be done with a directory in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Finish {
    /// The time that it is to have.
    pub(super) modified: Option<SystemTime>,
}

#[derive(Debug)]
struct Directory {
    number: Number,
    /// `None` for one that somebody else made.
    finish: Option<Finish>,
}

impl Directories {
    /// Only the top.
    pub(super) fn new() -> Directories {
        Directories { top: Some(Finish { modified: None }), below: BTreeMap::new() }
    }

    /// The directory `name` in another one was found there.
    pub(super) fn found(&mut self, parent: Number, name: &OsStr) -> io::Result<Number> {
        self.with(parent, name, |_| {})
    }

    /// The directory `name` in another one was made.
    pub(super) fn made(&mut self, parent: Number, name: &OsStr) -> io::Result<Number> {
        self.with(parent, name, |finish| *finish = Some(Finish { modified: None }))
    }

    /// The top is to have this time.
    pub(super) fn set_top(&mut self, modified: Option<SystemTime>) {
        self.top = Some(Finish { modified });
    }

    /// The directory `name` in another one is to have this time.
    pub(super) fn set(
        &mut self,
        parent: Number,
        name: &OsStr,
        modified: Option<SystemTime>,
    ) -> io::Result<()> {
        self.with(parent, name, |finish| *finish = Some(Finish { modified })).map(drop)
    }

    fn with(
        &mut self,
        parent: Number,
        name: &OsStr,
        change: impl FnOnce(&mut Option<Finish>),
    ) -> io::Result<Number> {
        let next = Number::try_from(self.below.len() + 1)
            .map_err(|_| io::Error::other("the tree has too many directories"))?;
        let new = || Directory { number: next, finish: None };
        let directory = self.below.entry((parent, name.to_owned())).or_insert_with(new);
        change(&mut directory.finish);
        Ok(directory.number)
    }

    /// Hands out each with its path, what is in a directory before itself, the top as the empty path.
    pub(super) fn finish(
        self,
        mut each: impl FnMut(&[&OsStr], Finish) -> io::Result<()>,
    ) -> io::Result<()> {
        let within = |number| -> Range<'_, _, _> {
            self.below.range((number, OsString::new())..(number + 1, OsString::new()))
        };
        let mut names: Vec<&OsStr> = Vec::new();
        let mut way = vec![(within(0), self.top)];
        while let Some((inside, finish)) = way.last_mut() {
            match inside.next_back() {
                Some(((_, name), directory)) => {
                    names.push(name);
                    way.push((within(directory.number), directory.finish));
                }
                None => {
                    if let Some(finish) = finish {
                        each(&names, *finish)?;
                    }
                    way.pop();
                    names.pop();
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn finished(directories: Directories) -> Vec<(String, Option<u64>)> {
        let mut all = Vec::new();
        let each = |names: &[&OsStr], finish: Finish| {
            let path: Vec<_> = names.iter().map(|name| name.to_str().unwrap()).collect();
            let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap().as_secs();
            all.push((path.join("/"), finish.modified.map(seconds)));
            Ok(())
        };
        directories.finish(each).unwrap();
        all
    }

    #[test]
    fn what_is_in_a_directory_comes_before_it_and_what_others_made_is_left_alone() {
        let time = |seconds| Some(UNIX_EPOCH + Duration::from_secs(seconds));
        let mut tree = Directories::new();
        let (a, name) = (tree.made(0, "a".as_ref()).unwrap(), OsStr::new);
        let theirs = tree.found(a, name("theirs")).unwrap();
        tree.made(theirs, name("mine")).unwrap();
        tree.made(0, name("a.b")).unwrap();
        assert_eq!(tree.found(0, name("a")).unwrap(), a);
        tree.set(0, name("a"), time(5)).unwrap();
        tree.set(0, name("a"), time(7)).unwrap();
        tree.set_top(time(1));
        let wanted = [("a.b", None), ("a/theirs/mine", None), ("a", Some(7)), ("", Some(1))];
        let wanted = wanted.map(|(path, seconds)| (path.to_owned(), seconds));
        assert_eq!(finished(tree), wanted);
        assert_eq!(finished(Directories::default()), []);
    }
}
