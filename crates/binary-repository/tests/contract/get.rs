//! Reading: headers, ranges, conditions.

use model::Digest;
use reqwest::Method;
use wire::{Code, format_digest};

use crate::world::{MIB, World, answer, noise, wanted};

const LATER: &str = "Mon, 01 Jan 2035 00:00:00 GMT";
const EARLIER: &str = "Sat, 01 Jan 2000 00:00:00 GMT";

#[tokio::test]
async fn head_says_what_get_says_without_the_bytes() {
    let world = World::start().await;
    let bytes = noise(1, 3 * MIB + 7);
    let put = world.object(Method::PUT, "a").header("content-type", "application/zip");
    answer(put.body(bytes.clone())).await;
    let (get, head) = (world.get("a").await, answer(world.object(Method::HEAD, "a")).await);
    assert_eq!((get.status, head.status), (200, 200));
    assert!(get.body == bytes && head.body.is_empty());
    for (name, value) in [
        ("content-type", "application/zip".to_owned()),
        ("content-length", bytes.len().to_string()),
        ("etag", format!("\"{}\"", Digest::of(&bytes))),
        ("repr-digest", format_digest(&Digest::of(&bytes))),
        ("accept-ranges", "bytes".to_owned()),
        ("cache-control", "no-transform".to_owned()),
        ("last-modified", "Mon, 21 Sep 2026 14:13:20 GMT".to_owned()),
    ] {
        assert_eq!(get.field(name), value, "{name}");
        assert_eq!(head.field(name), value, "{name} of HEAD");
    }
    assert!(!get.headers.contains_key("content-encoding"));
    answer(world.object(Method::HEAD, "b")).await.status.eq(&404).then_some(()).unwrap();
}

#[tokio::test]
async fn a_range_gets_its_bytes_and_no_others() {
    let world = World::start().await;
    let bytes = noise(2, MIB);
    world.put("a", &bytes).await;
    world.put("empty", b"").await;
    let size = bytes.len();
    for (range, wanted) in [
        ("bytes=0-0", Some(0..1)),
        ("bytes=10-19", Some(10..20)),
        ("bytes=262143-262145", Some(262_143..262_146)), // across the pieces that are sent
        ("bytes=1048570-", Some(1_048_570..size)),
        ("bytes=-5", Some(size - 5..size)),
        ("bytes=0-99999999", Some(0..size)),
        ("bytes=5-4", None),
        ("bytes=0-1,3-4", None),
        ("lines=1-2", None),
    ] {
        let got = answer(world.object(Method::GET, "a").header("range", range)).await;
        let (status, part) = match &wanted {
            Some(part) => (206, part.clone()),
            None => (200, 0..size),
        };
        assert_eq!(got.status, status, "{range}");
        assert!(got.body == bytes[part.clone()], "{range}");
        assert_eq!(got.field("content-length"), part.len().to_string());
        assert_eq!(got.field("repr-digest"), format_digest(&Digest::of(&bytes)), "of the whole");
        let extent = format!("bytes {}-{}/{size}", part.start, part.end - 1);
        assert_eq!(got.field("content-range"), if status == 206 { &extent } else { "" });
    }
    for (name, range, size) in
        [("a", "bytes=1048576-", size), ("a", "bytes=-0", size), ("empty", "bytes=0-", 0)]
    {
        let got = answer(world.object(Method::GET, name).header("range", range)).await;
        assert_eq!((got.status, got.body.len()), (416, 0), "{range}");
        assert_eq!(got.field("content-range"), format!("bytes */{size}"));
    }
    let head = answer(world.object(Method::HEAD, "a").header("range", "bytes=0-0")).await;
    assert_eq!(head.status, 200, "a range is defined for GET alone");
}

#[tokio::test]
async fn conditions_are_kept() {
    let world = World::start().await;
    world.put("a", b"0123456789").await;
    let tag = format!("\"{}\"", Digest::of(b"0123456789"));
    let date = world.get("a").await.field("last-modified").to_owned();
    let (tag, date) = (tag.as_str(), date.as_str());
    for (fields, status) in [
        (&[("if-none-match", tag)][..], 304),
        (&[("if-none-match", "*")], 304),
        (&[("if-none-match", "\"x\"")], 200),
        (&[("if-modified-since", date)], 304),
        (&[("if-modified-since", LATER)], 304),
        (&[("if-modified-since", EARLIER)], 200),
        (&[("if-modified-since", "yesterday")], 200),
        (&[("if-none-match", "\"x\""), ("if-modified-since", LATER)], 200),
        (&[("if-match", tag)], 200),
        (&[("if-match", "\"x\"")], 412),
        (&[("if-unmodified-since", date)], 200),
        (&[("if-unmodified-since", EARLIER)], 412),
        (&[("if-unmodified-since", "yesterday")], 200),
        (&[("range", "bytes=1-"), ("if-range", tag)], 206),
        (&[("range", "bytes=1-"), ("if-range", date)], 206),
        (&[("range", "bytes=1-"), ("if-range", "\"x\"")], 200),
        (&[("range", "bytes=1-"), ("if-match", "\"x\"")], 412),
        (&[("range", "bytes=99-"), ("if-none-match", tag)], 304),
        (&[("accept-encoding", "gzip")], 200),
    ] {
        for method in [Method::GET, Method::HEAD] {
            let request = world.object(method.clone(), "a");
            let request = fields.iter().fold(request, |r, (name, value)| r.header(*name, *value));
            let got = answer(request).await;
            let wanted = if method == Method::HEAD && status == 206 { 200 } else { status };
            assert_eq!(got.status, wanted, "{method} {fields:?}");
            assert_eq!(got.field("etag"), tag);
            if status == 304 || status == 412 {
                assert!(got.body.is_empty());
            }
        }
    }
}

#[tokio::test]
async fn what_is_not_there_and_what_is_not_there_yet_are_two_answers() {
    let world = World::start().await;
    let bytes = noise(3, 5 * MIB);
    let upload = world.open_upload(&wanted("a", &bytes)).await;
    world.get("a").await.refused(Code::Incomplete);
    world.get("b").await.refused(Code::NotFound);
    world.stat("b").await.refused(Code::NotFound);
    let path = format!("/v1/uploads/{}/complete", upload.upload);
    let wrong_method = answer(world.request(Method::GET, &path)).await;
    assert_eq!(wrong_method.error().code, Code::Usage);
}
