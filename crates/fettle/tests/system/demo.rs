//! The demo plays to its end, whoever starts it, and leaves nothing behind.

use std::fs;

use crate::world::{Ended, as_every_account};

#[test]
fn the_demo_shows_the_whole_journey_and_ends_by_itself() {
    as_every_account(|world| {
        let ended = Ended::from(world.user(&["demo"]).output().unwrap());
        assert_eq!(ended.code, Some(0), "{ended}");
        for shown in [
            "app publish",
            "install demo/weather",
            "packages/",
            "logs",
            "update",
            "revert",
            "application/x-tar",
        ] {
            assert!(ended.stdout.contains(shown), "the demo does not show `{shown}`: {ended}");
        }
        let left: Vec<_> =
            fs::read_dir(world.path(".")).unwrap().flatten().map(|e| e.file_name()).collect();
        assert!(left.is_empty(), "{left:?}");
        let root = world.path(".").canonicalize().unwrap();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let cwd = fs::read_link(entry.path().join("cwd")).unwrap_or_default();
            assert!(!cwd.starts_with(&root), "{} still runs", entry.path().display());
        }
    });
}
