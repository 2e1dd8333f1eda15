//! What runs, as the kernel tells it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A process.
#[derive(Debug, Clone)]
pub(super) struct Process {
    pub(super) pid: u32,
    pub(super) parent: u32,
    pub(super) group: u32,
    pub(super) is_zombie: bool,
    name: String,
    command: Vec<u8>,
    environment: BTreeMap<String, String>,
}

impl Process {
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        self.environment.get(name).map(String::as_str)
    }
}

/// Everything that runs on this machine.
pub(super) fn processes() -> Vec<Process> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| process(&entry.path())).collect()
}

fn process(proc: &Path) -> Option<Process> {
    let pid = proc.file_name()?.to_str()?.parse().ok()?;
    let stat = fs::read_to_string(proc.join("stat")).ok()?;
    let (name, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let environment = fs::read(proc.join("environ")).unwrap_or_default();
    let environment = environment.split(|byte| *byte == 0).filter_map(|variable| {
        let variable = String::from_utf8_lossy(variable);
        variable.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()))
    });
    Some(Process {
        pid,
        parent: fields[1].parse().ok()?,
        group: fields[2].parse().ok()?,
        is_zombie: matches!(fields[0], "Z" | "X"),
        name: name.split_once('(')?.1.to_owned(),
        command: fs::read(proc.join("cmdline")).unwrap_or_default(),
        environment: environment.collect(),
    })
}

/// Those of a node's instances.
pub(super) fn programs(root: &Path) -> Vec<Process> {
    let root = root.to_str().unwrap();
    let is_of = |process: &Process| {
        process.variable("FETTLE_WORKSPACE").is_some_and(|at| at.starts_with(root))
    };
    processes().into_iter().filter(|process| !process.is_zombie && is_of(process)).collect()
}

/// The launchers of a node.
pub(super) fn launchers(root: &Path) -> Vec<Process> {
    let root = root.as_os_str().as_encoded_bytes();
    let is_it = |process: &Process| {
        process.name == "fettle-launch"
            && process.command.windows(root.len()).any(|bytes| bytes == root)
    };
    processes().into_iter().filter(|process| !process.is_zombie && is_it(process)).collect()
}

/// The control groups of instances of these titles that there are.
pub(super) fn groups(prefix: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if entry.file_name().to_str().is_some_and(|name| name.starts_with(prefix)) {
                    found.push(entry.path());
                }
                open.push(entry.path());
            }
        }
    }
    found
}

/// How many descriptors a process has open.
pub(super) fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// The most memory that a process had, in KiB (proc_pid_status(5)).
pub(super) fn peak_memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}
