//! `fettle node install-service` and `fettle server install-service`: a systemd unit and a commented file of settings,
//! and the next command. Owns what is written in which order; what a unit says is in [`mod@unit`], what is to be done
//! with one that is there already in [`plan`], where the program lies in [`program`].
//!
//! Repeating it is harmless: a file that is as it should be is left alone, settings are never overwritten, and a
//! unit that was edited is refused. A crash leaves whole files; the settings come first, since the unit names them.

mod difference;
mod plan;
mod program;
mod unit;

use std::io;
use std::path::{Path, PathBuf};

use durable::{DiskError, Guest};
use serde::Serialize;

use self::plan::Plan;
use self::program::NoProgram;
use self::unit::{Daemon, Scope, Unit};
use crate::args::{InstallServiceArgs, NodeArgs, ServerArgs, ServiceCommand};
use crate::error::{Exit, Failure};
use crate::output::{Output, Unwritten};
use crate::places::{NoPlace, Surroundings};
use crate::reach::{self, Context, ReachError};
use crate::settings::{self, NodeSettings, ServerSettings, Settings, SettingsError, template};

/// Why there is no service.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServiceError {
    /// There is no directory to fall back on.
    #[error(transparent)]
    Place(#[from] NoPlace),
    /// Nobody knows which program the unit should start.
    #[error(transparent)]
    Program(#[from] NoProgram),
    /// The repositories that are named are none.
    #[error(transparent)]
    Reach(#[from] ReachError),
    /// Only root writes services of the machine.
    #[error("a service of the machine is written by root")]
    NotRoot,
    /// A unit has to be text.
    #[error("the path is not UTF-8, or has a line feed in it: {}", .path.display())]
    Path {
        /// The path.
        path: PathBuf,
    },
    /// The settings that are there cannot be used.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The settings that are there say otherwise, and are never overwritten.
    #[error("{} is there already and says otherwise for: {}", .path.display(), .keys.join(", "))]
    Differs {
        /// The file.
        path: PathBuf,
        /// Where it differs.
        keys: Vec<&'static str>,
    },
    /// The unit that is there cannot be read.
    #[error("cannot read {}", .path.display())]
    Read {
        /// The unit.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Somebody edited the unit that is there.
    #[error("{} was edited by hand", .path.display())]
    Edited {
        /// The unit.
        path: PathBuf,
        /// From what is there to what would be written.
        difference: String,
    },
    /// It cannot be written.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Nobody can be told.
    #[error(transparent)]
    Unwritten(#[from] Unwritten),
}

/// `fettle node install-service`
pub(crate) fn of_node(context: &Context, args: &NodeArgs) -> Result<Exit, Failure> {
    let Some(ServiceCommand::InstallService(install)) = &args.command else {
        return Ok(Exit::Done); // `fettle node` itself is run elsewhere
    };
    let around = Surroundings::of_this_process();
    let given = settings::with_global(&args.settings, context.global());
    let config = args.config.as_deref();
    Ok(node(context.output, install, given, config, &around)?)
}

/// `fettle server install-service`
pub(crate) fn of_server(context: &Context, args: &ServerArgs) -> Result<Exit, Failure> {
    let Some(ServiceCommand::InstallService(install)) = &args.command else {
        return Ok(Exit::Done); // `fettle server` itself is run elsewhere
    };
    let around = Surroundings::of_this_process();
    let config = args.config.as_deref();
    Ok(server(context.output, install, args.settings.clone(), config, &around)?)
}

fn node(
    output: Output,
    args: &InstallServiceArgs,
    mut given: NodeSettings,
    config: Option<&Path>,
    around: &Surroundings,
) -> Result<Exit, ServiceError> {
    given.root = given.root.as_deref().map(absolute);
    if let Some(name) = &given.server {
        // An alias is known to this account; the service may not know it.
        given.server = Some(reach::server_named(Some(name))?.to_string());
    }
    // The default depends on variables that the service may not have.
    let root = given.root.clone().map_or_else(|| around.node_root(), Ok)?;
    let fresh = template::node(&NodeSettings { root: Some(text(root)?), ..given.clone() });
    install(output, args, &Wanted { daemon: Daemon::Node, given, fresh, config, around })
}

fn server(
    output: Output,
    args: &InstallServiceArgs,
    mut given: ServerSettings,
    config: Option<&Path>,
    around: &Surroundings,
) -> Result<Exit, ServiceError> {
    given.data = given.data.as_deref().map(absolute);
    let data = given.data.clone().map_or_else(|| around.server_data(), Ok)?;
    let fresh = template::server(&ServerSettings { data: Some(text(data)?), ..given.clone() });
    install(output, args, &Wanted { daemon: Daemon::Server, given, fresh, config, around })
}

/// What is to be there in the end.
struct Wanted<'a, S> {
    daemon: Daemon,
    given: S,
    fresh: String,
    config: Option<&'a Path>,
    around: &'a Surroundings,
}

/// What was done, for people and programs.
#[derive(Debug, Serialize)]
struct Report {
    unit: PathBuf,
    unit_is: Plan,
    settings: PathBuf,
    settings_are: Plan,
    next: Vec<String>,
}

fn install<S: Settings + Clone + PartialEq>(
    output: Output,
    args: &InstallServiceArgs,
    wanted: &Wanted<'_, S>,
) -> Result<Exit, ServiceError> {
    let scope = if args.user { Scope::User } else { Scope::System };
    let config = match wanted.config {
        Some(path) => absolute(path),
        None => settings::file_of_account::<S>(wanted.around)?,
    };
    let unit = Unit {
        daemon: wanted.daemon,
        scope,
        program: text(program::of_this_process()?)?,
        config: text(config.clone())?,
    };
    let path = match scope {
        Scope::System => PathBuf::from("/etc/systemd/system"),
        Scope::User => wanted.around.user_units()?,
    };
    let path = path.join(wanted.daemon.unit_name());
    let sealed = plan::seal(&unit.to_string());
    if args.print {
        let value = serde_json::json!({ "unit": path, "text": sealed });
        // The last line feed comes with the value.
        output.value(&value, |_| sealed.trim_end().to_owned())?;
        return Ok(Exit::Done);
    }
    if scope == Scope::System && !wanted.around.is_root() {
        return Err(ServiceError::NotRoot);
    }
    let settings_are = keep_or_write(&config, wanted)?;
    let unit_is = put_unit(&path, &sealed, args.force)?;
    let next = unit::next(wanted.daemon, scope, unit_is);
    let report = Report { unit: path, unit_is, settings: config, settings_are, next };
    output.value(&report, told)?;
    if !Path::new("/run/systemd/system").exists() {
        output.say("systemd does not run here: the files are for where it does");
    }
    if scope == Scope::User {
        output.say("`loginctl enable-linger` keeps it running while this account is not logged in");
    }
    Ok(Exit::Done)
}

/// The settings that are there stay as they are, and must not say otherwise than the flags.
fn keep_or_write<S: Settings + Clone + PartialEq>(
    config: &Path,
    wanted: &Wanted<'_, S>,
) -> Result<Plan, ServiceError> {
    if !config.exists() {
        let (guest, name) = directory_of(config)?;
        if guest.create_new(&name, wanted.fresh.as_bytes(), 0o644)? {
            return Ok(Plan::Write);
        }
    }
    let there = settings::load(S::default(), Some(config), wanted.around)?.settings;
    let together = wanted.given.clone().over(there.clone()).keys();
    let differing = together.into_iter().zip(there.keys()).filter(|(a, b)| a != b);
    let keys: Vec<&'static str> = differing.map(|((key, _), _)| key).collect();
    match keys.is_empty() {
        true => Ok(Plan::Keep),
        false => Err(ServiceError::Differs { path: config.to_owned(), keys }),
    }
}

fn put_unit(path: &Path, sealed: &str, force: bool) -> Result<Plan, ServiceError> {
    let there = match std::fs::read(path) {
        Ok(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(source) => return Err(ServiceError::Read { path: path.to_owned(), source }),
    };
    let Some(plan) = plan::plan(there.as_deref(), sealed, force) else {
        let difference = difference::lines(there.as_deref().unwrap_or_default(), sealed);
        return Err(ServiceError::Edited { path: path.to_owned(), difference });
    };
    if plan != Plan::Keep {
        let (guest, name) = directory_of(path)?;
        guest.replace(&name, sealed.as_bytes(), 0o644)?;
    }
    Ok(plan)
}

/// The directory of a file, made if it is missing, and the file's name.
fn directory_of(path: &Path) -> Result<(Guest, PathBuf), ServiceError> {
    let dir = path.parent().unwrap_or(Path::new("/"));
    let there = dir.ancestors().find(|above| above.is_dir()).unwrap_or(Path::new("/"));
    if let Ok(missing) = dir.strip_prefix(there)
        && !missing.as_os_str().is_empty()
    {
        Guest::enter(there)?.make_dir(missing, 0o755)?;
    }
    let name = path.file_name().map_or_else(PathBuf::new, PathBuf::from);
    Ok((Guest::enter(dir)?, name))
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn text(path: PathBuf) -> Result<PathBuf, ServiceError> {
    let fits = path.to_str().is_some_and(|text| !text.contains(char::is_control));
    if fits { Ok(path) } else { Err(ServiceError::Path { path }) }
}

fn told(report: &Report) -> String {
    let line = |plan: Plan, path: &Path| match plan {
        Plan::Write => format!("written   {}", path.display()),
        Plan::Replace => format!("replaced  {}", path.display()),
        Plan::Keep => format!("as it was {}", path.display()),
    };
    let Report { unit, unit_is, settings, settings_are, next } = report;
    let next = next.join(" && ");
    format!("{}\n{}\nnext      {next}", line(*settings_are, settings), line(*unit_is, unit))
}
