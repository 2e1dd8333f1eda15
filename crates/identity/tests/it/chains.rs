//! Chains of certificates: who is believed to be whom, at which time, by whose word.

use identity::{IssueError, Issuer, Key, LEAF, Roots, SIGNING, Untrusted};
use model::Timestamp;
use model::identity::{ChainFault, Prefix};

use crate::world::*;

#[test]
fn whoever_was_extended_is_who_its_chain_says() {
    let acme = root("acme");
    let office = delegate(&acme, "acme");
    let alice = delegate(&office, "acme/alice");
    let laptop = delegate(&alice, "acme/alice/laptop");
    let roots = trusting(&[&acme]);
    for (by, name, signers) in [
        (&acme, "acme/bob", &["acme"][..]),
        (&office, "acme/alice", &["acme", "acme"]),
        (&alice, "acme/alice/phone", &["acme/alice", "acme", "acme"]),
        (&laptop, "acme/alice/laptop/job/7", &["acme/alice/laptop", "acme/alice", "acme", "acme"]),
    ] {
        let chain = named(by, name);
        let found = who(&roots, &chain, *NOW).unwrap();
        assert_eq!(found.leaf.principal.as_str(), name);
        let told: Vec<String> = found.signers.iter().map(Prefix::to_string).collect();
        assert_eq!(told, signers);
        assert_eq!(found.serials.len(), signers.len(), "all but the root's");
        assert_eq!(found.not_after, NOW.plus(LEAF));
        // In whatever order they come, and with some that do not belong to it.
        let mut mixed: Chain = chain[1..].iter().rev().cloned().collect();
        mixed.insert(0, named(&acme, "acme/eve")[0].clone());
        mixed.insert(0, chain[0].clone());
        assert_eq!(who(&roots, &mixed, *NOW), Ok(found));
    }
}

#[test]
fn an_issuer_gives_no_name_that_nobody_would_believe() {
    let acme = root("acme");
    let alice = delegate(&acme, "acme/alice");
    let key = Key::generate().unwrap();
    for name in ["acme/alice", "acme/bob", "acme/alicia/x", "other/alice/x"] {
        let refused = alice.name(&request(&key), &name.parse().unwrap(), LEAF, *NOW);
        assert!(matches!(refused, Err(IssueError::NotExtended { .. })), "{name}: {refused:?}");
    }
    for prefix in ["acme", "acme/alice", "acme/bob", "other"] {
        let refused = alice.delegate(&request(&key), &prefix.parse().unwrap(), SIGNING, *NOW);
        assert!(matches!(refused, Err(IssueError::NotExtended { .. })), "{prefix}: {refused:?}");
    }
}

/// An issuer that was given more than it may have: by openssl, which does not know the rule.
fn lying(by: &Issuer, prefix: &str) -> Issuer {
    crate::openssl::signing(by, prefix)
}

#[test]
fn nobody_is_believed_beyond_its_own_name_whatever_it_signs() {
    let acme = root("acme");
    let alice = delegate(&acme, "acme/alice");
    let roots = trusting(&[&acme]);
    for (prefix, name) in [
        ("acme", "acme/admin"),         // the whole domain
        ("acme/admin", "acme/admin/x"), // a stranger's
        ("acme/alice", "acme/alice/x"), // its own, once more
        ("acme/alic", "acme/alic/x"),   // less than a segment
    ] {
        let refused = who(&roots, &named(&lying(&alice, prefix), name), *NOW);
        let expected = matches!(refused, Err(Untrusted::Chain(ChainFault::NotExtended { .. })));
        assert!(expected, "{prefix} {name}: {refused:?}");
    }
    let honest = who(&roots, &named(&lying(&alice, "acme/alice/x"), "acme/alice/x/y"), *NOW);
    assert!(honest.is_ok(), "{honest:?}");
}

#[test]
fn other_trust_domains_are_strangers_also_if_they_use_the_same_name() {
    let (acme, impostor, other) = (root("acme"), root("acme"), root("other"));
    let roots = trusting(&[&acme, &other]);
    assert_eq!(who(&roots, &named(&impostor, "acme/alice"), *NOW), Err(Untrusted::UnknownRoot));
    assert!(who(&roots, &named(&other, "other/alice"), *NOW).is_ok());
    let refused = who(&roots, &named(&lying(&other, "acme"), "acme/alice"), *NOW);
    assert!(matches!(refused, Err(Untrusted::Chain(_))), "{refused:?}");
    assert_eq!(
        who(&Roots::default(), &named(&acme, "acme/alice"), *NOW),
        Err(Untrusted::UnknownRoot)
    );
}

#[test]
fn every_date_in_a_chain_counts_also_that_of_the_root() {
    let acme = root("acme");
    let alice = delegate(&acme, "acme/alice");
    let roots = trusting(&[&acme]);
    let key = Key::generate().unwrap();
    let name = "acme/alice/laptop".parse().unwrap();
    let short = alice.name(&request(&key), &name, DAY, *NOW).unwrap();
    assert!(who(&roots, &short, *NOW).is_ok());
    // Clocks that are a little behind do not lock anybody out; one that is a year behind says so.
    let behind = Timestamp::from_millis(NOW.as_millis() - 200_000);
    assert!(who(&roots, &short, behind).is_ok());
    let year_off = Timestamp::from_millis(NOW.as_millis() - 365 * 86_400_000);
    assert!(
        matches!(who(&roots, &short, year_off), Err(Untrusted::NotYet { now, .. }) if now == year_off)
    );
    assert!(matches!(who(&roots, &short, later(2)), Err(Untrusted::Expired { .. })));
    // A leaf holds no longer than its issuer, and an issuer that holds no more gives no names.
    let long = alice.name(&request(&key), &name, DAY * 9999, *NOW).unwrap();
    assert_eq!(who(&roots, &long, later(364)).unwrap().not_after, NOW.plus(SIGNING));
    assert!(matches!(who(&roots, &long, later(366)), Err(Untrusted::Expired { .. })));
    let refused = alice.name(&request(&key), &name, DAY, later(366));
    assert!(matches!(refused, Err(IssueError::NotValid { .. })), "{refused:?}");
    // What hangs on a root that has expired is refused, though webpki takes roots as they are.
    let forever = crate::openssl::leaf(&acme, "URI:spiffe://acme/old", 9999);
    assert!(who(&roots, &forever, later(3600)).is_ok());
    assert!(matches!(who(&roots, &forever, later(3700)), Err(Untrusted::Expired { .. })));
}

#[test]
fn a_chain_of_any_length_is_refused_beyond_the_bound_and_by_the_length_that_is_stated() {
    let acme = root("acme");
    let mut last = delegate(&acme, "acme/1");
    let mut prefix = "acme/1".to_owned();
    for step in 2..=6 {
        prefix = format!("{prefix}/{step}");
        last = delegate(&last, &prefix);
    }
    assert!(who(&trusting(&[&acme]), &named(&last, &format!("{prefix}/leaf")), *NOW).is_ok());
    let key = Key::generate().unwrap();
    let next: Prefix = format!("{prefix}/7").parse().unwrap();
    let refused = last.delegate(&request(&key), &next, SIGNING, *NOW);
    assert!(matches!(refused, Err(IssueError::TooDeep { .. })), "{refused:?}");
    let too_long = named(&lying(&last, &next.to_string()), &format!("{next}/leaf"));
    assert!(who(&trusting(&[&acme]), &too_long, *NOW).is_err());
}

#[test]
fn roots_and_intermediates_are_renewed_without_a_moment_in_which_anybody_is_locked_out() {
    let (old, new) = (root("acme"), root("acme"));
    let before = named(&delegate(&old, "acme"), "acme/alice");
    let after = named(&delegate(&new, "acme"), "acme/alice");
    // Before, while and after everybody learns the new root.
    assert!(who(&trusting(&[&old]), &before, *NOW).is_ok());
    let both = trusting(&[&old, &new]);
    assert!(who(&both, &before, *NOW).is_ok() && who(&both, &after, *NOW).is_ok());
    assert!(who(&trusting(&[&new]), &after, *NOW).is_ok());
    assert_eq!(who(&trusting(&[&new]), &before, *NOW), Err(Untrusted::UnknownRoot));
    // Two intermediates of one root, side by side.
    let (first, second) = (delegate(&old, "acme"), delegate(&old, "acme"));
    for office in [first, second] {
        assert!(who(&trusting(&[&old]), &named(&office, "acme/bob"), *NOW).is_ok());
    }
}

#[test]
fn a_root_that_was_certified_again_is_known_by_each_of_its_certificates() {
    let then = Timestamp::from_millis(NOW.as_millis() - 3_649 * 86_400_000);
    let pem = Key::generate().unwrap().to_pem();
    let key = || Key::from_pem(&pem, None).unwrap();
    let old = Issuer::root("acme".parse().unwrap(), key(), then).unwrap();
    let new = Issuer::root("acme".parse().unwrap(), key(), *NOW).unwrap();
    let chain = named(&new, "acme/alice");
    for trusted in [[&old, &new], [&new, &old]] {
        assert!(who(&trusting(&trusted), &chain, later(10)).is_ok(), "the old one has expired");
    }
    assert!(matches!(who(&trusting(&[&old]), &chain, later(10)), Err(Untrusted::Expired { .. })));
}

#[test]
fn a_signing_certificate_never_authenticates_and_a_leaf_never_signs() {
    let acme = root("acme");
    let alice = delegate(&acme, "acme/alice");
    let roots = trusting(&[&acme]);
    let own: Chain = alice.chain().to_vec();
    assert!(matches!(who(&roots, &own, *NOW), Err(Untrusted::Leaf(_))));
    assert!(matches!(who(&roots, &acme.chain().to_vec(), *NOW), Err(Untrusted::Leaf(_))));
    let key = Key::generate().unwrap();
    let leaf = acme.name(&request(&key), &"acme/eve".parse().unwrap(), LEAF, *NOW).unwrap();
    assert!(Issuer::open(key, leaf).is_err());
    assert!(Roots::new([alice.chain()[0].clone()]).is_err(), "alice is no root");
}

#[test]
fn a_key_that_is_not_that_of_the_certificate_is_no_issuer() {
    let acme = root("acme");
    let refused = Issuer::open(Key::generate().unwrap(), acme.chain().to_vec());
    assert!(matches!(refused, Err(IssueError::OtherKey)), "{refused:?}");
}
