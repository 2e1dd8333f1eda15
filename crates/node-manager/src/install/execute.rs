//! The dull part of an install: asks the repository, then does the plan's steps one after the other.

use std::collections::BTreeMap;
use std::sync::Arc;

use archive::Dropped;
use client::{ClientError, Connection};
use durable::DiskError;
use model::{Envelope, ObjectName, PackageName, Pin, Profile, Reference, counted};
use unpacker::{Outcome, Sandbox, UnpackError};
use wire::serve::blocking;
use wire::v1::{EnvelopeBody, InvalidEnvelope, PinBody};

use super::ledger::{Ledger, Promise, PromiseError};
use super::patience::Patience;
use super::plan::{Need, Plan, Present, Step, plan};
use super::receive::{Meter, ReceiveError, receive};
use super::room::Shortage;
use super::unpack::unpack_blob;
use crate::locks::Locks;
use crate::node::now;
use crate::store::{CannotUnpack, Form, Store};
use crate::waiting::{Waiter, waiting};

/// Whoever wants to know how far it is.
pub(crate) trait Reporter: Send + Sync {
    /// What is being done now, in words.
    fn phase(&self, phase: &str);
    /// How many bytes there are to move.
    fn total(&self, bytes: u64);
    /// So many more bytes were moved.
    fn advance(&self, bytes: u64);
    /// So many bytes have to be moved once more.
    fn retreat(&self, bytes: u64);
    /// Something that the user should know, and that stops nothing.
    fn note(&self, note: String);
}

/// Why an application was not installed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InstallError {
    /// The repository does not give an envelope.
    #[error("cannot get the envelope of `{reference}`")]
    Envelope {
        /// What was asked for.
        reference: String,
        /// Why.
        source: ClientError,
    },
    /// The envelope is none.
    #[error("the envelope of `{reference}` is not usable")]
    Unusable {
        /// What was asked for.
        reference: String,
        /// Why.
        source: InvalidEnvelope,
    },
    /// An override names an object that is not there, or not whole.
    #[error("cannot pin the package `{package}` to `{object}`")]
    Pin {
        /// The package.
        package: PackageName,
        /// The object.
        object: ObjectName,
        /// Why.
        source: ClientError,
    },
    /// The object that an override names was not uploaded to its end.
    #[error("cannot pin the package `{package}`: `{object}` is not complete")]
    Incomplete {
        /// The package.
        package: PackageName,
        /// The object.
        object: ObjectName,
    },
    /// A package cannot be unpacked by this fettle.
    #[error("a package has a type that is not supported")]
    Form(#[from] CannotUnpack),
    /// An object cannot be had.
    #[error("{label} did not arrive")]
    Receive {
        /// What it was for.
        label: String,
        /// Why.
        source: ReceiveError,
    },
    /// The bytes are right, and cannot be unpacked.
    #[error("{label}, `{object}`, cannot be unpacked")]
    Unpack {
        /// What it is for.
        label: String,
        /// The object.
        object: ObjectName,
        /// Why.
        source: UnpackError,
    },
    /// There is not enough room; nothing was written.
    #[error(transparent)]
    NoRoom(#[from] Shortage),
    /// The disk refuses.
    #[error("the store cannot be used")]
    Disk(#[from] DiskError),
}

impl From<PromiseError> for InstallError {
    fn from(error: PromiseError) -> InstallError {
        match error {
            PromiseError::Shortage(shortage) => InstallError::NoRoom(shortage),
            PromiseError::Disk(error) => InstallError::Disk(error),
        }
    }
}

/// What fetching needs.
#[derive(Clone)]
pub(crate) struct Fetch {
    /// Where content goes.
    pub(crate) store: Store,
    /// Where it comes from.
    pub(crate) connection: Connection,
    /// What is promised to installs under way.
    pub(crate) ledger: Arc<Ledger>,
    /// Bytes that stay free; what is usual, if nobody said.
    pub(crate) reserve: Option<u64>,
    /// One download or unpacking of a digest at a time.
    pub(crate) digests: Arc<Locks<model::Digest>>,
    /// Whoever wants to know.
    pub(crate) reporter: Arc<dyn Reporter>,
    /// Whoever waits for it.
    pub(crate) waiter: Arc<dyn Waiter>,
}

/// Asks the repository for the envelope that fits.
pub(crate) async fn find_envelope(
    connection: &Connection,
    reference: &Reference,
    profiles: &[Profile],
) -> Result<EnvelopeBody, InstallError> {
    let found = connection.applications().find(reference, profiles).await;
    let body = found
        .map_err(|source| InstallError::Envelope { reference: reference.to_string(), source })?;
    let unusable = |source| InstallError::Unusable { reference: reference.to_string(), source };
    body.to_model().map_err(unusable)?;
    Ok(body)
}

/// Pins the packages that the user asked for beyond the envelope's. One that stands in for another is
/// writable if that one is.
pub(crate) async fn pin_overrides(
    connection: &Connection,
    packages: &BTreeMap<PackageName, ObjectName>,
    published: &EnvelopeBody,
) -> Result<BTreeMap<PackageName, PinBody>, InstallError> {
    let mut pins = BTreeMap::new();
    for (package, object) in packages {
        let stat = connection.objects().stat(object).await.map_err(|source| InstallError::Pin {
            package: package.clone(),
            object: object.clone(),
            source,
        })?;
        if !stat.complete {
            let (package, object) = (package.clone(), object.clone());
            return Err(InstallError::Incomplete { package, object });
        }
        let pin = Pin {
            object: object.clone(),
            digest: stat.digest,
            size: stat.size,
            media: stat.media(),
            measured: stat.measured.map(Into::into),
            writable: published.packages.get(package).is_some_and(|replaced| replaced.writable),
        };
        pins.insert(package.clone(), PinBody::from_model(&pin));
    }
    Ok(pins)
}

/// What is to be brought in, with the room for it.
pub(crate) struct Prepared {
    plan: Plan,
    promise: Promise,
}

impl Prepared {
    /// Is everything there already?
    pub(crate) fn is_complete(&self) -> bool {
        self.plan.steps.is_empty()
    }
}

/// Something that the store lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Lacking {
    /// Bytes, with what they unpack to.
    Object {
        /// Which.
        object: ObjectName,
        /// How many.
        bytes: u64,
    },
    /// What bytes that are there unpack to.
    Tree {
        /// The bytes.
        object: ObjectName,
    },
}

/// What the store lacks of all this; nothing is promised.
pub(crate) async fn lacking(store: &Store, needs: Vec<Need>) -> Result<Vec<Lacking>, DiskError> {
    let store = store.clone();
    let plan = blocking(move || plan_for(&store, needs)).await?;
    let lacking = |step| match step {
        Step::Receive { pin, .. } => Lacking::Object { object: pin.object, bytes: pin.size },
        Step::Unpack { pin, .. } => Lacking::Tree { object: pin.object },
    };
    Ok(plan.steps.into_iter().map(lacking).collect())
}

fn plan_for(store: &Store, needs: Vec<Need>) -> Result<Plan, DiskError> {
    let fact = |need| present(store, &need).map(|present| (need, present));
    Ok(plan(&needs.into_iter().map(fact).collect::<Result<Vec<_>, DiskError>>()?))
}

/// Finds out what the store lacks of what the envelope needs, and refuses what there is no room for,
/// before anything is written.
pub(crate) async fn prepare(fetch: &Fetch, envelope: &Envelope) -> Result<Prepared, InstallError> {
    let needs = Need::of(envelope)?;
    let (store, ledger, reserve) = (fetch.store.clone(), fetch.ledger.clone(), fetch.reserve);
    let prepared = blocking(move || {
        let plan = plan_for(&store, needs)?;
        let promise = ledger.promise(&store, plan.claims.clone(), reserve)?;
        Ok(Prepared { plan, promise })
    });
    prepared.await
}

/// Brings it into the store.
pub(crate) async fn bring_in(fetch: &Fetch, prepared: Prepared) -> Result<(), InstallError> {
    let Prepared { plan, promise } = prepared;
    fetch.reporter.total(plan.bytes);
    for step in plan.steps {
        let claims = step.claims();
        let (Step::Receive { pin, .. } | Step::Unpack { pin, .. }) = &step;
        // Another operation may want the same: whoever comes second finds it there.
        let _one_at_a_time = fetch.digests.lock(&pin.digest, &*fetch.waiter).await;
        let (label, outcome) = match remaining(fetch, step).await? {
            None => (String::new(), None),
            Some(Step::Receive { label, pin, unpack }) => {
                fetch.reporter.phase(&format!("receiving {label}"));
                let received = receive_with_retries(fetch, &label, &pin, unpack).await;
                let failed = |error| match error {
                    ReceiveError::Unpack { source } => {
                        InstallError::Unpack { label: label.clone(), object: pin.object, source }
                    }
                    source => InstallError::Receive { label: label.clone(), source },
                };
                (label.clone(), received.map_err(failed)?)
            }
            Some(Step::Unpack { label, pin, key }) => {
                fetch.reporter.phase(&format!("unpacking {label}"));
                let (store, object) = (fetch.store.clone(), pin.object.clone());
                let unpacked =
                    blocking(move || Ok(unpack_blob(&store, &pin, key)?.publish(&store)?));
                let failed = |source| InstallError::Unpack { label: label.clone(), object, source };
                (label.clone(), Some(unpacked.await.map_err(failed)?))
            }
        };
        if let Some(outcome) = outcome {
            note(fetch, &label, &outcome);
        }
        claims.iter().for_each(|(thing, _)| promise.kept(thing));
    }
    Ok(())
}

fn present(store: &Store, need: &Need) -> Result<Present, DiskError> {
    let tree = match &need.form {
        Form::Tree(key) => store.has_closed_tree(key)?,
        Form::File => true,
    };
    Ok(Present { blob: store.has_blob(&need.pin.digest)?, tree })
}

/// What is left of a step now that its turn has come.
async fn remaining(fetch: &Fetch, step: Step) -> Result<Option<Step>, DiskError> {
    let store = fetch.store.clone();
    let (step, arrived) = blocking(move || {
        let (Step::Receive { pin, .. } | Step::Unpack { pin, .. }) = &step;
        let blob = store.has_blob(&pin.digest)?;
        let arrived = if matches!(step, Step::Receive { .. }) && blob { pin.size } else { 0 };
        let left = match step {
            Step::Receive { .. } if !blob => Some(step),
            Step::Receive { unpack: None, .. } => None,
            Step::Receive { label, pin, unpack: Some(key) } | Step::Unpack { label, pin, key } => {
                (!store.has_tree(&key)?).then_some(Step::Unpack { label, pin, key })
            }
        };
        Ok((left, arrived))
    })
    .await?;
    fetch.reporter.advance(arrived);
    Ok(step)
}

/// A lost connection is worth another attempt, which goes on where the last one stopped. What the server
/// refuses, and what the disk refuses, is not.
async fn receive_with_retries(
    fetch: &Fetch,
    label: &str,
    pin: &Pin,
    unpack: Option<crate::store::TreeKey>,
) -> Result<Option<Outcome>, ReceiveError> {
    let mut patience = Patience::default();
    let meter = Arc::new(Meter::new(fetch.reporter.clone(), label));
    let (server, object, mut since) = (fetch.connection.endpoint(), &pin.object, now());
    loop {
        let received = receive(&fetch.store, &fetch.connection, pin, unpack, &meter);
        let attempt = patience.vain() + 1;
        let what = || match attempt {
            1 => format!("{server} to go on with `{object}`"),
            more => format!("{server} to go on with `{object}`: attempt {more} since {since}"),
        };
        let outcome = waiting(&*fetch.waiter, what, received).await;
        match outcome {
            Err(ReceiveError::Transfer { ref source, .. }) if source.is_transient() => {
                let Some(pause) = patience.pause(meter.position()) else { return outcome };
                if patience.vain() == 1 {
                    since = now();
                }
                let (attempt, next) = (patience.vain() + 1, now().plus(pause));
                // Known as soon as it is so, and worth more than how long it takes.
                fetch.waiter.waits_for(Some(format!(
                    "{server}, which was lost at {since} ({source}): attempt {attempt} at {next}"
                )));
                tokio::time::sleep(pause).await;
            }
            outcome => return outcome,
        }
    }
}

/// What the user should know of an unpacked archive.
fn note(fetch: &Fetch, label: &str, outcome: &Outcome) {
    let Dropped { owners, special_bits, attributes, directory_modes } = outcome.dropped;
    for (count, what) in [
        (owners, "the owners"),
        (special_bits, "the set-user-id, set-group-id or sticky bits"),
        (attributes, "the extended attributes or access lists"),
        (directory_modes, "the modes that lock everybody out of directories"),
    ] {
        if count > 0 {
            fetch
                .reporter
                .note(format!("{label}: {what} of {} were left out", counted(count, "entry")));
        }
    }
    let without = match outcome.sandbox {
        Sandbox::NoLandlock => {
            "without Landlock, which this kernel does not offer (Linux 5.19 does)"
        }
        Sandbox::Partial => "confined only as far as this kernel offers it",
        Sandbox::Full | Sandbox::None => return,
    };
    fetch.reporter.note(format!("{label}: unpacked {without}"));
}
