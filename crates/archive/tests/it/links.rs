//! Symbolic links against two judges that share nothing with the checker: a naive resolver, and
//! the kernel.
#![expect(clippy::disallowed_methods, reason = "trees of a test need not outlast a power cut")]

use std::collections::{BTreeMap, VecDeque};
use std::fs;

use archive::{Error, Rule};
use proptest::prelude::*;

use crate::build::{Tar, read_tar};

const DIRECTORIES: [&str; 4] = ["", "a/", "a/b/", "c/"];
const PIECES: [&str; 12] = ["..", "..", ".", "a", "b", "c", "l0", "l1", "l2", "l3", "missing", "f"];

/// Links by path, in the order of the archive; and what else there is, before and after.
fn archives() -> impl Strategy<Value = Vec<(String, Option<String>)>> {
    let target = prop::collection::vec(prop::sample::select(&PIECES[..]), 1..6)
        .prop_map(|pieces| pieces.join("/"));
    let links = prop::collection::vec((prop::sample::select(&DIRECTORIES[..]), target), 1..5);
    links
        .prop_map(|links| {
            let links = links
                .into_iter()
                .enumerate()
                .map(|(n, (directory, target))| (format!("{directory}l{n}"), Some(target)));
            ["a", "a/b", "c"].map(|name| (name.to_owned(), None)).into_iter().chain(links).collect()
        })
        .prop_flat_map(|entries: Vec<_>| Just(entries).prop_shuffle())
}

/// Rewrites the path until nothing is left of it; a path that never ends is a circle.
fn leaves(links: &BTreeMap<Vec<&str>, &str>, link: &[&str]) -> bool {
    let mut at: Vec<&str> = Vec::new();
    let mut rest: VecDeque<&str> = link.iter().copied().collect();
    for _ in 0..50_000 {
        match rest.pop_front() {
            None => return false,
            Some("." | "") => {}
            Some("..") => {
                if at.pop().is_none() {
                    return true;
                }
            }
            Some(name) => {
                at.push(name);
                if let Some(target) = links.get(&at) {
                    at.pop();
                    for piece in target.rsplit('/') {
                        rest.push_front(piece);
                    }
                }
            }
        }
    }
    false
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn links_are_accepted_exactly_when_none_leads_out(entries in archives()) {
        let mut tar = Tar::new();
        for (name, target) in &entries {
            tar = match target {
                None => tar.directory(name),
                Some(target) => tar.symlink(name, target),
            };
        }
        let links: BTreeMap<Vec<&str>, &str> = entries
            .iter()
            .filter_map(|(name, target)| Some((name.split('/').collect(), target.as_deref()?)))
            .collect();
        let leaving = links.keys().any(|link| leaves(&links, link));
        match read_tar(&tar.end()) {
            Ok(_) => prop_assert!(!leaving, "accepted"),
            Err(Error::Unsafe { rule: Rule::TargetLeaves, .. }) => prop_assert!(leaving, "refused"),
            Err(other) => prop_assert!(false, "{other}"),
        }
        if !leaving {
            let parent = tempfile::tempdir().unwrap();
            let root = parent.path().canonicalize().unwrap().join("package");
            fs::create_dir_all(root.join("a/b")).unwrap();
            fs::create_dir(root.join("c")).unwrap();
            for (name, target) in &entries {
                if let Some(target) = target {
                    std::os::unix::fs::symlink(target, root.join(name)).unwrap();
                }
            }
            for link in links.keys() {
                if let Ok(end) = root.join(link.join("/")).canonicalize() {
                    prop_assert!(end.starts_with(&root), "{link:?} ends at {end:?}");
                }
            }
        }
    }
}
