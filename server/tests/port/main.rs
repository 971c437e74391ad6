//! A whole server behind its port: real sockets, real files, bytes by hand.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod frames;
mod hostile;
mod order;
mod reconfig;
mod wire;
