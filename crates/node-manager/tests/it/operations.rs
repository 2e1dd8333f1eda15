//! Operations: done once, watched by revision, going on after the manager ended in the middle.

use client::Change;
use model::lifecycle::{InstanceState, OperationState};
use model::{Digest, InstallationId};
use wire::Code;
use wire::v1::{InstallRequest, InstallationBody, OperationBody, OperationResult, ProgramBody};

use crate::cable::Cable;
use crate::machine::{
    Machine, create, delete, eventually, install, new_id, revert, start, stop, uninstall, update,
};
use crate::world::{World, envelope, names_in, noise};

const LARGE: usize = 3_000_000;

/// Publishes `demo/large`, whose program is a script with a long tail.
async fn publish_large(world: &World, version: &str) -> Vec<u8> {
    let seed = version.bytes().map(u64::from).sum();
    let noise = noise(LARGE, seed);
    let program = [b"#!/bin/sh\nexec sleep 1000\n", &noise[..]].concat();
    let object = world.object(&format!("large/{version}"), &program);
    world.publish(&envelope("large", version, ProgramBody::Object(object))).await;
    program
}

async fn installations(machine: &Machine) -> Vec<InstallationBody> {
    let mut lines = machine.node.node().installations(None).await.unwrap();
    let mut all = Vec::new();
    while let Some(body) = lines.next_line().await.unwrap() {
        all.push(body);
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_sent_twice_is_done_once() {
    let world = World::start().await;
    world.publish_script("p", "1.0.0", "exec sleep 1000").await;
    let mut machine = Machine::start(&world).await;
    let id = new_id();
    let change = Change::Install(install("p"));
    let calls = (0..8).map(|_| {
        let (node, change) = (machine.node.clone(), change.clone());
        tokio::spawn(async move { node.node().submit(id, &change).await.unwrap() })
    });
    for call in calls.collect::<Vec<_>>() {
        assert_eq!(call.await.unwrap().operation, id);
    }
    let ended = machine.end_of(id).await;
    assert_eq!(machine.node.node().submit(id, &change).await.unwrap(), ended);
    machine.restart_manager().await;
    let after = machine.node.node().submit(id, &change).await.unwrap();
    assert_eq!((after.state, &after.result), (OperationState::Done, &ended.result));
    assert_eq!(installations(&machine).await.len(), 1);
    // The same id for something else.
    let other = Change::Install(InstallRequest { start: true, ..install("p") });
    let error = machine.node.node().submit(id, &other).await.unwrap_err();
    assert_eq!(error.code(), Code::NameTaken);
    let other = uninstall(&"p/1");
    let error = machine.node.node().submit(id, &other).await.unwrap_err();
    assert_eq!(error.code(), Code::NameTaken);
    assert_eq!(installations(&machine).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_news_sees_bytes_grow_and_the_verdict_at_the_end() {
    let world = World::start().await;
    let program = publish_large(&world, "1.0.0").await;
    let cable = Cable::to(&world.address).await;
    let machine = Machine::start_at(&world.dir.path().join("node"), &cable.address).await;
    cable.hold_after(1_000_000);
    let id = new_id();
    machine.node.node().submit(id, &Change::Install(install("large"))).await.unwrap();
    cable.was_spent().await;
    let mut seen: Vec<OperationBody> = vec![machine.node.node().operation(id).await.unwrap()];
    cable.mend();
    while let Some(last) = seen.last().filter(|last| !last.state.has_ended()) {
        let next = machine.node.node().wait(id, last.revision).await.unwrap();
        seen.push(next);
    }
    for pair in seen.windows(2) {
        assert!(pair[0].revision < pair[1].revision && pair[0].bytes_done <= pair[1].bytes_done);
        assert!(pair[0].progressed <= pair[1].progressed);
    }
    assert_eq!(seen[0].bytes_total, Some(program.len() as u64));
    assert!(seen[0].phase.contains("the program"), "{}", seen[0].phase);
    let last = seen.last().unwrap();
    assert_eq!((last.state, last.bytes_done), (OperationState::Done, program.len() as u64));
    // Bytes come in hundreds of pieces; a client is not woken up by each.
    assert!(seen.len() < 60, "{} revisions", seen.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_install_that_was_cut_off_with_its_manager_goes_on_and_ends_the_same() {
    let world = World::start().await;
    let program = publish_large(&world, "1.0.0").await;
    let cable = Cable::to(&world.address).await;
    let mut machine = Machine::start_at(&world.dir.path().join("node"), &cable.address).await;
    cable.hold_after(1_000_000);
    let id = new_id();
    let change = Change::Install(InstallRequest { start: true, ..install("large") });
    machine.node.node().submit(id, &change).await.unwrap();
    cable.was_spent().await;
    let partial = format!("staging/receive-{}", Digest::of(&program).hex());
    let partial = machine.root.join(partial);
    let arrived = || partial.metadata().map_or(0, |partial| partial.len());
    eventually("most of what was let through has arrived", || arrived() > 900_000).await;
    machine.turn_off().await;
    // Another version comes meanwhile: what was decided stays decided.
    publish_large(&world, "1.1.0").await;
    let before = cable.count();
    cable.mend();
    machine.turn_on().await;
    let ended = machine.end_of(id).await;
    let Some(OperationResult::Installed(installed)) = &ended.result else { panic!("{ended:#?}") };
    assert_eq!(installed.version.to_string(), "1.0.0");
    let instance = installed.instance.clone().unwrap();
    assert_eq!(machine.instance(&instance).await.state, InstanceState::Running);
    let blob = machine.installation_dir(&installed.installation).join("1-1.0.0/bin");
    assert!(std::fs::read(blob).unwrap() == program);
    // Only what was missing crossed the wire.
    let moved = cable.count() - before;
    assert!(moved < (LARGE as u64) * 3 / 4, "{moved} bytes");
    // The verdict lasts.
    machine.restart_manager().await;
    let later = machine.node.node().operation(id).await.unwrap();
    assert_eq!((later.state, later.result, later.ended), (ended.state, ended.result, ended.ended));
    assert_eq!(installations(&machine).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_lasts_too_and_runs_no_second_time() {
    let world = World::start().await;
    let mut machine = Machine::start(&world).await;
    let id = new_id();
    machine.node.node().submit(id, &Change::Install(install("p"))).await.unwrap();
    let ended = machine.end_of(id).await;
    assert_eq!(ended.error.as_ref().unwrap().operation, Some(id));
    world.publish_script("p", "1.0.0", "exec sleep 1000").await;
    machine.restart_manager().await;
    let later = machine.node.node().operation(id).await.unwrap();
    assert_eq!((later.state, later.error), (OperationState::Failed, ended.error));
    assert_eq!(installations(&machine).await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_installs_of_the_same_content_fetch_it_once() {
    let world = World::start().await;
    publish_large(&world, "1.0.0").await;
    let cable = Cable::to(&world.address).await;
    let machine = Machine::start_at(&world.dir.path().join("node"), &cable.address).await;
    cable.hold_after(1_000_000);
    let ids = [new_id(), new_id(), new_id()];
    for id in ids {
        machine.node.node().submit(id, &Change::Install(install("large"))).await.unwrap();
    }
    cable.was_spent().await;
    cable.mend();
    let mut numbers = Vec::new();
    for id in ids {
        let body = machine.end_of(id).await;
        assert_eq!(Some(body.bytes_done), body.bytes_total);
        let Some(OperationResult::Installed(installed)) = body.result else { panic!("{body:#?}") };
        numbers.push(installed.installation.number);
    }
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2, 3]);
    assert!(cable.count() < (LARGE as u64) * 5 / 4, "{} bytes", cable.count());
    assert_eq!(names_in(&machine.root.join("staging")), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_on_the_same_thing_take_turns() {
    let world = World::start().await;
    world.publish_script("p", "1.0.0", "exec sleep 1000").await;
    let machine = Machine::start(&world).await;
    let installation = machine.install(install("p")).await.installation;
    world.publish_script("p", "1.1.0", "exec sleep 1001").await;
    let mut changes: Vec<Change> = (0..6).map(|_| create(&installation, false)).collect();
    changes.insert(2, update(&installation));
    changes.insert(4, uninstall(&installation));
    let first = machine.done(create(&installation, true)).await;
    let OperationResult::Instance(first) = first else { panic!() };
    changes.extend([stop(&first.instance), start(&first.instance), update(&first.instance)]);
    changes.extend([revert(&first.instance), delete(&first.instance, true)]);
    let mut ids = Vec::new();
    for change in &changes {
        let id = new_id();
        machine.node.node().submit(id, change).await.unwrap();
        ids.push((id, change));
    }
    let (mut made, mut there) = (Vec::new(), 1);
    for (id, change) in ids {
        let body = machine.end_of(id).await;
        match (change, body.result, body.error) {
            (Change::Delete(_), Some(_), None) => there -= 1, // unless it came while it was updated
            (Change::Create(_), Some(OperationResult::Instance(made_now)), None) => {
                made.push(made_now.instance.number);
            }
            (Change::Create(_), _, error) => panic!("{error:#?}"),
            (Change::Uninstall(_), _, Some(error)) => assert_eq!(error.code, Code::InUse),
            (_, _, Some(error)) => assert!(
                matches!(
                    error.code,
                    Code::Busy | Code::NotFound | Code::NothingNew | Code::WrongState
                ),
                "{change:?}: {error:#?}"
            ),
            _ => {}
        }
    }
    made.sort_unstable();
    assert_eq!(made, [2, 3, 4, 5, 6, 7]);
    there += made.len();
    let body = machine.node.node().installation(&installation).await.unwrap();
    assert_eq!((body.version.to_string(), body.instances.len()), ("1.1.0".into(), there));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_at_once_leaves_no_operation_that_nobody_runs() {
    use tokio::io::AsyncWriteExt as _;
    let world = World::start().await;
    world.publish_script("p", "1.0.0", "exec sleep 1000").await;
    let machine = Machine::start(&world).await;
    let installation = machine.install(install("p")).await.installation;
    let body = format!(r#"{{"installation":"{installation}"}}"#);
    let mut ids = Vec::new();
    for _ in 0..30 {
        let id = new_id();
        let socket = machine.root.with_extension("sock");
        let mut client = tokio::net::UnixStream::connect(socket).await.unwrap();
        let request = format!(
            "PUT /v1/operations/{id}/create HTTP/1.1\r\nHost: localhost\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        client.write_all(request.as_bytes()).await.unwrap();
        drop(client);
        ids.push(id);
    }
    // Sent again, each is done once, whether the first attempt was heard or not.
    for id in ids {
        machine.node.node().submit(id, &create(&installation, false)).await.unwrap();
        assert_eq!(machine.end_of(id).await.state, OperationState::Done);
    }
    let body = machine.node.node().installation(&installation).await.unwrap();
    assert_eq!(body.instances.len(), 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_operation_stops_nobody_and_its_id_stays_taken() {
    let world = World::start().await;
    world.publish_script("p", "1.0.0", "exec sleep 1000").await;
    let mut machine = Machine::start(&world).await;
    let change = Change::Install(install("p"));
    let id = machine.change(change.clone()).await.operation;
    machine.turn_off().await;
    let path = machine.root.join("operations").join(id.to_string());
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, &text[..text.len() / 2]).unwrap();
    machine.turn_on().await;
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "the log makes it again");
    machine.turn_off().await;
    machine.lose_the_log();
    std::fs::write(&path, &text[..text.len() / 2]).unwrap();
    machine.turn_on().await;
    let error = machine.node.node().submit(id, &change).await.unwrap_err();
    assert_eq!(error.code(), Code::Damaged);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text[..text.len() / 2]);
    machine.install(install("p")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_not_found() {
    let world = World::start().await;
    let machine = Machine::start(&world).await;
    let installation: InstallationId = "p/1".parse().unwrap();
    let instance = "p/1/1".parse().unwrap();
    for change in [
        create(&installation, true),
        update(&installation),
        revert(&installation),
        uninstall(&installation),
        start(&instance),
        stop(&instance),
        update(&instance),
        revert(&instance),
        delete(&instance, true),
    ] {
        let error = machine.refused(change.clone()).await;
        assert_eq!(error.code, Code::NotFound, "{change:?}");
        assert!(error.hint.is_some());
    }
    assert_eq!(names_in(&machine.root.join("apps")), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_thousand_verdicts_are_kept_whatever_their_ids_say_about_their_age() {
    let world = World::start().await;
    let mut machine = Machine::off(&world.dir.path().join("node"), &world.address);
    // It syncs nothing, which is fast.
    let recorder = durable::faults::Recorder::new(world.dir.path()).unwrap();
    let open = |config| node_manager::Node::open_recorded(config, recorder.clone());
    machine.turn_on_with(open).await;
    let change = start(&"p/1/1".parse().unwrap());
    let mut ids = Vec::new();
    // They are forgotten a hundred at a time.
    for n in 0..1103_u64 {
        // The later it is asked for, the older its id looks.
        let id = uuid::Uuid::from_u64_pair(u64::MAX - n, 1);
        ids.push(model::OperationId::from(id));
    }
    for id in &ids {
        machine.node.node().submit(*id, &change).await.unwrap();
        machine.end_of(*id).await;
    }
    machine.node.node().submit(new_id(), &change).await.unwrap();
    let known = names_in(&machine.root.join("operations"));
    assert!(known.len() <= 1101, "{}", known.len());
    assert!(!known.contains(&ids[0].to_string()));
    assert!(ids[103..].iter().all(|id| known.contains(&id.to_string())));
}
