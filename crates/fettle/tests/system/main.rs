//! System tests: the real binary, driven as a user drives it, through the command line and HTTP. Each test
//! has a world of its own (directories, ports, processes); run as root, it is played as root and again as
//! an ordinary account, since root passes every permission check and so proves half of it.

mod archives;
mod command_line;
mod demo;
mod failures;
mod journey;
mod layout;
mod proxy;
mod publish;
mod restart;
mod world;
