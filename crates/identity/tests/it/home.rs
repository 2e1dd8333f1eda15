//! Directories of identities: founding, asking, giving, taking, renewing.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use identity::{FileFault, Home, HomeError, IssueError, KeyError, LEAF, Rotated, Untrusted, Wish};
use model::Timestamp;

use crate::world::*;

pub(crate) fn at(dir: &Path) -> Home {
    unlocked(|| Home::create(dir, None))
}

/// A process that another thread of this test is just forking may hold a lock until it executes its program:
/// that is waited for.
pub(crate) fn unlocked(open: impl Fn() -> Result<Home, HomeError>) -> Home {
    for _ in 0..2000 {
        match open() {
            Err(HomeError::Busy { .. }) => std::thread::sleep(Duration::from_millis(5)),
            opened => return opened.unwrap(),
        }
    }
    panic!("it stays locked");
}

pub(crate) fn name(home: &Home) -> String {
    home.identity(*NOW).unwrap().unwrap().who.leaf.principal.to_string()
}

pub(crate) fn wish(name: &str, may_extend: bool) -> Wish {
    Wish { name: name.parse().unwrap(), may_extend, lifetime: LEAF }
}

/// A trust domain with its admin.
pub(crate) fn founded(dir: &Path) -> Home {
    let admin = at(dir);
    admin.found(&"acme/admin".parse().unwrap(), *NOW).unwrap();
    admin
}

fn joined(dir: &Path, by: &Home, name: &str, may_extend: bool) -> Home {
    let home = at(dir);
    let answer = by.extend(&home.request(may_extend).unwrap(), &wish(name, may_extend), *NOW);
    home.accept(&answer.unwrap(), *NOW).unwrap();
    home
}

/// Do these two know each other?
fn knows(one: &Home, other: &Home, now: Timestamp) -> Result<(), Untrusted> {
    let chain = other.identity(*NOW).unwrap().unwrap().chain;
    identity::verify(&one.roots().unwrap(), &chain[0], &chain[1..], now).map(drop)
}

#[test]
fn whoever_founds_a_domain_names_others_and_they_name_theirs() {
    let dir = tempfile::tempdir().unwrap();
    let admin = founded(&dir.path().join("admin"));
    assert_eq!(name(&admin), "acme/admin");
    let alice = joined(&dir.path().join("alice"), &admin, "acme/alice", true);
    let laptop = joined(&dir.path().join("laptop"), &alice, "acme/alice/laptop", false);
    assert_eq!((name(&alice), name(&laptop)), ("acme/alice".into(), "acme/alice/laptop".into()));
    for one in [&admin, &alice, &laptop] {
        for other in [&admin, &alice, &laptop] {
            assert_eq!(knows(one, other, *NOW), Ok(()));
        }
    }
    let request = at(&dir.path().join("x")).request(false).unwrap();
    let refused = laptop.extend(&request, &wish("acme/alice/laptop/x", false), *NOW);
    assert!(matches!(refused, Err(HomeError::MayNotExtend { .. })), "{refused:?}");
    let refused = alice.extend(&request, &wish("acme/bob", false), *NOW);
    assert!(
        matches!(refused, Err(HomeError::Issue(IssueError::NotExtended { .. }))),
        "{refused:?}"
    );
    let given: Vec<String> = alice
        .issued()
        .unwrap()
        .into_iter()
        .map(|issued| issued.name.unwrap().to_string())
        .collect();
    assert_eq!(given, ["acme/alice/laptop"]);
    let all = admin.issued().unwrap();
    let named = all.iter().filter(|issued| issued.name.is_some()).count();
    let signing = all.iter().filter(|issued| issued.prefix.is_some()).count();
    assert_eq!((named, signing), (2, 1), "{all:?}");
}

#[test]
fn a_domain_is_founded_once_and_an_answer_is_for_whoever_asked() {
    let dir = tempfile::tempdir().unwrap();
    let admin = founded(&dir.path().join("admin"));
    let again = admin.found(&"acme/admin".parse().unwrap(), *NOW);
    assert!(matches!(again, Err(HomeError::Taken { .. })), "{again:?}");
    let (alice, eve) = (at(&dir.path().join("alice")), at(&dir.path().join("eve")));
    let request = alice.request(false).unwrap();
    assert_eq!(alice.request(false).unwrap().lines().count(), request.lines().count());
    eve.request(false).unwrap();
    let answer = admin.extend(&request, &wish("acme/alice", false), *NOW).unwrap();
    for stranger in [&eve, &at(&dir.path().join("nobody"))] {
        let refused = stranger.accept(&answer, *NOW);
        assert!(matches!(refused, Err(HomeError::NotAsked { .. })), "{refused:?}");
        assert!(stranger.identity(*NOW).unwrap().is_none());
    }
    alice.accept(&answer, *NOW).unwrap();
    assert!(!alice.is_pending().unwrap());
    // Whoever trusts somebody already does not take another root with an answer.
    let other = at(&dir.path().join("other"));
    other.found(&"acme/admin".parse().unwrap(), *NOW).unwrap();
    let foreign = other.extend(&alice.request(false).unwrap(), &wish("acme/alice", false), *NOW);
    let refused = alice.accept(&foreign.unwrap(), *NOW);
    assert!(matches!(refused, Err(HomeError::OtherRoot(Untrusted::UnknownRoot))), "{refused:?}");
    assert_eq!(knows(&admin, &alice, *NOW), Ok(()));
    // A name and the right to extend it are two things.
    let refused = admin.extend(&eve.request(false).unwrap(), &wish("acme/eve", true), *NOW);
    assert!(matches!(refused, Err(HomeError::NoSigningKey)), "{refused:?}");
    let one = eve.request(false).unwrap();
    let refused = admin.extend(&format!("{one}{one}"), &wish("acme/eve", true), *NOW);
    assert!(matches!(refused, Err(HomeError::OneKey)), "{refused:?}");
    let refused = admin.extend("nothing", &wish("acme/eve", true), *NOW);
    assert!(matches!(refused, Err(HomeError::Requests(0))), "{refused:?}");
}

#[test]
fn keys_that_others_may_read_and_files_that_were_changed_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let admin = founded(dir.path());
    let leaf = dir.path().join("leaf.pem");
    for file in ["leaf.pem", "signing.pem", "root.pem"] {
        let mode = fs::metadata(dir.path().join(file)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{file}");
    }
    fs::set_permissions(&leaf, fs::Permissions::from_mode(0o640)).unwrap();
    let refused = admin.identity(*NOW);
    assert!(
        matches!(&refused, Err(HomeError::Exposed { path, mode: 0o640 }) if *path == leaf),
        "{refused:?}"
    );
    fs::set_permissions(&leaf, fs::Permissions::from_mode(0o600)).unwrap();
    let text = fs::read_to_string(&leaf).unwrap();
    let signing = fs::read_to_string(dir.path().join("signing.pem")).unwrap();
    let key_end = |text: &str| text.find("-----BEGIN CERTIFICATE").unwrap();
    let mixed = format!("{}{}", &signing[..key_end(&signing)], &text[key_end(&text)..]);
    for (content, what) in [
        (String::new(), "no key"),
        (text[key_end(&text)..].to_owned(), "no key"),
        (format!("{text}{text}"), "two keys"),
        (text[..key_end(&text)].to_owned(), "no certificate"),
        (text[..text.len() - 9].to_owned(), "cut"),
        (mixed, "another key"),
    ] {
        fs::write(&leaf, content).unwrap();
        let refused = admin.identity(*NOW);
        assert!(
            matches!(&refused, Err(HomeError::File { path, .. }) if *path == leaf),
            "{what}: {refused:?}"
        );
    }
    fs::write(&leaf, text).unwrap();
    assert_eq!(name(&admin), "acme/admin");
    let expired = admin.identity(later(40));
    let fault = matches!(
        expired,
        Err(HomeError::File { source: FileFault::Untrusted(Untrusted::Expired { .. }), .. })
    );
    assert!(fault, "{expired:?}");
}

#[test]
fn behind_a_passphrase_no_key_is_readable_and_everything_else_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let sealed = Home::create(dir.path(), Some("secret".to_owned())).unwrap();
    sealed.found(&"acme/admin".parse().unwrap(), *NOW).unwrap();
    sealed.request(true).unwrap();
    for file in ["leaf.pem", "signing.pem", "root.pem", "pending.pem"] {
        let text = fs::read_to_string(dir.path().join(file)).unwrap();
        assert!(!text.contains("BEGIN PRIVATE KEY"), "{file}");
    }
    assert_eq!(name(&sealed), "acme/admin");
    for (passphrase, fault) in [(None, KeyError::Encrypted), (Some("x"), KeyError::Passphrase)] {
        let home = Home::look(dir.path(), passphrase.map(str::to_owned)).unwrap().unwrap();
        let refused = home.identity(*NOW);
        let is_it = matches!(
            &refused,
            Err(HomeError::File { source: FileFault::Key(found), .. }) if *found == fault
        );
        assert!(is_it, "{refused:?}");
    }
}

#[test]
fn a_directory_of_somebody_else_is_left_alone_and_one_that_is_being_changed_waits() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("letter"), "").unwrap();
    let refused = Home::create(dir.path(), None);
    assert!(
        matches!(&refused, Err(HomeError::Foreign { entry, .. }) if entry == "letter"),
        "{refused:?}"
    );
    assert!(Home::look(dir.path(), None).unwrap().is_none());
    assert!(Home::change(dir.path(), None).unwrap().is_none());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing was made in it");
    let own = dir.path().join("own");
    let admin = founded(&own);
    assert!(matches!(Home::change(&own, None), Err(HomeError::Busy { .. })));
    assert_eq!(name(&Home::look(&own, None).unwrap().unwrap()), "acme/admin");
    drop(admin);
    // A key that a crash left half-way does not stay.
    fs::write(own.join("staging/.1-1"), "-----BEGIN PRIVATE KEY-----").unwrap();
    drop(unlocked(|| Ok(Home::change(&own, None)?.expect("it is there"))));
    assert_eq!(fs::read_dir(own.join("staging")).unwrap().count(), 0);
}

#[test]
fn a_name_that_has_expired_is_renewed_as_one_that_has_not() {
    let dir = tempfile::tempdir().unwrap();
    let admin = founded(&dir.path().join("admin"));
    let alice = joined(&dir.path().join("alice"), &admin, "acme/alice", false);
    let then = later(40);
    assert!(admin.identity(then).is_err() && alice.identity(then).is_err());
    assert_eq!(admin.rotate_leaf(then).unwrap(), Rotated::Done);
    let Rotated::Asked(request) = alice.rotate_leaf(then).unwrap() else { panic!("asked") };
    let answer = admin.extend(&request, &wish("acme/alice", false), then).unwrap();
    alice.accept(&answer, then).unwrap();
    for home in [&admin, &alice] {
        assert!(home.identity(then).unwrap().is_some());
    }
}

#[test]
fn leaf_signing_certificate_and_root_are_renewed_and_nobody_is_locked_out_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let admin = founded(&dir.path().join("admin"));
    let alice = joined(&dir.path().join("alice"), &admin, "acme/alice", true);
    let laptop = joined(&dir.path().join("laptop"), &alice, "acme/alice/laptop", false);
    let everybody = |when: &str| {
        for one in [&admin, &alice, &laptop] {
            for other in [&admin, &alice, &laptop] {
                assert_eq!(knows(one, other, *NOW), Ok(()), "{when}");
            }
        }
    };
    let key = |home: &Home| home.identity(*NOW).unwrap().unwrap().key.public();
    // The leaf: whoever founded the domain by itself, the others by asking.
    let before = key(&admin);
    assert_eq!(admin.rotate_leaf(*NOW).unwrap(), Rotated::Done);
    assert_ne!(key(&admin), before);
    everybody("after the admin's leaf");
    let Rotated::Asked(request) = alice.rotate_leaf(*NOW).unwrap() else { panic!("asked") };
    everybody("while alice asks");
    let answer = admin.extend(&request, &wish("acme/alice", true), *NOW).unwrap();
    alice.accept(&answer, *NOW).unwrap();
    everybody("after alice's keys");
    let phone = joined(&dir.path().join("phone"), &alice, "acme/alice/phone", false);
    assert_eq!(knows(&laptop, &phone, *NOW), Ok(()), "by the new key");
    // The certificate that signs from day to day.
    assert_eq!(admin.rotate_signing(*NOW).unwrap(), Rotated::Done);
    everybody("after the intermediate");
    let bob = joined(&dir.path().join("bob"), &admin, "acme/bob", false);
    assert_eq!((knows(&laptop, &bob, *NOW), knows(&bob, &laptop, *NOW)), (Ok(()), Ok(())));
    // The root, in three steps; everybody learns the new one between the first and the second.
    assert!(matches!(admin.switch_root(*NOW), Err(HomeError::NoNextRoot { .. })));
    admin.begin_root(*NOW).unwrap();
    admin.begin_root(*NOW).unwrap();
    assert_eq!(admin.roots().unwrap().certificates().count(), 2);
    everybody("with a new root that is trusted");
    let bundle = fs::read(admin.dir().join("roots.pem")).unwrap();
    for home in [&alice, &laptop] {
        home.trust_also(std::str::from_utf8(&bundle).unwrap()).unwrap();
    }
    admin.switch_root(*NOW).unwrap();
    everybody("with the new root in use");
    assert!(knows(&bob, &admin, *NOW).is_err(), "whoever did not learn it does not know it");
    for home in [&alice, &laptop] {
        let (by, own) = if std::ptr::eq(home, &raw const alice) {
            (&admin, "acme/alice")
        } else {
            (&alice, "acme/alice/laptop")
        };
        let may_extend = home.issuer().unwrap().is_some();
        let request = home.request(may_extend).unwrap();
        home.accept(&by.extend(&request, &wish(own, may_extend), *NOW).unwrap(), *NOW).unwrap();
    }
    everybody("with everybody below the new root");
    admin.finish_root(*NOW).unwrap();
    assert_eq!(admin.roots().unwrap().certificates().count(), 1);
    everybody("with the old root gone");
    assert_eq!(knows(&admin, &bob, *NOW), Err(Untrusted::UnknownRoot));
}
