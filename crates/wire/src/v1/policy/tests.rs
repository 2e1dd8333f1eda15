//! Policies go through JSON without loss, and nothing that is not understood is passed over.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn read(text: &serde_json::Value) -> Result<Policies, String> {
    let body: PoliciesBody = serde_json::from_value(text.clone()).map_err(|e| e.to_string())?;
    body.to_model().map_err(|error| error.to_string())
}

#[test]
fn an_envelope_of_before_wants_what_was_usual_then() {
    assert_eq!(read(&json!({})), Ok(Policies::default()));
}

#[test]
fn a_key_that_is_not_known_is_refused_at_every_depth_unless_it_is_null() {
    let http = json!({"port": 80, "path": "/"});
    for (key, text) in [
        ("sandbox", json!({"sandbox": {}})),
        ("ready.grpc", json!({"ready": {"tcp": {"port": 80}, "grpc": 1}})),
        ("ready.tcp.host", json!({"ready": {"tcp": {"port": 80, "host": "a"}}})),
        ("alive.retries", json!({"alive": {"http": http, "retries": 1}})),
        (
            "alive.http.method",
            json!({"alive": {"http": {"port": 80, "path": "/", "method": "HEAD"}}}),
        ),
        ("stop.all", json!({"stop": {"all": false}})),
        ("limits.swap", json!({"limits": {"swap": 1}})),
        ("logs.days", json!({"logs": {"days": 1}})),
        ("update.canary", json!({"update": {"canary": "10%"}})),
    ] {
        let refusal = read(&text).unwrap_err();
        assert!(refusal.contains(&format!("`{key}`")), "{text}: {refusal}");
    }
    let silent = json!({"sandbox": null, "limits": {"swap": null}, "stop": {"all": null}});
    assert_eq!(read(&silent), Ok(Policies::default()));
}

#[test]
fn what_the_manifest_may_not_say_an_envelope_may_not_either() {
    for (text, says) in [
        (json!({"ready": {}}), "exactly one of"),
        (json!({"ready": {"notify": true, "tcp": {"port": 1}}}), "exactly one of"),
        (json!({"ready": {"notify": true, "every": 1.0}}), "`ready.every` says nothing"),
        (json!({"ready": {"notify": true, "within": -1.0}}), "`ready.within` is no duration"),
        (json!({"ready": {"notify": true, "within": 0.0}}), "`ready.within` is 0s"),
        (json!({"alive": {"watchdog": 30.0, "failures": 1}}), "`alive.failures` says nothing"),
        (json!({"stop": {"signal": "SIGKILL"}}), "no signal"),
        (json!({"stop": {"command": []}}), "a program before its arguments"),
        (json!({"limits": {"cpu": 0}}), "no share of processors"),
        (json!({"limits": {"tasks": -1}}), "-1"),
        (json!({"logs": {"budget": 1}}), "`logs.budget` is 1: 64KiB to 1TiB is wanted"),
        (json!({"update": {"probation": 1e9}}), "`update.probation`"),
        (json!({"ready": {"tcp": {"port": 70000}}}), "1 to 65535"),
        (json!({"ready": {"http": {"port": 80, "path": "x"}}}), "no path of a URL"),
    ] {
        let refusal = read(&text).unwrap_err();
        assert!(refusal.contains(says), "{text}: {refusal}");
    }
}

fn spans(most: u64) -> impl Strategy<Value = Option<Span>> {
    prop::option::of((0..most).prop_map(Span::from_millis))
}

fn probes() -> impl Strategy<Value = (Option<HttpProbe>, Option<Port>, Option<Argv>)> {
    let port = prop_oneof!["[1-9][0-9]{0,3}", "[A-E_]{1,9}"].prop_map(|text| text.parse().unwrap());
    let http = (port, "/[a-z?=/]{0,9}")
        .prop_map(|(port, path): (Port, String)| HttpProbe { port, path: path.parse().unwrap() });
    let argv =
        prop::collection::vec("[a-z-]{1,5}", 1..4).prop_map(|words| words.try_into().unwrap());
    prop_oneof![
        http.clone().prop_map(|http| (Some(http), None, None)),
        http.prop_map(|http| (None, Some(http.port), None)),
        argv.prop_map(|argv: Argv| (None, None, Some(argv))),
    ]
}

prop_compose! {
    fn policies()(
        (http, tcp, command) in probes(),
        (a_http, a_tcp, a_command) in probes(),
        (notify, dog, ready, alive) in any::<(bool, bool, bool, bool)>(),
        (within, every, timeout) in (spans(90_000_000), spans(4_000_000), spans(4_000_000)),
        failures in prop::option::of(0u32..2000),
        (signal, stop) in (prop::sample::select(StopSignal::ALL), spans(90_000_000)),
        (memory, cpu) in (prop::option::of(any::<u64>()), prop::option::of(0u32..2_000_000)),
        (tasks, open_files) in any::<(Option<u32>, Option<u32>)>(),
        (budget, probation) in (prop::option::of(any::<u32>()), spans(3_000_000_000)),
    ) -> Option<Policies> {
        let asked = |keys: ReadyKeys| match notify {
            true => ReadyKeys { notify: Some(true), within, ..ReadyKeys::default() },
            false => keys,
        };
        let watched = |keys: AliveKeys| match dog {
            true => AliveKeys { watchdog: every, ..AliveKeys::default() },
            false => keys,
        };
        let r = asked(ReadyKeys { notify: None, http, tcp, command: command.clone(), within, every });
        let a = watched(AliveKeys {
            watchdog: None, http: a_http, tcp: a_tcp, command: a_command, every, timeout, failures,
        });
        Some(Policies {
            ready: if ready { Some(r.policy().ok()?) } else { None },
            alive: if alive { Some(a.policy().ok()?) } else { None },
            stop: StopKeys { signal: Some(signal), command, within: stop }.policy().ok()?,
            limits: LimitKeys {
                memory: memory.map(|bytes| ByteSize::from_bytes(bytes >> 4)),
                cpu: cpu.and_then(Cpu::from_thousandths),
                tasks: tasks.map(|n| n >> 10),
                open_files: open_files.map(|n| n >> 2),
            }.policy().ok()?,
            logs: LogKeys { budget: budget.map(|b| ByteSize::from_bytes(b.into())) }.policy().ok()?,
            update: UpdateKeys { probation }.policy().ok()?,
        })
    }
}

proptest! {
    #[test]
    fn every_policy_goes_to_json_and_back_without_loss(policies in policies()) {
        let Some(policies) = policies else { return Ok(()) };
        let body = PoliciesBody::from_model(&policies);
        let text = serde_json::to_string(&body).unwrap();
        let again: PoliciesBody = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(&again, &body);
        prop_assert_eq!(again.to_model(), Ok(policies));
    }

    #[test]
    fn arbitrary_keys_never_panic_and_never_vanish(
        table in "ready|alive|stop|limits|logs|update",
        key in "[a-z_]{1,9}",
        value in prop_oneof![
            any::<f64>().prop_map(|n| json!(n)), any::<i64>().prop_map(|n| json!(n)),
            "\\PC{0,9}".prop_map(|t| json!(t)), Just(json!({})), Just(json!([])),
        ],
    ) {
        let text = json!({ table.clone(): { key.clone(): value } });
        if let Ok(policies) = read(&text) {
            let written = serde_json::to_value(PoliciesBody::from_model(&policies)).unwrap();
            prop_assert!(written[&table].get(&key).is_some(), "{text} became {written}");
        }
    }
}
