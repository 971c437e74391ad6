//! Connections between a leader and its learners.

use std::fmt;

/// One connection on the quorum port for as long as it lives. Never used again for another one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LinkId(u64);

impl LinkId {
    /// Wraps a number that whoever drives the peer has chosen.
    pub const fn new(value: u64) -> LinkId {
        LinkId(value)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
