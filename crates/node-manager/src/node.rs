//! A node: opens its tree, brings it back in order after whatever happened, hands out the service, and
//! holds what its operations share.
//!
//! Recovery is short because nothing is left half done under its own name: what lies in `staging/` and
//! `trash/` goes (partly received blobs stay), a tree whose top a crash left open is closed, what was
//! true within another boot is forgotten, instances are found again, and what was asked for goes on.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockWriteGuard, Weak};
use std::time::{Duration, SystemTime};

use client::{Connection, Endpoint};
use durable::record::RecordError;
use durable::{Disk, DiskError};
use futures_util::stream::{self, StreamExt as _};
use launcher::Way;
use model::{Caller, Digest, InstallationId, InstanceId, OperationId, Policy, Timestamp, Title};
use tokio::sync::watch;
use unpacker::Unpacker;
use wire::serve::{Service, blocking};
use wire::v1::{EnforcedBody, InstallationBody, OriginBody, OverridesBody};

use crate::commit::Commits;
use crate::config::Config;
use crate::failure::Failure;
use crate::http;
use crate::install::Ledger;
use crate::inventory::{self, ReadError};
use crate::layout;
use crate::locks::{self, Locks, WholeStore};
use crate::logs::Logs;
use crate::opening::{create_resolved, open_groups, open_journal, open_tree};
use crate::operation::{self, Entry, Journal, JournalError};
use crate::record::{Request, Unusable};
use crate::store::Store;
use crate::supervise::{self, Found, Handle, Launcher, LeftGroups, Means, Refusal, Statements};
use crate::waiting::{Background, Waiter};

/// A running node manager. Dropping it leaves the programs alone.
#[derive(Debug)]
pub struct Node {
    core: Arc<Core>,
}

/// Why a node cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another manager has it.
    #[error("another node manager runs on `{}`", .root.display())]
    Locked {
        /// The tree.
        root: PathBuf,
    },
    /// It is a directory of somebody else's.
    #[error("`{}` is not a node's tree, and not empty: `{}` is in it", .root.display(), .found.display())]
    Foreign {
        /// The directory.
        root: PathBuf,
        /// Something that is in it.
        found: PathBuf,
    },
    /// A newer fettle wrote it.
    #[error("the tree at `{}` has version {found}; this fettle knows up to {known}", .root.display())]
    TooNew {
        /// The tree.
        root: PathBuf,
        /// Its version.
        found: u32,
        /// The newest that is known.
        known: u32,
    },
    /// The way to the directory cannot be followed.
    #[error("cannot tell where `{}` is", .root.display())]
    Root {
        /// The directory.
        root: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The disk refuses.
    #[error("cannot open the tree of the node")]
    Disk(#[from] DiskError),
    /// A record that must be there cannot be used.
    #[error("the tree of the node is damaged")]
    Damaged {
        /// Which thing, and why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The system does not say which boot this is.
    #[error("cannot read the id of this boot")]
    Boot(#[source] io::Error),
    /// There is a launcher, the parent of all programs, and it cannot be talked to.
    #[error("cannot talk to the launcher of this node")]
    Launcher(#[from] launcher::ReachError),
    /// The repository's address cannot be used.
    #[error("cannot use the repository's address")]
    Server(#[source] client::ClientError),
}

/// What the operations of a node share.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) config: Config,
    pub(crate) disk: Disk,
    pub(crate) store: Store,
    pub(crate) journal: Journal,
    pub(crate) digest_locks: Arc<Locks<Digest>>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) installation_locks: Locks<InstallationId>,
    pub(crate) title_lock: tokio::sync::Mutex<()>,
    /// Held by whoever collects, checks or mends the store.
    pub(crate) store_work: Locks<WholeStore>,
    pub(crate) collection_is_due: AtomicBool,
    /// Is what the start left for later done?
    looked_after: watch::Sender<bool>,
    instance_locks: Locks<InstanceId>,
    connection: Option<Connection>,
    /// What it takes to own an instance. It has the lock of the tree: held by whatever may still change it,
    /// also when the `Node` is gone.
    means: Arc<Means>,
    pub(crate) logs: Logs,
    instances: RwLock<BTreeMap<InstanceId, Handle>>,
    updating: Mutex<HashMap<InstanceId, OperationId>>,
}

/// Marks an instance as being moved to another version, for as long as it lives.
pub(crate) struct Updating<'a> {
    core: &'a Core,
    instance: InstanceId,
}

impl Node {
    /// Opens the tree at `config.root`, made if it is missing, and recovers. Needs a Tokio runtime.
    ///
    /// # Errors
    /// See [`OpenError`]. Nothing is thrown away to make an open succeed.
    pub async fn open(config: Config) -> Result<Node, OpenError> {
        Node::open_through(config, Disk::create).await
    }

    /// [`Node::open`] with every change of the disk passing `recorder`.
    ///
    /// # Errors
    /// See [`OpenError`].
    #[cfg(feature = "faults")]
    pub async fn open_recorded(
        config: Config,
        recorder: durable::faults::Recorder,
    ) -> Result<Node, OpenError> {
        Node::open_through(config, move |root| Disk::create_recorded(root, &recorder)).await
    }

    async fn open_through(
        mut config: Config,
        create: impl Fn(&Path) -> Result<Disk, DiskError> + Send + 'static,
    ) -> Result<Node, OpenError> {
        let boot = supervise::boot_id().map_err(OpenError::Boot)?;
        let boot_id =
            boot.parse().map_err(|_| OpenError::Boot(io::ErrorKind::InvalidData.into()))?;
        let connection = config.server.as_ref().map(Connection::new).transpose();
        let connection = connection.map_err(OpenError::Server)?;
        let (root, this_boot, starter) =
            (config.root.clone(), boot.clone(), config.launcher.clone());
        let (disk, lock) = blocking(move || {
            let disk = create_resolved(&root, create)?;
            open_tree(disk, &this_boot)
        })
        .await?;
        let commits = Commits::new(disk.clone());
        // The lock is held: there is no other manager that could talk to it.
        let directory = disk.root().join(layout::run(&boot));
        let way = Way { directory, program: starter.program, args: starter.args };
        let (tree, writer, root) = (disk.clone(), commits.clone(), disk.root().to_owned());
        let (journal, launcher, (groups, left)) = tokio::try_join!(
            blocking(move || open_journal(tree, writer)),
            blocking(move || Ok(Launcher::find(way)?)),
            blocking(move || open_groups(&root)),
        )?;
        config.root = disk.root().to_owned();
        let tenure = Arc::new(lock);
        let logs = Logs::attend(disk.clone(), tenure.clone(), config.log_budget);
        let core = Arc::new(Core {
            store: Store::new(
                disk.clone(),
                Unpacker::new(config.unpacker.clone()),
                config.unmeasured,
            ),
            digest_locks: Arc::default(),
            ledger: Arc::default(),
            installation_locks: Locks::default(),
            title_lock: tokio::sync::Mutex::default(),
            store_work: Locks::default(),
            collection_is_due: AtomicBool::default(),
            looked_after: watch::Sender::default(),
            instance_locks: Locks::default(),
            instances: RwLock::default(),
            updating: Mutex::default(),
            config,
            disk: disk.clone(),
            journal,
            connection,
            means: Arc::new(Means {
                oom_score: supervise::oom_score_of_programs(),
                disk,
                commits,
                boot: boot_id,
                _tenure: tenure,
                launcher,
                groups,
                logs: logs.clone(),
                statements: Statements::default(),
            }),
            logs,
        });
        let running = core.find_instances(left).await?;
        operation::resume(&core);
        tokio::spawn(look_after(Arc::downgrade(&core), running));
        Ok(Node { core })
    }

    /// Waits until what the start left for later is done: logs over their budget, garbage. For whoever looks
    /// at the tree from outside.
    pub fn looked_after(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut done = self.core.looked_after.subscribe();
        async move { drop(done.wait_for(|done| *done).await) }
    }

    /// The routes of the node.
    pub fn service(&self) -> Service<()> {
        let policy = Policy::Owner {
            uid: rustix::process::geteuid().as_raw(),
            loopback_may_write: self.core.config.loopback_may_write,
        };
        http::service(policy, self.core.clone())
    }
}

/// What time it is.
pub(crate) fn now() -> Timestamp {
    Timestamp::from(SystemTime::now())
}

impl OpenError {
    pub(crate) fn damaged(source: impl std::error::Error + Send + Sync + 'static) -> OpenError {
        OpenError::Damaged { source: Box::new(source) }
    }

    /// A disk that refuses says nothing about what is on it.
    pub(crate) fn of_record(unusable: Unusable) -> OpenError {
        match unusable {
            Unusable::Disk { source: RecordError::Disk(error), .. } => OpenError::Disk(error),
            other => OpenError::damaged(other),
        }
    }
}

impl Core {
    /// Takes a change on, or finds the one with this id, and has it run. A client that leaves meanwhile
    /// changes nothing about that.
    pub(crate) async fn submit(
        self: &Arc<Self>,
        id: OperationId,
        request: Request,
        caller: Caller,
    ) -> Result<Arc<Entry>, JournalError> {
        let core = self.clone();
        let submitted = tokio::spawn(async move {
            let (entry, is_new) = core.journal.submit(id, request, caller).await?;
            if is_new {
                tokio::spawn(operation::run(core, entry.clone()));
            }
            Ok(entry)
        });
        match submitted.await {
            Ok(outcome) => outcome,
            Err(failure) => match failure.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is being dropped: nobody will look at the answer any more.
                Err(_) => std::future::pending().await,
            },
        }
    }

    /// What this node can hold programs to.
    pub(crate) fn enforced(&self) -> Vec<EnforcedBody> {
        supervise::enforced(self.means.groups.capabilities())
    }

    /// The repository of this URL, or the node's own.
    pub(crate) fn connection(&self, server: Option<&str>) -> Result<(String, Connection), Failure> {
        let Some(url) = server else {
            let connection = self.connection.clone().ok_or(Failure::NoServer)?;
            return Ok((connection.endpoint().to_string(), connection));
        };
        if let Some(own) = &self.connection
            && own.endpoint().to_string() == url
        {
            return Ok((url.to_owned(), own.clone()));
        }
        let endpoint: Endpoint =
            url.parse().map_err(|source| Failure::BadServer { url: url.to_owned(), source })?;
        Ok((url.to_owned(), Connection::new(&endpoint)?))
    }

    /// Reads from the disk, on a thread for that.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Disk) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let disk = self.disk.clone();
        blocking(move || read(&disk)).await
    }

    /// An installation as it is shown.
    pub(crate) async fn installation_body(
        &self,
        id: &InstallationId,
    ) -> Result<InstallationBody, ReadError> {
        let owned = id.clone();
        self.read(move |disk| installation_body(disk, &owned)).await
    }

    /// All installations as they are shown. One that cannot be read is logged and left out, so that the
    /// others can be seen.
    pub(crate) async fn installation_bodies(&self) -> Result<Vec<InstallationBody>, ReadError> {
        self.read(|disk| {
            let mut bodies = Vec::new();
            for title in inventory::titles(disk)? {
                for id in inventory::installations(disk, &title)? {
                    match installation_body(disk, &id) {
                        Ok(body) => bodies.push(body),
                        Err(error) => tracing::error!(installation = %id, %error, "left out"),
                    }
                }
            }
            bodies.sort_by(|a, b| a.installation.cmp(&b.installation));
            Ok(bodies)
        })
        .await
    }

    /// The instance of this name.
    pub(crate) fn handle(&self, id: &InstanceId) -> Result<Handle, Failure> {
        let instances = self.instances.read().unwrap_or_else(PoisonError::into_inner);
        instances.get(id).cloned().ok_or_else(|| Failure::gone(id))
    }

    /// All instances, by name.
    pub(crate) fn handles(&self) -> Vec<(InstanceId, Handle)> {
        let instances = self.instances.read().unwrap_or_else(PoisonError::into_inner);
        instances.iter().map(|(id, handle)| (id.clone(), handle.clone())).collect()
    }

    /// The instance of this name. One that is being updated is `busy`.
    pub(crate) fn unless_updating(&self, id: &InstanceId) -> Result<Handle, Failure> {
        if let Some(operation) = self.updating().get(id) {
            return Err(Failure::Busy { instance: id.clone(), operation: *operation });
        }
        self.handle(id)
    }

    /// The instance of this name, for one operation alone. One that is being updated is `busy`.
    pub(crate) async fn claim(
        &self,
        id: &InstanceId,
        waiter: &dyn Waiter,
    ) -> Result<(Handle, locks::Alone), Failure> {
        self.unless_updating(id)?;
        let lock = self.instance_locks.lock(id, waiter).await;
        Ok((self.handle(id)?, lock)) // it may have gone meanwhile
    }

    /// Begins to own an instance that is on disk, unless it is owned already: two owners would start it
    /// twice.
    pub(crate) async fn take_charge(&self, id: &InstanceId) -> Result<(), Refusal> {
        let _instance = self.instance_locks.lock(id, &Background("taking charge of it")).await;
        if self.handle(id).is_ok() {
            return Ok(());
        }
        let handle = supervise::take_charge(self.means.clone(), id.clone()).await?;
        self.instances_mut().insert(id.clone(), handle);
        Ok(())
    }

    /// An instance is gone.
    pub(crate) fn forget(&self, id: &InstanceId) {
        self.instances_mut().remove(id);
    }

    fn instances_mut(&self) -> RwLockWriteGuard<'_, BTreeMap<InstanceId, Handle>> {
        self.instances.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds every instance on disk, and its process. One that cannot be used is logged and left as it
    /// is: it stops neither the others nor the node. Gives those that run.
    async fn find_instances(&self, left: LeftGroups) -> Result<Vec<InstanceId>, OpenError> {
        let found = self.read(|disk| {
            let mut found = Vec::new();
            for title in inventory::titles(disk)? {
                for installation in inventory::installations(disk, &title)? {
                    found.extend(inventory::instances(disk, &installation)?);
                }
            }
            Ok(found)
        });
        let found = found.await.map_err(OpenError::damaged)?;
        let batches: Vec<Vec<InstanceId>> = found.chunks(TOGETHER).map(<[_]>::to_vec).collect();
        let left = Arc::new(left);
        let read = |batch: Vec<InstanceId>| {
            let (means, left) = (self.means.clone(), left.clone());
            let read = move |id| Found::read(&means, id, &left);
            blocking(move || batch.into_iter().map(read).collect::<Vec<_>>())
        };
        let read = stream::iter(batches.into_iter().map(read)).buffer_unordered(READERS);
        // Several at a time: what should run and does not is started here. Nobody else starts anything yet.
        let left_alone = AtomicBool::new(false);
        let take = async |found: Found| {
            let id = found.id.clone();
            match supervise::take_charge_of(self.means.clone(), found).await {
                Ok(handle) => drop(self.instances_mut().insert(id, handle)),
                Err(error) => {
                    tracing::error!(instance = %id, %error, "cannot be used, and is left as it is");
                    left_alone.store(true, Ordering::Relaxed);
                }
            }
        };
        read.flat_map(stream::iter).for_each_concurrent(AT_A_TIME, take).await;
        let running = self.handles().into_iter().filter(|(_, handle)| handle.has_process());
        let running: Vec<InstanceId> = running.map(|(id, _)| id).collect();
        tracing::info!(instances = found.len(), running = running.len(), "instances are found");
        // How a launch of nobody's ended concerns nobody; one of an instance that cannot be used might.
        if !left_alone.into_inner() {
            let launches: HashSet<_> =
                self.handles().iter().filter_map(|(_, handle)| handle.view().launch).collect();
            let launcher = self.means.launcher.clone();
            blocking(move || launcher.forget_all_but(|launch| launches.contains(&launch))).await;
        }
        Ok(running)
    }

    fn updating(&self) -> MutexGuard<'_, HashMap<InstanceId, OperationId>> {
        self.updating.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a node does when it has started, and nobody waits for: whoever asks what runs comes first.
async fn look_after(core: Weak<Core>, running: Vec<InstanceId>) {
    tokio::time::sleep(NOBODY_WAITS).await;
    let Some(core) = core.upgrade() else { return };
    running.iter().for_each(|id| core.logs.watch(id));
    operation::collect_in_background(&core).await;
    core.looked_after.send_replace(true);
}

impl<'a> Updating<'a> {
    /// Marks it.
    pub(crate) fn mark(core: &'a Core, instance: &InstanceId, by: OperationId) -> Updating<'a> {
        core.updating().insert(instance.clone(), by);
        Updating { core, instance: instance.clone() }
    }
}

impl Drop for Updating<'_> {
    fn drop(&mut self) {
        self.core.updating().remove(&self.instance);
    }
}

fn installation_body(disk: &Disk, id: &InstallationId) -> Result<InstallationBody, ReadError> {
    let found = inventory::installation(disk, id)?;
    let title: Title = id.title.clone();
    Ok(InstallationBody {
        installation: id.clone(),
        title,
        origin: OriginBody {
            server: found.origin.server,
            reference: found.origin.reference,
            profile: found.origin.profile,
        },
        version: found.current.version,
        previous: found.previous.map(|previous| previous.version),
        overrides: OverridesBody {
            env: found.config.env,
            args: found.config.args,
            packages: found.packages.packages,
        },
        instances: inventory::instances(disk, id)?,
        created_by: found.origin.created_by,
    })
}

/// Until a node that has started looks at the logs of what runs, and for what may go.
const NOBODY_WAITS: Duration = Duration::from_millis(300);
/// Instances that are taken charge of at the same time.
const AT_A_TIME: usize = 16;
/// Instances that are read on one thread, and how many threads read.
const TOGETHER: usize = 64;
const READERS: usize = 2;
