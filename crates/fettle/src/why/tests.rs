//! Every state of everything has a cause and, where there is something to do, a next step.

use model::lifecycle::{Desired, InstanceState};
use wire::v1::{ExitBody, RejectedBody};

use super::*;

fn instance(change: impl FnOnce(&mut InstanceBody)) -> InstanceBody {
    let text = include_str!("../../../wire/golden/v1/instance.json");
    let mut body: InstanceBody = serde_json::from_str(text).unwrap();
    (body.ready, body.status, body.probation, body.pid) = (None, None, None, None);
    change(&mut body);
    body
}

fn installation() -> InstallationBody {
    let text = include_str!("../../../wire/golden/v1/installation.json");
    serde_json::from_str(text).unwrap()
}

fn operation(change: impl FnOnce(&mut OperationBody)) -> OperationBody {
    let text = include_str!("../../../wire/golden/v1/operation-failed.json");
    let mut body: OperationBody = serde_json::from_str(text).unwrap();
    (body.kind, body.target) = (OperationKind::Start, "weather/1/1".to_owned());
    body.notes.clear();
    change(&mut body);
    body
}

fn ended_well(body: &mut OperationBody) {
    (body.state, body.error) = (OperationState::Done, None);
}

fn exit(code: i32) -> Option<ExitBody> {
    Some(ExitBody::Code { code, at: instance(|_| ()).since })
}

fn says(explanation: &Explanation, words: &str) -> bool {
    explanation.causes.iter().any(|cause| cause.contains(words))
}

/// The state that is and the one that should be, what else is true, the operations, words of the causes, and
/// words of the next step.
type Row<'a> = (
    InstanceState,
    Desired,
    &'a dyn Fn(&mut InstanceBody),
    &'a [OperationBody],
    &'a [&'a str],
    &'a str,
);

#[test]
fn every_state_of_an_instance_has_its_causes_and_its_next_step() {
    use InstanceState as S;
    let crashed = |body: &mut InstanceBody| {
        body.exit = exit(7);
        (body.reason, body.restarts) = (Some("5 failures within 10 s".to_owned()), 5);
    };
    let pausing = |body: &mut InstanceBody| {
        crashed(body);
        body.next = Some(body.since);
    };
    let stop = operation(|body| {
        ended_well(body);
        body.kind = OperationKind::Stop;
    });
    let table: Vec<Row<'_>> = vec![
        (
            S::Running,
            Desired::Running,
            &|body| body.pid = Some(9),
            &[],
            &["process 9 runs"],
            "logs",
        ),
        (
            S::Running,
            Desired::Running,
            &|body| {
                body.ready = Some(body.since);
                body.status = Some("12 stations".to_owned());
            },
            &[],
            &["is ready since", "12 stations"],
            "logs",
        ),
        (S::Launching, Desired::Running, &|_| (), &[], &["being made"], "logs"),
        (
            S::Launching,
            Desired::Running,
            &|body| body.pid = Some(9),
            &[],
            &["not ready yet"],
            "logs",
        ),
        (
            S::Stopping,
            Desired::Stopped,
            &|_| (),
            &[],
            &["told to end"],
            "stop weather/1/1 --timeout",
        ),
        (
            S::Backoff,
            Desired::Running,
            &pausing,
            &[],
            &["5 failures", "exit code 7", "started again, at 2026", "5 times"],
            "logs weather/1/1 --stderr",
        ),
        (
            S::Failed,
            Desired::Running,
            &crashed,
            &[],
            &["5 failures within", "exit code 7", "before somebody does"],
            "start weather/1/1",
        ),
        (
            S::NotRunning,
            Desired::Stopped,
            &|_| (),
            &[],
            &["nobody has started it"],
            "start weather",
        ),
        (
            S::NotRunning,
            Desired::Stopped,
            &|body| body.exit = exit(0),
            std::slice::from_ref(&stop),
            &["(stop, asked for by uid:1000) stopped it at 2026", "exit code 0"],
            "start weather/1/1",
        ),
        (
            S::NotRunning,
            Desired::Running,
            &|body| body.exit = exit(0),
            &[],
            &["wants no start after such an end", "exit code 0"],
            "start weather/1/1",
        ),
        (S::Updating, Desired::Running, &|_| (), &[], &["another version"], "operation list"),
        (S::Paused, Desired::Running, &|_| (), &[], &["gets no time"], "resume weather"),
        (S::Deleted, Desired::Stopped, &|_| (), &[], &["was deleted"], ""),
    ];
    for (state, desired, change, operations, words, next) in table {
        let body = instance(|body| {
            (body.state, body.desired) = (state, desired);
            change(body);
        });
        let explanation = of_instance(&body, None, operations);
        assert!(!explanation.causes.is_empty(), "{state}");
        for word in words {
            assert!(says(&explanation, word), "{state}: {word}: {explanation:#?}");
        }
        let typed = explanation.next.unwrap_or_default();
        assert!(typed.contains(next) && typed.is_empty() == next.is_empty(), "{state}: {typed}");
        assert_eq!(explanation.state, format!("{state}, should be {desired}"));
    }
}

#[test]
fn an_operation_under_way_comes_before_the_state_and_says_what_it_waits_for() {
    let under_way = operation(|body| {
        (body.state, body.error, body.ended) = (OperationState::Running, None, None);
        (body.kind, body.phase) = (OperationKind::Update, "stopping".to_owned());
        body.waits_for = Some("the end of process 9".to_owned());
    });
    let explanation = of_instance(&instance(|_| ()), None, std::slice::from_ref(&under_way));
    let id = under_way.operation;
    assert!(
        explanation.causes[0].contains(&format!("operation {id} (update, asked for by uid:1000)"))
    );
    assert!(says(&explanation, "it waits for the end of process 9"), "{explanation:#?}");
    assert_eq!(explanation.next, Some(format!("`fettle operation show {id} --follow`")));
}

#[test]
fn a_failure_counts_until_another_operation_ended_after_it() {
    let failed = operation(|_| ());
    let explanation = of_instance(&instance(|_| ()), None, std::slice::from_ref(&failed));
    assert!(says(&explanation, "failed at 2026") && says(&explanation, "cannot download"));
    let hint = failed.error.as_ref().unwrap().hint.clone();
    assert_eq!(explanation.next, hint);
    let later = [operation(ended_well), failed];
    assert!(!says(&of_instance(&instance(|_| ()), None, &later), "failed"));
}

#[test]
fn an_instance_behind_its_installation_is_told_to_follow_unless_it_was_rejected_there() {
    let behind = instance(|body| body.version = "1.0.0".parse().unwrap());
    let installation = installation();
    let explanation = of_instance(&behind, Some(&installation), &[]);
    assert!(says(&explanation, "its installation on"), "{explanation:#?}");
    assert_eq!(explanation.next.as_deref(), Some("`fettle update weather/1/1`"));
    let rejected = RejectedBody { version: installation.version.clone(), reason: "it fell".into() };
    let explanation =
        of_instance(&InstanceBody { rejected: vec![rejected], ..behind }, Some(&installation), &[]);
    assert!(says(&explanation, "is passed over: it fell"));
    assert_eq!(explanation.next.as_deref(), Some("`fettle logs weather/1/1 -f`"));
}

#[test]
fn a_probation_says_what_comes_back_and_when_it_is_over() {
    let text = include_str!("../../../wire/golden/v1/instance.json");
    let explanation = of_instance(&serde_json::from_str(text).unwrap(), None, &[]);
    assert!(
        says(&explanation, "for 12 s more it stays, else 1.3.0 comes back"),
        "{explanation:#?}"
    );
}

#[test]
fn an_installation_points_to_the_instance_that_is_not_well() {
    let installation = installation();
    let well = instance(|body| body.version = installation.version.clone());
    let explanation = of_installation(&installation, std::slice::from_ref(&well), &[]);
    assert_eq!(explanation.next, None);
    let ill = InstanceBody { state: InstanceState::Failed, ..well.clone() };
    let explanation = of_installation(&installation, &[ill], &[]);
    assert!(says(&explanation, "instance `weather/1/1` is failed, and should be running"));
    assert_eq!(explanation.next.as_deref(), Some("`fettle why weather/1/1`"));
    let behind = InstanceBody { version: "1.0.0".parse().unwrap(), ..well };
    let explanation = of_installation(&installation, &[behind], &[]);
    assert_eq!(explanation.next.as_deref(), Some("`fettle update 'weather/1/*'`"));
    let explanation = of_installation(&installation, &[], &[]);
    assert_eq!(explanation.next.as_deref(), Some("`fettle instance create weather/1 --start`"));
}

#[test]
fn every_state_of_an_operation_is_explained() {
    let id = operation(|_| ()).operation;
    let show = format!("`fettle operation show {id} --follow`");
    let without = |state| {
        operation(|body| {
            (body.state, body.error, body.phase) = (state, None, "receiving x".to_owned());
        })
    };
    let queued = of_operation(&without(OperationState::Queued));
    assert!(says(&queued, "turn has not come") && queued.next.as_ref() == Some(&show));
    let running = of_operation(&without(OperationState::Running));
    assert!(says(&running, "at `receiving x`") && running.next.as_ref() == Some(&show));
    let failed = of_operation(&operation(|_| ()));
    assert!(says(&failed, "cannot download") && says(&failed, "its bytes are not those"));
    assert!(failed.next.unwrap().contains("publish the version again"));
    let done = of_operation(&without(OperationState::Done));
    assert_eq!(done.next.as_deref(), Some("`fettle why weather/1/1`"));
    assert!(says(&of_operation(&without(OperationState::Cancelled)), "cancelled"));
}

#[test]
fn what_is_gone_is_explained_by_the_operation_that_removed_it() {
    let delete = operation(|body| {
        ended_well(body);
        body.kind = OperationKind::Delete;
    });
    let gone = of_nothing("weather/1/1", std::slice::from_ref(&delete)).unwrap();
    assert!(says(&gone, "(delete, asked for by uid:1000) removed it at 2026"), "{gone:#?}");
    assert_eq!(of_nothing("weather/1/1", &[operation(|_| ())]), None);
}

#[test]
fn operations_concern_what_they_were_asked_for_and_what_they_gave() {
    let text = include_str!("../../../wire/golden/v1/operation.json");
    let install: OperationBody = serde_json::from_str(text).unwrap();
    let start =
        operation(|body| body.started = body.started.plus(std::time::Duration::from_secs(1)));
    let all = vec![install.clone(), start.clone()];
    assert_eq!(concerning("weather/1/1", all.clone()), [start, install.clone()]);
    assert_eq!(concerning("weather/1", all.clone()), [install]);
    assert_eq!(concerning("weather/2", all), []);
}
