//! A machine with a node manager on it, driven over its Unix socket with the client. The manager lives in a
//! runtime of its own, which can be shut down in the middle of anything; the programs live on.

use std::path::{Path, PathBuf};
use std::time::Duration;

use client::{Change, Connection};
use model::{InstallationId, InstanceId, OperationId};
use node_manager::{Config, Node, OpenError, Starter};
use rustix::process::{Pid, Signal};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use wire::ErrorBody;
use wire::serve::{Address, Listener, serve};
use wire::v1::{
    CreateRequest, DeleteRequest, EnvelopeBody, InstallRequest, InstalledBody, InstanceBody,
    NameRequest, OperationBody, OperationResult, RevertRequest, StopRequest, StoreRequest,
    UpdateRequest,
};

use crate::world::{World, connect};

pub struct Machine {
    pub root: PathBuf,
    pub config: Config,
    pub node: Connection,
    runtime: Option<Runtime>,
    looked_after: Option<JoinHandle<()>>,
}

/// A machine with an instance of an application like this, which is not started, and the server that it came
/// from.
pub async fn with_instance(world: World, published: EnvelopeBody) -> (World, Machine, InstanceId) {
    world.publish(&published).await;
    let machine = Machine::start(&world).await;
    let installation = machine.install(install(published.title.as_str())).await.installation;
    let id = InstanceId { installation, number: 1 };
    machine.done(create(&id.installation, false)).await;
    (world, machine, id)
}

/// Where an instance works.
pub fn workspace(machine: &Machine, id: &InstanceId) -> PathBuf {
    machine.instance_dir(id).join("root")
}

impl Machine {
    /// A fresh machine that installs from this server.
    pub async fn start(world: &World) -> Machine {
        Machine::start_at(&world.dir.path().join("node"), &world.address).await
    }

    pub async fn start_at(root: &Path, server: &str) -> Machine {
        let mut machine = Machine::off(root, server);
        machine.turn_on().await;
        machine
    }

    /// The control groups of programs that no manager sees end.
    fn remove_groups(&self) {
        let digest = model::Digest::of(self.root.as_os_str().as_encoded_bytes());
        if let Ok(groups) = cgroup::Groups::open(&format!("fettle-{}", &digest.hex()[..8])) {
            let _ = groups.sweep().map(|_| groups.remove());
        }
    }

    /// What is damaged while the manager is off stays damaged: the log of small writes would mend it.
    pub fn lose_the_log(&self) {
        std::fs::remove_file(self.root.join("redo")).unwrap();
    }

    /// A machine whose manager does not run yet.
    pub fn off(root: &Path, server: &str) -> Machine {
        let config = config(root, server);
        let node = connect_to(root);
        Machine { root: root.to_owned(), config, node, runtime: None, looked_after: None }
    }

    pub async fn turn_on(&mut self) {
        self.turn_on_with(Node::open).await;
    }

    /// A process that another thread of this test is just forking may hold the lock of the last manager
    /// until it executes its program: that is waited for.
    pub async fn turn_on_with<F>(&mut self, open: impl Fn(Config) -> F)
    where
        F: Future<Output = Result<Node, OpenError>> + Send + 'static,
    {
        for _ in 0..PATIENCE {
            match self.try_to_turn_on(open(self.config.clone())).await {
                Ok(()) => return,
                Err(OpenError::Locked { .. }) => {
                    self.turn_off().await;
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                Err(error) => panic!("{error:?}"),
            }
        }
        panic!("the tree stays locked");
    }

    async fn try_to_turn_on(
        &mut self,
        opening: impl Future<Output = Result<Node, OpenError>> + Send + 'static,
    ) -> Result<(), OpenError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let address = Address::Unix(socket(&self.root));
        let opened = runtime.spawn(async move {
            let node = opening.await?;
            let listener = Listener::bind(&address).await.unwrap();
            let looked_after = tokio::spawn(node.looked_after());
            tokio::spawn(async move {
                serve(listener, node.service(), std::future::pending()).await;
                drop(node);
            });
            Ok(looked_after)
        });
        let opened = opened.await.unwrap().map(|done| self.looked_after = Some(done));
        // No connection to the manager before this one is used again.
        self.node = connect_to(&self.root);
        self.runtime = Some(runtime);
        opened
    }

    /// Waits until what the start left for later is done: what is put into the store from now on stays there
    /// until somebody asks for a collection.
    pub async fn is_at_rest(&mut self) {
        if let Some(done) = self.looked_after.take() {
            done.await.unwrap();
        }
    }

    /// Ends the manager in the middle of whatever it does.
    pub async fn turn_off(&mut self) {
        let Some(runtime) = self.runtime.take() else { return };
        let ended = move || runtime.shutdown_timeout(Duration::from_secs(30));
        tokio::task::spawn_blocking(ended).await.unwrap();
    }

    /// Ends the manager and starts another one.
    pub async fn restart_manager(&mut self) {
        self.turn_off().await;
        self.turn_on().await;
    }

    /// Asks for a change and waits for its end.
    pub async fn change(&self, change: Change) -> OperationBody {
        let id = new_id();
        self.node.node().submit(id, &change).await.unwrap();
        self.end_of(id).await
    }

    /// Waits for the end of an operation.
    pub async fn end_of(&self, id: OperationId) -> OperationBody {
        let mut body = self.node.node().operation(id).await.unwrap();
        while !body.state.has_ended() {
            body = self.node.node().wait(id, body.revision).await.unwrap();
        }
        body
    }

    /// A change that succeeds.
    pub async fn done(&self, change: Change) -> OperationResult {
        let body = self.change(change.clone()).await;
        match body.result {
            Some(result) if body.error.is_none() => result,
            _ => panic!("{change:?}: {:#?}", body.error),
        }
    }

    /// A change that fails, and why.
    pub async fn refused(&self, change: Change) -> ErrorBody {
        let body = self.change(change.clone()).await;
        assert_eq!(body.result, None, "{change:?}");
        body.error.unwrap()
    }

    pub async fn install(&self, request: InstallRequest) -> InstalledBody {
        match self.done(Change::Install(request)).await {
            OperationResult::Installed(body) => body,
            other => panic!("{other:?}"),
        }
    }

    /// Installs `demo/<title>`, starts an instance of it, and says which.
    pub async fn running(&self, title: &str) -> InstanceId {
        let request = InstallRequest { start: true, ..install(title) };
        self.install(request).await.instance.unwrap()
    }

    pub async fn instance(&self, id: &InstanceId) -> InstanceBody {
        self.node.node().instance(id).await.unwrap()
    }

    /// Waits until an instance is so.
    pub async fn until(
        &self,
        id: &InstanceId,
        what: &str,
        is_so: impl Fn(&InstanceBody) -> bool,
    ) -> InstanceBody {
        for _ in 0..PATIENCE {
            let body = self.instance(id).await;
            if is_so(&body) {
                return body;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{id} never is {what}: {:#?}", self.instance(id).await);
    }

    /// The directory of an instance.
    pub fn instance_dir(&self, id: &InstanceId) -> PathBuf {
        let installation = self.installation_dir(&id.installation);
        installation.join(format!("instances/instance-{}", id.number))
    }

    /// The directory of an installation.
    pub fn installation_dir(&self, id: &InstallationId) -> PathBuf {
        let hash = model::Digest::of(id.title.as_str().as_bytes()).hex();
        self.root.join(format!("apps/app-{}/installation-{}", &hash[..32], id.number))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
        let programs = processes_under(&self.root);
        programs.iter().copied().for_each(kill);
        if !programs.is_empty() {
            for _ in 0..100 {
                if processes_under(&self.root).is_empty() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            self.remove_groups();
        }
    }
}

pub fn config(root: &Path, server: &str) -> Config {
    Config {
        root: root.to_owned(),
        server: Some(server.parse().unwrap()),
        profiles: node_manager::machine_profiles(),
        loopback_may_write: false,
        launcher: Starter { program: env!("CARGO_BIN_EXE_node-launcher").into(), args: Vec::new() },
        unpacker: unpacker::Isolation::Inline,
        unmeasured: archive::Limits::default(),
        reserve: None,
        file: None,
        log_budget: model::policy::LogPolicy::USUAL_BUDGET.bytes(),
    }
}

fn connect_to(root: &Path) -> Connection {
    connect(&format!("unix://{}", socket(root).display()))
}

/// Beside the root and not in it: a test compares the whole tree.
fn socket(root: &Path) -> PathBuf {
    root.with_extension("sock")
}

pub fn new_id() -> OperationId {
    OperationId::from(uuid::Uuid::now_v7())
}

pub fn install(title: &str) -> InstallRequest {
    InstallRequest {
        reference: format!("demo/{title}").parse().unwrap(),
        server: None,
        env: [].into(),
        args: Vec::new(),
        packages: [].into(),
        start: false,
    }
}

pub fn create(installation: &InstallationId, start: bool) -> Change {
    Change::Create(CreateRequest { installation: installation.clone(), start })
}

pub fn start(id: &InstanceId) -> Change {
    Change::Start(named(id))
}

pub fn stop(id: &InstanceId) -> Change {
    stop_within(id, 10.0)
}

pub fn stop_within(id: &InstanceId, seconds: f64) -> Change {
    Change::Stop(StopRequest { name: id.to_string(), timeout: Some(seconds) })
}

pub fn restart(id: &InstanceId) -> Change {
    Change::Restart(StopRequest { name: id.to_string(), timeout: None })
}

pub fn delete(id: &InstanceId, stop: bool) -> Change {
    Change::Delete(DeleteRequest { name: id.to_string(), stop })
}

pub fn update(name: &impl ToString) -> Change {
    Change::Update(UpdateRequest {
        name: name.to_string(),
        to: None,
        fresh_packages: false,
        again: false,
    })
}

pub fn update_to(name: &impl ToString, to: &str) -> Change {
    let to = Some(to.parse().unwrap());
    Change::Update(UpdateRequest {
        name: name.to_string(),
        to,
        fresh_packages: false,
        again: false,
    })
}

pub fn revert(name: &impl ToString) -> Change {
    Change::Revert(RevertRequest { name: name.to_string(), fresh_packages: false })
}

/// The same move, with new copies of writable packages.
pub fn fresh(change: Change) -> Change {
    match change {
        Change::Update(request) => {
            Change::Update(UpdateRequest { fresh_packages: true, ..request })
        }
        Change::Revert(request) => {
            Change::Revert(RevertRequest { fresh_packages: true, ..request })
        }
        other => other,
    }
}

pub fn uninstall(name: &impl ToString) -> Change {
    Change::Uninstall(named(name))
}

pub fn gc() -> Change {
    Change::StoreGc(StoreRequest {})
}

pub fn verify() -> Change {
    Change::StoreVerify(StoreRequest {})
}

pub fn repair() -> Change {
    Change::StoreRepair(StoreRequest {})
}

fn named(name: &impl ToString) -> NameRequest {
    NameRequest { name: name.to_string() }
}

/// A record as it lies on the disk.
pub fn record(kind: &str, version: u32, body: &str) -> String {
    let head = format!("fettle {kind} {version}");
    let digest = model::Digest::of(format!("{head}\n{body}").as_bytes());
    format!("{head} {digest}\n{body}")
}

/// Waits until something is so.
pub async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..PATIENCE {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it never was so: {what}");
}

/// The content of a file, once a program has written a whole line to it.
pub async fn line_in(path: &Path) -> String {
    let read = || std::fs::read_to_string(path).unwrap_or_default();
    eventually(&path.display().to_string(), || read().ends_with('\n')).await;
    read().trim().to_owned()
}

/// Does this process exist and run? What is dead and not reaped does not.
pub fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

pub fn kill(pid: u32) {
    let pid = Pid::from_raw(pid.try_into().unwrap()).unwrap();
    let _ = rustix::process::kill_process(pid, Signal::KILL);
}

/// The parent of a program.
pub fn launcher_of(program: u32) -> u32 {
    let stat = std::fs::read_to_string(format!("/proc/{program}/stat")).unwrap();
    let (_, rest) = stat.rsplit_once(')').unwrap();
    let launcher: u32 = rest.split_ascii_whitespace().nth(1).unwrap().parse().unwrap();
    let name = std::fs::read_to_string(format!("/proc/{launcher}/comm")).unwrap();
    assert_eq!(name.trim(), "fettle-launch");
    launcher
}

/// The processes that began with a workspace under this directory.
pub fn processes_under(root: &Path) -> Vec<u32> {
    let wanted = format!("FETTLE_WORKSPACE={}/", root.display()).into_bytes();
    let entries = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable.starts_with(&wanted))
    })
    .collect()
}

/// Of 10 ms each: a minute.
const PATIENCE: usize = 6000;
