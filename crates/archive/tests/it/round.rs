//! Random trees, in every form that a container has for them, come back as they are.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};

use archive::{Entry, EntryKind, Limits, ZipReader};
use proptest::prelude::*;

use crate::build::{Contents, Header, Packed, Tar, bzip2, deflate, read_tar, read_zip, zip, zstd};

#[derive(Clone, Debug)]
enum Item {
    Directory,
    File { content: Vec<u8>, executable: bool },
    Symlink(String),
}

/// How a name or a file is written.
#[derive(Clone, Copy, Debug)]
struct Form {
    name: u8,
    descriptor: Option<(bool, bool)>,
    method: u8,
}

fn forms() -> impl Strategy<Value = Form> {
    (0u8..4, prop::option::of(any::<(bool, bool)>()), 0u8..5)
        .prop_map(|(name, descriptor, method)| Form { name, descriptor, method })
}

fn trees() -> impl Strategy<Value = BTreeMap<String, (Item, Form)>> {
    let item = prop_oneof![
        Just(Item::Directory),
        (prop::collection::vec(any::<u8>(), 0..2000), any::<bool>())
            .prop_map(|(content, executable)| Item::File { content, executable }),
        "[a-z]{1,120}".prop_map(Item::Symlink),
    ];
    // A digit first: no name is the parent of another.
    prop::collection::btree_map("[0-9][a-zé]{0,90}/[a-z]{1,120}", (item, forms()), 0..12)
}

fn tar_of(tree: &BTreeMap<String, (Item, Form)>) -> Vec<u8> {
    let mut tar = Tar::new();
    for (name, (item, form)) in tree {
        let (kind, content, target) = match item {
            Item::Directory => (b'5', &[][..], ""),
            Item::File { content, .. } => (b'0', &content[..], ""),
            Item::Symlink(target) => (b'2', &[][..], &target[..]),
        };
        let (prefix, last) = name.split_once('/').unwrap();
        let fits = target.len() <= 100;
        let mut header = Header::new(kind, "cut").size(content.len());
        if let Item::File { executable: true, .. } = item {
            header.mode = b"0000755".to_vec();
        }
        match form.name {
            0 if last.len() <= 100 && prefix.len() <= 155 && fits => {
                header.name = last.into();
                header.prefix = prefix.into();
                header.link = target.into();
            }
            1 if name.len() <= 100 && fits => {
                header.magic = if kind == b'5' { *b"ustar  \0" } else { [0; 8] };
                header.name = name.as_bytes().to_vec();
                header.link = target.into();
            }
            2 => {
                tar = tar.sized(b'L', b"././@LongLink", format!("./{name}\0").as_bytes());
                if kind == b'2' {
                    tar = tar.sized(b'K', b"././@LongLink", format!("{target}\0").as_bytes());
                }
            }
            _ => {
                let size = content.len().to_string();
                let mut records = vec![("path", name.as_bytes()), ("size", size.as_bytes())];
                if kind == b'2' {
                    records.push(("linkpath", target.as_bytes()));
                }
                tar = tar.pax(b'x', &records);
            }
        }
        tar = tar.header(&header).content(content);
    }
    tar.end()
}

fn zip_of(tree: &BTreeMap<String, (Item, Form)>) -> Vec<u8> {
    let entry = |(name, (item, form)): (&String, &(Item, Form))| {
        let (name, content, mode) = match item {
            Item::Directory => (format!("{name}/"), &[][..], 0o040755),
            Item::File { content, executable: true } => (name.clone(), &content[..], 0o100755),
            Item::File { content, executable: false } => (name.clone(), &content[..], 0o100644),
            Item::Symlink(target) => (name.clone(), target.as_bytes(), 0o120777),
        };
        let mut entry = match form.method {
            0 => Packed::stored(name, content),
            1 => Packed::as_method(name, content, 12, bzip2),
            2 => Packed::as_method(name, content, 93, zstd),
            _ => Packed::as_method(name, content, 8, deflate),
        };
        entry = entry.mode(mode);
        if let Some((signed, wide)) = form.descriptor {
            entry.flags = 8;
            (entry.local_size, entry.local_packed_size, entry.local_crc) =
                (Some(0), Some(0), Some(0));
            entry.descriptor = crate::zip::descriptor(&entry, signed, wide);
        }
        entry
    };
    zip(&tree.iter().map(entry).collect::<Vec<_>>())
}

fn same(tree: &BTreeMap<String, (Item, Form)>, contents: &Contents) {
    assert_eq!(tree.len(), contents.len());
    for ((name, (item, _)), (entry, content)) in tree.iter().zip(contents) {
        assert_eq!(entry.path.as_bytes(), name.as_bytes());
        match (item, &entry.kind) {
            (Item::Directory, EntryKind::Directory) => {}
            (Item::Symlink(ours), EntryKind::Symlink { target }) => {
                assert_eq!(ours.as_bytes(), target.as_bytes());
            }
            (
                Item::File { content: ours, executable },
                EntryKind::File { size, executable: theirs, sparse: None },
            ) => {
                assert_eq!((ours, ours.len() as u64, executable), (content, *size, theirs));
            }
            (item, kind) => panic!("{item:?} became {kind:?}"),
        }
    }
}

fn read_apart(bytes: &[u8]) -> Contents {
    let mut reader = ZipReader::new(Cursor::new(bytes), Limits::default()).unwrap();
    let mut found: Vec<(Entry, Option<archive::Packed>)> = Vec::new();
    while let Some(entry) = reader.next_apart().unwrap() {
        found.push(entry);
    }
    let content = |packed: archive::Packed| {
        let mut content = Vec::new();
        let input = &bytes[packed.offset() as usize..];
        packed.open(input).read_to_end(&mut content).unwrap();
        content
    };
    found
        .into_iter()
        .map(|(entry, packed)| (entry, packed.map_or_else(Vec::new, content)))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_random_tree_comes_back_from_a_tar(tree in trees()) {
        same(&tree, &read_tar(&tar_of(&tree)).unwrap());
    }

    #[test]
    fn a_random_tree_comes_back_from_a_zip_read_either_way(tree in trees()) {
        let bytes = zip_of(&tree);
        same(&tree, &read_zip(&bytes).unwrap());
        same(&tree, &read_apart(&bytes));
    }
}
