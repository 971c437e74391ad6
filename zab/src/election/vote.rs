//! Which vote wins, and which votes say the same (`FastLeaderElection.totalOrderPredicate`, `Vote.equals`).

use protocol::ServerId;
use protocol::peer::{Notification, ServerState, Vote};

use crate::quorum::Electorate;

/// Whether `new` is to be preferred: the later epoch, then the longer history, then the larger server number.
///
/// Any vote is better than none. A server of weight 0 cannot lead, so a vote for it is never better.
pub(super) fn is_better(electorate: &Electorate, new: &Vote, old: Option<&Vote>) -> bool {
    let rank = |vote: &Vote| (vote.peer_epoch, vote.zxid.to_wire(), vote.leader);
    electorate.weight(new.leader) != 0 && old.is_none_or(|old| rank(new) > rank(old))
}

/// A vote with what its sender said about itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ballot {
    pub(super) vote: Vote,
    pub(super) round: i64,
    pub(super) state: ServerState,
    /// Whether it came in a form that carries a membership, as all do since 3.5.
    pub(super) versioned: bool,
}

impl Ballot {
    /// Whether the two count for the same leader.
    ///
    /// Between electing servers everything must match. Servers that have settled remember the zxid and the round of
    /// the election they took part in, which differ between those who elected the leader and those who joined it
    /// later; their epoch is the same once each has written it into its vote (ZOOKEEPER-1732, 1805). Releases before
    /// 3.5 did not.
    pub(super) fn agrees_with(&self, other: &Ballot) -> bool {
        let same_leader = self.vote.leader == other.vote.leader;
        if self.state == ServerState::Looking || other.state == ServerState::Looking {
            self.vote == other.vote && self.round == other.round
        } else if self.versioned != other.versioned {
            same_leader
        } else {
            same_leader && self.vote.peer_epoch == other.vote.peer_epoch
        }
    }
}

/// What matters of a notification: the membership text in it, which can be long, does not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Heard {
    pub(super) from: ServerId,
    pub(super) state: ServerState,
    pub(super) round: i64,
    pub(super) vote: Option<Vote>,
    pub(super) versioned: bool,
}

impl Heard {
    pub(super) fn new(from: ServerId, notification: &Notification) -> Heard {
        let Notification { state, vote, round, ref membership } = *notification;
        Heard { from, state, round, vote, versioned: membership.is_some() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::Zxid;

    fn ballot(state: ServerState, vote: (i64, i64, i64), round: i64, versioned: bool) -> Ballot {
        let (leader, zxid, peer_epoch) = vote;
        let vote = Vote { leader: ServerId::new(leader), zxid: Zxid::from_wire(zxid), peer_epoch };
        Ballot { vote, round, state, versioned }
    }

    #[test]
    fn electing_servers_agree_only_if_everything_matches() {
        let looking = ballot(ServerState::Looking, (3, 5, 1), 2, false);
        let following = ballot(ServerState::Following, (3, 5, 1), 2, true);
        assert!(looking.agrees_with(&following) && following.agrees_with(&looking));
        for other in [((2, 5, 1), 2), ((3, 4, 1), 2), ((3, 5, 2), 2), ((3, 5, 1), 3)] {
            assert!(!looking.agrees_with(&ballot(ServerState::Leading, other.0, other.1, true)), "{other:?}");
        }
    }

    #[test]
    fn settled_servers_agree_on_leader_and_epoch_whatever_zxid_and_round_they_remember() {
        let leading = ballot(ServerState::Leading, (3, 5, 1), 2, true);
        assert!(leading.agrees_with(&ballot(ServerState::Following, (3, 9, 1), 7, true)));
        assert!(!leading.agrees_with(&ballot(ServerState::Following, (3, 5, 2), 2, true)));
        assert!(!leading.agrees_with(&ballot(ServerState::Following, (2, 5, 1), 2, true)));
    }

    #[test]
    fn a_server_of_an_older_release_need_not_know_the_epoch() {
        let leading = ballot(ServerState::Leading, (3, 5, 2), 2, true);
        assert!(leading.agrees_with(&ballot(ServerState::Following, (3, 5, 1), 2, false)));
        assert!(!leading.agrees_with(&ballot(ServerState::Following, (2, 5, 2), 2, false)));
    }
}
