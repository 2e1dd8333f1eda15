//! Making the process of an instance: opens what it begins with, asks the launcher, begins to watch it.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use cgroup::{Descriptors, Group};
use durable::DiskError;
use launcher::{Program, Refused, Step};
use model::{InstanceId, LaunchId};
use rustix::io::Errno;
use wire::serve::{blocking, brief};
use wire::v1::InvalidEnvelope;

use super::handle::Refusal;
use super::health::{NoPort, Notify, NotifyError, Plan, Watch};
use super::launcher::Unmade;
use super::means::{Means, short_name};
use super::prepare::{Prepared, prepare, variable};
use super::process::{LAUNCH, Process};
use crate::inventory::ReadError;
use crate::layout::{self, VersionName};
use crate::logs::Run;
use crate::record::ObservedRecord;

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

impl LaunchError {
    /// Would the same version fail in the same way on any node? Where the disk, the kernel or the launcher is
    /// to blame, nothing is said against it.
    pub(super) fn is_of_the_version(&self) -> bool {
        match self {
            LaunchError::Envelope { .. } | LaunchError::Port { .. } => true,
            // execve(2), without what only says that the machine has no more to give.
            LaunchError::Execute { source, .. } => {
                let errno = source.raw_os_error().map(Errno::from_raw_os_error);
                !errno.is_some_and(|errno| OF_THE_MACHINE.contains(&errno))
            }
            LaunchError::Read(_)
            | LaunchError::Logs { .. }
            | LaunchError::Prepare { .. }
            | LaunchError::Notify { .. }
            | LaunchError::Group { .. }
            | LaunchError::Launcher { .. } => false,
        }
    }
}

/// A program that was made just now.
#[derive(Debug)]
pub(super) struct Launched {
    pub(super) process: Process,
    /// `None`: it is ready with its process, and nothing else is asked of it.
    pub(super) watch: Option<Watch>,
    /// Is it ready with its process?
    pub(super) is_ready: bool,
    /// The address of the first byte that it prints on standard error.
    pub(super) stderr_from: u64,
}

/// Makes the process of an instance that is on this version, once for each launch. The launch is recorded
/// first, as `observed`.
pub(super) async fn launch(
    means: &Arc<Means>,
    (id, version): (&InstanceId, &VersionName),
    launch: LaunchId,
    observed: ObservedRecord,
) -> Result<Launched, Refusal> {
    let refuse = |source| Refusal::Launch { instance: id.clone(), source };
    let mut observed = Some(observed);
    let mut pauses = PAUSES.into_iter();
    loop {
        let (owned, on) = (means.clone(), (id.clone(), version.clone()));
        let unrecorded = observed.take();
        // All in one go: a thread for each step would cost more than the steps.
        let asked = brief(move || {
            let (id, version) = (&on.0, &on.1);
            if let Some(observed) = unrecorded {
                owned.observe(id, &observed)?;
            }
            let refuse = |source| Refusal::Launch { instance: id.clone(), source };
            let opened = open(&owned, (id, version), launch).map_err(refuse)?;
            let Opened { program, descriptors, plan, notify, group, stderr_from } = opened;
            let asked = owned.launcher.ask(launch, program, &descriptors);
            Ok::<_, Refusal>((asked, plan, notify, group, stderr_from))
        });
        let (asked, plan, notify, group, stderr_from) = asked.await?;
        let made = match asked {
            Ok(asked) => asked.made().await,
            Err(error) => Err(Unmade::Reach(error)),
        };
        let unmade = match made {
            Ok(made) => {
                let process = Process::of_launch(&means.launcher, launch, made, group);
                let is_ready = plan.is_ready_at_once();
                let watch = Watch::begin(plan, notify, process.runner(&means.launcher), is_ready);
                return Ok(Launched { process, watch, is_ready, stderr_from });
            }
            Err(unmade) => unmade,
        };
        if let Unmade::Lost(_) = unmade {
            // Nobody knows whether it was made; if it was, it is found by what it began with.
            let workspace = means.disk.root().join(layout::workspace(id));
            if let Some(process) = blocking(move || Process::find(&workspace, launch, group)).await
            {
                let is_ready = plan.is_ready_at_once();
                let watch = Watch::begin(plan, notify, process.runner(&means.launcher), is_ready);
                return Ok(Launched { process, watch, is_ready, stderr_from });
            }
        }
        match pauses.next() {
            Some(pause) if unmade.is_of_the_moment() => tokio::time::sleep(pause).await,
            _ => return Err(refuse(LaunchError::of(unmade, id))),
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
    stderr_from: u64,
}

/// Blocking; needs a Tokio runtime.
fn open(
    means: &Means,
    (id, version): (&InstanceId, &VersionName),
    launch: LaunchId,
) -> Result<Opened, LaunchError> {
    let Prepared { mut program, plan, limits } = prepare(means, (id, version), launch)?;
    let no_logs = |source| LaunchError::Logs { instance: id.clone(), source };
    let Run { files, stderr_from } = means.logs.begin_run(id).map_err(no_logs)?;
    let mut descriptors: Vec<OwnedFd> = files.map(OwnedFd::from).into();
    program.env.push(variable(LAUNCH, launch.to_string()));
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
    Ok(Opened { program, descriptors, plan, notify, group, stderr_from })
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
            enter(entries, program, descriptors);
            Ok(group.exists().then_some(group))
        }
        Err(source) if *limits == cgroup::Limits::default() => {
            tracing::warn!(instance = %id, error = source.as_ref(), "it is in no control group");
            Ok(None)
        }
        Err(source) => Err(LaunchError::Group { instance: id.clone(), source }),
    }
}

/// Makes a program begin in a control group.
pub(super) fn enter(entries: Descriptors, program: &mut Program, descriptors: &mut Vec<OwnedFd>) {
    program.in_group = entries.group.is_some();
    program.joins = entries.procs.len();
    descriptors.extend(entries.group.into_iter().chain(entries.procs));
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

/// Why a program cannot be executed that is a good one.
const OF_THE_MACHINE: [Errno; 7] =
    [Errno::NOMEM, Errno::AGAIN, Errno::IO, Errno::MFILE, Errno::NFILE, Errno::TXTBSY, Errno::INTR];
/// Before a start that failed for a moment is tried again.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(1),
    Duration::from_millis(5),
    Duration::from_millis(20),
    Duration::from_millis(100),
];
