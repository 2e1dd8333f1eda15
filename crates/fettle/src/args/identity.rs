//! The arguments of `fettle identity`. Names and files stay text here, as everywhere in `args`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use model::Span;

/// Arguments of `fettle identity`.
#[derive(Debug, Args)]
pub(crate) struct IdentityArgs {
    /// Where the keys lie [default: /var/lib/fettle/identity for root, fettle/identity in the XDG data
    /// directory else]
    #[arg(long, global = true, value_name = "DIR", env = "FETTLE_IDENTITY")]
    pub(crate) identity: Option<PathBuf>,
    /// A file whose first line is the passphrase of the keys; new keys are encrypted with it
    #[arg(long, global = true, value_name = "FILE", env = "FETTLE_PASSPHRASE_FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: IdentityCommand,
}

/// What can be done with an identity.
#[derive(Debug, Subcommand)]
pub(crate) enum IdentityCommand {
    /// Found a trust domain and become its first principal, who may name all others
    Init {
        /// Trust domain and name, e.g. `acme/admin`
        name: String,
    },
    /// Print a request for a name; the keys stay here
    Request {
        /// Ask for the right to name others below that name, too
        #[arg(long)]
        may_extend: bool,
    },
    /// Answer a request with a name that extends one's own, and print the answer
    Extend {
        /// The request; `-` is standard input
        request: PathBuf,
        /// The whole name, e.g. `acme/alice/laptop`
        name: String,
        /// Give the right to name others below that name, too
        #[arg(long)]
        may_extend: bool,
        /// For how long the name holds [default: 30 days]
        #[arg(long = "for", value_name = "TIME")]
        lifetime: Option<Span>,
    },
    /// Take the answer to a request
    Accept {
        /// The answer; `-` is standard input
        answer: PathBuf,
    },
    /// Trust the roots in a file beside those that are trusted already
    Trust {
        /// A `roots.pem`; `-` is standard input
        roots: PathBuf,
    },
    /// Show who this is, by whose word, and whom it trusts
    Show,
    /// List the names that were given from here, the newest first
    List,
    /// Make new keys: for the own name, at once or by a request
    Rotate {
        /// The key that names others, in place of that of the own name
        #[arg(long, conflicts_with = "root")]
        signing: bool,
        /// The root of the trust domain, in three steps
        #[arg(long, value_name = "STEP")]
        root: Option<RootStep>,
    },
}

/// A step in the renewal of a root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum RootStep {
    /// Make the new one, and trust it beside the old
    Begin,
    /// Name others by the new one
    Switch,
    /// Trust the new one alone
    Finish,
}
