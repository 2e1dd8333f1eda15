//! Matching, showing, listing.

use reqwest::Method;
use serde_json::{Value, json};
use wire::Code;

use crate::world::{APP, Answer, World, answer, envelope, with};

async fn published(versions: &[&str]) -> World {
    let world = World::start().await;
    for entry in versions {
        let (version, profile) = entry.split_once('/').unwrap();
        let done = world.publish(APP, version, &[envelope(version, profile)]).await;
        assert_eq!(done.status, 201, "{entry}");
    }
    world
}

fn chosen(answer: &Answer) -> String {
    let body = answer.json();
    let text = |key: &str| body[key].as_str().unwrap().to_owned();
    format!("{}/{}", text("version"), text("profile"))
}

#[tokio::test]
async fn the_newest_version_that_is_wanted_and_runs_here_is_found() {
    let world = published(&[
        "9.0.0/any",
        "10.0.0/linux-amd64",
        "10.0.0/any",
        "10.1.0/x",
        "11.0.0-rc.1/any",
    ])
    .await;
    for (reference, profiles, wanted) in [
        (APP.to_owned(), "linux-amd64", "10.0.0/linux-amd64"),
        (APP.to_owned(), "", "10.0.0/any"),
        (APP.to_owned(), "linux-arm64", "10.0.0/any"),
        (APP.to_owned(), "x,linux-amd64", "10.1.0/x"),
        (format!("{APP}@^9"), "linux-amd64", "9.0.0/any"),
        (format!("{APP}@11.0.0-rc.1"), "", "11.0.0-rc.1/any"),
        (format!("{APP}@10.0.0"), "any,linux-amd64", "10.0.0/linux-amd64"),
    ] {
        assert_eq!(
            chosen(&world.find(&reference, profiles).await),
            wanted,
            "{reference} {profiles}"
        );
    }
}

#[tokio::test]
async fn what_was_published_comes_back_whole() {
    let world = published(&[]).await;
    let wanted = envelope("1.0.0-rc.1+build.7", "any");
    let wanted = with(&wanted, "/packages/model/writable", true);
    world.publish(APP, "1.0.0-rc.1+build.7", std::slice::from_ref(&wanted)).await;
    let found = world.find(&format!("{APP}@1.0.0-rc.1+build.7"), "").await.json();
    assert_eq!(
        (&found["created"], &found["created_by"]),
        (&json!("2026-09-21T14:13:20.000Z"), &json!("loopback"))
    );
    let plain = with(&with(&found, "/created", Value::Null), "/created_by", Value::Null);
    assert_eq!(plain, wanted);
}

#[tokio::test]
async fn why_nothing_was_found_is_told_apart() {
    let world = published(&["1.0.0/linux-arm64", "1.0.0/linux-riscv64", "2.0.0-rc.1/any"]).await;
    let refusal = world.find("demo/other", "").await.refused(Code::NotFound);
    assert!(refusal.message.contains("demo/other"));
    let refusal = world.find(&format!("{APP}@^3"), "").await.refused(Code::NoVersion);
    assert!(
        refusal.message.contains("^3") && refusal.message.contains("2.0.0-rc.1"),
        "{refusal:?}"
    );
    let refusal = world.find(APP, "linux-amd64").await.refused(Code::NoProfile);
    assert!(refusal.message.contains("`linux-arm64`, `linux-riscv64`"), "{refusal:?}");
    assert!(refusal.message.contains("not for `linux-amd64`"), "{refusal:?}");
    world.find("Demo", "").await.refused(Code::BadName);
    world.find("demo@latest", "").await.refused(Code::BadName);
    world.find(APP, "Linux").await.refused(Code::BadName);
    answer(world.request(Method::GET, "/v1/match?reference=a")).await.refused(Code::Usage);
}

#[tokio::test]
async fn who_has_the_envelope_is_told_so() {
    let world = published(&["1.0.0/any"]).await;
    let tag = world.find(APP, "").await.headers["etag"].to_str().unwrap().to_owned();
    assert!(tag.starts_with("\"sha256:"));
    let path = format!("/v1/match?reference={}&profiles=", "demo%2Fweather");
    let ask = |tag: &str| answer(world.request(Method::GET, &path).header("if-none-match", tag));
    let same = ask(&tag).await;
    assert_eq!(
        (same.status, same.body.len(), &same.headers["etag"]),
        (304, 0, &tag.parse().unwrap())
    );
    assert_eq!(ask("\"other\"").await.status, 200);
    world.publish(APP, "1.0.1", &[envelope("1.0.1", "any")]).await;
    assert_eq!(ask(&tag).await.status, 200, "something newer is there");
}

#[tokio::test]
async fn a_version_is_shown_with_all_profiles_or_one() {
    let world = published(&["1.0.0/b", "1.0.0/a", "2.0.0/a", "3.0.0-rc.1/a"]).await;
    let shown = |answer: &Answer| -> Vec<String> {
        let body = answer.json();
        let envelopes = body["envelopes"].as_array().unwrap().iter();
        envelopes.map(|e| format!("{}/{}", e["version"], e["profile"]).replace('"', "")).collect()
    };
    assert_eq!(shown(&world.show(APP, None).await), ["2.0.0/a"]);
    assert_eq!(shown(&world.show("demo/weather@1", None).await), ["1.0.0/a", "1.0.0/b"]);
    assert_eq!(shown(&world.show("demo/weather@1", Some("b")).await), ["1.0.0/b"]);
    let refusal = world.show(APP, Some("b")).await.refused(Code::NoProfile);
    assert!(refusal.message.contains("2.0.0") && refusal.message.contains("`a`"), "{refusal:?}");
    world.show("demo/weather@4", None).await.refused(Code::NoVersion);
    world.show("demo", None).await.refused(Code::NotFound);
    world.show("demo@", None).await.refused(Code::Usage);
}

#[tokio::test]
async fn a_listing_has_a_line_for_each_application_with_its_newest_version_first() {
    let world = published(&["9.0.0/any", "10.0.0/b", "10.0.0/a"]).await;
    for name in ["demo/other", "demo", "x/y/z"] {
        let one = with(&envelope("1.0.0", "any"), "/application", name);
        world.publish(name, "1.0.0", &[one]).await;
    }
    let names = |lines: &[Value]| -> Vec<String> {
        lines.iter().map(|line| line["application"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&world.list("**").await), ["demo", "demo/other", APP, "x/y/z"]);
    assert_eq!(names(&world.list("demo/*").await), ["demo/other", APP]);
    assert_eq!(names(&world.list("*").await), ["demo"]);
    assert_eq!(
        world.list(APP).await,
        [json!({ "application": APP, "versions": [
            { "version": "10.0.0", "profiles": ["a", "b"], "title": "weather" },
            { "version": "9.0.0", "profiles": ["any"], "title": "weather" },
        ]})]
    );
    answer(world.request(Method::GET, "/v1/applications?glob=")).await.refused(Code::Usage);
}

#[tokio::test]
async fn a_listing_of_several_pages_is_whole() {
    let world = World::start().await;
    let names: Vec<String> = (0..401).map(|n| format!("many/{n:03}")).collect();
    for name in &names {
        let one = with(&envelope("1.0.0", "any"), "/application", name.as_str());
        assert_eq!(world.publish(name, "1.0.0", &[one]).await.status, 201);
    }
    let listed = world.list("**").await;
    assert!(listed.iter().map(|line| line["application"].as_str().unwrap()).eq(&names));
}
