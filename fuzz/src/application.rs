//! The manifest of `fettle app publish`: a person's text is read or refused with a place in it.

use std::path::Path;

use client::publish::{Manifest, PackageSource, ProgramSource};

/// Reads `data` as such a manifest.
pub fn application(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let dir = Path::new("/project");
    match Manifest::parse(text, dir) {
        Err((at, fault)) => {
            assert!(!fault.to_string().is_empty());
            let lines = text.split('\n').count();
            if let Some(at) = at {
                assert!(at.line >= 1 && at.line <= lines, "{at:?} of {lines} lines");
                let line = text.split('\n').nth(at.line - 1).unwrap_or_default();
                assert!(
                    at.column >= 1 && at.column <= line.chars().count() + 1,
                    "{at:?}: {line:?}"
                );
            }
        }
        Ok(manifest) => {
            assert!(!manifest.programs.is_empty(), "nothing is run");
            for program in manifest.programs.values() {
                match program {
                    ProgramSource::InPackage { package, .. } => {
                        assert!(manifest.packages.contains_key(package), "no package {package}");
                    }
                    ProgramSource::File(path) => assert!(path.is_absolute(), "{path:?}"),
                }
            }
            for package in manifest.packages.values() {
                if let PackageSource::Path(path) = &package.source {
                    assert!(path.is_absolute(), "{path:?}");
                }
            }
            // What a process is started with holds no NUL.
            assert!(
                manifest.args.iter().chain(manifest.env.values()).all(|text| !text.contains('\0'))
            );
        }
    }
}
