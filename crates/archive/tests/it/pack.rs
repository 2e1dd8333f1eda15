//! What is packed is read back equal, and always the same bytes.

use archive::{Encoding, EntryKind, EntryPath, Limits, LinkTarget, Modified, TarReader, TarWriter};
use proptest::prelude::*;

use crate::build::read;

#[derive(Clone, Debug)]
enum Thing {
    Directory,
    File(Vec<u8>, bool),
    Symlink(Vec<u8>),
}

fn names() -> impl Strategy<Value = Vec<u8>> {
    let component = prop_oneof![
        "[a-z]{1,12}".prop_map(String::into_bytes),
        prop::collection::vec(1u8..=255, 1..255),
        "[a-zé]{90,110}".prop_map(String::into_bytes),
    ];
    prop::collection::vec(component, 1..6).prop_map(|components| components.join(&b'/'))
}

fn things() -> impl Strategy<Value = Thing> {
    prop_oneof![
        Just(Thing::Directory),
        (prop::collection::vec(any::<u8>(), 0..1500), any::<bool>())
            .prop_map(|(content, executable)| Thing::File(content, executable)),
        prop::collection::vec(1u8..=255, 1..300).prop_map(Thing::Symlink),
    ]
}

fn times() -> impl Strategy<Value = Modified> {
    (
        prop_oneof![Just(0), any::<i64>(), 0..2_000_000_000i64],
        prop_oneof![Just(0), 0..1_000_000_000u32],
    )
        .prop_map(|(seconds, nanos)| Modified { seconds, nanos })
}

fn pack(things: &[(EntryPath, Thing)], modified: Modified) -> Vec<u8> {
    let mut writer = TarWriter::new(Vec::new()).modified(modified);
    for (path, thing) in things {
        match thing {
            Thing::Directory => writer.directory(path),
            Thing::File(content, executable) => {
                writer.file(path, content.len() as u64, *executable, &mut &content[..])
            }
            Thing::Symlink(target) => writer.symlink(path, &LinkTarget::parse(target).unwrap()),
        }
        .unwrap();
    }
    writer.finish().unwrap()
}

proptest! {
    #[test]
    fn what_is_packed_is_read_back_equal(name in names(), thing in things(), modified in times()) {
        let Ok(path) = EntryPath::parse(&name) else { return Ok(()) };
        if let Thing::Symlink(target) = &thing
            && (LinkTarget::parse(target).is_err()
                || target.split(|byte| *byte == b'/').any(|piece| piece == b".."))
        {
            return Ok(());
        }
        let packed = pack(&[(path.clone(), thing.clone())], modified);
        prop_assert_eq!(&packed, &pack(&[(path.clone(), thing.clone())], modified));
        let mut reader =
            TarReader::new(&packed[..], Encoding::Identity, Limits::default()).unwrap();
        let contents = read(&mut reader).unwrap();
        prop_assert_eq!(contents.len(), 1);
        let (entry, content) = &contents[0];
        prop_assert_eq!(&entry.path, &path);
        prop_assert_eq!(entry.modified, Some(modified));
        match thing {
            Thing::Directory => prop_assert_eq!(&entry.kind, &EntryKind::Directory),
            Thing::File(expected, executable) => {
                let size = expected.len() as u64;
                prop_assert_eq!(&entry.kind, &EntryKind::File { size, executable, sparse: None });
                prop_assert_eq!(content, &expected);
            }
            Thing::Symlink(target) => {
                let target = LinkTarget::parse(&target).unwrap();
                prop_assert_eq!(&entry.kind, &EntryKind::Symlink { target });
            }
        }
    }
}

#[test]
fn the_bytes_of_a_small_tree_never_change() {
    let path = |text: &str| EntryPath::parse(text.as_bytes()).unwrap();
    let tree = [
        (path("bin"), Thing::Directory),
        (path("bin/run"), Thing::File(b"#!/bin/sh\n".to_vec(), true)),
        (path("latest"), Thing::Symlink(b"bin/run".to_vec())),
        (path(&format!("long/{}", "n".repeat(200))), Thing::File(b"x".to_vec(), false)),
    ];
    let packed = pack(&tree, Modified::default());
    // Four entries, a PAX header with its block, two blocks of content, two at the end.
    assert_eq!(packed.len(), 512 * (4 + 2 + 2 + 2));
    assert_eq!(crc32fast::hash(&packed), 4_069_112_310, "a new digest for every packed directory");
}
