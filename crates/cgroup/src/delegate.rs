//! Handing controllers down to the groups below, in version 2.
//!
//! A group whose controllers work in the groups below it may hold no process itself ("no internal processes"),
//! except the root of all. So the manager moves into a leaf beside its groups, with what it started; a process
//! that is not its own is never moved, and then nothing is handed down. A crash in between leaves the manager
//! in the leaf, which the next start takes for what it is.

use std::path::Path;

use rustix::io::Errno;

use crate::control::{self, ControlError};

/// The leaf that the manager's own processes are in. A group that hands controllers down takes no process any
/// more, so a service manager cannot start a successor there while programs run: either it starts it in this
/// leaf (systemd: `DelegateSubgroup=`, since 254), or [`crate::Groups::withdraw`] runs first.
pub const MANAGER_LEAF: &str = "fettle-manager";

/// Those that enforce limits.
pub(crate) const CONTROLLERS: [&str; 3] = ["memory", "cpu", "pids"];

/// What a plan is made of.
#[derive(Debug, Clone, Default)]
struct Facts {
    /// The root of all groups: it may have processes and hand down controllers.
    is_root: bool,
    /// Controllers that this group has (`cgroup.controllers`).
    has: Vec<String>,
    /// Controllers that it hands down (`cgroup.subtree_control`).
    hands_down: Vec<String>,
    /// Processes in it; 0 is one outside our PID namespace.
    processes: Vec<u32>,
    /// Those that are this process or that it has started.
    ours: Vec<u32>,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    /// Processes that go into the leaf first.
    moved: Vec<u32>,
    /// Controllers that are handed down then, each by itself.
    enabled: Vec<&'static str>,
}

/// Why controllers cannot be handed down.
#[derive(Debug, PartialEq, Eq)]
struct Foreign(usize);

/// Hands the controllers down that the group at `base` has, and answers for each one that is wanted whether
/// the groups below have it, else why not.
pub(crate) fn hand_down(
    base: &Path,
    wanted: &[&'static str],
) -> Vec<(&'static str, Result<(), String>)> {
    let mut refused = String::new();
    // A second look, since a process may have started another one meanwhile.
    for _ in 0..2 {
        match attempt(base, wanted) {
            Ok(()) => break,
            Err(reason) => refused = reason,
        }
    }
    let has = names(base, "cgroup.controllers").unwrap_or_default();
    let down = names(base, "cgroup.subtree_control").unwrap_or_default();
    let judge = |controller: &'static str| {
        if down.iter().any(|name| name == controller) {
            Ok(())
        } else if has.iter().any(|name| name == controller) {
            Err(format!("controller `{controller}` is not handed down: {refused}"))
        } else {
            Err(format!("{} has no controller `{controller}`", base.display()))
        }
    };
    wanted.iter().map(|controller| (*controller, judge(controller))).collect()
}

/// Takes the controllers back, below first: a group cannot take what one below it still hands on.
pub(crate) fn take_back(base: &Path, node: &str) -> Result<(), ControlError> {
    for group in [&base.join(node), base] {
        let down = match names(group, "cgroup.subtree_control") {
            Err(error) if error.is_absent() => continue,
            other => other?,
        };
        for controller in CONTROLLERS.iter().filter(|name| down.iter().any(|down| down == *name)) {
            control::write(&group.join("cgroup.subtree_control"), &format!("-{controller}"))?;
        }
    }
    Ok(())
}

fn attempt(base: &Path, wanted: &[&'static str]) -> Result<(), String> {
    let facts = look(base).map_err(|error| error.sentence())?;
    let plan = plan(&facts, wanted).map_err(|Foreign(count)| {
        format!("{} holds {count} processes that are not ours to move", base.display())
    })?;
    let reasons = execute(base, &plan);
    if reasons.is_empty() { Ok(()) } else { Err(reasons.join("; ")) }
}

fn look(base: &Path) -> Result<Facts, ControlError> {
    let processes = crate::group::pids(&control::read(&base.join("cgroup.procs"))?);
    let this = std::process::id();
    let ours = processes.iter().copied().filter(|pid| descends(*pid, this, parent)).collect();
    Ok(Facts {
        // Only the true root has no type: that of a namespace has one.
        is_root: !control::exists(&base.join("cgroup.type")),
        has: names(base, "cgroup.controllers")?,
        hands_down: names(base, "cgroup.subtree_control")?,
        processes,
        ours,
    })
}

fn plan(facts: &Facts, wanted: &[&'static str]) -> Result<Plan, Foreign> {
    let enabled: Vec<&'static str> = wanted
        .iter()
        .copied()
        .filter(|name| facts.has.iter().any(|has| has == name))
        .filter(|name| !facts.hands_down.iter().any(|down| down == name))
        .collect();
    if enabled.is_empty() || facts.is_root {
        return Ok(Plan { moved: Vec::new(), enabled });
    }
    let foreign = facts.processes.iter().filter(|pid| !facts.ours.contains(pid)).count();
    if foreign > 0 {
        return Err(Foreign(foreign));
    }
    Ok(Plan { moved: facts.processes.clone(), enabled })
}

/// Does it, and says what could not be done.
fn execute(base: &Path, plan: &Plan) -> Vec<String> {
    let mut reasons = Vec::new();
    if !plan.moved.is_empty() {
        let leaf = base.join(MANAGER_LEAF);
        let into = leaf.join("cgroup.procs");
        let moved = || -> Result<(), ControlError> {
            control::make_dir(&leaf)?;
            for pid in &plan.moved {
                match control::write(&into, &pid.to_string()) {
                    Err(error) if error.errno() == Errno::SRCH => {} // it has ended
                    other => other?,
                }
            }
            Ok(())
        };
        if let Err(error) = moved() {
            return vec![error.sentence()];
        }
    }
    let file = base.join("cgroup.subtree_control");
    for controller in &plan.enabled {
        if let Err(error) = control::write(&file, &format!("+{controller}")) {
            reasons.push(error.sentence());
        }
    }
    reasons
}

/// Whether a process is `ancestor` or has it among its parents. Bounded: the kernel's lists may change
/// while they are read.
fn descends(pid: u32, ancestor: u32, parent: impl Fn(u32) -> Option<u32>) -> bool {
    let mut next = Some(pid);
    for _ in 0..64 {
        match next {
            Some(pid) if pid == ancestor => return true,
            Some(pid) if pid > 1 => next = parent(pid),
            _ => return false,
        }
    }
    false
}

/// The parent by `/proc/PID/stat`; the name before it may hold blanks and parentheses.
fn parent(pid: u32) -> Option<u32> {
    let stat = control::read(Path::new(&format!("/proc/{pid}/stat"))).ok()?;
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}

fn names(base: &Path, file: &str) -> Result<Vec<String>, ControlError> {
    let text = control::read(&base.join(file))?;
    Ok(text.split_ascii_whitespace().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WANTED: [&str; 3] = ["cpu", "memory", "pids"];

    fn facts(has: &[&str], hands_down: &[&str], processes: &[u32], ours: &[u32]) -> Facts {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Facts {
            is_root: false,
            has: owned(has),
            hands_down: owned(hands_down),
            processes: processes.into(),
            ours: ours.into(),
        }
    }

    #[test]
    fn our_own_processes_make_room_first() {
        let plan = plan(&facts(&["io", "cpu", "pids"], &[], &[7, 8], &[7, 8]), &WANTED).unwrap();
        assert_eq!(plan, Plan { moved: vec![7, 8], enabled: vec!["cpu", "pids"] });
    }

    #[test]
    fn a_process_of_somebody_else_is_not_moved() {
        let facts = facts(&["cpu"], &[], &[7, 8, 0], &[7]);
        assert_eq!(plan(&facts, &WANTED), Err(Foreign(2)));
    }

    #[test]
    fn nothing_moves_where_nothing_is_left_to_hand_down() {
        let done = plan(&facts(&["cpu"], &["cpu"], &[7, 8], &[7]), &WANTED).unwrap();
        assert_eq!(done, Plan { moved: vec![], enabled: vec![] });
    }

    #[test]
    fn the_root_of_all_keeps_its_processes() {
        let root = Facts { is_root: true, ..facts(&["memory"], &[], &[1, 2], &[2]) };
        assert_eq!(plan(&root, &WANTED).unwrap(), Plan { moved: vec![], enabled: vec!["memory"] });
    }

    #[test]
    fn only_what_we_started_is_ours() {
        let parents = |pid| match pid {
            30 => Some(20),
            20 => Some(10),
            10 | 40 => Some(1),
            50 => Some(51),
            51 => Some(50),
            _ => None,
        };
        assert!(descends(30, 10, parents) && descends(10, 10, parents));
        assert!(!descends(40, 10, parents) && !descends(0, 10, parents));
        assert!(!descends(50, 10, parents), "a circle has an end");
    }

    proptest! {
        #[test]
        fn a_plan_moves_all_or_nothing_and_never_a_foreign_process(
            processes in proptest::collection::btree_set(0_u32..20, 0..8), mask in any::<u32>(), is_root in any::<bool>(),
            has in proptest::sample::subsequence(vec!["cpu", "io", "memory", "pids"], 0..=4), down in 0_usize..4,
        ) {
            let processes: Vec<u32> = processes.into_iter().collect();
            let ours: Vec<u32> = processes.iter().copied().filter(|pid| mask & (1 << pid) != 0).collect();
            let facts = Facts { is_root, ..facts(&has, &has[..down.min(has.len())], &processes, &ours) };
            if let Ok(plan) = plan(&facts, &WANTED) {
                prop_assert!(plan.moved.iter().all(|pid| ours.contains(pid)));
                prop_assert!(plan.moved.is_empty() || (plan.moved == processes && !is_root));
                prop_assert!(plan.enabled.is_empty() || is_root || plan.moved == processes);
                prop_assert!(plan.enabled.iter().all(|name| WANTED.contains(name) && facts.has.iter().any(|has| has == name)));
            }
        }
    }
}
