//! Whom a peer belongs with, and what it does when that changes.

use protocol::peer::{Membership, Notification};

use super::{Peer, State};
use crate::action::Action;
use crate::quorum::{Electorate, QuorumError, VoterSet};

impl Peer {
    /// The membership that may take the place of that one.
    pub fn proposed_membership(&self) -> Option<&Membership> {
        self.ground.members.proposed().map(|membership| &**membership)
    }

    /// A membership was found in a tree that a leader has sent: it may be in force or about to be, so it counts like a
    /// proposed one even if this server crashes before it is told of it.
    pub fn on_membership_found(&mut self, now_ms: u64, membership: Membership, out: &mut Vec<Action>) {
        if membership.version > self.membership().version
            && let State::Learning(learning) = &mut self.state
        {
            learning.on_membership_found(membership.version);
        }
        let known = self.proposed_membership().unwrap_or(self.membership()).version;
        // What cannot be counted is no reconfiguration that anybody has committed.
        if self.ground.settings.reconfig_enabled
            && membership.version > known
            && self.ground.members.propose(membership, out).is_ok()
        {
            self.adopt_membership(now_ms, out);
        }
    }

    /// Whether enough of the servers that would vote in a membership are in sync with this leader, so that it could come
    /// into force (`Leader.isQuorumSynced`).
    ///
    /// # Errors
    /// A membership with more voters than can be counted together with those of now, or whose groups make no sense.
    pub fn could_decide(&self, membership: &Membership) -> Result<bool, QuorumError> {
        self.ground.members.count(Some(membership))?;
        let electorate = Electorate::new(membership, None)?;
        let State::Leading(leading) = &self.state else { return Ok(false) };
        let mut ready = VoterSet::default();
        electorate.insert(&mut ready, self.ground.settings.me);
        for server in leading.ready_voters() {
            electorate.insert(&mut ready, server);
        }
        Ok(electorate.decides(ready))
    }

    /// A server that knows of a later reconfiguration is believed: it may be all that is left of a quorum that this server
    /// does not know (`FastLeaderElection.WorkerReceiver`).
    pub(super) fn heed_membership(
        &mut self,
        now_ms: u64,
        notification: &Notification,
        out: &mut Vec<Action>,
    ) {
        let Some(text) = &notification.membership else { return };
        if !self.ground.settings.reconfig_enabled || text == self.ground.members.committed_text() {
            return;
        }
        let Ok(membership) = Membership::parse(text) else { return };
        // What cannot be counted is as good as what cannot be read.
        if let Ok(Some(_)) = self.ground.members.activate(membership.into(), None, out) {
            self.adopt_membership(now_ms, out);
            self.look(now_ms, "there is a later membership", out);
        }
    }

    /// Elections go by the membership that there is now.
    pub(super) fn adopt_membership(&mut self, now_ms: u64, out: &mut Vec<Action>) {
        if !self.ground.members.take_changed() {
            return;
        }
        let Some(election) = &mut self.election else { return };
        election.set_electorate(self.ground.members.electorate.clone());
        election.set_membership_text(self.ground.members.committed_text());
        for peer in self.connected.clone() {
            self.elect(now_ms, out, |election, actions| election.on_connected(peer, actions));
        }
    }
}
