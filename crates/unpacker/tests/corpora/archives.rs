//! Where real archives come from, and what they are.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use archive::{Container, Encoding};

/// An archive on disk.
pub(crate) struct Archive {
    /// Of the file that it came in.
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) container: Container,
    pub(crate) encoding: Encoding,
    /// Of a file that was taken out of another.
    _extracted: Option<tempfile::TempPath>,
}

/// So many of the packages that cargo has downloaded, spread over all of them.
pub(crate) fn of_cargo(most: usize) -> Vec<Archive> {
    let cargo = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cargo")));
    let found = cargo.map_or_else(Vec::new, |cargo| files(&cargo.join("registry/cache")));
    let packages: Vec<PathBuf> = found
        .into_iter()
        .filter(|path| path.extension().is_some_and(|end| end == "crate"))
        .collect();
    let step = packages.len().div_ceil(most).max(1);
    packages
        .into_iter()
        .step_by(step)
        .map(|path| known(path, Container::Tar, Encoding::Gzip))
        .collect()
}

/// Those of the fuzzers' seeds that real tools made of a tree with one of everything: executable files,
/// links of both kinds, long names and such that are not ASCII, holes.
pub(crate) fn of_seeds() -> Vec<Archive> {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/tree");
    MADE.iter().map(|name| of_file(seeds.join(name)).unwrap()).collect()
}

const MADE: [&str; 21] = [
    "v7.tar",
    "ustar.tar",
    "ustar.tar.gz",
    "ustar.tar.bz2",
    "ustar.tar.xz",
    "ustar.tar.zst",
    "two-parts.tar.gz",
    "two-parts.tar.bz2",
    "oldgnu.tar",
    "gnu.tar",
    "posix.tar",
    "bsd-pax.tar",
    "sparse-gnu.tar",
    "sparse-0.0.tar",
    "sparse-0.1.tar",
    "sparse-1.0.tar",
    "stored.zip",
    "deflate.zip",
    "bzip2.zip",
    "descriptors.zip",
    "bsd.zip",
];

/// Everything in a directory.
pub(crate) fn below(dir: &Path) -> Vec<Archive> {
    let archives: Vec<Archive> = files(dir).into_iter().filter_map(of_file).collect();
    assert!(!archives.is_empty(), "{} has no archive", dir.display());
    archives
}

fn of_file(path: PathBuf) -> Option<Archive> {
    let name = path.file_name()?.to_str()?.to_owned();
    let ends = |end: &str| name.ends_with(end);
    Some(match () {
        () if ends(".deb") => data_of(&path, name),
        () if ends(".whl") || ends(".zip") => known(path, Container::Zip, Encoding::Identity),
        () => known(path, Container::Tar, encoding(&name)?),
    })
}

fn known(path: PathBuf, container: Container, encoding: Encoding) -> Archive {
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    Archive { name, path, container, encoding, _extracted: None }
}

fn encoding(name: &str) -> Option<Encoding> {
    let (_, end) = name.rsplit_once('.')?;
    Some(match end {
        "tar" => Encoding::Identity,
        "gz" | "tgz" | "crate" => Encoding::Gzip,
        "bz2" => Encoding::Bzip2,
        "xz" => Encoding::Xz,
        "zst" => Encoding::Zstd,
        _ => return None,
    })
}

/// The files of a Debian package: a member `data.tar.<encoding>` of an `ar` archive.
fn data_of(package: &Path, name: String) -> Archive {
    let members = Command::new("ar").arg("t").arg(package).output().unwrap();
    let members = String::from_utf8(members.stdout).unwrap();
    let member = members.lines().find(|member| member.starts_with("data.tar")).unwrap();
    let data = tempfile::NamedTempFile::new().unwrap();
    let done = Command::new("ar")
        .args(["p".as_ref(), package.as_os_str(), member.as_ref()])
        .stdout(File::create(data.path()).unwrap())
        .status();
    assert!(done.unwrap().success(), "{}", package.display());
    let extracted = data.into_temp_path();
    Archive {
        name,
        path: extracted.to_path_buf(),
        container: Container::Tar,
        encoding: encoding(member).unwrap(),
        _extracted: Some(extracted),
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}
