//! The last ballot of each voter, and who stands behind one (`getVoteTracker`, `checkLeader`).

use std::collections::BTreeMap;

use protocol::ServerId;
use protocol::peer::ServerState;

use super::vote::Ballot;
use crate::quorum::{Electorate, VoterSet};

/// At most one ballot for each voter, so never more than an electorate has.
#[derive(Clone, Default, Debug)]
pub(super) struct Tally {
    ballots: BTreeMap<ServerId, Ballot>,
}

impl Tally {
    /// The caller has made sure that `voter` is one.
    pub(super) fn insert(&mut self, voter: ServerId, ballot: Ballot) {
        self.ballots.insert(voter, ballot);
    }

    /// Forgets what a server said about a leader that it has, but not what it proposed.
    pub(super) fn forget_settled(&mut self, voter: ServerId) {
        self.ballots.retain(|server, ballot| *server != voter || ballot.state == ServerState::Looking);
    }

    pub(super) fn clear(&mut self) {
        self.ballots.clear();
    }

    /// Forgets who votes no more.
    pub(super) fn retain_voters(&mut self, electorate: &Electorate) {
        self.ballots.retain(|server, _| electorate.is_voter(*server));
    }

    /// Who has cast a ballot that counts for the same leader as `wanted`.
    pub(super) fn supporters(&self, electorate: &Electorate, wanted: &Ballot) -> VoterSet {
        let mut supporters = VoterSet::default();
        for (server, ballot) in &self.ballots {
            if ballot.agrees_with(wanted) {
                electorate.insert(&mut supporters, *server);
            }
        }
        supporters
    }

    /// Whether the server itself says that it leads. Without its word a quorum of followers may be the memory of a
    /// leader that is gone, and joining it would go on for ever.
    pub(super) fn says_it_leads(&self, server: ServerId) -> bool {
        self.ballots.get(&server).is_some_and(|ballot| ballot.state == ServerState::Leading)
    }
}
