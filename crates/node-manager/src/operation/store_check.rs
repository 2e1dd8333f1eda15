//! Looking through the whole store, and mending it: one digest after the other, each with the lock that
//! receiving and unpacking it take, so that installs and instances go on.
//!
//! Mending goes from the bytes up: the blob is fetched again from any repository that an installation
//! needs it from; versions get their names of it back; then the trees are unpacked afresh and made equal,
//! entry by entry. A crash anywhere leaves some of it mended, and the next attempt goes on with the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use durable::DiskError;
use model::Digest;
use wire::serve::blocking;
use wire::v1::{DamageBody, GarbageKind, OperationResult, RepairedBody, VerifiedBody};

use super::journal::Entry;
use crate::failure::Failure;
use crate::install::{Reporter, receive_again, unpack_blob};
use crate::layout;
use crate::node::Core;
use crate::store::{self, Findings, Need, Needs, RootsError, Store};

/// Looks whether everything is what it should be.
pub(super) async fn verify(
    core: &Arc<Core>,
    entry: &Arc<Entry>,
) -> Result<OperationResult, Failure> {
    let (_store, contents) = begin(core, entry).await?;
    let (mut damages, mut trees) = (Damages::default(), 0);
    let blobs = contents.of.len() as u64;
    for (digest, content) in contents.of {
        trees += content.trees.len() as u64;
        let _digest = core.digest_locks.lock(&digest).await;
        let (findings, _) = examine(core, entry, digest, content).await;
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
    let (_store, contents) = begin(core, entry).await?;
    let mut mended = Mended::default();
    for (digest, content) in contents.of {
        let _digest = core.digest_locks.lock(&digest).await;
        let (findings, content) = examine(core, entry, digest, content).await;
        if !findings.is_empty() {
            mended.digest(core, entry, digest, findings, content.need).await;
        }
    }
    let Mended { blobs, names, trees, entries, left: Damages { damaged, damages } } = mended;
    let body = RepairedBody { blobs, names, trees, entries, damaged, damages };
    Ok(OperationResult::Repaired(body))
}

/// What the store has, and should have.
struct Contents {
    of: BTreeMap<Digest, Content>,
}

/// What the store has of one digest, and should have.
#[derive(Default)]
struct Content {
    need: Option<Need>,
    trees: BTreeSet<String>,
}

/// Waits for the store, and reads what is to be looked at.
async fn begin<'a>(
    core: &'a Arc<Core>,
    entry: &Arc<Entry>,
) -> Result<(tokio::sync::MutexGuard<'a, ()>, Contents), Failure> {
    entry.phase("waiting for the store");
    let guard = core.store_work.lock().await;
    entry.phase("reading what there is");
    let store = core.store.clone();
    let (contents, bytes, unread) = blocking(move || {
        let needs = Needs::read(store.disk())?;
        let contents = contents(&store, needs.of)?;
        let sizes = contents.of.iter().map(|(digest, content)| {
            let trees: Vec<String> = content.trees.iter().cloned().collect();
            store::bytes_of(&store, digest, &trees)
        });
        let bytes = sizes.fold(0, u64::saturating_add);
        Ok::<_, Failure>((contents, bytes, needs.unread))
    })
    .await?;
    for unread in unread {
        entry.note(format!("{unread}: what it needs was not looked for"));
    }
    entry.total(bytes);
    entry.phase("looking through the store");
    Ok((guard, contents))
}

fn contents(store: &Store, needs: BTreeMap<Digest, Need>) -> Result<Contents, Failure> {
    let mut of: BTreeMap<Digest, Content> = BTreeMap::new();
    for (digest, need) in needs {
        of.entry(digest).or_default().need = Some(need);
    }
    for key in store.blobs().keys() {
        of.entry(Digest::from_bytes(key?.0)).or_default();
    }
    // Trees that links lead to, and are not there, are damage too. Where links cannot be read, those
    // that are there are all that is known.
    let linked = match store::linked(store.disk()) {
        Ok(linked) => linked,
        Err(RootsError::Disk(error)) => return Err(error.into()),
        Err(error) => {
            tracing::warn!(%error, "trees that are missing may stay unnoticed");
            BTreeSet::new()
        }
    };
    for name in linked {
        if let Some(digest) = layout::tree_digest(&name) {
            of.entry(digest).or_default().trees.insert(name);
        }
    }
    for (name, digest) in store.trees()? {
        of.entry(digest).or_default().trees.insert(name);
    }
    Ok(Contents { of })
}

async fn examine(
    core: &Arc<Core>,
    entry: &Arc<Entry>,
    digest: Digest,
    content: Content,
) -> (Findings, Content) {
    let (store, entry) = (core.store.clone(), entry.clone());
    blocking(move || {
        let trees: Vec<String> = content.trees.iter().cloned().collect();
        let read = |bytes| entry.advance(bytes);
        let findings = store::examine(&store, &digest, content.need.as_ref(), &trees, &read);
        (findings, content)
    })
    .await
}

/// What was mended, and what could not be.
#[derive(Default)]
struct Mended {
    blobs: u64,
    names: u64,
    trees: u64,
    entries: u64,
    left: Damages,
}

impl Mended {
    async fn digest(
        &mut self,
        core: &Arc<Core>,
        entry: &Arc<Entry>,
        digest: Digest,
        findings: Findings,
        need: Option<Need>,
    ) {
        let Some(need) = need else {
            return self.left.add_why(
                &digest,
                &findings,
                "nothing needs it: fettle store gc removes it",
            );
        };
        if findings.blob.is_some() {
            entry.phase(&format!("fetching {digest} again"));
            match fetch(core, &need).await {
                Ok(()) => self.blobs += 1,
                Err(why) => return self.left.add_why(&digest, &findings, &why),
            }
        }
        entry.phase("mending");
        let (store, blob_is_new) = (core.store.clone(), findings.blob.is_some());
        let (names, trees, left) = blocking(move || {
            let mut left = Damages::default();
            let names = relink(&store, &digest, &need, &findings, blob_is_new, &mut left);
            let trees = mend_trees(&store, &digest, &need, &findings, &mut left);
            (names, trees, left)
        })
        .await;
        self.names += names;
        self.trees += trees.0;
        self.entries += trees.1;
        self.left.append(left);
        entry.phase("looking through the store");
    }
}

/// What is fetched is not counted: nobody knew before how much it would be.
struct Quiet;

impl Reporter for Quiet {
    fn phase(&self, _: &str) {}
    fn total(&self, _: u64) {}
    fn advance(&self, _: u64) {}
    fn retreat(&self, _: u64) {}
    fn note(&self, _: String) {}
}

/// Fetches a blob from whichever repository still has it.
async fn fetch(core: &Arc<Core>, need: &Need) -> Result<(), String> {
    let mut why = Vec::new();
    for server in &need.servers {
        let (_, connection) = match core.connection(Some(server)) {
            Ok(connection) => connection,
            Err(error) => {
                why.push(error.to_string());
                continue;
            }
        };
        for pin in &need.pins {
            match receive_again(&core.store, &connection, pin, Arc::new(Quiet)).await {
                Ok(()) => return Ok(()),
                Err(error) => why.push(format!("{server}: {}", chain(&error))),
            }
        }
    }
    Err(format!("it cannot be fetched again: {}", why.join("; ")))
}

/// Gives versions the right file again: another one, where the blob was fetched.
fn relink(
    store: &Store,
    digest: &Digest,
    need: &Need,
    findings: &Findings,
    blob_is_new: bool,
    left: &mut Damages,
) -> u64 {
    let blob = store.blobs().path_of(layout::key(digest));
    let mut mended = 0;
    if need.runs
        && let Err(error) = store.disk().set_mode(&blob, 0o555)
    {
        left.add(GarbageKind::Blob, digest.hex(), None, chain(&error));
    }
    let wrong = findings.names.iter().map(|(name, _)| name);
    let names = if blob_is_new { need.names.iter().collect() } else { wrong.collect::<Vec<_>>() };
    for name in names {
        match store.disk().relink(&blob, name) {
            Ok(()) => mended += 1,
            Err(error) => {
                let path = Some(name.display().to_string());
                left.add(GarbageKind::Blob, digest.hex(), path, chain(&error));
            }
        }
    }
    mended
}

/// Unpacks each damaged tree afresh and makes it equal. How many trees, and how many entries.
fn mend_trees(
    store: &Store,
    digest: &Digest,
    need: &Need,
    findings: &Findings,
    left: &mut Damages,
) -> (u64, u64) {
    let (mut trees, mut entries) = (0, 0);
    for (name, _) in &findings.trees {
        let key = need.keys.iter().find(|key| key.is_form_of(name));
        let pin = need.pins.iter().find(|pin| pin.digest == *digest);
        let (Some(key), Some(pin)) = (key, pin) else {
            let what = "no version says how it was unpacked".to_owned();
            left.add(GarbageKind::Tree, name.clone(), None, what);
            continue;
        };
        let mend = || {
            let fresh = unpack_blob(store, pin, *key).map_err(|error| chain(&error))?;
            fresh.mend(store, name).map_err(|error: DiskError| chain(&error))
        };
        match mend() {
            Ok(mended) => {
                trees += 1;
                entries += mended.replaced + mended.modes + mended.removed;
            }
            Err(what) => left.add(GarbageKind::Tree, name.clone(), None, what),
        }
    }
    (trees, entries)
}

/// Damages, of which so many are kept.
#[derive(Default)]
struct Damages {
    damaged: u64,
    damages: Vec<DamageBody>,
}

impl Damages {
    fn add(&mut self, kind: GarbageKind, name: String, path: Option<String>, what: String) {
        self.damaged += 1;
        if self.damages.len() < KEPT {
            self.damages.push(DamageBody { kind, name, path, what });
        }
    }

    fn add_all(&mut self, digest: &Digest, findings: &Findings) {
        if let Some(what) = &findings.blob {
            self.add(GarbageKind::Blob, digest.hex(), None, what.clone());
        }
        for (name, what) in &findings.names {
            let path = Some(name.display().to_string());
            self.add(GarbageKind::Blob, digest.hex(), path, what.clone());
        }
        for (name, flaws) in &findings.trees {
            for flaw in flaws {
                let path = flaw.path.as_ref().map(|path| path.display().to_string());
                self.add(GarbageKind::Tree, name.clone(), path, flaw.what.clone());
            }
        }
    }

    /// All of them, with the reason why they stay.
    fn add_why(&mut self, digest: &Digest, findings: &Findings, why: &str) {
        let before = self.damages.len();
        self.add_all(digest, findings);
        for damage in &mut self.damages[before..] {
            damage.what = format!("{}; {why}", damage.what);
        }
    }

    fn append(&mut self, other: Damages) {
        self.damaged += other.damaged;
        let room = KEPT.saturating_sub(self.damages.len());
        self.damages.extend(other.damages.into_iter().take(room));
    }
}

/// An error with its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

/// Damages that are told one by one.
const KEPT: usize = 1000;
