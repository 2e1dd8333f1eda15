//! Descriptors that came from whoever started the node manager and forgot to close them: a right to what
//! they lead to, which no sandbox takes away. All are closed before the process opens its own.

use std::io;
use std::os::fd::RawFd;

use nix::errno::Errno;

/// Closes every descriptor but the standard ones. To be called while nothing else is open and there is
/// one thread.
pub(crate) fn close() -> io::Result<()> {
    // All are read before one is closed; the one that this reading takes is not there any more then.
    let mut open: Vec<RawFd> = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let name = entry?.file_name();
        open.extend(name.to_str().and_then(|name| name.parse::<RawFd>().ok()));
    }
    for descriptor in open.into_iter().filter(|descriptor| *descriptor > STANDARD_ERROR) {
        match nix::unistd::close(descriptor) {
            // Linux closes it whatever it says about what was written through it.
            Ok(()) | Err(Errno::EBADF | Errno::EIO | Errno::EINTR | Errno::ENOSPC) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

const STANDARD_ERROR: RawFd = 2;
