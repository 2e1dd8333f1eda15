//! `fettle identity …`: the keys and names of whoever calls. Everything happens in its own directory; what
//! goes to others goes as text that the user carries.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use identity::{Home, HomeError, Identity, Issued, LEAF, Rotated, Wish};
use model::identity::Principal;
use model::{Digest, Timestamp};
use wire::v1::{AnswerBody, IdentityBody, IssuedLine, RequestBody, RootBody};

use crate::args::{IdentityArgs, IdentityCommand, RootStep};
use crate::error::{Exit, Failure};
use crate::names::parse;
use crate::places::{NoPlace, Surroundings};
use crate::reach::Context;
use crate::table::{Table, fields};

/// Why a command about an identity failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityError {
    /// There is no default directory.
    #[error(transparent)]
    Place(#[from] NoPlace),
    /// A file that was named cannot be read.
    #[error("cannot read {}", .path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file that was named is larger than anything that is sent.
    #[error("{} is larger than {LIMIT} bytes", .path.display())]
    TooLarge {
        /// Which file.
        path: PathBuf,
    },
    /// The directory, or what should be changed in it.
    #[error(transparent)]
    Home(#[from] HomeError),
}

/// `fettle identity …`
pub(crate) fn identity(context: &Context, args: &IdentityArgs) -> Result<Exit, Failure> {
    let dir = match &args.identity {
        Some(dir) => std::path::absolute(dir).unwrap_or_else(|_| dir.clone()),
        None => Surroundings::of_this_process().identity().map_err(IdentityError::from)?,
    };
    let passphrase = args.passphrase_file.as_deref().map(passphrase).transpose()?;
    let now = Timestamp::from(std::time::SystemTime::now());
    let output = context.output;
    match &args.command {
        IdentityCommand::Init { name } => {
            let name: Principal = parse(name)?;
            let home = Home::create(&dir, passphrase).map_err(IdentityError::from)?;
            home.found(&name, now).map_err(IdentityError::from)?;
            output.say(&format!(
                "the root of `{}` is {}: copy it to a safe place and remove it here; it is needed for \
                 `fettle identity rotate` with `--signing`, and to finish one with `--root`",
                name.trust_domain(),
                dir.join("root.pem").display()
            ));
            show(context, &home, now)
        }
        IdentityCommand::Request { may_extend } => {
            let home = Home::create(&dir, passphrase).map_err(IdentityError::from)?;
            let request = home.request(*may_extend).map_err(IdentityError::from)?;
            output.value(&RequestBody { request }, |body| body.request.trim_end().to_owned())?;
            output.say(
                "send this to somebody who may name you: `fettle identity extend FILE NAME` answers it, \
                 and `fettle identity accept FILE` takes the answer here",
            );
            Ok(Exit::Done)
        }
        IdentityCommand::Extend { request, name, may_extend, lifetime } => {
            let home = there(&dir, Home::change(&dir, passphrase))?;
            let name = parse(name)?;
            let lifetime = lifetime.map_or(LEAF, model::Span::as_duration);
            let wish = Wish { name, may_extend: *may_extend, lifetime };
            let text = text(request)?;
            let answer = home.extend(&text, &wish, now).map_err(IdentityError::from)?;
            output.value(&AnswerBody { answer }, |body| body.answer.trim_end().to_owned())?;
            output.say("send this back: `fettle identity accept FILE` takes it there");
            Ok(Exit::Done)
        }
        IdentityCommand::Accept { answer } => {
            let home = there(&dir, Home::change(&dir, passphrase))?;
            let is_first = home.roots().map_err(IdentityError::from)?.is_empty();
            home.accept(&text(answer)?, now).map_err(IdentityError::from)?;
            if is_first {
                output.say("compare the fingerprint of the root with that of whoever named you");
            }
            show(context, &home, now)
        }
        IdentityCommand::Trust { roots } => {
            let home = Home::create(&dir, passphrase).map_err(IdentityError::from)?;
            home.trust_also(&text(roots)?).map_err(IdentityError::from)?;
            show(context, &home, now)
        }
        IdentityCommand::Show => show(context, &there(&dir, Home::look(&dir, passphrase))?, now),
        IdentityCommand::List => {
            let home = there(&dir, Home::look(&dir, passphrase))?;
            let issued = home.issued().map_err(IdentityError::from)?;
            let lines: Vec<IssuedLine> = issued.into_iter().map(line).collect();
            if lines.is_empty() {
                output.say("no name was given from here");
            }
            output.listing(&lines, table)?;
            Ok(Exit::Done)
        }
        IdentityCommand::Rotate { signing, root } => {
            let home = there(&dir, Home::change(&dir, passphrase))?;
            let rotated = match (root, signing) {
                (Some(RootStep::Begin), _) => home.begin_root(now).map(|()| Rotated::Done),
                (Some(RootStep::Switch), _) => home.switch_root(now).map(|()| Rotated::Done),
                (Some(RootStep::Finish), _) => home.finish_root(now).map(|()| Rotated::Done),
                (None, true) => home.rotate_signing(now),
                (None, false) => home.rotate_leaf(now),
            };
            match rotated.map_err(IdentityError::from)? {
                Rotated::Done => {
                    if let Some(step) = root {
                        output.say(after(*step));
                    }
                    show(context, &home, now)
                }
                Rotated::Asked(request) => {
                    let body = RequestBody { request };
                    output.value(&body, |body| body.request.trim_end().to_owned())?;
                    output.say(
                        "send this to whoever named you; until it is answered nothing changes",
                    );
                    Ok(Exit::Done)
                }
            }
        }
    }
}

/// What has to happen before the next step.
fn after(step: RootStep) -> &'static str {
    match step {
        RootStep::Begin => {
            "the new root is trusted here, and not used yet: give roots.pem to everybody (`fettle identity \
             trust FILE`), then `fettle identity rotate --root switch`"
        }
        RootStep::Switch => {
            "names are given by the new root from now on: have everybody ask anew (`fettle identity \
             rotate`), then `fettle identity rotate --root finish`"
        }
        RootStep::Finish => {
            "the old root is not trusted here any more; everybody else removes it from roots.pem"
        }
    }
}

fn show(context: &Context, home: &Home, now: Timestamp) -> Result<Exit, Failure> {
    let body = body(home, now).map_err(IdentityError::from)?;
    context.output.value(&body, shown)?;
    Ok(Exit::Done)
}

fn body(home: &Home, now: Timestamp) -> Result<IdentityBody, HomeError> {
    let who = home.identity(now)?.map(|Identity { who, .. }| who);
    let issuer = home.issuer()?;
    let roots = home.roots()?;
    let root = |(der, domain, not_after): (&[u8], _, _)| RootBody {
        domain,
        fingerprint: Digest::of(der),
        not_after,
    };
    Ok(IdentityBody {
        not_after: who.as_ref().map(|who| who.not_after),
        signers: who.as_ref().map(|who| who.signers.clone()).unwrap_or_default(),
        name: who.map(|who| who.leaf.principal),
        may_sign: issuer.as_ref().map(|issuer| issuer.prefix().clone()),
        may_sign_until: issuer.map(|issuer| issuer.not_after()),
        pending: home.is_pending()?,
        roots: roots.all().map(root).collect(),
        directory: home.dir().display().to_string(),
    })
}

fn shown(body: &IdentityBody) -> String {
    let IdentityBody {
        name,
        not_after,
        signers,
        may_sign,
        may_sign_until,
        pending,
        roots,
        directory,
    } = body;
    let mut rows = Vec::new();
    match (name, not_after) {
        (Some(name), Some(not_after)) => {
            rows.push(("name", name.to_string()));
            rows.push(("until", not_after.to_string()));
            let signers: Vec<String> = signers.iter().map(ToString::to_string).collect();
            rows.push(("named by", signers.join(", which was named by ")));
        }
        _ => rows.push(("name", "none yet".to_owned())),
    }
    if let (Some(prefix), Some(until)) = (may_sign, may_sign_until) {
        rows.push(("may name", format!("{prefix}/…, until {until}")));
    }
    if *pending {
        rows.push(("asked", "a request waits for its answer".to_owned()));
    }
    for root in roots {
        let RootBody { domain, fingerprint, not_after } = root;
        rows.push(("trusts", format!("{domain}, until {not_after}, {fingerprint}")));
    }
    rows.push(("keys in", directory.clone()));
    fields(&rows)
}

fn line(issued: Issued) -> IssuedLine {
    let Issued { serial, name, prefix, issued, not_after } = issued;
    IssuedLine { name, may_sign: prefix, serial, issued, not_after }
}

fn table(lines: &[IssuedLine]) -> Table {
    let mut table = Table::new(&["NAME", "KIND", "ISSUED", "UNTIL", "SERIAL"]);
    for line in lines {
        let (name, kind) = match (&line.name, &line.may_sign) {
            (Some(name), _) => (name.to_string(), "leaf"),
            (None, Some(prefix)) => (prefix.to_string(), "signing"),
            (None, None) => (String::new(), ""),
        };
        let (issued, until) = (line.issued.to_string(), line.not_after.to_string());
        table.row(vec![name, kind.to_owned(), issued, until, line.serial.clone()]);
    }
    table
}

fn there(dir: &Path, found: Result<Option<Home>, HomeError>) -> Result<Home, IdentityError> {
    Ok(found?.ok_or_else(|| HomeError::Nobody { dir: dir.to_owned() })?)
}

/// The first line of a file; an editor ends it with a line feed.
fn passphrase(path: &Path) -> Result<String, IdentityError> {
    Ok(text(path)?.lines().next().unwrap_or_default().to_owned())
}

/// A file of text; `-` is standard input.
fn text(path: &Path) -> Result<String, IdentityError> {
    let read = |reader: &mut dyn std::io::Read| {
        let mut text = String::new();
        reader.take(LIMIT + 1).read_to_string(&mut text).map(|_| text)
    };
    let text = match path.to_str() {
        Some("-") => read(&mut std::io::stdin()),
        _ => std::fs::File::open(path).and_then(|mut file| read(&mut file)),
    };
    let text = text.map_err(|source| IdentityError::Read { path: path.to_owned(), source })?;
    match text.len() as u64 > LIMIT {
        true => Err(IdentityError::TooLarge { path: path.to_owned() }),
        false => Ok(text),
    }
}

/// Requests and answers are a few certificates.
const LIMIT: u64 = 1024 * 1024;
