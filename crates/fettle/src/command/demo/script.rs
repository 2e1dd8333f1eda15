//! What the demo shows, from the first server to the last clean-up. Reads as the story that it tells.

use std::path::{Path, PathBuf};

use super::DemoError;
use super::stage::{NODE, SERVER, Stage};
use super::tree;
use super::weather::{self, MANIFEST, Version};

/// Plays the story on an empty stage.
pub(super) fn play(stage: &mut Stage) -> Result<(), DemoError> {
    let publisher = stage.base().join("publisher");
    open(stage)?;
    publish(stage, &publisher)?;
    install(stage)?;
    update(stage, &publisher)?;
    go_back(stage)?;
    refuse(stage, &publisher)?;
    end(stage)
}

fn open(stage: &mut Stage) -> Result<(), DemoError> {
    let base = stage.base().display().to_string();
    stage.say(&format!("fettle: everything happens in {base}."))?;
    stage.say(
        "1. One program is the server. It keeps objects (programs, packages) and applications.",
    )?;
    let data = format!("{base}/server");
    stage.serve(SERVER, &["server", "--data", &data, "--listen", "127.0.0.1:0"])?;
    stage
        .say("2. The same program is the node manager, on every machine that runs applications.")?;
    let (root, server) = (format!("{base}/node"), stage.url(SERVER).to_owned());
    stage.serve(NODE, &["node", "--root", &root, "--server", &server])
}

fn publish(stage: &Stage, publisher: &Path) -> Result<(), DemoError> {
    weather::write(stage.disk(), Path::new("publisher"), Version::First, stage.program())?;
    stage.say(
        "3. A publisher has a program and what it needs: a tar.gz, a zip, a plain file. A manifest \
         names them.",
    )?;
    stage.quote(&weather::manifest(Version::First, stage.program()))?;
    stage.run(publisher, &["app", "publish", MANIFEST])?;
    stage.say("   Every object has a digest, and media info that says how to unpack it.")?;
    stage.run(publisher, &["object", "stat", &model_object(stage)?])
}

fn install(stage: &Stage) -> Result<(), DemoError> {
    let base = stage.base();
    stage
        .say("4. Installing fetches, verifies and unpacks all of it; --start makes an instance.")?;
    stage.run(base, &["install", "demo/weather", "--start"])?;
    stage.run(base, &["ps"])?;
    stage.say("   The instance runs in a workspace of its own, with its packages in it:")?;
    stage.quote(&workspace(stage)?)?;
    stage.say("   What was downloaded lies beside its media info:")?;
    stage.quote(&media_infos(stage)?)?;
    stage.say("   The program sees its packages, and what it prints is kept:")?;
    stage.wait_for(&["logs", INSTANCE], "forecast 3")?;
    stage.run(base, &["logs", INSTANCE])
}

fn update(stage: &Stage, publisher: &Path) -> Result<(), DemoError> {
    weather::write(stage.disk(), Path::new("publisher"), Version::Second, stage.program())?;
    stage.say(
        "5. Version 1.1.0 has another model; program, icons and greeting are the same. Only what \
         changed is sent.",
    )?;
    stage.run(publisher, &["app", "publish", MANIFEST])?;
    stage.say("   First the installation moves, then the instance, each with one command.")?;
    stage.run(publisher, &["update", INSTALLATION])?;
    stage.run(publisher, &["update", INSTANCE])?;
    stage.wait_for(&["logs", INSTANCE], "the rain stays away after all")?;
    stage.say("   The program was started again, on the new model:")?;
    stage.quote(&last_lines(&stage.ask(&["logs", INSTANCE])?, 4))?;
    stage.run(publisher, &["status", INSTANCE])
}

fn go_back(stage: &Stage) -> Result<(), DemoError> {
    let base = stage.base();
    stage.say(
        "6. There is always a way back: nothing is fetched for it, since it is still there.",
    )?;
    stage.run(base, &["revert", INSTALLATION, INSTANCE])?;
    stage.run(base, &["ps"])
}

fn refuse(stage: &Stage, publisher: &Path) -> Result<(), DemoError> {
    let changed = weather::manifest(Version::Second, stage.program()).replace("200ms", "100ms");
    let path = Path::new("publisher").join(MANIFEST);
    stage.disk().replace(&path, changed.as_bytes(), 0o644)?;
    stage.say(
        "7. A version never changes. Other content under 1.1.0 is refused, with the reason:",
    )?;
    stage.run_refused(publisher, &["app", "publish", MANIFEST])
}

fn end(stage: &Stage) -> Result<(), DemoError> {
    let base = stage.base();
    stage.say("8. Stopping ends everything that the instance started.")?;
    stage.run(base, &["stop", INSTANCE, "--timeout", "5s"])?;
    if !stage.is_kept() {
        stage.run(base, &["delete", INSTANCE])?;
        stage.run(base, &["uninstall", INSTALLATION])?;
        return stage.say(
            "That was fettle. The directory is removed now; `fettle demo --keep DIR` leaves it.",
        );
    }
    let base = base.display();
    stage.say(&format!(
        "That was fettle. Everything is left in {base}. To go on there, in two terminals and a third:\n\n  \
         $ fettle server --data {base}/server\n  \
         $ fettle node --root {base}/node --server http://127.0.0.1:7420\n  \
         $ export FETTLE_NODE=unix://{base}/node/node.sock; fettle ps; fettle start {INSTANCE}"
    ))
}

/// The name under which the model was published.
fn model_object(stage: &Stage) -> Result<String, DemoError> {
    let arguments = ["app", "show", "demo/weather", "--json"];
    let said = stage.ask(&arguments)?;
    let envelope: Option<wire::v1::EnvelopeBody> = serde_json::from_str(&said).ok();
    let pin = envelope.and_then(|envelope| {
        envelope.packages.into_iter().find(|(name, _)| name.as_str() == "model")
    });
    let missing = DemoError::NotSeen { command: "fettle app show".to_owned(), wanted: "the model" };
    pin.map(|(_, pin)| pin.object.to_string()).ok_or(missing)
}

fn workspace(stage: &Stage) -> Result<String, DemoError> {
    let path = seen(stage, "apps/app-*/installation-1/instances/instance-1/root")?;
    tree::draw(&path, 4).map_err(|source| DemoError::Read { path, source })
}

fn media_infos(stage: &Stage) -> Result<String, DemoError> {
    let dir = seen(stage, "apps/app-*/installation-1/current/pkg")?;
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path);
        let text = text.map_err(|source| DemoError::Read { path: path.clone(), source })?;
        Ok(format!("pkg/{}  {text}\n", path.file_name().unwrap_or_default().display()))
    };
    let names = ["greeting.__info", "icons.__info", "model.__info"];
    names.iter().map(|name| read(dir.join(name))).collect()
}

/// The first directory of the node that matches.
fn seen(stage: &Stage, pattern: &str) -> Result<PathBuf, DemoError> {
    let root = stage.base().join("node");
    let mut found = tree::find(&root, pattern)
        .map_err(|source| DemoError::Read { path: root.clone(), source })?;
    match found.is_empty() {
        false => Ok(found.swap_remove(0)),
        true => Err(DemoError::Read {
            path: root.join(pattern),
            source: std::io::ErrorKind::NotFound.into(),
        }),
    }
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

const INSTALLATION: &str = "weather/1";
const INSTANCE: &str = "weather/1/1";
