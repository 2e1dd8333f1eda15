//! Runs one operation to its verdict.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use model::{InstallationId, Timestamp};
use wire::v1::{OperationKind, OperationResult};

use super::journal::Entry;
use super::{installations, instances, moves, store, store_check};
use crate::failure::Failure;
use crate::node::Core;
use crate::record::{Request, Target};

/// Runs it. Whatever happens, there is a verdict at the end: what panics has failed, and says so.
pub(crate) async fn run(core: Arc<Core>, entry: Arc<Entry>) {
    entry.begin();
    let (id, request) = (entry.id(), entry.request());
    let (kind, target) = (request.kind(), request.target());
    tracing::info!(operation = %id, %kind, target, "begun");
    // Nothing of what the work had in its hands is looked at again; what it left behind on disk or locked
    // is what any failure leaves.
    let worked = AssertUnwindSafe(work(&core, &entry, &request)).catch_unwind().await;
    let verdict = worked.unwrap_or_else(|panic| Err(Failure::panicked(panic.as_ref())));
    match &verdict {
        Ok(_) => tracing::info!(operation = %id, %kind, target, "done"),
        Err(failure) => tracing::warn!(operation = %id, %kind, target, error = %failure, "failed"),
    }
    let leaves_garbage =
        verdict.is_ok() && matches!(kind, OperationKind::Uninstall | OperationKind::Delete);
    entry.end(verdict.map_err(|failure| failure.to_body())).await;
    if leaves_garbage {
        store::collect_soon(&core);
    }
}

/// Goes on with what was asked for before a restart and has no verdict.
pub(crate) fn resume(core: &Arc<Core>) {
    let facts = |entry: Arc<Entry>| {
        let installation = entry.request().installation().cloned();
        (entry.started(), installation, entry)
    };
    for queue in queues(core.journal.unfinished().into_iter().map(facts).collect()) {
        let core = core.clone();
        tokio::spawn(async move {
            for entry in queue {
                tracing::info!(operation = %entry.id(), "goes on after a restart");
                // A verdict may be long in coming, and a stop or a revert that waits its turn puts it off or
                // makes it needless.
                tokio::spawn(run(core.clone(), entry.clone()));
                entry.is_out_of_the_way().await;
            }
        });
    }
}

/// What concerns one installation goes on in the order in which it was asked for: a start after a stop must
/// not become a stop after a start. What concerns none waits for nobody.
fn queues<T>(mut asked: Vec<(Timestamp, Option<InstallationId>, T)>) -> Vec<Vec<T>> {
    asked.sort_by_key(|(started, ..)| *started);
    let (mut alone, mut ordered) = (Vec::new(), BTreeMap::<InstallationId, Vec<T>>::new());
    for (_, installation, entry) in asked {
        match installation {
            Some(installation) => ordered.entry(installation).or_default().push(entry),
            None => alone.push(vec![entry]),
        }
    }
    alone.extend(ordered.into_values());
    alone
}

/// Each kind has room of its own: what a start holds must not be as large as what an install may need, since
/// a thousand of them may be under way.
fn work<'a>(
    core: &'a Arc<Core>,
    entry: &'a Arc<Entry>,
    request: &'a Request,
) -> BoxFuture<'a, Result<OperationResult, Failure>> {
    match request {
        Request::Install(request) => installations::install(core, entry, request).boxed(),
        Request::Uninstall(id) => installations::uninstall(core, entry, id).boxed(),
        Request::Update(Target::Installation(id), request) => {
            installations::update(core, entry, id, request.to.as_ref()).boxed()
        }
        Request::Revert(Target::Installation(id), _) => {
            installations::revert(core, entry, id).boxed()
        }
        Request::Create(request) => instances::create(core, entry, request).boxed(),
        Request::Start(id) => instances::start(core, entry, id).boxed(),
        Request::Stop(id, request) => instances::stop(core, entry, id, request.timeout).boxed(),
        Request::Restart(id, request) => {
            instances::restart(core, entry, id, request.timeout).boxed()
        }
        Request::Pause(id) => instances::pause(core, entry, id, true).boxed(),
        Request::Resume(id) => instances::pause(core, entry, id, false).boxed(),
        Request::Delete(id, request) => instances::delete(core, entry, id, request.stop).boxed(),
        Request::Update(Target::Instance(id), request) => {
            moves::update(core, entry, id, request.fresh_packages, request.again).boxed()
        }
        Request::Revert(Target::Instance(id), request) => {
            moves::revert(core, entry, id, request.fresh_packages).boxed()
        }
        Request::StoreGc(_) => store::gc(core, entry).boxed(),
        Request::StoreVerify(_) => store_check::verify(core, entry).boxed(),
        Request::StoreRepair(_) => store_check::repair(core, entry).boxed(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_that_waits_takes_little_room() {
        fn room<A, B, F: Future>(_: impl Fn(A, B) -> F) -> usize {
            size_of::<F>()
        }
        assert!(room(run) < 1536, "{} bytes", room(run));
    }

    #[test]
    fn what_concerns_one_installation_goes_on_in_the_order_in_which_it_was_asked_for() {
        let at = |second: i64, installation: Option<&str>, what| {
            let installation = installation.map(|text| text.parse().unwrap());
            (Timestamp::from_millis(second * 1000), installation, what)
        };
        let asked = vec![
            at(3, Some("a/1"), "start a"),
            at(4, None, "install x"),
            at(1, Some("b/1"), "stop b"),
            at(2, Some("a/1"), "stop a"),
            at(5, None, "install y"),
        ];
        let expected =
            vec![vec!["install x"], vec!["install y"], vec!["stop a", "start a"], vec!["stop b"]];
        assert_eq!(queues(asked), expected);
    }
}
