//! Which control group trees are mounted where: `/proc/PID/mountinfo` as the kernel writes it (proc(5)).
//!
//! Pure. A line that is not understood is no mount of ours.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// One mount of a control group tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mount {
    /// Which group of the tree is seen at the mount point. Not `/` for bind mounts and in containers;
    /// begins with `/..` when it lies outside our control group namespace.
    pub(crate) root: PathBuf,
    /// Where it is mounted.
    pub(crate) point: PathBuf,
    /// Which tree it is.
    pub(crate) tree: Tree,
    /// By the mount or by the file system.
    pub(crate) read_only: bool,
}

/// A tree of groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Tree {
    /// The unified tree of version 2.
    Unified,
    /// A tree of version 1 with its mount options, among them the names of its controllers.
    Legacy(Vec<String>),
}

impl Tree {
    /// Whether it is the version 1 tree of this controller.
    pub(crate) fn has(&self, controller: &str) -> bool {
        matches!(self, Tree::Legacy(options) if options.iter().any(|option| option == controller))
    }
}

/// All mounts of control groups, in the kernel's order: a later one may hide an earlier one.
pub(crate) fn parse(text: &[u8]) -> Vec<Mount> {
    text.split(|byte| *byte == b'\n').filter_map(mount).collect()
}

/// `36 35 98:0 /root /point rw,noatime master:1 - type source rw,cpu`
fn mount(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let root = path(fields.nth(3)?)?;
    let point = path(fields.next()?)?;
    let mount_options = fields.next()?;
    // Optional fields, any number of them, end at a hyphen.
    fields.by_ref().find(|field| *field == b"-")?;
    let kind = fields.next()?;
    let options: Vec<String> = fields
        .nth(1)?
        .split(|byte| *byte == b',')
        .map(|option| String::from_utf8_lossy(option).into_owned())
        .collect();
    let read_only = mount_options.split(|byte| *byte == b',').any(|option| option == b"ro")
        || options.iter().any(|option| option == "ro");
    let tree = match kind {
        b"cgroup2" => Tree::Unified,
        b"cgroup" => Tree::Legacy(options),
        _ => return None,
    };
    Some(Mount { root, point, tree, read_only })
}

/// An absolute path with the kernel's escapes undone: space, tab, newline and backslash come as `\ooo`.
fn path(field: &[u8]) -> Option<PathBuf> {
    if field.first() != Some(&b'/') {
        return None;
    }
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first == b'\\'
            && let Some(byte) = after.first_chunk::<3>().and_then(octal)
        {
            plain.push(byte);
            rest = &after[3..];
        } else {
            plain.push(first);
        }
    }
    Some(PathBuf::from(OsString::from_vec(plain)))
}

fn octal(digits: &[u8; 3]) -> Option<u8> {
    digits.iter().try_fold(0_u8, |value, digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(digit - b'0'),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn roots_points_trees_and_read_only_are_read() {
        let text = b"31 23 0:28 / /sys/fs/cgroup ro,relatime shared:9 - tmpfs tmpfs ro,mode=755\n\
            32 31 0:29 /docker/ab /sys/fs/cgroup/cpu,cpuacct ro,nosuid master:11 - cgroup cgroup rw,cpu,cpuacct\n\
            33 31 0:30 /../.. /sys/fs/a\\040b rw shared:1 master:2 - cgroup2 cgroup2 rw,nsdelegate\n";
        let mounts = parse(text);
        assert_eq!(mounts.len(), 2);
        assert_eq!(mounts[0].root, PathBuf::from("/docker/ab"));
        assert!(mounts[0].tree.has("cpuacct") && !mounts[0].tree.has("memory"));
        assert!(mounts[0].read_only && !mounts[1].read_only);
        assert_eq!(mounts[1].point, PathBuf::from("/sys/fs/a b"));
        assert_eq!(mounts[1].tree, Tree::Unified);
    }

    fn escaped(path: &[u8]) -> Vec<u8> {
        let escape = |byte: &u8| match byte {
            b' ' | b'\t' | b'\n' | b'\\' => format!("\\{byte:03o}").into_bytes(),
            other => vec![*other],
        };
        path.iter().flat_map(escape).collect()
    }

    proptest! {
        #[test]
        fn any_path_comes_back_from_the_kernels_escapes(
            tail in proptest::collection::vec(any::<u8>(), 0..40), optional in 0_usize..3,
        ) {
            let mut wanted = b"/".to_vec();
            wanted.extend(tail);
            let mut line = b"1 2 0:3 /r ".to_vec();
            line.extend(escaped(&wanted));
            line.extend(b" rw".to_vec());
            line.extend(b" shared:7".repeat(optional));
            line.extend(b" - cgroup2 none rw");
            let mounts = parse(&line);
            prop_assert_eq!(mounts.len(), 1);
            prop_assert_eq!(mounts[0].point.as_os_str().as_bytes(), &wanted);
        }

        #[test]
        fn no_text_is_too_strange(text in proptest::collection::vec(any::<u8>(), 0..300)) {
            for mount in parse(&text) {
                prop_assert!(mount.root.is_absolute() && mount.point.is_absolute());
            }
        }
    }
}
