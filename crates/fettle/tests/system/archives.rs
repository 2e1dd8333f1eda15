//! Real archives for packages: what is found on the machine, and what its tools pack.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::world::World;

/// A real tar.gz: a crate that the build of this very project has fetched.
pub(crate) fn a_crate(world: &World) -> PathBuf {
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")))
        .unwrap();
    let cache = home.join("registry/cache");
    let found = fs::read_dir(&cache).into_iter().flatten().flatten().find_map(|registry| {
        let mut crates: Vec<PathBuf> = fs::read_dir(registry.path())
            .ok()?
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| {
                path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("semver-1"))
            })
            .collect();
        crates.sort();
        crates.pop()
    });
    let found = found.expect("cargo keeps the crates that it built from");
    let path = world.write("real.tar.gz", fs::read(found).unwrap());
    world.own(&path);
    path
}

/// A real zip: a wheel that Python ships, or else one that `zip` packs of real sources.
pub(crate) fn a_wheel(world: &World) -> PathBuf {
    let ask = "import ensurepip,glob,os;print(glob.glob(os.path.join(os.path.dirname(ensurepip.__file__),'_bundled','*.whl'))[0])";
    let asked = Command::new("python3").args(["-c", ask]).output().unwrap();
    let named = String::from_utf8(asked.stdout).unwrap();
    let shared = || {
        let wheels = fs::read_dir("/usr/share/python-wheels").ok()?;
        wheels
            .flatten()
            .map(|entry| entry.path())
            .find(|path| path.extension().is_some_and(|e| e == "whl"))
    };
    let found = Some(PathBuf::from(named.trim())).filter(|path| path.is_file()).or_else(shared);
    let path = world.path("real.zip");
    match found {
        Some(wheel) => drop(world.write("real.zip", fs::read(wheel).unwrap())),
        None => {
            let sources = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
            let zipped =
                Command::new("zip").args(["-qr"]).arg(&path).arg(".").current_dir(sources).status();
            assert!(zipped.unwrap().success());
            world.own(&path);
        }
    }
    path
}

/// What a directory holds: path to kind, content or target, executable or not, and time in seconds.
pub(crate) fn tree(root: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    walk(root, root, &mut found);
    found
}

fn walk(root: &Path, directory: &Path, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let path = entry.path();
        let facts = fs::symlink_metadata(&path).unwrap();
        let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
        let said = if facts.is_dir() {
            walk(root, &path, found);
            "directory".to_owned()
        } else if facts.is_symlink() {
            format!("link to {}", fs::read_link(&path).unwrap().display())
        } else {
            let executable = facts.permissions().mode() & 0o100 != 0;
            let digest = model::Digest::of(&fs::read(&path).unwrap());
            format!("file {digest} executable={executable} modified={}", facts.mtime())
        };
        found.insert(name, said);
    }
}

/// Packs a directory with what the whole world uses, and gives the archive to the account.
pub(crate) fn pack(world: &World, name: &str, command: &[&str], directory: &Path) -> PathBuf {
    let path = world.path(name);
    let packed = Command::new(command[0])
        .args(&command[1..])
        .arg(&path)
        .arg(".")
        .current_dir(directory)
        .status();
    assert!(packed.unwrap().success(), "{command:?}");
    world.own(&path);
    path
}

/// A directory with what archives can hold: files, a script, links, a hard link, an empty directory, old times.
pub(crate) fn sample_directory(world: &World, name: &str) -> PathBuf {
    let directory = world.path(name);
    fs::create_dir_all(directory.join("bin")).unwrap();
    fs::create_dir_all(directory.join("empty")).unwrap();
    fs::create_dir_all(directory.join("däta")).unwrap();
    fs::write(directory.join("bin/run.sh"), "#!/bin/sh\nexec \"$@\"\n").unwrap();
    fs::set_permissions(directory.join("bin/run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(directory.join("däta/größe.txt"), "42\n".repeat(10_000)).unwrap();
    fs::write(directory.join("nothing"), "").unwrap();
    std::os::unix::fs::symlink("bin/run.sh", directory.join("run")).unwrap();
    fs::hard_link(directory.join("däta/größe.txt"), directory.join("same")).unwrap();
    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    for file in ["bin/run.sh", "däta/größe.txt", "nothing"] {
        let file = fs::File::options().write(true).open(directory.join(file)).unwrap();
        file.set_modified(old).unwrap();
    }
    directory
}
