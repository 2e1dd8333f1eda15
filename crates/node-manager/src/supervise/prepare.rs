//! From an instance on disk to everything that its program begins with and is watched by. Reads only; what
//! has to be opened or made for a launch is `launch`'s.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::num::{NonZeroU32, NonZeroU64};
use std::path::Path;

use cgroup::Capabilities;
use launcher::{Limit, Program, Word};
use model::policy::{Limits, StopPolicy};
use model::{InstanceId, LaunchId, RestartPolicy};
use rustix::process::Resource;

use super::health::{Plan, command};
use super::launch::LaunchError;
use super::means::Means;
use super::stated::Stated;
use crate::layout::{self, VersionName};

/// An instance that can be launched.
#[derive(Debug)]
pub(super) struct Prepared {
    /// The program; its streams, its group and its socket are still to come.
    pub(super) program: Program,
    /// What it is watched by.
    pub(super) plan: Plan,
    /// What it may use, as its control group has it.
    pub(super) limits: cgroup::Limits,
}

/// How a program is asked to end.
#[derive(Debug)]
pub(super) struct StopWay {
    /// The envelope's words.
    pub(super) policy: StopPolicy,
    /// The command that asks, if there is one.
    pub(super) command: Option<Program>,
}

/// Reads what a launch of an instance that is on this version begins with. Blocking.
pub(super) fn prepare(
    means: &Means,
    (id, version): (&InstanceId, &VersionName),
    launch: LaunchId,
) -> Result<Prepared, LaunchError> {
    let stated = means.statements.of(&means.disk, id, version)?;
    let envelope = &stated.envelope;
    let (program, env) = program(means, (id, version), &stated, launch);
    let plan = Plan::new(
        envelope.policies.ready.as_ref(),
        envelope.policies.alive.as_ref(),
        &env,
        &program,
    );
    let plan = plan.map_err(|source| LaunchError::Port { instance: id.clone(), source })?;
    Ok(Prepared { program, plan, limits: of_group(&envelope.policies.limits) })
}

/// What the envelope of the instance's version says about restarts. Blocking.
pub(super) fn restart_policy(
    means: &Means,
    (id, version): (&InstanceId, &VersionName),
) -> Result<RestartPolicy, LaunchError> {
    Ok(means.statements.of(&means.disk, id, version)?.envelope.restart)
}

/// How the instance's program is asked to end. Blocking.
pub(super) fn stop_way(
    means: &Means,
    (id, version): (&InstanceId, &VersionName),
) -> Result<StopWay, LaunchError> {
    let stated = means.statements.of(&means.disk, id, version)?;
    let policy = stated.envelope.policies.stop.clone();
    let command = match &policy.command {
        None => None,
        Some(argv) => {
            let unused = LaunchId::from(uuid::Uuid::nil()); // each run of a command has its own
            let (like, _) = program(means, (id, version), &stated, unused);
            Some(command(argv, &like))
        }
    };
    Ok(StopWay { policy, command })
}

type Environment = BTreeMap<String, OsString>;

fn program(
    means: &Means,
    (id, version): (&InstanceId, &VersionName),
    Stated { envelope, config }: &Stated,
    launch: LaunchId,
) -> (Program, Environment) {
    let absolute = |path: &Path| means.disk.root().join(path);
    let path = |path: &Path| absolute(path).into_os_string();
    let workspace = layout::workspace(id);
    let mut env = BTreeMap::from([
        ("PATH".to_owned(), OsString::from(MINIMAL_PATH)),
        ("HOME".to_owned(), path(&workspace)),
    ]);
    // The envelope speaks after the node's defaults, the installation's overrides after the envelope, and
    // the node's own variables last: no envelope can name them.
    let stated = envelope.env.iter().chain(&config.env);
    env.extend(stated.map(|(name, value)| (name.to_string(), OsString::from(value))));
    env.extend([
        ("FETTLE_TITLE".to_owned(), envelope.title.to_string().into()),
        ("FETTLE_VERSION".to_owned(), envelope.version.to_string().into()),
        ("FETTLE_INSTALLATION".to_owned(), id.installation.to_string().into()),
        ("FETTLE_INSTANCE".to_owned(), id.to_string().into()),
        ("FETTLE_WORKSPACE".to_owned(), path(&workspace)),
        ("FETTLE_PACKAGES".to_owned(), path(&layout::workspace_packages(id))),
        ("FETTLE_LOGS".to_owned(), path(&layout::logs(id))),
    ]);
    let program = Program {
        launch: launch.to_string(),
        program: absolute(&layout::version(&id.installation, version).join(layout::BIN)).into(),
        args: envelope.args.iter().chain(&config.args).map(Word::from).collect(),
        env: env.iter().map(|(name, value)| variable(name, value)).collect(),
        directory: absolute(&workspace).into(),
        limits: of_process(&envelope.policies.limits, means.groups.capabilities()),
        oom_score: means.oom_score,
        in_group: false,
        joins: 0,
        keeps: false,
    };
    (program, env)
}

/// `NAME=value`
pub(super) fn variable(name: &str, value: impl AsRef<std::ffi::OsStr>) -> Word {
    let mut word = OsString::from(name);
    word.push("=");
    word.push(value);
    Word(word)
}

/// What the kernel holds each process to by itself. Where no control group can bound memory, that is better
/// than nothing, and `status` says so.
fn of_process(limits: &Limits, capabilities: &Capabilities) -> Vec<Limit> {
    let limit = |resource: Resource, most: u64| Limit {
        resource: resource as u32,
        soft: Some(most),
        hard: Some(most),
    };
    let files = limits.open_files.map(|files| limit(Resource::Nofile, files.into()));
    // Private memory that can be written to (getrlimit(2), since Linux 4.7): what is only reserved, as
    // many runtimes do, does not count.
    let alone = limits.memory.filter(|_| capabilities.memory.by().is_none());
    let memory = alone.map(|memory| limit(Resource::Data, memory.bytes()));
    files.into_iter().chain(memory).collect()
}

/// What it holds a program to with all that it starts. None of them is zero: the model's bounds.
fn of_group(limits: &Limits) -> cgroup::Limits {
    cgroup::Limits {
        memory: limits.memory.and_then(|memory| NonZeroU64::new(memory.bytes())),
        cpu: limits.cpu.and_then(|cpu| NonZeroU32::new(cpu.thousandths())),
        tasks: limits.tasks.and_then(NonZeroU32::new),
    }
}

const MINIMAL_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
