//! What may go: decided from what is in the store and from what refers to it. Pure.
//!
//! What is not known to be garbage stays: a blob that has another name anywhere on this disk, a tree that
//! any link leads to, and everything of a digest that an unfinished operation has decided to use.

use std::collections::BTreeSet;

use model::Digest;
use wire::v1::GarbageKind;

/// What refers to content.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Roots {
    /// Trees that links lead to, by name.
    pub(crate) linked: BTreeSet<String>,
    /// Content that unfinished operations count on, in whatever form.
    pub(crate) wanted: BTreeSet<Digest>,
}

/// What is in the store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Present {
    /// Blobs, and how many names each has: the kernel's own count.
    pub(crate) blobs: Vec<(Digest, u64)>,
    /// Trees, by name, and of which bytes.
    pub(crate) trees: Vec<(String, Digest)>,
    /// Blobs that were received in part.
    pub(crate) partial: Vec<Digest>,
}

/// One thing that nothing refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Garbage {
    /// Downloaded bytes.
    Blob(Digest),
    /// An unpacked tree, by name.
    Tree(String, Digest),
    /// Bytes that were received in part.
    Partial(Digest),
}

/// Decides.
pub(crate) fn garbage(roots: &Roots, present: &Present) -> Vec<Garbage> {
    let unwanted = |digest: &Digest| !roots.wanted.contains(digest);
    let blobs = present.blobs.iter().filter(|(digest, names)| *names == 1 && unwanted(digest));
    let trees = present.trees.iter();
    let trees = trees.filter(|(name, digest)| !roots.linked.contains(name) && unwanted(digest));
    let partial = present.partial.iter().filter(|digest| unwanted(digest));
    let blobs = blobs.map(|(digest, _)| Garbage::Blob(*digest));
    let trees = trees.map(|(name, digest)| Garbage::Tree(name.clone(), *digest));
    blobs.chain(trees).chain(partial.map(|digest| Garbage::Partial(*digest))).collect()
}

impl Garbage {
    /// Of which kind it is.
    pub(crate) fn kind(&self) -> GarbageKind {
        match self {
            Garbage::Blob(_) => GarbageKind::Blob,
            Garbage::Tree(..) => GarbageKind::Tree,
            Garbage::Partial(_) => GarbageKind::Partial,
        }
    }

    /// What it is called in the store.
    pub(crate) fn name(&self) -> String {
        match self {
            Garbage::Blob(digest) | Garbage::Partial(digest) => digest.hex(),
            Garbage::Tree(name, _) => name.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn digest(n: u8) -> Digest {
        Digest::of(&[n])
    }

    fn tree(n: u8, form: &str) -> (String, Digest) {
        (format!("{}.{form}", digest(n).hex()), digest(n))
    }

    #[test]
    fn what_has_another_name_or_a_link_or_an_operation_that_wants_it_stays() {
        let present = Present {
            blobs: vec![(digest(1), 1), (digest(2), 2), (digest(3), 1)],
            trees: vec![tree(1, "tar.1"), tree(1, "tar.2"), tree(2, "zip.1"), tree(3, "zip.1")],
            partial: vec![digest(3), digest(4)],
        };
        let roots = Roots {
            linked: [tree(1, "tar.2").0, tree(9, "tar.1").0].into(),
            wanted: [digest(3)].into(),
        };
        let (tar, zip) = (tree(1, "tar.1"), tree(2, "zip.1"));
        let expected = vec![
            Garbage::Blob(digest(1)),
            Garbage::Tree(tar.0, tar.1),
            Garbage::Tree(zip.0, zip.1),
            Garbage::Partial(digest(4)),
        ];
        assert_eq!(garbage(&roots, &present), expected);
        assert_eq!(garbage(&Roots::default(), &Present::default()), []);
    }

    proptest! {
        /// More that refers to content never makes more garbage.
        #[test]
        fn a_further_root_only_saves(
            blobs in proptest::collection::btree_map(0u8..12, 1u64..3, 0..8),
            trees in proptest::collection::btree_set(0u8..12, 0..8),
            linked in proptest::collection::btree_set(0u8..12, 0..6),
            wanted in proptest::collection::btree_set(0u8..12, 0..6),
            more in 0u8..12,
        ) {
            let present = Present {
                blobs: blobs.into_iter().map(|(n, names)| (digest(n), names)).collect(),
                trees: trees.into_iter().map(|n| tree(n, "tar.1")).collect(),
                partial: (0..12).map(digest).collect(),
            };
            let roots = Roots {
                linked: linked.into_iter().map(|n| tree(n, "tar.1").0).collect(),
                wanted: wanted.into_iter().map(digest).collect(),
            };
            let before = garbage(&roots, &present);
            let mut further = roots.clone();
            further.linked.insert(tree(more, "tar.1").0);
            further.wanted.insert(digest(more));
            let after = garbage(&further, &present);
            prop_assert!(after.iter().all(|item| before.contains(item)));
            let saved = |item: &Garbage| match item {
                Garbage::Blob(d) | Garbage::Tree(_, d) | Garbage::Partial(d) => *d == digest(more),
            };
            prop_assert!(!after.iter().any(saved));
        }
    }
}
