//! Storing in one request.

use model::Digest;
use reqwest::Method;
use tokio::io::AsyncWriteExt;
use wire::v1::StoredBody;
use wire::{Code, format_digest};

use crate::world::{MIB, World, answer, noise, object_body};

#[tokio::test]
async fn what_was_stored_comes_back_with_its_media_info() {
    let world = World::start().await;
    let request = world.object(Method::PUT, "a/b.tar.gz");
    let request =
        request.header("content-type", "Application/X-Tar").header("content-encoding", "gzip");
    let stored = answer(request.body("bytes")).await;
    assert_eq!(stored.status, 201);
    let body: StoredBody = stored.json();
    assert_eq!((body.digest, body.size), (Digest::of(b"bytes"), 5));
    let got = world.get("a/b.tar.gz").await;
    assert_eq!((got.status, &got.body[..]), (200, &b"bytes"[..]));
    assert_eq!(got.field("content-type"), "application/x-tar");
    assert_eq!(got.field("content-encoding"), "gzip");
    let stat = object_body(&world.stat("a/b.tar.gz").await);
    assert!(stat.complete && stat.created_by == model::Caller::Loopback);
}

#[tokio::test]
async fn the_same_again_is_fine_and_other_content_names_both_digests() {
    let world = World::start().await;
    assert_eq!(world.put("a", b"one").await.status, 201);
    assert_eq!(world.put("a", b"one").await.status, 200);
    let refusal = world.put("a", b"two").await.refused(Code::NameTaken);
    assert!(refusal.contains(&Digest::of(b"one").to_string()), "{refusal}");
    assert!(refusal.contains(&Digest::of(b"two").to_string()), "{refusal}");
    let as_text = world.object(Method::PUT, "a").header("content-type", "text/plain").body("one");
    assert!(answer(as_text).await.refused(Code::NameTaken).contains("same bytes"));
    assert_eq!(world.get("a").await.body, "one");
}

#[tokio::test]
async fn media_info_that_is_none_is_refused_and_no_media_info_is_octet_stream() {
    let world = World::start().await;
    assert_eq!(world.put("a", b"x").await.status, 201);
    assert_eq!(world.get("a").await.field("content-type"), "application/octet-stream");
    for (field, value, code) in [
        ("content-encoding", "br", Code::Unsupported),
        ("content-encoding", "gzip, zstd", Code::Unsupported),
        ("content-type", "tar", Code::BadName),
        ("content-digest", "sha-256=:AAAA:", Code::BadName),
        ("content-digest", "md5=:AAAA:", Code::BadName),
    ] {
        let request = world.object(Method::PUT, "b").header(field, value).body("x");
        answer(request).await.refused(code);
    }
    world.stat("b").await.refused(Code::NotFound);
}

#[tokio::test]
async fn stated_digests_are_verified_and_nothing_is_stored_that_has_another() {
    let world = World::start().await;
    let (right, wrong) = (format_digest(&Digest::of(b"x")), format_digest(&Digest::of(b"y")));
    for field in ["content-digest", "repr-digest"] {
        let put = |digest: &str| world.object(Method::PUT, field).header(field, digest).body("x");
        let refusal = answer(put(&wrong)).await.refused(Code::DigestMismatch);
        assert!(refusal.contains(&Digest::of(b"x").to_string()), "{refusal}");
        world.get(field).await.refused(Code::NotFound);
        assert_eq!(answer(put(&right)).await.status, 201);
    }
    let both = world.object(Method::PUT, "c").header("content-digest", &right);
    answer(both.header("repr-digest", &wrong).body("x")).await.refused(Code::DigestMismatch);
    assert_eq!(world.files().1, Vec::<std::path::PathBuf>::new(), "nothing is left in staging");
}

#[tokio::test]
async fn names_may_hold_spaces_percent_signs_and_any_letters() {
    let world = World::start().await;
    let names =
        ["a b", "100%", "a%2Fb", "größe/файл", "a/b/c", "?x=1#y", "a+b&c", "~", "c:\\d", "…"];
    for name in names {
        assert_eq!(world.put(name, name.as_bytes()).await.status, 201, "{name}");
    }
    for name in names {
        let got = world.get(name).await;
        assert_eq!(got.body, name.as_bytes(), "{name}");
        assert_eq!(object_body(&world.stat(name).await).name.as_str(), name);
    }
}

#[tokio::test]
async fn names_that_climb_or_cannot_be_shown_are_refused() {
    let world = World::start().await;
    let long = "s".repeat(256);
    for name in ["..", "a/../b", "a//b", "a/", ".", "%2e%2e/x", "a%00b", "a%0Ab", "%FF", &long] {
        for method in ["PUT", "GET", "HEAD", "DELETE"] {
            let head = format!(
                "{method} /v1/objects/{name} HTTP/1.1\nHost: localhost\nContent-Length: 0\nConnection: close\n\n"
            );
            let got = world.raw_answer(&head).await;
            assert!(got.starts_with("HTTP/1.1 400"), "{method} {name}: {got}");
            assert!(method == "HEAD" || got.contains("\"code\":\"bad-name\""), "{name}: {got}");
        }
    }
}

#[tokio::test]
async fn what_is_announced_as_too_large_is_refused_before_it_is_sent() {
    let world = World::start().await;
    let announced = model::MAX_OBJECT + 1;
    let head =
        format!("PUT /v1/objects/a HTTP/1.1\nHost: localhost\nContent-Length: {announced}\n\n");
    let got = world.raw_answer(&head).await;
    assert!(got.starts_with("HTTP/1.1 413") && got.contains("\"code\":\"too-large\""), "{got}");
    let head = head.replace(&announced.to_string(), &model::MAX_OBJECT.to_string());
    let got = world.raw_answer(&head).await;
    assert!(got.contains("\"code\":\"no-space\""), "no disk here has a TiB to spare: {got}");
}

#[tokio::test]
async fn what_was_sent_by_half_leaves_nothing() {
    let world = World::start().await;
    let head = "PUT /v1/objects/a HTTP/1.1\nHost: localhost\nContent-Length: 100\n\nonly this";
    let got = world.raw_answer(head).await;
    assert!(got.is_empty() || got.contains("\"code\":\"incomplete\""), "{got}");
    let mut cut = world.raw(&head.replace("/a ", "/b ")).await;
    cut.flush().await.unwrap();
    drop(cut);
    for name in ["a", "b"] {
        world.get(name).await.refused(Code::NotFound);
    }
    for _ in 0..500 {
        if world.files().1.is_empty() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("left in staging: {:?}", world.files().1);
}

#[tokio::test]
async fn an_empty_object_is_an_object() {
    let world = World::start().await;
    assert_eq!(world.put("empty", b"").await.status, 201);
    let got = world.get("empty").await;
    assert_eq!((got.status, got.body.len(), got.field("content-length")), (200, 0, "0"));
    assert_eq!(object_body(&world.stat("empty").await).parts, []);
}

#[tokio::test]
async fn parts_are_recorded_in_the_pass_that_stores() {
    let world = World::start().await;
    let bytes = noise(1, 8 * MIB); // exactly two parts
    world.put("two", &bytes).await;
    let stat = object_body(&world.stat("two").await);
    let digests: Vec<Digest> = bytes.chunks(4 * MIB).map(Digest::of).collect();
    assert_eq!(stat.parts.iter().map(|part| part.digest).collect::<Vec<_>>(), digests);
    assert!(stat.parts.iter().all(|part| part.received && part.size == 4 * MIB as u64));
    // Without a length the parts are as large as parts can be.
    let pieces = bytes.chunks(MIB).map(|piece| Ok::<_, std::io::Error>(piece.to_vec()));
    let body = reqwest::Body::wrap_stream(futures_util::stream::iter(pieces.collect::<Vec<_>>()));
    let request = world.object(Method::PUT, "chunked").body(body);
    assert_eq!(answer(request).await.status, 201);
    assert_eq!(object_body(&world.stat("chunked").await).parts.len(), 1);
    assert_eq!(world.files().0.len(), 1, "the same bytes are kept once");
    assert_eq!(world.get("chunked").await.body, bytes);
}

#[tokio::test]
async fn of_many_that_want_one_name_at_the_same_time_one_gets_it() {
    let world = World::start().await;
    let contents: Vec<String> = (0..8).map(|n| format!("content {n}")).collect();
    let puts = contents.iter().map(|content| world.put("race", content.as_bytes()));
    let answers = futures_util::future::join_all(puts).await;
    let won: Vec<_> = answers.iter().filter(|answer| answer.status == 201).collect();
    assert_eq!(won.len(), 1);
    for lost in answers.iter().filter(|answer| answer.status != 201) {
        lost.refused(Code::NameTaken);
    }
    let winner: StoredBody = won[0].json();
    assert_eq!(Digest::of(&world.get("race").await.body), winner.digest);
    world.until_blobs(1).await;
    let same = (0..8).map(|_| world.put("same", b"same"));
    let answers = futures_util::future::join_all(same).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);
    assert!(answers.iter().all(|answer| answer.status < 300));
}
