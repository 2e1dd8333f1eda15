//! Archives made by others: what we read is what Python's tarfile and zipfile read.
//!
//! The packages in cargo's cache are real archives that are on every machine that builds this.
#![expect(clippy::disallowed_methods, reason = "trees of a test need not outlast a power cut")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use archive::{
    Container, Encoding, Entries, EntryKind, EntryPath, Limits, LinkTarget, Modified, TarWriter,
    open,
};

const TAR_LINES: &str = r#"
import os, sys, tarfile, zlib
for path in sys.argv[1:]:
    print("=", path)
    with tarfile.open(path, errors="surrogateescape") as archive:
        for m in archive:
            name = os.path.normpath(m.name)
            if name == ".": continue
            kind = "d" if m.isdir() else "l" if m.issym() else "h" if m.islnk() else "f"
            size = m.size if kind == "f" else 0
            executable = int(kind == "f" and m.mode & 0o111 != 0)
            link = m.linkname if kind == "l" else os.path.normpath(m.linkname) if kind == "h" else ""
            crc = zlib.crc32(archive.extractfile(m).read()) if kind == "f" else 0
            print(kind, os.fsencode(name).hex(), size, executable, int(m.mtime // 1), os.fsencode(link).hex(), crc)
"#;

const ZIP_LINES: &str = r#"
import calendar, stat, sys, zipfile, zlib
for path in sys.argv[1:]:
    print("=", path)
    with zipfile.ZipFile(path) as archive:
        for m in archive.infolist():
            mode = m.external_attr >> 16
            kind = "d" if m.is_dir() else "l" if stat.S_ISLNK(mode) else "f"
            content = archive.read(m)
            size = len(content) if kind == "f" else 0
            executable = int(kind == "f" and mode & 0o111 != 0)
            link = content if kind == "l" else b""
            crc = zlib.crc32(content) if kind == "f" else 0
            stamp = m.extra.find(b"UT")
            time = int.from_bytes(m.extra[stamp + 5:stamp + 9], "little") if stamp >= 0 else calendar.timegm(m.date_time)
            # Python takes code page 437 for granted; Info-ZIP's bytes are those of the file system.
            unix = m.create_system == 3 and not m.flag_bits & 0x800
            name = m.filename.rstrip("/").encode("cp437" if unix else "utf-8")
            print(kind, name.hex(), size, executable, time, link.hex(), crc)
"#;

#[test]
fn every_package_in_cargos_cache_reads_as_python_reads_it() {
    let cargo = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cargo")));
    let packages = cargo.map_or_else(Vec::new, |cargo| crates(&cargo.join("registry/cache")));
    if packages.is_empty() {
        println!("skipped: cargo's cache is empty");
        return;
    }
    compare(TAR_LINES, &packages, Container::Tar, Encoding::Gzip);
}

#[test]
fn every_form_that_gnu_tar_writes_reads_as_python_reads_it() {
    let dir = tempfile::tempdir().unwrap();
    let tree = tree(dir.path());
    let mut archives = Vec::new();
    for format in ["v7", "oldgnu", "gnu", "ustar", "posix"] {
        let archive = dir.path().join(format!("{format}.tar"));
        let done = Command::new("tar")
            .args(["--format", format, "--sort=name", "-cf"])
            .arg(&archive)
            .args([
                "--exclude",
                if format == "v7" || format == "ustar" { "*deep*" } else { "none" },
            ])
            .arg("-C")
            .arg(&tree)
            .arg(".")
            .output();
        match done {
            Ok(done) => assert!(done.status.success(), "{done:?}"),
            Err(error) => return println!("skipped: no tar: {error}"),
        }
        archives.push(archive);
    }
    compare(TAR_LINES, &archives, Container::Tar, Encoding::Identity);
}

#[test]
fn what_we_pack_reads_as_python_reads_it() {
    let path = |text: String| EntryPath::parse(text.as_bytes()).unwrap();
    let long = |letter: &str| letter.repeat(120);
    let time = Modified { seconds: -5, nanos: 250_000_000 };
    let dir = tempfile::tempdir().unwrap();
    let archives = [Modified::default(), time].map(|time| {
        let mut writer = TarWriter::new(Vec::new()).modified(time);
        writer.directory(&path("bin".into())).unwrap();
        writer.file(&path("bin/run".into()), 4, true, &mut &b"exit"[..]).unwrap();
        writer.directory(&path(format!("{}/{}", long("d"), long("e")))).unwrap();
        let deep = path(format!("{}/{}/größe", long("d"), long("e")));
        writer.file(&deep, 600, false, &mut &[7; 600][..]).unwrap();
        let target = LinkTarget::parse(long("t").as_bytes()).unwrap();
        writer.symlink(&path(long("l")), &target).unwrap();
        let archive = dir.path().join(format!("{}.tar", time.seconds));
        fs::write(&archive, writer.finish().unwrap()).unwrap();
        archive
    });
    compare(TAR_LINES, &archives, Container::Tar, Encoding::Identity);
}

#[test]
fn zips_of_info_zip_and_python_read_as_python_reads_them() {
    let dir = tempfile::tempdir().unwrap();
    let tree = tree(dir.path());
    let (info, streamed, python) =
        (dir.path().join("info.zip"), dir.path().join("streamed.zip"), dir.path().join("py.zip"));
    // To a pipe it writes data descriptors, and zip64 since it cannot know sizes.
    let made = [(&info, "zip -q -r -y \"$1\" ."), (&streamed, "zip -q -r -y - . > \"$1\"")];
    let mut archives = Vec::new();
    for (archive, command) in made {
        let script = format!("cd \"$0\" && {command}");
        let done = Command::new("sh").args(["-c", &script]).arg(&tree).arg(archive).output();
        if done.unwrap().status.success() {
            archives.push(archive.clone());
        } else {
            println!("skipped a part: no zip");
        }
    }
    let script = "import shutil, sys; shutil.make_archive(sys.argv[1][:-4], 'zip', sys.argv[2])";
    if Command::new("python3").args(["-c", script]).arg(&python).arg(&tree).output().is_ok() {
        archives.push(python);
    }
    compare(ZIP_LINES, &archives, Container::Zip, Encoding::Identity);
}

/// A tree with a bit of everything.
pub(crate) fn tree(dir: &Path) -> PathBuf {
    let tree = dir.join("tree");
    fs::create_dir_all(tree.join("sub/empty")).unwrap();
    fs::write(tree.join("sub/file"), "hello").unwrap();
    fs::write(tree.join("sub/größe"), "umlaut").unwrap();
    fs::write(tree.join("big"), vec![b'x'; 300_000]).unwrap();
    fs::write(tree.join("run"), "#!/bin/sh\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(tree.join("run"), mode).unwrap();
    std::os::unix::fs::symlink("sub/file", tree.join("link")).unwrap();
    fs::hard_link(tree.join("sub/file"), tree.join("zweitname")).unwrap();
    let deep = tree.join("deep").join("d".repeat(120)).join("e".repeat(120));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("f".repeat(120)), "deep").unwrap();
    std::os::unix::fs::symlink("g".repeat(180), deep.join("deep link")).unwrap();
    tree
}

fn crates(cache: &Path) -> Vec<PathBuf> {
    let list = |dir: &Path| -> Vec<PathBuf> {
        fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
    };
    let registries = list(cache);
    let files = registries.iter().flat_map(|registry| list(registry));
    files.filter(|path| path.extension().is_some_and(|e| e == "crate")).collect()
}

fn compare(script: &str, archives: &[PathBuf], container: Container, encoding: Encoding) {
    let Ok(python) = Command::new("python3").args(["-c", script]).args(archives).output() else {
        return println!("skipped: no python3");
    };
    assert!(python.status.success(), "{}", String::from_utf8_lossy(&python.stderr));
    let theirs = String::from_utf8(python.stdout).unwrap();
    let mut ours = String::new();
    for path in archives {
        ours += &format!("= {}\n", path.display());
        let file = File::open(path).unwrap();
        let mut entries = open(file, container, encoding, Limits::default()).unwrap();
        lines(&mut *entries, &mut ours).unwrap_or_else(|error| panic!("{path:?}: {error:?}"));
    }
    for (ours, theirs) in ours.lines().zip(theirs.lines()) {
        assert_eq!(ours, theirs);
    }
    assert_eq!(ours.lines().count(), theirs.lines().count());
    assert!(ours.lines().count() > archives.len());
}

fn lines(entries: &mut dyn Entries, lines: &mut String) -> Result<(), archive::Error> {
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|b| format!("{b:02x}")).collect() };
    let mut content = vec![0; 1 << 16];
    while let Some(entry) = entries.next_entry()? {
        let mut crc = crc32fast::Hasher::new();
        loop {
            match entries.read_content(&mut content)? {
                0 => break,
                read => crc.update(&content[..read]),
            }
        }
        let (kind, size, executable, link) = match &entry.kind {
            EntryKind::Directory => ("d", 0, false, String::new()),
            EntryKind::File { size, executable, .. } => ("f", *size, *executable, String::new()),
            EntryKind::Symlink { target } => ("l", 0, false, hex(target.as_bytes())),
            EntryKind::HardLink { original } => ("h", 0, false, hex(original.as_bytes())),
        };
        *lines += &format!(
            "{kind} {} {size} {} {} {link} {}\n",
            hex(entry.path.as_bytes()),
            u8::from(executable),
            entry.modified.unwrap_or_default().seconds,
            crc.finalize(),
        );
    }
    Ok(())
}
