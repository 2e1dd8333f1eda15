//! Uploading in parts.

use futures_util::future::join_all;
use model::{Caller, Digest};
use reqwest::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wire::v1::{MeasuredBody, StatedPart, StoredBody, UploadRequest};
use wire::{Code, format_digest};

use crate::world::{MIB, World, answer, noise, object_body, part_of, wanted};

#[tokio::test]
async fn parts_may_come_in_any_order_and_are_reported_as_they_come() {
    let world = World::start().await;
    let bytes = noise(1, 9 * MIB);
    let measured = MeasuredBody {
        entries: 1,
        unpacked_bytes: 2,
        largest_file: 3,
        inodes: 4,
        deepest_path: 5,
        disk_bytes: 6,
        window: 7,
    };
    let request = UploadRequest { measured: Some(measured), ..wanted("a", &bytes) };
    let upload = world.open_upload(&request).await;
    assert_eq!((upload.complete, &upload.missing[..]), (false, &[1, 2, 3][..]));
    for (number, left) in [(3, vec![1, 2]), (1, vec![2]), (2, vec![])] {
        assert_eq!(world.send_part(&upload, number, part_of(&bytes, number)).await.status, 204);
        let again = world.open_upload(&request).await;
        assert_eq!((again.upload, &again.missing), (upload.upload, &left));
        let stat = object_body(&world.stat("a").await);
        let wanted: Vec<u32> =
            stat.parts.iter().filter(|part| !part.received).map(|part| part.number).collect();
        assert!(!stat.complete && wanted == left);
    }
    let stored: StoredBody = world.complete(&upload).await.json();
    assert_eq!((stored.digest, stored.size), (Digest::of(&bytes), 9 * MIB as u64));
    assert_eq!(world.get("a").await.body, bytes);
    let stat = object_body(&world.stat("a").await);
    assert!(stat.complete && stat.measured == Some(measured) && stat.parts.len() == 3);
    assert_eq!(stat.created_by, Caller::Loopback);
    assert!(world.files().1.is_empty(), "nothing is left in staging");
}

#[tokio::test]
async fn parts_may_come_all_at_once_and_each_several_times() {
    let world = World::start().await;
    let bytes = noise(2, 16 * MIB); // exactly four parts
    let upload = world.open_upload(&wanted("a", &bytes)).await;
    let sends = (0..12u32).map(|n| world.send_part(&upload, n % 4 + 1, part_of(&bytes, n % 4 + 1)));
    for answer in join_all(sends).await {
        assert_eq!(answer.status, 204, "{answer:?}");
    }
    let completes = join_all((0..3).map(|_| world.complete(&upload))).await;
    assert!(completes.iter().all(|answer| answer.status == 200), "{completes:?}");
    assert_eq!(world.get("a").await.body, bytes);
}

#[tokio::test]
async fn what_was_done_can_be_asked_for_again() {
    let world = World::start().await;
    let bytes = noise(3, 5 * MIB);
    let upload = world.open_upload(&wanted("a", &bytes)).await;
    for number in [1, 1, 2, 2] {
        assert_eq!(world.send_part(&upload, number, part_of(&bytes, number)).await.status, 204);
    }
    let first: StoredBody = world.complete(&upload).await.json();
    let second: StoredBody = world.complete(&upload).await.json();
    assert_eq!(first, second);
    assert_eq!(world.send_part(&upload, 2, part_of(&bytes, 2)).await.status, 204);
    let again = world.open_upload(&wanted("a", &bytes)).await;
    assert!(again.complete && again.missing.is_empty() && again.upload == upload.upload);
    assert!(world.put("a", &bytes).await.refused(Code::NameTaken).contains("same bytes"));
}

#[tokio::test]
async fn a_part_that_is_not_what_was_stated_is_refused_and_stays_missing() {
    let world = World::start().await;
    let bytes = noise(4, 5 * MIB);
    let upload = world.open_upload(&wanted("a", &bytes)).await;
    let (right, mut wrong) = (part_of(&bytes, 2).to_vec(), part_of(&bytes, 2).to_vec());
    wrong[7] ^= 1;
    let mut longer = right.clone();
    longer.push(0);
    world.send_part(&upload, 2, &wrong).await.refused(Code::DigestMismatch);
    world.send_part(&upload, 2, &longer).await.refused(Code::TooLarge);
    world.send_part(&upload, 2, &right[1..]).await.refused(Code::Incomplete);
    world.send_part(&upload, 0, &right).await.refused(Code::NotFound);
    world.send_part(&upload, 3, &right).await.refused(Code::NotFound);
    // Without a length it shows at the end.
    for (body, code) in [(longer, Code::TooLarge), (right[1..].to_vec(), Code::Incomplete)] {
        let pieces = body.chunks(1000).map(|p| Ok::<_, std::io::Error>(p.to_vec()));
        let body =
            reqwest::Body::wrap_stream(futures_util::stream::iter(pieces.collect::<Vec<_>>()));
        answer(world.part(&upload, 2, b"").body(body)).await.refused(code);
    }
    let stated = |digest: &[u8]| format_digest(&Digest::of(digest));
    let lie = world.part(&upload, 2, &right).header("content-digest", stated(b"other"));
    answer(lie).await.refused(Code::DigestMismatch);
    assert_eq!(world.open_upload(&wanted("a", &bytes)).await.missing, [1, 2]);
    let truth = world.part(&upload, 2, &right).header("content-digest", stated(&right));
    assert_eq!(answer(truth).await.status, 204);
    assert_eq!(world.open_upload(&wanted("a", &bytes)).await.missing, [1]);
    let path = format!("/v1/uploads/{}/parts/x", upload.upload);
    answer(world.request(Method::PUT, &path)).await.refused(Code::BadName);
    answer(world.request(Method::PUT, "/v1/uploads/none/parts/1")).await.refused(Code::BadName);
}

#[tokio::test]
async fn a_connection_that_breaks_off_in_a_part_leaves_it_missing() {
    let world = World::start().await;
    let bytes = noise(5, 5 * MIB);
    let upload = world.open_upload(&wanted("a", &bytes)).await;
    let part = part_of(&bytes, 1);
    let head = format!(
        "PUT /v1/uploads/{}/parts/1 HTTP/1.1\nHost: localhost\nContent-Length: {}\n\n",
        upload.upload,
        part.len()
    );
    let mut half = world.raw(&head).await;
    half.write_all(&part[..MIB]).await.unwrap();
    drop(half);
    assert_eq!(world.open_upload(&wanted("a", &bytes)).await.missing, [1, 2]);
    assert_eq!(world.send_part(&upload, 1, part).await.status, 204);
}

#[tokio::test]
async fn a_sender_that_stalls_holds_up_nobody_and_spoils_nothing() {
    let world = World::start().await;
    // It is judged by its own bytes, which are written nowhere, and shares the answer of the other.
    for (name, last_words, told) in
        [("a", None, "HTTP/1.1 204"), ("b", Some(0xff), "digest-mismatch")]
    {
        let bytes = noise(u64::from(name.as_bytes()[0]), 5 * MIB);
        let upload = world.open_upload(&wanted(name, &bytes)).await;
        let part = part_of(&bytes, 1);
        let path = format!("/v1/uploads/{}/parts/1", upload.upload);
        let head = format!("PUT {path} HTTP/1.1\nHost: localhost\nConnection: close");
        let mut stalled = world.raw(&format!("{head}\nContent-Length: {}\n\n", part.len())).await;
        stalled.write_all(&part[..MIB]).await.unwrap();
        while world.files().1.is_empty() {
            tokio::task::yield_now().await; // until it has begun
        }
        assert_eq!(world.send_part(&upload, 1, part).await.status, 204);
        let mut rest = part[MIB..].to_vec();
        rest.last_mut().unwrap().clone_from(last_words.as_ref().unwrap_or(part.last().unwrap()));
        stalled.write_all(&rest).await.unwrap();
        let mut text = String::new();
        stalled.read_to_string(&mut text).await.unwrap();
        assert!(text.contains(told), "{text}");
        world.send_part(&upload, 2, part_of(&bytes, 2)).await;
        assert_eq!(world.complete(&upload).await.status, 200);
        assert!(world.get(name).await.body == bytes);
    }
}

#[tokio::test]
async fn completing_too_early_names_the_missing_parts() {
    let world = World::start().await;
    let bytes = noise(6, 9 * MIB);
    let upload = world.open_upload(&wanted("a", &bytes)).await;
    assert!(world.complete(&upload).await.refused(Code::Incomplete).contains("parts 1, 2, 3"));
    world.send_part(&upload, 2, part_of(&bytes, 2)).await;
    assert!(world.complete(&upload).await.refused(Code::Incomplete).contains("parts 1, 3"));
}

#[tokio::test]
async fn parts_that_do_not_make_the_whole_are_wanted_again() {
    let world = World::start().await;
    let bytes = noise(7, 5 * MIB);
    let lie = UploadRequest { digest: Digest::of(b"something else"), ..wanted("a", &bytes) };
    let upload = world.open_upload(&lie).await;
    for number in [1, 2] {
        world.send_part(&upload, number, part_of(&bytes, number)).await;
    }
    let refusal = world.complete(&upload).await.refused(Code::DigestMismatch);
    assert!(refusal.contains(&Digest::of(&bytes).to_string()), "{refusal}");
    assert_eq!(world.open_upload(&lie).await.missing, [1, 2]);
    world.get("a").await.refused(Code::Incomplete);
}

#[tokio::test]
async fn what_cannot_be_an_object_is_refused_at_the_beginning() {
    let world = World::start().await;
    let good = wanted("a", &noise(8, 5 * MIB));
    let digest = good.digest;
    let sum = UploadRequest { size: 1, ..good.clone() };
    world.begin_upload(&sum).await.refused(Code::Usage);
    let small = StatedPart { size: 3, digest };
    let unequal = UploadRequest { size: 6, parts: vec![small, small], ..good.clone() };
    world.begin_upload(&unequal).await.refused(Code::Usage);
    let large = UploadRequest { size: model::MAX_OBJECT + 1, parts: vec![], ..good.clone() };
    world.begin_upload(&large).await.refused(Code::TooLarge);
    let huge = StatedPart { size: model::MAX_PART, digest };
    let all = vec![huge; model::MAX_PARTS];
    let everything = UploadRequest { size: model::MAX_OBJECT, parts: all, ..good.clone() };
    world.begin_upload(&everything).await.refused(Code::NoSpace);
    let text = serde_json::to_string(&good).unwrap();
    for bad in [text.replace("\"a\"", "\"../a\""), text.replace("sha256:", "md5:"), "{".to_owned()]
    {
        let request = world.request(Method::POST, "/v1/uploads");
        let request = request.header("content-type", "application/json").body(bad);
        answer(request).await.refused(Code::Usage);
    }
    let nobody = format!("/v1/uploads/{}/complete", uuid::Uuid::now_v7());
    answer(world.request(Method::POST, &nobody)).await.refused(Code::NotFound);
}

#[tokio::test]
async fn a_taken_name_is_told_at_the_beginning_and_at_the_end() {
    let world = World::start().await;
    let (ours, theirs) = (noise(9, 5 * MIB), noise(10, 5 * MIB));
    let upload = world.open_upload(&wanted("a", &ours)).await;
    for number in [1, 2] {
        world.send_part(&upload, number, part_of(&ours, number)).await;
    }
    assert_eq!(world.put("a", &theirs).await.status, 201);
    let refusal = world.begin_upload(&wanted("a", &ours)).await.refused(Code::NameTaken);
    assert!(refusal.contains(&Digest::of(&theirs).to_string()), "{refusal}");
    world.complete(&upload).await.refused(Code::NameTaken);
    world.complete(&upload).await.refused(Code::NotFound);
    assert_eq!(world.get("a").await.body, theirs);
    assert!(world.files().1.is_empty());
    world.until_blobs(1).await;
}

#[tokio::test]
async fn bytes_that_are_here_under_another_name_are_not_sent_again() {
    let world = World::start().await;
    let bytes = noise(11, 5 * MIB);
    world.put("a", &bytes).await;
    let upload = world.open_upload(&wanted("b", &bytes)).await;
    assert!(!upload.complete && upload.missing.is_empty());
    world.get("b").await.refused(Code::Incomplete);
    assert_eq!(world.complete(&upload).await.status, 200);
    assert_eq!(world.get("b").await.body, bytes);
    assert_eq!(world.files().0.len(), 1);
}

#[tokio::test]
async fn two_uploads_of_one_name_race_for_it() {
    let world = World::start().await;
    let contents = [noise(12, 5 * MIB), noise(13, 5 * MIB)];
    let mut uploads = Vec::new();
    for bytes in &contents {
        let upload = world.open_upload(&wanted("a", bytes)).await;
        for number in [1, 2] {
            world.send_part(&upload, number, part_of(bytes, number)).await;
        }
        uploads.push(upload);
    }
    let answers = join_all(uploads.iter().map(|upload| world.complete(upload))).await;
    let won = answers.iter().position(|answer| answer.status == 200).unwrap();
    answers[1 - won].refused(Code::NameTaken);
    assert_eq!(world.get("a").await.body, contents[won]);
}

#[tokio::test]
async fn an_upload_cut_in_another_way_begins_anew() {
    let world = World::start().await;
    let bytes = noise(14, 9 * MIB);
    let upload = world.open_upload(&wanted("a", &bytes)).await;
    world.send_part(&upload, 1, part_of(&bytes, 1)).await;
    let stated = |part: &[u8]| StatedPart { size: part.len() as u64, digest: Digest::of(part) };
    let parts: Vec<StatedPart> = bytes.chunks(5 * MIB).map(stated).collect();
    let other = world.open_upload(&UploadRequest { parts, ..wanted("a", &bytes) }).await;
    assert!(other.upload != upload.upload && other.missing == [1, 2]);
    world.send_part(&upload, 2, part_of(&bytes, 2)).await.refused(Code::NotFound);
    for (number, part) in (1..).zip(bytes.chunks(5 * MIB)) {
        assert_eq!(world.send_part(&other, number, part).await.status, 204);
    }
    assert_eq!(world.complete(&other).await.status, 200);
}

#[tokio::test]
async fn objects_of_no_byte_and_of_whole_parts_can_be_uploaded() {
    let world = World::start().await;
    for (name, size) in [("empty", 0), ("one", 4 * MIB), ("two", 8 * MIB), ("byte", 1)] {
        let bytes = noise(size as u64, size);
        let upload = world.open_upload(&wanted(name, &bytes)).await;
        for number in upload.missing.clone() {
            world.send_part(&upload, number, part_of(&bytes, number)).await;
        }
        assert_eq!(world.complete(&upload).await.status, 200, "{name}");
        assert!(world.get(name).await.body == bytes, "{name}");
    }
}
