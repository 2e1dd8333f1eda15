//! What the process gives up before it looks at the first foreign byte. All of it needs no set-up and no
//! privilege, and none of it can be taken back.
//!
//! - Landlock: nothing can be opened, made or removed outside of the tree; nothing in it be executed; no
//!   TCP; no signals to, and no abstract sockets of, other processes. The rights that it keeps in the
//!   tree are those that writing one takes.
//! - A filter of system calls: no sockets of any kind (Landlock leaves those with paths, and UDP), no
//!   `io_uring`, no other program, no tracing.
//! - No new privileges, and, where the manager is root, none of root's capabilities.
//! - What was inherited open: closed before, in `inherited`.
//! - Bounds on memory, on the length of a file, and no core dump.

use std::path::Path;

use archive::Limits;
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd,
    Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities, set_no_new_privs};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};

use crate::job::Sandbox;

/// Why rights cannot be given up. Nothing is unpacked then.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// Privileges stay.
    #[error("cannot give up privileges")]
    Privileges(#[source] rustix::io::Errno),
    /// System calls cannot be filtered.
    #[error("cannot filter system calls")]
    Calls(#[from] seccompiler::BackendError),
    /// Resources stay unlimited.
    #[error("cannot limit memory and files")]
    Resources(#[source] rustix::io::Errno),
    /// The tree cannot be opened.
    #[error("cannot open the tree")]
    Tree(#[source] landlock::PathFdError),
    /// The kernel has Landlock, and refuses.
    #[error("Landlock refuses")]
    Landlock(#[from] RulesetError),
}

/// Gives up everything but writing beneath `tree`, for good. To be called before there is a second
/// thread. `landlock: false` behaves as on a kernel without it.
///
/// # Errors
/// See [`SandboxError`]; a kernel without Landlock is none.
pub fn enter(tree: &Path, limits: &Limits, landlock: bool) -> Result<Sandbox, SandboxError> {
    bound_resources(limits).map_err(SandboxError::Resources)?;
    set_no_new_privs(true).map_err(SandboxError::Privileges)?;
    let filtered = filter_calls()?;
    let confined = match if landlock { confine(tree)? } else { Sandbox::NoLandlock } {
        Sandbox::Full if !filtered => Sandbox::Partial,
        confined => confined,
    };
    let none = CapabilitySet::empty();
    let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
    set_capabilities(None, sets).map_err(SandboxError::Privileges)?;
    Ok(confined)
}

/// Whether system calls are filtered now: a kernel may be built without that.
fn filter_calls() -> Result<bool, SandboxError> {
    let denied = [
        libc::SYS_socket,
        libc::SYS_socketpair,
        libc::SYS_io_uring_setup,
        libc::SYS_execve,
        libc::SYS_execveat,
        libc::SYS_ptrace,
        libc::SYS_process_vm_writev,
    ];
    let Ok(arch) = TargetArch::try_from(std::env::consts::ARCH) else {
        return Ok(false); // seccompiler knows no such processor
    };
    let rules = denied.into_iter().map(|call| (call, Vec::new())).collect();
    let refuse = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch)?;
    let program: BpfProgram = filter.try_into()?;
    Ok(seccompiler::apply_filter(&program).is_ok())
}

fn confine(tree: &Path) -> Result<Sandbox, SandboxError> {
    // The first Landlock (Linux 5.13 to 5.18) refuses every hard link between directories, whatever is
    // allowed: honest archives have them.
    let can_link = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::Refer);
    if can_link.is_err() {
        return Ok(Sandbox::NoLandlock);
    }
    let within = PathBeneath::new(PathFd::new(tree).map_err(SandboxError::Tree)?, rights());
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(ASKED))?
        .handle_access(AccessNet::from_all(ASKED))?
        .scope(Scope::from_all(ASKED))?
        .create()?
        .add_rule(within)?
        .restrict_self()?;
    Ok(match status.ruleset {
        RulesetStatus::FullyEnforced => Sandbox::Full,
        RulesetStatus::PartiallyEnforced => Sandbox::Partial,
        RulesetStatus::NotEnforced => Sandbox::NoLandlock,
    })
}

/// What writing a tree takes. Opening a directory takes `ReadDir`; a hard link in another directory of
/// the tree takes `Refer`.
fn rights() -> BitFlags<AccessFs> {
    AccessFs::ReadDir
        | AccessFs::ReadFile
        | AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::RemoveFile
        | AccessFs::MakeDir
        | AccessFs::MakeReg
        | AccessFs::MakeSym
        | AccessFs::Refer
}

fn bound_resources(limits: &Limits) -> rustix::io::Result<()> {
    let at_most = |resource, value| {
        // Never above what holds already: raising a hard limit takes a privilege.
        let hard = rustix::process::getrlimit(resource).maximum;
        let value = hard.map_or(value, |hard| hard.min(value));
        setrlimit(resource, Rlimit { current: Some(value), maximum: Some(value) })
    };
    at_most(Resource::Core, 0)?;
    at_most(Resource::Data, MEMORY.saturating_add(limits.window).saturating_add(metadata(limits)))?;
    at_most(Resource::Fsize, limits.largest_file.max(MANIFEST))
}

/// The names of all entries are kept while an archive is checked.
fn metadata(limits: &Limits) -> u64 {
    // What was stated is anything; what is counted is bounded.
    let entries = limits.entries.min(Limits::default().inodes);
    limits.metadata_bytes.min(Limits::default().metadata_bytes) + entries * 100
}

/// The newest Landlock that fettle has a use for (Linux 6.12).
const ASKED: ABI = ABI::V6;
/// Bytes of memory for buffers, stacks and decoders: several times what is used.
const MEMORY: u64 = 256 << 20;
/// The manifest is a file too: room for some ten million entries.
const MANIFEST: u64 = 4 << 30;
