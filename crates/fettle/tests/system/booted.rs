//! The services in a booted systemd: installed as a user installs them, restarted, killed, upgraded, rebooted.

use std::fs;

use serde_json::Value;

use crate::container::{Container, FETTLE, in_every_container};
use crate::world::SCRIPT;

const NODE: &str = "fettle-node.service";
const SERVER: &str = "fettle-server.service";
const INSTANCE: &str = "weather/1/1";

#[test]
fn programs_outlive_every_end_of_their_manager_and_come_back_after_a_reboot_without_a_repository() {
    in_every_container(|machine| {
        install_services(machine);
        publish(machine, &[]);
        machine.fettle(&["install", "demo/weather", "--start"]);
        let program = Program::now(machine);
        let group = machine.done(&["cat", &format!("/proc/{}/cgroup", program.pid)]);
        assert!(group.contains(NODE), "it lives in the unit of the node: {group}");
        assert!(!environment(machine).contains("NOTIFY_SOCKET"), "the manager's own stay its own");
        assert_eq!(machine.done(&["cat", &format!("/proc/{}/oom_score_adj", program.pid)]), "0");
        let limits = machine.done(&["cat", &format!("/proc/{}/limits", program.pid)]);
        let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
        assert_eq!(files.split_whitespace().nth(3), Some("1024"), "as programs expect: {files}");

        // Restarted: another manager, the same program.
        let manager = manager_of(machine);
        machine.done(&["systemctl", "restart", NODE]);
        assert_ne!(manager_of(machine), manager);
        program.lives_on(machine);

        // Killed: systemd starts another one.
        let manager = manager_of(machine);
        machine.done(&["kill", "-KILL", &manager]);
        machine.wait_for("another manager is there", || {
            let now = manager_of(machine);
            now != "0" && now != manager && machine.property(NODE, "ActiveState") == "active"
        });
        program.lives_on(machine);

        // Upgraded: the file that the unit names is another one now.
        machine.put_program();
        machine.done(&["systemctl", "restart", NODE]);
        let executed = machine.done(&["readlink", &format!("/proc/{}/exe", manager_of(machine))]);
        assert_eq!(executed, FETTLE, "not the file that was replaced");
        program.lives_on(machine);

        // Stopped and started.
        machine.done(&["systemctl", "stop", NODE]);
        machine.done(&["kill", "-0", &program.pid]);
        machine.done(&["systemctl", "start", NODE]);
        program.lives_on(machine);

        // Rebooted, with no repository to ask.
        machine.done(&["systemctl", "disable", "--now", SERVER]);
        machine.reboot();
        assert_eq!(machine.property(SERVER, "ActiveState"), "inactive");
        assert_eq!(machine.property(NODE, "ActiveState"), "active");
        machine.wait_for("the program runs again", || {
            machine.fettle(&["status", INSTANCE])["state"] == "running"
        });
        Program::now(machine).is_the_only_one(machine);
    });
}

#[test]
fn a_service_is_active_when_it_listens_and_wrong_settings_end_it_for_good() {
    in_every_container(|machine| {
        install_services(machine);
        for unit in [NODE, SERVER] {
            assert_eq!(machine.property(unit, "Type"), "notify");
            // `enable --now` waited for READY=1: whoever asks now is answered.
            let status = machine.property(unit, "StatusText");
            assert!(status.starts_with("listening on "), "{unit}: {status}");
        }
        let node = machine.fettle(&["status"]);
        assert_eq!(node["config"], "/etc/fettle/node.toml");
        assert_eq!(node["data"], "/var/lib/fettle/node");

        let again = machine.fettle(&["node", "install-service"]);
        assert_eq!((&again["unit_is"], &again["settings_are"]), (&"kept".into(), &"kept".into()));

        let settings = machine.path("etc/fettle/node.toml");
        let right = fs::read_to_string(&settings).unwrap();
        fs::write(&settings, format!("{right}\nlisen = \"x\"\n")).unwrap();
        assert_ne!(machine.run(&["systemctl", "restart", NODE]).code, Some(0));
        machine.wait_for("it failed", || machine.property(NODE, "ActiveState") == "failed");
        assert_eq!(machine.property(NODE, "ExecMainStatus"), "2");
        let journal = machine.done(&["journalctl", "--no-pager", "-o", "cat", "-u", NODE]);
        assert!(journal.contains("unknown key `lisen`"), "{journal}");
        assert!(journal.contains("did you mean `listen`?"), "{journal}");
        fs::write(&settings, right).unwrap();
        machine.done(&["systemctl", "start", NODE]);
    });
}

#[test]
fn an_account_without_rights_has_services_of_its_own() {
    in_every_container(|machine| {
        let manager = machine.path("etc/systemd/system/manager-of-user.service");
        fs::write(manager, MANAGER_OF_USER).unwrap();
        machine.done(&["systemctl", "start", "manager-of-user"]);
        let as_user = |words: &[&str]| machine.done(&[AS_USER, words].concat());
        for daemon in ["server", "node"] {
            let words = [FETTLE, "--json", daemon, "install-service", "--user"];
            let report: Value = serde_json::from_str(&as_user(&words)).unwrap();
            let unit = format!("/home/user/.config/systemd/user/fettle-{daemon}.service");
            assert_eq!(report["unit"], unit);
            for next in report["next"].as_array().unwrap() {
                as_user(&["sh", "-c", next.as_str().unwrap()]);
            }
        }
        // The command line of the account finds both where they are.
        let status: Value = serde_json::from_str(&as_user(&[FETTLE, "--json", "status"])).unwrap();
        assert_eq!(status["config"], "/home/user/.config/fettle/node.toml");
        assert_eq!(status["data"], "/home/user/.local/share/fettle/node");
        assert_eq!(as_user(&[FETTLE, "object", "list", "--json"]), "");
        publish(machine, AS_USER);
        as_user(&[FETTLE, "install", "demo/weather", "--start"]);
        let running = || {
            let status = as_user(&[FETTLE, "--json", "status", INSTANCE]);
            let status: Value = serde_json::from_str(&status).unwrap();
            (status["state"].clone(), status["pid"].clone())
        };
        let before = running();
        as_user(&["systemctl", "--user", "restart", "fettle-node"]);
        assert_eq!((&before.0, running()), (&"running".into(), before.clone()));
    });
}

/// What a login would start; without PAM, which the machine has no configuration for.
const MANAGER_OF_USER: &str = "[Service]
Type=notify
User=user
RuntimeDirectory=user-manager
Environment=XDG_RUNTIME_DIR=/run/user-manager HOME=/home/user
Delegate=yes
ExecStart=/usr/lib/systemd/systemd --user
";

const AS_USER: &[&str] = &[
    "setpriv",
    "--reuid=1000",
    "--regid=1000",
    "--clear-groups",
    "env",
    "HOME=/home/user",
    "XDG_RUNTIME_DIR=/run/user-manager",
];

/// Installs and starts both, by the commands that `install-service` names.
fn install_services(machine: &Container) {
    for daemon in ["server", "node"] {
        let report = machine.fettle(&[daemon, "install-service"]);
        assert_eq!(report["unit"], format!("/etc/systemd/system/fettle-{daemon}.service"));
        assert_eq!(report["settings"], format!("/etc/fettle/{daemon}.toml"));
        for next in report["next"].as_array().unwrap() {
            machine.done(&["sh", "-c", next.as_str().unwrap()]);
        }
        assert_eq!(
            machine.done(&["systemctl", "is-active", &format!("fettle-{daemon}")]),
            "active"
        );
    }
}

fn publish(machine: &Container, account: &[&str]) {
    fs::write(machine.path("program.sh"), SCRIPT).unwrap();
    let manifest = "title = \"weather\"\nname = \"demo/weather\"\nversion = \"1.0.0\"\n\n\
                    [program]\nany = \"program.sh\"\n";
    fs::write(machine.path("weather.toml"), manifest).unwrap();
    machine.done(&[account, &[FETTLE, "app", "publish", "/weather.toml"]].concat());
}

fn manager_of(machine: &Container) -> String {
    machine.property(NODE, "MainPID")
}

fn environment(machine: &Container) -> String {
    let pid = Program::now(machine).pid;
    machine.done(&["sh", "-c", &format!("tr '\\0' '\\n' </proc/{pid}/environ")])
}

/// A running program, told from another one with its number by when it began.
#[derive(Debug, PartialEq, Eq)]
struct Program {
    pid: String,
    began: String,
}

impl Program {
    fn now(machine: &Container) -> Program {
        let status: Value = machine.fettle(&["status", INSTANCE]);
        assert_eq!(status["state"], "running", "{status}");
        let pid = status["pid"].as_u64().unwrap().to_string();
        let stat = machine.done(&["cat", &format!("/proc/{pid}/stat")]);
        // proc(5): the 22nd field; the second ends in the last parenthesis.
        let after = stat.rsplit_once(") ").unwrap().1;
        Program { pid, began: after.split(' ').nth(19).unwrap().to_owned() }
    }

    /// The same process runs, its manager knows it, and there is no other.
    fn lives_on(&self, machine: &Container) {
        assert_eq!(&Program::now(machine), self);
        self.is_the_only_one(machine);
    }

    fn is_the_only_one(&self, machine: &Container) {
        let all = "for e in /proc/[0-9]*/environ; do \
                   tr '\\0' '\\n' <$e 2>/dev/null | grep -q '^FETTLE_INSTANCE=' && \
                   grep -L sleep ${e%environ}comm; done; true";
        let found = machine.done(&["sh", "-c", all]);
        assert_eq!(found, format!("/proc/{}/comm", self.pid));
    }
}
