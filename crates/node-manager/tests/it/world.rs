//! What the tests stand on: both repositories over HTTP in this process, and publishing into them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use application_repository::{ApplicationRepository, Claim, HoldError, Holder, Holds};
use binary_repository::{BinaryRepository, HoldRefusal, NewObject, Stated, catalog};
use client::{Connection, Endpoint};
use model::{Caller, Digest, MediaInfo, Policy, Profile, Version};
use wire::serve::{Address, Listener, serve};
use wire::v1::{
    EnvelopeBody, PinBody, PoliciesBody, ProgramBody, RestartBody, RestartWord, VersionRequest,
};

/// A server with its data in a temporary directory. It is gone with the runtime of the test.
pub struct World {
    pub dir: tempfile::TempDir,
    pub address: String,
    pub objects: Arc<BinaryRepository>,
}

impl World {
    pub async fn start() -> World {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("server");
        let config = binary_repository::Config::new(&data);
        let objects = BinaryRepository::open(&config).unwrap();
        let holds = Arc::new(OwnObjects(objects.clone()));
        let now = || std::time::SystemTime::now().into();
        let applications = ApplicationRepository::open(&config.database, holds, now).unwrap();
        let policy = Policy::OpenToThisMachine;
        let service = objects.service(policy).merge(applications.service(policy));
        let address: Address = "127.0.0.1:0".parse().unwrap();
        let listener = Listener::bind(&address).await.unwrap();
        let address = listener.url();
        tokio::spawn(serve(listener, service, std::future::pending()));
        World { dir, address, objects }
    }

    pub fn connect(&self) -> Connection {
        connect(&self.address)
    }

    /// Stores an object; what it is follows from the ending of its name.
    pub fn object(&self, name: &str, bytes: &[u8]) -> PinBody {
        self.object_as(name, MediaInfo::from_file_name(name), bytes)
    }

    pub fn object_as(&self, name: &str, media: MediaInfo, bytes: &[u8]) -> PinBody {
        let new = NewObject {
            name: name.parse().unwrap(),
            media: media.clone(),
            caller: Caller::Loopback,
        };
        self.objects.put(new, Stated::default(), &mut &bytes[..]).unwrap();
        PinBody {
            object: name.parse().unwrap(),
            digest: Digest::of(bytes),
            size: bytes.len() as u64,
            media_type: media.media_type,
            encoding: media.encoding,
            chunks: None,
            measured: None,
            writable: false,
        }
    }

    /// A shell script as an object that is a program.
    pub fn script(&self, name: &str, lines: &str) -> ProgramBody {
        let script = format!("#!/bin/sh\n{lines}\n");
        ProgramBody::Object(self.object(name, script.as_bytes()))
    }

    pub async fn publish(&self, envelope: &EnvelopeBody) {
        let request = VersionRequest { envelopes: vec![envelope.clone()] };
        let (name, version) = (&envelope.application, &envelope.version);
        self.connect().applications().publish_version(name, version, &request).await.unwrap();
    }

    /// Publishes `demo/<title>` with a script as its program.
    pub async fn publish_script(&self, title: &str, version: &str, lines: &str) -> EnvelopeBody {
        let program = self.script(&format!("{title}/{version}/program"), lines);
        let envelope = envelope(title, version, program);
        self.publish(&envelope).await;
        envelope
    }

    /// Where the server keeps the bytes of a digest.
    pub fn blob(&self, digest: &Digest) -> PathBuf {
        self.dir.path().join("server/blobs").join(&digest.hex()[..2]).join(digest.hex())
    }

    /// Writes other bytes to where the server keeps an object.
    pub fn damage(&self, digest: &Digest, how: impl FnOnce(&mut Vec<u8>)) {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.blob(digest);
        let mut bytes = std::fs::read(&path).unwrap();
        how(&mut bytes);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&path, bytes).unwrap();
    }
}

/// Unpacked trees are read-only: an ordinary account cannot remove them as they are.
impl Drop for World {
    fn drop(&mut self) {
        make_removable(self.dir.path());
    }
}

pub fn make_removable(dir: &Path) {
    let _ = std::process::Command::new("chmod").args(["-R", "u+rwX"]).arg(dir).status();
}

/// An envelope of `demo/<title>` for every machine.
pub fn envelope(title: &str, version: &str, program: ProgramBody) -> EnvelopeBody {
    EnvelopeBody {
        application: format!("demo/{title}").parse().unwrap(),
        title: title.parse().unwrap(),
        version: Version::parse(version).unwrap(),
        profile: Profile::any(),
        program,
        args: Vec::new(),
        env: BTreeMap::new(),
        packages: BTreeMap::new(),
        restart: RestartBody { on: RestartWord::Failure, limit: 5, window: 10.0 },
        policies: PoliciesBody::default(),
        created: None,
        created_by: None,
    }
}

pub fn connect(address: &str) -> Connection {
    Connection::new(&address.parse::<Endpoint>().unwrap()).unwrap()
}

/// Bytes that do not repeat.
pub fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..len.div_ceil(8)).flat_map(|_| next().to_le_bytes()).take(len).collect()
}

/// One entry of a tar: name, type flag, link target, content, mode.
pub type TarEntry<'a> = (&'a str, u8, &'a str, &'a [u8], u32);

/// A tar of these entries, whatever they say.
pub fn tar(entries: &[TarEntry<'_>]) -> Vec<u8> {
    let mut tar = Vec::new();
    for (name, flag, target, content, mode) in entries {
        let mut header = [0u8; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[100..108].copy_from_slice(format!("{mode:07o}\0").as_bytes());
        header[108..124].copy_from_slice(b"0000000\x000000000\0");
        header[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
        header[136..148].copy_from_slice(b"14700000000\0");
        header[148..156].copy_from_slice(b"        ");
        header[156] = *flag;
        header[157..157 + target.len()].copy_from_slice(target.as_bytes());
        header[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        tar.extend_from_slice(&header);
        tar.extend_from_slice(content);
        tar.resize(tar.len().next_multiple_of(512), 0);
    }
    tar.resize(tar.len() + 1024, 0);
    tar
}

/// The names in a directory, sorted; none if it is not there.
pub fn names_in(dir: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// The objects of the same server hold what envelopes pin, as in `fettle server`.
#[derive(Debug)]
struct OwnObjects(Arc<BinaryRepository>);

impl Holds for OwnObjects {
    fn take(&self, claims: &[Claim]) -> Result<(), HoldError> {
        let claim = |Claim { holder, pins }: &Claim| catalog::Claim {
            holder: holder.to_string(),
            pins: pins.clone(),
        };
        let claims: Vec<catalog::Claim> = claims.iter().map(claim).collect();
        self.0.hold(&claims).map_err(|error| match error {
            binary_repository::HoldError::Refused(HoldRefusal::Absent(names)) => {
                HoldError::Absent(names)
            }
            other => HoldError::Failed(Box::new(other)),
        })
    }

    fn release(&self, holder: &Holder) -> Result<(), HoldError> {
        self.0.release(&holder.to_string()).map_err(|error| HoldError::Failed(Box::new(error)))
    }

    fn holders(&self, after: Option<&str>, limit: u32) -> Result<Vec<String>, HoldError> {
        self.0.holders(after, limit).map_err(|error| HoldError::Failed(Box::new(error)))
    }
}
