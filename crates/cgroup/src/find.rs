//! From a process to the group that it is in: for a manager that was started in another place than the one that
//! made the group (another login session, another unit), where a search below its own group finds nothing.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::control::{self, ControlError};
use crate::group::Group;
use crate::groups::Groups;
use crate::name;
use crate::places::{Places, Trees, Wanted, Where};
use crate::probe::Machine;

/// Why it is not known in which group a process is.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum FindError {
    /// The kernel did not tell. The process may have ended.
    #[error("cannot see in which control group a process is")]
    Control(#[from] ControlError),
}

impl Groups {
    /// The group of this node that a process is in, wherever the node's directory was when it was made.
    ///
    /// # Errors
    /// If the process has ended.
    pub fn of_process(&self, pid: u32) -> Result<Option<Group>, FindError> {
        let machine = Machine::of(&pid.to_string())?;
        let find = |wanted| split(&machine.own(wanted).ok()?, &self.node);
        let unified = find(Wanted::Unified);
        let legacy = LEGACY.map(|controller| find(Wanted::Legacy(controller)));
        let Some(name) =
            unified.iter().chain(legacy.iter().flatten()).map(|found| found.name.clone()).next()
        else {
            return Ok(None);
        };
        if unified.as_ref().map(|found| &found.node) == self.places.unified.as_ref()
            && let Some(group) = self.find(&name)
        {
            return Ok(Some(group));
        }
        let places = Arc::new(places(unified, legacy, &name));
        let Ok(mut group) = Group::new(places, &name, Trees::default()) else { return Ok(None) };
        group.trees = group.present();
        Ok(Some(group))
    }
}

struct Found {
    node: PathBuf,
    name: String,
}

/// Where a node's directory and a group's are in the path of a process's group.
fn split(path: &Path, node: &str) -> Option<Found> {
    let mut parts = path.components();
    while let Some(last) = parts.next_back() {
        let above = parts.as_path();
        if above.file_name() == Some(OsStr::new(node)) {
            let name = name::of_directory(last.as_os_str().to_str()?)?;
            return Some(Found { node: above.to_owned(), name });
        }
    }
    None
}

/// Those trees in which the process is in the group of this name, by the files that they have.
fn places(unified: Option<Found>, legacy: [Option<Found>; 4], name: &str) -> Places {
    let mut places = Places::default();
    if let Some(found) = unified.filter(|found| found.name == name) {
        let has = |file: &str| {
            name::directory(name).is_ok_and(|dir| control::exists(&found.node.join(dir).join(file)))
        };
        let tree = |file: &str| has(file).then_some(Where::Unified);
        places.memory = tree("memory.max");
        places.cpu = tree("cpu.max");
        places.tasks = tree("pids.max");
        places.members = Some(Where::Unified);
        places.kills_at_once = has("cgroup.kill");
        places.freezes = has("cgroup.freeze");
        places.unified = Some(found.node);
    }
    let [memory, cpu, tasks, freezer] = legacy.map(|found| {
        let found = found.filter(|found| found.name == name)?;
        Some(places.legacy_tree(found.node))
    });
    places.memory = places.memory.or(memory);
    places.cpu = places.cpu.or(cpu);
    places.tasks = places.tasks.or(tasks);
    places.freezer = freezer.filter(|_| !places.freezes);
    places.members = places.members.or(freezer).or(tasks).or(memory).or(cpu);
    places
}

const LEGACY: [&str; 4] = ["memory", "cpu", "pids", "freezer"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_of_a_node_is_found_in_a_path_also_from_below_it() {
        let at =
            |path: &str| split(Path::new(path), "fettle-1").map(|found| (found.node, found.name));
        let expected = Some((PathBuf::from("/sys/fs/cgroup/a/fettle-1"), "w.1.0".to_owned()));
        assert_eq!(at("/sys/fs/cgroup/a/fettle-1/w.1.0.group"), expected);
        assert_eq!(at("/sys/fs/cgroup/a/fettle-1/w.1.0.group/below/it"), expected);
        assert_eq!(at("/sys/fs/cgroup/a/fettle-2/w.1.0.group"), None);
        assert_eq!(at("/sys/fs/cgroup/a/fettle-1"), None);
        assert_eq!(at("/sys/fs/cgroup/a/fettle-1/other"), None);
    }
}
