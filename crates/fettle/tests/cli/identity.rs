//! `fettle identity`: names are founded, asked for, given and taken, as text that a user carries.

use crate::harness::{World, golden_keys, keys};

/// A trust domain whose admin lies in `admin`.
fn founded() -> World {
    let world = World::empty();
    let admin = world.json(&["identity", "--identity", "admin", "init", "acme/admin"]);
    assert_eq!(admin["name"], "acme/admin");
    world
}

/// Asks in `dir`, and has the admin answer.
fn answered(world: &World, dir: &str, name: &str, flags: &[&str]) -> String {
    let ask = [&["identity", "--identity", dir, "request"], flags].concat();
    let request = world.json(&ask)["request"].as_str().unwrap().to_owned();
    let file = world.write(&format!("{dir}.csr"), request);
    let give = [&["identity", "--identity", "admin", "extend", &file, name], flags].concat();
    world.write(&format!("{dir}.answer"), world.json(&give)["answer"].as_str().unwrap())
}

#[test]
fn a_name_is_asked_for_given_and_taken_and_its_bodies_are_the_golden_ones() {
    let world = founded();
    let answer = answered(&world, "alice", "acme/alice", &["--may-extend"]);
    let alice = world.json(&["identity", "--identity", "alice", "accept", &answer]);
    assert_eq!(keys(&alice), golden_keys("identity.json"));
    assert_eq!((&alice["name"], &alice["may_sign"]), (&"acme/alice".into(), &"acme/alice".into()));
    assert_eq!(alice["signers"], serde_json::json!(["acme", "acme"]));
    assert_eq!(alice["pending"], false);
    let admin = world.json(&["identity", "--identity", "admin", "show"]);
    assert_eq!(admin["roots"][0]["fingerprint"], alice["roots"][0]["fingerprint"]);
    let given = world.lines(&["identity", "--identity", "admin", "list"]);
    assert_eq!(keys(&given[0]), golden_keys("issued-line.json"));
    let names: Vec<&str> = given.iter().filter_map(|line| line["name"].as_str()).collect();
    assert_eq!(names, ["acme/alice", "acme/admin"]);
    let table = world.run(&["identity", "--identity", "admin", "list"]).stdout;
    assert!(table.starts_with("NAME") && table.contains("acme/alice  signing"), "{table}");
    // As text, and from standard input.
    let shown = world.run(&["identity", "--identity", "alice", "show"]).stdout;
    assert!(shown.contains("may name  acme/alice/…"), "{shown}");
}

#[test]
fn what_is_refused_says_what_to_do_next() {
    let world = founded();
    let refused = |arguments: &[&str], code: &str, says: &str| {
        let error = world.refused(&[&["identity"], arguments].concat());
        assert_eq!(error["code"], code, "{arguments:?}: {error}");
        assert!(error["hint"].as_str().unwrap().contains(says), "{arguments:?}: {error}");
    };
    refused(&["--identity", "nobody", "show"], "not-found", "fettle identity request");
    refused(&["--identity", "admin", "init", "acme/other"], "wrong-state", "--identity DIR");
    refused(&["--identity", "x", "init", "acme"], "bad-name", "rule");
    refused(&["--identity", "x", "init", "acme/../admin"], "bad-name", "rule");
    let answer = answered(&world, "alice", "acme/alice", &[]);
    refused(&["--identity", "admin", "accept", &answer], "wrong-state", "fettle identity request");
    let request = world.text("alice.csr");
    refused(&["--identity", "admin", "extend", &request, "other/alice"], "denied", "`acme/`");
    let more = ["--identity", "admin", "extend", &request, "acme/alice", "--may-extend"];
    refused(&more, "usage", "--may-extend");
    refused(&["--identity", "admin", "extend", &answer, "acme/alice"], "usage", "request");
    refused(&["--identity", "admin", "extend", "absent", "acme/alice"], "usage", "file");
    let cut = world.write("cut", "-----BEGIN CERTIFICATE-----\nAAAA\n");
    for command in [&["accept", &cut][..], &["trust", &cut], &["extend", &cut, "acme/alice"]] {
        refused(&[&["--identity", "admin"], command].concat(), "usage", "as it was sent");
    }
    world.json(&["identity", "--identity", "alice", "accept", &answer]);
    refused(&["--identity", "alice", "extend", &request, "acme/alice/x"], "denied", "--may-extend");
    refused(&["--identity", "admin", "rotate", "--root", "switch"], "wrong-state", "begin");
    std::fs::remove_file(world.path("admin/root.pem")).unwrap();
    refused(&["--identity", "admin", "rotate", "--signing"], "denied", "root.pem");
    let leaf = world.path("alice/leaf.pem");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o640);
    std::fs::set_permissions(&leaf, mode).unwrap();
    refused(&["--identity", "alice", "show"], "denied", "chmod 600");
}

#[test]
fn keys_may_be_kept_behind_a_passphrase() {
    let world = World::empty();
    let secret = world.write("secret", "correct horse\n");
    let sealed = ["identity", "--identity", "own", "--passphrase-file", &secret];
    world.json(&[&sealed[..], &["init", "acme/admin"]].concat());
    let keys = std::fs::read_to_string(world.path("own/leaf.pem")).unwrap();
    assert!(keys.contains("BEGIN ENCRYPTED PRIVATE KEY") && !keys.contains("BEGIN PRIVATE"));
    assert_eq!(world.json(&[&sealed[..], &["show"]].concat())["name"], "acme/admin");
    let error = world.refused(&["identity", "--identity", "own", "show"]);
    assert_eq!(error["code"], "denied");
    assert!(error["hint"].as_str().unwrap().contains("--passphrase-file"), "{error}");
}

#[test]
fn a_root_is_renewed_in_three_steps_that_say_what_comes_between() {
    let world = founded();
    let rotate =
        |step: &str| world.run(&["identity", "--identity", "admin", "rotate", "--root", step]);
    for (step, says) in
        [("begin", "fettle identity trust"), ("switch", "ask anew"), ("finish", "roots.pem")]
    {
        let said = rotate(step);
        assert_eq!(said.code, 0, "{said:?}");
        assert!(said.stderr.contains(says), "{step}: {}", said.stderr);
        let roots = world.json(&["identity", "--identity", "admin", "show"])["roots"].clone();
        assert_eq!(roots.as_array().unwrap().len(), if step == "finish" { 1 } else { 2 });
    }
}
