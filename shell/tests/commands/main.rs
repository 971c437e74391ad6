//! The shell against a server of ours in the same process.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod copying;
mod dumping;
mod json;
mod search;
mod talk;
mod watching;
mod zkcli;
