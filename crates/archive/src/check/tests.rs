//! The checker fed directly; the rules as seen through real bytes are in `tests/rules.rs`.

use super::*;
use crate::Extent;

fn entry<'a>(name: &'a str, kind: RawKind<'a>) -> RawEntry<'a> {
    RawEntry {
        name: name.as_bytes(),
        kind,
        mode: Some(0o644),
        owned: false,
        modified: None,
        attributes: false,
    }
}

fn file(name: &str) -> RawEntry<'_> {
    entry(name, RawKind::File { size: 1, sparse: None })
}

fn directory(name: &str) -> RawEntry<'_> {
    entry(name, RawKind::Directory)
}

fn link<'a>(name: &'a str, target: &'a str) -> RawEntry<'a> {
    entry(name, RawKind::Symlink { target: target.as_bytes() })
}

fn hard<'a>(name: &'a str, original: &'a str) -> RawEntry<'a> {
    entry(name, RawKind::HardLink { original: original.as_bytes() })
}

fn run(entries: &[RawEntry<'_>]) -> Result<Summary, Error> {
    let mut checker = Checker::new(Limits::default(), Repeats::LastWins);
    for raw in entries {
        checker.check(raw)?;
    }
    checker.finish()
}

fn rule(entries: &[RawEntry<'_>]) -> Option<Rule> {
    match run(entries) {
        Ok(_) => None,
        Err(Error::Unsafe { rule, .. }) => Some(rule),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn a_link_out_through_another_link_is_found_in_every_order() {
    let (x, y) = (|| link("x", "."), || link("y", "x/.."));
    assert_eq!(rule(&[x(), y()]), Some(Rule::TargetLeaves));
    assert_eq!(rule(&[y(), x()]), Some(Rule::TargetLeaves));
}

#[test]
fn what_looks_like_leaving_but_does_not_is_accepted() {
    let deep = [directory("a/b/c"), link("x", "a/b/c"), link("y", "x/../..")];
    assert_eq!(rule(&deep), None);
}

#[test]
fn a_link_that_leaves_whatever_follows_is_refused_at_once() {
    let mut checker = Checker::new(Limits::default(), Repeats::LastWins);
    assert!(checker.check(&link("a/in", "./..//")).is_ok());
    let error = checker.check(&link("a/out", "./..//../x")).unwrap_err();
    assert!(matches!(error, Error::Unsafe { rule: Rule::TargetLeaves, .. }), "{error}");
}

#[test]
fn circles_are_accepted_and_end() {
    assert_eq!(rule(&[link("a", "b/../../.."), link("b", "a")]), None);
    assert_eq!(rule(&[link("a", "a")]), None);
    assert_eq!(rule(&[link("a", "b"), link("b", "b"), link("c", "a/../..")]), None);
}

#[test]
fn a_dangling_link_may_not_lead_out_once_its_target_exists() {
    assert_eq!(rule(&[link("a", "missing")]), None);
    assert_eq!(rule(&[link("a", "missing/../..")]), Some(Rule::TargetLeaves));
    assert_eq!(rule(&[file("f"), link("a", "f/../..")]), Some(Rule::TargetLeaves));
}

#[test]
fn a_link_to_the_root_itself_is_inside() {
    assert_eq!(rule(&[link("a/b/up", "../..")]), None);
    assert_eq!(rule(&[link("a/b/up", "../../..")]), Some(Rule::TargetLeaves));
}

#[test]
fn the_last_target_of_a_repeated_link_holds() {
    let chain = [link("x", "a/b"), link("y", "x/.."), directory("a/b"), link("x", ".")];
    assert_eq!(rule(&chain), Some(Rule::TargetLeaves));
    let mended = [link("x", "."), link("y", "x/.."), directory("a/b"), link("x", "a/b")];
    assert_eq!(rule(&mended), None);
}

#[test]
fn entangled_links_cost_linear_time() {
    // Each link passes twice through the one before: followed naively, 2^300 steps.
    let names: Vec<(String, String)> =
        (1..300).map(|n| (format!("l{n}"), format!("l{0}/d/../../l{0}", n - 1))).collect();
    let mut entries = vec![directory("r/d"), link("l0", "r")];
    entries.extend(names.iter().map(|(name, target)| link(name, target)));
    assert_eq!(rule(&entries), None);
}

#[test]
fn a_chain_of_a_hundred_thousand_links_needs_no_call_stack() {
    let names: Vec<String> = (0..100_000).map(|n| format!("l{n}")).collect();
    let entries: Vec<RawEntry<'_>> =
        names.windows(2).map(|pair| link(&pair[0], &pair[1])).collect();
    assert_eq!(rule(&entries), None);
}

#[test]
fn a_repeated_name_replaces_and_says_so() {
    let mut checker = Checker::new(Limits::default(), Repeats::LastWins);
    let mut replaces = |raw: RawEntry<'_>| checker.check(&raw).unwrap().map(|entry| entry.replaces);
    assert_eq!(replaces(file("a")), Some(false));
    assert_eq!(replaces(hard("b", "a")), Some(false));
    assert_eq!(replaces(file("b")), Some(true));
    assert_eq!(replaces(hard("a", "b")), Some(true));
    assert_eq!(replaces(directory("d")), Some(false));
    assert_eq!(replaces(directory("d")), Some(false));
    assert_eq!(replaces(hard("./a", "a")), None);
}

#[test]
fn each_name_is_measured_as_what_it_costs() {
    let entries = [
        directory("./"),
        file("a/b/f"),
        directory("a"),
        directory("a"),
        hard("a/h", "a/b/f"),
        link("a/l", "h"),
        file("a/b/f"),
    ];
    let Summary { measured, .. } = run(&entries).unwrap();
    assert_eq!(measured.entries, 7);
    // a, b, f, l, and f again.
    assert_eq!(measured.inodes, 5);
    assert_eq!((measured.unpacked_bytes, measured.largest_file), (2, 1));
    assert_eq!(measured.longest_path, 5);
    // One block for each of them: the files have a byte.
    assert_eq!(measured.disk_bytes, 5 * Measured::BLOCK);
}

#[test]
fn implied_directories_count_towards_the_limit() {
    let limits = Limits { entries: 10, ..Limits::default() };
    let mut checker = Checker::new(limits, Repeats::LastWins);
    assert!(checker.check(&file("1/2/3/4/5/6/7/8/9/10")).is_ok());
    let error = checker.check(&file("11")).unwrap_err();
    assert!(matches!(error, Error::TooLarge { limit: Limit::Entries, most: 10 }), "{error}");
}

#[test]
fn names_and_targets_count_towards_the_limit() {
    let limits = Limits { metadata_bytes: 10, ..Limits::default() };
    let mut checker = Checker::new(limits, Repeats::LastWins);
    assert!(checker.check(&link("abc", "defghij")).is_ok());
    let error = checker.check(&link("abc", "d")).unwrap_err();
    assert!(matches!(error, Error::TooLarge { limit: Limit::MetadataBytes, .. }), "{error}");
}

#[test]
fn a_file_takes_whole_blocks_and_a_sparse_one_those_with_data() {
    let sized = |size, sparse| entry("f", RawKind::File { size, sparse });
    let disk = |raw| run(&[raw]).unwrap().measured.disk_bytes;
    assert_eq!(disk(sized(0, None)), 0);
    assert_eq!(disk(sized(4096, None)), 4096);
    assert_eq!(disk(sized(4097, None)), 8192);
    let map = SparseMap::new([Extent { offset: 1 << 30, length: 10 }], 1 << 40);
    assert_eq!(disk(sized(1 << 40, map)), 4096);
}

#[test]
fn the_first_entry_beyond_a_limit_is_refused() {
    let reached = |limits, entries: &[RawEntry<'_>]| {
        let mut checker = Checker::new(limits, Repeats::LastWins);
        let last = entries.len() - 1;
        for raw in &entries[..last] {
            checker.check(raw).unwrap();
        }
        match checker.check(&entries[last]).unwrap_err() {
            Error::TooLarge { limit, most } => (limit, most),
            other => panic!("{other}"),
        }
    };
    let limits = Limits { inodes: 3, ..Limits::default() };
    let taken = [directory("d"), file("d/f"), hard("h", "d/f"), link("l", "h"), file("d/f")];
    assert_eq!(reached(limits, &taken), (Limit::Inodes, 3));
    assert_eq!(reached(limits, &[file("a/b/c/d")]), (Limit::Inodes, 3));
    let limits = Limits { longest_path: 4, ..Limits::default() };
    assert_eq!(reached(limits, &[file("./a//bc"), file("a/bcd")]), (Limit::LongestPath, 4));
}

#[test]
fn a_hard_link_to_a_symbolic_link_is_that_link_from_where_it_is() {
    assert_eq!(rule(&[link("d/l", "../f"), hard("d/h", "d/l")]), None);
    let higher = [link("d/l", "../f"), hard("h", "d/l")];
    assert_eq!(rule(&higher), Some(Rule::TargetLeaves));
    let through = [link("d/x", "e/.."), directory("d/e"), link("e", "."), hard("h", "d/x")];
    assert_eq!(rule(&through), Some(Rule::TargetLeaves));
    let beneath = [link("l", "d"), hard("h", "l"), file("h/f")];
    assert_eq!(rule(&beneath), Some(Rule::UnderLink));
    // The original gets another target; its other name keeps the old one.
    let kept = [link("a/l", "b/.."), hard("a/h", "a/l"), link("a/l", "x"), link("a/b", ".")];
    assert_eq!(rule(&kept), None);
    let kept = [link("l", "b/.."), hard("h", "l"), link("l", "x"), link("b", ".")];
    assert_eq!(rule(&kept), Some(Rule::TargetLeaves));
    let replaced = [link("l", "x"), link("h", "b/.."), hard("h", "l"), link("b", ".")];
    assert_eq!(rule(&replaced), None);
    assert_eq!(rule(&[link("l", "x"), file("f"), hard("f", "l")]), Some(Rule::OtherKind));
    assert_eq!(rule(&[link("l", "x"), file("f"), hard("l", "f")]), Some(Rule::OtherKind));
    let Summary { measured, .. } = run(&[link("l", "x"), hard("h", "l")]).unwrap();
    assert_eq!((measured.inodes, measured.disk_bytes), (1, Measured::BLOCK));
}

#[test]
fn what_is_not_kept_is_counted() {
    let mut owned = file("f");
    owned.owned = true;
    let mut locked = directory("d");
    locked.mode = Some(0o644);
    let mut unknown = directory("e");
    unknown.mode = None;
    let Summary { dropped, .. } = run(&[owned, locked, unknown, directory("f2")]).unwrap();
    // The last one has 0644 as well.
    assert_eq!((dropped.owners, dropped.directory_modes), (1, 2));
}
