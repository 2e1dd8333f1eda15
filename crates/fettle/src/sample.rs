//! The program of the demo's sample application: a weather station that knows its packages. It says where
//! it runs, what lies in `packages/`, then a line from time to time, and ends with 0 on SIGTERM.
//! Its switches make it misbehave on purpose, for tests of those who watch over it.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, interval, sleep_until};

use crate::args::SampleArgs;
use crate::output::{Output, Unwritten};

/// Why the sample ended by itself.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SampleError {
    /// What it has to say cannot be written.
    #[error(transparent)]
    Output(#[from] Unwritten),
    /// A package cannot be read, or no child be started.
    #[error("the sample cannot {step}")]
    System {
        /// What it was about to do.
        step: &'static str,
        /// Why not.
        source: io::Error,
    },
}

/// Runs until SIGTERM, or until it was told to exit. Answers the exit code.
pub(crate) async fn run(args: &SampleArgs) -> Result<u8, SampleError> {
    // Listening comes first: whoever has read a line may send a signal.
    let mut terminate = signal(SignalKind::terminate()).map_err(failed("listen to signals"))?;
    let output = Output::new(false);
    let began = Instant::now();
    introduce(output, args)?;
    let _child = match args.spawn_child {
        true => Some(start_child(output)?),
        false => None,
    };
    let forecasts = lines_of(Path::new(FORECASTS)).unwrap_or_default();
    let mut ticks = interval(args.interval.as_duration().max(FASTEST));
    let mut count = 0_usize;
    loop {
        tokio::select! {
            biased;
            () = sleep_until(began + args.after.as_duration()), if args.exit.is_some() => {
                output.tell("the sample gives up, as it was told to");
                return Ok(args.exit.unwrap_or_default());
            }
            _ = terminate.recv() => {
                if !args.ignore_term {
                    output.data("told to end, and ends\n")?;
                    return Ok(0);
                }
                output.data("told to end, and goes on\n")?;
            }
            _ = ticks.tick() => {
                let forecast = forecasts.get(count % forecasts.len().max(1));
                let forecast = forecast.map_or("no model, no forecast", String::as_str);
                count += 1;
                output.data(&format!("forecast {count}: {forecast}\n"))?;
            }
        }
    }
}

fn introduce(output: Output, args: &SampleArgs) -> Result<(), SampleError> {
    let known = |name: &str| std::env::var(name).unwrap_or_else(|_| "?".to_owned());
    let (title, version) = (known("FETTLE_TITLE"), known("FETTLE_VERSION"));
    output.data(&format!("{title} {version} starts as {}\n", known("FETTLE_INSTANCE")))?;
    for package in sorted(Path::new("packages")).map_err(failed("list its packages"))? {
        let mut files = Vec::new();
        collect_files(&package, &mut files).map_err(failed("list a package"))?;
        let text = files.iter().find(|file| file.extension().is_some_and(|end| end == "txt"));
        let Some(first) = text.or(files.first()) else { continue };
        let begins = lines_of(first).map_err(failed("read a package"))?;
        let begins = begins.first().map_or("", String::as_str);
        output.data(&format!(
            "{}: {}; {} begins `{begins}`\n",
            package.display(),
            model::counted(files.len() as u64, "file"),
            first.display()
        ))?;
    }
    if args.print_env {
        for (name, value) in std::env::vars_os() {
            output.data(&format!("{}={}\n", name.display(), value.display()))?;
        }
    }
    Ok(())
}

/// A child that would outlive its parent if nobody ended it too.
fn start_child(output: Output) -> Result<Child, SampleError> {
    let program = std::env::current_exe().map_err(failed("find itself"))?;
    let mut command = Command::new(program);
    command.args(["__sample", "--interval", "1h", "--ignore-term"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    #[expect(
        clippy::disallowed_methods,
        reason = "the sample is no part of the product: it stands for a program that starts others"
    )]
    let child = command.spawn().map_err(failed("start a child"))?;
    output.data(&format!("child {}\n", child.id()))?;
    Ok(child)
}

/// What lies in a directory, in order; an absent one holds nothing.
fn sorted(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

/// The regular files below `path`, which may itself be one, in order. Links inside are not followed.
fn collect_files(path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if !fs::metadata(path)?.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in sorted(path)? {
        let facts = fs::symlink_metadata(&entry)?;
        if facts.is_dir() {
            collect_files(&entry, files)?;
        } else if facts.is_file() {
            files.push(entry);
        }
    }
    Ok(())
}

fn lines_of(path: &Path) -> io::Result<Vec<String>> {
    let file = fs::File::open(path)?.take(READ_LIMIT);
    let lines = BufReader::new(file).split(b'\n');
    lines.map(|line| Ok(String::from_utf8_lossy(&line?).into_owned())).collect()
}

fn failed(step: &'static str) -> impl Fn(io::Error) -> SampleError {
    move |source| SampleError::System { step, source }
}

const FORECASTS: &str = "packages/model/forecasts.txt";
const FASTEST: std::time::Duration = std::time::Duration::from_millis(1);
const READ_LIMIT: u64 = 64 * 1024;
