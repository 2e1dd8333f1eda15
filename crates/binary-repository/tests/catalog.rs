//! The conformance suite of the catalog: what every implementation of [`Catalog`] must do, races
//! included. Each test gets an empty catalog and knows nothing of what is behind it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::HashSet;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use binary_repository::catalog::sqlite::Sqlite;
use binary_repository::catalog::{
    Begun, Catalog, CatalogError, Claim, Holding, NewUpload, ObjectRecord, Removal, Taken,
    Verification,
};
use model::lifecycle::{BlobState, UploadState};
use model::{Caller, Digest, MediaInfo, ObjectName, Part, Parts, Pin, Timestamp, UploadId};

macro_rules! conformance {
    ($($test:ident)*) => {
        mod sqlite {
            $(#[test] fn $test() {
                let dir = tempfile::tempdir().unwrap();
                super::$test(&super::Sqlite::open(&dir.path().join("catalog.sqlite")).unwrap());
            })*
        }
    };
}

conformance! {
    a_name_is_taken_once_and_only_for_bytes_that_are_present
    of_many_threads_that_take_one_name_one_wins
    a_lease_is_given_back_only_by_its_owner
    objects_are_listed_in_pages_by_prefix
    a_held_object_is_not_removed
    removing_and_holding_never_both_succeed
    extending_a_lease_and_dooming_never_both_succeed
    a_blob_goes_through_its_states_and_no_others
    what_an_object_wants_is_never_doomed
    the_same_upload_is_found_again_and_another_cut_replaces_it
    of_many_threads_that_begin_one_upload_all_get_one_id
    an_upload_is_verified_only_when_no_part_is_missing
    a_completed_upload_answers_until_its_object_is_removed
    holds_are_all_or_none
    figures_that_nobody_gave_are_taken_from_a_later_upload_of_the_same
    everything_comes_back_as_it_was_put_in
}

fn a_name_is_taken_once_and_only_for_bytes_that_are_present(c: &dyn Catalog) {
    let one = object("a", b"one");
    assert_eq!(c.take_name(&one, &[], at(1), None).unwrap(), Taken::NoBytes);
    c.begin_blob(&one.digest, one.size, at(9)).unwrap();
    assert_eq!(c.take_name(&one, &[], at(9), None).unwrap(), Taken::NoBytes, "only writing");
    c.publish_blob(&one.digest).unwrap();
    let lie = ObjectRecord { size: 4, ..one.clone() };
    assert_eq!(c.take_name(&lie, &[], at(9), None).unwrap(), Taken::NoBytes);
    assert_eq!(c.take_name(&one, &[], at(9), None).unwrap(), Taken::New);
    assert_eq!(c.take_name(&one, &[], at(9), None).unwrap(), Taken::Same);
    let two = present(c, "a", b"two");
    assert_eq!(c.take_name(&two, &[], at(9), None).unwrap(), Taken::Other(one.clone()));
    let as_tar = ObjectRecord { media: MediaInfo::packed_directory(), ..one.clone() };
    assert_eq!(c.take_name(&as_tar, &[], at(9), None).unwrap(), Taken::Other(one.clone()));
    assert_eq!(c.object(&one.name).unwrap(), Some(one));
}

fn of_many_threads_that_take_one_name_one_wins(c: &dyn Catalog) {
    for round in 0..10 {
        let contents: Vec<ObjectRecord> = (0..8)
            .map(|n| present(c, &format!("race {round}"), format!("{round} {n}").as_bytes()))
            .collect();
        let answers = at_once(&contents, |object| c.take_name(object, &[], at(9), None).unwrap());
        let won: Vec<_> = (0..8).filter(|&n| answers[n] == Taken::New).collect();
        assert_eq!(won.len(), 1);
        let winner = &contents[won[0]];
        for (n, answer) in answers.iter().enumerate().filter(|(n, _)| *n != won[0]) {
            assert_eq!(*answer, Taken::Other(winner.clone()), "{n}");
        }
        assert_eq!(c.object(&winner.name).unwrap().as_ref(), Some(winner));
    }
}

fn a_lease_is_given_back_only_by_its_owner(c: &dyn Catalog) {
    let one = object("a", b"one");
    c.begin_blob(&one.digest, one.size, at(10)).unwrap();
    c.publish_blob(&one.digest).unwrap();
    assert_eq!(c.next_lease_end().unwrap(), Some(at(10)));
    assert!(c.extend_lease(&one.digest, one.size, at(20)).unwrap());
    c.take_name(&one, &[], at(10), None).unwrap();
    assert_eq!(c.next_lease_end().unwrap(), Some(at(20)), "somebody else was told that it is here");
    c.take_name(&one, &[], at(20), None).unwrap();
    assert_eq!(c.next_lease_end().unwrap(), None);
    // Who does not get the name gives the lease back too, and the bytes can go.
    let two = present(c, "a", b"two");
    c.take_name(&two, &[], at(9), None).unwrap();
    assert_eq!(c.doom_one(at(9)).unwrap(), Some(two.digest));
    // A lease is never made shorter.
    let three = present(c, "b", b"three");
    assert!(c.extend_lease(&three.digest, three.size, at(2)).unwrap());
    assert_eq!(c.next_lease_end().unwrap(), Some(at(9)));
    c.begin_blob(&three.digest, three.size, at(3)).unwrap();
    assert_eq!(c.next_lease_end().unwrap(), Some(at(9)));
}

fn objects_are_listed_in_pages_by_prefix(c: &dyn Catalog) {
    let names = ["A", "a", "a/x", "a/y", "a0", "b", "größe"];
    for name in names {
        taken(c, name, b"x");
    }
    let list = |prefix: &str, after: Option<&str>, limit| -> Vec<String> {
        let after: Option<ObjectName> = after.map(|name| name.parse().unwrap());
        let page = c.objects(prefix, after.as_ref(), limit).unwrap();
        page.iter().map(|object| object.name.to_string()).collect()
    };
    assert_eq!(list("", None, 100), names);
    assert_eq!(list("", None, 2), ["A", "a"]);
    assert_eq!(list("", Some("a"), 2), ["a/x", "a/y"]);
    assert_eq!(list("a/", None, 100), ["a/x", "a/y"]);
    assert_eq!(list("a/", Some("a/x"), 100), ["a/y"]);
    assert_eq!(list("a", Some("a"), 100), ["a/x", "a/y", "a0"]);
    assert_eq!(list("c", None, 100), Vec::<String>::new());
    assert_eq!(list("gr", Some("b"), 100), ["größe"]);
}

fn a_held_object_is_not_removed(c: &dyn Catalog) {
    let one = taken(c, "a", b"one");
    for holder in ["y", "x"] {
        assert_eq!(c.hold(&[claim(holder, &[&one])]).unwrap(), Holding::Held);
    }
    let held = Removal::Held(vec!["x".into(), "y".into()]);
    assert_eq!(c.remove_object(&one.name, at(1)).unwrap(), held);
    c.release("x").unwrap();
    c.release("x").unwrap();
    assert_eq!(c.remove_object(&one.name, at(1)).unwrap(), Removal::Held(vec!["y".into()]));
    c.release("y").unwrap();
    assert_eq!(c.remove_object(&one.name, at(1)).unwrap(), Removal::Removed);
    assert_eq!(c.remove_object(&one.name, at(1)).unwrap(), Removal::Absent);
}

fn removing_and_holding_never_both_succeed(c: &dyn Catalog) {
    for round in 0..20 {
        let one = taken(c, &format!("a{round}"), b"one");
        let holder = format!("h{round}");
        let answers = at_once(&[true, false], |hold| match hold {
            true => c.hold(&[claim(&holder, &[&one])]).unwrap() == Holding::Held,
            false => c.remove_object(&one.name, at(1)).unwrap() == Removal::Removed,
        });
        assert!(answers[0] != answers[1], "held: {}, removed: {}", answers[0], answers[1]);
        assert_eq!(c.object(&one.name).unwrap().is_some(), answers[0]);
    }
}

fn extending_a_lease_and_dooming_never_both_succeed(c: &dyn Catalog) {
    for round in 0..20 {
        let one = present(c, "a", format!("{round}").as_bytes());
        let answers = at_once(&[true, false], |extend| match extend {
            true => c.extend_lease(&one.digest, one.size, at(100)).unwrap(),
            false => c.doom_one(at(50)).unwrap() == Some(one.digest),
        });
        assert!(answers[0] != answers[1], "extended: {}, doomed: {}", answers[0], answers[1]);
        let state = if answers[0] { BlobState::Present } else { BlobState::Doomed };
        assert_eq!(c.blob_state(&one.digest).unwrap(), state);
        assert_eq!(c.doom_one(at(50)).unwrap(), None);
        if answers[0] {
            assert_eq!(c.doom_one(at(100)).unwrap(), Some(one.digest));
        }
        c.remove_blob(&one.digest).unwrap();
    }
}

fn a_blob_goes_through_its_states_and_no_others(c: &dyn Catalog) {
    let one = object("a", b"one");
    let illegal = |answer: Result<(), CatalogError>| {
        assert!(matches!(answer, Err(CatalogError::Illegal { .. })), "{answer:?}");
    };
    let state = || c.blob_state(&one.digest).unwrap();
    assert_eq!(state(), BlobState::Absent);
    illegal(c.publish_blob(&one.digest));
    illegal(c.remove_blob(&one.digest));
    c.begin_blob(&one.digest, one.size, at(1)).unwrap();
    c.begin_blob(&one.digest, one.size, at(2)).unwrap();
    assert_eq!(state(), BlobState::Writing);
    assert_eq!(c.blobs_in(BlobState::Writing).unwrap(), [(one.digest, 3)]);
    assert!(!c.extend_lease(&one.digest, one.size, at(9)).unwrap(), "it is not here yet");
    assert_eq!(c.doom_one(at(9)).unwrap(), None, "somebody is writing it");
    illegal(c.remove_blob(&one.digest));
    c.abort_blob(&one.digest).unwrap();
    assert_eq!(state(), BlobState::Absent);
    c.begin_blob(&one.digest, one.size, at(1)).unwrap();
    c.publish_blob(&one.digest).unwrap();
    c.publish_blob(&one.digest).unwrap();
    illegal(c.abort_blob(&one.digest));
    assert!(!c.extend_lease(&one.digest, one.size + 1, at(9)).unwrap(), "it has another size");
    assert_eq!(c.doom_one(at(0)).unwrap(), None, "its lease runs");
    assert_eq!(c.doom_one(at(1)).unwrap(), Some(one.digest));
    assert_eq!(c.blobs_in(BlobState::Doomed).unwrap(), [(one.digest, 3)]);
    assert!(!c.extend_lease(&one.digest, one.size, at(9)).unwrap(), "it is about to go");
    illegal(c.begin_blob(&one.digest, one.size, at(9)));
    illegal(c.publish_blob(&one.digest));
    c.remove_blob(&one.digest).unwrap();
    assert_eq!(state(), BlobState::Absent);
}

fn what_an_object_wants_is_never_doomed(c: &dyn Catalog) {
    let a = taken(c, "a", b"one");
    let b = ObjectRecord { name: "b".parse().unwrap(), ..a.clone() };
    assert!(c.extend_lease(&a.digest, a.size, at(20)).unwrap());
    assert_eq!(c.take_name(&b, &[], at(5), None).unwrap(), Taken::New);
    assert_eq!(c.doom_one(at(99)).unwrap(), None);
    assert_eq!(c.next_lease_end().unwrap(), None, "and is not looked at again");
    assert_eq!(c.remove_object(&a.name, at(100)).unwrap(), Removal::Removed);
    assert_eq!(c.doom_one(at(101)).unwrap(), None, "the other name wants it");
    assert_eq!(c.remove_object(&b.name, at(102)).unwrap(), Removal::Removed);
    assert_eq!(c.next_lease_end().unwrap(), Some(at(102)));
    assert_eq!(c.doom_one(at(102)).unwrap(), Some(a.digest));
}

fn the_same_upload_is_found_again_and_another_cut_replaces_it(c: &dyn Catalog) {
    let first = upload("a", 9, &[4, 4, 1]);
    assert_eq!(c.begin_upload(&first).unwrap(), open(&first));
    assert!(c.part_received(first.id, 2).unwrap());
    let again = NewUpload { id: id(), ..first.clone() };
    assert_eq!(c.begin_upload(&again).unwrap(), open(&first));
    let received: Vec<bool> =
        c.upload_parts(first.id).unwrap().iter().map(|part| part.received).collect();
    assert_eq!(received, [false, true, false]);
    let mut as_tar = again.clone();
    as_tar.object.media = MediaInfo::packed_directory();
    assert_eq!(c.begin_upload(&as_tar).unwrap(), open(&first));
    assert_eq!(c.upload(first.id).unwrap().unwrap().object.media, as_tar.object.media);
    let other_cut = upload("a", 9, &[5, 4]);
    let dropped = Begun::Open { id: other_cut.id, dropped: Some(first.id) };
    assert_eq!(c.begin_upload(&other_cut).unwrap(), dropped);
    assert_eq!(c.upload(first.id).unwrap(), None);
    assert!(!c.part_received(first.id, 1).unwrap());
    let mut somebody_else = upload("a", 9, &[5, 4]);
    somebody_else.object.created_by = Caller::Uid(7);
    assert_eq!(c.begin_upload(&somebody_else).unwrap(), open(&somebody_else));
    assert_eq!(c.uploads_in_progress().unwrap().len(), 2);
    c.drop_upload(somebody_else.id).unwrap();
    let left = c.upload_in_progress(&other_cut.object.name).unwrap().unwrap();
    assert_eq!(left.id, other_cut.id);
}

fn of_many_threads_that_begin_one_upload_all_get_one_id(c: &dyn Catalog) {
    for round in 0..10 {
        let uploads: Vec<NewUpload> =
            (0..8).map(|_| upload(&format!("a{round}"), 9, &[5, 4])).collect();
        let answers = at_once(&uploads, |new| match c.begin_upload(new).unwrap() {
            Begun::Open { id, dropped: None } => id,
            other => panic!("{other:?}"),
        });
        assert_eq!(answers.iter().collect::<HashSet<_>>().len(), 1);
    }
}

fn an_upload_is_verified_only_when_no_part_is_missing(c: &dyn Catalog) {
    let new = upload("a", 9, &[4, 4, 1]);
    c.begin_upload(&new).unwrap();
    let verify = || c.begin_verifying(new.id).unwrap();
    assert_eq!(verify(), Verification::Missing(vec![1, 2, 3]));
    let part = c.upload_part(new.id, 3).unwrap().unwrap();
    assert_eq!((part.number, part.received), (3, false));
    assert_eq!((part.offset, part.part.size), (8 * UNIT, UNIT));
    assert_eq!(c.upload_part(new.id, 4).unwrap(), None);
    for number in [3, 1, 1] {
        assert!(c.part_received(new.id, number).unwrap());
    }
    assert!(!c.part_received(new.id, 4).unwrap());
    assert_eq!(verify(), Verification::Missing(vec![2]));
    c.part_received(new.id, 2).unwrap();
    assert_eq!((verify(), verify()), (Verification::Go, Verification::Go));
    assert_eq!(c.upload(new.id).unwrap().unwrap().state, UploadState::Verifying);
    c.want_all_parts(new.id).unwrap();
    assert_eq!(c.upload(new.id).unwrap().unwrap().state, UploadState::Receiving);
    assert_eq!(verify(), Verification::Missing(vec![1, 2, 3]));
    assert_eq!(c.begin_verifying(id()).unwrap(), Verification::Unknown);
}

fn a_completed_upload_answers_until_its_object_is_removed(c: &dyn Catalog) {
    let new = upload("a", 9, &[9]);
    c.begin_upload(&new).unwrap();
    c.part_received(new.id, 1).unwrap();
    c.begin_verifying(new.id).unwrap();
    put_in_place(c, &new.object);
    let parts = new.parts.as_slice();
    assert_eq!(c.take_name(&new.object, parts, at(9), Some(new.id)).unwrap(), Taken::New);
    assert_eq!(c.begin_verifying(new.id).unwrap(), Verification::Complete);
    assert_eq!(c.upload(new.id).unwrap().unwrap().state, UploadState::Complete);
    assert_eq!(c.upload_parts(new.id).unwrap(), []);
    assert_eq!(c.uploads_in_progress().unwrap(), []);
    assert_eq!(c.upload_in_progress(&new.object.name).unwrap(), None);
    let again = NewUpload { id: id(), bytes_are_here: true, ..new.clone() };
    assert_eq!(c.begin_upload(&again).unwrap(), Begun::There(new.id));
    let other = NewUpload { id: id(), ..upload("a", 5, &[5]) };
    assert_eq!(c.begin_upload(&other).unwrap(), Begun::NameTaken(new.object.clone()));
    let mut somebody_else = again.clone();
    somebody_else.object.created_by = Caller::Uid(7);
    assert_eq!(c.begin_upload(&somebody_else).unwrap(), Begun::There(somebody_else.id));
    // Bytes that were lost are uploaded again under the same name, by an upload that begins anew.
    let lost = NewUpload { id: id(), ..new.clone() };
    assert_eq!(c.begin_upload(&lost).unwrap(), open(&lost));
    assert_eq!(c.take_name(&new.object, parts, at(9), Some(lost.id)).unwrap(), Taken::Same);
    assert_eq!(c.remove_object(&new.object.name, at(1)).unwrap(), Removal::Removed);
    for gone in [new.id, lost.id, somebody_else.id] {
        assert_eq!(c.upload(gone).unwrap(), None);
    }
}

fn holds_are_all_or_none(c: &dyn Catalog) {
    let (a, b) = (taken(c, "a", b"one"), taken(c, "b", b"two"));
    let absent = object("c", b"three");
    let claims = [claim("x", &[&a, &absent]), claim("y", &[&b])];
    assert_eq!(c.hold(&claims).unwrap(), Holding::Absent(vec![absent.name]));
    let mut differs = claim("x", &[&a, &b]);
    differs.pins[1].digest = a.digest;
    assert!(matches!(c.hold(&[differs]).unwrap(), Holding::Differs { there, .. } if *there == b));
    assert_eq!(c.holders(None, 9).unwrap(), Vec::<String>::new());
    assert_eq!(c.hold(&[claim("x", &[&a, &a]), claim("y", &[&a, &b])]).unwrap(), Holding::Held);
    assert_eq!(c.hold(&[claim("x", &[&b])]).unwrap(), Holding::Held);
    assert_eq!(
        c.remove_object(&b.name, at(1)).unwrap(),
        Removal::Held(vec!["x".into(), "y".into()])
    );
    assert_eq!(c.holders(None, 1).unwrap(), ["x"]);
    assert_eq!(c.holders(Some("x"), 9).unwrap(), ["y"]);
    assert_eq!(c.hold(&[]).unwrap(), Holding::Held);
}

fn figures_that_nobody_gave_are_taken_from_a_later_upload_of_the_same(c: &dyn Catalog) {
    let there = taken(c, "a", b"bytes");
    assert_eq!(there.measured, None);
    let figures = |entries| model::Measured {
        entries,
        unpacked_bytes: 2,
        largest_file: 3,
        inodes: 4,
        deepest_path: 5,
        disk_bytes: 6,
        window: 7,
    };
    for (given, kept) in [(Some(figures(1)), 1), (None, 1), (Some(figures(9)), 1)] {
        let object = ObjectRecord { measured: given, ..there.clone() };
        let parts = Parts::new(5, vec![Part { size: 5, digest: there.digest }]).unwrap();
        let new = NewUpload { id: id(), object, parts, bytes_are_here: true };
        assert!(matches!(c.begin_upload(&new).unwrap(), Begun::There(_)));
        assert_eq!(c.object(&there.name).unwrap().unwrap().measured, Some(figures(kept)));
    }
    let other = ObjectRecord { measured: Some(figures(1)), ..object("b", b"other") };
    let parts = Parts::new(5, vec![Part { size: 5, digest: other.digest }]).unwrap();
    let taken = taken(c, "b", b"bytes");
    let new = NewUpload { id: id(), object: other, parts, bytes_are_here: true };
    assert!(matches!(c.begin_upload(&new).unwrap(), Begun::NameTaken(_)));
    assert_eq!(c.object(&taken.name).unwrap().unwrap().measured, None);
}

fn everything_comes_back_as_it_was_put_in(c: &dyn Catalog) {
    let measured = model::Measured {
        entries: 1,
        unpacked_bytes: u64::MAX,
        largest_file: 3,
        inodes: 4,
        deepest_path: 5,
        disk_bytes: 6,
        window: 7,
    };
    let record = ObjectRecord {
        name: "größe/'\"; DROP TABLE object; --/%_".parse().unwrap(),
        media: MediaInfo {
            media_type: "text/plain; charset=\"x\"".parse().unwrap(),
            encoding: Some(model::Encoding::Zstd),
        },
        size: model::MAX_OBJECT,
        measured: Some(measured),
        created: Timestamp::from_millis(-1),
        created_by: Caller::Uid(u32::MAX),
        ..object("a", b"")
    };
    let parts: Vec<Part> =
        [1, 2].map(|n: u8| Part { size: n.into(), digest: Digest::of(&[n]) }).into();
    put_in_place(c, &record);
    assert_eq!(c.take_name(&record, &parts, at(9), None).unwrap(), Taken::New);
    assert_eq!(c.object(&record.name).unwrap().as_ref(), Some(&record));
    assert_eq!(c.object_parts(&record.name).unwrap(), parts);
    assert_eq!(c.objects("größe/'", None, 9).unwrap(), [record]);
}

fn at(second: u64) -> Timestamp {
    Timestamp::from_millis(1_790_000_000_000).plus(Duration::from_secs(second))
}

fn id() -> UploadId {
    UploadId::from(uuid::Uuid::now_v7())
}

fn object(name: &str, bytes: &[u8]) -> ObjectRecord {
    ObjectRecord {
        name: name.parse().unwrap(),
        media: MediaInfo::from_file_name(""),
        size: bytes.len() as u64,
        digest: Digest::of(bytes),
        measured: None,
        created: at(0),
        created_by: Caller::Loopback,
    }
}

fn put_in_place(c: &dyn Catalog, object: &ObjectRecord) {
    c.begin_blob(&object.digest, object.size, at(9)).unwrap();
    c.publish_blob(&object.digest).unwrap();
}

/// An object without its name yet, under a lease until second 9.
fn present(c: &dyn Catalog, name: &str, bytes: &[u8]) -> ObjectRecord {
    let object = object(name, bytes);
    put_in_place(c, &object);
    object
}

fn taken(c: &dyn Catalog, name: &str, bytes: &[u8]) -> ObjectRecord {
    let object = present(c, name, bytes);
    assert_eq!(c.take_name(&object, &[], at(9), None).unwrap(), Taken::New);
    object
}

/// An upload in parts of so many units, where a unit is what makes the parts legal.
fn upload(name: &str, bytes: u8, parts: &[u64]) -> NewUpload {
    let digest = Digest::of(&[bytes]);
    let part = |&size: &u64| Part { size: size * UNIT, digest };
    let object =
        ObjectRecord { size: parts.iter().sum::<u64>() * UNIT, digest, ..object(name, b"") };
    let parts = Parts::new(object.size, parts.iter().map(part).collect());
    let parts = parts.unwrap_or_else(|error| panic!("{error}"));
    NewUpload { id: id(), object, parts, bytes_are_here: false }
}

fn open(new: &NewUpload) -> Begun {
    Begun::Open { id: new.id, dropped: None }
}

fn claim(holder: &str, objects: &[&ObjectRecord]) -> Claim {
    let pin = |object: &&ObjectRecord| Pin {
        object: object.name.clone(),
        digest: object.digest,
        size: object.size,
        media: object.media.clone(),
        measured: None,
        writable: false,
    };
    Claim { holder: holder.to_owned(), pins: objects.iter().map(pin).collect() }
}

/// Does something with each item, all at the same time.
fn at_once<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let barrier = Barrier::new(items.len());
    thread::scope(|scope| {
        let threads: Vec<_> = items
            .iter()
            .map(|item| {
                scope.spawn(|| {
                    barrier.wait();
                    work(item)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// A mebibyte: parts of 4 units and more are legal.
const UNIT: u64 = 1024 * 1024;
