//! What comes and why: the plan of an update before it is made, an operation followed to its verdict, and
//! states explained.

use serde_json::{Value, json};

use crate::proxy::Proxy;
use crate::world::{World, as_every_account};

/// `action name` of each line of a plan.
fn plan(lines: &[Value]) -> Vec<String> {
    let words = |line: &Value| format!("{} {}", text(&line["action"]), text(&line["name"]));
    lines.iter().map(words).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

/// Publishes another program with each version.
fn publish(world: &World, version: &str, lines: &str) {
    let program = world.write("own.sh", format!("#!/bin/sh\n# {version}\n{lines}\n"));
    let manifest = world.manifest("demo/weather", version, &program, &[], &[]);
    world.json(&["app", "publish", manifest.to_str().unwrap()]);
}

const RUNS: &str = "exec sleep 1000";

#[test]
fn the_plan_of_an_update_says_what_moves_is_fetched_and_restarts_and_changes_nothing() {
    as_every_account(|world| {
        world.with_node();
        publish(world, "1.0.0", RUNS);
        let foreseen = world.lines(&["install", "demo/weather", "--start", "--dry-run"]);
        assert_eq!(plan(&foreseen)[0], "install weather");
        assert!(
            plan(&foreseen)[1].starts_with("download ") && plan(&foreseen)[2] == "start weather"
        );
        assert!(world.lines(&["ps"]).is_empty() && world.lines(&["operation", "list"]).is_empty());
        world.json(&["install", "demo/weather", "--start"]);
        world.json(&["instance", "create", "weather/1"]);
        world.json(&["install", "demo/weather"]);
        publish(world, "1.1.0", RUNS);
        let pid = world.json(&["status", "weather/1/1"])["pid"].clone();
        let operations = world.lines(&["operation", "list"]).len();

        let foreseen = world.lines(&["update", "**", "--dry-run"]);
        let words = plan(&foreseen);
        assert_eq!(
            words[..4],
            ["update weather/1", "update weather/2", "update weather/1/1", "update weather/1/2"]
        );
        assert!(words[4].starts_with("download ") && words[5..] == ["restart weather/1/1"]);
        let (first, download) = (&foreseen[0], &foreseen[4]);
        assert_eq!((text(&first["from"]), text(&first["to"])), ("1.0.0", "1.1.0"));
        let own = std::fs::metadata(world.path("own.sh")).unwrap().len();
        assert_eq!(download["bytes"], json!(own), "the object is named once");
        assert_eq!(world.lines(&["operation", "list"]).len(), operations);
        let after = world.json(&["status", "weather/1/1"]);
        assert_eq!((text(&after["version"]), &after["pid"]), ("1.0.0", &pid));

        // Instances alone stay where their installation is.
        let ended = world.run(&["--json", "update", "weather/1/*", "--dry-run"]);
        assert_eq!(ended.code, Some(1), "{ended}");
        assert!(ended.stdout.lines().all(|line| line.contains("\"refuse\"")), "{ended}");
        let human = world.run(&["update", "weather/*", "--dry-run"]);
        assert!(human.stdout.starts_with("ACTION"), "{human}");
        assert!(human.stderr.contains("nothing was changed"), "{human}");

        let ended = world.lines(&["update", "**"]);
        assert!(ended.iter().all(|line| line["error"].is_null() && line["version"] == "1.1.0"));
        assert_eq!(ended.len(), 4);
        let foreseen = world.run(&["--json", "update", "**", "--dry-run"]);
        assert_eq!(foreseen.code, Some(1), "there is nothing to do: {foreseen}");
        publish(world, "1.2.0", RUNS);
        world.json(&["update", "weather/2"]);
        let partly = world.run(&["--json", "update", "weather/1", "weather/2", "--dry-run"]);
        assert_eq!(partly.code, Some(3), "one moves, the other has: {partly}");
    });
}

#[test]
fn what_nothing_needs_is_in_the_plan_unless_the_update_needs_it() {
    as_every_account(|world| {
        world.with_node();
        publish(world, "1.0.0", RUNS);
        world.json(&["install", "demo/weather"]);
        publish(world, "1.1.0", RUNS);
        // A blob that arrived and lost its name in a version: what an interrupted operation leaves.
        let blobs = world.root().join("store/blobs");
        let leave = |content: &[u8]| {
            let digest = model::Digest::of(content).hex();
            let path = blobs.join(&digest[..2]).join(&digest);
            let name = path.strip_prefix(world.path("")).unwrap().to_str().unwrap().to_owned();
            world.write(&name, content);
            digest
        };
        let nobodys = leave(b"nobody needs this");
        let wanted = leave(&std::fs::read(world.path("own.sh")).unwrap());
        let foreseen = plan(&world.lines(&["update", "weather/1", "--dry-run"]));
        assert_eq!(
            foreseen,
            ["update weather/1".to_owned(), format!("free {nobodys}")],
            "{wanted}"
        );
    });
}

#[test]
fn an_operation_is_followed_line_by_line_to_its_verdict_and_its_exit_code() {
    as_every_account(|world| {
        world.start_server();
        let mut state = 1_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state.to_be_bytes()[0]
        };
        let noise: Vec<u8> = (0..2_000_000).map(|_| next()).collect(); // nothing compresses it
        let program = world.write("large", [b"#!/bin/sh\n", &noise[..]].concat());
        let manifest = world.manifest("demo/large", "1.0.0", &program, &[], &[]);
        world.json(&["app", "publish", manifest.to_str().unwrap()]);
        let proxy = Proxy::new(&world.server().url);
        world.start_node_from(&proxy.url);
        proxy.down.hold_after(1_000_000);
        let install = ["--server", &proxy.url, "install", "demo/large", "--detach"];
        let asked = world.json(&install);
        let id = text(&asked["operation"]).to_owned();
        proxy.down.wait_until_held();
        let mut following = world.user(&["--json", "operation", "show", &id, "--follow"]);
        let mut child = following.stdout(std::process::Stdio::piped()).spawn().unwrap();
        let mut lines =
            std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
        let mut next = move || -> Option<Value> {
            lines.next().map(|line| serde_json::from_str(&line.unwrap()).unwrap())
        };
        let first = next().unwrap();
        assert_eq!((text(&first["state"]), text(&first["operation"])), ("running", &*id));
        // It says what it waits for as soon as it has waited long enough.
        let waiting =
            std::iter::from_fn(&mut next).find(|line| !line["waits_for"].is_null()).unwrap();
        assert!(text(&waiting["waits_for"]).contains(&proxy.url), "{waiting}");
        let why = world.json(&["why", &id]);
        assert!(why["causes"].to_string().contains(&format!("waits for {}", proxy.url)), "{why}");
        let human = world.run(&["why", &id]);
        assert!(human.stdout.contains("waits for"), "{human}");
        proxy.down.release();
        let rest: Vec<Value> = std::iter::from_fn(&mut next).collect();
        let last = rest.last().unwrap();
        assert_eq!((text(&last["state"]), &last["waits_for"]), ("done", &Value::Null));
        assert!(child.wait().unwrap().success());
        let again = world.run(&["operation", "show", &id, "-f"]);
        assert_eq!((again.code, again.stdout.lines().count()), (Some(0), 1), "{again}");

        world.refused(&["install", "demo/missing"]);
        let failed = world.lines(&["operation", "list"]);
        let failed = failed.iter().find(|line| line["state"] == "failed").unwrap();
        let id = text(&failed["operation"]).to_owned();
        let ended = world.run(&["--json", "operation", "show", &id, "--follow"]);
        assert_eq!((ended.code, ended.stdout.lines().count()), (Some(1), 1), "{ended}");
        assert!(ended.stderr.contains("\"not-found\""), "{ended}");
    });
}

#[test]
fn why_explains_what_runs_was_stopped_cannot_start_and_is_gone() {
    as_every_account(|world| {
        world.with_node();
        publish(world, "1.0.0", RUNS);
        world.json(&["install", "demo/weather", "--start"]);
        let causes = |name: &str| {
            let why = world.json(&["why", name]);
            (why["state"].to_string(), why["causes"].to_string(), why["next"].to_string())
        };
        let (state, why, next) = causes("weather/1/1");
        assert!(state.contains("running") && why.contains("is ready since"), "{state}: {why}");
        assert!(next.contains("fettle logs weather/1/1"), "{next}");
        let (_, why, _) = causes("weather/1");
        assert!(why.contains("it follows `demo/weather`"), "{why}");

        world.json(&["stop", "weather/1/1"]);
        let (_, why, next) = causes("weather/1/1");
        assert!(why.contains("(stop, asked for by uid:") && next.contains("fettle start"), "{why}");

        publish(world, "1.1.0", "echo broken >&2; exit 7");
        world.json(&["update", "weather/1"]);
        let (_, why, next) = causes("weather/1/1");
        assert!(why.contains("its installation on 1.1.0"), "{why} {next}");
        let (_, _, next) = causes("weather/1");
        assert!(next.contains("fettle update 'weather/1/*'"), "{next}");
        world.json(&["update", "weather/1/1"]);
        world.refused(&["start", "weather/1/1"]);
        let (_, why, next) = causes("weather/1/1");
        assert!(why.contains("stderr: broken") && why.contains("exit code 7"), "{why}");
        assert!(next.contains("fettle logs --stderr weather/1/1"), "{next}");

        world.run(&["stop", "weather/1/1"]);
        world.json(&["delete", "weather/1/1"]);
        let (state, why, _) = causes("weather/1/1");
        assert!(state.contains("deleted") && why.contains("(delete, asked for by uid:"), "{why}");
        let (_, why, next) = causes("weather/1");
        assert!(
            why.contains("has no instance") && next.contains("instance create weather/1"),
            "{why}"
        );
        assert_eq!(world.refused(&["why", "weather/9"])["code"], "not-found");
        assert_eq!(world.refused(&["why", "weather"])["code"], "bad-name");
    });
}

#[test]
fn overrides_are_shown_by_status_of_the_installation_and_its_instances_and_last_over_updates() {
    as_every_account(|world| {
        world.with_node();
        publish(world, "1.0.0", RUNS);
        let notes = world.write("notes.txt", "notes");
        world.json(&["object", "upload", "demo/notes", notes.to_str().unwrap()]);
        world.json(&[
            "install",
            "demo/weather",
            "--start",
            "--env",
            "LANG=C.UTF-8",
            "--arg",
            "--loud",
            "--package",
            "notes=demo/notes",
        ]);
        let check = |version: &str| {
            for name in ["weather/1", "weather/1/1"] {
                let body = world.json(&["status", name]);
                assert_eq!(body["version"], version);
                let overrides = &body["overrides"];
                assert_eq!(overrides["env"], json!({ "LANG": "C.UTF-8" }), "{name}: {body}");
                assert_eq!(overrides["args"], json!(["--loud"]));
                assert_eq!(overrides["packages"]["notes"]["object"], "demo/notes");
                let human = world.run(&["status", name]).stdout;
                for words in ["LANG=C.UTF-8", "--loud", "notes=demo/notes"] {
                    assert!(human.contains(words), "{name}: {words}: {human}");
                }
            }
        };
        check("1.0.0");
        publish(world, "1.1.0", RUNS);
        world.lines(&["update", "**"]);
        check("1.1.0");
        world.lines(&["revert", "weather/1", "weather/1/1"]);
        check("1.0.0");
    });
}

#[test]
fn the_node_manager_is_no_application_like_others() {
    as_every_account(|world| {
        world.with_node();
        world.publish("tools/node-manager", "1.0.0", &[]);
        for arguments in [
            &["install", "tools/node-manager"][..],
            &["install", "tools/node-manager", "--dry-run"],
        ] {
            let refused = world.refused(arguments);
            assert_eq!(refused["code"], "unsupported", "{refused}");
            assert!(text(&refused["message"]).contains("the node manager"), "{refused}");
        }
        assert!(world.lines(&["ps", "--installations"]).is_empty());
        assert!(world.lines(&["store", "gc", "--dry-run"]).is_empty(), "nothing was fetched");
    });
}
