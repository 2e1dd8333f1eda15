//! Mending what a look at the store found, from the links up: installations get links back whose targets are
//! known; a blob is made again from an intact name of it, or fetched from any repository that an
//! installation needs it from; versions get their names of it back; then trees are unpacked afresh and made
//! equal, entry by entry. What it writes is promised room as an install is.
//!
//! A crash anywhere leaves some of it mended, and the next attempt goes on with the rest.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use durable::{DiskError, Kind};
use model::{Digest, InstallationId};
use wire::serve::blocking;
use wire::v1::DamageKind;

use super::damages::Damages;
use super::journal::Entry;
use crate::failure::Failure;
use crate::install::{
    Claims, Promise, Reporter, Room, Thing, of_blob, of_tree, receive_again, unpack_blob,
};
use crate::layout;
use crate::node::Core;
use crate::store::{Broken, Findings, Need, Needs, Owner, Store, Wrong, chain, is_right};
use crate::waiting::waiting;

/// What was mended, and what could not be.
#[derive(Default)]
pub(super) struct Mended {
    pub(super) blobs: u64,
    pub(super) names: u64,
    pub(super) trees: u64,
    pub(super) entries: u64,
    pub(super) left: Damages,
}

impl Mended {
    /// Puts links right, one installation after the other.
    pub(super) async fn links(
        &mut self,
        core: &Arc<Core>,
        entry: &Arc<Entry>,
        broken: Vec<Broken>,
    ) {
        entry.phase("mending links");
        let (of_some, of_none): (Vec<_>, Vec<_>) =
            broken.iter().partition(|broken| broken.owner.installation().is_some());
        of_none.into_iter().for_each(|broken| self.left.add_broken(broken, Some(UNKNOWN)));
        let ids: BTreeSet<&InstallationId> =
            of_some.into_iter().filter_map(|broken| broken.owner.installation()).collect();
        for id in ids {
            // Nobody removes it meanwhile; what is broken is what is broken now.
            let _installation = core.installation_locks.lock(id, &**entry).await;
            let (store, owned) = (core.store.clone(), id.clone());
            let broken = blocking(move || Needs::of_one(store.disk(), &owned).broken).await;
            for broken in broken {
                self.link(core, entry, broken).await;
            }
        }
    }

    async fn link(&mut self, core: &Arc<Core>, entry: &Arc<Entry>, broken: Broken) {
        let _instance = match &broken.owner {
            Owner::Instance(id) => match core.claim(id, &**entry).await {
                Ok((_, lock)) => Some(lock),
                // One that cannot be used has no owner, and nobody deletes it; else it went meanwhile.
                Err(Failure::NotFound { .. }) => {
                    let (store, path) = (core.store.clone(), layout::instance(id));
                    let there = blocking(move || store.disk().metadata(&path)).await;
                    if matches!(there, Ok(None)) {
                        return;
                    }
                    None
                }
                Err(busy) => return self.left.add_broken(&broken, Some(&busy.to_string())),
            },
            _ => None,
        };
        let store = core.store.clone();
        let (done, broken) = blocking(move || (broken.mend(store.disk()), broken)).await;
        match done {
            Ok(true) => self.names += 1,
            Ok(false) => self.left.add_broken(&broken, Some(UNKNOWN)),
            Err(error) => self.left.add_broken(&broken, Some(&chain(&error))),
        }
    }

    /// Mends what is wrong with the content of one digest. The caller has its lock alone.
    pub(super) async fn digest(
        &mut self,
        core: &Arc<Core>,
        entry: &Arc<Entry>,
        digest: Digest,
        findings: Findings,
        need: Option<Need>,
    ) {
        let Some(need) = need else { return self.left.add_why(&digest, &findings, UNNEEDED) };
        if let Some(Wrong::Content(_)) = findings.blob {
            let again = match &findings.intact {
                Some(intact) => from_another_name(&core.store, &digest, intact).await,
                None => {
                    entry.phase(&format!("fetching {digest} again"));
                    fetch(core, entry, &need).await
                }
            };
            match (again, &findings.intact) {
                (Err(why), _) => return self.left.add_why(&digest, &findings, &why),
                (Ok(()), Some(_)) => self.names += 1,
                (Ok(()), None) => self.blobs += 1,
            }
        }
        entry.phase("mending");
        let owned = core.clone();
        let (names, trees, left) = blocking(move || {
            let mut left = Damages::default();
            let names = match findings.want_names() {
                true => relink(&owned.store, &digest, &need, &mut left),
                false => 0,
            };
            let trees = mend_trees(&owned, &need, &findings, &mut left);
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

/// Claims room, as an install does. Blocking.
fn promise(core: &Core, thing: Thing, room: Room) -> Result<Promise, String> {
    let claims: Claims = [(thing, room)].into();
    core.ledger
        .promise(&core.store, claims, core.config.reserve)
        .map_err(|error| format!("it cannot be mended: {error}"))
}

/// Makes the blob a name of the file that has the right bytes.
async fn from_another_name(store: &Store, digest: &Digest, intact: &Path) -> Result<(), String> {
    let (store, intact) = (store.clone(), intact.to_owned());
    let blob = store.blobs().path_of(layout::key(digest));
    let linked = blocking(move || {
        free_of_directories(&store, &blob)?;
        store.disk().relink(&intact, &blob, || true)
    });
    linked.await.map(drop).map_err(|error| chain(&error))
}

/// Makes the directories above a file's name, and throws one away that has the name.
fn free_of_directories(store: &Store, name: &Path) -> Result<(), DiskError> {
    let disk = store.disk();
    if disk.metadata(name)?.is_some_and(|stat| stat.kind == Kind::Directory) {
        disk.discard(name)?;
    }
    disk.make_dir(name.parent().unwrap_or(Path::new("")), 0o755)
}

/// Fetches a blob from whichever repository still has it.
async fn fetch(core: &Arc<Core>, entry: &Arc<Entry>, need: &Need) -> Result<(), String> {
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
            let (owned, thing, room) = (core.clone(), Thing::BlobAgain(pin.digest), of_blob(pin));
            let _room = blocking(move || promise(&owned, thing, room)).await?;
            let received = receive_again(&core.store, &connection, pin, Arc::new(Quiet));
            let what = || format!("`{}` from {server}", pin.object);
            match waiting(&**entry, what, received).await {
                Ok(()) => return Ok(()),
                Err(error) => why.push(format!("{server}: {}", chain(&error))),
            }
        }
    }
    if why.is_empty() {
        why.push("no installation says from where".to_owned());
    }
    Err(format!("it cannot be fetched again: {}", why.join("; ")))
}

/// Gives the blob its mode and lets every name in versions be a name of it; how many were not. Where the file
/// system gives the blob no more names, a copy of the same bytes and mode stays, and what is wrong gets one.
///
/// Alone with the store, and with what is needed at this moment: a version that is laid out just now has its
/// link to what was there before, or to what is there now and then is not looked for; and none goes, whose
/// directories would be made again.
fn relink(store: &Store, digest: &Digest, need: &Need, left: &mut Damages) -> u64 {
    let _alone = store.alone();
    let disk = store.disk();
    let now = Needs::read(disk).map(|mut needs| needs.of.remove(digest).unwrap_or_default());
    let need = now.as_ref().unwrap_or(need);
    let blob = store.blobs().path_of(layout::key(digest));
    let mut failed = |path: Option<&Path>, error: DiskError| {
        let path = path.map(|path| path.display().to_string());
        left.add(DamageKind::Blob, digest.hex(), path, chain(&error));
    };
    let has_mode = |mode: u32| mode == need.mode_for(mode);
    let ino = match disk.metadata(&blob) {
        Ok(Some(stat)) if has_mode(stat.mode) => Some(stat.ino),
        Ok(Some(stat)) => {
            if let Err(error) = disk.set_mode(&blob, need.mode_for(0)) {
                failed(None, error);
            }
            Some(stat.ino)
        }
        Ok(None) => None,
        Err(error) => {
            failed(None, error);
            None
        }
    };
    let mut mended = 0;
    for name in &need.names {
        if matches!(disk.metadata(name), Ok(Some(stat)) if Some(stat.ino) == ino) {
            continue;
        }
        let wanted = || !is_right(store, name, digest, need);
        match free_of_directories(store, name).and_then(|()| disk.relink(&blob, name, wanted)) {
            Ok(changed) => mended += u64::from(changed),
            Err(error) => failed(Some(name), error),
        }
    }
    mended
}

/// Unpacks each damaged tree afresh and makes it equal. How many trees, and how many entries.
fn mend_trees(core: &Core, need: &Need, findings: &Findings, left: &mut Damages) -> (u64, u64) {
    let (mut trees, mut entries) = (0, 0);
    let store = &core.store;
    for (name, _) in &findings.trees {
        let Some((key, pin)) = need.form_of(name) else {
            let what = match need.trees.contains(name) {
                true => "no version says how it was unpacked",
                false => UNNEEDED,
            };
            left.add(DamageKind::Tree, name.clone(), None, what.to_owned());
            continue;
        };
        let mend = || {
            let room = pin.measured.as_ref().map_or(Room::default(), of_tree);
            let _room = promise(core, Thing::TreeAgain(key.to_string()), room)?;
            let fresh = unpack_blob(store, pin, *key).map_err(|error| chain(&error))?;
            fresh.mend(store, name).map_err(|error: DiskError| chain(&error))
        };
        match mend() {
            Ok(mended) => {
                trees += 1;
                entries += mended.replaced + mended.modes + mended.removed;
            }
            Err(what) => left.add(DamageKind::Tree, name.clone(), None, what),
        }
    }
    (trees, entries)
}

const UNNEEDED: &str =
    "nothing that can be read needs it: `fettle store gc` removes what is garbage";
const UNKNOWN: &str = "what it should be cannot be told from what is there";
