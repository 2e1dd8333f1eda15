//! In which groups a process is: `/proc/PID/cgroup` as the kernel writes it (cgroups(7)).
//!
//! Pure. A line that is not understood is no membership.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// The place of a process in one tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Membership {
    /// The controllers of the version 1 tree, or its name as `name=…`; empty for version 2.
    pub(crate) controllers: Vec<String>,
    /// The group, seen from the root of our control group namespace; begins with `/..` outside of it.
    pub(crate) path: PathBuf,
}

impl Membership {
    /// Whether it is the place in the unified tree.
    pub(crate) fn is_unified(&self) -> bool {
        self.controllers.is_empty()
    }

    /// Whether it is the place in the version 1 tree of this controller.
    pub(crate) fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|name| name == controller)
    }
}

/// All places of the process.
pub(crate) fn parse(text: &[u8]) -> Vec<Membership> {
    text.split(|byte| *byte == b'\n').filter_map(membership).collect()
}

/// `4:cpu,cpuacct:/path`; the path may have colons of its own.
fn membership(line: &[u8]) -> Option<Membership> {
    let mut fields = line.splitn(3, |byte| *byte == b':');
    let number = fields.next()?;
    let controllers = fields.next()?;
    let path = PathBuf::from(OsStr::from_bytes(fields.next()?));
    if number.is_empty() || !number.iter().all(u8::is_ascii_digit) || !path.is_absolute() {
        return None;
    }
    let controllers: Vec<String> = controllers
        .split(|byte| *byte == b',')
        .filter(|name| !name.is_empty())
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect();
    // An empty list stands for version 2, whose number is 0.
    (controllers.is_empty() == (number == b"0")).then_some(Membership { controllers, path })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn both_versions_are_read_and_a_path_may_have_colons() {
        let text =
            b"9:name=systemd:/\n5:cpu,cpuacct:/a:b/c d\n0::/user.slice\nx:cpu:/\n7:pids\n3::/\n";
        let places = parse(text);
        assert_eq!(places.len(), 3);
        assert!(places[0].has("name=systemd"));
        assert!(places[1].has("cpuacct") && !places[1].has("memory") && !places[1].is_unified());
        assert_eq!(places[1].path, PathBuf::from("/a:b/c d"));
        assert!(places[2].is_unified());
    }

    proptest! {
        #[test]
        fn every_line_of_the_kernel_is_read(
            number in 1_u32..99, names in proptest::collection::vec("[a-z_=]{1,9}", 1..4), path in "/[^\n]{0,30}",
        ) {
            let text = format!("{number}:{}:{path}\n0::{path}\n", names.join(","));
            let places = parse(text.as_bytes());
            prop_assert_eq!(&places[0], &Membership { controllers: names, path: path.clone().into() });
            prop_assert_eq!(&places[1], &Membership { controllers: Vec::new(), path: path.into() });
        }

        #[test]
        fn no_text_is_too_strange(text in proptest::collection::vec(any::<u8>(), 0..300)) {
            for place in parse(&text) {
                prop_assert!(place.path.is_absolute());
            }
        }
    }
}
