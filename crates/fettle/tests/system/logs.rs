//! What programs print, kept within its budget on the file systems that nodes have.

use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use serde_json::json;

use crate::mounted::Mounted;
use crate::world::{Account, World, is_root};

/// Prints lines of 64 bytes, each with its own address, and stays.
const PROGRAM: &str = r#"#!/bin/sh
awk 'BEGIN { pad = sprintf("%47s", ""); for (i = 0; i < 200000; i++) printf "%016d%s\n", i * 64, pad }'
echo whole >&2
exec sleep 1000
"#;
const PRINTED: u64 = 200_000 * 64;
/// As the manifest has it, in bytes.
const BUDGET: u64 = 1 << 20;

#[test]
fn a_stream_stays_within_its_budget_on_every_file_system_and_no_line_that_stays_is_torn() {
    if !is_root() {
        return eprintln!("skipped: only root can mount file systems to try it on");
    }
    type Mount = fn(&World) -> Option<Mounted>;
    // Where the beginning of a file can be taken out of it, the file becomes shorter; else it has a hole.
    let kinds: [(&str, Mount, bool); 4] = [
        ("ext4", |world| Mounted::over(world, &["mkfs.ext4", "-q"]), true),
        ("xfs", |world| Mounted::over(world, &["mkfs.xfs", "-q"]), true),
        ("btrfs", |world| Mounted::over(world, &["mkfs.btrfs", "-q"]), false),
        ("tmpfs", Mounted::in_memory, false),
    ];
    for (kind, mount, becomes_shorter) in kinds {
        let mut world = World::new(Account::Own);
        let Some(_mounted) = mount(&world) else { continue };
        world.with_node();
        let program = world.write("program.sh", PROGRAM);
        let manifest = world.write(
            "talk.toml",
            format!(
                "title = \"talk\"\nname = \"demo/talk\"\nversion = \"1.0.0\"\n[program]\nany = {:?}\n\
                 [logs]\nbudget = \"1MiB\"\n",
                program.to_str().unwrap()
            ),
        );
        world.json(&["app", "publish", manifest.to_str().unwrap()]);
        world.json(&["install", "demo/talk", "--start"]);
        until(kind, "the program has printed all", || {
            world.run(&["logs", "talk/1/1", "--stderr"]).stdout.contains("whole")
        });
        let app = std::fs::read_dir(world.root().join("apps")).unwrap().next().unwrap().unwrap();
        let log = app.path().join("installation-1/instances/instance-1/logs/stdout");
        until(kind, "it is within its budget", || log.metadata().unwrap().blocks() * 512 <= BUDGET);
        let length = log.metadata().unwrap().len();
        let expected = if becomes_shorter { length <= BUDGET } else { length == PRINTED };
        assert!(expected, "{kind}: the file has {length} bytes");
        let lines = world.lines(&["logs", "talk/1/1"]);
        let first = &lines[0]["offset"];
        assert_eq!(&lines[0]["dropped"], first, "{kind}: what is gone is said");
        let first = first.as_u64().unwrap();
        assert!(PRINTED - first >= BUDGET / 2, "{kind}: no more is gone than has to go");
        for (line, address) in lines.iter().zip((first..).step_by(64)) {
            let number: Result<u64, _> = line["line"].as_str().unwrap().trim_end().parse();
            assert_eq!((&line["offset"], number), (&json!(address), Ok(address)), "{kind}");
        }
        assert_eq!(lines.last().map(|line| line["offset"].clone()), Some(json!(PRINTED - 64)));
        let status = world.json(&["status"]);
        assert_eq!(status["warnings"], json!([]), "{kind}: {status}");
    }
}

fn until(kind: &str, what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..1000 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("{kind}: it is never so that {what}");
}
