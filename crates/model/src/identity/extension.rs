//! Who may sign which names: the one rule that a chain of certificates obeys beyond X.509. Owns the rule;
//! refuses to know certificates.
//!
//! A signing certificate states a prefix. What it signs must go on from there: a name with at least one more
//! segment, or a signing certificate whose prefix has at least one more segment. Only under a whole trust
//! domain another signing certificate for the whole may stand: the root lies in a safe, and what is below it
//! is renewed. So nobody can hand on what it is itself, and whoever looks at a chain sees who extended whom.

use std::fmt;
use std::str::FromStr;

use super::name::{InvalidPrincipal, Principal, TrustDomain};
use crate::string_form::string_form;

/// What a signing certificate may sign: everything below a trust domain, or below a principal's name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Prefix {
    /// Every name of a trust domain.
    Whole(TrustDomain),
    /// Every extension of a name.
    Below(Principal),
}

/// Why a chain does not show who somebody is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainFault {
    /// There is no signing certificate.
    #[error("nobody signed `{name}`")]
    NoSigner {
        /// Who it would be.
        name: Principal,
    },
    /// More signing certificates than anybody needs.
    #[error("the chain has more than {MAX_CHAIN} signing certificates")]
    TooLong,
    /// The last one is no root of a trust domain.
    #[error("the chain ends at `{prefix}`, which is no trust domain")]
    NoRoot {
        /// What it may sign.
        prefix: Prefix,
    },
    /// A name that its signer may not give.
    #[error("`{prefix}` may sign what extends that name, and `{signed}` does not")]
    NotExtended {
        /// What the signer may sign.
        prefix: Prefix,
        /// What it signed.
        signed: String,
    },
}

impl Prefix {
    /// Whose root vouches for it.
    pub fn trust_domain(&self) -> TrustDomain {
        match self {
            Prefix::Whole(domain) => domain.clone(),
            Prefix::Below(name) => name.trust_domain(),
        }
    }

    /// May it give this name?
    pub fn may_name(&self, name: &Principal) -> bool {
        name.extends(self.as_str())
    }

    /// May it let somebody sign what begins like this?
    pub fn may_delegate(&self, to: &Prefix) -> bool {
        match to {
            Prefix::Whole(domain) => matches!(self, Prefix::Whole(own) if own == domain),
            Prefix::Below(name) => self.may_name(name),
        }
    }

    fn as_str(&self) -> &str {
        match self {
            Prefix::Whole(domain) => domain.as_str(),
            Prefix::Below(name) => name.as_str(),
        }
    }
}

/// Does this chain, the issuer of the leaf first and the root last, give `name`? Signatures, dates and the
/// rest of X.509 were verified before.
///
/// # Errors
/// The first link that breaks the rule, from the leaf on.
pub fn check_chain(name: &Principal, signers: &[Prefix]) -> Result<(), ChainFault> {
    let (Some(issuer), Some(root)) = (signers.first(), signers.last()) else {
        return Err(ChainFault::NoSigner { name: name.clone() });
    };
    if signers.len() > MAX_CHAIN {
        return Err(ChainFault::TooLong);
    }
    let refuse = |prefix: &Prefix, signed: &dyn fmt::Display| {
        Err(ChainFault::NotExtended { prefix: prefix.clone(), signed: signed.to_string() })
    };
    if !issuer.may_name(name) {
        return refuse(issuer, name);
    }
    for (below, above) in signers.iter().zip(&signers[1..]) {
        if !above.may_delegate(below) {
            return refuse(above, below);
        }
    }
    match root {
        Prefix::Whole(_) => Ok(()),
        Prefix::Below(_) => Err(ChainFault::NoRoot { prefix: root.clone() }),
    }
}

impl FromStr for Prefix {
    type Err = InvalidPrincipal;
    fn from_str(text: &str) -> Result<Self, InvalidPrincipal> {
        match text.contains('/') {
            true => text.parse().map(Prefix::Below),
            false => text.parse().map(Prefix::Whole),
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

string_form!(Prefix);

/// Signing certificates in a chain, the root's included: six between root and leaf are what webpki follows.
pub const MAX_CHAIN: usize = 7;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(name: &str, signers: &[&str]) -> Result<(), ChainFault> {
        let signers: Vec<Prefix> = signers.iter().map(|prefix| prefix.parse().unwrap()).collect();
        check_chain(&name.parse().unwrap(), &signers)
    }

    #[test]
    fn whoever_extends_a_name_extends_its_own() {
        for (name, signers) in [
            ("acme/alice", &["acme"][..]),
            ("acme/alice", &["acme", "acme"]),
            ("acme/alice/laptop", &["acme/alice", "acme"]),
            ("acme/alice/laptop/job", &["acme/alice/laptop", "acme/alice", "acme", "acme"]),
            ("acme/a/b/c", &["acme/a", "acme"]),
        ] {
            assert_eq!(check(name, signers), Ok(()), "{name} {signers:?}");
        }
    }

    #[test]
    fn nobody_gives_its_own_name_another_or_the_right_to_it() {
        for (name, signers) in [
            ("acme/alice", &["acme/alice", "acme"][..]),
            ("acme/admin", &["acme/alice", "acme"]),
            ("acme/alicia/laptop", &["acme/alic", "acme"]),
            ("acme/alice/laptop", &["acme/alice", "acme/alice", "acme"]),
            ("acme/alice/laptop", &["acme/alice", "acme/bob", "acme"]),
            ("acme/alice/laptop", &["acme", "acme/alice", "acme"]),
            ("acme/alice", &["other"]),
            ("acme/alice", &["acme", "other"]),
        ] {
            let fault = check(name, signers);
            assert!(
                matches!(fault, Err(ChainFault::NotExtended { .. })),
                "{name} {signers:?}: {fault:?}"
            );
        }
        assert!(matches!(check("acme/a/b", &["acme/a"]), Err(ChainFault::NoRoot { .. })));
        assert!(matches!(check("acme/a", &[]), Err(ChainFault::NoSigner { .. })));
        assert_eq!(check("acme/a", &["acme"; 8]), Err(ChainFault::TooLong));
    }

    proptest! {
        /// Written apart: everything that is signed begins with all that is above it, and gets longer.
        #[test]
        fn a_chain_holds_exactly_if_every_link_gets_longer(
            name in "(a|b)(/[ab]){1,4}",
            signers in prop::collection::vec("(a|b)(/[ab]){0,3}", 1..4),
        ) {
            let segments = |text: &str| text.split('/').map(str::to_owned).collect::<Vec<_>>();
            let mut down: Vec<Vec<String>> = signers.iter().rev().map(|prefix| segments(prefix)).collect();
            down.push(segments(&name));
            let holds = down[0].len() == 1
                && down.windows(2).enumerate().all(|(at, pair)| {
                    let whole = at + 2 < down.len() && pair[0].len() == 1 && pair[0] == pair[1];
                    whole || (pair[1].starts_with(&pair[0]) && pair[1].len() > pair[0].len())
                });
            let signers: Vec<&str> = signers.iter().map(String::as_str).collect();
            prop_assert_eq!(check(&name, &signers).is_ok(), holds);
        }
    }
}
