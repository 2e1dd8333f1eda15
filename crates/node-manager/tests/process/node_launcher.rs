//! A launcher for the tests of this crate, and what their programs need that no shell has: `notify TEXT`
//! speaks through `NOTIFY_SOCKET`, `answer PORT FILE` answers HTTP with the status that is in the file.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let words: Vec<String> =
        arguments.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["notify", text] => notify(text),
        ["answer", port, file] => answer(port, file),
        _ => return launcher::run(&arguments),
    }
    .map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
}

fn notify(text: &str) -> std::io::Result<()> {
    let socket = std::env::var_os("NOTIFY_SOCKET").ok_or(std::io::ErrorKind::NotFound)?;
    UnixDatagram::unbound()?.send_to(text.replace("\\n", "\n").as_bytes(), socket).map(drop)
}

fn answer(port: &str, file: &str) -> std::io::Result<()> {
    let listener = TcpListener::bind(format!("127.0.0.1:{port}"))?;
    let mut silent = Vec::new();
    loop {
        let (mut stream, _) = listener.accept()?;
        let status = std::fs::read_to_string(file).unwrap_or_default();
        if status.trim() == "silence" {
            silent.push(stream); // open, and never answered
            continue;
        }
        let mut request = [0; 1024];
        let _ = stream.read(&mut request)?;
        let _ = write!(stream, "HTTP/1.1 {} Word\r\nContent-Length: 0\r\n\r\n", status.trim());
    }
}
