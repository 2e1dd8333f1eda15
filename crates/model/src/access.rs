//! Who may do what. Owns the decision; refuses to establish who calls (`wire::serve` does, once) and to
//! know routes (`wire::route` says which right each needs). Lists of who may what are in `identity`.

use std::fmt;
use std::str::FromStr;

use crate::identity::Principal;
use crate::string_form::string_form;

/// What a caller may be allowed to do to a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Right {
    /// Learn that it exists.
    Resolve,
    /// Read what it holds.
    Read,
    /// Change it.
    Write,
    /// Look inside it while it runs: logs.
    Debug,
    /// Change who may do what to it, and remove it for good.
    Admin,
}

/// Who calls, as far as the door can tell.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Caller {
    /// A local account, by the kernel's word on the peer of a Unix socket.
    Uid(u32),
    /// Some local account: TCP from this machine says no more.
    Loopback,
    /// Whoever showed that the name is its own: the certificate of a connection.
    Principal(Principal),
}

/// The rule of one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// A repository without identity: every local account may do everything, and it says so at start.
    OpenToThisMachine,
    /// A node: the account that runs it and root do everything. Loopback callers, whose account is
    /// unknown, read; they change something only where the operator said so.
    Owner {
        /// The account that runs the node.
        uid: u32,
        /// `--allow-loopback` was given.
        loopback_may_write: bool,
    },
}

/// The answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Go on.
    Allowed,
    /// Stop, for this reason.
    Denied(&'static str),
}

impl Right {
    /// Every right, in the order of the contract.
    pub const ALL: [Right; 5] =
        [Right::Resolve, Right::Read, Right::Write, Right::Debug, Right::Admin];
}

impl Policy {
    /// May `caller` use `right`? Total: every caller and right has an answer, and what is not named is denied.
    pub fn decide(self, caller: &Caller, right: Right) -> Decision {
        match (self, caller) {
            (Policy::OpenToThisMachine, Caller::Uid(_) | Caller::Loopback) => Decision::Allowed,
            (_, Caller::Principal(_)) => {
                Decision::Denied("this server has no list that says what principals may do")
            }
            (Policy::Owner { uid, .. }, Caller::Uid(calling)) => {
                if *calling == uid || *calling == 0 {
                    Decision::Allowed
                } else {
                    Decision::Denied("only the account that runs this node, and root, may use it")
                }
            }
            (Policy::Owner { loopback_may_write, .. }, Caller::Loopback) => match right {
                Right::Resolve | Right::Read => Decision::Allowed,
                Right::Write | Right::Debug | Right::Admin if loopback_may_write => {
                    Decision::Allowed
                }
                Right::Write | Right::Debug | Right::Admin => Decision::Denied(
                    "over TCP the account of the caller is unknown; use the Unix socket, or start the node with --allow-loopback",
                ),
            },
        }
    }
}

impl Right {
    fn word(self) -> &'static str {
        match self {
            Right::Resolve => "resolve",
            Right::Read => "read",
            Right::Write => "write",
            Right::Debug => "debug",
            Right::Admin => "admin",
        }
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Why a text is no right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no right: `resolve`, `read`, `write`, `debug` or `admin` is wanted", .text.escape_debug())]
pub struct UnknownRight {
    /// The text as it was given, cut to 80 characters.
    pub text: String,
}

impl FromStr for Right {
    type Err = UnknownRight;
    fn from_str(text: &str) -> Result<Self, UnknownRight> {
        let known = Right::ALL.into_iter().find(|right| right.word() == text);
        known.ok_or_else(|| UnknownRight { text: text.chars().take(80).collect() })
    }
}

string_form!(Right);

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Caller::Uid(uid) => write!(f, "uid:{uid}"),
            Caller::Loopback => f.write_str("loopback"),
            Caller::Principal(name) => name.fmt(f),
        }
    }
}

/// Why a text is no caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no caller: `uid:N`, `loopback` or the name of a principal is wanted")]
pub struct InvalidCaller {
    /// The text as it was given, cut to 80 characters.
    pub text: String,
}

impl FromStr for Caller {
    type Err = InvalidCaller;
    fn from_str(text: &str) -> Result<Self, InvalidCaller> {
        let uid = || text.strip_prefix("uid:")?.parse().ok().map(Caller::Uid);
        let principal = || text.parse().ok().map(Caller::Principal);
        let refusal = || InvalidCaller { text: text.chars().take(80).collect() };
        match text {
            "loopback" => Ok(Caller::Loopback),
            _ => uid().or_else(principal).ok_or_else(refusal),
        }
    }
}

string_form!(Caller);

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: Policy = Policy::Owner { uid: 1000, loopback_may_write: false };
    const OPEN_NODE: Policy = Policy::Owner { uid: 1000, loopback_may_write: true };

    #[test]
    fn the_whole_table_of_caller_and_right() {
        use Right::*;
        let alice = Caller::Principal("acme/alice".parse().unwrap());
        let rows: [(Policy, Caller, &[Right]); 11] = [
            (Policy::OpenToThisMachine, alice.clone(), &[]),
            (OPEN_NODE, alice, &[]),
            (Policy::OpenToThisMachine, Caller::Loopback, &Right::ALL),
            (Policy::OpenToThisMachine, Caller::Uid(1), &Right::ALL),
            (OWNER, Caller::Uid(1000), &Right::ALL),
            (OWNER, Caller::Uid(0), &Right::ALL),
            (OWNER, Caller::Uid(1001), &[]),
            (OWNER, Caller::Loopback, &[Resolve, Read]),
            (OPEN_NODE, Caller::Loopback, &Right::ALL),
            (OPEN_NODE, Caller::Uid(1001), &[]),
            (OPEN_NODE, Caller::Uid(1000), &Right::ALL),
        ];
        for (policy, caller, allowed) in rows {
            for right in Right::ALL {
                let got = policy.decide(&caller, right) == Decision::Allowed;
                assert_eq!(got, allowed.contains(&right), "{policy:?} {caller} {right:?}");
            }
        }
    }

    #[test]
    fn a_right_prints_and_parses_to_itself() {
        for right in Right::ALL {
            assert_eq!(right.to_string().parse(), Ok(right));
        }
        assert!("Read".parse::<Right>().is_err());
    }

    #[test]
    fn a_caller_prints_and_parses_to_itself() {
        let alice = Caller::Principal("acme/alice".parse().unwrap());
        for caller in [Caller::Uid(0), Caller::Uid(4_294_967_294), Caller::Loopback, alice] {
            assert_eq!(caller.to_string().parse(), Ok(caller));
        }
        assert!("root".parse::<Caller>().is_err());
    }
}
