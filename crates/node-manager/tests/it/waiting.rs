//! An operation that comes no further says what it waits for: the network, another operation, the end of a
//! process.

use client::Change;
use model::OperationId;
use wire::v1::{InstallRequest, OperationBody, ProgramBody};

use crate::cable::Cable;
use crate::machine::{Machine, delete, install, new_id, restart, revert, start, stop, update};
use crate::probation::{probation, with};
use crate::world::{World, envelope, noise};

/// Waits until an operation says what it waits for.
async fn waits(machine: &Machine, id: OperationId, for_what: &str) -> OperationBody {
    let mut body = machine.node.node().operation(id).await.unwrap();
    while !body.waits_for.as_deref().is_some_and(|what| what.contains(for_what)) {
        assert!(!body.state.has_ended(), "it never waited for {for_what}: {body:#?}");
        body = machine.node.node().wait(id, body.revision).await.unwrap();
    }
    body
}

async fn submit(machine: &Machine, change: &Change) -> OperationId {
    let id = new_id();
    machine.node.node().submit(id, change).await.unwrap();
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn an_install_whose_server_is_silent_names_the_server_and_one_behind_it_names_the_install() {
    let world = World::start().await;
    let program = [b"#!/bin/sh\nexec sleep 1000\n", &noise(3_000_000, 7)[..]].concat();
    let object = world.object("large", &program);
    world.publish(&envelope("large", "1.0.0", ProgramBody::Object(object))).await;
    let cable = Cable::to(&world.address).await;
    let machine = Machine::start_at(&world.dir.path().join("node"), &cable.address).await;
    cable.hold_after(1_000_000);
    let first = submit(&machine, &Change::Install(install("large"))).await;
    cable.was_spent().await;
    // The envelope comes from the server itself; the content is that of the first.
    let direct = InstallRequest { server: Some(world.address.clone()), ..install("large") };
    let second = submit(&machine, &Change::Install(direct)).await;
    let silent = waits(&machine, first, &cable.address).await;
    assert!(silent.waits_for.as_deref().unwrap().contains("`large`"), "{silent:#?}");
    assert!(silent.phase.starts_with("receiving"), "{}", silent.phase);
    let behind = waits(&machine, second, "which has the content").await;
    let what = behind.waits_for.unwrap();
    assert!(what.contains(&format!("operation {first} (install of `demo/large`)")), "{what}");
    cable.mend();
    for id in [first, second] {
        let ended = machine.end_of(id).await;
        assert!(ended.error.is_none() && ended.waits_for.is_none(), "{ended:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_install_whose_connection_is_lost_says_at_once_why_and_when_it_tries_again() {
    let world = World::start().await;
    let object = world.object("large", &noise(3_000_000, 8));
    world.publish(&envelope("large", "1.0.0", ProgramBody::Object(object))).await;
    let cable = Cable::to(&world.address).await;
    let machine = Machine::start_at(&world.dir.path().join("node"), &cable.address).await;
    cable.cut_after(1_000_000);
    let id = submit(&machine, &Change::Install(install("large"))).await;
    let lost = waits(&machine, id, "attempt 3 at ").await.waits_for.unwrap();
    assert!(lost.starts_with(&format!("{}, which was lost at ", cable.address)), "{lost}");
    cable.mend();
    let ended = machine.end_of(id).await;
    assert!(ended.error.is_none() && ended.waits_for.is_none(), "{ended:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_that_takes_long_names_the_process_and_what_is_behind_it_names_the_operation() {
    let world = World::start().await;
    world.publish_script("deaf", "1.0.0", "trap '' TERM\nwhile :; do sleep 0.1; done").await;
    let machine = Machine::start(&world).await;
    let instance = machine.running("deaf").await;
    let pid = machine.instance(&instance).await.pid.unwrap();
    let Change::Restart(request) = restart(&instance) else { panic!("a restart") };
    let patient = wire::v1::StopRequest { timeout: Some(1000.0), ..request };
    let first = submit(&machine, &Change::Restart(patient)).await;
    let what = waits(&machine, first, "the end of process").await.waits_for.unwrap();
    let words = format!("the end of process {pid} of `{instance}`, which gets SIGKILL at 2");
    assert!(what.starts_with(&words), "{what}");
    let second = submit(&machine, &start(&instance)).await;
    let what = waits(&machine, second, "which has the instance").await.waits_for.unwrap();
    assert!(what.starts_with(&format!("operation {first} (restart of `{instance}`)")), "{what}");
    // A stop is there to end one.
    let Change::Stop(request) = stop(&instance) else { panic!("a stop") };
    let now = wire::v1::StopRequest { timeout: Some(0.1), ..request };
    assert!(machine.change(Change::Stop(now)).await.error.is_none());
    for id in [first, second] {
        assert_eq!(machine.end_of(id).await.waits_for, None);
    }
    let _ = machine.change(delete(&instance, true)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_on_probation_says_so_and_what_puts_the_verdict_off() {
    let (_world, machine, id) = with("exec sleep 1000", probation(600.0)).await;
    let operation = submit(&machine, &update(&id)).await;
    waits(&machine, operation, "1.1.0 to run well as `p/1/1`").await;
    machine.done(stop(&id)).await;
    waits(&machine, operation, "a start of `p/1/1`, with which the probation of 1.1.0 begins")
        .await;
    machine.done(revert(&id)).await;
    assert!(machine.end_of(operation).await.waits_for.is_none());
}
