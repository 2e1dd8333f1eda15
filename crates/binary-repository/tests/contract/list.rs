//! Listings and globs.

use reqwest::Method;
use wire::v1::{NDJSON, ObjectLine};
use wire::{Code, encode_segment};

use crate::world::{World, answer, wanted};

async fn names(world: &World, glob: Option<&str>) -> Vec<String> {
    let query = glob.map_or(String::new(), |glob| format!("?glob={}", encode_segment(glob)));
    let request = world.request(Method::GET, &format!("/v1/objects{query}"));
    let got = answer(request).await;
    assert_eq!((got.status, got.field("content-type")), (200, NDJSON));
    let lines = got.body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let line = |line: &[u8]| serde_json::from_slice::<ObjectLine>(line).unwrap().name.to_string();
    lines.map(line).collect()
}

#[tokio::test]
async fn a_glob_finds_what_it_says_sorted_and_only_what_is_complete() {
    let world = World::start().await;
    assert_eq!(names(&world, None).await, Vec::<String>::new());
    for name in ["b", "a/x", "a/y/z", "a", "ab", "größe", "a/x2", "A", "a\u{10ffff}b"] {
        world.put(name, b"x").await;
    }
    world.open_upload(&wanted("a/incomplete", b"12")).await;
    for (glob, wanted) in [
        (None, &["A", "a", "a/x", "a/x2", "a/y/z", "ab", "a\u{10ffff}b", "b", "größe"][..]),
        (Some("*"), &["A", "a", "ab", "a\u{10ffff}b", "b", "größe"]),
        (Some("a/*"), &["a/x", "a/x2"]),
        (Some("a/**"), &["a/x", "a/x2", "a/y/z"]),
        (Some("a/x"), &["a/x"]),
        (Some("a\u{10ffff}*"), &["a\u{10ffff}b"]),
        (Some("a?"), &["ab"]),
        (Some("gr??e"), &["größe"]),
        (Some("zz*"), &[]),
    ] {
        assert_eq!(names(&world, glob).await, wanted, "{glob:?}");
    }
    answer(world.request(Method::GET, "/v1/objects?glob=")).await.refused(Code::Usage);
}

#[tokio::test]
async fn a_listing_of_several_pages_is_whole_and_sorted() {
    let world = World::start().await;
    let all: Vec<String> = (0..1001).map(|n| format!("many/{n:04}")).collect();
    for name in &all {
        assert_eq!(world.put(name, b"x").await.status, 201);
    }
    assert_eq!(names(&world, None).await, all);
    let odd: Vec<_> = all.iter().filter(|name| name.ends_with('7')).cloned().collect();
    assert_eq!(names(&world, Some("many/*7")).await, odd);
}
