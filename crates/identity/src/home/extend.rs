//! From a request to an answer: somebody asks for a name with keys that never leave it, somebody else gives
//! one, and the first takes the answer. Both texts can be sent by mail: a request gives nothing away, and an
//! answer is of use to nobody else.

use std::path::Path;
use std::time::Duration;

use durable::record;
use model::Timestamp;
use model::identity::{Prefix, Principal};
use rustls::pki_types::CertificateDer;

use super::{Home, HomeError, ISSUED, Issued, LEAF, PENDING, PRIVATE, SIGNING};
use crate::certificate::{Leaf, Signing, public_key};
use crate::issue::{self, Issuer, Request};
use crate::key::Key;
use crate::pem::{Bundle, to_pem};
use crate::verify::{Roots, Verified, verify};

/// What is given to whoever asks.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Who it becomes.
    pub name: Principal,
    /// May it extend that name?
    pub may_extend: bool,
    /// For how long.
    pub lifetime: Duration,
}

impl Home {
    /// Asks for a certificate, and for one to sign with where that is wanted. Asked again, it is the same
    /// request, unless the other one wanted less.
    ///
    /// # Errors
    /// See [`HomeError`].
    pub fn request(&self, may_extend: bool) -> Result<String, HomeError> {
        let wanted = 1 + usize::from(may_extend);
        let mut keys = self.pending()?;
        while keys.len() < wanted {
            keys.push(Key::generate()?);
        }
        let text: String = keys.iter().map(|key| self.spell(key)).collect::<Result<_, _>>()?;
        self.disk.replace(Path::new(PENDING), text.as_bytes(), PRIVATE)?;
        let requests = keys.iter().take(wanted).map(|key| Ok(Request::pem(key)?));
        requests.collect()
    }

    /// Answers a request: a name that extends one's own, and the roots that vouch for it.
    ///
    /// # Errors
    /// [`HomeError::MayNotExtend`], [`HomeError::Requests`], [`HomeError::NoSigningKey`],
    /// [`HomeError::Issue`]; see [`HomeError`].
    pub fn extend(&self, text: &str, wish: &Wish, now: Timestamp) -> Result<String, HomeError> {
        let issuer = self.issuer()?.ok_or_else(|| match self.identity(now) {
            Ok(Some(identity)) => HomeError::MayNotExtend { name: identity.who.leaf.principal },
            Ok(None) => self.nobody(),
            Err(error) => error,
        })?;
        let requests = sent("request", text)?.requests;
        let (leaf, signing) = match &requests[..] {
            [leaf] => (leaf, None),
            [leaf, signing] => (leaf, Some(signing)),
            _ => return Err(HomeError::Requests(requests.len())),
        };
        let leaf = Request::from_pem(leaf)?;
        let signing = signing.map(|pem| Request::from_pem(pem)).transpose()?;
        if signing.as_ref().is_some_and(|signing| signing.public() == leaf.public()) {
            return Err(HomeError::OneKey);
        }
        let mut given = issuer.name(&leaf, &wish.name, wish.lifetime, now)?;
        self.note(&given, now)?;
        if wish.may_extend {
            let signing = signing.ok_or(HomeError::NoSigningKey)?;
            let prefix = Prefix::Below(wish.name.clone());
            let chain = issuer.delegate(&signing, &prefix, issue::SIGNING, now)?;
            self.note(&chain, now)?;
            let new = chain.into_iter().filter(|der| !given.contains(der)).collect::<Vec<_>>();
            given.extend(new);
        }
        let domain = wish.name.trust_domain();
        let roots = self.roots()?;
        let of_domain = roots.of_domain(&domain).cloned().collect::<Vec<_>>();
        Ok(to_pem(given.iter().chain(&of_domain)))
    }

    /// Takes an answer to the request that was made. Whoever trusts nobody yet trusts the roots in it, and
    /// is told which; whoever does not takes an answer of them alone.
    ///
    /// # Errors
    /// [`HomeError::NotAsked`], [`HomeError::OtherRoot`]; see [`HomeError`].
    pub fn accept(&self, text: &str, now: Timestamp) -> Result<Verified, HomeError> {
        let answer = sent("answer", text)?;
        let not_asked = || HomeError::NotAsked { dir: self.dir().to_owned() };
        let keys = self.pending()?;
        let own = |key: &Key| {
            let is_its = |der: &&CertificateDer<'static>| {
                public_key(der).is_ok_and(|public| public == key.public())
            };
            answer.certificates.iter().find(is_its).cloned()
        };
        let leaf_key = keys.first().ok_or_else(not_asked)?;
        let leaf = own(leaf_key).ok_or_else(not_asked)?;
        let trusted = match self.roots()? {
            roots if !roots.is_empty() => roots,
            _ => Roots::among(&answer.certificates),
        };
        let who =
            verify(&trusted, &leaf, &answer.certificates, now).map_err(HomeError::OtherRoot)?;
        let above = |own: &CertificateDer<'static>| {
            let is_above = |der: &&CertificateDer<'static>| {
                let signing = Signing::read(der);
                *der != own
                    && signing.is_ok_and(|signing| who.signers.contains(&signing.prefix))
                    && !trusted.certificates().any(|root| root == *der)
            };
            let rest = answer.certificates.iter().filter(is_above).cloned();
            std::iter::once(own.clone()).chain(rest).collect::<Vec<_>>()
        };
        self.trust(&trusted)?;
        self.keep(LEAF, leaf_key, &above(&leaf))?;
        if let Some((key, signing)) = keys.get(1).and_then(|key| Some((key, own(key)?))) {
            // Nobody would believe what any other one signs.
            let said = Signing::read(&signing).map_err(issue::IssueError::from)?;
            if said.prefix != Prefix::Below(who.leaf.principal.clone()) {
                return Err(HomeError::NotAsked { dir: self.dir().to_owned() });
            }
            self.keep(SIGNING, key, &above(&signing))?;
        }
        self.disk.remove(Path::new(PENDING))?;
        Ok(who)
    }

    /// Keeps what was given, before anybody has it.
    pub(super) fn note(
        &self,
        chain: &[CertificateDer<'static>],
        issued: Timestamp,
    ) -> Result<(), HomeError> {
        let Some(own) = chain.first() else { return Ok(()) };
        let record = match (Leaf::read(own), Signing::read(own)) {
            (Ok(Leaf { principal, not_after, serial, .. }), _) => {
                Issued { serial, name: Some(principal), prefix: None, issued, not_after }
            }
            (_, Ok(Signing { prefix, not_after, serial, .. })) => {
                Issued { serial, name: None, prefix: Some(prefix), issued, not_after }
            }
            (Err(error), Err(_)) => return Err(issue::IssueError::from(error).into()),
        };
        self.disk.make_dir(Path::new(ISSUED), 0o700)?;
        Ok(record::write(&self.disk, &Path::new(ISSUED).join(&record.serial), &record)?)
    }

    fn pending(&self) -> Result<Vec<Key>, HomeError> {
        let bundle = self.bundle(PENDING)?.unwrap_or_default();
        let passphrase = self.passphrase.as_deref();
        let keys = bundle.keys.iter().map(|key| Key::from_pem(key, passphrase));
        keys.collect::<Result<_, _>>().map_err(|error| self.fault(PENDING, error.into()))
    }

    /// The issuer that may give it its own name.
    pub(super) fn issuer_of_itself(&self, name: &Principal) -> Result<Option<Issuer>, HomeError> {
        Ok(self.issuer()?.filter(|issuer| issuer.prefix().may_name(name)))
    }
}

fn sent(what: &'static str, text: &str) -> Result<Bundle, HomeError> {
    Bundle::parse(text).map_err(|error| HomeError::Text { what, source: error.into() })
}
