//! Bringing a learner's log to the leader's (`LearnerHandler.syncFollower`).

pub mod plan;
pub(crate) mod send;
