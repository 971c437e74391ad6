//! What can be seen of a peer.

use protocol::peer::{LearnerKind, Membership, ServerState};

use super::{Peer, State};
use crate::context::Epochs;
use crate::history::History;
use crate::leading::LearnerCounts;
use crate::link::LinkId;

impl Peer {
    /// Whether requests and session renewals that come over this link are to be heeded: it belongs to a learner in sync.
    pub fn serves(&self, link: LinkId) -> bool {
        match &self.state {
            State::Leading(leading) => leading.serves(link),
            State::Learning(learning) => learning.observers.serves(link),
            State::Looking => false,
        }
    }

    /// Whether this link goes to the leader, and the leader's word on how to synchronize is still to come.
    pub fn awaits_snapshot(&self, link: LinkId) -> bool {
        matches!(&self.state, State::Learning(learning) if learning.link() == link && learning.awaits_plan())
    }

    /// Whether this link goes to the leader, and this server is in sync with it.
    pub fn learns_from(&self, link: LinkId) -> bool {
        matches!(&self.state, State::Learning(learning) if learning.link() == link && learning.is_serving())
    }

    /// Transactions that were proposed by this leader and are not committed.
    pub fn outstanding(&self) -> usize {
        match &self.state {
            State::Leading(leading) => leading.outstanding(),
            _ => 0,
        }
    }

    /// The learners of this leader; `None` if it does not lead.
    pub fn learner_counts(&self) -> Option<LearnerCounts> {
        match &self.state {
            State::Leading(leading) => Some(leading.counts(&self.ground.members.electorate)),
            _ => None,
        }
    }

    /// What is in the log and in memory.
    pub fn history(&self) -> &History {
        &self.ground.history
    }

    /// The two durable numbers.
    pub fn epochs(&self) -> Epochs {
        self.ground.epochs
    }

    /// Who belongs to the ensemble.
    pub fn membership(&self) -> &Membership {
        self.ground.members.committed()
    }

    /// What notifications say this server does.
    pub fn state(&self) -> ServerState {
        match (&self.state, self.kind()) {
            (State::Looking, _) => ServerState::Looking,
            (State::Leading(_), _) => ServerState::Leading,
            (State::Learning(_), LearnerKind::Follower) => ServerState::Following,
            (State::Learning(_), LearnerKind::Observer) => ServerState::Observing,
        }
    }

    /// What tells this peer's state from another's, apart from elections, which no promise rests on.
    #[cfg(test)]
    pub(crate) fn hash_promises(&self, hasher: &mut impl std::hash::Hasher) {
        use std::hash::Hash;
        (&self.state, &self.ground.epochs, &self.ground.history, self.ground.durable, self.early.len())
            .hash(hasher);
        (self.membership().version, self.proposed_membership().map(|proposed| proposed.version)).hash(hasher);
        for early in &self.early {
            (early.link, early.info.is_some()).hash(hasher);
        }
    }
}
