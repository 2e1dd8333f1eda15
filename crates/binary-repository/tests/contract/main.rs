//! The contract of the binary repository, held against a real server over HTTP.

mod damage;
mod delete;
mod get;
mod list;
mod put;
mod restart;
mod upload;
mod world;
