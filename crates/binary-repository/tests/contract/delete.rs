//! Removing objects, and the bytes that nothing wants.

use std::time::Duration;

use binary_repository::catalog::Claim;
use binary_repository::{HoldError, HoldRefusal};
use model::{Digest, MediaInfo, Pin};
use wire::Code;

use crate::world::{DAY, MIB, World, noise, part_of, wanted};

fn pin(object: &str, bytes: &[u8]) -> Pin {
    Pin {
        object: object.parse().unwrap(),
        digest: Digest::of(bytes),
        size: bytes.len() as u64,
        media: MediaInfo::from_file_name(""),
        measured: None,
        writable: false,
    }
}

fn claim(holder: &str, pins: &[Pin]) -> Claim {
    Claim { holder: holder.to_owned(), pins: pins.to_vec() }
}

#[tokio::test]
async fn a_removed_object_is_gone_and_its_name_is_free() {
    let world = World::start().await;
    world.put("a", b"one").await;
    assert_eq!(world.delete("a").await.status, 204);
    world.get("a").await.refused(Code::NotFound);
    world.delete("a").await.refused(Code::NotFound);
    world.until_blobs(0).await;
    assert_eq!(world.put("a", b"two").await.status, 201);
}

#[tokio::test]
async fn what_is_held_is_not_removed_and_the_holders_are_named() {
    let world = World::start().await;
    world.put("a", b"one").await;
    world.put("b", b"one").await;
    let repository = world.repository().clone();
    let one = pin("a", b"one");
    repository.hold(&[claim("envelope:w@1.0.0/any", &[one.clone(), one.clone()])]).unwrap();
    repository.hold(&[claim("envelope:w@2.0.0/any", &[one])]).unwrap();
    let refusal = world.delete("a").await.refused(Code::InUse);
    assert!(refusal.contains("w@1.0.0/any") && refusal.contains("w@2.0.0/any"), "{refusal}");
    assert_eq!(
        world.delete("b").await.status,
        204,
        "the same bytes under another name are not held"
    );
    repository.release("envelope:w@1.0.0/any").unwrap();
    world.delete("a").await.refused(Code::InUse);
    repository.release("envelope:w@2.0.0/any").unwrap();
    assert_eq!(world.delete("a").await.status, 204);
    world.until_blobs(0).await;
}

#[tokio::test]
async fn holds_are_taken_all_or_none_and_only_of_what_was_pinned() {
    let world = World::start().await;
    world.put("a", b"one").await;
    world.put("b", b"two").await;
    let upload = world.open_upload(&wanted("c", &noise(1, 10))).await;
    let repository = world.repository().clone();
    let (a, b) = (pin("a", b"one"), pin("b", b"two"));
    let missing = [claim("x", &[a.clone(), pin("none", b"")]), claim("y", &[b, pin("c", b"")])];
    let Err(HoldError::Refused(HoldRefusal::Absent(names))) = repository.hold(&missing) else {
        panic!("held what is not there");
    };
    assert_eq!(names, ["c".parse().unwrap(), "none".parse().unwrap()]);
    for wrong in [
        Pin { digest: Digest::of(b"two"), ..a.clone() },
        Pin { size: 4, ..a.clone() },
        Pin { media: MediaInfo::packed_directory(), ..a.clone() },
    ] {
        let refused = repository.hold(&[claim("x", &[a.clone(), wrong])]);
        assert!(matches!(refused, Err(HoldError::Refused(HoldRefusal::Differs { .. }))));
    }
    assert_eq!(repository.holders(None, 10).unwrap(), Vec::<String>::new());
    for n in 0..5 {
        repository.hold(&[claim(&format!("h{n}"), std::slice::from_ref(&a))]).unwrap();
    }
    assert_eq!(repository.holders(None, 2).unwrap(), ["h0", "h1"]);
    assert_eq!(repository.holders(Some("h1"), 9).unwrap(), ["h2", "h3", "h4"]);
    drop(upload);
}

#[tokio::test]
async fn bytes_stay_while_another_name_has_them() {
    let world = World::start().await;
    for name in ["a", "b"] {
        world.put(name, b"shared").await;
    }
    world.put("c", b"alone").await;
    world.delete("a").await;
    world.delete("c").await;
    world.until_blobs(1).await;
    assert_eq!(world.get("b").await.body, "shared");
    world.delete("b").await;
    world.until_blobs(0).await;
}

#[tokio::test]
async fn bytes_that_somebody_was_told_are_here_stay_for_a_day() {
    let world = World::start().await;
    let bytes = noise(2, 5 * MIB);
    world.put("a", &bytes).await;
    let upload = world.open_upload(&wanted("b", &bytes)).await;
    assert!(upload.missing.is_empty());
    world.delete("a").await;
    world.pass(DAY / 2);
    world.repository().sweep().unwrap();
    assert_eq!(world.files().0.len(), 1);
    // Nobody came. Then the parts are wanted after all.
    world.pass(DAY);
    world.repository().sweep().unwrap();
    assert_eq!(world.files().0.len(), 0);
    assert!(world.complete(&upload).await.refused(Code::Incomplete).contains("parts 1, 2"));
    assert_eq!(world.open_upload(&wanted("b", &bytes)).await.missing, [1, 2]);
    for number in [1, 2] {
        world.send_part(&upload, number, part_of(&bytes, number)).await;
    }
    assert_eq!(world.complete(&upload).await.status, 200);
    // And with a name they stay, however much time passes.
    world.pass(9 * DAY);
    world.repository().sweep().unwrap();
    assert_eq!(world.get("b").await.body, bytes);
}

#[tokio::test]
async fn the_end_of_a_lease_wakes_the_sweeper() {
    let world = World::start().await;
    world.put("a", b"leased").await;
    world.put("other", b"other").await;
    world.open_upload(&wanted("b", b"leased")).await;
    world.delete("a").await;
    world.pass(DAY - Duration::from_millis(50));
    world.delete("other").await; // it looks now, and sees what comes next
    world.until_blobs(1).await;
    world.pass(Duration::from_millis(50));
    world.until_blobs(0).await;
}

#[tokio::test]
async fn a_reader_who_began_reads_on_while_the_object_is_removed() {
    let world = World::start().await;
    let bytes = noise(3, 24 * MIB); // more than sockets buffer
    world.put("a", &bytes).await;
    let mut response = world.object(reqwest::Method::GET, "a").send().await.unwrap();
    let mut got = response.chunk().await.unwrap().unwrap().to_vec();
    world.delete("a").await;
    world.until_blobs(0).await;
    while let Some(piece) = response.chunk().await.unwrap() {
        got.extend_from_slice(&piece);
    }
    assert!(got == bytes);
}
