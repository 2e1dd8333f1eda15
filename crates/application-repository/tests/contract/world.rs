//! One repository in a directory of its own, served on a port of its own, and the objects that it may pin.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use application_repository::{ApplicationRepository, Claim, HoldError, Holder, Holds};
use bytes::Bytes;
use model::{Digest, MediaInfo, ObjectName, Policy, Timestamp};
use reqwest::{Method, RequestBuilder, header::HeaderMap};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use wire::serve::{Address, Listener, serve};
use wire::{Code, ErrorBody, encode_segment};

pub(crate) struct World {
    dir: TempDir,
    pub(crate) objects: Arc<Objects>,
    client: reqwest::Client,
    server: Option<Server>,
}

struct Server {
    repository: Arc<ApplicationRepository>,
    url: String,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

/// Objects and who holds them.
#[derive(Debug, Default)]
pub(crate) struct Objects(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    there: BTreeMap<ObjectName, (Digest, u64, MediaInfo)>,
    held: BTreeMap<String, BTreeSet<ObjectName>>,
    fail_release: bool,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl World {
    /// With the objects `tool` and `data`.
    pub(crate) async fn start() -> World {
        let mut world = World {
            dir: tempfile::tempdir().unwrap(),
            objects: Arc::default(),
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
            server: None,
        };
        for name in ["tool", "data"] {
            world.objects.add(name, name.as_bytes(), MediaInfo::from_file_name(name));
        }
        world.begin().await;
        world
    }

    pub(crate) async fn restart(&mut self) {
        let server = self.server.take().unwrap();
        server.stop.send(()).unwrap();
        server.serving.await.unwrap();
        drop(server.repository);
        self.begin().await;
    }

    async fn begin(&mut self) {
        let now = || Timestamp::from_millis(1_790_000_000_000);
        let database = self.dir.path().join("catalog.sqlite");
        let repository = ApplicationRepository::open(&database, self.objects.clone(), now).unwrap();
        let listener = Listener::bind(&"127.0.0.1:0".parse::<Address>().unwrap()).await.unwrap();
        let url = listener.url();
        let (stop, stopped) = oneshot::channel();
        let service = repository.service(Policy::OpenToThisMachine);
        let serving = tokio::spawn(serve(listener, service, async { drop(stopped.await) }));
        self.server = Some(Server { repository, url, stop, serving });
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.server.as_ref().unwrap().url))
    }

    pub(crate) async fn publish(&self, name: &str, version: &str, envelopes: &[Value]) -> Answer {
        let body = json!({ "envelopes": envelopes });
        answer(self.request(Method::PUT, &version_path(name, version)).json(&body)).await
    }

    pub(crate) async fn remove(&self, name: &str, version: &str) -> Answer {
        answer(self.request(Method::DELETE, &version_path(name, version))).await
    }

    pub(crate) async fn find(&self, reference: &str, profiles: &str) -> Answer {
        let (reference, profiles) = (encode_segment(reference), encode_segment(profiles));
        let path = format!("/v1/match?reference={reference}&profiles={profiles}");
        answer(self.request(Method::GET, &path)).await
    }

    pub(crate) async fn show(&self, reference: &str, profile: Option<&str>) -> Answer {
        let profile = profile.map_or(String::new(), |profile| format!("&profile={profile}"));
        let path = format!("/v1/show?reference={}{profile}", encode_segment(reference));
        answer(self.request(Method::GET, &path)).await
    }

    pub(crate) async fn list(&self, glob: &str) -> Vec<Value> {
        let path = format!("/v1/applications?glob={}", encode_segment(glob));
        let got = answer(self.request(Method::GET, &path)).await;
        assert_eq!(got.headers["content-type"], wire::v1::NDJSON);
        let lines = got.body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
    }
}

impl Objects {
    pub(crate) fn add(&self, name: &str, bytes: &[u8], media: MediaInfo) {
        let facts = (Digest::of(bytes), bytes.len() as u64, media);
        self.0.lock().unwrap().there.insert(name.parse().unwrap(), facts);
    }

    pub(crate) fn holders(&self) -> Vec<String> {
        self.0.lock().unwrap().held.keys().cloned().collect()
    }

    /// As a crash leaves it.
    pub(crate) fn hold_stray(&self, holder: &str) {
        self.0.lock().unwrap().held.insert(holder.to_owned(), BTreeSet::new());
    }

    pub(crate) fn fail_release(&self, fail: bool) {
        self.0.lock().unwrap().fail_release = fail;
    }
}

impl Holds for Objects {
    fn take(&self, claims: &[Claim]) -> Result<(), HoldError> {
        let mut state = self.0.lock().unwrap();
        for pin in claims.iter().flat_map(|claim| &claim.pins) {
            let Some((digest, size, media)) = state.there.get(&pin.object).cloned() else {
                return Err(HoldError::Absent(vec![pin.object.clone()]));
            };
            if (digest, size, &media) != (pin.digest, pin.size, &pin.media) {
                return Err(HoldError::Differs {
                    pinned: Box::new(pin.clone()),
                    digest,
                    size,
                    media,
                });
            }
        }
        for claim in claims {
            let held = state.held.entry(claim.holder.to_string()).or_default();
            held.extend(claim.pins.iter().map(|pin| pin.object.clone()));
        }
        Ok(())
    }

    fn release(&self, holder: &Holder) -> Result<(), HoldError> {
        let mut state = self.0.lock().unwrap();
        if state.fail_release {
            return Err(HoldError::Failed("the disk failed".into()));
        }
        state.held.remove(&holder.to_string());
        Ok(())
    }

    fn holders(&self, after: Option<&str>, limit: u32) -> Result<Vec<String>, HoldError> {
        let state = self.0.lock().unwrap();
        let later = state.held.keys().filter(|holder| after.is_none_or(|after| &***holder > after));
        Ok(later.take(limit as usize).cloned().collect())
    }
}

impl Answer {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        assert!((200..300).contains(&self.status), "{self:?}");
        serde_json::from_slice(&self.body).unwrap()
    }

    #[track_caller]
    pub(crate) fn refused(&self, code: Code) -> ErrorBody {
        let error: ErrorBody = serde_json::from_slice(&self.body).expect("a problem");
        assert_eq!((error.code, self.status), (code, code.status().as_u16()), "{error:?}");
        error
    }
}

pub(crate) async fn answer(request: RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Answer { status, headers, body: response.bytes().await.unwrap() }
}

/// An envelope of `demo/weather` with the program `tool` and the package `data`.
pub(crate) fn envelope(version: &str, profile: &str) -> Value {
    json!({
        "application": "demo/weather", "title": "weather", "version": version, "profile": profile,
        "program": pin("tool"), "args": ["--fast"], "env": { "LANG": "C" },
        "packages": { "model": pin("data") },
        "restart": { "on": "failure", "limit": 5, "window": 10.0 },
        "ready": null, "alive": null,
        "stop": { "signal": "SIGTERM", "command": null, "within": 10.0 },
        "limits": { "memory": null, "cpu": null, "tasks": null, "open_files": null },
        "logs": { "budget": null }, "update": { "probation": null },
        "created": null, "created_by": null,
    })
}

pub(crate) fn pin(object: &str) -> Value {
    json!({
        "object": object, "digest": Digest::of(object.as_bytes()), "size": object.len(),
        "type": "application/octet-stream", "encoding": null, "chunks": null, "measured": null,
        "writable": false,
    })
}

/// The same with one thing changed: `with(&e, "/args/0", "x")`.
pub(crate) fn with(envelope: &Value, pointer: &str, value: impl Into<Value>) -> Value {
    let mut changed = envelope.clone();
    *changed.pointer_mut(pointer).unwrap_or_else(|| panic!("no {pointer}")) = value.into();
    changed
}

pub(crate) const APP: &str = "demo/weather";

fn version_path(name: &str, version: &str) -> String {
    format!("/v1/applications/{}/versions/{}", encode_segment(name), encode_segment(version))
}
