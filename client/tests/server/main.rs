//! Every operation, against a real server behind its port.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod ensemble;
mod operations;
#[allow(dead_code, reason = "the tests of the recipes need more of it")]
mod running;
mod sessions;
#[cfg(feature = "tls")]
mod tls;
mod watching;
