//! The journey that must always work: from a manifest to a running instance, forward, back, and away.

use std::fs;

use serde_json::{Value, json};

use crate::archives::{a_crate, a_wheel, pack, sample_directory, tree};
use crate::world::{World, as_every_account, binary};

#[test]
fn an_application_is_published_installed_run_updated_reverted_and_removed() {
    as_every_account(|world| {
        world.with_node();
        let (crate_file, wheel) = (a_crate(world), a_wheel(world));
        let notes = world.write("notes.txt", "first\n");
        let packages = [("source", crate_file.as_path()), ("wheel", &wheel), ("notes", &notes)];
        let arguments = ["__sample", "--interval", "50ms"];
        let manifest = world.manifest("demo/weather", "1.0.0", binary(), &arguments, &packages);
        let manifest = manifest.to_str().unwrap();

        let published = world.json(&["app", "publish", manifest]);
        assert_eq!(published["published"], true);
        assert_eq!(published["profiles"], json!(["any"]));
        assert_eq!(published["bytes_sent"], published["bytes_total"]);
        assert_eq!(published["objects"].as_array().unwrap().len(), 4);
        let again = world.json(&["app", "publish", manifest]);
        assert_eq!((&again["published"], &again["bytes_sent"]), (&json!(false), &json!(0)));

        let installed = world.json(&["install", "demo/weather", "--start"]);
        assert_eq!(installed["installation"], "weather/1");
        assert_eq!(installed["instance"], "weather/1/1");
        assert_eq!(installed["version"], "1.0.0");
        let running = world.json(&["status", "weather/1/1"]);
        assert_eq!(
            (&running["state"], &running["desired"]),
            (&json!("running"), &json!("running"))
        );
        // `ps` is the same without what its installation was asked for beyond the envelope.
        let mut listed = running.clone();
        assert!(listed.as_object_mut().unwrap().remove("overrides").is_some());
        assert_eq!(world.lines(&["ps"]), std::slice::from_ref(&listed));
        let pid = running["pid"].as_u64().unwrap();
        let executable = fs::read_link(format!("/proc/{pid}/exe")).unwrap();
        assert!(
            executable.ends_with("bin") || executable.starts_with(world.root()),
            "{executable:?}"
        );

        // The second version has one other package; the instance stays until it is updated itself.
        fs::write(&notes, "second\n").unwrap();
        let manifest = world.manifest("demo/weather", "1.1.0", binary(), &arguments, &packages);
        let second = world.json(&["app", "publish", manifest.to_str().unwrap()]);
        assert_eq!(second["bytes_sent"], 7, "only what changed moves");
        let updated = world.json(&["update", "weather/1"]);
        assert_eq!((&updated["version"], &updated["previous"]), (&json!("1.1.0"), &json!("1.0.0")));
        assert_eq!(world.json(&["status", "weather/1/1"])["version"], "1.0.0");
        assert_eq!(notes_of(world), "first\n");
        let moved = world.json(&["update", "weather/1/1"]);
        assert_eq!((&moved["version"], &moved["state"]), (&json!("1.1.0"), &json!("running")));
        assert_ne!(moved["pid"], running["pid"]);
        assert_eq!(notes_of(world), "second\n");
        assert_eq!(world.refused(&["update", "weather/1/1"])["code"], "nothing-new");
        assert_eq!(world.refused(&["update", "weather/1"])["code"], "nothing-new");

        // And back, without the repository.
        world.server_mut().kill();
        assert_eq!(world.json(&["revert", "weather/1/1"])["version"], "1.0.0");
        assert_eq!(notes_of(world), "first\n");
        assert_eq!(world.json(&["revert", "weather/1"])["version"], "1.0.0");
        assert_eq!(world.refused(&["revert", "weather/1"])["code"], "nothing-new");

        assert_eq!(world.refused(&["uninstall", "weather/1"])["code"], "in-use");
        assert_eq!(world.refused(&["delete", "weather/1/1"])["code"], "wrong-state");
        assert_eq!(world.json(&["stop", "weather/1/1"])["state"], "not-running");
        let output = world.run(&["logs", "weather/1/1"]).stdout;
        assert!(output.contains("told to end"), "{output}");
        assert_eq!(world.json(&["delete", "weather/1/1"])["state"], "deleted");
        assert_eq!(world.lines(&["ps"]), [] as [Value; 0]);
        let left = world.lines(&["ps", "--installations"]);
        assert_eq!((left.len(), &left[0]["installation"]), (1, &Value::from("weather/1")));
        assert_eq!(world.json(&["uninstall", "weather/1"])["installation"], "weather/1");
        assert_eq!(world.lines(&["ps"]), [] as [Value; 0]);
        assert_eq!(world.refused(&["status", "weather/1"])["code"], "not-found");
    });
}

#[test]
fn packages_are_what_other_tools_make_of_the_same_archives() {
    as_every_account(|world| {
        world.with_node();
        let directory = sample_directory(world, "content");
        let tar = pack(world, "a.tar", &["tar", "-cf"], &directory);
        let gzip = pack(world, "a.tar.gz", &["tar", "-czf"], &directory);
        let bzip2 = pack(world, "a.tar.bz2", &["tar", "-cjf"], &directory);
        let zip = pack(world, "a.zip", &["zip", "-qryX"], &directory);
        let (crate_file, wheel) = (a_crate(world), a_wheel(world));
        let archives = [
            ("tar", tar.as_path(), "tar"),
            ("gzip", &gzip, "tar"),
            ("bzip2", &bzip2, "tar"),
            ("zip", &zip, "unzip"),
            ("crate", &crate_file, "tar"),
            ("wheel", &wheel, "unzip"),
        ];
        let packages = archives.map(|(name, path, _)| (name, path));
        world.publish("demo/archives", "1.0.0", &packages);
        world.json(&["install", "demo/archives"]);
        for (name, archive, tool) in archives {
            let expected = world.path(&format!("expected-{name}"));
            fs::create_dir(&expected).unwrap();
            let mut command = std::process::Command::new(tool);
            let command = match tool {
                "tar" => command.arg("-xf").arg(archive).arg("-C").arg(&expected),
                _ => command.env("TZ", "UTC").arg("-q").arg(archive).arg("-d").arg(&expected),
            };
            assert!(command.status().unwrap().success());
            let version = world.root().join(installation_directory(world)).join("1-1.0.0");
            let unpacked = fs::canonicalize(version.join("packages").join(name)).unwrap();
            assert_eq!(tree(&unpacked), tree(&expected), "{name}");
        }
    });
}

#[test]
fn a_second_instance_and_a_second_installation_share_the_trees_of_the_first() {
    as_every_account(|world| {
        world.with_node();
        let archive = a_crate(world);
        world.publish("demo/shared", "1.0.0", &[("source", &archive)]);
        world.json(&["install", "demo/shared", "--start"]);
        world.json(&["instance", "create", "shared/1", "--start"]);
        world.json(&["install", "demo/shared", "--start"]);
        let app = fs::read_dir(world.root().join("apps")).unwrap().next().unwrap().unwrap().path();
        let instances = [
            "installation-1/instances/instance-1",
            "installation-1/instances/instance-2",
            "installation-2/instances/instance-1",
        ];
        let seen = instances
            .map(|at| fs::canonicalize(app.join(at).join("root/packages/source")).unwrap());
        assert!(seen.iter().all(|tree| *tree == seen[0]), "{seen:?}");
        assert_eq!(world.lines(&["ps"]).len(), 3);
    });
}

#[test]
fn a_package_override_replaces_the_envelopes_and_lasts_over_updates() {
    as_every_account(|world| {
        world.with_node();
        let (usual, own) = (world.write("usual.txt", "usual\n"), world.write("own.txt", "own\n"));
        world.publish("demo/over", "1.0.0", &[("notes", &usual)]);
        world.json(&["object", "upload", "site/own", own.to_str().unwrap()]);
        let args =
            ["install", "demo/over", "--package", "notes=site/own", "--package", "more=site/own"];
        world.json(&[&args[..], &["--env", "PLACE=shop", "--start"]].concat());
        let workspace = workspace(world);
        assert_eq!(fs::read_to_string(workspace.join("packages/notes")).unwrap(), "own\n");
        assert_eq!(fs::read_to_string(workspace.join("packages/more")).unwrap(), "own\n");
        world.wait_for("over/1/1", |_| workspace.join("environment").exists());
        fs::write(&usual, "newer\n").unwrap();
        world.publish("demo/over", "1.1.0", &[("notes", &usual)]);
        world.json(&["update", "over/1"]);
        world.json(&["update", "over/1/1"]);
        assert_eq!(fs::read_to_string(workspace.join("packages/notes")).unwrap(), "own\n");
        let environment = fs::read_to_string(workspace.join("environment")).unwrap();
        assert!(environment.contains("PLACE=shop"), "{environment}");
        let shown = world.json(&["status", "over/1"]);
        assert_eq!(shown["overrides"]["env"]["PLACE"], "shop");
        assert_eq!(shown["overrides"]["packages"]["notes"]["object"], "site/own");
        assert_eq!(
            world.refused(&["update", "over/1", "--to", "demo/missing"])["code"],
            "not-found"
        );
    });
}

#[test]
fn a_program_sees_what_the_contract_says_and_nothing_of_the_manager() {
    as_every_account(|world| {
        world.with_node();
        world.publish("demo/env", "1.0.0", &[]);
        world.json(&["install", "demo/env", "--start"]);
        let file = workspace(world).join("environment");
        world.wait_for("env/1/1", |_| {
            fs::read_to_string(&file).is_ok_and(|text| text.contains("PATH="))
        });
        let text = fs::read_to_string(&file).unwrap();
        let names: Vec<&str> = text.lines().filter_map(|line| line.split('=').next()).collect();
        let shells_own = ["PWD", "OLDPWD", "SHLVL", "_"];
        let seen: Vec<&str> = names.into_iter().filter(|name| !shells_own.contains(name)).collect();
        assert_eq!(
            seen,
            [
                "FETTLE_INSTALLATION",
                "FETTLE_INSTANCE",
                "FETTLE_LAUNCH",
                "FETTLE_LOGS",
                "FETTLE_PACKAGES",
                "FETTLE_TITLE",
                "FETTLE_VERSION",
                "FETTLE_WORKSPACE",
                "HOME",
                "PATH"
            ]
        );
        let home = text.lines().find_map(|line| line.strip_prefix("HOME=")).unwrap();
        assert_eq!(fs::canonicalize(home).unwrap(), fs::canonicalize(workspace(world)).unwrap());
    });
}

#[test]
fn an_update_to_another_application_is_refused_and_says_so() {
    as_every_account(|world| {
        world.with_node();
        world.publish("demo/one", "1.0.0", &[]);
        world.publish("demo/two", "2.0.0", &[]);
        world.json(&["install", "demo/one"]);
        let refused = world.refused(&["update", "one/1", "--to", "demo/two"]);
        assert_eq!(refused["code"], "other-title");
        assert!(refused["message"].as_str().unwrap().contains("`two`"), "{refused}");
        assert_eq!(world.json(&["status", "one/1"])["version"], "1.0.0");
    });
}

/// The workspace of the first instance of the only application.
fn workspace(world: &World) -> std::path::PathBuf {
    world.root().join(installation_directory(world)).join("instances/instance-1/root")
}

fn installation_directory(world: &World) -> std::path::PathBuf {
    let app = fs::read_dir(world.root().join("apps")).unwrap().next().unwrap().unwrap();
    std::path::Path::new("apps").join(app.file_name()).join("installation-1")
}

fn notes_of(world: &World) -> String {
    fs::read_to_string(workspace(world).join("packages/notes")).unwrap()
}
