//! Bodies as people read them: one line where several follow each other, fields where one thing is shown.

use client::publish::Published;
use model::lifecycle::{Desired, InstanceState};
use model::{ExitStatus, counted};
use wire::v1::{
    ApplicationLine, CollectedBody, DamageBody, EnvelopeBody, ExitBody, GarbageLine,
    InstallationBody, InstalledBody, InstanceBody, ObjectBody, ObjectLine, OperationBody,
    OperationResult, OverridesBody, PinBody, ProbationBody, ProgramBody, RejectedBody,
    RepairedBody, StatusBody, VerifiedBody,
};

use crate::table::{Table, ago, fields, or_dash, size};

/// What a change gave, in one line.
pub(crate) fn result_line(result: &OperationResult) -> String {
    match result {
        OperationResult::Installed(body) => installed(body),
        OperationResult::Installation(body) => installation_line(body),
        OperationResult::Instance(body) => instance_line(body),
        OperationResult::Collected(body) => collected(body),
        OperationResult::Verified(body) => verified(body),
        OperationResult::Repaired(body) => repaired(body),
    }
}

/// What an install gave.
pub(crate) fn installed(body: &InstalledBody) -> String {
    let InstalledBody { installation, title, version, instance, .. } = body;
    match instance {
        Some(instance) => format!("{installation}  {title} {version}, started as {instance}"),
        None => format!("{installation}  {title} {version}"),
    }
}

/// An installation in one line.
pub(crate) fn installation_line(body: &InstallationBody) -> String {
    match &body.previous {
        Some(previous) => {
            format!("{}  {} (before: {previous})", body.installation, body.version)
        }
        None => format!("{}  {}", body.installation, body.version),
    }
}

/// An instance in one line.
pub(crate) fn instance_line(body: &InstanceBody) -> String {
    let mut line = format!("{}  {}  {}", body.instance, body.state, body.version);
    if let Some(pid) = body.pid {
        line.push_str(&format!("  pid {pid}"));
    }
    line
}

/// The end of an installation, in one line.
pub(crate) fn uninstalled(body: &InstallationBody) -> String {
    format!("{}  uninstalled", body.installation)
}

/// What a collection gave, in one line.
pub(crate) fn collected(body: &CollectedBody) -> String {
    let CollectedBody { bytes, blobs, trees, partial } = body;
    match bytes + blobs + trees + partial {
        0 => "nothing to collect".to_owned(),
        _ => format!(
            "{} freed: {}, {}, {partial} partly received",
            size(*bytes),
            counted(*blobs, "blob"),
            counted(*trees, "tree")
        ),
    }
}

/// What a look at the store gave: a line for each damage, and one for all.
pub(crate) fn verified(body: &VerifiedBody) -> String {
    let VerifiedBody { bytes, blobs, trees, damaged, damages } = body;
    let mut text = damages_of(damages, *damaged);
    let (blobs, trees) = (counted(*blobs, "blob"), counted(*trees, "tree"));
    text.push_str(&format!("{} in {blobs} and {trees}: ", size(*bytes)));
    text.push_str(&match damaged {
        0 => "all as it should be".to_owned(),
        _ => format!("{}; `fettle store repair` mends what it can", counted(*damaged, "damage")),
    });
    text
}

/// What mending the store gave: a line for each damage that is left, and one for all.
pub(crate) fn repaired(body: &RepairedBody) -> String {
    let RepairedBody { blobs, names, trees, entries, damaged, damages } = body;
    let mut text = damages_of(damages, *damaged);
    text.push_str(&match blobs + names + entries {
        0 => "nothing was mended".to_owned(),
        _ => format!(
            "{} fetched again, {} and {} in {} mended",
            counted(*blobs, "blob"),
            counted(*names, "link"),
            counted(*entries, "entry"),
            counted(*trees, "tree")
        ),
    });
    if *damaged > 0 {
        text.push_str(&format!("; {} left", counted(*damaged, "damage")));
    }
    text
}

/// A line for each that was told, and one for those that were only counted.
fn damages_of(damages: &[DamageBody], damaged: u64) -> String {
    let line = |DamageBody { kind, name, path, what }: &DamageBody| match path {
        Some(path) => format!("{kind} {name}: {path}: {what}\n"),
        None => format!("{kind} {name}: {what}\n"),
    };
    let mut text: String = damages.iter().map(line).collect();
    let more = damaged.saturating_sub(damages.len() as u64);
    if more > 0 {
        text.push_str(&format!("and {more} more\n"));
    }
    text
}

/// The table of `store gc --dry-run`.
pub(crate) fn garbage(lines: &[GarbageLine]) -> Table {
    let mut table = Table::new(&["KIND", "SIZE", "NAME"]);
    for line in lines {
        table.row(vec![line.kind.to_string(), size(line.bytes), line.name.clone()]);
    }
    table
}

/// The table of `ps --installations`.
pub(crate) fn installations(bodies: &[InstallationBody]) -> Table {
    let mut table = Table::new(&["NAME", "VERSION", "PREVIOUS", "FROM", "INSTANCES"]);
    for body in bodies {
        table.row(vec![
            body.installation.to_string(),
            body.version.to_string(),
            or_dash(body.previous.as_ref()),
            body.origin.reference.to_string(),
            body.instances.len().to_string(),
        ]);
    }
    table
}

/// The table of `ps`.
pub(crate) fn instances(bodies: &[InstanceBody]) -> Table {
    let mut table = Table::new(&["NAME", "STATE", "VERSION", "PID", "RESTARTS", "SINCE"]);
    for body in bodies {
        table.row(vec![
            body.instance.to_string(),
            body.state.to_string(),
            body.version.to_string(),
            or_dash(body.pid),
            body.restarts.to_string(),
            ago(body.since),
        ]);
    }
    table
}

/// Everything about an instance, and the next command to type.
pub(crate) fn instance(body: &InstanceBody, overrides: Option<&OverridesBody>) -> String {
    let mut rows = vec![
        ("instance", body.instance.to_string()),
        ("version", format!("{} {}", body.title, body.version)),
        ("state", format!("{} for {}", body.state, ago(body.since))),
        ("desired", body.desired.to_string()),
        ("pid", or_dash(body.pid)),
        ("restarts", body.restarts.to_string()),
        ("exit", body.exit.as_ref().map_or_else(|| "-".to_owned(), exit)),
        ("created by", body.created_by.to_string()),
    ];
    rows.extend(body.ready.map(|since| ("ready", format!("for {}", ago(since)))));
    rows.extend(body.status.clone().map(|said| ("says", said)));
    rows.extend(body.reason.clone().map(|reason| ("reason", reason)));
    rows.extend(body.next.map(|at| ("starts", at.to_string())));
    rows.extend(body.probation.as_ref().map(|probation| {
        let ProbationBody { version_before, remaining } = probation;
        ("probation", format!("{remaining:.0} s more, else back to {version_before}"))
    }));
    rows.extend(
        body.rejected
            .iter()
            .map(|RejectedBody { version, reason }| ("rejected", format!("{version}: {reason}"))),
    );
    let given = overrides.map(overridden).unwrap_or_default();
    rows.extend(given.into_iter().filter(|(_, value)| value != "-"));
    if let Some(next) = next_step(body) {
        rows.push(("next", next));
    }
    fields(&rows)
}

/// Everything about an installation.
pub(crate) fn installation(body: &InstallationBody) -> String {
    let mut rows = vec![
        ("installation", body.installation.to_string()),
        ("version", format!("{} {}", body.title, body.version)),
        ("previous", or_dash(body.previous.as_ref())),
        ("from", format!("{} at {}", body.origin.reference, body.origin.server)),
        ("profile", body.origin.profile.to_string()),
    ];
    let instances: Vec<String> = body.instances.iter().map(ToString::to_string).collect();
    rows.extend(overridden(&body.overrides));
    rows.push(("instances", listed(&instances)));
    rows.push(("created by", body.created_by.to_string()));
    fields(&rows)
}

/// What was asked for beyond the envelope.
fn overridden(overrides: &OverridesBody) -> [(&'static str, String); 3] {
    let variables = overrides.env.iter().map(|(name, value)| format!("{name}={value}"));
    let variables: Vec<String> = variables.collect();
    let packages = overrides.packages.iter().map(|(name, pin)| format!("{name}={}", pin.object));
    let packages: Vec<String> = packages.collect();
    [
        ("variables", listed(&variables)),
        ("arguments", listed(&overrides.args)),
        ("packages", listed(&packages)),
    ]
}

fn listed(names: &[String]) -> String {
    match names.is_empty() {
        true => "-".to_owned(),
        false => names.join(" "),
    }
}

/// What a node or server says of itself.
pub(crate) fn status(body: &StatusBody) -> String {
    let mut rows = vec![
        ("kind", body.kind.clone()),
        ("fettle", body.fettle.clone()),
        ("data", body.data.clone()),
    ];
    rows.push(("settings", body.config.clone().unwrap_or_else(|| "no file was read".to_owned())));
    if let Some(server) = &body.server {
        rows.push(("server", server.clone()));
    }
    if let Some(profiles) = &body.profiles {
        let names: Vec<&str> = profiles.iter().map(model::Profile::as_str).collect();
        rows.push(("profiles", names.join(" ")));
    }
    for enforced in body.enforced.iter().flatten() {
        let how = match (&enforced.by, &enforced.why) {
            (Some(by), None) => format!("{}: by {by}", enforced.what),
            (Some(by), Some(why)) => {
                format!("{}: by {by} (no control group: {why})", enforced.what)
            }
            (None, why) => {
                format!("{}: no ({})", enforced.what, why.as_deref().unwrap_or("unknown"))
            }
        };
        rows.push(("enforced", how));
    }
    rows.extend(body.warnings.iter().map(|warning| ("warning", warning.clone())));
    fields(&rows)
}

/// The table of operations.
pub(crate) fn operations(bodies: &[OperationBody]) -> Table {
    let mut table = Table::new(&["OPERATION", "KIND", "TARGET", "STATE", "PHASE", "STARTED"]);
    for body in bodies {
        table.row(vec![
            body.operation.to_string(),
            body.kind.to_string(),
            body.target.clone(),
            body.state.to_string(),
            body.phase.clone(),
            format!("{} ago", ago(body.started)),
        ]);
    }
    table
}

/// How far an operation is, in one line.
pub(crate) fn operation_now(body: &OperationBody) -> String {
    let mut line = format!("{}  {}", body.progressed, body.state);
    if !body.state.has_ended() {
        line.push_str(&format!("  {}", body.phase));
    }
    match body.bytes_total {
        Some(total) => line.push_str(&format!("  {} of {}", size(body.bytes_done), size(total))),
        None if body.bytes_done > 0 => line.push_str(&format!("  {}", size(body.bytes_done))),
        None => {}
    }
    if let Some(what) = &body.waits_for {
        line.push_str(&format!("  waits for {what}"));
    }
    if let Some(result) = &body.result {
        line.push_str(&format!("  {}", result_line(result)));
    }
    if let Some(error) = &body.error {
        line.push_str(&format!("  {}", error.message));
    }
    line
}

/// Everything about an operation.
pub(crate) fn operation(body: &OperationBody) -> String {
    let bytes = match body.bytes_total {
        Some(total) => format!("{} of {}", size(body.bytes_done), size(total)),
        None => size(body.bytes_done),
    };
    let mut rows = vec![
        ("operation", body.operation.to_string()),
        ("asked for", format!("{} {}", body.kind, body.target)),
        ("state", body.state.to_string()),
        ("phase", body.phase.clone()),
        ("bytes", bytes),
        ("started", body.started.to_string()),
        ("progressed", body.progressed.to_string()),
        ("ended", or_dash(body.ended)),
        ("created by", body.created_by.to_string()),
    ];
    rows.extend(body.waits_for.clone().map(|what| ("waits for", what)));
    if let Some(result) = &body.result {
        rows.push(("result", result_line(result)));
    }
    if let Some(error) = &body.error {
        rows.push(("error", error.message.clone()));
        rows.extend(error.causes.iter().map(|cause| ("caused by", cause.clone())));
        rows.extend(error.hint.iter().map(|hint| ("hint", hint.clone())));
    }
    rows.extend(body.notes.iter().map(|note| ("note", note.clone())));
    fields(&rows)
}

/// Everything about an object.
pub(crate) fn object(body: &ObjectBody) -> String {
    let received = body.parts.iter().filter(|part| part.received).count();
    let mut rows = vec![
        ("name", body.name.to_string()),
        ("type", body.media_type.to_string()),
        ("encoding", or_dash(body.encoding)),
        ("size", size(body.size)),
        ("digest", body.digest.to_string()),
        ("parts", format!("{received} of {}", body.parts.len())),
        ("complete", if body.complete { "yes" } else { "no" }.to_owned()),
        ("created", format!("{} by {}", body.created, body.created_by)),
    ];
    if let Some(measured) = &body.measured {
        let unpacked = size(measured.unpacked_bytes);
        rows.push(("unpacked", format!("{unpacked} in {}", counted(measured.entries, "entry"))));
    }
    fields(&rows)
}

/// The table of objects.
pub(crate) fn objects(lines: &[ObjectLine]) -> Table {
    let mut table = Table::new(&["NAME", "TYPE", "ENCODING", "SIZE", "CREATED"]);
    for line in lines {
        table.row(vec![
            line.name.to_string(),
            line.media_type.to_string(),
            or_dash(line.encoding),
            size(line.size),
            format!("{} ago", ago(line.created)),
        ]);
    }
    table
}

/// The table of applications: a row for each version.
pub(crate) fn applications(lines: &[ApplicationLine]) -> Table {
    let mut table = Table::new(&["APPLICATION", "VERSION", "TITLE", "PROFILES"]);
    for line in lines {
        for version in &line.versions {
            let profiles: Vec<&str> = version.profiles.iter().map(model::Profile::as_str).collect();
            table.row(vec![
                line.application.to_string(),
                version.version.to_string(),
                version.title.to_string(),
                profiles.join(" "),
            ]);
        }
    }
    table
}

/// What a publication moved.
pub(crate) fn published(body: &Published) -> String {
    let mut table = Table::new(&["OBJECT", "SIZE", "SENT"]);
    for object in &body.objects {
        table.row(vec![object.name.to_string(), size(object.size), size(object.sent)]);
    }
    let profiles: Vec<&str> = body.profiles.iter().map(model::Profile::as_str).collect();
    let (name, version) = (&body.application, &body.version);
    let verb = if body.published { "published" } else { "was there already" };
    let (sent, total) = (size(body.bytes_sent), size(body.bytes_total));
    let profiles = profiles.join(" ");
    format!("{table}{name} {version} ({profiles}) {verb}, {sent} of {total} sent")
}

/// Everything about an envelope.
pub(crate) fn envelope(body: &EnvelopeBody) -> String {
    let mut rows = vec![
        ("application", format!("{} {}", body.application, body.version)),
        ("title", body.title.to_string()),
        ("profile", body.profile.to_string()),
        (
            "program",
            match &body.program {
                ProgramBody::Object(object) => pin(object),
                ProgramBody::InPackage { package, path } => format!("{path} in package {package}"),
            },
        ),
        ("arguments", body.args.join(" ")),
    ];
    rows.extend(body.env.iter().map(|(name, value)| ("variable", format!("{name}={value}"))));
    rows.extend(
        body.packages.iter().map(|(name, object)| ("package", format!("{name}: {}", pin(object)))),
    );
    let restart = &body.restart;
    let word = serde_json::to_value(restart.on).ok();
    let word = word.as_ref().and_then(|word| word.as_str()).unwrap_or_default().to_owned();
    let (limit, window) = (restart.limit, restart.window);
    rows.push(("restart", format!("{word}, at most {limit} within {window} s")));
    rows.extend(policies(body));
    if let (Some(created), Some(by)) = (&body.created, &body.created_by) {
        rows.push(("published", format!("{created} by {by}")));
    }
    fields(&rows)
}

/// The policies that say something, as the JSON has them.
fn policies(body: &EnvelopeBody) -> Vec<(&'static str, String)> {
    let object = serde_json::to_value(&body.policies).unwrap_or_default();
    let said = |name: &'static str| {
        let table = object.get(name)?.as_object()?.iter();
        let keys: Vec<String> = table
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| format!("{key} {value}"))
            .collect();
        (!keys.is_empty()).then(|| (name, keys.join(", ")))
    };
    ["ready", "alive", "stop", "limits", "logs", "update"].into_iter().filter_map(said).collect()
}

fn pin(pin: &PinBody) -> String {
    let encoding = pin.encoding.map(|encoding| format!("+{encoding}")).unwrap_or_default();
    let writable = if pin.writable { ", writable" } else { "" };
    format!("{} ({}{encoding}, {}{writable})", pin.object, pin.media_type, size(pin.size))
}

fn exit(body: &ExitBody) -> String {
    let (status, at) = body.to_model();
    match status {
        ExitStatus::Code(code) => format!("code {code}, {} ago", ago(at)),
        ExitStatus::Signal(signal) => format!("signal {signal}, {} ago", ago(at)),
        ExitStatus::Unknown(why) => format!("unknown: {why}"),
    }
}

/// What to type to learn more, or to change what looks wrong.
fn next_step(body: &InstanceBody) -> Option<String> {
    let name = &body.instance;
    match (body.state, body.desired) {
        (InstanceState::Failed, _) => Some(format!(
            "`fettle logs {name} --stderr` says what went wrong; `fettle start {name}` tries again"
        )),
        (InstanceState::Backoff, _) => Some(format!(
            "it is started again after a pause; `fettle logs {name} --stderr`, `fettle stop {name}`"
        )),
        (InstanceState::NotRunning, Desired::Stopped) => Some(format!("`fettle start {name}`")),
        (InstanceState::Running, _) => Some(format!("`fettle logs {name} -f`")),
        (InstanceState::Updating, _) => Some("`fettle operation list`".to_owned()),
        (
            InstanceState::NotRunning
            | InstanceState::Launching
            | InstanceState::Paused
            | InstanceState::Stopping
            | InstanceState::Deleted,
            _,
        ) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::v1::DamageKind;

    #[test]
    fn one_is_one_and_what_is_not_named_is_counted() {
        let damage = DamageBody {
            kind: DamageKind::Instance,
            name: "a/1/1".to_owned(),
            path: Some("p".to_owned()),
            what: "it is missing".to_owned(),
        };
        let damages = vec![damage];
        let body = VerifiedBody { bytes: 0, blobs: 1, trees: 1, damaged: 1, damages };
        let said = verified(&body);
        assert!(said.starts_with("instance a/1/1: p: it is missing\n"), "{said}");
        assert!(said.contains("in 1 blob and 1 tree: 1 damage; "), "{said}");
        let said = verified(&VerifiedBody { blobs: 2, damaged: 3, ..body });
        assert!(said.contains("\nand 2 more\n") && said.contains("2 blobs and 1 tree: 3 damages"));
        let (blobs, names, trees, entries) = (1, 2, 1, 1);
        let mended = RepairedBody { blobs, names, trees, entries, damaged: 1, damages: Vec::new() };
        assert_eq!(
            repaired(&mended),
            "and 1 more\n1 blob fetched again, 2 links and 1 entry in 1 tree mended; 1 damage left"
        );
        let collected_one = CollectedBody { bytes: 4096, blobs: 1, trees: 0, partial: 0 };
        assert!(collected(&collected_one).ends_with(" freed: 1 blob, 0 trees, 0 partly received"));
        let only_leftovers = CollectedBody { blobs: 0, ..collected_one };
        assert!(collected(&only_leftovers).contains("freed"));
    }
}
