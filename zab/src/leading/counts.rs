//! How many learners there are, for operators.

use protocol::peer::LearnerKind;

use super::{Leading, Stage};
use crate::quorum::Electorate;

/// A leader's learners (`LeaderBean`, the gauges of `mntr`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LearnerCounts {
    /// Connections.
    pub connected: usize,
    /// Voters in sync.
    pub followers: usize,
    /// Followers in sync that have no vote.
    pub non_voting_followers: usize,
    /// Observers in sync.
    pub observers: usize,
    /// Sync requests under way.
    pub pending_syncs: usize,
}

impl Leading {
    /// As of now.
    pub fn counts(&self, electorate: &Electorate) -> LearnerCounts {
        let mut counts = LearnerCounts {
            connected: self.learners.len(),
            pending_syncs: self.barrier.pending(),
            ..LearnerCounts::default()
        };
        for learner in self.learners.values().filter(|learner| learner.stage == Stage::Active) {
            let votes = learner.voter().is_some_and(|server| electorate.is_voter(server));
            match learner.kind {
                LearnerKind::Observer => counts.observers += 1,
                LearnerKind::Follower if votes => counts.followers += 1,
                LearnerKind::Follower => counts.non_voting_followers += 1,
            }
        }
        counts
    }
}
