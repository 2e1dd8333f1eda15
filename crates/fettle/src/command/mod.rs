//! The commands: one function for each verb, which parses names, calls the client, and prints. Owns which
//! runtime a command gets: one thread for those that only wait for answers, several for servers.

mod app;
pub(crate) mod daemon;
pub(crate) mod demo;
pub(crate) mod identity;
mod install;
mod instance;
mod logs;
pub(crate) mod node;
mod object;
mod operation;
mod plan;
pub(crate) mod server;
mod several;
mod show;
mod store;
mod why;

use std::sync::{Mutex, PoisonError};

use tokio::runtime::{Builder, Runtime};
use tracing_subscriber::EnvFilter;

use crate::args::{Arguments, Command, NodeArgs, ServerArgs};
use crate::error::{Exit, Failure};
use crate::output::Output;
use crate::places::Surroundings;
use crate::reach::Context;
use crate::{sample, service, settings};

/// Runs one command to its end.
pub(crate) fn run(arguments: Arguments, output: Output) -> Result<Exit, Failure> {
    let Arguments { global, command } = arguments;
    let context = Context::new(output, global);
    let around = Surroundings::of_this_process();
    // What a daemon logs stands in its settings, so these are read before anything can be logged.
    match &command {
        Command::Node(NodeArgs { command: None, settings, config }) => {
            let given = settings::of_node(settings::with_global(settings, context.global()));
            let loaded = settings::load(given, config.as_deref(), &around)?;
            log_to_stderr(loaded.settings.log.as_deref().unwrap_or("info"));
            return many_threads()?.block_on(node::node(&context, loaded));
        }
        Command::Server(ServerArgs { command: None, settings, config }) => {
            let given = settings::of_server(settings.clone());
            let loaded = settings::load(given, config.as_deref(), &around)?;
            log_to_stderr(loaded.settings.log.as_deref().unwrap_or("info"));
            return many_threads()?.block_on(server::server(&context, loaded));
        }
        _ => {}
    }
    // With `--json` a line on standard error is an error, and nothing else is.
    let usual = if output.is_json() { "off" } else { "warn" };
    log_to_stderr(settings::log_variable().as_deref().unwrap_or(usual));
    let runtime = Builder::new_current_thread().enable_all().build().map_err(Failure::Runtime)?;
    keep_panics();
    let work = std::panic::AssertUnwindSafe(|| runtime.block_on(dispatch(&context, &command)));
    std::panic::catch_unwind(work).unwrap_or_else(|_| Err(Failure::Panic { message: kept_panic() }))
}

fn many_threads() -> Result<Runtime, Failure> {
    Builder::new_multi_thread().enable_all().build().map_err(Failure::Runtime)
}

async fn dispatch(context: &Context, command: &Command) -> Result<Exit, Failure> {
    match command {
        Command::Server(args) => service::of_server(context, args),
        Command::Node(args) => service::of_node(context, args),
        Command::Demo(args) => demo::demo(context, args).await,
        Command::Object(command) => object::object(context, command).await,
        Command::App(command) => app::app(context, command).await,
        Command::Install(args) => install::install(context, args).await,
        Command::Uninstall(args) => install::uninstall(context, args).await,
        Command::Instance(command) => instance::instance(context, command).await,
        Command::Start(args) => instance::start(context, args).await,
        Command::Stop(args) => instance::stop(context, args).await,
        Command::Restart(args) => instance::restart(context, args).await,
        Command::Pause(args) => instance::pause(context, args).await,
        Command::Resume(args) => instance::resume(context, args).await,
        Command::Update(args) => instance::update(context, args).await,
        Command::Revert(args) => instance::revert(context, args).await,
        Command::Delete(args) => instance::delete(context, args).await,
        Command::Ps(args) => instance::ps(context, args).await,
        Command::Status(args) => instance::status(context, args).await,
        Command::Why(args) => why::why(context, args).await,
        Command::Logs(args) => logs::logs(context, args).await,
        Command::Operation(command) => operation::operation(context, command).await,
        Command::Store(command) => store::store(context, command).await,
        Command::Identity(args) => identity::identity(context, args),
        Command::Sample(args) => Ok(Exit::Sample(sample::run(args).await?)),
    }
}

fn log_to_stderr(filter: &str) {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
}

/// A panic of a client command is printed as the error of the command, not by the standard library.
fn keep_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("no reason is known");
        let place = panic.location().map(|place| format!(" at {place}")).unwrap_or_default();
        let kept = format!("{message}{place}");
        KEPT.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(kept);
    }));
}

fn kept_panic() -> String {
    let kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner).take();
    kept.unwrap_or_else(|| "no reason is known".to_owned())
}

/// The first panic: others follow from it.
static KEPT: Mutex<Option<String>> = Mutex::new(None);
