//! What the demo publishes: a weather station in two versions that differ in one package. The archives were
//! made with the usual tools (tar and gzip, zip) and are shipped with fettle.

use std::path::Path;

use durable::{Disk, DiskError};

/// The two versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// 1.0.0
    First,
    /// 1.1.0: another model.
    Second,
}

impl Version {
    fn number(self) -> &'static str {
        match self {
            Version::First => "1.0.0",
            Version::Second => "1.1.0",
        }
    }

    fn model(self) -> &'static [u8] {
        match self {
            Version::First => include_bytes!("assets/model-1.0.0.tar.gz"),
            Version::Second => include_bytes!("assets/model-1.1.0.tar.gz"),
        }
    }
}

/// Writes what a publisher has in a directory: the manifest and the packages.
pub(super) fn write(
    disk: &Disk,
    dir: &Path,
    version: Version,
    program: &Path,
) -> Result<(), DiskError> {
    disk.make_dir(dir, 0o755)?;
    let put = |name: &str, bytes: &[u8]| disk.replace(&dir.join(name), bytes, 0o644);
    put("model.tar.gz", version.model())?;
    put("icons.zip", include_bytes!("assets/icons.zip"))?;
    put("greeting.txt", include_bytes!("assets/greeting.txt"))?;
    put(MANIFEST, manifest(version, program).as_bytes())
}

/// The manifest; the native program is this binary, which knows how to be a weather station.
pub(super) fn manifest(version: Version, program: &Path) -> String {
    let profile = node_manager::machine_profiles().swap_remove(0);
    let program = toml::Value::String(program.display().to_string());
    let version = version.number();
    format!(
        r#"title = "weather"
name = "demo/weather"
version = "{version}"
args = ["__sample", "--interval", "200ms"]
env = {{ LANG = "C.UTF-8" }}

[program]
{profile} = {program}

[packages]
model = "model.tar.gz"
icons = "icons.zip"
greeting = "greeting.txt"
"#
    )
}

/// The manifest's file name.
pub(super) const MANIFEST: &str = "weather.toml";

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    use archive::{Container, Encoding, Limits};

    #[test]
    fn the_archives_that_are_shipped_may_be_unpacked() {
        let gzip = |version: Version| (version.model(), Container::Tar, Encoding::Gzip);
        let icons = &include_bytes!("assets/icons.zip")[..];
        for (bytes, container, encoding) in [
            gzip(Version::First),
            gzip(Version::Second),
            (icons, Container::Zip, Encoding::Identity),
        ] {
            let mut entries =
                archive::open(Cursor::new(bytes), container, encoding, Limits::default()).unwrap();
            let summary = archive::measure(&mut *entries).unwrap();
            assert!(summary.measured.entries >= 4, "{summary:?}");
        }
    }

    #[test]
    fn the_manifest_survives_a_path_with_quotes() {
        let text = manifest(Version::First, Path::new("/a \"b\"\\c/fettle"));
        let value: toml::Table = text.parse().unwrap();
        let program = value["program"].as_table().unwrap().values().next().unwrap();
        assert_eq!(program.as_str(), Some("/a \"b\"\\c/fettle"));
    }
}
