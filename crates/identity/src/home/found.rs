//! Founding a trust domain: its root, the certificate that signs from day to day, and its first principal.
//! A crash leaves a part of it; the same command again goes on from there.

use model::Timestamp;
use model::identity::{Prefix, Principal};

use super::{Home, HomeError, LEAF, ROOT, SIGNING};
use crate::issue::{self, Issuer, Request};
use crate::key::Key;
use crate::verify::Roots;

impl Home {
    /// Founds the trust domain of `name`, whose first principal is `name`. It may name everybody else.
    ///
    /// # Errors
    /// [`HomeError::Taken`] where there is an identity; [`HomeError::OtherDomain`]; see [`HomeError`].
    pub fn found(&self, name: &Principal, now: Timestamp) -> Result<(), HomeError> {
        if let Some(identity) = self.identity(now)? {
            let name = identity.who.leaf.principal;
            return Err(HomeError::Taken { dir: self.dir().to_owned(), name });
        }
        let wanted = name.trust_domain();
        let root = match self.issuer_in(ROOT)? {
            Some(root) if *root.prefix() == Prefix::Whole(wanted.clone()) => root,
            Some(root) => {
                let found = root.prefix().trust_domain();
                return Err(HomeError::OtherDomain { dir: self.dir().to_owned(), found, wanted });
            }
            None => {
                let root = Issuer::root(wanted, Key::generate()?, now)?;
                self.keep(ROOT, root.key(), root.chain())?;
                root
            }
        };
        let trusted = self.roots()?;
        let all = trusted.certificates().chain(root.chain()).cloned();
        self.trust(&Roots::new(all).map_err(issue::IssueError::from)?)?;
        let office = match self.issuer()? {
            Some(office) => office,
            None => self.new_office(&root, now)?,
        };
        self.name_itself(&office, name, now)
    }

    /// A signing certificate for the whole domain, so that the root's key need not be at hand.
    pub(super) fn new_office(&self, root: &Issuer, now: Timestamp) -> Result<Issuer, HomeError> {
        let key = Key::generate()?;
        let request = Request::from_pem(&Request::pem(&key)?)?;
        let chain = root.delegate(&request, root.prefix(), issue::SIGNING, now)?;
        self.keep(SIGNING, &key, &chain)?;
        Ok(Issuer::open(key, chain)?)
    }

    /// A new leaf of its own, with a new key.
    pub(super) fn name_itself(
        &self,
        by: &Issuer,
        name: &Principal,
        now: Timestamp,
    ) -> Result<(), HomeError> {
        let key = Key::generate()?;
        let request = Request::from_pem(&Request::pem(&key)?)?;
        let chain = by.name(&request, name, issue::LEAF, now)?;
        self.note(&chain, now)?;
        self.keep(LEAF, &key, &chain)
    }
}
