//! From an instance on disk to everything that its process begins with.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::process::Child;

use durable::{Disk, DiskError};
use model::{InstanceId, RestartPolicy};
use wire::v1::{InvalidEnvelope, LogStream};

use super::spawn::{Start, spawn};
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
    /// The process was made, cannot be watched, and was ended again.
    #[error("cannot watch the process of `{instance}`")]
    Hold {
        /// Whose.
        instance: InstanceId,
        /// Why.
        source: std::io::Error,
    },
}

/// Makes the process of an instance. Blocking.
pub(super) fn launch(disk: &Disk, id: &InstanceId) -> Result<Child, LaunchError> {
    let start = prepare(disk, id)?;
    spawn(start).map_err(|source| LaunchError::Execute { instance: id.clone(), source })
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

fn prepare(disk: &Disk, id: &InstanceId) -> Result<Start, LaunchError> {
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
    let args = envelope.args.iter().chain(&installation.config.args);
    Ok(Start {
        program: absolute(&layout::version(&id.installation, &version).join(layout::BIN)),
        args: args.cloned().collect(),
        env,
        directory: absolute(&workspace),
        stdout: log(LogStream::Stdout)?,
        stderr: log(LogStream::Stderr)?,
    })
}

const MINIMAL_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
