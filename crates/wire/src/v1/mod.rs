//! The bodies of version 1. All keys are always present, `null` when unknown; times are RFC 3339 UTC, sizes
//! bytes, durations seconds. Fields may be added, none changes its meaning. Conversion from and to `model`
//! is written out by hand beside each body, so that neither side changes the other by accident.

mod application;
mod identity;
mod node;
mod object;
mod plan;
mod policy;
mod status;
mod store;

pub use application::{
    ApplicationLine, EnvelopeBody, InvalidEnvelope, MatchQuery, PinBody, ProgramBody,
    PublishedBody, RestartBody, RestartWord, ShowBody, ShowQuery, VersionLine, VersionRequest,
};
pub use identity::{AnswerBody, IdentityBody, IssuedLine, RequestBody, RootBody};
pub use node::{
    CreateRequest, DeleteRequest, ExitBody, InstallRequest, InstallationBody, InstalledBody,
    InstanceBody, LogLine, LogStream, LogsQuery, NameRequest, OperationBody, OperationKind,
    OperationResult, OriginBody, OverridesBody, ProbationBody, RejectedBody, RevertRequest,
    StopRequest, UpdateRequest, WaitQuery,
};
pub use object::{
    GlobQuery, MeasuredBody, ObjectBody, ObjectLine, PartBody, StatedPart, StoredBody, UploadBody,
    UploadRequest,
};
pub use plan::{PlanAction, PlanLine, UpdatePlanRequest};
pub use policy::{
    AliveBody, HttpBody, InvalidPolicy, LimitsBody, LogsBody, PoliciesBody, ReadyBody, StopBody,
    TcpBody, Unknown, UpdateBody,
};
pub use status::{EnforcedBody, StatusBody};
pub use store::{
    CollectedBody, DamageBody, DamageKind, GarbageKind, GarbageLine, RepairedBody, StoreRequest,
    VerifiedBody,
};

/// The media type of listings: one JSON value per line.
pub const NDJSON: &str = "application/x-ndjson";

#[cfg(test)]
mod golden_tests;
