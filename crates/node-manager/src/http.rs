//! The routes of a node: each parses, asks the core, and writes the answer. No decision is taken here.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use futures_util::{StreamExt as _, stream};
use model::{Glob, InstallationId, InstanceId, OperationId, Policy, Reference};
use tokio::sync::mpsc;
use wire::serve::{Calling, Closing, Json, Path, Query, Service, listing, ndjson};
use wire::v1::{
    CreateRequest, DeleteRequest, GlobQuery, InstallRequest, InstallationBody, InstanceBody,
    LogStream, LogsQuery, NameRequest, OperationBody, RevertRequest, StatusBody, StopRequest,
    StoreRequest, UpdatePlanRequest, UpdateRequest, WaitQuery,
};
use wire::{Code, ErrorBody, Problem, route};

use crate::failure::Failure;
use crate::logs::From as LogsFrom;
use crate::node::Core;
use crate::record::{Request, Target};

type Answer<T> = Result<Json<T>, Problem>;
type Shared = State<Arc<Core>>;

/// Every route of a node.
pub(crate) fn service(policy: Policy, core: Arc<Core>) -> Service<()> {
    Service::new(policy)
        .route(&route::STATUS, status)
        .route(&route::INSTALLATION_LIST, installations)
        .route(&route::INSTALLATION_GET, installation)
        .route(&route::INSTANCE_LIST, instances)
        .route(&route::INSTANCE_GET, instance)
        .route(&route::INSTANCE_LOGS, instance_logs)
        .route(&route::OPERATION_LIST, operations)
        .route(&route::OPERATION_GET, operation)
        .route(&route::INSTALL, install)
        .route(&route::UNINSTALL, uninstall)
        .route(&route::INSTANCE_CREATE, create)
        .route(&route::START, start)
        .route(&route::STOP, stop)
        .route(&route::RESTART, restart)
        .route(&route::PAUSE, pause)
        .route(&route::RESUME, resume)
        .route(&route::DELETE, delete)
        .route(&route::UPDATE, update)
        .route(&route::REVERT, revert)
        .route(&route::PLAN_INSTALL, plan_install)
        .route(&route::PLAN_UPDATE, plan_update)
        .route(&route::STORE_GARBAGE, store_garbage)
        .route(&route::STORE_GC, store_gc)
        .route(&route::STORE_VERIFY, store_verify)
        .route(&route::STORE_REPAIR, store_repair)
        .with_state(core)
}

async fn status(State(core): Shared) -> Json<StatusBody> {
    let mut warnings = Vec::new();
    if core.config.loopback_may_write {
        warnings.push("any local account may change this node over TCP".to_owned());
    }
    warnings.extend(core.logs.warnings());
    Json(StatusBody {
        kind: "node".into(),
        fettle: env!("CARGO_PKG_VERSION").into(),
        data: core.config.root.display().to_string(),
        config: core.config.file.as_ref().map(|file| file.display().to_string()),
        server: core.config.server.as_ref().map(ToString::to_string),
        profiles: Some(core.config.profiles.clone()),
        enforced: Some(core.enforced()),
        warnings,
    })
}

async fn installations(
    State(core): Shared,
    Query(query): Query<GlobQuery>,
) -> Result<Response, Problem> {
    let glob = query.glob.unwrap_or_else(Glob::all);
    let bodies = core.installation_bodies().await.map_err(problem)?;
    Ok(listing(bodies.iter().filter(|body| glob.matches(&body.installation.to_string()))))
}

async fn installation(
    State(core): Shared,
    Path((title, number)): Path<(String, String)>,
) -> Answer<InstallationBody> {
    let id: InstallationId = named(&format!("{title}/{number}"))?;
    core.installation_body(&id).await.map(Json).map_err(problem)
}

async fn instances(State(core): Shared, Query(query): Query<GlobQuery>) -> Response {
    let glob = query.glob.unwrap_or_else(Glob::all);
    let found = core.handles().into_iter().filter(|(id, _)| glob.matches(&id.to_string()));
    listing(found.map(|(_, handle)| handle.view().body))
}

async fn instance(
    State(core): Shared,
    Path((title, number, instance)): Path<(String, String, String)>,
) -> Answer<InstanceBody> {
    let id: InstanceId = named(&format!("{title}/{number}/{instance}"))?;
    Ok(Json(core.handle(&id).map_err(problem)?.view().body))
}

async fn instance_logs(
    State(core): Shared,
    Path((title, number, instance)): Path<(String, String, String)>,
    Query(query): Query<LogsQuery>,
    Extension(mut closing): Extension<Closing>,
) -> Result<Response, Problem> {
    let id: InstanceId = named(&format!("{title}/{number}/{instance}"))?;
    let handle = core.handle(&id).map_err(problem)?;
    let stream = query.stream.unwrap_or(LogStream::Stdout);
    let (sender, receiver) = mpsc::channel(LINES);
    let from = starting(&query)?;
    tokio::spawn(core.logs.clone().send(handle, stream, from, query.follow, sender));
    let lines = stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|line| (line, receiver))
    });
    // Whoever follows a log does not hold up the end of the manager, and asks the next one to go on.
    let lines = lines.take_until(async move { closing.begun().await });
    Ok(ndjson(Body::from_stream(lines)))
}

fn starting(query: &LogsQuery) -> Result<LogsFrom, Problem> {
    match (query.offset, query.tail, query.since) {
        (offset, None, None) => Ok(LogsFrom::Address(offset.unwrap_or(0))),
        (None, Some(lines), None) => Ok(LogsFrom::Tail(lines)),
        (None, None, Some(time)) => Ok(LogsFrom::Since(time)),
        _ => Err(Problem::new(Code::Usage, "one of `offset`, `tail` and `since` is wanted")),
    }
}

async fn operations(State(core): Shared) -> Response {
    listing(core.journal.all().iter().map(|entry| entry.body()))
}

async fn operation(
    State(core): Shared,
    Path(id): Path<OperationId>,
    Query(query): Query<WaitQuery>,
    Extension(mut closing): Extension<Closing>,
) -> Answer<OperationBody> {
    let entry = core.journal.find(id).ok_or_else(|| {
        Problem::new(Code::NotFound, format!("there is no operation {id} on this node"))
    })?;
    let Some(after) = query.after else { return Ok(Json(entry.body())) };
    Ok(Json(tokio::select! {
        news = entry.news(after) => news,
        () = tokio::time::sleep(PATIENCE) => entry.body(),
        () = closing.begun() => entry.body(),
    }))
}

async fn install(
    core: Shared,
    id: Path<OperationId>,
    caller: Calling,
    Json(request): Json<InstallRequest>,
) -> Answer<OperationBody> {
    submit(core, id, caller, Request::Install(request)).await
}

async fn uninstall(
    core: Shared,
    id: Path<OperationId>,
    caller: Calling,
    Json(request): Json<NameRequest>,
) -> Answer<OperationBody> {
    submit(core, id, caller, Request::Uninstall(named(&request.name)?)).await
}

async fn create(
    core: Shared,
    id: Path<OperationId>,
    caller: Calling,
    Json(request): Json<CreateRequest>,
) -> Answer<OperationBody> {
    submit(core, id, caller, Request::Create(request)).await
}

async fn start(
    core: Shared,
    id: Path<OperationId>,
    caller: Calling,
    Json(request): Json<NameRequest>,
) -> Answer<OperationBody> {
    submit(core, id, caller, Request::Start(named(&request.name)?)).await
}

async fn stop(
    core: Shared,
    id: Path<OperationId>,
    caller: Calling,
    Json(request): Json<StopRequest>,
) -> Answer<OperationBody> {
    submit(core, id, caller, Request::Stop(named(&request.name)?, timed(request)?)).await
}

async fn restart(
    core: Shared,
    id: Path<OperationId>,
    caller: Calling,
    Json(request): Json<StopRequest>,
) -> Answer<OperationBody> {
    submit(core, id, caller, Request::Restart(named(&request.name)?, timed(request)?)).await
}

async fn pause(
    core: Shared,
    id: Path<OperationId>,
    caller: Calling,
    Json(request): Json<NameRequest>,
) -> Answer<OperationBody> {
    submit(core, id, caller, Request::Pause(named(&request.name)?)).await
}

async fn resume(
    core: Shared,
    id: Path<OperationId>,
    caller: Calling,
    Json(request): Json<NameRequest>,
) -> Answer<OperationBody> {
    submit(core, id, caller, Request::Resume(named(&request.name)?)).await
}

async fn delete(
    core: Shared,
    id: Path<OperationId>,
    caller: Calling,
    Json(request): Json<DeleteRequest>,
) -> Answer<OperationBody> {
    submit(core, id, caller, Request::Delete(named(&request.name)?, request)).await
}

async fn update(
    core: Shared,
    id: Path<OperationId>,
    caller: Calling,
    Json(request): Json<UpdateRequest>,
) -> Answer<OperationBody> {
    let target: Target = named(&request.name)?;
    has_reference(&target, request.to.as_ref())?;
    has_copies(&target, request.fresh_packages)?;
    submit(core, id, caller, Request::Update(target, request)).await
}

async fn revert(
    core: Shared,
    id: Path<OperationId>,
    caller: Calling,
    Json(request): Json<RevertRequest>,
) -> Answer<OperationBody> {
    let target: Target = named(&request.name)?;
    has_copies(&target, request.fresh_packages)?;
    submit(core, id, caller, Request::Revert(target, request)).await
}

async fn plan_install(
    State(core): Shared,
    Json(request): Json<InstallRequest>,
) -> Result<Response, Problem> {
    Ok(listing(crate::operation::of_install(&core, &request).await.map_err(problem)?))
}

async fn plan_update(
    State(core): Shared,
    Json(UpdatePlanRequest { names, to, again }): Json<UpdatePlanRequest>,
) -> Result<Response, Problem> {
    let targets = names.iter().map(|name| {
        let target: Target = named(name)?;
        has_reference(&target, to.as_ref())?;
        Ok::<_, Problem>(target)
    });
    let targets: Vec<Target> = targets.collect::<Result<_, _>>()?;
    Ok(listing(
        crate::operation::of_updates(&core, targets, to.as_ref(), again).await.map_err(problem)?,
    ))
}

async fn store_garbage(State(core): Shared) -> Result<Response, Problem> {
    Ok(listing(crate::operation::garbage(&core).await.map_err(problem)?))
}

async fn store_gc(
    core: Shared,
    id: Path<OperationId>,
    caller: Calling,
    Json(request): Json<StoreRequest>,
) -> Answer<OperationBody> {
    submit(core, id, caller, Request::StoreGc(request)).await
}

async fn store_verify(
    core: Shared,
    id: Path<OperationId>,
    caller: Calling,
    Json(request): Json<StoreRequest>,
) -> Answer<OperationBody> {
    submit(core, id, caller, Request::StoreVerify(request)).await
}

async fn store_repair(
    core: Shared,
    id: Path<OperationId>,
    caller: Calling,
    Json(request): Json<StoreRequest>,
) -> Answer<OperationBody> {
    submit(core, id, caller, Request::StoreRepair(request)).await
}

async fn submit(
    State(core): Shared,
    Path(id): Path<OperationId>,
    Calling(caller): Calling,
    request: Request,
) -> Answer<OperationBody> {
    let entry = core.submit(id, request, caller).await.map_err(problem)?;
    Ok(Json(entry.body()))
}

/// Only installations follow a reference.
fn has_reference(target: &Target, to: Option<&Reference>) -> Result<(), Problem> {
    if to.is_none() || matches!(target, Target::Installation(_)) {
        return Ok(());
    }
    let why = "an instance moves to its installation's version: `to` is for installations";
    let hint = "move the installation with `to` first, then the instance without";
    Err(ErrorBody::new(Code::Usage, why).hint(hint).into())
}

/// Only instances have copies of packages that could begin anew.
fn has_copies(target: &Target, fresh: bool) -> Result<(), Problem> {
    if !fresh || matches!(target, Target::Instance(_)) {
        return Ok(());
    }
    let why = "an installation has no copies of packages: `fresh_packages` is for instances";
    let hint = "move the installation without it first, then the instance with it";
    Err(ErrorBody::new(Code::Usage, why).hint(hint).into())
}

fn named<T: std::str::FromStr<Err: std::fmt::Display>>(name: &str) -> Result<T, Problem> {
    name.parse().map_err(|error: T::Err| Problem::new(Code::BadName, error.to_string()))
}

fn timed(request: StopRequest) -> Result<StopRequest, Problem> {
    let legal = request.timeout.is_none_or(|seconds| model::Span::from_secs_f64(seconds).is_some());
    let refusal = || Problem::new(Code::Usage, "`timeout` is no duration in seconds");
    legal.then_some(request).ok_or_else(refusal)
}

fn problem(failure: impl Into<Failure>) -> Problem {
    failure.into().to_body().into()
}

/// Lines on their way to a client.
const LINES: usize = 64;
/// How long a client waits for news before it asks again.
const PATIENCE: Duration = Duration::from_secs(30);
