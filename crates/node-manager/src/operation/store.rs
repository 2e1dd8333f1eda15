//! Operations on the store as a whole. One at a time: what one checks or mends, another must not take away.
//! Installing goes on beside them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use wire::serve::blocking;
use wire::v1::{CollectedBody, GarbageLine, OperationResult};

use super::journal::Entry;
use crate::failure::Failure;
use crate::install::{Reporter, Shortage};
use crate::locks::WholeStore;
use crate::node::Core;
use crate::store::{self, RootsError};
use crate::waiting::Background;

/// Collects what nothing refers to.
pub(super) async fn gc(core: &Arc<Core>, entry: &Arc<Entry>) -> Result<OperationResult, Failure> {
    let _store = core.store_work.lock(&WholeStore, &**entry).await;
    entry.phase("collecting");
    Ok(OperationResult::Collected(collect(core).await?))
}

/// What would go if it were collected now.
pub(crate) async fn garbage(core: &Arc<Core>) -> Result<Vec<GarbageLine>, RootsError> {
    let core = core.clone();
    blocking(move || store::list(&core.store, &|| core.journal.wanted())).await
}

/// The shortage, with what a collection would free. Where it cannot be told what could go, that is said
/// when somebody wants it to go.
pub(super) async fn with_reclaimable(core: &Arc<Core>, shortage: Shortage) -> Shortage {
    let garbage = garbage(core).await.ok();
    let reclaimable = garbage.map(|lines| lines.iter().map(|line| line.bytes).sum());
    Shortage { reclaimable, ..shortage }
}

/// [`collect_in_background`], without waiting for it.
pub(crate) fn collect_soon(core: &Arc<Core>) {
    let core = core.clone();
    tokio::spawn(async move { collect_in_background(&core).await });
}

/// Collects when nobody else works on the store. Whoever asks while it is due and has not begun is served by
/// the same run, and does not wait for it.
pub(crate) async fn collect_in_background(core: &Arc<Core>) {
    if core.collection_is_due.swap(true, Ordering::AcqRel) {
        return;
    }
    let _store = core.store_work.lock(&WholeStore, &Background("a collection")).await;
    core.collection_is_due.store(false, Ordering::Release);
    match collect(core).await {
        Ok(CollectedBody { bytes, blobs, trees, partial })
            if bytes + blobs + trees + partial > 0 =>
        {
            tracing::info!(bytes, blobs, trees, partial, "collected what nothing needs any more");
        }
        Ok(_) => tracing::info!("there was nothing to collect"),
        Err(error) => {
            let error = Failure::from(error).to_body();
            let why = error.causes.join(": ");
            tracing::warn!(error = error.message, why, "nothing is collected");
        }
    }
}

async fn collect(core: &Arc<Core>) -> Result<CollectedBody, RootsError> {
    let core = core.clone();
    blocking(move || store::collect(&core.store, &|| core.journal.wanted())).await
}
