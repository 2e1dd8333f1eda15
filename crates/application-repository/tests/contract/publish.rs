//! Publishing.

use futures_util::future::join_all;
use model::{Digest, MediaInfo};
use serde_json::json;
use wire::Code;

use crate::world::{APP, World, envelope, pin, with};

#[tokio::test]
async fn a_version_is_published_once_and_the_same_again_is_told_so() {
    let world = World::start().await;
    let both = [envelope("1.0.0", "linux-amd64"), envelope("1.0.0", "any")];
    let done = world.publish(APP, "1.0.0", &both).await;
    assert_eq!(done.status, 201);
    assert_eq!(
        done.json(),
        json!({
            "application": APP, "version": "1.0.0", "profiles": ["any", "linux-amd64"],
            "published": true
        })
    );
    let again = world.publish(APP, "1.0.0", &both[..1]).await;
    assert_eq!((again.status, &again.json()["published"]), (200, &json!(false)));
    assert_eq!(again.json()["profiles"], json!(["any", "linux-amd64"]));
    assert_eq!(
        world.objects.holders(),
        ["envelope:demo/weather@1.0.0/any", "envelope:demo/weather@1.0.0/linux-amd64"]
    );
}

#[tokio::test]
async fn further_profiles_may_follow() {
    let world = World::start().await;
    world.publish(APP, "1.0.0", &[envelope("1.0.0", "any")]).await;
    let more = [envelope("1.0.0", "any"), envelope("1.0.0", "linux-arm64")];
    let done = world.publish(APP, "1.0.0", &more).await.json();
    assert_eq!((&done["published"], done["profiles"].as_array().unwrap().len()), (&json!(true), 2));
    let titled = with(&envelope("1.0.0", "linux-amd64"), "/title", "sunshine");
    let refusal = world.publish(APP, "1.0.0", &[titled]).await.refused(Code::VersionTaken);
    assert!(refusal.message.contains("the title `weather`"), "{refusal:?}");
}

#[tokio::test]
async fn other_content_is_refused_and_what_differs_is_named() {
    let world = World::start().await;
    let first = envelope("1.0.0", "any");
    world.publish(APP, "1.0.0", std::slice::from_ref(&first)).await;
    let other = Digest::of(b"other").to_string();
    for (pointer, value, named) in [
        ("/args/0", json!("--slow"), "the arguments"),
        ("/env/LANG", json!("de"), "the variable `LANG`"),
        ("/program/digest", json!(other), "the program"),
        ("/packages/model/digest", json!(other), "the package `model`"),
        ("/restart/on", json!("always"), "the restart policy"),
        ("/title", json!("sunshine"), "the title"),
    ] {
        let changed = with(&first, pointer, value);
        // A further profile beside it is not published either.
        let both =
            [changed, with(&envelope("1.0.0", "linux-arm64"), "/title", first["title"].clone())];
        let both = if pointer == "/title" { &both[..1] } else { &both[..] };
        let refusal = world.publish(APP, "1.0.0", both).await.refused(Code::VersionTaken);
        assert!(refusal.message.contains(named) && refusal.hint.is_some(), "{refusal:?}");
    }
    assert_eq!(world.objects.holders(), ["envelope:demo/weather@1.0.0/any"]);
    assert_eq!(world.show(APP, None).await.json()["envelopes"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn where_the_bytes_lie_is_no_difference() {
    let world = World::start().await;
    world.publish(APP, "1.0.0", &[envelope("1.0.0", "any")]).await;
    let moved = with(&envelope("1.0.0", "any"), "/program/object", "tool-2");
    assert_eq!(world.publish(APP, "1.0.0", &[moved]).await.json()["published"], false);
}

#[tokio::test]
async fn what_is_no_version_is_a_bad_manifest() {
    let world = World::start().await;
    let good = envelope("1.0.0", "any");
    let in_package = json!({ "package": "nowhere", "path": "bin/x" });
    for (envelopes, cause) in [
        (vec![], "at least one"),
        (vec![good.clone(), good.clone()], "stands twice"),
        (vec![envelope("1.0.1", "any")], "1.0.1"),
        (vec![with(&good, "/application", "demo/other")], "demo/other"),
        (vec![good.clone(), with(&envelope("1.0.0", "x"), "/title", "other")], "different titles"),
        (vec![with(&good, "/program", in_package)], "cannot be"),
        (vec![with(&good, "/args/0", "a\0b")], "cannot be"),
        (vec![with(&good, "/restart/window", -1.0)], "cannot be"),
        ((0..65).map(|n| envelope("1.0.0", &format!("p{n}"))).collect(), "at most 64"),
    ] {
        let refusal = world.publish(APP, "1.0.0", &envelopes).await.refused(Code::BadManifest);
        assert!(refusal.causes[0].contains(cause), "{refusal:?}");
    }
    let long = format!("1.0.0-{}", "a".repeat(200));
    let version = with(&good, "/version", long.clone());
    world.publish(APP, &long, &[version]).await.refused(Code::BadManifest);
    world.publish(APP, "1.0", std::slice::from_ref(&good)).await.refused(Code::BadName);
    world.publish("Demo", "1.0.0", std::slice::from_ref(&good)).await.refused(Code::BadName);
    let unknown = with(&good, "/title", "Not A Title");
    world.publish(APP, "1.0.0", &[unknown]).await.refused(Code::Usage);
    world.show(APP, None).await.refused(Code::NotFound);
    assert_eq!(world.objects.holders(), Vec::<String>::new());
}

#[tokio::test]
async fn every_object_must_be_there_as_it_was_pinned() {
    let world = World::start().await;
    let good = envelope("1.0.0", "any");
    let publish =
        |changed| async { world.publish(APP, "1.0.0", &[envelope("1.0.0", "x"), changed]).await };
    let refusal = publish(with(&good, "/program/object", "none")).await.refused(Code::NotFound);
    assert!(refusal.causes[0].contains("`none`"), "{refusal:?}");
    let wrong = with(&good, "/packages/model/digest", Digest::of(b"else").to_string());
    let refusal = publish(wrong).await.refused(Code::DigestMismatch);
    let (pinned, there) = (Digest::of(b"else").to_string(), Digest::of(b"data").to_string());
    assert!(refusal.causes[0].contains(&pinned) && refusal.causes[0].contains(&there));
    publish(with(&good, "/packages/model/size", 5)).await.refused(Code::BadManifest);
    let refusal = publish(with(&good, "/packages/model/type", "text/plain")).await;
    assert!(refusal.refused(Code::BadManifest).causes[0].contains("text/plain"));
    assert_eq!(world.objects.holders(), Vec::<String>::new(), "nothing is held for nothing");
    world.find(APP, "x").await.refused(Code::NotFound);
    world.objects.add("archive", b"archive", MediaInfo::packed_directory());
    let mut archive = pin("archive");
    archive["type"] = json!("application/x-tar");
    let packaged = with(
        &with(&good, "/packages/model", archive),
        "/program",
        json!({ "package": "model", "path": "bin/x" }),
    );
    assert_eq!(world.publish(APP, "1.0.0", &[packaged]).await.status, 201);
}

#[tokio::test]
async fn of_many_that_publish_one_version_one_wins_and_its_holds_stay() {
    let world = World::start().await;
    let versions: Vec<_> =
        (0..8).map(|n| [with(&envelope("1.0.0", "any"), "/args/0", format!("{n}"))]).collect();
    let publishes = versions.iter().map(|envelopes| world.publish(APP, "1.0.0", envelopes));
    let answers = join_all(publishes).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);
    for lost in answers.iter().filter(|answer| answer.status != 201) {
        lost.refused(Code::VersionTaken);
    }
    assert_eq!(world.objects.holders(), ["envelope:demo/weather@1.0.0/any"]);
}

#[tokio::test]
async fn what_is_published_outlives_a_restart() {
    let mut world = World::start().await;
    world.publish(APP, "1.0.0", &[envelope("1.0.0", "any")]).await;
    let before = world.show(APP, None).await.json();
    world.restart().await;
    assert_eq!(world.show(APP, None).await.json(), before);
}
