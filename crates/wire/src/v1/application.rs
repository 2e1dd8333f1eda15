//! Bodies of the application repository.

use std::collections::BTreeMap;

use model::{
    AppName, Caller, Digest, Encoding, EnvName, Envelope, InnerPath, MediaInfo, MediaType,
    ObjectName, PackageName, Pin, Profile, Program, Reference, RestartOn, RestartPolicy, Span,
    Timestamp, Title, Version,
};
use serde::{Deserialize, Serialize};

use super::object::MeasuredBody;
use super::policy::{InvalidPolicy, PoliciesBody};

/// An envelope. `created` and `created_by` are `null` until it is published.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EnvelopeBody {
    /// The name that it is published under.
    pub application: AppName,
    /// What its installations are grouped by.
    pub title: Title,
    /// Its version.
    pub version: Version,
    /// The profile that it is for.
    pub profile: Profile,
    /// What is run.
    pub program: ProgramBody,
    /// Arguments, without the program's name.
    pub args: Vec<String>,
    /// Environment on top of what the node gives.
    pub env: BTreeMap<EnvName, String>,
    /// Packages by local name.
    pub packages: BTreeMap<PackageName, PinBody>,
    /// What happens when the program ends.
    pub restart: RestartBody,
    /// What else it wants of whoever runs it: `ready`, `alive`, `stop`, `limits`, `logs`, `update`.
    #[serde(flatten)]
    pub policies: PoliciesBody,
    /// When it was published.
    pub created: Option<Timestamp>,
    /// Who published it.
    pub created_by: Option<Caller>,
}

/// What is run: an object, or a file inside a package.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ProgramBody {
    /// An object, run as it is.
    Object(PinBody),
    /// A file inside one of the envelope's packages.
    InPackage {
        /// The package.
        package: PackageName,
        /// The file in it.
        path: InnerPath,
    },
}

/// One object, pinned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PinBody {
    /// Where the repository has it.
    pub object: ObjectName,
    /// SHA-256 of its bytes.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// What the bytes are.
    #[serde(rename = "type")]
    pub media_type: MediaType,
    /// How they were encoded on top of that.
    pub encoding: Option<Encoding>,
    /// How the bytes are cut where only changes shall move; nothing cuts yet.
    pub chunks: Option<serde_json::Value>,
    /// What unpacking it takes.
    pub measured: Option<MeasuredBody>,
    /// Has every instance a copy of its own that it may change? Envelopes of before do not say: no.
    #[serde(default)]
    pub writable: bool,
}

/// What happens when the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RestartBody {
    /// `failure`, `always` or `never`.
    pub on: RestartWord,
    /// So many restarts within the window.
    pub limit: u32,
    /// Seconds.
    pub window: f64,
}

/// [`RestartOn`] as a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RestartWord {
    /// After a failure.
    Failure,
    /// After every end.
    Always,
    /// After none.
    Never,
}

/// Wants to publish a version: one envelope for each profile.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VersionRequest {
    /// All of one application and version, each of another profile.
    pub envelopes: Vec<EnvelopeBody>,
}

/// What publishing a version gave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PublishedBody {
    /// The application.
    pub application: AppName,
    /// The version.
    pub version: Version,
    /// The profiles that this version is there for now.
    pub profiles: Vec<Profile>,
    /// Was something new published? `false`: the same was there.
    pub published: bool,
}

/// One line of a listing of applications.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ApplicationLine {
    /// The application.
    pub application: AppName,
    /// Its versions, the newest first.
    pub versions: Vec<VersionLine>,
}

/// One version in a listing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VersionLine {
    /// The version.
    pub version: Version,
    /// The profiles that it is there for.
    pub profiles: Vec<Profile>,
    /// Its title.
    pub title: Title,
}

/// The envelopes of one version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShowBody {
    /// One for each profile, sorted by profile.
    pub envelopes: Vec<EnvelopeBody>,
}

/// The query of `show`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShowQuery {
    /// Which application and version.
    pub reference: Reference,
    /// This profile alone.
    pub profile: Option<Profile>,
}

/// The query of `match`: profiles joined by commas, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MatchQuery {
    /// Which application and versions.
    pub reference: String,
    /// The profiles of the machine, joined by commas, the best first.
    pub profiles: String,
}

/// Why a body is no envelope although it can be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEnvelope {
    /// The program is in a package that the envelope does not have.
    #[error("the program is in the package `{package}`, which the envelope does not have")]
    NoSuchPackage {
        /// The package.
        package: PackageName,
    },
    /// An argument or value that no process can be given.
    #[error("{what} has a NUL character")]
    Nul {
        /// Which one.
        what: String,
    },
    /// A version so long that it cannot be part of a file name.
    #[error("the version is longer than {MAX_VERSION_BYTES} characters")]
    LongVersion,
    /// The window is negative or no number.
    #[error("the restart window is no duration")]
    Window,
    /// A policy that is none, or that this fettle does not know.
    #[error(transparent)]
    Policy(#[from] InvalidPolicy),
}

impl InvalidEnvelope {
    /// Would a newer fettle perhaps understand it?
    pub fn is_unsupported(&self) -> bool {
        matches!(self, InvalidEnvelope::Policy(InvalidPolicy::Unknown { .. }))
    }
}

impl EnvelopeBody {
    /// The envelope as it is written.
    pub fn from_model(envelope: &Envelope) -> EnvelopeBody {
        let Envelope {
            application,
            version,
            profile,
            title,
            program,
            args,
            env,
            packages,
            restart,
            policies,
        } = envelope;
        EnvelopeBody {
            application: application.clone(),
            title: title.clone(),
            version: version.clone(),
            profile: profile.clone(),
            program: match program {
                Program::Object(pin) => ProgramBody::Object(PinBody::from_model(pin)),
                Program::InPackage { package, path } => {
                    ProgramBody::InPackage { package: package.clone(), path: path.clone() }
                }
            },
            args: args.clone(),
            env: env.clone(),
            packages: packages
                .iter()
                .map(|(name, pin)| (name.clone(), PinBody::from_model(pin)))
                .collect(),
            restart: RestartBody::from_model(*restart),
            policies: PoliciesBody::from_model(policies),
            created: None,
            created_by: None,
        }
    }

    /// The envelope that this says; who published it and when is left behind.
    ///
    /// # Errors
    /// See [`InvalidEnvelope`]: what the types of the fields cannot say.
    pub fn to_model(&self) -> Result<Envelope, InvalidEnvelope> {
        if let ProgramBody::InPackage { package, .. } = &self.program
            && !self.packages.contains_key(package)
        {
            return Err(InvalidEnvelope::NoSuchPackage { package: package.clone() });
        }
        if self.version.to_string().len() > MAX_VERSION_BYTES {
            return Err(InvalidEnvelope::LongVersion);
        }
        if let Some(at) = self.args.iter().position(|arg| arg.contains('\0')) {
            return Err(InvalidEnvelope::Nul { what: format!("argument {}", at + 1) });
        }
        if let Some((name, _)) = self.env.iter().find(|(_, value)| value.contains('\0')) {
            return Err(InvalidEnvelope::Nul { what: format!("the variable `{name}`") });
        }
        let packages = self.packages.iter();
        Ok(Envelope {
            application: self.application.clone(),
            version: self.version.clone(),
            profile: self.profile.clone(),
            title: self.title.clone(),
            program: match &self.program {
                ProgramBody::Object(pin) => Program::Object(pin.to_model()),
                ProgramBody::InPackage { package, path } => {
                    Program::InPackage { package: package.clone(), path: path.clone() }
                }
            },
            args: self.args.clone(),
            env: self.env.clone(),
            packages: packages.map(|(name, pin)| (name.clone(), pin.to_model())).collect(),
            restart: self.restart.to_model().ok_or(InvalidEnvelope::Window)?,
            policies: self.policies.to_model()?,
        })
    }
}

impl PinBody {
    /// The pin as it is written.
    pub fn from_model(pin: &Pin) -> PinBody {
        PinBody {
            object: pin.object.clone(),
            digest: pin.digest,
            size: pin.size,
            media_type: pin.media.media_type.clone(),
            encoding: pin.media.encoding,
            chunks: None,
            measured: pin.measured.map(MeasuredBody::from),
            writable: pin.writable,
        }
    }

    /// The pin that this says.
    pub fn to_model(&self) -> Pin {
        Pin {
            object: self.object.clone(),
            digest: self.digest,
            size: self.size,
            media: MediaInfo { media_type: self.media_type.clone(), encoding: self.encoding },
            measured: self.measured.map(Into::into),
            writable: self.writable,
        }
    }
}

impl RestartBody {
    fn from_model(policy: RestartPolicy) -> RestartBody {
        let on = match policy.on {
            RestartOn::Failure => RestartWord::Failure,
            RestartOn::Always => RestartWord::Always,
            RestartOn::Never => RestartWord::Never,
        };
        RestartBody { on, limit: policy.limit, window: policy.window.as_secs_f64() }
    }

    fn to_model(self) -> Option<RestartPolicy> {
        let on = match self.on {
            RestartWord::Failure => RestartOn::Failure,
            RestartWord::Always => RestartOn::Always,
            RestartWord::Never => RestartOn::Never,
        };
        Some(RestartPolicy { on, limit: self.limit, window: Span::from_secs_f64(self.window)? })
    }
}

impl MatchQuery {
    /// Asks for a reference and an ordered list of profiles.
    pub fn new(reference: &Reference, profiles: &[Profile]) -> MatchQuery {
        let profiles: Vec<&str> = profiles.iter().map(Profile::as_str).collect();
        MatchQuery { reference: reference.to_string(), profiles: profiles.join(",") }
    }
}

/// A version is part of directory names on the node.
const MAX_VERSION_BYTES: usize = 128;
