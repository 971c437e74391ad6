//! What was promised, one promise per file. Every checker sees only what it needs and says in words what is wrong.

pub mod digest;
pub mod durability;
pub mod ephemerals;
pub mod expiry;
pub mod linearizable;
pub mod origin;
pub mod read_your_writes;
pub mod real_time;
pub mod recovery;
pub mod sequence;
pub mod session_order;
pub mod transactions;
pub mod watches;

use std::fmt;

/// A promise that was not kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// Which one: the name of the checker.
    pub promise: &'static str,
    /// What happened.
    pub detail: String,
}

impl Violation {
    /// Something is wrong.
    pub fn new(promise: &'static str, detail: impl Into<String>) -> Violation {
        Violation { promise, detail: detail.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.promise, self.detail)
    }
}

impl std::error::Error for Violation {}

/// What a checker says.
pub type Verdict = Result<(), Violation>;

/// A violation unless something holds.
pub(crate) fn ensure(holds: bool, promise: &'static str, detail: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(Violation::new(promise, detail())) }
}
