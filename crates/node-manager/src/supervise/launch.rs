//! Making the process of an instance: opens what it begins with, asks the launcher, begins to watch it.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use cgroup::Group;
use durable::DiskError;
use launcher::{Program, Refused, Step};
use model::{InstanceId, LaunchId};
use wire::serve::blocking;
use wire::v1::InvalidEnvelope;

use super::health::{NoPort, Notify, NotifyError, Plan, Watch};
use super::launcher::Unmade;
use super::means::{Means, short_name};
use super::prepare::{Prepared, prepare, variable};
use super::process::Process;
use crate::inventory::ReadError;
use crate::layout;

/// Why no process was made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LaunchError {
    /// What is on disk cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The envelope on disk is none.
    #[error("the envelope of `{instance}` is not usable")]
    Envelope {
        /// Whose.
        instance: InstanceId,
        /// Why.
        source: InvalidEnvelope,
    },
    /// The logs cannot be opened.
    #[error("cannot open the logs of `{instance}`")]
    Logs {
        /// Whose.
        instance: InstanceId,
        /// Why.
        source: DiskError,
    },
    /// The system does not execute the program.
    #[error("cannot execute the program of `{instance}`")]
    Execute {
        /// Whose.
        instance: InstanceId,
        /// Why.
        source: std::io::Error,
    },
    /// Something before that fails.
    #[error("cannot {step} for `{instance}`")]
    Prepare {
        /// Whose.
        instance: InstanceId,
        /// What.
        step: Step,
        /// Why.
        source: std::io::Error,
    },
    /// It cannot be known where to ask it.
    #[error("cannot tell where to ask `{instance}` whether it works")]
    Port {
        /// Whom.
        instance: InstanceId,
        /// Why.
        source: NoPort,
    },
    /// It cannot tell that it is ready.
    #[error("cannot listen to `{instance}`")]
    Notify {
        /// Whom.
        instance: InstanceId,
        /// Why.
        source: NotifyError,
    },
    /// It cannot be held to its limits.
    #[error("cannot make the control group of `{instance}`")]
    Group {
        /// Whose.
        instance: InstanceId,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// There is nobody to make processes.
    #[error("cannot start `{instance}` without a launcher")]
    Launcher {
        /// Which.
        instance: InstanceId,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// A program that was made just now.
#[derive(Debug)]
pub(super) struct Launched {
    pub(super) process: Process,
    /// `None`: it is ready with its process, and nothing else is asked of it.
    pub(super) watch: Option<Watch>,
    /// Is it ready with its process?
    pub(super) is_ready: bool,
}

/// Makes the process of an instance, once for each launch.
pub(super) async fn launch(
    means: &Arc<Means>,
    id: &InstanceId,
    launch: LaunchId,
) -> Result<Launched, LaunchError> {
    let mut pauses = PAUSES.into_iter();
    loop {
        let (owned_means, owned_id) = (means.clone(), id.clone());
        let opened = blocking(move || open(&owned_means, &owned_id, launch)).await?;
        let Opened { program, descriptors, plan, notify, group } = opened;
        let unmade = match means.launcher.launch(launch, program, descriptors).await {
            Ok(made) => {
                let process = Process::of_launch(&means.launcher, launch, made, group);
                let is_ready = plan.is_ready_at_once();
                let watch = Watch::begin(plan, notify, means.launcher.clone(), is_ready);
                return Ok(Launched { process, watch, is_ready });
            }
            Err(unmade) => unmade,
        };
        if let Unmade::Lost(_) = unmade {
            // Nobody knows whether it was made; if it was, it is found by what it began with.
            let workspace = means.disk.root().join(layout::workspace(id));
            if let Some(process) = blocking(move || Process::find(&workspace, group)).await {
                let is_ready = plan.is_ready_at_once();
                let watch = Watch::begin(plan, notify, means.launcher.clone(), is_ready);
                return Ok(Launched { process, watch, is_ready });
            }
        }
        match pauses.next() {
            Some(pause) if unmade.is_of_the_moment() => tokio::time::sleep(pause).await,
            _ => return Err(LaunchError::of(unmade, id)),
        }
    }
}

/// Everything that a process begins with.
struct Opened {
    program: Program,
    /// In the order that [`Program`] says.
    descriptors: Vec<OwnedFd>,
    plan: Plan,
    notify: Option<Notify>,
    group: Option<Group>,
}

/// Blocking; needs a Tokio runtime.
fn open(means: &Means, id: &InstanceId, launch: LaunchId) -> Result<Opened, LaunchError> {
    let Prepared { mut program, plan, limits } = prepare(&means.disk, id, launch)?;
    let no_logs = |source| LaunchError::Logs { instance: id.clone(), source };
    let mut descriptors: Vec<OwnedFd> =
        means.logs.begin_run(id).map_err(no_logs)?.map(OwnedFd::from).into();
    let group = enter_group(means, id, &limits, &mut program, &mut descriptors)?;
    let mut notify = None;
    if plan.listens() {
        let path = means.disk.root().join(layout::notify(means.boot.as_str(), id));
        let of_notify = |source| LaunchError::Notify { instance: id.clone(), source };
        let (ours, kept) = Notify::new(&path).map_err(of_notify)?;
        program.env.push(variable("NOTIFY_SOCKET", path));
        if let Some(every) = plan.watchdog() {
            // No WATCHDOG_PID beside it: the number is not known yet, and without it every process that is
            // given the variable is meant (sd_watchdog_enabled(3)).
            program.env.push(variable("WATCHDOG_USEC", every.as_micros().to_string()));
        }
        program.keeps = true;
        descriptors.push(kept);
        notify = Some(ours);
    }
    Ok(Opened { program, descriptors, plan, notify, group })
}

/// What limits cannot be set for is not started without them; where nothing is limited a group is of use,
/// and not needed.
fn enter_group(
    means: &Means,
    id: &InstanceId,
    limits: &cgroup::Limits,
    program: &mut Program,
    descriptors: &mut Vec<OwnedFd>,
) -> Result<Option<Group>, LaunchError> {
    let entered = || {
        let group = means.groups.make(&short_name(id), limits)?;
        let descriptors = group.descriptors()?;
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>((group, descriptors))
    };
    match entered() {
        Ok((group, entries)) => {
            program.in_group = entries.group.is_some();
            program.joins = entries.procs.len();
            descriptors.extend(entries.group.into_iter().chain(entries.procs));
            Ok(group.exists().then_some(group))
        }
        Err(source) if *limits == cgroup::Limits::default() => {
            tracing::warn!(instance = %id, error = source.as_ref(), "it is in no control group");
            Ok(None)
        }
        Err(source) => Err(LaunchError::Group { instance: id.clone(), source }),
    }
}

impl LaunchError {
    fn of(unmade: Unmade, instance: &InstanceId) -> LaunchError {
        let instance = instance.clone();
        match unmade {
            Unmade::Refused(Refused { step, errno, .. }) => {
                let source = std::io::Error::from_raw_os_error(errno);
                match step {
                    Step::Execute => LaunchError::Execute { instance, source },
                    step => LaunchError::Prepare { instance, step, source },
                }
            }
            other => LaunchError::Launcher { instance, source: Box::new(other) },
        }
    }
}

/// Before a start that failed for a moment is tried again.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(1),
    Duration::from_millis(5),
    Duration::from_millis(20),
    Duration::from_millis(100),
];
