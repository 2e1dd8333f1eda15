//! Publishing that is interrupted goes on with what is missing, and the wire shows it.

use std::process::Stdio;

use serde_json::Value;

use crate::proxy::Proxy;
use crate::world::as_every_account;

#[test]
fn a_publish_that_is_killed_half_way_sends_only_the_missing_parts_when_it_is_repeated() {
    as_every_account(|world| {
        world.start_server();
        let proxy = Proxy::new(&world.server().url);
        let size = 48 << 20;
        let big = world.write("big.bin", noise(size));
        let program = world.write("program.sh", "#!/bin/sh\n");
        let manifest = world.manifest("demo/big", "1.0.0", &program, &[], &[("big", &big)]);
        let publish = ["--json", "app", "publish", manifest.to_str().unwrap()];

        proxy.up.hold_after(size as u64 / 2);
        let mut first = world.user(&publish);
        first.env("FETTLE_SERVER", &proxy.url).stdout(Stdio::null()).stderr(Stdio::null());
        let mut first = first.spawn().unwrap();
        proxy.up.wait_until_held();
        first.kill().unwrap();
        first.wait().unwrap();
        proxy.up.release();

        let big_object =
            world.lines(&["object", "list"]).into_iter().find(|line| line["size"] == size);
        assert_eq!(big_object, None, "an incomplete object has no name yet");
        let before = proxy.up.passed();
        let mut second = world.user(&publish);
        let output = second.env("FETTLE_SERVER", &proxy.url).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let wire = proxy.up.passed() - before;
        let published: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(published["published"], true);
        let sent = published["bytes_sent"].as_u64().unwrap();
        let part = 4 << 20;
        // Half of it was passed on; four parts were on their way, and none of them whole.
        assert!(sent <= size as u64 / 2 + 4 * part, "{sent} bytes are sent again");
        assert!(sent < size as u64, "nothing was kept");
        let overhead = 64 * 1024;
        assert!((sent..sent + overhead).contains(&wire), "{wire} bytes on the wire, {sent} said");
    });
}

#[test]
fn a_server_that_is_killed_keeps_the_parts_that_it_has_acknowledged() {
    as_every_account(|world| {
        world.start_server();
        let proxy = Proxy::new(&world.server().url);
        let size = 32 << 20;
        let big = world.write("big.bin", noise(size));
        let upload = ["--json", "object", "upload", "big", big.to_str().unwrap()];
        proxy.up.hold_after(size as u64 / 2);
        let mut first = world.user(&upload);
        let mut first = first
            .env("FETTLE_SERVER", &proxy.url)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        proxy.up.wait_until_held();
        world.server_mut().kill();
        first.kill().unwrap();
        first.wait().unwrap();
        world.start_server();
        let stat = world.json(&["object", "stat", "big"]);
        let parts = stat["parts"].as_array().unwrap();
        let received = parts.iter().filter(|part| part["received"] == true).count() as u64;
        assert_eq!(stat["complete"], false);
        let uploaded = world.json(&["object", "upload", "big", big.to_str().unwrap()]);
        assert_eq!(uploaded["sent"].as_u64().unwrap(), size as u64 - received * (4 << 20));
        let copy = world.path("copy.bin");
        world.json(&["object", "download", "big", copy.to_str().unwrap()]);
        assert!(std::fs::read(&copy).unwrap() == std::fs::read(&big).unwrap());
    });
}

#[test]
fn a_published_version_never_changes_and_a_removed_one_comes_back_only_as_it_was() {
    as_every_account(|world| {
        world.start_server();
        let notes = world.write("notes.txt", "one\n");
        world.publish("demo/fixed", "1.0.0", &[("notes", &notes)]);
        world.write("notes.txt", "two\n");
        let manifest = world.path("fixed-1.0.0.toml");
        let publish = ["app", "publish", manifest.to_str().unwrap()];
        let refused = world.refused(&publish);
        assert_eq!(refused["code"], "version-taken");
        let said = refused.to_string();
        assert!(said.contains("package `notes`"), "it names what differs: {said}");
        world.json(&["app", "remove", "demo/fixed@1.0.0"]);
        assert_eq!(world.refused(&publish)["code"], "version-taken");
        world.write("notes.txt", "one\n");
        assert_eq!(world.json(&publish)["published"], true);
    });
}

#[test]
fn an_object_that_an_envelope_needs_cannot_be_deleted() {
    as_every_account(|world| {
        world.start_server();
        let notes = world.write("notes.txt", "kept\n");
        let published = world.publish("demo/keeps", "1.0.0", &[("notes", &notes)]);
        let objects = published["objects"].as_array().unwrap();
        let name =
            objects.iter().find(|object| object["size"] == 5).unwrap()["name"].as_str().unwrap();
        let refused = world.refused(&["object", "delete", name]);
        assert_eq!(refused["code"], "in-use");
        assert!(refused.to_string().contains("demo/keeps"), "{refused}");
        world.json(&["app", "remove", "demo/keeps@1.0.0"]);
        assert_eq!(world.run(&["object", "delete", name]).code, Some(0));
    });
}

/// Bytes that no compression makes smaller, the same every time.
pub(crate) fn noise(size: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}
