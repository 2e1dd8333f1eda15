//! One row a rule: a hostile archive, and the refusal that it gets.

use archive::{Error, Rule};

use crate::build::{Contents, Header, Packed, Tar, read_tar, read_zip, zip};

fn refused(result: Result<Contents, Error>) -> Option<Rule> {
    match result {
        Ok(_) => None,
        Err(Error::Unsafe { rule, .. }) => Some(rule),
        Err(other) => panic!("refused for another reason: {other}"),
    }
}

fn tar() -> Tar {
    Tar::new()
}

#[test]
fn each_rule_refuses_its_hostile_tar() {
    let long = |key, length| tar().pax(b'x', &[(key, &vec![b'a'; length])]);
    let deep = [b"d/".repeat(2048), b"f".to_vec()].concat();
    let table = [
        (Rule::AbsoluteName, tar().file("/etc/passwd", "")),
        (Rule::AbsoluteName, tar().pax(b'x', &[("path", b"/etc/passwd")]).file("f", "")),
        (Rule::AbsoluteName, tar().sized(b'L', b"L", b"/etc/passwd\0").file("f", "")),
        (Rule::ParentComponent, tar().file("../f", "")),
        (Rule::ParentComponent, tar().file("a/b/../../../f", "")),
        (Rule::ParentComponent, tar().directory("a/..")),
        (Rule::ParentComponent, tar().pax(b'x', &[("path", b"a/../f")]).file("f", "")),
        (Rule::NulInName, tar().pax(b'x', &[("path", b"a\0b")]).file("f", "")),
        (Rule::EmptyName, tar().file("", "")),
        (Rule::ComponentTooLong, long("path", 256).file("f", "")),
        (Rule::NameTooLong, tar().pax(b'x', &[("path", &deep)]).file("f", "")),
        (Rule::UnderFile, tar().file("a", "").file("a/b", "")),
        (Rule::UnderLink, tar().symlink("a", "b").file("a/f", "")),
        (Rule::UnderLink, tar().directory("b").symlink("a", "b").directory("a/c")),
        (Rule::UnderLink, tar().file("g", "").symlink("a", "b").hard_link("a/f", "g")),
        (Rule::TargetAbsolute, tar().symlink("a", "/etc")),
        (Rule::TargetEmpty, tar().symlink("a", "")),
        (Rule::TargetNul, tar().pax(b'x', &[("linkpath", b"a\0b")]).symlink("l", "")),
        (Rule::TargetTooLong, long("linkpath", 4096).symlink("l", "")),
        (Rule::TargetLeaves, tar().symlink("a", "..")),
        (Rule::TargetLeaves, tar().symlink("a/b", "../../c")),
        (Rule::TargetLeaves, tar().directory("d").symlink("a", "d/../..")),
        (Rule::TargetLeaves, tar().symlink("x", ".").symlink("y", "x/..")),
        (Rule::TargetLeaves, tar().symlink("y", "x/..").symlink("x", ".")),
        (Rule::HardLinkOriginal, tar().hard_link("a", "missing")),
        (Rule::HardLinkOriginal, tar().hard_link("a", "later").file("later", "")),
        (Rule::HardLinkOriginal, tar().hard_link("a", "/etc/passwd")),
        (Rule::HardLinkOriginal, tar().hard_link("a", "../f")),
        (Rule::HardLinkOriginal, tar().directory("d").hard_link("a", "d")),
        (Rule::TargetLeaves, tar().symlink("d/l", "../f").hard_link("a", "d/l")),
        (Rule::Device, tar().header(&Header::new(b'3', "tty"))),
        (Rule::Device, tar().header(&Header::new(b'4', "sda"))),
        (Rule::Fifo, tar().header(&Header::new(b'6', "pipe"))),
        (Rule::OtherKind, tar().directory("a").file("a", "")),
        (Rule::OtherKind, tar().file("a", "").directory("a")),
        (Rule::OtherKind, tar().file("a/b", "").symlink("a", "c")),
        (Rule::OtherKind, tar().symlink("a", "b").file("a", "")),
        (Rule::OtherKind, tar().file("a", "").symlink("a", "b")),
        (Rule::OtherKind, tar().symlink("a", "b").directory("a")),
        (Rule::OtherKind, tar().symlink("./", "b")),
    ];
    for (row, (rule, archive)) in table.into_iter().enumerate() {
        assert_eq!(refused(read_tar(&archive.end())), Some(rule), "row {row}: {rule}");
    }
}

#[test]
fn each_rule_refuses_its_hostile_zip() {
    let file = |name: &str| Packed::stored(name, "x");
    let link = |name: &str, target: &str| Packed::stored(name, target).mode(0o120777);
    let directory = |name: &str| Packed::stored(name, "").mode(0o040755);
    let table = [
        (Rule::AbsoluteName, vec![file("/etc/passwd")]),
        (Rule::ParentComponent, vec![file("../f")]),
        (Rule::NulInName, vec![file("a\0b")]),
        (Rule::EmptyName, vec![file("")]),
        (Rule::ComponentTooLong, vec![file(&"a".repeat(256))]),
        (Rule::NameTooLong, vec![file(&format!("{}f", "a/".repeat(2048)))]),
        (Rule::UnderFile, vec![file("a"), file("a/b")]),
        (Rule::UnderLink, vec![link("a", "b"), file("a/b")]),
        (Rule::TargetAbsolute, vec![link("a", "/etc")]),
        (Rule::TargetEmpty, vec![link("a", "")]),
        (Rule::TargetNul, vec![link("a", "b\0")]),
        (Rule::TargetTooLong, vec![link("a", &"a".repeat(4096))]),
        (Rule::TargetLeaves, vec![link("y", "x/.."), link("x", ".")]),
        (Rule::Device, vec![file("a").mode(0o020644)]),
        (Rule::Device, vec![file("a").mode(0o060644)]),
        (Rule::Fifo, vec![file("a").mode(0o010644)]),
        (Rule::Socket, vec![file("a").mode(0o140644)]),
        (Rule::OtherKind, vec![directory("a/"), file("a")]),
        (Rule::OtherKind, vec![link("a", "b"), file("a")]),
        (Rule::Repeated, vec![file("a"), file("a")]),
        (Rule::Repeated, vec![file("a"), file("./a")]),
        (Rule::Repeated, vec![directory("a/"), directory("a/")]),
        (Rule::Repeated, vec![link("a", "b"), link("a", "b")]),
    ];
    for (row, (rule, entries)) in table.into_iter().enumerate() {
        assert_eq!(refused(read_zip(&zip(&entries))), Some(rule), "row {row}: {rule}");
    }
}
