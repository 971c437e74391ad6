//! Sessions: who is alive, and until when.

mod tracker;

pub use tracker::{Owner, SessionTracker, Tracked};
