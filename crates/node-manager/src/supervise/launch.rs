//! From an instance on disk to everything that its process begins with.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use durable::{Disk, DiskError};
use launcher::{Program, Refused, Step, Word};
use model::{InstanceId, LaunchId, RestartPolicy};
use wire::serve::blocking;
use wire::v1::{InvalidEnvelope, LogStream};

use super::launcher::{Launcher, Unmade};
use super::process::Process;
use crate::inventory::{self, ReadError};
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
    /// There is nobody to make processes.
    #[error("cannot start `{instance}` without a launcher")]
    Launcher {
        /// Which.
        instance: InstanceId,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Makes the process of an instance, once for each launch.
pub(super) async fn launch(
    disk: &Disk,
    id: &InstanceId,
    launcher: &Launcher,
    launch: LaunchId,
) -> Result<Process, LaunchError> {
    let mut pauses = PAUSES.into_iter();
    loop {
        let (owned_disk, owned_id) = (disk.clone(), id.clone());
        let (program, streams) = blocking(move || prepare(&owned_disk, &owned_id, launch)).await?;
        let unmade = match launcher.launch(launch, program, streams).await {
            Ok(made) => return Ok(Process::of_launch(launcher, launch, made)),
            Err(unmade) => unmade,
        };
        if let Unmade::Lost(_) = unmade {
            // Nobody knows whether it was made; if it was, it is found by what it began with.
            let workspace = disk.root().join(layout::workspace(id));
            if let Some(found) = blocking(move || Process::find(&workspace)).await {
                return Ok(found);
            }
        }
        match pauses.next() {
            Some(pause) if unmade.is_of_the_moment() => tokio::time::sleep(pause).await,
            _ => return Err(LaunchError::of(unmade, id)),
        }
    }
}

/// What the envelope of the instance's version says about restarts.
pub(super) fn restart_policy(disk: &Disk, id: &InstanceId) -> Result<RestartPolicy, LaunchError> {
    let version = inventory::instance_version(disk, id)?;
    let envelope = inventory::envelope(disk, &id.installation, &version)?.0;
    let envelope = envelope
        .to_model()
        .map_err(|source| LaunchError::Envelope { instance: id.clone(), source })?;
    Ok(envelope.restart)
}

fn prepare(
    disk: &Disk,
    id: &InstanceId,
    launch: LaunchId,
) -> Result<(Program, Vec<OwnedFd>), LaunchError> {
    let installation = inventory::installation(disk, &id.installation)?;
    let version = inventory::instance_version(disk, id)?;
    let envelope = inventory::envelope(disk, &id.installation, &version)?.0;
    let envelope = envelope
        .to_model()
        .map_err(|source| LaunchError::Envelope { instance: id.clone(), source })?;
    let absolute = |path: &Path| disk.root().join(path);
    let path = |path: &Path| absolute(path).into_os_string();
    let workspace = layout::workspace(id);
    let mut env = BTreeMap::from([
        ("PATH".to_owned(), OsString::from(MINIMAL_PATH)),
        ("HOME".to_owned(), path(&workspace)),
    ]);
    // The envelope speaks after the node's defaults, the installation's overrides after the envelope, and
    // the node's own variables last: no envelope can name them.
    let stated = envelope.env.iter().chain(&installation.config.env);
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
    let log = |stream| {
        disk.append_file(&layout::log(id, stream), 0o600)
            .map_err(|source| LaunchError::Logs { instance: id.clone(), source })
    };
    let streams = vec![log(LogStream::Stdout)?.into(), log(LogStream::Stderr)?.into()];
    let word = |(name, value): (String, OsString)| {
        let mut word = OsString::from(name);
        word.push("=");
        word.push(value);
        Word(word)
    };
    let program = Program {
        launch: launch.to_string(),
        program: absolute(&layout::version(&id.installation, &version).join(layout::BIN)).into(),
        args: envelope.args.iter().chain(&installation.config.args).map(Word::from).collect(),
        env: env.into_iter().map(word).collect(),
        directory: absolute(&workspace).into(),
        limits: Vec::new(),
        oom_score: None,
        in_group: false,
        joins: 0,
        keeps: false,
    };
    Ok((program, streams))
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

const MINIMAL_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Before a start that failed for a moment is tried again.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(1),
    Duration::from_millis(5),
    Duration::from_millis(20),
    Duration::from_millis(100),
];
