//! The calls of a node: what is there, and the changes that it can be asked for.

use model::{Glob, InstallationId, InstanceId, OperationId};
use reqwest::RequestBuilder;
use serde::Serialize;
use wire::route::{self, Route};
use wire::v1::{
    CreateRequest, DeleteRequest, GarbageLine, InstallRequest, InstallationBody, InstanceBody,
    LogLine, LogsQuery, NameRequest, OperationBody, OperationKind, PlanLine, RevertRequest,
    StopRequest, StoreRequest, UpdatePlanRequest, UpdateRequest,
};

use crate::address::{Query, fill};
use crate::connection::{Connection, PATIENCE};
use crate::error::ClientError;
use crate::lines::{Lines, Pause};

/// The calls of a node; [`Connection::node`]. Errors are those of [`ClientError`].
#[derive(Debug, Clone, Copy)]
pub struct Node<'a>(&'a Connection);

/// What a node can be asked to change.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Install an application.
    Install(InstallRequest),
    /// Remove an installation without instances.
    Uninstall(NameRequest),
    /// Make an instance.
    Create(CreateRequest),
    /// Start an instance.
    Start(NameRequest),
    /// Stop an instance.
    Stop(StopRequest),
    /// Stop and start an instance.
    Restart(StopRequest),
    /// `pause`
    Pause(NameRequest),
    /// `resume`
    Resume(NameRequest),
    /// Remove an instance.
    Delete(DeleteRequest),
    /// Move an installation or instance to another version.
    Update(UpdateRequest),
    /// Move an installation or instance back.
    Revert(RevertRequest),
    /// Remove what the store has and nothing refers to.
    StoreGc(StoreRequest),
    /// Look whether everything in the store is what it should be.
    StoreVerify(StoreRequest),
    /// Mend what is not.
    StoreRepair(StoreRequest),
}

impl<'a> Node<'a> {
    pub(crate) fn new(connection: &'a Connection) -> Node<'a> {
        Node(connection)
    }

    /// The installations whose names match; all without a glob.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn installations(
        &self,
        glob: Option<&Glob>,
    ) -> Result<Lines<InstallationBody>, ClientError> {
        let address = Query::of(fill(&route::INSTALLATION_LIST, &[])).with("glob", glob).finish();
        self.0.lines(self.0.request(&route::INSTALLATION_LIST, &address), Pause::Usual).await
    }

    /// One installation.
    ///
    /// # Errors
    /// `not-found`.
    pub async fn installation(&self, id: &InstallationId) -> Result<InstallationBody, ClientError> {
        let parameters = [id.title.as_str(), &id.number.to_string()];
        let address = fill(&route::INSTALLATION_GET, &parameters);
        self.0.json(self.0.request(&route::INSTALLATION_GET, &address)).await
    }

    /// The instances whose names match; all without a glob.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn instances(&self, glob: Option<&Glob>) -> Result<Lines<InstanceBody>, ClientError> {
        let address = Query::of(fill(&route::INSTANCE_LIST, &[])).with("glob", glob).finish();
        self.0.lines(self.0.request(&route::INSTANCE_LIST, &address), Pause::Usual).await
    }

    /// One instance.
    ///
    /// # Errors
    /// `not-found`.
    pub async fn instance(&self, id: &InstanceId) -> Result<InstanceBody, ClientError> {
        self.0.json(self.0.request(&route::INSTANCE_GET, &of(&route::INSTANCE_GET, id))).await
    }

    /// What an instance printed, a line each; with `follow`, what it prints from now on too.
    ///
    /// # Errors
    /// `not-found`.
    pub async fn logs(
        &self,
        id: &InstanceId,
        query: &LogsQuery,
    ) -> Result<Lines<LogLine>, ClientError> {
        let address = Query::of(of(&route::INSTANCE_LOGS, id))
            .with("stream", query.stream.map(wire::v1::LogStream::as_str))
            .with("offset", query.offset)
            .with("tail", query.tail)
            .with("since", query.since)
            .with("follow", query.follow.then_some("true"))
            .finish();
        let pause = if query.follow { Pause::Endless } else { Pause::Usual };
        self.0.lines(self.0.request(&route::INSTANCE_LOGS, &address), pause).await
    }

    /// The operations, the newest first.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn operations(&self) -> Result<Lines<OperationBody>, ClientError> {
        let address = fill(&route::OPERATION_LIST, &[]);
        self.0.lines(self.0.request(&route::OPERATION_LIST, &address), Pause::Usual).await
    }

    /// One operation, as it is now.
    ///
    /// # Errors
    /// `not-found`.
    pub async fn operation(&self, id: OperationId) -> Result<OperationBody, ClientError> {
        let address = fill(&route::OPERATION_GET, &[&id.to_string()]);
        self.0.json(self.0.request(&route::OPERATION_GET, &address)).await
    }

    /// One operation, as soon as its revision is higher than `after`, or as it is after half a minute.
    ///
    /// # Errors
    /// `not-found`.
    pub async fn wait(&self, id: OperationId, after: u64) -> Result<OperationBody, ClientError> {
        let address = fill(&route::OPERATION_GET, &[&id.to_string()]);
        let address = Query::of(address).with("after", Some(after)).finish();
        self.0.json_within(self.0.request(&route::OPERATION_GET, &address), 2 * PATIENCE).await
    }

    /// What the store has and nothing refers to: what a collection would remove.
    ///
    /// # Errors
    /// `damaged`: it cannot be told what is needed.
    pub async fn garbage(&self) -> Result<Lines<GarbageLine>, ClientError> {
        let address = fill(&route::STORE_GARBAGE, &[]);
        self.0.lines(self.0.request(&route::STORE_GARBAGE, &address), Pause::Usual).await
    }

    /// What an install would do; nothing is changed.
    ///
    /// # Errors
    /// Those that the install would meet before it fetches anything.
    pub async fn plan_install(
        &self,
        request: &InstallRequest,
    ) -> Result<Lines<PlanLine>, ClientError> {
        self.plan(&route::PLAN_INSTALL, request).await
    }

    /// What updates of several things would do, one that is refused included; nothing is changed.
    ///
    /// # Errors
    /// `bad-name`, `usage`: nobody knows what is asked.
    pub async fn plan_update(
        &self,
        request: &UpdatePlanRequest,
    ) -> Result<Lines<PlanLine>, ClientError> {
        self.plan(&route::PLAN_UPDATE, request).await
    }

    async fn plan(
        &self,
        route: &Route,
        request: &impl Serialize,
    ) -> Result<Lines<PlanLine>, ClientError> {
        self.0.lines(self.0.request_with(route, &fill(route, &[]), request), Pause::Usual).await
    }

    /// Asks for a change. The id is the caller's: sent twice, done once. The answer comes as soon as
    /// the request is recorded, not when it is done.
    ///
    /// # Errors
    /// What the node refuses at once, e.g. `not-found` or `busy`.
    pub async fn submit(
        &self,
        id: OperationId,
        change: &Change,
    ) -> Result<OperationBody, ClientError> {
        let request = match change {
            Change::Install(body) => self.change(&route::INSTALL, id, body),
            Change::Uninstall(body) => self.change(&route::UNINSTALL, id, body),
            Change::Create(body) => self.change(&route::INSTANCE_CREATE, id, body),
            Change::Start(body) => self.change(&route::START, id, body),
            Change::Stop(body) => self.change(&route::STOP, id, body),
            Change::Restart(body) => self.change(&route::RESTART, id, body),
            Change::Pause(body) => self.change(&route::PAUSE, id, body),
            Change::Resume(body) => self.change(&route::RESUME, id, body),
            Change::Delete(body) => self.change(&route::DELETE, id, body),
            Change::Update(body) => self.change(&route::UPDATE, id, body),
            Change::Revert(body) => self.change(&route::REVERT, id, body),
            Change::StoreGc(body) => self.change(&route::STORE_GC, id, body),
            Change::StoreRepair(body) => self.change(&route::STORE_REPAIR, id, body),
            Change::StoreVerify(body) => self.change(&route::STORE_VERIFY, id, body),
        };
        self.0.json(request).await
    }

    fn change(&self, route: &Route, id: OperationId, body: &impl Serialize) -> RequestBuilder {
        self.0.request_with(route, &fill(route, &[&id.to_string()]), body)
    }
}

impl Change {
    /// Which command this is.
    pub fn kind(&self) -> OperationKind {
        match self {
            Change::Install(_) => OperationKind::Install,
            Change::Uninstall(_) => OperationKind::Uninstall,
            Change::Create(_) => OperationKind::Create,
            Change::Start(_) => OperationKind::Start,
            Change::Stop(_) => OperationKind::Stop,
            Change::Restart(_) => OperationKind::Restart,
            Change::Pause(_) => OperationKind::Pause,
            Change::Resume(_) => OperationKind::Resume,
            Change::Delete(_) => OperationKind::Delete,
            Change::Update(_) => OperationKind::Update,
            Change::Revert(_) => OperationKind::Revert,
            Change::StoreGc(_) => OperationKind::StoreGc,
            Change::StoreRepair(_) => OperationKind::StoreRepair,
            Change::StoreVerify(_) => OperationKind::StoreVerify,
        }
    }
}

/// A path that names an instance.
fn of(route: &Route, id: &InstanceId) -> String {
    let InstanceId { installation, number } = id;
    let (n, m) = (installation.number.to_string(), number.to_string());
    fill(route, &[installation.title.as_str(), &n, &m])
}
