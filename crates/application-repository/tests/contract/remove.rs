//! Removing versions, and what a crash leaves.

use serde_json::json;
use wire::Code;

use crate::world::{APP, World, envelope, with};

#[tokio::test]
async fn a_removed_version_is_found_no_more_and_holds_nothing() {
    let world = World::start().await;
    for version in ["1.0.0", "2.0.0"] {
        world.publish(APP, version, &[envelope(version, "a"), envelope(version, "b")]).await;
    }
    assert_eq!(world.remove(APP, "2.0.0").await.status, 204);
    assert_eq!(world.find(APP, "a").await.json()["version"], "1.0.0");
    world.find("demo/weather@2", "a").await.refused(Code::NoVersion);
    world.show("demo/weather@2", None).await.refused(Code::NoVersion);
    assert_eq!(world.list("**").await[0]["versions"].as_array().unwrap().len(), 1);
    assert_eq!(world.objects.holders().len(), 2);
    assert_eq!(world.remove(APP, "2.0.0").await.status, 204, "removed is removed");
    assert_eq!(world.remove(APP, "1.0.0").await.status, 204);
    assert_eq!(world.objects.holders(), Vec::<String>::new());
    assert_eq!(world.list("**").await, Vec::<serde_json::Value>::new());
    let refusal = world.find(APP, "a").await.refused(Code::NoVersion);
    assert!(refusal.message.contains("it has none"), "{refusal:?}");
}

#[tokio::test]
async fn what_was_never_there_cannot_be_removed() {
    let world = World::start().await;
    world.publish(APP, "1.0.0", &[envelope("1.0.0", "any")]).await;
    world.remove("demo/other", "1.0.0").await.refused(Code::NotFound);
    world.remove(APP, "1.0.1").await.refused(Code::NoVersion);
    world.remove(APP, "^1").await.refused(Code::BadName);
}

#[tokio::test]
async fn a_removed_version_comes_back_only_as_it_was() {
    let mut world = World::start().await;
    let first = envelope("1.0.0", "any");
    world.publish(APP, "1.0.0", std::slice::from_ref(&first)).await;
    let shown = world.find(APP, "").await.json();
    world.remove(APP, "1.0.0").await;
    world.restart().await;
    let other = with(&first, "/args/0", "--slow");
    let refusal = world.publish(APP, "1.0.0", &[other]).await.refused(Code::VersionTaken);
    assert!(refusal.message.contains("it was removed"), "{refusal:?}");
    assert_eq!(world.objects.holders(), Vec::<String>::new());
    let back = world.publish(APP, "1.0.0", std::slice::from_ref(&first)).await.json();
    assert_eq!((&back["published"], &back["profiles"]), (&json!(true), &json!(["any"])));
    assert_eq!(world.find(APP, "").await.json(), shown);
    assert_eq!(world.objects.holders().len(), 1);
}

#[tokio::test]
async fn holds_without_an_envelope_are_given_back_at_start_and_no_others() {
    let mut world = World::start().await;
    world.publish(APP, "1.0.0", &[envelope("1.0.0", "any")]).await;
    for stray in ["demo/weather@1.0.0/other", "demo/weather@1.0.1/any", "demo/other@1.0.0/any"] {
        world.objects.hold_stray(&format!("envelope:{stray}"));
    }
    world.objects.hold_stray("profile:somebody else's");
    world.restart().await;
    assert_eq!(
        world.objects.holders(),
        ["envelope:demo/weather@1.0.0/any", "profile:somebody else's"]
    );
}

#[tokio::test]
async fn a_removal_that_could_not_give_back_is_finished_by_the_next_one_or_the_next_start() {
    let mut world = World::start().await;
    for version in ["1.0.0", "2.0.0"] {
        world.publish(APP, version, &[envelope(version, "any")]).await;
        world.objects.fail_release(true);
        world.remove(APP, version).await.refused(Code::Internal);
        world.objects.fail_release(false);
    }
    world.find(APP, "").await.refused(Code::NoVersion);
    assert_eq!(world.objects.holders().len(), 2);
    assert_eq!(world.remove(APP, "1.0.0").await.status, 204);
    assert_eq!(world.objects.holders(), ["envelope:demo/weather@2.0.0/any"]);
    world.restart().await;
    assert_eq!(world.objects.holders(), Vec::<String>::new());
}
