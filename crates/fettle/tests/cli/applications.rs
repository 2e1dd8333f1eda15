//! `fettle app …` against a real server.

use serde_json::{Value, json};

use crate::harness::{World, golden_keys, keys};

/// A manifest for two profiles, with an archive and a plain file.
fn manifest(world: &World, version: &str, model: &str) -> String {
    world.write("app/program", "#!/bin/sh\n");
    world.write("app/model.txt", model);
    world.write("app/fonts/a.font", "a");
    world.write(
        "app/weather.toml",
        format!(
            r#"title = "weather"
name = "demo/weather"
version = "{version}"
args = ["--fast"]
env = {{ LANG = "C.UTF-8" }}

[program]
linux-amd64 = "program"
any = {{ package = "fonts", path = "a.font" }}

[packages]
model = "model.txt"
fonts = "fonts/"
"#
        ),
    )
}

#[test]
fn publishing_again_moves_nothing_and_another_version_only_what_changed() {
    let world = World::with_server();
    let first = world.json(&["app", "publish", &manifest(&world, "1.0.0", "one")]);
    let wanted =
        ["application", "bytes_sent", "bytes_total", "objects", "profiles", "published", "version"];
    assert_eq!(keys(&first), wanted);
    assert_eq!((&first["published"], &first["version"]), (&json!(true), &json!("1.0.0")));
    assert_eq!(first["bytes_sent"], first["bytes_total"]);
    assert_eq!(first["profiles"], json!(["any", "linux-amd64"]));
    assert_eq!(keys(&first["objects"][0]), ["digest", "name", "sent", "size"]);

    let again = world.json(&["app", "publish", &manifest(&world, "1.0.0", "one")]);
    assert_eq!((&again["published"], &again["bytes_sent"]), (&json!(false), &json!(0)));

    let next = world.json(&["app", "publish", &manifest(&world, "1.1.0", "other")]);
    assert_eq!((&next["published"], &next["bytes_sent"]), (&json!(true), &json!("other".len())));
}

#[test]
fn another_content_under_a_version_is_refused_naming_what_differs() {
    let world = World::with_server();
    world.json(&["app", "publish", &manifest(&world, "1.0.0", "one")]);
    let error = world.refused(&["app", "publish", &manifest(&world, "1.0.0", "two")]);
    assert_eq!(error["code"], "version-taken");
    assert!(error.to_string().contains("`model`"), "{error}");
    world.json(&["app", "remove", "demo/weather@1.0.0"]);
    let error = world.refused(&["app", "publish", &manifest(&world, "1.0.0", "two")]);
    assert_eq!(error["code"], "version-taken");
}

#[test]
fn one_profile_has_to_be_named_where_there_are_several() {
    let world = World::with_server();
    world.json(&["app", "publish", &manifest(&world, "1.0.0", "one")]);
    let error = world.refused(&["app", "show", "demo/weather"]);
    assert_eq!(error["code"], "no-profile");
    let said = error["message"].as_str().unwrap();
    assert!(said.contains("any") && said.contains("linux-amd64"), "{said}");
    let envelope = world.json(&["app", "show", "demo/weather", "--profile", "linux-amd64"]);
    assert_eq!(keys(&envelope), golden_keys("envelope.json"));
    assert_eq!(envelope["packages"]["model"]["type"], "text/plain");
    assert_eq!(envelope["packages"]["fonts"]["type"], "application/x-tar");
    assert_eq!(envelope["created_by"], "loopback");
}

#[test]
fn a_match_is_the_newest_version_and_the_first_profile_that_fits() {
    let world = World::with_server();
    for (version, model) in [("1.0.0", "one"), ("1.1.0", "two"), ("2.0.0-rc.1", "three")] {
        world.json(&["app", "publish", &manifest(&world, version, model)]);
    }
    let found = |reference: &str, profiles: &[&str]| {
        let body = world.json(&[&["app", "match", reference], profiles].concat());
        (body["version"].as_str().unwrap().to_owned(), body["profile"].clone())
    };
    assert_eq!(found("demo/weather", &["linux-amd64"]), ("1.1.0".into(), json!("linux-amd64")));
    assert_eq!(found("demo/weather@1.0.0", &["other"]), ("1.0.0".into(), json!("any")));
    assert_eq!(found("demo/weather@2.0.0-rc.1", &["any"]), ("2.0.0-rc.1".into(), json!("any")));
    assert_eq!(world.refused(&["app", "match", "demo/weather@^3", "any"])["code"], "no-version");
    assert_eq!(world.refused(&["app", "match", "demo/none", "any"])["code"], "not-found");
}

#[test]
fn a_listing_has_a_line_for_each_application_with_its_versions() {
    let world = World::with_server();
    world.json(&["app", "publish", &manifest(&world, "1.0.0", "one")]);
    world.json(&["app", "publish", &manifest(&world, "1.10.0", "two")]);
    let lines = world.lines(&["app", "list"]);
    assert_eq!(keys(&lines[0]), golden_keys("application-line.json"));
    let versions: Vec<&Value> =
        lines[0]["versions"].as_array().unwrap().iter().map(|line| &line["version"]).collect();
    assert_eq!(versions, ["1.10.0", "1.0.0"]);
    assert_eq!(world.lines(&["app", "list", "other/*"]).len(), 0);
    let removed = world.json(&["app", "remove", "demo/weather@1.10.0"]);
    assert_eq!(removed, json!({ "application": "demo/weather", "version": "1.10.0" }));
    assert_eq!(world.lines(&["app", "list"])[0]["versions"].as_array().unwrap().len(), 1);
}

#[test]
fn an_object_that_an_envelope_needs_cannot_be_removed() {
    let world = World::with_server();
    let published = world.json(&["app", "publish", &manifest(&world, "1.0.0", "one")]);
    let object = published["objects"][0]["name"].as_str().unwrap();
    let error = world.refused(&["object", "delete", object]);
    assert_eq!(error["code"], "in-use");
    assert!(error.to_string().contains("demo/weather"), "{error}");
    world.json(&["app", "remove", "demo/weather@1.0.0"]);
    world.json(&["object", "delete", object]);
}

#[test]
fn a_wrong_manifest_is_refused_with_its_line_and_publishes_nothing() {
    let world = World::with_server();
    let path = manifest(&world, "1.0.0", "one");
    let text = std::fs::read_to_string(&path).unwrap();
    for (from, to) in [
        ("title = \"weather\"", "title = \"Weather\""),
        ("[packages]", "[packets]"),
        ("\"model.txt\"", "\"absent.txt\""),
        ("package = \"fonts\"", "package = \"absent\""),
    ] {
        world.write("app/weather.toml", text.replace(from, to));
        assert_eq!(world.refused(&["app", "publish", &path])["code"], "bad-manifest", "{to}");
    }
    assert_eq!(world.lines(&["app", "list"]).len(), 0);
}
