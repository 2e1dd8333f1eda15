//! The directory of a principal: its keys and certificates, and whom it trusts.
//!
//! ```text
//! leaf.pem       key and chain: who it is                                     mode 0600
//! signing.pem    key and chain: if it may extend its name                     mode 0600
//! root.pem       key and certificate: where a trust domain was founded;
//!                to be put away, and to be brought back for a new signing.pem mode 0600
//! next.pem       a new root that is trusted and not used yet                  mode 0600
//! pending.pem    keys that were asked for to be certified                     mode 0600
//! roots.pem      the certificates of the roots that are trusted
//! issued/        what was given to others, a record each
//! lock           held by whoever changes something
//! ```
//!
//! A key and its certificate are one file, so that they change together. Each change is one `replace`; a
//! command that makes several can be given again after a crash, and goes on. A file of keys that others than
//! its owner may read is refused.

mod extend;
mod found;
mod rotate;

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use durable::record::{self, Record};
use durable::{Disk, DiskError, Kind, Lock, LockMode};
use model::Timestamp;
use model::identity::{Prefix, Principal, TrustDomain};
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

use crate::certificate::Malformed;
use crate::issue::{IssueError, Issuer, RequestError};
use crate::key::{Key, KeyError};
use crate::pem::{Bundle, BundleError, to_pem};
use crate::verify::{Roots, Untrusted, Verified, verify};

pub use self::extend::Wish;
pub use self::rotate::Rotated;

/// The directory of a principal.
#[derive(Debug)]
pub struct Home {
    disk: Disk,
    passphrase: Option<String>,
    /// Held by whoever changes it.
    _lock: Option<Lock>,
}

/// Who somebody is, with the key that shows it.
#[derive(Debug)]
pub struct Identity {
    /// The key of the leaf.
    pub key: Key,
    /// The leaf and those above it, without the root.
    pub chain: Vec<CertificateDer<'static>>,
    /// Who it is, by the roots that it trusts itself.
    pub who: Verified,
}

/// What was given to somebody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issued {
    /// The number of the certificate, as hexadecimal digits.
    pub serial: String,
    /// Who somebody became.
    pub name: Option<Principal>,
    /// What somebody may sign.
    pub prefix: Option<Prefix>,
    /// When it was given.
    pub issued: Timestamp,
    /// Until when it holds.
    pub not_after: Timestamp,
}

/// Why a directory of an identity is of no use, or a change of it did not come about.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The directory holds something else: nothing of ours belongs into it.
    #[error("{dir} is no directory of an identity, and not empty: `{entry}` is in it")]
    Foreign {
        /// The directory.
        dir: PathBuf,
        /// One of the things that lie there.
        entry: String,
    },
    /// Somebody else changes it just now.
    #[error("another command is changing the identity in {dir}")]
    Busy {
        /// The directory.
        dir: PathBuf,
    },
    /// The directory cannot be looked at.
    #[error("cannot list {dir}")]
    List {
        /// The directory.
        dir: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Others may read keys.
    #[error("{path} holds a key, and others than its owner may read it (mode {mode:04o})")]
    Exposed {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A file of this directory is of no use.
    #[error("{path} cannot be used")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: FileFault,
    },
    /// A text that somebody sent cannot be read.
    #[error("the {what} cannot be read")]
    Text {
        /// `request`, `answer` or `roots`.
        what: &'static str,
        /// Why.
        source: FileFault,
    },
    /// There is an identity already.
    #[error("there is an identity in {dir} already: `{name}`")]
    Taken {
        /// The directory.
        dir: PathBuf,
        /// Who it is.
        name: Principal,
    },
    /// There is none.
    #[error("there is no identity in {dir}")]
    Nobody {
        /// The directory.
        dir: PathBuf,
    },
    /// The trust domain was founded under another name.
    #[error("{dir} holds the root of `{found}`, and not that of `{wanted}`")]
    OtherDomain {
        /// The directory.
        dir: PathBuf,
        /// Whose root is there.
        found: TrustDomain,
        /// Whose was wanted.
        wanted: TrustDomain,
    },
    /// It may not extend its name.
    #[error("`{name}` may not extend its name")]
    MayNotExtend {
        /// Who it is.
        name: Principal,
    },
    /// The root's key is not there.
    #[error("the key of the root of `{domain}` is not in {dir}")]
    NoRootKey {
        /// Whose.
        domain: TrustDomain,
        /// The directory.
        dir: PathBuf,
    },
    /// There is no new root.
    #[error("no new root of `{domain}` was made")]
    NoNextRoot {
        /// Whose.
        domain: TrustDomain,
    },
    /// An answer to a request that was never made, or is answered already.
    #[error("there is no request in {dir} that this answers")]
    NotAsked {
        /// The directory.
        dir: PathBuf,
    },
    /// The roots in an answer are others than those that are trusted.
    #[error("its root is none of those that are trusted here")]
    OtherRoot(#[source] Untrusted),
    /// What was asked for to be certified.
    #[error("the request cannot be read")]
    Request(#[from] RequestError),
    /// More or fewer requests than a principal has keys.
    #[error("one request for a leaf is wanted, and at most one for signing; there are {0}")]
    Requests(usize),
    /// The two requests are for one key: what authenticates must not sign.
    #[error("the request asks for one key to authenticate and to sign with")]
    OneKey,
    /// Somebody shall extend a name, and did not ask for it.
    #[error(
        "the request has no key to sign with: `fettle identity request --may-extend` makes one"
    )]
    NoSigningKey,
    /// A name is not given.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// A key cannot be made.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A record cannot be kept.
    #[error("cannot keep what was given to others")]
    Record(#[from] record::RecordError),
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum FileFault {
    /// It is no text.
    #[error("it is no text")]
    Text,
    /// It cannot be cut into sections.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// It has no key, or several.
    #[error("it has {0} keys where one is wanted")]
    Keys(usize),
    /// Its key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Its certificates.
    #[error(transparent)]
    Certificate(#[from] Malformed),
    /// Its certificates and its key do not belong together.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// It shows nobody that its own roots believe.
    #[error(transparent)]
    Untrusted(#[from] Untrusted),
}

impl Record for Issued {
    const KIND: &'static str = "issued";
    const VERSION: u32 = 1;
}

impl Home {
    /// The directory, to be changed; made if it is not there.
    ///
    /// # Errors
    /// [`HomeError::Foreign`], [`HomeError::Busy`], [`HomeError::Disk`].
    pub fn create(dir: &Path, passphrase: Option<String>) -> Result<Home, HomeError> {
        if let Some(entry) = foreign(dir)? {
            return Err(HomeError::Foreign { dir: dir.to_owned(), entry });
        }
        Home::on(Disk::create(dir)?, passphrase)
    }

    /// A disk, to be changed.
    ///
    /// # Errors
    /// [`HomeError::Busy`], [`HomeError::Disk`].
    pub fn on(disk: Disk, passphrase: Option<String>) -> Result<Home, HomeError> {
        // It lasts before anything else is there: by it the directory is known as ours.
        disk.create_new(Path::new(LOCK), b"", PRIVATE)?;
        let lock = disk.try_lock(Path::new(LOCK), LockMode::Exclusive)?;
        let lock = lock.ok_or_else(|| HomeError::Busy { dir: disk.root().to_owned() })?;
        // What a crash left there may be a key.
        disk.empty_staging()?;
        disk.empty_trash()?;
        Ok(Home { disk, passphrase, _lock: Some(lock) })
    }

    /// The directory, to be changed, if there is one.
    ///
    /// # Errors
    /// [`HomeError::Busy`], [`HomeError::Disk`].
    pub fn change(dir: &Path, passphrase: Option<String>) -> Result<Option<Home>, HomeError> {
        match dir.join(LOCK).is_file() {
            true => Home::create(dir, passphrase).map(Some),
            false => Ok(None),
        }
    }

    /// The directory, to be looked at, if there is one: also while somebody changes it.
    ///
    /// # Errors
    /// [`HomeError::Disk`].
    pub fn look(dir: &Path, passphrase: Option<String>) -> Result<Option<Home>, HomeError> {
        match dir.join(LOCK).is_file() {
            true => Ok(Some(Home { disk: Disk::open(dir)?, passphrase, _lock: None })),
            false => Ok(None),
        }
    }

    /// Where it is.
    pub fn dir(&self) -> &Path {
        self.disk.root()
    }

    /// Who this is, if anybody yet.
    ///
    /// # Errors
    /// See [`HomeError`]; also where the chain does not hold any more.
    pub fn identity(&self, now: Timestamp) -> Result<Option<Identity>, HomeError> {
        let Some((key, chain)) = self.keyed(LEAF)? else { return Ok(None) };
        let fault = |source: FileFault| self.fault(LEAF, source);
        let leaf = chain.first().ok_or_else(|| fault(Malformed::Syntax.into()))?;
        if crate::certificate::public_key(leaf).map_err(|error| fault(error.into()))?
            != key.public()
        {
            return Err(fault(IssueError::OtherKey.into()));
        }
        let who = verify(&self.roots()?, leaf, &chain[1..], now);
        let who = who.map_err(|error| fault(error.into()))?;
        Ok(Some(Identity { key, chain, who }))
    }

    /// The key that extends its name, if it may.
    ///
    /// # Errors
    /// See [`HomeError`].
    pub fn issuer(&self) -> Result<Option<Issuer>, HomeError> {
        self.issuer_in(SIGNING)
    }

    /// The roots that it trusts.
    ///
    /// # Errors
    /// See [`HomeError`].
    pub fn roots(&self) -> Result<Roots, HomeError> {
        let Some(bundle) = self.bundle(ROOTS)? else { return Ok(Roots::default()) };
        Roots::new(bundle.certificates).map_err(|error| self.fault(ROOTS, error.into()))
    }

    /// Trusts the roots in this text beside those that it trusts already.
    ///
    /// # Errors
    /// There is none in it, or something else; see [`HomeError`].
    pub fn trust_also(&self, text: &str) -> Result<Roots, HomeError> {
        let fault = |source: FileFault| HomeError::Text { what: "roots", source };
        let new = Bundle::parse(text).map_err(|error| fault(error.into()))?.certificates;
        let new = Roots::new(new).map_err(|error| fault(error.into()))?;
        if new.is_empty() {
            return Err(fault(Malformed::NoRoot.into()));
        }
        let trusted = self.roots()?;
        let all = trusted.certificates().chain(new.certificates()).cloned();
        self.trust(&Roots::new(all).map_err(|error| fault(error.into()))?)?;
        Ok(new)
    }

    /// What was given to others, the newest first.
    ///
    /// # Errors
    /// See [`HomeError`].
    pub fn issued(&self) -> Result<Vec<Issued>, HomeError> {
        let mut all = Vec::new();
        if self.disk.metadata(Path::new(ISSUED))?.is_none_or(|there| there.kind != Kind::Directory)
        {
            return Ok(all);
        }
        for entry in self.disk.list(Path::new(ISSUED))? {
            let path = Path::new(ISSUED).join(&entry.name);
            match record::read::<Issued>(&self.disk, &path)? {
                record::Read::Present(issued) => all.push(issued),
                // A list for people: one line that is lost does not hide the others.
                other => tracing::warn!(path = %path.display(), ?other, "cannot be read"),
            }
        }
        all.sort_by_key(|issued| std::cmp::Reverse(issued.issued));
        Ok(all)
    }

    /// Is a request under way that nobody has answered yet?
    ///
    /// # Errors
    /// See [`HomeError`].
    pub fn is_pending(&self) -> Result<bool, HomeError> {
        Ok(self.disk.metadata(Path::new(PENDING))?.is_some())
    }

    fn issuer_in(&self, name: &str) -> Result<Option<Issuer>, HomeError> {
        let Some((key, chain)) = self.keyed(name)? else { return Ok(None) };
        Issuer::open(key, chain).map(Some).map_err(|error| self.fault(name, error.into()))
    }

    /// A file of one key with certificates.
    fn keyed(&self, name: &str) -> Result<Option<(Key, Vec<CertificateDer<'static>>)>, HomeError> {
        let Some(bundle) = self.bundle(name)? else { return Ok(None) };
        let [key] = &bundle.keys[..] else {
            return Err(self.fault(name, FileFault::Keys(bundle.keys.len())));
        };
        let key = Key::from_pem(key, self.passphrase.as_deref());
        let key = key.map_err(|error| self.fault(name, error.into()))?;
        Ok(Some((key, bundle.certificates)))
    }

    fn bundle(&self, name: &str) -> Result<Option<Bundle>, HomeError> {
        let path = Path::new(name);
        let Some(bytes) = self.disk.read(path, LIMIT)? else { return Ok(None) };
        let text = String::from_utf8(bytes).map_err(|_| self.fault(name, FileFault::Text))?;
        let bundle = Bundle::parse(&text).map_err(|error| self.fault(name, error.into()))?;
        let mode = self.disk.metadata(path)?.map_or(0, |stat| stat.mode & 0o7777);
        if !bundle.keys.is_empty() && mode & 0o077 != 0 {
            return Err(HomeError::Exposed { path: self.disk.root().join(path), mode });
        }
        Ok(Some(bundle))
    }

    /// Writes a key with its certificates.
    fn keep(
        &self,
        name: &str,
        key: &Key,
        chain: &[CertificateDer<'static>],
    ) -> Result<(), HomeError> {
        let text = self.spell(key)? + &to_pem(chain);
        Ok(self.disk.replace(Path::new(name), text.as_bytes(), PRIVATE)?)
    }

    fn spell(&self, key: &Key) -> Result<String, HomeError> {
        match &self.passphrase {
            Some(passphrase) => Ok(key.to_encrypted_pem(passphrase)?),
            None => Ok(key.to_pem()),
        }
    }

    fn trust(&self, roots: &Roots) -> Result<(), HomeError> {
        let text = to_pem(roots.certificates());
        Ok(self.disk.replace(Path::new(ROOTS), text.as_bytes(), PUBLIC)?)
    }

    fn nobody(&self) -> HomeError {
        HomeError::Nobody { dir: self.dir().to_owned() }
    }

    fn fault(&self, name: &str, source: FileFault) -> HomeError {
        HomeError::File { path: self.dir().join(name), source }
    }
}

/// Something in a directory that is not ours: one is ours that has our lock, or nothing but what a creation
/// that was cut off leaves.
fn foreign(dir: &Path) -> Result<Option<String>, HomeError> {
    let list = |source| HomeError::List { dir: dir.to_owned(), source };
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        // Not there yet, or no directory: making one says why.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(list(error)),
    };
    // The first thing that is made aside is the lock, which is empty.
    let is_empty = |dir: &Path| {
        let is_nothing = |entry: io::Result<std::fs::DirEntry>| {
            let facts = entry.and_then(|entry| entry.metadata());
            facts.is_ok_and(|facts| facts.is_file() && facts.len() == 0)
        };
        std::fs::read_dir(dir).is_ok_and(|mut entries| entries.all(is_nothing))
    };
    let mut other = None;
    for entry in entries {
        let entry = entry.map_err(list)?;
        match entry.file_name().to_str() {
            Some(LOCK) => return Ok(None),
            Some("staging" | "trash") if is_empty(&entry.path()) => {}
            name => other = Some(name.unwrap_or("?").to_owned()),
        }
    }
    Ok(other)
}

const LOCK: &str = "lock";
const LEAF: &str = "leaf.pem";
const SIGNING: &str = "signing.pem";
const ROOT: &str = "root.pem";
const NEXT: &str = "next.pem";
const PENDING: &str = "pending.pem";
const ROOTS: &str = "roots.pem";
const ISSUED: &str = "issued";
const PRIVATE: u32 = 0o600;
const PUBLIC: u32 = 0o644;
/// A chain has at most seven certificates of about 800 bytes, and some hundred roots are more than anybody
/// trusts.
const LIMIT: u64 = 1024 * 1024;
