//! What an install has to do, decided from what the envelope asks for and what the store has. Pure.

use model::{Envelope, PackageName, Pin};

use super::room::{self, Claims, Room, Thing};
use crate::store::{CannotUnpack, Form, TreeKey};

/// One object that a version needs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Need {
    /// The package's local name; `None` for the program.
    pub(crate) package: Option<PackageName>,
    /// The object.
    pub(crate) pin: Pin,
    /// What it becomes.
    pub(crate) form: Form,
}

/// What the store has of one need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Present {
    /// The downloaded bytes.
    pub(crate) blob: bool,
    /// The unpacked tree; `true` for what is no tree.
    pub(crate) tree: bool,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    /// Download, and unpack in the same pass where `unpack` says how.
    Receive {
        /// What for, in words.
        label: String,
        /// What.
        pin: Pin,
        /// Into which tree.
        unpack: Option<TreeKey>,
    },
    /// Unpack bytes that the store has.
    Unpack {
        /// What for, in words.
        label: String,
        /// What.
        pin: Pin,
        /// Into which tree.
        key: TreeKey,
    },
}

/// What an install has to do, in order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plan {
    /// One after the other.
    pub(crate) steps: Vec<Step>,
    /// Bytes to download.
    pub(crate) bytes: u64,
    /// What each thing takes on the disk.
    pub(crate) claims: Claims,
}

impl Need {
    /// What the envelope needs; `packages` replace or add to its own.
    pub(crate) fn of(envelope: &Envelope) -> Result<Vec<Need>, CannotUnpack> {
        let need = |(package, pin): (Option<&PackageName>, &Pin)| {
            let form = match package {
                Some(_) => Form::of(pin.digest, &pin.media)?,
                None => Form::File, // a program is run as it is
            };
            Ok(Need { package: package.cloned(), pin: pin.clone(), form })
        };
        envelope.pins().map(need).collect()
    }

    fn label(&self) -> String {
        match &self.package {
            Some(name) => format!("package {name}"),
            None => "the program".to_owned(),
        }
    }
}

/// Decides. The same bytes are received once, however often they are needed.
pub(crate) fn plan(needs: &[(Need, Present)]) -> Plan {
    let mut steps: Vec<Step> = Vec::new();
    for (need, present) in needs {
        let key = match &need.form {
            Form::Tree(key) if !present.tree => Some(*key),
            Form::Tree(_) | Form::File => None,
        };
        let (label, pin) = (need.label(), need.pin.clone());
        let coming = steps.iter_mut().find_map(|step| match step {
            Step::Receive { pin, unpack, .. } if pin.digest == need.pin.digest => {
                Some((pin, unpack))
            }
            _ => None,
        });
        match (present.blob, key, coming) {
            (false, key, None) => steps.push(Step::Receive { label, pin, unpack: key }),
            (false, Some(key), Some((coming, unpack))) if unpack.is_none() => {
                // What unpacking may amount to, the pin says that it is unpacked for.
                *coming = pin;
                *unpack = Some(key);
            }
            (false, Some(key), Some((_, unpack))) if *unpack == Some(key) => {}
            (_, Some(key), _) => {
                let same =
                    |step: &Step| matches!(step, Step::Unpack { key: other, .. } if *other == key);
                if !steps.iter().any(same) {
                    steps.push(Step::Unpack { label, pin, key });
                }
            }
            (_, None, _) => {}
        }
    }
    let bytes = steps.iter().map(|step| match step {
        Step::Receive { pin, .. } => pin.size,
        Step::Unpack { .. } => 0,
    });
    let bytes = bytes.fold(0, u64::saturating_add);
    let claims = steps.iter().flat_map(Step::claims).collect();
    Plan { steps, bytes, claims }
}

impl Step {
    /// What it writes, as far as that was measured when it was published: what unpacking takes is not
    /// always known before.
    pub(crate) fn claims(&self) -> Vec<(Thing, Room)> {
        let (Step::Receive { pin, .. } | Step::Unpack { pin, .. }) = self;
        let blob = || (Thing::Blob(pin.digest), room::of_blob(pin));
        let tree = |key: &TreeKey| Some((key.thing(), room::of_tree(pin.measured.as_ref()?)));
        match self {
            Step::Receive { unpack, .. } => {
                [blob()].into_iter().chain(unpack.as_ref().and_then(tree)).collect()
            }
            Step::Unpack { key, .. } => tree(key).into_iter().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Digest, MediaInfo};

    fn need(package: Option<&str>, bytes: &[u8], file: &str) -> Need {
        let media = MediaInfo::from_file_name(file);
        let digest = Digest::of(bytes);
        let pin = Pin {
            object: file.parse().unwrap(),
            digest,
            size: bytes.len() as u64,
            media: media.clone(),
            measured: None,
            writable: false,
        };
        let form = Form::of(digest, &media).unwrap();
        Need { package: package.map(|p| p.parse().unwrap()), pin, form }
    }

    const NOTHING: Present = Present { blob: false, tree: false };
    const FILE: Present = Present { blob: false, tree: true };

    fn words(plan: &Plan) -> Vec<String> {
        let step = |step: &Step| match step {
            Step::Receive { label, unpack: None, .. } => format!("receive {label}"),
            Step::Receive { label, unpack: Some(_), .. } => format!("receive and unpack {label}"),
            Step::Unpack { label, .. } => format!("unpack {label}"),
        };
        plan.steps.iter().map(step).collect()
    }

    #[test]
    fn a_fresh_install_receives_everything_and_unpacks_archives_on_the_way() {
        let plan = plan(&[
            (need(None, b"program", "program"), FILE),
            (need(Some("model"), b"tar", "model.tar.gz"), NOTHING),
            (need(Some("notes"), b"text", "notes.txt"), FILE),
        ]);
        assert_eq!(
            words(&plan),
            ["receive the program", "receive and unpack package model", "receive package notes"]
        );
        assert_eq!(plan.bytes, 14);
    }

    #[test]
    fn what_the_store_has_is_not_fetched_again() {
        let there = Present { blob: true, tree: true };
        let only_blob = Present { blob: true, tree: false };
        let plan = plan(&[
            (need(Some("a"), b"a", "a.tar"), there),
            (need(Some("b"), b"b", "b.tar"), only_blob),
        ]);
        assert_eq!((words(&plan), plan.bytes), (vec!["unpack package b".to_owned()], 0));
    }

    #[test]
    fn the_same_bytes_under_two_names_are_received_and_unpacked_once() {
        let plan = plan(&[
            (need(Some("a"), b"same", "x.tar"), NOTHING),
            (need(Some("b"), b"same", "x.tar"), NOTHING),
        ]);
        assert_eq!(
            (words(&plan), plan.bytes),
            (vec!["receive and unpack package a".to_owned()], 4)
        );
    }

    #[test]
    fn what_it_takes_is_what_is_received_and_what_was_measured_of_what_is_unpacked() {
        let mut tree = need(Some("a"), b"tar", "a.tar");
        let measured = model::Measured {
            entries: 2,
            unpacked_bytes: 1000,
            largest_file: 900,
            inodes: 3,
            deepest_path: 9,
            disk_bytes: 5 * model::Measured::BLOCK,
            window: 0,
        };
        tree.pin.measured = Some(measured);
        let Form::Tree(key) = tree.form.clone() else { panic!("a tree") };
        let blob = (Thing::Blob(tree.pin.digest), Room { bytes: 4096, inodes: 1 });
        // A block for the manifest, and four around it all.
        let unpacked = (key.thing(), Room { bytes: 10 * 4096, inodes: 7 });
        let both = [blob.clone(), unpacked].into();
        assert_eq!(plan(&[(tree.clone(), NOTHING), (tree.clone(), NOTHING)]).claims, both);
        let there = plan(&[(tree.clone(), Present { blob: true, tree: true })]).claims;
        assert_eq!(there, Claims::new());
        tree.pin.measured = None;
        assert_eq!(plan(&[(tree, NOTHING)]).claims, [blob].into());
    }

    #[test]
    fn the_same_bytes_as_a_file_and_as_an_archive_are_received_once_and_unpacked() {
        let plan = plan(&[
            (need(Some("raw"), b"same", "x.bin"), FILE),
            (need(Some("tree"), b"same", "x.tar"), NOTHING),
            (need(Some("zip"), b"same", "x.zip"), NOTHING),
        ]);
        assert_eq!(words(&plan), ["receive and unpack package raw", "unpack package zip"]);
    }
}
