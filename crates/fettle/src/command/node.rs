//! `fettle node`: the node manager of this machine, for the account that runs it.

use std::path::PathBuf;

use model::ByteSize;
use model::policy::LogPolicy;
use node_manager::{Config, Node, OpenError, machine_profiles};

use super::daemon::{self, Ending, ListenError};
use crate::error::{Exit, Failure};
use crate::places::{NoPlace, Surroundings, node_socket};
use crate::reach::{self, Context, ReachError};
use crate::settings::{Loaded, NodeSettings};
use crate::{launching, unpacking};

/// Why the node does not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NodeError {
    /// There is no directory to fall back on.
    #[error(transparent)]
    Place(#[from] NoPlace),
    /// Nobody knows which repositories are meant.
    #[error(transparent)]
    Reach(#[from] ReachError),
    /// Its tree cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It cannot listen.
    #[error(transparent)]
    Listen(#[from] ListenError),
}

/// `fettle node`
pub(crate) async fn node(context: &Context, loaded: Loaded<NodeSettings>) -> Result<Exit, Failure> {
    Ok(run(context, loaded).await.map(|()| Exit::Done)?)
}

async fn run(context: &Context, loaded: Loaded<NodeSettings>) -> Result<(), NodeError> {
    let ending = Ending::new()?;
    let Loaded { settings, file } = loaded;
    let root = match &settings.root {
        Some(root) => root.clone(),
        None => Surroundings::of_this_process().node_root()?,
    };
    let root: PathBuf = std::path::absolute(&root).unwrap_or(root);
    let own_socket = || format!("unix:{}", node_socket(&root).display());
    let address = daemon::address(&settings.listen.clone().unwrap_or_else(own_socket))?;
    let config = Config {
        root,
        server: Some(reach::server_named(settings.server.as_deref())?),
        profiles: machine_profiles(),
        loopback_may_write: settings.allow_loopback.unwrap_or(false),
        launcher: launching::starter(launcher::raise_limit_of_files()),
        unpacker: unpacking::isolation(),
        unmeasured: settings.unmeasured.limits(),
        reserve: settings.reserve.map(ByteSize::bytes),
        file,
        log_budget: settings.log_budget.unwrap_or(LogPolicy::USUAL_BUDGET).bytes(),
    };
    let node = Node::open(config).await?;
    let listener = daemon::bind(&address).await?;
    daemon::run(context.output, listener, node.service(), ending).await?;
    Ok(())
}
