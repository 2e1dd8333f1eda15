//! Runs one operation to its verdict.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use wire::v1::OperationResult;

use super::journal::Entry;
use super::{installations, instances};
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
    let worked = AssertUnwindSafe(work(&core, &entry, request)).catch_unwind().await;
    let verdict = worked.unwrap_or_else(|panic| Err(Failure::panicked(panic.as_ref())));
    match &verdict {
        Ok(_) => tracing::info!(operation = %id, %kind, target, "done"),
        Err(failure) => tracing::warn!(operation = %id, %kind, target, error = %failure, "failed"),
    }
    entry.end(verdict.map_err(|failure| failure.to_body())).await;
}

async fn work(
    core: &Arc<Core>,
    entry: &Arc<Entry>,
    request: Request,
) -> Result<OperationResult, Failure> {
    match request {
        Request::Install(request) => installations::install(core, entry, &request).await,
        Request::Uninstall(id) => installations::uninstall(core, entry, &id).await,
        Request::Update(Target::Installation(id), request) => {
            installations::update(core, entry, &id, request.to.as_ref()).await
        }
        Request::Revert(Target::Installation(id), _) => {
            installations::revert(core, entry, &id).await
        }
        Request::Create(request) => instances::create(core, entry, &request).await,
        Request::Start(id) => instances::start(core, &id).await,
        Request::Stop(id, request) => instances::stop(core, &id, request.timeout).await,
        Request::Restart(id, request) => {
            instances::restart(core, entry, &id, request.timeout).await
        }
        Request::Delete(id, request) => instances::delete(core, entry, &id, request.stop).await,
        Request::Update(Target::Instance(id), _) => instances::update(core, entry, &id).await,
        Request::Revert(Target::Instance(id), _) => instances::revert(core, entry, &id).await,
    }
}
