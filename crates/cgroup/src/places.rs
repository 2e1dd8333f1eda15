//! Where a process's own group is in the file system, and where the groups of a node are.
//!
//! Pure: from the kernel's two lists (mounts and memberships) to directories.

use std::path::{Component, Path, PathBuf};

use crate::membership::Membership;
use crate::mounts::{Mount, Tree};

/// A tree that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Version 2.
    Unified,
    /// The version 1 tree of this controller.
    Legacy(&'static str),
}

/// Why a process's own group has no directory here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Hidden {
    #[error("not mounted")]
    NotMounted,
    #[error("the process is in no group of it")]
    NoMembership,
    #[error("the mount shows `{}`, which does not hold the own group `{}`", root.display(), own.display())]
    Elsewhere { root: PathBuf, own: PathBuf },
}

/// Directories that may be the own group of the process with these memberships, the likeliest first: which
/// one is not hidden beneath another mount is for the caller to see.
pub(crate) fn own_groups(
    mounts: &[Mount],
    memberships: &[Membership],
    wanted: Wanted,
) -> Result<Vec<PathBuf>, Hidden> {
    let mounted: Vec<&Mount> = mounts
        .iter()
        .filter(|mount| match wanted {
            Wanted::Unified => mount.tree == Tree::Unified,
            Wanted::Legacy(controller) => mount.tree.has(controller),
        })
        .collect();
    let Some(first) = mounted.first() else { return Err(Hidden::NotMounted) };
    let own = memberships.iter().find(|place| match wanted {
        Wanted::Unified => place.is_unified(),
        Wanted::Legacy(controller) => place.has(controller),
    });
    let Some(own) = own else { return Err(Hidden::NoMembership) };
    let mut found: Vec<(bool, PathBuf)> = mounted
        .iter()
        .rev() // a later mount may hide an earlier one
        .filter_map(|mount| Some((mount.read_only, directory(mount, &own.path)?)))
        .collect();
    found.sort_by_key(|(read_only, _)| *read_only);
    if found.is_empty() {
        return Err(Hidden::Elsewhere { root: first.root.clone(), own: own.path.clone() });
    }
    Ok(found.into_iter().map(|(_, directory)| directory).collect())
}

/// The directory of a group beneath a mount, if the mount shows it.
fn directory(mount: &Mount, group: &Path) -> Option<PathBuf> {
    let outside = |path: &Path| path.components().any(|part| part == Component::ParentDir);
    if outside(&mount.root) || outside(group) {
        return None;
    }
    let below = group.strip_prefix(&mount.root).ok()?;
    Some(if below.as_os_str().is_empty() { mount.point.clone() } else { mount.point.join(below) })
}

/// One of the trees that a node's groups are in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Where {
    /// Version 2.
    Unified,
    /// Version 1, by its place in [`Places::legacy`].
    Legacy(u8),
}

/// The directories of a node, and which of them does what.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Places {
    pub(crate) unified: Option<PathBuf>,
    /// At most four: a controller each, less where controllers share a tree.
    pub(crate) legacy: Vec<PathBuf>,
    pub(crate) memory: Option<Where>,
    pub(crate) cpu: Option<Where>,
    pub(crate) tasks: Option<Where>,
    /// The version 1 freezer, where version 2 cannot freeze.
    pub(crate) freezer: Option<Where>,
    /// The tree that every group is in, and that tells which processes are in it.
    pub(crate) members: Option<Where>,
    /// The tracking tree has `cgroup.kill`.
    pub(crate) kills_at_once: bool,
    /// The tracking tree has `cgroup.freeze`.
    pub(crate) freezes: bool,
}

impl Places {
    /// The node's directory in a tree.
    pub(crate) fn node(&self, tree: Where) -> &Path {
        match tree {
            Where::Unified => {
                self.unified.as_deref().expect("only a tree that is there is ever named")
            }
            Where::Legacy(at) => &self.legacy[usize::from(at)],
        }
    }

    /// All trees.
    pub(crate) fn trees(&self) -> impl Iterator<Item = Where> + '_ {
        let unified = self.unified.iter().map(|_| Where::Unified);
        let legacy = 0..u8::try_from(self.legacy.len()).unwrap_or(u8::MAX);
        unified.chain(legacy.map(Where::Legacy))
    }

    /// The place of this directory among the version 1 trees, where controllers may share one.
    pub(crate) fn legacy_tree(&mut self, node: PathBuf) -> Where {
        let at = self.legacy.iter().position(|known| *known == node).unwrap_or_else(|| {
            self.legacy.push(node);
            self.legacy.len() - 1
        });
        Where::Legacy(u8::try_from(at).unwrap_or(u8::MAX))
    }
}

/// A set of trees.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Trees(u8);

impl Trees {
    pub(crate) fn insert(&mut self, tree: Where) {
        self.0 |= Trees::bit(tree);
    }

    pub(crate) fn has(self, tree: Where) -> bool {
        self.0 & Trees::bit(tree) != 0
    }

    fn bit(tree: Where) -> u8 {
        match tree {
            Where::Unified => 1,
            Where::Legacy(at) => 2 << at.min(6),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{membership, mounts};

    /// A machine as its two texts, and where the own group must be found.
    struct Machine {
        mountinfo: &'static str,
        cgroup: &'static str,
    }

    /// systemd with version 2 alone, a delegated service.
    const UNIFIED: Machine = Machine {
        mountinfo: "24 1 0:22 / /proc rw,nosuid shared:12 - proc proc rw\n\
            30 23 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n",
        cgroup: "0::/system.slice/fettle.service\n",
    };
    /// systemd's hybrid: version 1 with controllers, and a unified tree of its own.
    const HYBRID: Machine = Machine {
        mountinfo: "25 19 0:22 / /sys/fs/cgroup ro,nosuid,nodev,noexec shared:8 - tmpfs tmpfs ro,mode=755\n\
            26 25 0:23 / /sys/fs/cgroup/unified rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate\n\
            27 25 0:24 / /sys/fs/cgroup/systemd rw,relatime shared:10 - cgroup cgroup rw,xattr,name=systemd\n\
            30 25 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:14 - cgroup cgroup rw,cpu,cpuacct\n\
            33 25 0:30 / /sys/fs/cgroup/memory rw,relatime shared:17 - cgroup cgroup rw,memory\n",
        cgroup: "12:memory:/system.slice/fettle.service\n4:cpu,cpuacct:/system.slice\n\
            1:name=systemd:/system.slice/fettle.service\n0::/system.slice/fettle.service\n",
    };
    /// A tree for each controller, a unified one without any, and only memory grouped.
    const SEPARATE: Machine = Machine {
        mountinfo: "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n\
            35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
            41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n",
        cgroup: "8:pids:/\n4:memory:/job/a21d\n1:cpu:/\n0::/\n",
    };
    /// A container without a control group namespace: the mount shows its own group only, read-only.
    const CONTAINER: Machine = Machine {
        mountinfo: "700 699 0:29 /docker/3f5c /sys/fs/cgroup/memory ro,nosuid,nodev,noexec,relatime master:17 - cgroup cgroup rw,memory\n\
            701 699 0:30 /docker/3f5c /sys/fs/cgroup/cpu,cpuacct ro,nosuid master:11 - cgroup cgroup rw,cpu,cpuacct\n",
        cgroup: "11:memory:/docker/3f5c/sub\n2:cpu,cpuacct:/docker/3f5c\n",
    };
    /// A new control group namespace with the mounts of the old one.
    const NAMESPACE: Machine = Machine {
        mountinfo: "41 31 0:38 /../.. /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
        cgroup: "0::/\n",
    };
    const NONE: Machine =
        Machine { mountinfo: "24 1 0:22 / /proc rw - proc proc rw\n", cgroup: "" };

    fn own(machine: &Machine, wanted: Wanted) -> Result<Vec<PathBuf>, Hidden> {
        let mounts = mounts::parse(machine.mountinfo.as_bytes());
        own_groups(&mounts, &membership::parse(machine.cgroup.as_bytes()), wanted)
    }

    #[test]
    fn the_own_group_is_found_on_the_machines_of_this_world() {
        let at = |path: &str| Ok(vec![PathBuf::from(path)]);
        let (memory, cpu, pids) =
            (Wanted::Legacy("memory"), Wanted::Legacy("cpu"), Wanted::Legacy("pids"));
        let service = "/sys/fs/cgroup/system.slice/fettle.service";
        assert_eq!(own(&UNIFIED, Wanted::Unified), at(service));
        assert_eq!(own(&UNIFIED, memory), Err(Hidden::NotMounted));
        let service = "/sys/fs/cgroup/unified/system.slice/fettle.service";
        assert_eq!(own(&HYBRID, Wanted::Unified), at(service));
        assert_eq!(own(&HYBRID, cpu), at("/sys/fs/cgroup/cpu,cpuacct/system.slice"));
        assert_eq!(own(&SEPARATE, Wanted::Unified), at("/sys/fs/cgroup/unified"));
        assert_eq!(own(&SEPARATE, memory), at("/sys/fs/cgroup/memory/job/a21d"));
        assert_eq!(own(&SEPARATE, pids), Err(Hidden::NotMounted));
        assert_eq!(own(&CONTAINER, memory), at("/sys/fs/cgroup/memory/sub"));
        assert_eq!(own(&CONTAINER, cpu), at("/sys/fs/cgroup/cpu,cpuacct"));
        let hidden = own(&NAMESPACE, Wanted::Unified).unwrap_err();
        assert_eq!(hidden, Hidden::Elsewhere { root: "/../..".into(), own: "/".into() });
        assert_eq!(own(&NONE, Wanted::Unified), Err(Hidden::NotMounted));
    }

    #[test]
    fn a_mount_that_can_be_written_comes_before_one_that_cannot() {
        let machine = Machine {
            mountinfo: "1 1 0:9 / /a ro - cgroup2 none rw\n2 1 0:9 / /b rw - cgroup2 none rw\n\
                3 1 0:9 / /c ro - cgroup2 none rw\n4 1 0:9 /other /d rw - cgroup2 none rw\n",
            cgroup: "0::/x\n",
        };
        let found = own(&machine, Wanted::Unified).unwrap();
        assert_eq!(found, [PathBuf::from("/b/x"), PathBuf::from("/c/x"), PathBuf::from("/a/x")]);
    }

    #[test]
    fn controllers_of_one_tree_share_its_place() {
        let mut places = Places::default();
        let cpu = places.legacy_tree("/cpu,cpuacct/n".into());
        assert_ne!(places.legacy_tree("/memory/n".into()), cpu);
        assert_eq!(places.legacy_tree("/cpu,cpuacct/n".into()), cpu);
        assert_eq!(places.trees().count(), 2);
    }

    proptest! {
        #[test]
        fn a_group_below_the_shown_root_is_below_the_mount_point(
            root in "(/[a-c]{1,2}){0,3}", below in "(/[a-c]{1,2}){0,3}", other in "(/[a-c]{1,2}){0,3}",
        ) {
            let absolute = |path: &str| PathBuf::from(if path.is_empty() { "/" } else { path });
            let mount = Mount {
                root: absolute(&root), point: "/m".into(), tree: Tree::Unified, read_only: false,
            };
            let found = directory(&mount, &absolute(&format!("{root}{below}")));
            prop_assert_eq!(found, Some(PathBuf::from(format!("/m{below}"))));
            let inside = root.is_empty() || other == root || other.starts_with(&format!("{root}/"));
            prop_assert_eq!(directory(&mount, &absolute(&other)).is_some(), inside);
            let above = mount.root.join("..");
            prop_assert_eq!(directory(&mount, &above), None);
        }
    }
}
