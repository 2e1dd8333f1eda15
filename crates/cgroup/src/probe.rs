//! Finds out what can be done here, by doing it to a group that is made for it and removed again.
//!
//! A version number, a mounted tree or a file's name promises nothing: containers, kernels built without a
//! part, and missing rights all differ. So each ability is used once, and what was refused is kept as a reason.
//! A crash in between leaves an empty group that the next sweep removes.

use std::num::{NonZeroU32, NonZeroU64};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::OFlags;

use crate::capability::{By, Capabilities, Capability};
use crate::control::{self, ControlError};
use crate::delegate::{self, CONTROLLERS, MANAGER_LEAF};
use crate::freeze;
use crate::limits::{self, Request, Version};
use crate::membership::{self, Membership};
use crate::mounts::{self, Mount};
use crate::places::{Places, Wanted, Where, own_groups};

/// The kernel's two lists for one process.
pub(crate) struct Machine {
    mounts: Vec<Mount>,
    memberships: Vec<Membership>,
}

impl Machine {
    /// The mounts that this process sees, and the groups that a process is in (`self` or a number).
    pub(crate) fn of(process: &str) -> Result<Machine, ControlError> {
        let mounts = control::read(Path::new("/proc/self/mountinfo"))?;
        let memberships = control::read(Path::new(&format!("/proc/{process}/cgroup")))?;
        Ok(Machine {
            mounts: mounts::parse(mounts.as_bytes()),
            memberships: membership::parse(memberships.as_bytes()),
        })
    }

    /// The directory of the process's group in a tree, or why it has none.
    pub(crate) fn own(&self, wanted: Wanted) -> Result<PathBuf, String> {
        let magic = if wanted == Wanted::Unified { CGROUP2_MAGIC } else { CGROUP_MAGIC };
        let candidates = own_groups(&self.mounts, &self.memberships, wanted)
            .map_err(|error| error.to_string())?;
        let mut reason = String::new();
        for candidate in candidates {
            match control::is_in(&candidate, magic) {
                Ok(true) => return Ok(candidate),
                Ok(false) => reason = format!("{} is hidden by a mount", candidate.display()),
                Err(error) => reason = error.sentence(),
            }
        }
        Err(reason)
    }
}

/// Makes the node's directories and tries every ability in them.
pub(crate) fn establish(node: &str) -> (Places, Capabilities) {
    match Machine::of("self") {
        Ok(machine) => Trial::new(&machine, node).judge(),
        Err(error) => Trial::impossible(&error.sentence()).judge(),
    }
}

/// As on a machine that has version 1 alone.
#[cfg(test)]
pub(crate) fn establish_without_unified(node: &str) -> (Places, Capabilities) {
    let machine = Machine::of("self").unwrap_or(Machine { mounts: vec![], memberships: vec![] });
    let legacy: Box<dyn Fn(&'static str) -> Room> =
        Box::new(|controller| legacy(&machine, controller, node));
    Trial { legacy, unified: Err("left out".to_owned()), handed_down: Vec::new() }.judge()
}

/// A tree with the node's directory and a group to try things in, or why there is none.
type Room = Result<(PathBuf, ProbeGroup), String>;

struct Trial<'a> {
    legacy: Box<dyn Fn(&'static str) -> Room + 'a>,
    unified: Room,
    /// Which controllers the groups below the node's directory have in version 2.
    handed_down: Vec<(&'static str, Result<(), String>)>,
}

impl<'a> Trial<'a> {
    fn new(machine: &'a Machine, node: &'a str) -> Trial<'a> {
        let (unified, handed_down) = match unified(machine, node) {
            Ok((room, handed_down)) => (Ok(room), handed_down),
            Err(reason) => (Err(reason), Vec::new()),
        };
        Trial {
            legacy: Box::new(|controller| legacy(machine, controller, node)),
            unified,
            handed_down,
        }
    }

    fn impossible(reason: &str) -> Trial<'static> {
        let reason = reason.to_owned();
        let unified = Err(reason.clone());
        Trial { legacy: Box::new(move |_| Err(reason.clone())), unified, handed_down: Vec::new() }
    }

    fn judge(self) -> (Places, Capabilities) {
        let mut places = Places {
            unified: self.unified.as_ref().ok().map(|room| room.0.clone()),
            ..Places::default()
        };

        let bytes = NonZeroU64::new(1 << 30);
        let (memory, tree) =
            self.limit(&mut places, "memory", |version| limits::memory(version, bytes));
        places.memory = tree;
        // A hundredth of a processor: version 1 refuses more than a group above has.
        let (cpu, tree) =
            self.limit(&mut places, "cpu", |version| limits::cpu(version, NonZeroU32::new(10)));
        places.cpu = tree;
        let (tasks, tree) =
            self.limit(&mut places, "pids", |_| limits::tasks(NonZeroU32::new(1000)));
        places.tasks = tree;

        let freeze = self.freeze(&mut places);
        places.members = places
            .unified
            .as_ref()
            .map(|_| Where::Unified)
            .or(places.freezer)
            .or(places.tasks)
            .or(places.memory)
            .or(places.cpu);
        let events = self.events();
        let (kill, start) = self.kill_and_start(&mut places);
        (places, Capabilities { memory, cpu, tasks, kill, freeze, events, start })
    }

    /// Tries a bound in version 2, then in version 1.
    fn limit(
        &self,
        places: &mut Places,
        controller: &'static str,
        requests: impl Fn(Version) -> Vec<Request>,
    ) -> (Capability, Option<Where>) {
        let unified = self.unified.as_ref().map_err(Clone::clone).and_then(|(node, probe)| {
            let handed = self.handed_down.iter().find(|(name, _)| *name == controller);
            handed.map_or_else(|| Err("not tried".to_owned()), |(_, result)| result.clone())?;
            probe.bear(&requests(Version::Two))?;
            Ok(node.clone())
        });
        let second = match unified {
            Ok(at) => return (Capability::Has { by: By::V2, at }, Some(Where::Unified)),
            Err(reason) => reason,
        };
        let legacy = (self.legacy)(controller).and_then(|(node, probe)| {
            probe.bear(&requests(Version::One))?;
            Ok(node)
        });
        match legacy {
            Ok(at) => {
                let tree = places.legacy_tree(at.clone());
                (Capability::Has { by: By::V1, at }, Some(tree))
            }
            Err(first) => (neither(&second, &first), None),
        }
    }

    fn freeze(&self, places: &mut Places) -> Capability {
        let unified = self.unified.as_ref().map_err(Clone::clone).and_then(|(node, probe)| {
            freeze::unified(&probe.0, TRIAL).map_err(|error| sentence(&error))?;
            Ok(node.clone())
        });
        let second = match unified {
            Ok(at) => {
                places.freezes = true;
                return Capability::Has { by: By::V2, at };
            }
            Err(reason) => reason,
        };
        let legacy = (self.legacy)("freezer").and_then(|(node, probe)| {
            freeze::legacy(&probe.0, TRIAL).map_err(|error| sentence(&error))?;
            control::write(&probe.0.join("freezer.state"), "THAWED").map_err(|e| e.sentence())?;
            Ok(node)
        });
        match legacy {
            Ok(at) => {
                places.freezer = Some(places.legacy_tree(at.clone()));
                Capability::Has { by: By::V1, at }
            }
            Err(first) => neither(&second, &first),
        }
    }

    fn events(&self) -> Capability {
        let tried = self.unified.as_ref().map_err(Clone::clone).and_then(|(node, probe)| {
            let path = probe.0.join("cgroup.events");
            let text = control::read(&path).map_err(|error| error.sentence())?;
            match control::keyed(&text, "populated") {
                Some(_) => Ok(node.clone()),
                None => Err(format!("{} does not tell whether it is populated", path.display())),
            }
        });
        match tried {
            Ok(at) => Capability::Has { by: By::V2, at },
            Err(second) => neither(&second, "it has no such event"),
        }
    }

    fn kill_and_start(&self, places: &mut Places) -> (Capability, Capability) {
        match (&self.unified, places.members) {
            (Ok((node, probe)), Some(Where::Unified)) => {
                places.kills_at_once = control::write(&probe.0.join("cgroup.kill"), "1").is_ok();
                let has = Capability::Has { by: By::V2, at: node.clone() };
                let start = match control::open(&probe.0, OFlags::RDONLY | OFlags::DIRECTORY) {
                    Ok(_) => has.clone(),
                    Err(error) => Capability::Lacks { why: error.sentence() },
                };
                (has, start)
            }
            (_, Some(tree)) => {
                let has = Capability::Has { by: By::V1, at: places.node(tree).to_owned() };
                (has.clone(), has)
            }
            (Err(second), None) => {
                let none = neither(second, "no tree of it can be used");
                (none.clone(), none)
            }
            (Ok(_), None) => {
                let none = Capability::Lacks { why: "no tree can be used".to_owned() };
                (none.clone(), none)
            }
        }
    }
}

/// The group that this process's node belongs below, in version 2.
pub(crate) fn base() -> Result<PathBuf, String> {
    base_of(&Machine::of("self").map_err(|error| error.sentence())?)
}

/// The own group, or the one above where the own one is a leaf for processes.
fn base_of(machine: &Machine) -> Result<PathBuf, String> {
    let own = machine.own(Wanted::Unified)?;
    Ok(match own.parent() {
        Some(above) if own.ends_with(MANAGER_LEAF) || own.ends_with(CONTROL_LEAF) => {
            above.to_owned()
        }
        _ => own,
    })
}

type HandedDown = Vec<(&'static str, Result<(), String>)>;

/// Makes the node's directory in version 2 and hands it what controllers there are.
fn unified(machine: &Machine, node: &str) -> Result<((PathBuf, ProbeGroup), HandedDown), String> {
    let base = base_of(machine)?;
    let node = base.join(node);
    let made = control::make_dir(&node).map_err(|error| error.sentence())?;
    // A process may enter only by the right to write the list of the group above both places, too.
    let procs = |dir: &Path| control::may_write(&dir.join("cgroup.procs"));
    if let Err(error) = procs(&base).and_then(|()| procs(&node)) {
        if made {
            let _ = control::remove_dir(&node); // nothing is lost by an empty group
        }
        return Err(error.sentence());
    }
    let below_base = delegate::hand_down(&base, &CONTROLLERS);
    let given: Vec<&'static str> =
        below_base.iter().filter(|(_, result)| result.is_ok()).map(|(name, _)| *name).collect();
    let mut handed_down = delegate::hand_down(&node, &given);
    handed_down.extend(below_base.into_iter().filter(|(_, result)| result.is_err()));
    let probe = ProbeGroup::new(&node)?;
    Ok(((node, probe), handed_down))
}

/// Makes the node's directory in the version 1 tree of a controller.
fn legacy(machine: &Machine, controller: &'static str, node: &str) -> Room {
    let node = machine.own(Wanted::Legacy(controller))?.join(node);
    let made = control::make_dir(&node).map_err(|error| error.sentence())?;
    let probe = control::may_write(&node.join("cgroup.procs"))
        .map_err(|error| error.sentence())
        .and_then(|()| ProbeGroup::new(&node));
    if probe.is_err() && made {
        let _ = control::remove_dir(&node); // nothing is lost by an empty group
    }
    Ok((node, probe?))
}

/// A group that is gone when it is dropped.
struct ProbeGroup(PathBuf);

impl ProbeGroup {
    fn new(node: &Path) -> Result<ProbeGroup, String> {
        let dir = node.join(format!("probe-{}", std::process::id()));
        control::make_dir(&dir).map_err(|error| error.sentence())?;
        Ok(ProbeGroup(dir))
    }

    fn bear(&self, requests: &[Request]) -> Result<(), String> {
        control::write_all(&self.0, requests).map_err(|error| error.sentence())
    }
}

impl Drop for ProbeGroup {
    fn drop(&mut self) {
        let _ = control::remove_dir(&self.0); // the next sweep takes it
    }
}

fn neither(second: &str, first: &str) -> Capability {
    Capability::Lacks { why: format!("cgroup v2: {second}; cgroup v1: {first}") }
}

fn sentence(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", sentence(source)),
        None => error.to_string(),
    }
}

/// Where systemd runs `ExecStartPre=` and the like of a delegated unit.
const CONTROL_LEAF: &str = ".control";
/// `CGROUP_SUPER_MAGIC` and `CGROUP2_SUPER_MAGIC` of `linux/magic.h`.
const CGROUP_MAGIC: u64 = 0x0027_e0eb;
const CGROUP2_MAGIC: u64 = 0x6367_7270;
/// An empty group freezes at once.
const TRIAL: Duration = Duration::from_secs(1);
