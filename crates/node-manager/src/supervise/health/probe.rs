//! Asking a program whether it works: over HTTP, by a connection, by a command. Owns one question; when it
//! is asked and what follows from the answer is `mod`'s.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::time::Duration;

use launcher::Program;
use model::policy::{Port, Probe};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::command::{Runner, command};

/// A question with everything that it takes to ask it.
#[derive(Debug)]
pub(crate) enum Question {
    /// `GET` of a path.
    Http { port: NonZeroU16, path: String },
    /// A connection.
    Tcp { port: NonZeroU16 },
    /// A command, as a program of the instance.
    Command { words: String, program: Box<Program> },
}

/// Why a question cannot be asked.
#[derive(Debug, thiserror::Error)]
#[error("the port is to be found in the variable `{variable}`, which {}", .found.as_ref().map_or("the program does not have".to_owned(), |text| format!("is `{}`", text.escape_debug())))]
pub(crate) struct NoPort {
    /// The variable.
    variable: String,
    /// What it is instead.
    found: Option<String>,
}

impl Question {
    /// From the envelope's words and the environment of the program. `like` is the program: a command has
    /// the same environment, workspace and limits.
    pub(crate) fn new(
        probe: &Probe,
        env: &BTreeMap<String, std::ffi::OsString>,
        like: &Program,
    ) -> Result<Question, NoPort> {
        Ok(match probe {
            Probe::Http(http) => Question::Http {
                port: number(&http.port, env)?,
                path: http.path.as_str().to_owned(),
            },
            Probe::Tcp(port) => Question::Tcp { port: number(port, env)? },
            Probe::Command(argv) => Question::Command {
                words: argv.words().join(" "),
                program: Box::new(command(argv, like)),
            },
        })
    }

    /// Asks. `Ok`: yes; else what the answer was instead.
    pub(super) async fn ask(&self, runner: &Runner, timeout: Duration) -> Result<(), String> {
        let asked = async {
            match self {
                Question::Http { port, path } => http(*port, path).await,
                Question::Tcp { port } => connect(*port).await.map(drop),
                Question::Command { program, .. } => runner.run(program, timeout).await,
            }
        };
        match tokio::time::timeout(timeout, asked).await {
            Ok(answer) => answer.map_err(|answer| format!("{self} {answer}")),
            Err(_) => Err(format!("{self} gave no answer within {timeout:?}")),
        }
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Question::Http { port, path } => write!(f, "`GET http://127.0.0.1:{port}{path}`"),
            Question::Tcp { port } => write!(f, "a connection to port {port}"),
            Question::Command { words, .. } => write!(f, "`{words}`"),
        }
    }
}

fn number(port: &Port, env: &BTreeMap<String, std::ffi::OsString>) -> Result<NonZeroU16, NoPort> {
    match port {
        Port::Number(number) => Ok(*number),
        Port::Variable(variable) => {
            let found = env.get(variable.as_str()).map(|text| text.to_string_lossy().into_owned());
            let number = found.as_ref().and_then(|text| text.parse().ok());
            number.ok_or_else(|| NoPort { variable: variable.to_string(), found })
        }
    }
}

async fn connect(port: NonZeroU16) -> Result<TcpStream, String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port.get()));
    TcpStream::connect(address).await.map_err(|error| format!("failed: {error}"))
}

/// One request and the first line of its answer (RFC 9112): no more is needed, and no more is read of a
/// program that says whatever it likes.
async fn http(port: NonZeroU16, path: &str) -> Result<(), String> {
    let mut stream = connect(port).await?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUser-Agent: fettle\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    let failed = |error: std::io::Error| format!("failed: {error}");
    stream.write_all(request.as_bytes()).await.map_err(failed)?;
    let mut line = Vec::new();
    while !line.contains(&b'\n') && line.len() < LONGEST_LINE {
        let mut piece = [0; 256];
        match stream.read(&mut piece).await.map_err(failed)? {
            0 => break,
            count => line.extend_from_slice(&piece[..count]),
        }
    }
    match status_of(&line) {
        Some(200..=399) => Ok(()),
        Some(status) => Err(format!("answered {status}")),
        None => Err("answered no HTTP".to_owned()),
    }
}

/// The status of `HTTP/1.x NNN …`.
fn status_of(answer: &[u8]) -> Option<u16> {
    let line = answer.split(|byte| *byte == b'\n').next()?;
    let rest = line.strip_prefix(b"HTTP/1.")?.get(1..)?.strip_prefix(b" ")?;
    let digits = rest.get(..3)?;
    let whole = rest.get(3).is_none_or(|byte| matches!(byte, b' ' | b'\r'));
    std::str::from_utf8(digits).ok()?.parse().ok().filter(|_| whole)
}

/// Bytes of a status line that are read.
const LONGEST_LINE: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_status_line_is_an_answer() {
        for (answer, status) in [
            ("HTTP/1.1 200 OK\r\n", Some(200)),
            ("HTTP/1.0 503\r\n\r\n", Some(503)),
            ("HTTP/1.1 301 Moved", Some(301)),
            ("HTTP/1.1 20", None),
            ("HTTP/1.1 2000 OK\r\n", None),
            ("HTTP/2 200\r\n", None),
            ("SSH-2.0-OpenSSH_9.2\r\n", None),
            ("", None),
        ] {
            assert_eq!(status_of(answer.as_bytes()), status, "{answer}");
        }
    }
}
