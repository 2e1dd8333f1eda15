//! The system calls that no crate offers without `unsafe`: making a process that begins in a control
//! group, waiting for signals through a descriptor, asking how a process ended that is not our child. The
//! one file of fettle with `unsafe` in it.
//!
//! Between `clone3` and `execve` the child runs in a copy of the launcher, which has one thread, so no
//! lock can be held by another; all the same the child allocates nothing and calls only what
//! signal-safety(7) allows.

#![expect(unsafe_code, reason = "system calls; the reason for each stands beside it")]

use std::ffi::{CStr, CString, c_char, c_int, c_long};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use rustix::pipe::{PipeFlags, pipe_with};

use crate::message::{End, Limit, Step};

/// Everything that a process begins with, in the form that the kernel takes.
#[derive(Debug)]
pub(crate) struct Start<'a> {
    pub(crate) program: &'a CStr,
    /// The program's name first.
    pub(crate) args: &'a [CString],
    pub(crate) env: &'a [CString],
    pub(crate) directory: &'a CStr,
    pub(crate) stdin: BorrowedFd<'a>,
    pub(crate) stdout: BorrowedFd<'a>,
    pub(crate) stderr: BorrowedFd<'a>,
    /// The directory of a v2 control group.
    pub(crate) group: Option<BorrowedFd<'a>>,
    /// Files `cgroup.procs` of v1 control groups.
    pub(crate) joins: &'a [BorrowedFd<'a>],
    pub(crate) limits: &'a [Limit],
    /// What is written to `oom_score_adj`.
    pub(crate) oom_score: Option<&'a CStr>,
}

/// What failed, and the system's error.
pub(crate) type Failed = (Step, i32);

/// Makes a process that goes on by itself to execute its program: a session of its own, the default action
/// for every signal that was ignored, none blocked, no descriptor but its three streams. What comes with
/// its number is never waited for: it is closed when the program is executed, or says what [`failed`].
pub(crate) fn spawn(start: &Start<'_>) -> Result<(u32, OwnedFd), Failed> {
    let flags = PipeFlags::CLOEXEC | PipeFlags::NONBLOCK;
    let pipe = pipe_with(flags);
    let (report, reporter) = pipe.map_err(|error| (Step::Process, error.raw_os_error()))?;
    let args = pointers(start.args);
    let env = pointers(start.env);
    let limits: Vec<_> = start.limits.iter().map(of_limit).collect();
    let child = Child {
        start,
        args: args.as_ptr(),
        env: env.as_ptr(),
        limits: &limits,
        reporter: reporter.as_raw_fd(),
    };
    let forked = match clone_into(start.group) {
        // A kernel before 5.7, or a filter of system calls: it enters its group by itself then.
        Err(libc::ENOSYS | libc::EPERM | libc::E2BIG | libc::EINVAL) => {
            fork().map(|pid| (pid, start.group))
        }
        made => made.map(|pid| (pid, None)),
    };
    match forked {
        Ok((0, enters)) => child.run(enters),
        Ok((pid, _)) => Ok((pid.unsigned_abs(), report)),
        Err(errno) => Err((Step::Process, errno)),
    }
}

/// What a process says that cannot execute its program.
pub(crate) fn failed(said: [u8; 8]) -> Failed {
    let [a, b, c, d, e, f, g, h] = said;
    let step = STEPS.get(u32::from_le_bytes([a, b, c, d]) as usize);
    (step.copied().unwrap_or(Step::Process), i32::from_le_bytes([e, f, g, h]))
}

/// A copy of this process, which begins in this control group: 0 in the copy, its number in the original.
fn clone_into(group: Option<BorrowedFd<'_>>) -> Result<i32, i32> {
    let args = CloneArgs {
        flags: if group.is_some() { CLONE_INTO_CGROUP } else { 0 },
        exit_signal: libc::SIGCHLD.unsigned_abs().into(),
        cgroup: group.map_or(0, |group| group.as_raw_fd().unsigned_abs().into()),
        ..CloneArgs::default()
    };
    // SAFETY: without CLONE_VM and CLONE_SETTLS the child has copies of everything, the stack included, so
    // it goes on here as after fork(2). `args` is the kernel's `struct clone_args` and is only read.
    let made = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<CloneArgs>()) };
    match made {
        -1 => Err(errno()),
        pid => Ok(i32::try_from(pid).unwrap_or(0)), // a pid_t
    }
}

/// A copy of this process, where it is.
fn fork() -> Result<i32, i32> {
    // SAFETY: there is one thread, and the child does what `Child` does.
    match unsafe { libc::fork() } {
        -1 => Err(errno()),
        pid => Ok(pid),
    }
}

/// What the child needs; all of it is the original's memory, copied.
struct Child<'a> {
    start: &'a Start<'a>,
    args: *const *const c_char,
    env: *const *const c_char,
    limits: &'a [(c_int, libc::rlimit)],
    reporter: RawFd,
}

impl Child<'_> {
    /// Becomes the program, or says why not and ends. `enters` is the v2 control group that it is not in yet.
    fn run(&self, enters: Option<BorrowedFd<'_>>) -> ! {
        let (step, errno) = match self.become_program(enters) {
            Ok(never) => match never {},
            Err(step) => (step, errno()),
        };
        let mut said = [0; 8];
        let number = STEPS.iter().position(|known| *known == step).unwrap_or(0);
        said[..4].copy_from_slice(&u32::try_from(number).unwrap_or(0).to_le_bytes());
        said[4..].copy_from_slice(&errno.to_le_bytes());
        // SAFETY: the buffer is as long as stated; _exit runs nothing of ours.
        unsafe {
            libc::write(self.reporter, said.as_ptr().cast(), said.len());
            libc::_exit(127)
        }
    }

    fn become_program(
        &self,
        enters: Option<BorrowedFd<'_>>,
    ) -> Result<std::convert::Infallible, Step> {
        let Start { program, directory, stdin, stdout, stderr, joins, oom_score, .. } = self.start;
        let good = |result: c_int, step| if result < 0 { Err(step) } else { Ok(()) };
        // SAFETY: every pointer is to a value that lives until execve, which replaces all of it; texts end
        // with NUL, lists with a null pointer; every descriptor is open.
        unsafe {
            good(libc::setsid(), Step::Session)?;
            if let Some(group) = enters {
                let (name, flags) = (c"cgroup.procs".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
                let procs = libc::openat(group.as_raw_fd(), name, flags);
                good(procs, Step::Groups)?;
                let wrote = libc::write(procs, c"0".as_ptr().cast(), 1);
                good(if wrote == 1 { 0 } else { -1 }, Step::Groups)?;
            }
            for group in *joins {
                let wrote = libc::write(group.as_raw_fd(), c"0".as_ptr().cast(), 1);
                good(if wrote == 1 { 0 } else { -1 }, Step::Groups)?;
            }
            if let Some(score) = oom_score {
                let path = c"/proc/self/oom_score_adj".as_ptr();
                let file = libc::open(path, libc::O_WRONLY | libc::O_CLOEXEC);
                good(file, Step::Limits)?;
                let wrote = libc::write(file, score.as_ptr().cast(), score.count_bytes());
                good(if wrote > 0 { 0 } else { -1 }, Step::Limits)?;
            }
            for (resource, limit) in self.limits {
                // The type of the first argument differs between C libraries.
                let resource = (*resource).cast_unsigned();
                good(libc::setrlimit(resource, limit), Step::Limits)?;
            }
            good(libc::chdir(directory.as_ptr()), Step::Directory)?;
            // None of the originals has a number below 3: those are the launcher's own streams.
            for (from, to) in [(stdin, 0), (stdout, 1), (stderr, 2)] {
                good(libc::dup2(from.as_raw_fd(), to), Step::Streams)?;
            }
            // Whatever was forgotten; an old kernel has no such call, and ours are close-on-exec anyway.
            let all = libc::c_uint::MAX;
            libc::syscall(libc::SYS_close_range, 3 as c_long, all, libc::CLOSE_RANGE_CLOEXEC);
            // Rust ignores SIGPIPE, whoever started the manager may have ignored others.
            // By the kernel's call: the C library keeps two signals to itself. Zeros are the default action
            // and an empty mask in `struct kernel_sigaction`, whatever the order of its members.
            let default = [0u64; 4];
            for signal in 1..=SIGNALS {
                let none = ptr::null_mut::<u64>();
                // Refused for KILL and STOP, which cannot be ignored.
                libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), none, 8usize);
            }
            let mut none: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut none);
            libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
            libc::execve(program.as_ptr(), self.args, self.env);
        }
        Err(Step::Execute)
    }
}

fn pointers(texts: &[CString]) -> Vec<*const c_char> {
    texts.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect()
}

fn of_limit(limit: &Limit) -> (c_int, libc::rlimit) {
    let value = |limit: Option<u64>| limit.unwrap_or(libc::RLIM_INFINITY);
    let rlimit = libc::rlimit { rlim_cur: value(limit.soft), rlim_max: value(limit.hard) };
    (limit.resource.cast_signed(), rlimit)
}

fn errno() -> i32 {
    // SAFETY: the C library's word for this thread's last error.
    unsafe { *libc::__errno_location() }
}

/// A descriptor that becomes readable when a child has ended. SIGCHLD is blocked from now on.
pub(crate) fn ends_of_children() -> io::Result<OwnedFd> {
    // SAFETY: the set is initialised by sigemptyset; the descriptor is new and nobody else's.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        if libc::sigprocmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut()) < 0 {
            return Err(io::Error::last_os_error());
        }
        match libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) {
            -1 => Err(io::Error::last_os_error()),
            descriptor => Ok(OwnedFd::from_raw_fd(descriptor)),
        }
    }
}

/// A descriptor that was inherited under this number; whoever calls is the only one who takes it.
pub(crate) fn inherited(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: asks only whether the number is open.
    if number < 0 || unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: it is open, and by the caller's word nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// How the process of this pidfd ended, though it was never our child: `PIDFD_GET_INFO` with
/// `PIDFD_INFO_EXIT` (Linux 6.15, ioctl_pidfd(2)). `None`: it has not, was not reaped yet, or the kernel
/// does not tell.
pub fn end_of(process: impl AsFd) -> Option<End> {
    let mut info = PidfdInfo { mask: PIDFD_INFO_EXIT, ..PidfdInfo::default() };
    // SAFETY: the number of the call states the size of what is written, and `info` has that size.
    let told = unsafe { libc::ioctl(process.as_fd().as_raw_fd(), PIDFD_GET_INFO, &raw mut info) };
    if told < 0 || info.mask & PIDFD_INFO_EXIT == 0 {
        return None;
    }
    let status = info.exit_code; // as wait(2) gives it
    match status & 0x7f {
        0 => Some(End::Code((status >> 8) & 0xff)),
        signal => Some(End::Signal(signal)),
    }
}

/// `struct clone_args` of `linux/sched.h`, with `cgroup` as its last member (Linux 5.7).
#[derive(Debug, Default)]
#[repr(C, align(8))]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// `struct pidfd_info` of `linux/pidfd.h` in its first size.
#[derive(Debug, Default)]
#[repr(C)]
struct PidfdInfo {
    mask: u64,
    cgroup: u64,
    /// pid, tgid, ppid, and eight numbers of users and groups.
    numbers: [u32; 11],
    exit_code: i32,
}

const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
const PIDFD_INFO_EXIT: u64 = 1 << 3;
/// `_IOWR(0xFF, 11, struct pidfd_info)`
const PIDFD_GET_INFO: libc::Ioctl =
    (3 << 30 | (size_of::<PidfdInfo>() as libc::Ioctl) << 16 | 0xff << 8 | 11) as libc::Ioctl;
/// The highest number of a signal.
const SIGNALS: c_long = 64;
/// Steps by the number that a child says.
const STEPS: [Step; 7] = [
    Step::Process,
    Step::Session,
    Step::Groups,
    Step::Limits,
    Step::Directory,
    Step::Streams,
    Step::Execute,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_structures_have_the_sizes_of_its_headers() {
        assert_eq!(size_of::<CloneArgs>(), 88);
        assert_eq!(size_of::<PidfdInfo>(), 64);
        assert_eq!(PIDFD_GET_INFO, 0xc040_ff0b);
    }
}
