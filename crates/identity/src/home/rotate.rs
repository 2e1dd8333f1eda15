//! New keys before the old ones are of no use any more, without a moment in which anybody is locked out.
//!
//! A leaf and a signing certificate are replaced at once: what was given before keeps its chain, and goes on
//! until it expires. A root takes three steps, since others have to learn it first: the new one is trusted
//! beside the old (`begin`), is used (`switch`), and stands alone (`finish`).

use std::path::Path;

use model::Timestamp;
use model::identity::{Principal, TrustDomain};

use super::{Home, HomeError, LEAF, NEXT, ROOT};
use crate::certificate::Leaf;
use crate::issue::Issuer;
use crate::key::Key;
use crate::verify::{Roots, verify};

/// What a rotation came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rotated {
    /// The new key is in use.
    Done,
    /// Somebody else has to answer this request.
    Asked(String),
}

impl Home {
    /// A new key for the leaf: at once where it may give itself its name, else a request.
    ///
    /// # Errors
    /// See [`HomeError`].
    pub fn rotate_leaf(&self, now: Timestamp) -> Result<Rotated, HomeError> {
        let name = self.own_name()?;
        match self.issuer_of_itself(&name)? {
            Some(issuer) => self.name_itself(&issuer, &name, now).map(|()| Rotated::Done),
            None => self.request(self.issuer()?.is_some()).map(Rotated::Asked),
        }
    }

    /// A new key to sign with: at once where the root's key is here, else a request.
    ///
    /// # Errors
    /// [`HomeError::MayNotExtend`]; see [`HomeError`].
    pub fn rotate_signing(&self, now: Timestamp) -> Result<Rotated, HomeError> {
        let name = self.own_name()?;
        let own = self.issuer()?.ok_or_else(|| HomeError::MayNotExtend { name: name.clone() })?;
        if !own.prefix().may_name(&name) {
            return self.request(true).map(Rotated::Asked);
        }
        let root = self.root(&name.trust_domain())?;
        self.new_office(&root, now).map(|_| Rotated::Done)
    }

    /// A new root, trusted beside the old one and not used. Given again, it is the same.
    ///
    /// # Errors
    /// See [`HomeError`].
    pub fn begin_root(&self, now: Timestamp) -> Result<(), HomeError> {
        let domain = self.own_name()?.trust_domain();
        let next = match self.issuer_in(NEXT)? {
            Some(next) => next,
            None => {
                let next = Issuer::root(domain, Key::generate()?, now)?;
                self.keep(NEXT, next.key(), next.chain())?;
                next
            }
        };
        let trusted = self.roots()?;
        let all = trusted.certificates().chain(next.chain()).cloned();
        self.trust(&Roots::new(all).map_err(crate::issue::IssueError::from)?)
    }

    /// From now on names are given by the new root. The old one is still trusted.
    ///
    /// # Errors
    /// [`HomeError::NoNextRoot`]; see [`HomeError`].
    pub fn switch_root(&self, now: Timestamp) -> Result<(), HomeError> {
        let name = self.own_name()?;
        let domain = name.trust_domain();
        // What a crash left between the steps: the new root is in use already, and next.pem still there.
        let next = self.issuer_in(NEXT)?.ok_or(HomeError::NoNextRoot { domain })?;
        self.keep(ROOT, next.key(), next.chain())?;
        let office = self.new_office(&next, now)?;
        self.name_itself(&office, &name, now)?;
        Ok(self.disk.remove(Path::new(NEXT))?)
    }

    /// Only the root that is in use is trusted from now on, of its trust domain. Nobody else's is touched.
    ///
    /// # Errors
    /// [`HomeError::NoRootKey`]; see [`HomeError`].
    pub fn finish_root(&self, now: Timestamp) -> Result<(), HomeError> {
        let domain = self.own_name()?.trust_domain();
        let root = self.root(&domain)?;
        let trusted = self.roots()?;
        let others = trusted.without_domain(&domain).cloned();
        let all = others.chain(root.chain().iter().cloned());
        let left = Roots::new(all).map_err(crate::issue::IssueError::from)?;
        // Whoever it is by the roots that are left: nobody locks itself out.
        let (_, chain) = self.keyed(LEAF)?.ok_or_else(|| self.nobody())?;
        let (leaf, above) = chain.split_first().ok_or_else(|| self.nobody())?;
        verify(&left, leaf, above, now).map_err(HomeError::OtherRoot)?;
        self.trust(&left)
    }

    fn root(&self, domain: &TrustDomain) -> Result<Issuer, HomeError> {
        let dir = self.dir().to_owned();
        self.issuer_in(ROOT)?.ok_or(HomeError::NoRootKey { domain: domain.clone(), dir })
    }

    /// The name that it has, or had until a moment ago: what has expired is what a rotation is for.
    fn own_name(&self) -> Result<Principal, HomeError> {
        let (_, chain) = self.keyed(LEAF)?.ok_or_else(|| self.nobody())?;
        let leaf = chain.first().ok_or_else(|| self.nobody())?;
        let leaf = Leaf::read(leaf).map_err(|error| self.fault(LEAF, error.into()))?;
        Ok(leaf.principal)
    }
}
