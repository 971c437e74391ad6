//! Every operation, against a real server behind its port.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod ensemble;
mod operations;
mod running;
mod sessions;
#[cfg(feature = "tls")]
mod tls;
mod watching;
