//! The processes of the tests: one that unpacks, one that tries what it may not, and one that is killed
//! while it has an archive unpacked.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a part of the tests"
)]

use std::fs::{File, OpenOptions, read_dir};
use std::io::Read;
use std::net::{TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, ExitCode};

use archive::{Container, Encoding, Limits};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};
use unpacker::{How, Isolation, Source, Unpacker};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    act(&arguments)
}

fn act(arguments: &[&str]) -> ExitCode {
    match arguments[..] {
        // As on a kernel that filters no system calls.
        ["unfiltered", ref then @ ..] => {
            refuse_filters();
            act(then)
        }
        ["unpack", job] => unpacker::run_child(job),
        ["try", outside, address, landlock] => {
            try_all(Path::new(outside), address, landlock == "yes")
        }
        ["hold", tree] => hold(Path::new(tree)),
        _ => ExitCode::FAILURE,
    }
}

/// From here on the kernel answers as one that was built without filters of system calls.
fn refuse_filters() {
    let is_filter = SeccompCondition::new(
        0,
        SeccompCmpArgLen::Dword,
        SeccompCmpOp::Eq,
        u64::from(libc::PR_SET_SECCOMP.unsigned_abs()),
    );
    let set_filter = SeccompRule::new(vec![is_filter.unwrap()]).unwrap();
    let refused = [(libc::SYS_seccomp, vec![]), (libc::SYS_prctl, vec![set_filter])];
    let filter = SeccompFilter::new(
        refused.into(),
        SeccompAction::Allow,
        SeccompAction::Errno(libc::EINVAL.unsigned_abs()),
        std::env::consts::ARCH.try_into().unwrap(),
    );
    let program: BpfProgram = filter.unwrap().try_into().unwrap();
    seccompiler::apply_filter(&program).unwrap();
}

/// Says what it can still do in the sandbox, in its working directory and outside of it.
fn try_all(outside: &Path, address: &str, landlock: bool) -> ExitCode {
    let sandbox = unpacker::sandbox::enter(Path::new("."), &Limits::default(), landlock).unwrap();
    let secret = outside.join("secret");
    let attempts: [(&str, bool); 13] = [
        ("make a file inside", File::create("inside").is_ok()),
        (
            "link inside",
            std::fs::create_dir("d").and_then(|()| std::fs::hard_link("inside", "d/l")).is_ok(),
        ),
        ("read outside", File::open(&secret).is_ok()),
        ("list outside", read_dir(outside).is_ok()),
        ("write outside", OpenOptions::new().append(true).open(&secret).is_ok()),
        ("make a file outside", File::create(outside.join("new")).is_ok()),
        ("remove outside", std::fs::remove_file(&secret).is_ok()),
        ("move out", std::fs::rename("inside", outside.join("moved")).is_ok()),
        ("run a program", Command::new("/bin/true").status().is_ok()),
        ("connect", TcpStream::connect(address).is_ok()),
        ("reach a socket with a path", UnixStream::connect(outside.join("socket")).is_ok()),
        ("open a UDP socket", UdpSocket::bind("127.0.0.1:0").is_ok()),
        ("read the system", std::fs::read("/etc/hostname").is_ok()),
    ];
    println!("{sandbox:?}");
    for (what, _) in attempts.iter().filter(|(_, could)| *could) {
        println!("{what}");
    }
    ExitCode::SUCCESS
}

/// Has an archive unpacked that never ends.
fn hold(tree: &Path) -> ExitCode {
    struct Endless(u64);
    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            if self.0 == 0 {
                // A file of a terabyte begins.
                let mut header = [0; 512];
                header[..1].copy_from_slice(b"f");
                header[100..107].copy_from_slice(b"0000644");
                header[124..136].copy_from_slice(&[0x80, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0]);
                header[148..156].copy_from_slice(b"        ");
                header[156] = b'0';
                let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
                header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
                buffer[..512].copy_from_slice(&header);
                self.0 += 512;
                return Ok(512);
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
            buffer[0] = b'x';
            Ok(1)
        }
    }
    let isolation = Isolation::Process {
        program: std::env::current_exe().unwrap(),
        arguments: vec!["unpack".into()],
        landlock: true,
    };
    let how = How {
        container: Container::Tar,
        encoding: Encoding::Identity,
        limits: Limits::default(),
        writers: 1,
    };
    let mut tree = durable::Tree::beneath(tree).unwrap();
    let ended = Unpacker::new(isolation).unpack(&mut tree, how, Source::Stream(&mut Endless(0)));
    println!("{ended:?}");
    ExitCode::FAILURE
}
