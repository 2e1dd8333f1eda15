//! Which copy each writable package of a version leads to. Pure; refuses to look at the disk.
//!
//! It is decided when the instance comes to a version for the first time: the copy that it has been using,
//! if the package was writable there too, else a new one. So an update leaves what the instance changed as
//! it is, and going back finds everything as it was. Only when that is asked for, a version begins anew
//! with a copy of what was published; no other version's link is touched by it.

use std::collections::{BTreeMap, BTreeSet};

use model::PackageName;

use crate::layout::CopyName;

/// Which copy stands for each writable package.
pub(crate) type Copies = BTreeMap<PackageName, CopyName>;

/// What the decision is made from.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    /// Number of the version that is moved to.
    pub(super) version: u32,
    /// Its writable packages.
    pub(super) wanted: BTreeSet<PackageName>,
    /// Where they lead, if the instance was there before.
    pub(super) there: Option<Copies>,
    /// Where those lead that the instance uses now.
    pub(super) now: Copies,
    /// Every copy that it has.
    pub(super) all: BTreeSet<CopyName>,
}

/// Decides; with `fresh`, every package begins anew.
pub(super) fn decide(facts: &Facts, fresh: bool) -> Copies {
    let known = match &facts.there {
        _ if fresh => None,
        Some(there) => Some(there),
        None => Some(&facts.now),
    };
    let copy = |package: &PackageName| {
        let kept = known.and_then(|known| known.get(package)).cloned();
        let copy = kept.unwrap_or_else(|| {
            let mut name = CopyName::new(package.clone(), facts.version);
            while facts.all.contains(&name) {
                name = name.next();
            }
            name
        });
        (package.clone(), copy)
    };
    facts.wanted.iter().map(copy).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn copies(names: &[&str]) -> Copies {
        let copy = |name: &&str| {
            let copy: CopyName = name.parse().unwrap();
            (copy.package().clone(), copy)
        };
        names.iter().map(copy).collect()
    }

    fn facts(wanted: &[&str], there: Option<&[&str]>, now: &[&str], others: &[&str]) -> Facts {
        let (there, now) = (there.map(copies), copies(now));
        let others = copies(others).into_values();
        let all = there.iter().flatten().chain(&now).map(|(_, copy)| copy.clone());
        Facts {
            version: 2,
            wanted: wanted.iter().map(|name| name.parse().unwrap()).collect(),
            all: all.chain(others).collect(),
            there,
            now,
        }
    }

    #[test]
    fn a_version_that_is_new_to_the_instance_gets_the_copies_that_it_uses() {
        let facts = facts(&["model", "new"], None, &["model.1", "gone.1"], &[]);
        assert_eq!(decide(&facts, false), copies(&["model.1", "new.2"]));
    }

    #[test]
    fn coming_back_finds_everything_as_it_was() {
        let facts = facts(&["model"], Some(&["model.2"]), &["model.5"], &[]);
        assert_eq!(decide(&facts, false), copies(&["model.2"]));
    }

    #[test]
    fn beginning_anew_takes_a_name_that_no_copy_has() {
        let first = facts(&["model"], None, &["model.1"], &[]);
        assert_eq!(decide(&first, true), copies(&["model.2"]));
        let again = facts(&["model"], Some(&["model.2"]), &["model.1"], &[]);
        assert_eq!(decide(&again, true), copies(&["model.2-2"]));
        let left = facts(&["model"], None, &[], &["model.2"]);
        assert_eq!(decide(&left, false), copies(&["model.2-2"]), "what a crash left is not taken");
    }

    proptest! {
        #[test]
        fn every_writable_package_has_one_copy_of_its_own_package(
            wanted in prop::collection::btree_set("[a-c]", 0..3),
            there in prop::option::of(prop::collection::btree_set("[a-c]\\.[12](-[23])?", 0..3)),
            now in prop::collection::btree_set("[a-c]\\.[12]", 0..3),
            fresh: bool,
        ) {
            let words = |set: &BTreeSet<String>| copies(&set.iter().map(String::as_str).collect::<Vec<_>>());
            let (there, now) = (there.as_ref().map(words), words(&now));
            let all: BTreeSet<CopyName> =
                there.iter().flatten().chain(&now).map(|(_, copy)| copy.clone()).collect();
            let wanted = wanted.iter().map(|name| name.parse().unwrap()).collect();
            let facts = Facts { version: 2, wanted, there, now, all };
            let decided = decide(&facts, fresh);
            prop_assert!(decided.keys().eq(facts.wanted.iter()));
            for (package, copy) in &decided {
                prop_assert_eq!(package, copy.package());
                prop_assert!(!fresh || !facts.all.contains(copy));
            }
        }
    }
}
