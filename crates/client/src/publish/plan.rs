//! Which objects a version consists of, what they are called, and the envelopes that pin them. Pure: the
//! facts about files and about objects of the repository are brought in.

use std::collections::BTreeMap;
use std::path::PathBuf;

use model::{
    AppName, Digest, Envelope, InvalidName, Measured, MediaInfo, ObjectName, PackageName, Pin,
    Profile, Program, Version,
};

use super::error::Use;
use super::manifest::{Manifest, PackageSource, ProgramSource};

/// What is known of the content of a file or packed directory.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fact {
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) media: MediaInfo,
    pub(super) measured: Option<Measured>,
}

/// What the manifest's sources turned out to be.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// Of local content, by what it is used as.
    pub(super) local: BTreeMap<Use, Fact>,
    /// Of objects that are already in the repository, by name.
    pub(super) pinned: BTreeMap<ObjectName, Pin>,
}

/// The version that is to be published.
#[derive(Debug, PartialEq)]
pub(super) struct Plan {
    /// What the repository must have: each content once, with one of the uses to read it by.
    pub(super) objects: Vec<Object>,
    /// One for each profile.
    pub(super) envelopes: Vec<Envelope>,
}

/// An object of the version.
#[derive(Debug, PartialEq)]
pub(super) struct Object {
    pub(super) pin: Pin,
    /// `None` for an object that was there before.
    pub(super) upload: Option<Use>,
}

/// The uses of local content in a manifest, programs first, each with its path.
pub(super) fn local_uses(manifest: &Manifest) -> Vec<(Use, PathBuf)> {
    let programs = manifest.programs.iter().filter_map(|(profile, source)| match source {
        ProgramSource::File(path) => Some((Use::Program(profile.clone()), path.clone())),
        ProgramSource::InPackage { .. } => None,
    });
    let packages = manifest.packages.iter().filter_map(|(name, entry)| match &entry.source {
        PackageSource::Path(path) => Some((Use::Package(name.clone()), path.clone())),
        PackageSource::Object(_) => None,
    });
    programs.chain(packages).collect()
}

/// The plan. Facts that the manifest does not ask for are passed over; a source without a fact is left
/// out, which does not happen where the facts come from this manifest.
pub(super) fn plan(manifest: &Manifest, facts: &Facts) -> Result<Plan, InvalidName> {
    let mut objects: Vec<Object> = Vec::new();
    let mut names: BTreeMap<Use, Pin> = BTreeMap::new();
    for (used, _) in local_uses(manifest) {
        let Some(fact) = facts.local.get(&used) else { continue };
        let twin = objects
            .iter()
            .find(|object| (object.pin.digest, &object.pin.media) == (fact.digest, &fact.media));
        let pin = match twin {
            Some(twin) => twin.pin.clone(),
            None => {
                let object = name(&manifest.name, &manifest.version, &used, &fact.digest)?;
                let Fact { digest, size, media, measured } = fact.clone();
                let pin = Pin { object, digest, size, media, measured, writable: false };
                objects.push(Object { pin: pin.clone(), upload: Some(used.clone()) });
                pin
            }
        };
        names.insert(used, pin);
    }
    let pinned = manifest.packages.values().filter_map(|entry| match &entry.source {
        PackageSource::Object(object) => facts.pinned.get(object),
        PackageSource::Path(_) => None,
    });
    for pin in pinned {
        if objects.iter().all(|object| object.pin.object != pin.object) {
            objects.push(Object { pin: pin.clone(), upload: None });
        }
    }
    let packages: BTreeMap<PackageName, Pin> = manifest
        .packages
        .iter()
        .filter_map(|(name, entry)| {
            let pin = match &entry.source {
                PackageSource::Path(_) => names.get(&Use::Package(name.clone())),
                PackageSource::Object(object) => facts.pinned.get(object),
            };
            // Of an object that has two names, one may be writable and the other not.
            Some((name.clone(), Pin { writable: entry.writable, ..pin?.clone() }))
        })
        .collect();
    let envelope = |(profile, source): (&Profile, &ProgramSource)| {
        let program = match source {
            ProgramSource::File(_) => {
                Program::Object(names.get(&Use::Program(profile.clone()))?.clone())
            }
            ProgramSource::InPackage { package, path } => {
                Program::InPackage { package: package.clone(), path: path.clone() }
            }
        };
        Some(Envelope {
            application: manifest.name.clone(),
            version: manifest.version.clone(),
            profile: profile.clone(),
            title: manifest.title.clone(),
            program,
            args: manifest.args.clone(),
            env: manifest.env.clone(),
            packages: packages.clone(),
            restart: manifest.restart,
            policies: manifest.policies.clone(),
        })
    };
    Ok(Plan { objects, envelopes: manifest.programs.iter().filter_map(envelope).collect() })
}

/// See the module's description for why the name has digits of the digest in it.
fn name(
    application: &AppName,
    version: &Version,
    used: &Use,
    digest: &Digest,
) -> Result<ObjectName, InvalidName> {
    let label = match used {
        Use::Program(profile) => format!("program-{profile}"),
        Use::Package(name) => name.to_string(),
    };
    format!("{application}/{version}/{label}-{}", &digest.hex()[..DIGITS]).parse()
}

/// 48 bits: enough among the attempts at one package of one version.
const DIGITS: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    const MANIFEST: &str = r#"
title = "t"
name = "demo/t"
version = "1.0.0+b"
[program]
linux-amd64 = "bin"
linux-arm64 = "bin-arm"
any = { package = "b", path = "run" }
[packages]
a = "a.tar"
b = "copy-of-a.tar"
c = { object = "shared/c" }
d = { object = "shared/c", writable = true }
"#;

    fn fact(bytes: &[u8], name: &str) -> Fact {
        Fact {
            digest: Digest::of(bytes),
            size: bytes.len() as u64,
            media: MediaInfo::from_file_name(name),
            measured: None,
        }
    }

    fn facts() -> Facts {
        let program = |profile: &str| Use::Program(profile.parse().unwrap());
        let package = |name: &str| Use::Package(name.parse().unwrap());
        let shared: ObjectName = "shared/c".parse().unwrap();
        let Fact { digest, size, media, measured } = fact(b"shared", "c.zip");
        let pin = Pin { object: shared.clone(), digest, size, media, measured, writable: false };
        Facts {
            local: [
                (program("linux-amd64"), fact(b"amd", "bin")),
                (program("linux-arm64"), fact(b"arm", "bin")),
                (package("a"), fact(b"tar", "a.tar")),
                (package("b"), fact(b"tar", "a.tar")),
            ]
            .into(),
            pinned: [(shared, pin)].into(),
        }
    }

    fn planned(facts: &Facts) -> Plan {
        plan(&Manifest::parse(MANIFEST, Path::new("")).unwrap(), facts).unwrap()
    }

    #[test]
    fn the_same_content_is_one_object_and_pinned_objects_are_not_uploaded() {
        let plan = planned(&facts());
        let digits = |bytes: &[u8]| Digest::of(bytes).hex()[..12].to_owned();
        let named: Vec<(String, bool)> = plan
            .objects
            .iter()
            .map(|object| (object.pin.object.to_string(), object.upload.is_some()))
            .collect();
        assert_eq!(
            named,
            [
                (format!("demo/t/1.0.0+b/program-linux-amd64-{}", digits(b"amd")), true),
                (format!("demo/t/1.0.0+b/program-linux-arm64-{}", digits(b"arm")), true),
                (format!("demo/t/1.0.0+b/a-{}", digits(b"tar")), true),
                ("shared/c".to_owned(), false),
            ]
        );
    }

    #[test]
    fn every_profile_gets_an_envelope_with_all_packages() {
        let plan = planned(&facts());
        let profiles: Vec<&str> = plan.envelopes.iter().map(|e| e.profile.as_str()).collect();
        assert_eq!(profiles, ["any", "linux-amd64", "linux-arm64"]);
        for envelope in &plan.envelopes {
            assert_eq!(envelope.packages.len(), 4);
            for (_, pin) in envelope.pins() {
                let bytes = Pin { writable: false, ..pin.clone() };
                assert!(plan.objects.iter().any(|object| object.pin == bytes));
            }
            let writable: Vec<bool> = envelope.packages.values().map(|pin| pin.writable).collect();
            assert_eq!(writable, [false, false, false, true]);
        }
        assert!(matches!(plan.envelopes[0].program, Program::InPackage { .. }));
    }

    #[test]
    fn other_bytes_or_another_media_type_get_another_name() {
        let mut other = facts();
        let b = Use::Package("b".parse().unwrap());
        other.local.insert(b.clone(), fact(b"tar", "b.txt"));
        assert_eq!(planned(&other).objects.len(), 5);
        other.local.insert(b, fact(b"changed", "a.tar"));
        let (before, after) = (planned(&facts()), planned(&other));
        assert_eq!(after.objects.len(), 5);
        for object in before.objects {
            assert!(after.objects.contains(&object), "what did not change keeps its name");
        }
    }
}
