//! Looking through the whole store: first at records and links of installations, then at one digest after the
//! other, each with the lock that receiving and unpacking it take, so that installs and instances go on.
//!
//! What installations need is read at the beginning, and once more for whatever seems wrong: one that was
//! removed in the meantime is missing nothing, and what was made is mended with the rest. What is done
//! about it, `store_mend` does. A look changes nothing; a crash ends it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::Digest;
use wire::serve::blocking;
use wire::v1::{OperationResult, RepairedBody, VerifiedBody};

use super::damages::Damages;
use super::journal::Entry;
use super::store_mend::Mended;
use crate::failure::Failure;
use crate::install::Reporter;
use crate::layout;
use crate::locks::WholeStore;
use crate::node::Core;
use crate::store::{self, Broken, Findings, Need, Needs, Store};

/// Looks whether everything is what it should be.
pub(super) async fn verify(
    core: &Arc<Core>,
    entry: &Arc<Entry>,
) -> Result<OperationResult, Failure> {
    let _store = core.store_work.lock(&WholeStore, &**entry).await;
    let Survey { of, broken } = survey(core, entry).await?;
    let (mut damages, mut trees) = (Damages::default(), 0);
    broken.iter().for_each(|broken| damages.add_broken(broken, None));
    let blobs = of.len() as u64;
    for (digest, content) in of {
        trees += content.trees.len() as u64;
        let _digest = core.digest_locks.share(&digest, &**entry).await;
        let (findings, _) = look(core, entry, digest, content).await?;
        damages.add_all(&digest, &findings);
    }
    let Damages { damaged, damages } = damages;
    let bytes = entry.body().bytes_done;
    Ok(OperationResult::Verified(VerifiedBody { bytes, blobs, trees, damaged, damages }))
}

/// Looks, and mends what is not.
pub(super) async fn repair(
    core: &Arc<Core>,
    entry: &Arc<Entry>,
) -> Result<OperationResult, Failure> {
    let _store = core.store_work.lock(&WholeStore, &**entry).await;
    let Survey { mut of, broken } = survey(core, entry).await?;
    let mut mended = Mended::default();
    if !broken.is_empty() {
        mended.links(core, entry, broken).await;
        // A link that is right again leads to content that may have been unknown.
        of = survey(core, entry).await?.of;
    }
    for (digest, content) in of {
        let _digest = core.digest_locks.lock(&digest, &**entry).await;
        let (findings, need) = look(core, entry, digest, content).await?;
        if !findings.is_empty() || findings.want_names() {
            mended.digest(core, entry, digest, findings, need).await;
        }
    }
    let Mended { blobs, names, trees, entries, left: Damages { damaged, damages } } = mended;
    let body = RepairedBody { blobs, names, trees, entries, damaged, damages };
    Ok(OperationResult::Repaired(body))
}

/// What the store has and should have, and what of installations is broken.
struct Survey {
    of: BTreeMap<Digest, Content>,
    broken: Vec<Broken>,
}

/// What the store has of one digest, and should have.
#[derive(Default)]
struct Content {
    need: Option<Need>,
    trees: BTreeSet<String>,
}

/// Reads what is to be looked at.
async fn survey(core: &Arc<Core>, entry: &Arc<Entry>) -> Result<Survey, Failure> {
    entry.phase("reading what there is");
    let store = core.store.clone();
    let (survey, bytes) = blocking(move || {
        let Needs { of: needs, broken } = Needs::read(store.disk())?;
        let of = contents(&store, needs)?;
        let sizes = of.iter().map(|(digest, content)| {
            let trees: Vec<String> = content.trees.iter().cloned().collect();
            store::bytes_of(&store, digest, &trees)
        });
        let bytes = sizes.fold(0, u64::saturating_add);
        Ok::<_, Failure>((Survey { of, broken }, bytes))
    })
    .await?;
    entry.total(bytes);
    entry.phase("looking through the store");
    Ok(survey)
}

fn contents(
    store: &Store,
    needs: BTreeMap<Digest, Need>,
) -> Result<BTreeMap<Digest, Content>, Failure> {
    let mut of: BTreeMap<Digest, Content> = BTreeMap::new();
    for (digest, need) in needs {
        // Trees that links lead to, and that are not there, are damage too.
        let trees = need.trees.clone();
        of.insert(digest, Content { need: Some(need), trees });
    }
    for key in store.blobs().keys() {
        of.entry(Digest::from_bytes(key?.0)).or_default();
    }
    for (name, digest) in store.trees()? {
        of.entry(digest).or_default().trees.insert(name);
    }
    Ok(of)
}

/// Looks at what the store has of one digest; what seems wrong is looked at once more, for what is needed
/// now. The caller holds the lock of the digest.
async fn look(
    core: &Arc<Core>,
    entry: &Arc<Entry>,
    digest: Digest,
    content: Content,
) -> Result<(Findings, Option<Need>), Failure> {
    let (store, entry) = (core.store.clone(), entry.clone());
    blocking(move || {
        let read = |bytes| entry.advance(bytes);
        let findings = examine(&store, &digest, &content, &read);
        if findings.is_empty() {
            return Ok((findings, content.need));
        }
        let need = Needs::read(store.disk())?.of.remove(&digest);
        let needed = need.iter().flat_map(|need| need.trees.iter().cloned());
        let mut trees: BTreeSet<String> = needed.collect();
        for name in content.trees {
            if store.disk().metadata(&layout::tree_named(&digest, &name))?.is_some() {
                trees.insert(name);
            }
        }
        let content = Content { need, trees };
        Ok((examine(&store, &digest, &content, &|_| {}), content.need))
    })
    .await
}

fn examine(store: &Store, digest: &Digest, content: &Content, read: &dyn Fn(u64)) -> Findings {
    let trees: Vec<String> = content.trees.iter().cloned().collect();
    store::examine(store, digest, content.need.as_ref(), &trees, read)
}
