//! The tables of a manifest that say what an application wants of whoever runs it: `[ready]`, `[alive]`,
//! `[stop]`, `[limits]`, `[logs]`, `[update]`. Owns their spelling, and where in the text a key stands; what
//! the keys together mean, and their bounds, are `model`'s.

use model::policy::{
    AliveKeys, Argv, Cpu, HttpPath, HttpProbe, LimitKeys, LogKeys, Policies, PolicyFault, Port,
    ReadyKeys, StopKeys, StopSignal, UpdateKeys,
};
use model::{ByteSize, Span};
use serde::Deserialize;
use toml::de::{DeTable, DeValue};

/// The six tables as they are written; each may be absent.
#[derive(Default)]
pub(super) struct RawPolicies {
    pub(super) ready: Option<RawReady>,
    pub(super) alive: Option<RawAlive>,
    pub(super) stop: RawStop,
    pub(super) limits: RawLimits,
    pub(super) logs: RawLogs,
    pub(super) update: RawUpdate,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawReady {
    notify: Option<bool>,
    http: Option<RawHttp>,
    tcp: Option<RawTcp>,
    command: Option<Argv>,
    within: Option<Span>,
    every: Option<Span>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAlive {
    watchdog: Option<Span>,
    http: Option<RawHttp>,
    tcp: Option<RawTcp>,
    command: Option<Argv>,
    every: Option<Span>,
    timeout: Option<Span>,
    failures: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHttp {
    port: Port,
    path: HttpPath,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTcp {
    port: Port,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawStop {
    signal: Option<StopSignal>,
    command: Option<Argv>,
    within: Option<Span>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLimits {
    memory: Option<ByteSize>,
    cpu: Option<Cpu>,
    tasks: Option<u32>,
    open_files: Option<u32>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLogs {
    budget: Option<ByteSize>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawUpdate {
    probation: Option<Span>,
}

impl RawPolicies {
    /// What the tables say together.
    pub(super) fn policies(self) -> Result<Policies, PolicyFault> {
        let RawPolicies { ready, alive, stop, limits, logs, update } = self;
        let RawStop { signal, command, within } = stop;
        let RawLimits { memory, cpu, tasks, open_files } = limits;
        Ok(Policies {
            ready: ready.map(|ready| ready.keys().policy()).transpose()?,
            alive: alive.map(|alive| alive.keys().policy()).transpose()?,
            stop: StopKeys { signal, command, within }.policy()?,
            limits: LimitKeys { memory, cpu, tasks, open_files }.policy()?,
            logs: LogKeys { budget: logs.budget }.policy()?,
            update: UpdateKeys { probation: update.probation }.policy()?,
        })
    }
}

impl RawReady {
    fn keys(self) -> ReadyKeys {
        let RawReady { notify, http, tcp, command, within, every } = self;
        let (http, tcp) = (http.map(RawHttp::probe), tcp.map(|tcp| tcp.port));
        ReadyKeys { notify, http, tcp, command, within, every }
    }
}

impl RawAlive {
    fn keys(self) -> AliveKeys {
        let RawAlive { watchdog, http, tcp, command, every, timeout, failures } = self;
        let (http, tcp) = (http.map(RawHttp::probe), tcp.map(|tcp| tcp.port));
        AliveKeys { watchdog, http, tcp, command, every, timeout, failures }
    }
}

impl RawHttp {
    fn probe(self) -> HttpProbe {
        HttpProbe { port: self.port, path: self.path }
    }
}

/// At which byte of the text a key stands (`ready.within`), or its table if the key is missing.
pub(super) fn place(text: &str, key: &str) -> Option<usize> {
    let whole = DeTable::parse(text).ok()?;
    let (mut table, mut found) = (whole.get_ref(), None);
    for part in key.split('.') {
        let Some((name, value)) = table.iter().find(|(name, _)| name.get_ref() == part) else {
            break;
        };
        found = Some(name.span().start);
        match value.get_ref() {
            DeValue::Table(inner) => table = inner,
            _ => break,
        }
    }
    found
}

#[cfg(test)]
mod tests;
