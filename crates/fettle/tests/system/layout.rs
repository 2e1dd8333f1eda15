//! The node's tree, compared as a whole with what the documents draw.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use model::Digest;

use crate::archives::{pack, sample_directory};
use crate::world::as_every_account;

#[test]
fn the_tree_of_a_node_is_the_one_that_is_drawn() {
    as_every_account(|world| {
        world.with_node();
        let directory = sample_directory(world, "content");
        let archive = pack(world, "a.tar.gz", &["tar", "-czf"], &directory);
        let notes = world.write("notes.txt", "hello\n");
        world.publish("demo/drawn", "1.2.3", &[("tree", &archive), ("notes", &notes)]);
        let installed = world.json(&["install", "demo/drawn", "--start"]);
        world.json(&["stop", "drawn/1/1"]);

        let digest = |path: &Path| Digest::of(&fs::read(path).unwrap()).hex();
        let (tree, note) = (digest(&archive), digest(&notes));
        let program = digest(&world.path("program.sh"));
        let app = format!("apps/app-{}", &Digest::of(b"drawn").hex()[..32]);
        let installation = format!("{app}/installation-1");
        let instance = format!("{installation}/instances/instance-1");
        let version = format!("{installation}/1-1.2.3");
        let key = format!("{tree}.tar-gzip.2");
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        let store_tree = format!("store/trees/{}/{key}", &tree[..2]);
        let mut expected: Vec<String> = [
            "apps/ 755".to_owned(),
            format!("{app}/ 755"),
            format!("{app}/info 600"),
            format!("{installation}/ 755"),
            format!("{version}/ 755"),
            format!("{version}/bin 555"),
            format!("{version}/envelope 600"),
            format!("{version}/packages/ 755"),
            format!("{version}/packages/notes -> ../pkg/notes"),
            format!("{version}/packages/tree -> ../../../../../{store_tree}/files"),
            format!("{version}/pkg/ 755"),
            format!("{version}/pkg/notes 444"),
            format!("{version}/pkg/notes.__info 644"),
            format!("{version}/pkg/tree 444"),
            format!("{version}/pkg/tree.__info 644"),
            format!("{installation}/config 600"),
            format!("{installation}/current -> 1-1.2.3"),
            format!("{installation}/instances/ 755"),
            format!("{instance}/ 755"),
            format!("{instance}/credentials/ 755"),
            format!("{instance}/info 600"),
            format!("{instance}/logs/ 755"),
            format!("{instance}/logs/stderr 600"),
            format!("{instance}/logs/stdout 600"),
            format!("{instance}/packages/ 755"),
            format!("{instance}/packages/1-1.2.3/ 755"),
            format!("{instance}/packages/1-1.2.3/notes -> ../../../../1-1.2.3/pkg/notes"),
            format!("{instance}/packages/1-1.2.3/tree -> ../../../../../../../{store_tree}/files"),
            format!("{instance}/root/ 755"),
            format!("{instance}/root/environment 644"),
            format!("{instance}/root/packages -> ../packages/1-1.2.3"),
            format!("{instance}/systemname 644"),
            format!("{instance}/version -> ../../1-1.2.3"),
            format!("{installation}/origin 600"),
            format!("{installation}/packages 600"),
            format!("{installation}/status 600"),
            "format 600".to_owned(),
            "lock 600".to_owned(),
            "redo 600".to_owned(),
            "node.sock 600".to_owned(),
            "operations/ 755".to_owned(),
            "run/ 700".to_owned(),
            format!("run/{}/ 700", boot.trim()),
            format!("run/{}/drawn.1.1 600", boot.trim()),
            format!("run/{}/launcher.sock 600", boot.trim()),
            "staging/ 700".to_owned(),
            "store/ 755".to_owned(),
            "store/blobs/ 755".to_owned(),
            "store/trees/ 755".to_owned(),
            format!("store/trees/{}/ 755", &tree[..2]),
            format!("{store_tree}/ 555"),
            format!("{store_tree}/files/ 555"),
            format!("{store_tree}/files/bin/ 555"),
            format!("{store_tree}/files/bin/run.sh 555"),
            format!("{store_tree}/files/däta/ 555"),
            format!("{store_tree}/files/däta/größe.txt 444"),
            format!("{store_tree}/files/empty/ 555"),
            format!("{store_tree}/files/nothing 444"),
            format!("{store_tree}/files/run -> bin/run.sh"),
            format!("{store_tree}/files/same 444"),
            format!("{store_tree}/manifest 444"),
            "trash/ 700".to_owned(),
        ]
        .into();
        for operation in world.lines(&["operation", "list"]) {
            expected.push(format!("operations/{} 600", operation["operation"].as_str().unwrap()));
        }
        for (blob, mode) in [(&tree, 444), (&note, 444), (&program, 555)] {
            expected.push(format!("store/blobs/{}/ 700", &blob[..2]));
            expected.push(format!("store/blobs/{}/{blob} {mode}", &blob[..2]));
        }
        expected.sort();
        expected.dedup();
        let mut found = Vec::new();
        list(&world.root(), &world.root(), &mut found);
        found.sort();
        assert_eq!(found, expected);

        let root = world.root();
        let read = |path: String| fs::read_to_string(root.join(path)).unwrap();
        assert_eq!(
            read(format!("{version}/pkg/notes.__info")),
            r#"{"Type":"text/plain","Encoding":""}"#
        );
        assert_eq!(
            read(format!("{version}/pkg/tree.__info")),
            r#"{"Type":"application/x-tar","Encoding":"gzip"}"#
        );
        assert_eq!(read(format!("{instance}/root/packages/notes")), "hello\n");
        assert!(installed["operation"].is_string());
    });
}

/// `path/ mode`, `path mode` or `path -> target`, relative to the root.
fn list(root: &Path, directory: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let path = entry.path();
        let name = path.strip_prefix(root).unwrap().display().to_string();
        let facts = fs::symlink_metadata(&path).unwrap();
        let mode = facts.permissions().mode() & 0o7777;
        if facts.is_symlink() {
            found.push(format!("{name} -> {}", fs::read_link(&path).unwrap().display()));
        } else if facts.is_dir() {
            found.push(format!("{name}/ {mode:o}"));
            list(root, &path, found);
        } else {
            found.push(format!("{name} {mode:o}"));
        }
    }
}
