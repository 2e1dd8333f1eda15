//! System tests: the real binary, driven as a user drives it, through the command line and HTTP. Each test
//! has a world of its own (directories, ports, processes); run as root, it is played as root and again as
//! an ordinary account, since root passes every permission check and so proves half of it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::print_stderr, reason = "a failed test shows what was typed and answered")]
#![expect(
    clippy::disallowed_methods,
    reason = "the tests play the user, whose files need not outlast a power cut"
)]

mod archives;
mod booted;
mod command_line;
mod container;
mod demo;
mod failures;
mod foresight;
mod journey;
mod layout;
mod logs;
mod manager_dies;
mod mix;
mod mounted;
mod proxy;
mod publish;
mod restart;
mod store;
mod unpacking;
mod world;
mod writable;
