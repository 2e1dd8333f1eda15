//! The other readers: each gives the listing of what it makes of an archive.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use archive::Container;

use crate::tree::{Kind, Listing, Node, list, removable};

/// A reader that is not ours.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    /// Extracts the archive `$1` into the working directory, or tells of it.
    command: &'static str,
    /// It extracts nothing; its words are the listing.
    tells: bool,
    /// Directories and links, not only files, have the times that the archive says.
    times: bool,
}

/// Those that read such an archive.
pub(crate) fn of(container: Container) -> &'static [Peer] {
    match container {
        Container::Tar => &TARS,
        Container::Zip => &ZIPS,
    }
}

const TARS: [Peer; 2] = [
    Peer {
        name: "tar",
        command: "tar --no-same-owner --no-same-permissions -xf \"$1\"",
        tells: false,
        // Links with `..` in their target it makes last, and their directories are new then.
        times: false,
    },
    Peer {
        name: "bsdtar",
        command: "bsdtar --no-same-owner --no-same-permissions -xf \"$1\"",
        tells: false,
        times: true,
    },
];

const ZIPS: [Peer; 3] = [
    // 1: something was odd, and all was extracted.
    Peer { name: "unzip", command: "unzip -qq \"$1\" || [ $? = 1 ]", tells: false, times: false },
    Peer {
        name: "bsdtar",
        command: "bsdtar --no-same-owner --no-same-permissions -xf \"$1\"",
        tells: false,
        times: true,
    },
    Peer { name: "python3", command: ZIPFILE, tells: true, times: true },
];

/// A line for each entry: kind, path, size, digest, executable, time, target; `-` is not known.
const ZIPFILE: &str = r#"python3 -c '
import calendar, hashlib, stat, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as archive:
    for m in archive.infolist():
        mode = m.external_attr >> 16
        content = archive.read(m)
        kind = "d" if m.is_dir() else "l" if stat.S_ISLNK(mode) else "f"
        # It reads the time of the directory only, not the extra field that is more exact.
        time = "-" if b"UT" in m.extra else calendar.timegm(m.date_time)
        # Python takes code page 437 for granted; a name from Unix has the bytes of its file system.
        unix = m.create_system == 3 and not m.flag_bits & 0x800
        name = m.filename.rstrip("/").encode("cp437" if unix else "utf-8")
        print(kind, name.hex(), len(content),
              hashlib.sha256(content).hexdigest(), int(mode & 0o111 != 0), time,
              content.hex() if kind == "l" else "-")
' "$1""#;

impl Peer {
    /// What it makes of the archive; `None` if it is not installed.
    pub(crate) fn read(&self, archive: &Path) -> Result<Option<Listing>, String> {
        let mut there = Command::new("sh");
        there.args(["-c", "command -v \"$1\" >/dev/null", "sh", self.name]);
        if !there.status().unwrap().success() {
            return Ok(None);
        }
        let dir = tempfile::tempdir().unwrap();
        let done = Command::new("sh")
            .args(["-c".as_ref(), OsStr::new(&format!("umask 022; {}", self.command))])
            .args(["sh".as_ref(), archive.as_os_str()])
            .current_dir(dir.path())
            .env("LC_ALL", "C.UTF-8")
            .env("TZ", "UTC")
            .output()
            .unwrap();
        let words = String::from_utf8_lossy(&done.stderr).into_owned();
        let mut listing: Listing = match self.tells {
            true => String::from_utf8(done.stdout).unwrap().lines().map(told).collect(),
            false => list(dir.path()),
        };
        removable(dir.path());
        if !self.times {
            let no_file = |node: &&mut Node| !matches!(node.kind, Kind::File { .. });
            listing.values_mut().filter(no_file).for_each(|node| node.seconds = None);
        }
        if !done.status.success() {
            return Err(format!("{} cannot read it: {words}", self.name));
        }
        Ok(Some(listing))
    }
}

fn told(line: &str) -> (Vec<u8>, Node) {
    let words: Vec<&str> = line.split(' ').collect();
    let [kind, path, size, digest, executable, time, target] = words[..] else {
        panic!("{line}");
    };
    let kind = match kind {
        "d" => Kind::Directory,
        "l" => Kind::Symlink { target: bytes(target) },
        _ => Kind::File {
            size: size.parse().unwrap(),
            digest: format!("sha256:{digest}").parse().unwrap(),
            executable: executable == "1",
        },
    };
    (bytes(path), Node { kind, seconds: time.parse().ok(), shared: None })
}

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(digit).collect()
}
