//! What has to be true when everybody has finished, read from the disk and from the kernel by a reader of its
//! own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde_json::Value;

use super::applications::twice;
use super::field::{Field, Verdict, eventually};
use super::processes::{Process, groups, launchers, processes, programs};

/// What begins the titles of all applications of a mix.
pub(super) const PREFIX: &str = "mx";

/// Everything comes to rest, and is as it should be.
pub(super) fn comes_to_rest(field: &Field) {
    eventually("all operations end", || {
        let operations = field.look(&["operation", "list"]);
        operations.iter().all(|body| matches!(body["state"].as_str(), Some("done" | "failed")))
    });
    let mut found = Vec::new();
    for _ in 0..600 {
        found = unrest(field);
        if found.is_empty() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    assert!(found.is_empty(), "for a minute:\n{}", found.join("\n"));
    assert!(matches!(field.give(&["store", "gc"]), Verdict::Done(_)));
    let Verdict::Done(verified) = field.give(&["store", "verify"]) else { panic!("not verified") };
    assert_eq!(verified["damaged"], 0, "{verified}");
    let world = field.world.read().unwrap();
    store_is_what_is_needed(&world.root());
    let twice = fs::read_to_string(twice(&world)).unwrap_or_default();
    assert_eq!(twice, "", "these ran twice at a time");
}

/// What is not as it says it is, or not at rest yet.
fn unrest(field: &Field) -> Vec<String> {
    let root = field.world.read().unwrap().root();
    let bodies = field.look(&["ps"]);
    let mut of_instance = BTreeMap::<String, Vec<Process>>::new();
    for process in programs(&root) {
        let name = process.variable("FETTLE_INSTANCE").unwrap_or("nobody").to_owned();
        of_instance.entry(name).or_default().push(process);
    }
    let mut found = Vec::new();
    let mut running = BTreeSet::new();
    for body in &bodies {
        let name = body["instance"].as_str().unwrap();
        let its = of_instance.remove(name).unwrap_or_default();
        match body["state"].as_str().unwrap() {
            "running" | "paused" => {
                running.insert(name.replace('/', "."));
                found.extend(wrong_process(body, &its));
            }
            "not-running" | "failed" => {
                if !its.is_empty() {
                    found.push(format!("{name} is stopped and has {its:?}"));
                }
                if is_locked(&root, name) {
                    found.push(format!("{name} is stopped and something of it runs"));
                }
            }
            state => found.push(format!("{name} is {state}: {body}")),
        }
    }
    for (name, its) in of_instance {
        found.push(format!("of `{name}`, which there is not, {its:?} are left"));
    }
    for group in groups(PREFIX).into_iter().filter(|group| !field.groups_before.contains(group)) {
        let name = group.file_name().unwrap().to_str().unwrap().trim_end_matches(".group");
        if !running.contains(name) {
            found.push(format!("the group {} is left", group.display()));
        }
    }
    let world = field.world.read().unwrap();
    let mut parents = vec![world.node().pid(), world.server().pid()];
    parents.extend(launchers(&root).iter().map(|launcher| launcher.pid));
    let is_left = |process: &Process| process.is_zombie && parents.contains(&process.parent);
    found.extend(
        processes().into_iter().filter(is_left).map(|dead| format!("nobody reaps {dead:?}")),
    );
    found
}

/// An instance that runs has one launch, the process that it says, and nothing of another.
fn wrong_process(body: &Value, its: &[Process]) -> Option<String> {
    let pid = body["pid"].as_u64();
    let launches: BTreeSet<_> =
        its.iter().filter_map(|process| process.variable("FETTLE_LAUNCH")).collect();
    let is_it =
        |process: &Process| Some(u64::from(process.pid)) == pid && process.group == process.pid;
    let is_right = launches.len() == 1 && its.iter().any(is_it);
    (!is_right).then(|| format!("{body} has {its:?}"))
}

/// Does anything still hold the lock that all processes of an instance inherit?
fn is_locked(root: &Path, instance: &str) -> bool {
    let Some(directory) = directory(root, instance) else { return false };
    let Ok(file) = File::open(directory.join("root/alone")) else { return false };
    flock(&file, FlockOperation::NonBlockingLockExclusive).is_err()
}

/// `TITLE/N/M` on disk.
fn directory(root: &Path, instance: &str) -> Option<PathBuf> {
    let [title, installation, number] = instance.split('/').collect::<Vec<_>>().try_into().unwrap();
    let of_title = |app: &PathBuf| {
        let info = fs::read_to_string(app.join("info")).unwrap_or_default();
        let body = info.split_once('\n').unwrap_or_default().1;
        serde_json::from_str::<Value>(body).is_ok_and(|info| info["title"] == title)
    };
    let app = entries(&root.join("apps")).into_iter().find(of_title)?;
    Some(app.join(format!("installation-{installation}/instances/instance-{number}")))
}

/// Blobs and trees are those that something needs, links lead somewhere, and nothing is half done.
fn store_is_what_is_needed(root: &Path) {
    for empty in ["staging", "trash"] {
        assert_eq!(entries(&root.join(empty)), Vec::<PathBuf>::new(), "{empty} at rest");
    }
    let mut needed = BTreeSet::new();
    for link in links(&root.join("apps")) {
        let target = fs::canonicalize(&link);
        let target =
            target.unwrap_or_else(|error| panic!("{} leads nowhere: {error}", link.display()));
        if let Ok(inside) = target.strip_prefix(fs::canonicalize(root.join("store/trees")).unwrap())
        {
            needed.insert(inside.iter().take(2).collect::<PathBuf>());
        }
    }
    let mut trees = BTreeSet::new();
    for half in entries(&root.join("store/trees")) {
        let tree = |tree: &PathBuf| {
            [half.file_name(), tree.file_name()].map(Option::unwrap).iter().collect()
        };
        trees.extend(entries(&half).iter().map(tree));
    }
    assert_eq!(trees, needed, "the trees that there are, and those that links lead to");
    for half in entries(&root.join("store/blobs")) {
        for blob in entries(&half) {
            let names = fs::metadata(&blob).unwrap().nlink();
            assert!(names > 1, "nobody needs {}", blob.display());
        }
    }
    for operation in entries(&root.join("operations")) {
        let text = fs::read_to_string(&operation).unwrap();
        let record: Value = serde_json::from_str(text.split_once('\n').unwrap().1).unwrap();
        assert!(matches!(record["state"].as_str(), Some("done" | "failed")), "{record}");
    }
}

/// All that there is is removed, and nothing is left of it.
pub(super) fn goes_away(field: &Field) {
    for body in field.look(&["ps"]) {
        let name = body["instance"].as_str().unwrap();
        eventually(name, || matches!(field.give(&["delete", name, "--stop"]), Verdict::Done(_)));
    }
    for body in field.look(&["ps", "--installations"]) {
        let name = body["installation"].as_str().unwrap();
        eventually(name, || matches!(field.give(&["uninstall", name]), Verdict::Done(_)));
    }
    comes_to_rest(field);
    let root = field.world.read().unwrap().root();
    for content in ["store/blobs", "store/trees"] {
        let left: Vec<_> =
            entries(&root.join(content)).iter().flat_map(|half| entries(half)).collect();
        assert_eq!(left, Vec::<PathBuf>::new(), "after everything is gone");
    }
    let is_installation =
        |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with("installation-");
    let left: Vec<_> = entries(&root.join("apps")).iter().flat_map(|app| entries(app)).collect();
    assert_eq!(left.iter().find(|path| is_installation(path)), None);
    assert!(programs(&root).is_empty());
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// The links of versions and instances; what programs do in their workspaces is theirs.
fn links(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in entries(directory) {
        let kind = fs::symlink_metadata(&path).unwrap().file_type();
        if kind.is_symlink() {
            found.push(path);
        } else if kind.is_dir() && !path.ends_with("root") && !path.ends_with("writable") {
            found.extend(links(&path));
        }
    }
    found
}
