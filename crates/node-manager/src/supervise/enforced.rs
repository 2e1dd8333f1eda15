//! What a node can hold programs to, and by what: control groups, else what the kernel offers for each process.
//! Decides nothing; a word for people about what `launch`, `prepare` and `process` do.

use cgroup::{Capabilities, Capability};
use wire::v1::EnforcedBody;

/// Each ability, in the order of showing. With a `by` and a `why`, something weaker stands in for a control
/// group, and `why` says why that is so.
pub(crate) fn enforced(capabilities: &Capabilities) -> Vec<EnforcedBody> {
    let body = |(what, capability): (&str, &Capability)| {
        let (by, why) = match capability {
            Capability::Has { by, .. } => (Some(by.to_string()), None),
            Capability::Lacks { why } => (instead(what).map(str::to_owned), Some(why.clone())),
        };
        EnforcedBody { what: what.to_owned(), by, why }
    };
    let files = EnforcedBody { what: "open-files".into(), by: Some(RLIMIT.into()), why: None };
    capabilities.all().into_iter().map(body).chain([files]).collect()
}

/// What stands in for a control group. Nothing can for processor time, and nothing for tasks: that rlimit counts
/// all processes of an account, and none of root's.
fn instead(what: &str) -> Option<&'static str> {
    match what {
        "memory" => Some(RLIMIT),
        "kill" => Some("a search of /proc by environment and process group"),
        "freeze" => Some("SIGSTOP"),
        "events" => Some("the end of each process"),
        _ => None,
    }
}

const RLIMIT: &str = "rlimit of each process";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_for_a_control_group_is_said_with_the_reason() {
        let lacks = || Capability::Lacks { why: "not mounted".into() };
        let capabilities = Capabilities {
            memory: lacks(),
            cpu: lacks(),
            tasks: Capability::Has { by: cgroup::By::V1, at: "/sys/fs/cgroup/pids/n".into() },
            kill: lacks(),
            freeze: lacks(),
            events: lacks(),
            start: lacks(),
        };
        let told = enforced(&capabilities);
        let of = |what: &str| told.iter().find(|body| body.what == what).unwrap();
        let has = |what: &str| (of(what).by.as_deref(), of(what).why.as_deref());
        assert_eq!(has("memory"), (Some(RLIMIT), Some("not mounted")));
        assert_eq!(has("cpu"), (None, Some("not mounted")));
        assert_eq!(has("tasks"), (Some("cgroup v1"), None));
        assert_eq!(has("open-files"), (Some(RLIMIT), None));
    }
}
