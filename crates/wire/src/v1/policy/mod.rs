//! The policies of an envelope as JSON: the manifest's tables and keys, durations in seconds, sizes in
//! bytes, every key present. Owns that nothing is passed over in silence: a key that this fettle does not
//! know, and that says something, is kept and refused when the envelope is to be understood.
//!
//! An unknown key whose value is `null` says nothing: so a newer server can name what it knows to nodes that
//! do not, as long as the envelope does not want it.

use std::collections::BTreeMap;

use model::policy::{
    AliveKeys, Argv, Cpu, HttpPath, HttpProbe, LimitKeys, Limits, Liveness, LivenessBy, LogKeys,
    LogPolicy, Policies, PolicyFault, Port, Probe, Readiness, ReadyBy, ReadyKeys, StopKeys,
    StopPolicy, StopSignal, UpdateKeys, UpdatePolicy,
};
use model::{ByteSize, Span};
use serde::{Deserialize, Serialize};

/// Keys that this fettle does not know, with what they say.
pub type Unknown = BTreeMap<String, serde_json::Value>;

/// How it becomes known that the program is ready. Exactly one of the first four.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ReadyBody {
    /// By sd_notify?
    pub notify: Option<bool>,
    /// By HTTP.
    pub http: Option<HttpBody>,
    /// By a connection.
    pub tcp: Option<TcpBody>,
    /// By a command.
    pub command: Option<Argv>,
    /// Seconds until the start counts as failed.
    pub within: Option<f64>,
    /// Seconds between two questions; `null` where nobody asks.
    pub every: Option<f64>,
    /// What this fettle does not know.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// How it becomes known that the program still works. Exactly one of the first four.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AliveBody {
    /// By sd_notify, every so many seconds.
    pub watchdog: Option<f64>,
    /// By HTTP.
    pub http: Option<HttpBody>,
    /// By a connection.
    pub tcp: Option<TcpBody>,
    /// By a command.
    pub command: Option<Argv>,
    /// Seconds between two questions; `null` with `watchdog`, as the next two.
    pub every: Option<f64>,
    /// Seconds for one answer.
    pub timeout: Option<f64>,
    /// So many bad answers in a row are too many.
    pub failures: Option<u32>,
    /// What this fettle does not know.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// A question over HTTP.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HttpBody {
    /// At this port of 127.0.0.1: a number, or the name of a variable.
    pub port: Port,
    /// For this path.
    pub path: HttpPath,
    /// What this fettle does not know.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// A connection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TcpBody {
    /// To this port of 127.0.0.1: a number, or the name of a variable.
    pub port: Port,
    /// What this fettle does not know.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// How the program is ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StopBody {
    /// The signal that asks it to end; `null`: SIGTERM.
    pub signal: Option<StopSignal>,
    /// What is run instead.
    pub command: Option<Argv>,
    /// Seconds until it is killed; `null`: 10.
    pub within: Option<f64>,
    /// What this fettle does not know.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// What the program may use; `null`: as much as there is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LimitsBody {
    /// Bytes.
    pub memory: Option<u64>,
    /// Processors.
    pub cpu: Option<Cpu>,
    /// Processes and threads.
    pub tasks: Option<u32>,
    /// Open files of each process.
    pub open_files: Option<u32>,
    /// What this fettle does not know.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// How much of what the program prints is kept.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogsBody {
    /// Bytes of each stream; `null`: what is usual on the node.
    pub budget: Option<u64>,
    /// What this fettle does not know.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// What an update to this version has to show.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct UpdateBody {
    /// Seconds that it has to run well; `null`: none.
    pub probation: Option<f64>,
    /// What this fettle does not know.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// Why keys are no policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPolicy {
    /// It wants something that this fettle does not know.
    #[error("it wants `{key}`, which this fettle does not know")]
    Unknown {
        /// The key, with its tables.
        key: String,
    },
    /// A number that is no duration.
    #[error("`{key}` is no duration: seconds are wanted")]
    Duration {
        /// The key, with its table.
        key: &'static str,
    },
    /// See [`PolicyFault`].
    #[error(transparent)]
    Fault(#[from] PolicyFault),
}

/// Refuses keys that say something and are not known.
fn none_unknown(table: &str, unknown: &Unknown) -> Result<(), InvalidPolicy> {
    match unknown.iter().find(|(_, value)| !value.is_null()) {
        Some((key, _)) => {
            // A name from outside: printed as it is, but not without end.
            let key: String = format!("{table}{key}").chars().take(80).collect();
            Err(InvalidPolicy::Unknown { key })
        }
        None => Ok(()),
    }
}

fn span(key: &'static str, seconds: Option<f64>) -> Result<Option<Span>, InvalidPolicy> {
    let read = |seconds| Span::from_secs_f64(seconds).ok_or(InvalidPolicy::Duration { key });
    seconds.map(read).transpose()
}

fn seconds(span: Span) -> Option<f64> {
    Some(span.as_secs_f64())
}

/// What was asked, in the three keys that it may stand under.
fn questions(probe: &Probe) -> (Option<HttpBody>, Option<TcpBody>, Option<Argv>) {
    let unknown = Unknown::new();
    match probe {
        Probe::Http(HttpProbe { port, path }) => {
            (Some(HttpBody { port: port.clone(), path: path.clone(), unknown }), None, None)
        }
        Probe::Tcp(port) => (None, Some(TcpBody { port: port.clone(), unknown }), None),
        Probe::Command(argv) => (None, None, Some(argv.clone())),
    }
}

impl HttpBody {
    fn to_model(&self, table: &str) -> Result<HttpProbe, InvalidPolicy> {
        none_unknown(&format!("{table}.http."), &self.unknown)?;
        Ok(HttpProbe { port: self.port.clone(), path: self.path.clone() })
    }
}

impl TcpBody {
    fn to_model(&self, table: &str) -> Result<Port, InvalidPolicy> {
        none_unknown(&format!("{table}.tcp."), &self.unknown)?;
        Ok(self.port.clone())
    }
}

impl ReadyBody {
    fn from_model(policy: &Readiness) -> ReadyBody {
        let usual = ReadyBody { within: seconds(policy.within), ..ReadyBody::default() };
        match &policy.by {
            ReadyBy::Notify => ReadyBody { notify: Some(true), ..usual },
            ReadyBy::Probe { probe, every } => {
                let (http, tcp, command) = questions(probe);
                ReadyBody { http, tcp, command, every: seconds(*every), ..usual }
            }
        }
    }

    fn to_model(&self) -> Result<Readiness, InvalidPolicy> {
        none_unknown("ready.", &self.unknown)?;
        let keys = ReadyKeys {
            notify: self.notify,
            http: self.http.as_ref().map(|http| http.to_model("ready")).transpose()?,
            tcp: self.tcp.as_ref().map(|tcp| tcp.to_model("ready")).transpose()?,
            command: self.command.clone(),
            within: span("ready.within", self.within)?,
            every: span("ready.every", self.every)?,
        };
        Ok(keys.policy()?)
    }
}

impl AliveBody {
    fn from_model(policy: &Liveness) -> AliveBody {
        match &policy.by {
            LivenessBy::Watchdog(span) => {
                AliveBody { watchdog: seconds(*span), ..AliveBody::default() }
            }
            LivenessBy::Probe { probe, every, timeout, failures } => {
                let (http, tcp, command) = questions(probe);
                AliveBody {
                    http,
                    tcp,
                    command,
                    every: seconds(*every),
                    timeout: seconds(*timeout),
                    failures: Some(*failures),
                    ..AliveBody::default()
                }
            }
        }
    }

    fn to_model(&self) -> Result<Liveness, InvalidPolicy> {
        none_unknown("alive.", &self.unknown)?;
        let keys = AliveKeys {
            watchdog: span("alive.watchdog", self.watchdog)?,
            http: self.http.as_ref().map(|http| http.to_model("alive")).transpose()?,
            tcp: self.tcp.as_ref().map(|tcp| tcp.to_model("alive")).transpose()?,
            command: self.command.clone(),
            every: span("alive.every", self.every)?,
            timeout: span("alive.timeout", self.timeout)?,
            failures: self.failures,
        };
        Ok(keys.policy()?)
    }
}

impl Default for StopBody {
    fn default() -> StopBody {
        StopBody::from_model(&StopPolicy::default())
    }
}

impl StopBody {
    fn from_model(policy: &StopPolicy) -> StopBody {
        let StopPolicy { signal, command, within } = policy;
        StopBody {
            signal: Some(*signal),
            command: command.clone(),
            within: seconds(*within),
            unknown: Unknown::new(),
        }
    }

    fn to_model(&self) -> Result<StopPolicy, InvalidPolicy> {
        none_unknown("stop.", &self.unknown)?;
        let within = span("stop.within", self.within)?;
        Ok(StopKeys { signal: self.signal, command: self.command.clone(), within }.policy()?)
    }
}

impl LimitsBody {
    fn from_model(policy: Limits) -> LimitsBody {
        let Limits { memory, cpu, tasks, open_files } = policy;
        let memory = memory.map(ByteSize::bytes);
        LimitsBody { memory, cpu, tasks, open_files, unknown: Unknown::new() }
    }

    fn to_model(&self) -> Result<Limits, InvalidPolicy> {
        none_unknown("limits.", &self.unknown)?;
        let LimitsBody { memory, cpu, tasks, open_files, .. } = *self;
        let memory = memory.map(ByteSize::from_bytes);
        Ok(LimitKeys { memory, cpu, tasks, open_files }.policy()?)
    }
}

impl LogsBody {
    fn from_model(policy: LogPolicy) -> LogsBody {
        LogsBody { budget: policy.budget.map(ByteSize::bytes), unknown: Unknown::new() }
    }

    fn to_model(&self) -> Result<LogPolicy, InvalidPolicy> {
        none_unknown("logs.", &self.unknown)?;
        Ok(LogKeys { budget: self.budget.map(ByteSize::from_bytes) }.policy()?)
    }
}

impl UpdateBody {
    fn from_model(policy: UpdatePolicy) -> UpdateBody {
        UpdateBody { probation: policy.probation.and_then(seconds), unknown: Unknown::new() }
    }

    fn to_model(&self) -> Result<UpdatePolicy, InvalidPolicy> {
        none_unknown("update.", &self.unknown)?;
        Ok(UpdateKeys { probation: span("update.probation", self.probation)? }.policy()?)
    }
}

/// All policies of an envelope: keys of its body, not a table of their own. Envelopes of before have none of
/// them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PoliciesBody {
    /// How it becomes known that the program is ready; `null`: with its process.
    pub ready: Option<ReadyBody>,
    /// How it becomes known that it still works; `null`: while its process is there.
    pub alive: Option<AliveBody>,
    /// How it is ended.
    pub stop: StopBody,
    /// What it may use.
    pub limits: LimitsBody,
    /// How much of what it prints is kept.
    pub logs: LogsBody,
    /// What an update to this version has to show.
    pub update: UpdateBody,
    /// Keys of the envelope that this fettle does not know.
    #[serde(flatten)]
    pub unknown: Unknown,
}

impl PoliciesBody {
    /// The policies as they are written.
    pub fn from_model(policies: &Policies) -> PoliciesBody {
        let Policies { ready, alive, stop, limits, logs, update } = policies;
        PoliciesBody {
            ready: ready.as_ref().map(ReadyBody::from_model),
            alive: alive.as_ref().map(AliveBody::from_model),
            stop: StopBody::from_model(stop),
            limits: LimitsBody::from_model(*limits),
            logs: LogsBody::from_model(*logs),
            update: UpdateBody::from_model(*update),
            unknown: Unknown::new(),
        }
    }

    /// The policies that this says.
    ///
    /// # Errors
    /// See [`InvalidPolicy`].
    pub fn to_model(&self) -> Result<Policies, InvalidPolicy> {
        none_unknown("", &self.unknown)?;
        Ok(Policies {
            ready: self.ready.as_ref().map(ReadyBody::to_model).transpose()?,
            alive: self.alive.as_ref().map(AliveBody::to_model).transpose()?,
            stop: self.stop.to_model()?,
            limits: self.limits.to_model()?,
            logs: self.logs.to_model()?,
            update: self.update.to_model()?,
        })
    }
}

#[cfg(test)]
mod tests;
