//! A machine with systemd for one test: `systemd-nspawn` boots the host's own `/usr`, read-only, with an empty `/etc`
//! and `/var` and no network but a loopback of its own. Nothing is downloaded, and nothing of the host but its
//! programs is seen. It can be rebooted; what is on its disk stays.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::world::{Ended, binary, is_root};

/// How systemd sees control groups in there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hierarchy {
    /// One, of version 2.
    Unified,
    /// Those of version 1.
    Legacy,
}

pub(crate) struct Container {
    directory: tempfile::TempDir,
    kind: Hierarchy,
    name: String,
    groups: Vec<PathBuf>,
    nspawn: Child,
}

/// Plays a test in a machine of each kind that can be booted here.
pub(crate) fn in_every_container(play: impl Fn(&mut Container)) {
    if !is_root() {
        return eprintln!("not root: nothing can be booted");
    }
    let unshared = Command::new("unshare").args(["--mount", "true"]).status();
    if !unshared.is_ok_and(|status| status.success()) {
        return eprintln!("no mount namespace can be made: nothing can be booted");
    }
    let mut kinds = Vec::new();
    kinds.extend(mounted("cgroup2", "").map(|_| Hierarchy::Unified));
    kinds.extend(mounted("cgroup", "name=systemd").map(|_| Hierarchy::Legacy));
    assert!(!kinds.is_empty(), "no control groups are mounted");
    for kind in kinds {
        eprintln!("--- in a machine with {kind:?} control groups");
        play(&mut Container::boot(kind));
    }
}

impl Container {
    /// Boots, and waits until everything that starts by itself has started.
    fn boot(kind: Hierarchy) -> Container {
        let directory = tempfile::Builder::new().prefix("fettle-machine-").tempdir().unwrap();
        furnish(directory.path());
        let name = directory.path().file_name().unwrap().to_str().unwrap().replace('.', "");
        let groups = own_groups(&name);
        let nspawn = nspawn(directory.path(), kind, &name, &groups);
        let container = Container { directory, kind, name, groups, nspawn };
        container.wait_until_up(None);
        container
    }

    /// A file of the machine, as the host sees it.
    pub(crate) fn path(&self, inside: &str) -> PathBuf {
        self.directory.path().join(inside.trim_start_matches('/'))
    }

    /// Runs a command in there.
    pub(crate) fn run(&self, words: &[&str]) -> Ended {
        let ended = self.call(words);
        eprintln!("# {}\n{ended}", words.join(" "));
        ended
    }

    /// Runs a command that succeeds, and gives what it prints.
    pub(crate) fn done(&self, words: &[&str]) -> String {
        let ended = self.run(words);
        assert_eq!(ended.code, Some(0), "{words:?} fails: {ended}");
        ended.stdout.trim_end().to_owned()
    }

    /// Runs fettle, and reads its JSON.
    pub(crate) fn fettle(&self, words: &[&str]) -> Value {
        let printed = self.done(&[&[FETTLE, "--json"], words].concat());
        serde_json::from_str(&printed).unwrap()
    }

    /// A property of a unit.
    pub(crate) fn property(&self, unit: &str, name: &str) -> String {
        self.call(&["systemctl", "show", "--value", "-p", name, unit]).stdout.trim().to_owned()
    }

    /// Waits for something to become true.
    pub(crate) fn wait_for(&self, what: &str, is_so: impl Fn() -> bool) {
        let began = Instant::now();
        while !is_so() {
            assert!(began.elapsed() < PATIENCE, "in vain: {what}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Shuts everything down and boots again.
    pub(crate) fn reboot(&mut self) {
        let before = self.leader();
        self.run(&["systemctl", "reboot"]);
        if !host_has_systemd() {
            // Told to keep its unit, nspawn leaves the next boot to whoever started it.
            assert_eq!(self.nspawn.wait().unwrap().code(), Some(133));
            self.nspawn = nspawn(self.directory.path(), self.kind, &self.name, &self.groups);
        }
        self.wait_until_up(before);
    }

    /// Puts the binary under test where a new version of it would be put: aside, then by a rename.
    pub(crate) fn put_program(&self) {
        let aside = self.path("opt/fettle.new");
        fs::copy(binary(), &aside).unwrap();
        fs::rename(aside, self.path(FETTLE)).unwrap();
    }

    fn call(&self, words: &[&str]) -> Ended {
        let leader = self.leader().expect("the machine is up").to_string();
        let mut command = Command::new("nsenter");
        command.args(["-t", &leader, "-m", "-u", "-i", "-n", "-p", "-C", "--"]).args(words);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").stdin(Stdio::null());
        Ended::from(command.output().unwrap())
    }

    /// Process 1 of the machine, as the host counts: the child of nspawn.
    fn leader(&self) -> Option<u32> {
        let parent = format!("PPid:\t{}\n", self.nspawn.id());
        let pids = fs::read_dir("/proc").unwrap().flatten();
        let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let is_child = |pid: &u32| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            status.contains(&parent) && status.starts_with("Name:\tsystemd\n")
        };
        pids.into_iter().find(is_child)
    }

    fn wait_until_up(&self, before: Option<u32>) {
        self.wait_for("the machine is up", || {
            self.leader().is_some_and(|leader| Some(leader) != before) && {
                let state = self.call(&["systemctl", "is-system-running"]).stdout;
                ["running", "degraded"].contains(&state.trim())
            }
        });
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if std::thread::panicking() {
            if self.leader().is_some() {
                self.run(&["journalctl", "--no-pager", "-n", "200"]);
            }
            let said = self.directory.path().with_extension("said");
            eprintln!("--- nspawn\n{}", fs::read_to_string(said).unwrap_or_default());
        }
        // The end of process 1 is the end of everything in there, and then of nspawn.
        if let Some(leader) =
            self.leader().and_then(|pid| rustix::process::Pid::from_raw(pid as i32))
        {
            let _ = rustix::process::kill_process(leader, rustix::process::Signal::KILL);
        } else {
            let _ = self.nspawn.kill();
        }
        let _ = self.nspawn.wait();
        let _ = fs::remove_file(self.directory.path().with_extension("said"));
        self.groups.iter().for_each(|group| remove_group(group));
    }
}

/// Boots what lies in a directory.
fn nspawn(root: &Path, kind: Hierarchy, name: &str, groups: &[PathBuf]) -> Child {
    // A systemd on the host gives the machine a group; without one it gets those that were made.
    let enter =
        "for group in $GROUPS_OF_ITS_OWN; do echo $$ >$group/cgroup.procs; done; exec \"$@\"";
    let mut nspawn = Command::new("sh");
    nspawn.args(["-c", enter, "sh", "systemd-nspawn", "--quiet", "--boot"]);
    nspawn.arg("--directory").arg(root).args(["--bind-ro=/usr", "--private-network"]);
    nspawn.args(["--register=no", "--console=pipe", &format!("--machine={name}")]);
    if !host_has_systemd() {
        nspawn.arg("--keep-unit");
    }
    nspawn.arg("systemd.unit=multi-user.target");
    let listed: Vec<&str> = groups.iter().map(|group| group.to_str().unwrap()).collect();
    nspawn.env("GROUPS_OF_ITS_OWN", listed.join(" "));
    let unified = if kind == Hierarchy::Unified { "yes" } else { "no" };
    nspawn.env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", unified);
    let said = fs::File::create(root.with_extension("said")).unwrap();
    nspawn.stdin(Stdio::null()).stdout(said.try_clone().unwrap()).stderr(said);
    nspawn.spawn().unwrap()
}

/// What a machine needs beside `/usr`.
fn furnish(root: &Path) {
    for dir in
        ["usr", "etc/systemd/system", "var", "run", "tmp", "root", "proc", "sys", "dev", "opt"]
    {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    for link in ["bin", "sbin", "lib", "lib32", "lib64", "libx32"] {
        if Path::new("/").join(link).is_symlink() {
            symlink(Path::new("usr").join(link), root.join(link)).unwrap();
        }
    }
    // Without one it would be a first boot, which enables everything that the host has installed.
    fs::write(root.join("etc/machine-id"), "0123456789abcdef0123456789abcdef\n").unwrap();
    fs::write(
        root.join("etc/passwd"),
        "root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n",
    )
    .unwrap();
    fs::write(root.join("etc/group"), "root:x:0:\nuser:x:1000:\n").unwrap();
    // nspawn looks at it before `/usr` is there.
    fs::copy("/etc/os-release", root.join("etc/os-release")).unwrap();
    fs::create_dir_all(root.join("home/user")).unwrap();
    std::os::unix::fs::chown(root.join("home/user"), Some(1000), Some(1000)).unwrap();
    fs::create_dir(root.join("opt/fettle")).unwrap();
    fs::copy(binary(), root.join(FETTLE.trim_start_matches('/'))).unwrap();
}

fn host_has_systemd() -> bool {
    Path::new("/run/systemd/system").exists()
}

/// Groups for a machine on a host whose process 1 gives none.
fn own_groups(name: &str) -> Vec<PathBuf> {
    if host_has_systemd() {
        return Vec::new();
    }
    let roots = [mounted("cgroup2", ""), mounted("cgroup", "name=systemd")];
    let groups = roots.into_iter().flatten().map(|root| root.join(name));
    groups.inspect(|group| fs::create_dir(group).unwrap()).collect()
}

/// A group and those in it; a directory of the kernel's that is removed when nobody is in it any more.
fn remove_group(group: &Path) {
    let entries = fs::read_dir(group).into_iter().flatten().flatten();
    entries.filter(|entry| entry.path().is_dir()).for_each(|entry| remove_group(&entry.path()));
    let began = Instant::now();
    while fs::remove_dir(group).is_err()
        && group.exists()
        && began.elapsed() < Duration::from_secs(5)
    {
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Where control groups of this kind are mounted.
fn mounted(kind: &str, option: &str) -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/mounts").unwrap();
    mounts.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(' ').collect();
        let fits =
            fields[2] == kind && (option.is_empty() || fields[3].split(',').any(|o| o == option));
        fits.then(|| PathBuf::from(fields[1]))
    })
}

/// The program, as it lies in there.
pub(crate) const FETTLE: &str = "/opt/fettle/fettle";
/// Longer than a boot takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(40);
