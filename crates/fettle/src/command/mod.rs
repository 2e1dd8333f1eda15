//! The commands: one function for each verb, which parses names, calls the client, and prints. Owns which
//! runtime a command gets: one thread for those that only wait for answers, several for servers.

mod app;
pub(crate) mod daemon;
pub(crate) mod demo;
mod install;
mod instance;
mod logs;
pub(crate) mod node;
mod object;
mod operation;
pub(crate) mod server;
mod several;
mod show;
mod store;

use std::sync::{Mutex, PoisonError};

use tokio::runtime::Builder;
use tracing_subscriber::EnvFilter;

use crate::args::{Arguments, Command};
use crate::error::{Exit, Failure};
use crate::output::Output;
use crate::reach::Context;
use crate::sample;

/// Runs one command to its end.
pub(crate) fn run(arguments: Arguments, output: Output) -> Result<Exit, Failure> {
    let Arguments { global, command } = arguments;
    let serves = matches!(command, Command::Server(_) | Command::Node(_));
    log_to_stderr(if serves { Level::Info } else { Level::of_client(output) });
    let context = Context::new(output, global);
    let mut builder =
        if serves { Builder::new_multi_thread() } else { Builder::new_current_thread() };
    let runtime = builder.enable_all().build().map_err(Failure::Runtime)?;
    if serves {
        return runtime.block_on(dispatch(&context, &command));
    }
    keep_panics();
    let work = std::panic::AssertUnwindSafe(|| runtime.block_on(dispatch(&context, &command)));
    std::panic::catch_unwind(work).unwrap_or_else(|_| Err(Failure::Panic { message: kept_panic() }))
}

async fn dispatch(context: &Context, command: &Command) -> Result<Exit, Failure> {
    match command {
        Command::Server(args) => server::server(context, args).await,
        Command::Node(args) => node::node(context, args).await,
        Command::Demo(args) => demo::demo(context, args).await,
        Command::Object(command) => object::object(context, command).await,
        Command::App(command) => app::app(context, command).await,
        Command::Install(args) => install::install(context, args).await,
        Command::Uninstall(args) => install::uninstall(context, args).await,
        Command::Instance(command) => instance::instance(context, command).await,
        Command::Start(args) => instance::start(context, args).await,
        Command::Stop(args) => instance::stop(context, args).await,
        Command::Restart(args) => instance::restart(context, args).await,
        Command::Update(args) => instance::update(context, args).await,
        Command::Revert(args) => instance::revert(context, args).await,
        Command::Delete(args) => instance::delete(context, args).await,
        Command::Ps(args) => instance::ps(context, args).await,
        Command::Status(args) => instance::status(context, args).await,
        Command::Logs(args) => logs::logs(context, args).await,
        Command::Operation(command) => operation::operation(context, command).await,
        Command::Store(command) => store::store(context, command).await,
        Command::Sample(args) => Ok(Exit::Sample(sample::run(args).await?)),
    }
}

/// How much is logged unless FETTLE_LOG says otherwise.
#[derive(Clone, Copy)]
enum Level {
    Info,
    Warn,
    Nothing,
}

impl Level {
    /// With `--json` a line on standard error is an error, and nothing else is.
    fn of_client(output: Output) -> Level {
        if output.is_json() { Level::Nothing } else { Level::Warn }
    }
}

fn log_to_stderr(level: Level) {
    let default = match level {
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Nothing => "off",
    };
    let filter = std::env::var("FETTLE_LOG").ok().filter(|filter| !filter.is_empty());
    let filter = EnvFilter::new(filter.as_deref().unwrap_or(default));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
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
