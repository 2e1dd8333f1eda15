//! Publishing: looks at what the manifest names, hashes it, uploads what the repository lacks, and
//! publishes all envelopes in one call. Dull: what is called what was decided in `plan`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use archive::Limits;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use model::{AppName, Digest, MediaInfo, ObjectName, Pin, Profile, Reference, Version, Wanted};
use serde::Serialize;
use wire::Code;
use wire::serve::blocking;
use wire::v1::{EnvelopeBody, PublishedBody, VersionRequest};

use super::error::{PathFault, PublishError, Use};
use super::manifest::{Manifest, PackageSource};
use super::measure;
use super::plan::{Fact, Facts, Object, Plan, local_uses, plan};
use crate::connection::Connection;
use crate::error::ClientError;
use crate::progress::Progress;
use crate::transfer::{Prepared, Source, TransferError, media_of, prepare, send, stated_media};

/// What publishing gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Published {
    /// The application.
    pub application: AppName,
    /// The version.
    pub version: Version,
    /// The profiles that this version is there for now.
    pub profiles: Vec<Profile>,
    /// Was something new published? `false`: the same was there.
    pub published: bool,
    /// Bytes of all its objects.
    pub bytes_total: u64,
    /// Bytes that were handed to the network by this call.
    pub bytes_sent: u64,
    /// Its objects.
    pub objects: Vec<PublishedObject>,
}

/// An object of a published version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PublishedObject {
    /// Its name.
    pub name: ObjectName,
    /// SHA-256 of its bytes.
    pub digest: Digest,
    /// Its bytes.
    pub size: u64,
    /// Bytes that were handed to the network by this call.
    pub sent: u64,
}

/// Publishes what a manifest describes. The same again is fine and moves nothing. An archive may amount
/// to `limits`; one that amounts to more, or that no node would unpack, is refused before it is sent.
///
/// # Errors
/// `version-taken` if the version holds, or held, other content, found out before anything is uploaded
/// where that is possible; see [`PublishError`] for the rest.
pub async fn publish(
    connection: &Connection,
    manifest: &Manifest,
    limits: Limits,
    progress: &Arc<dyn Progress>,
) -> Result<Published, PublishError> {
    let uses = local_uses(manifest);
    let sources = blocking(move || uses.into_iter().map(Local::look).collect::<Result<_, _>>());
    let sources: Vec<Local> = sources.await?;
    let pinned = pin(connection, manifest, limits, progress).await?;
    let prepared = hash(sources, limits, progress).await?;
    let local = prepared.iter().map(|(used, prepared)| (used.clone(), fact(prepared))).collect();
    let plan = plan(manifest, &Facts { local, pinned })?;
    let request =
        VersionRequest { envelopes: plan.envelopes.iter().map(EnvelopeBody::from_model).collect() };
    if let Some(answer) = already(connection, manifest, &request).await? {
        return Ok(published(answer, plan.objects.iter().map(|object| (object, 0))));
    }
    let sent = upload(connection, &plan, &prepared, progress).await?;
    let applications = connection.applications();
    let answer = applications.publish_version(&manifest.name, &manifest.version, &request).await?;
    Ok(published(answer, plan.objects.iter().zip(sent)))
}

/// A file or directory that the manifest names, as it was found.
struct Local {
    used: Use,
    path: PathBuf,
    media: MediaInfo,
    /// Bytes, if that is known before it is packed.
    size: Option<u64>,
}

impl Local {
    fn look((used, path): (Use, PathBuf)) -> Result<Local, PublishError> {
        let refusal = |source| PublishError::Path { of: used.clone(), path: path.clone(), source };
        let facts =
            std::fs::metadata(&path).map_err(|error| refusal(PathFault::Unreadable(error)))?;
        let media = match &used {
            Use::Program(_) if facts.is_dir() => return Err(refusal(PathFault::Directory)),
            _ if !facts.is_dir() && !facts.is_file() => return Err(refusal(PathFault::NoContent)),
            Use::Program(_) => program_media(&path)?,
            Use::Package(_) => media_of(&path)?,
        };
        let size = facts.is_file().then_some(facts.len());
        Ok(Local { used, path, media, size })
    }
}

/// A program is run as it is, whatever its name ends in.
fn program_media(path: &Path) -> Result<MediaInfo, TransferError> {
    Ok(stated_media(path)?.unwrap_or_else(|| MediaInfo::from_file_name("")))
}

/// Pins the objects that the manifest takes from the repository.
async fn pin(
    connection: &Connection,
    manifest: &Manifest,
    limits: Limits,
    progress: &Arc<dyn Progress>,
) -> Result<BTreeMap<ObjectName, Pin>, PublishError> {
    let mut pinned = BTreeMap::new();
    for (name, entry) in &manifest.packages {
        let PackageSource::Object(object) = &entry.source else { continue };
        if pinned.contains_key(object) {
            continue;
        }
        let (of, named) = (Use::Package(name.clone()), object.clone());
        let stat = match connection.objects().stat(object).await {
            Ok(stat) => stat,
            Err(error) => {
                let source = Box::new(error);
                return Err(PublishError::Object { of, object: named, source });
            }
        };
        if !stat.complete {
            return Err(PublishError::Incomplete { of, object: named });
        }
        let media = stat.media();
        let (digest, size, measured) = (stat.digest, stat.size, stat.measured.map(Into::into));
        let object = object.clone();
        let mut pin = Pin { object, digest, size, media, measured, writable: false };
        if pin.measured.is_none()
            && (pin.media.media_type.is_tar() || pin.media.media_type.is_zip())
        {
            pin.measured = measure::fetched(connection, &pin, &of, limits, progress).await?;
        }
        pinned.insert(named, pin);
    }
    Ok(pinned)
}

/// Hashes everything, each path once for each thing that it is taken for.
async fn hash(
    sources: Vec<Local>,
    limits: Limits,
    progress: &Arc<dyn Progress>,
) -> Result<BTreeMap<Use, Arc<Prepared>>, PublishError> {
    let mut distinct: Vec<(Local, Vec<Use>)> = Vec::new();
    for local in sources {
        let twin = distinct
            .iter_mut()
            .find(|(first, _)| (&first.path, &first.media) == (&local.path, &local.media));
        match twin {
            Some((_, uses)) => uses.push(local.used),
            None => distinct.push((local, Vec::new())),
        }
    }
    let total = distinct.iter().map(|(local, _)| local.size).sum();
    progress.begin("reading", total);
    let hashed: Result<Vec<_>, PublishError> = stream::iter(distinct)
        .map(|(local, more)| async {
            let Local { used, path, media, .. } = local;
            let listener = Arc::clone(progress);
            let called = path.display().to_string();
            let work = move || prepare(Source::at(&path)?, media, limits, &*listener);
            let mut prepared = blocking(work).await?;
            let is_package = |used: &&Use| matches!(used, Use::Package(_));
            if let Some(package) = more.iter().chain([&used]).find(is_package) {
                prepared = measure::figures(prepared, package, &called)?.0;
            }
            let prepared = Arc::new(prepared);
            let uses = more.into_iter().chain([used]);
            Ok(uses.map(|used| (used, Arc::clone(&prepared))).collect::<Vec<_>>())
        })
        .buffer_unordered(HASHING)
        .try_collect()
        .await;
    progress.end();
    Ok(hashed?.into_iter().flatten().collect())
}

fn fact(prepared: &Prepared) -> Fact {
    Fact {
        digest: prepared.digest,
        size: prepared.size,
        media: prepared.media.clone(),
        measured: prepared.measured(),
    }
}

/// If the version is there, the repository can say at once whether it is the same; only if it needs
/// objects first, nothing is known yet.
async fn already(
    connection: &Connection,
    manifest: &Manifest,
    request: &VersionRequest,
) -> Result<Option<PublishedBody>, ClientError> {
    let (application, version) = (manifest.name.clone(), manifest.version.clone());
    let reference = Reference { application, wanted: Wanted::Exact(version) };
    let applications = connection.applications();
    match applications.show(&reference, None).await {
        Ok(_) => {}
        Err(error) if matches!(error.code(), Code::NotFound | Code::NoVersion) => return Ok(None),
        Err(error) => return Err(error),
    }
    match applications.publish_version(&manifest.name, &manifest.version, request).await {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if matches!(error.code(), Code::NotFound | Code::Incomplete) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Uploads what the repository lacks, several objects at a time; answers for each object of the plan how
/// many bytes were sent.
async fn upload(
    connection: &Connection,
    plan: &Plan,
    prepared: &BTreeMap<Use, Arc<Prepared>>,
    progress: &Arc<dyn Progress>,
) -> Result<Vec<u64>, TransferError> {
    let total = plan.objects.iter().filter(|object| object.upload.is_some());
    progress.begin("sending", Some(total.map(|object| object.pin.size).sum()));
    // Owned, so that the future may move between threads.
    let objects: Vec<_> = plan
        .objects
        .iter()
        .map(|object| {
            let content = object.upload.as_ref().and_then(|used| prepared.get(used)).cloned();
            (object.pin.object.clone(), content)
        })
        .collect();
    let sent = stream::iter(objects)
        .map(|(name, content)| async move {
            match content {
                Some(content) => send(connection, &name, &content, progress).await,
                None => Ok(0),
            }
        })
        .buffered(SENDING)
        .try_collect()
        .await;
    progress.end();
    sent
}

fn published<'a>(
    answer: PublishedBody,
    objects: impl Iterator<Item = (&'a Object, u64)>,
) -> Published {
    let objects: Vec<PublishedObject> = objects
        .map(|(Object { pin, .. }, sent)| {
            let Pin { object, digest, size, .. } = pin;
            PublishedObject { name: object.clone(), digest: *digest, size: *size, sent }
        })
        .collect();
    let PublishedBody { application, version, profiles, published } = answer;
    Published {
        application,
        version,
        profiles,
        published,
        bytes_total: objects.iter().map(|object| object.size).sum(),
        bytes_sent: objects.iter().map(|object| object.sent).sum(),
        objects,
    }
}

/// Files hashed at the same time.
const HASHING: usize = 2;
/// Objects on their way at the same time, each in several parts.
const SENDING: usize = 3;
