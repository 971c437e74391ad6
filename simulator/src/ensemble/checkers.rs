//! What an ensemble promises, one promise per file.

pub mod acknowledged;
pub mod memberships;
pub mod one_leader;
pub mod prefixes;
pub mod progress;
pub mod sessions;
