//! Which epoch begins, and whether a quorum promises itself to it (`Leader.getEpochToPropose`, `waitForEpochAck`).
//!
//! Java asks a quorum of the membership in force. Where a newer one stands in the log that is not enough: it may be in
//! force elsewhere already, a quorum of it may promise itself to the same epoch under another leader, and what that leader
//! commits would be cut by who waited here in vain, with the later epoch. So quorums of both must promise, as both must
//! be in sync anyway before anything is proposed; observers that are to vote count in the newer one. What was proposed
//! and is not in the log of a leader whom a quorum of those before promises itself to was never in force.

use protocol::peer::FromLeader;
use protocol::{Epoch, ServerId, Zxid};

use super::{Leading, Phase, Stage};
use crate::action::Action;
use crate::breakage::Breakage;
use crate::context::{Context, GiveUp};
use crate::link::LinkId;
use crate::quorum::VoterSet;

impl Leading {
    /// Whether so many are enough to begin an epoch with.
    pub(super) fn may_begin(&self, context: &Context<'_>, who: VoterSet) -> bool {
        let newer = context.members.proposed();
        if newer.is_some_and(|membership| membership.version <= self.inherited.to_wire()) {
            context.members.electorate.decides(who)
        } else {
            context.members.electorate.decides_committed(who)
        }
    }

    /// A learner says which epoch it has accepted.
    pub(super) fn on_info(
        &mut self,
        context: &mut Context<'_>,
        link: LinkId,
        accepted: Epoch,
    ) -> Result<(), GiveUp> {
        if self.phase != Phase::Discovery {
            if self.keeps_waiting(accepted) {
                return Ok(());
            }
            let server = self.learners[&link].server;
            if accepted > self.epoch
                && server.is_some_and(|server| context.members.electorate.is_voter(server))
            {
                // It has promised itself to a candidate that came to nothing, and may not follow an earlier epoch: with a
                // few like it the ensemble would be one crash from a standstill. The next epoch is later than both.
                return Err(GiveUp::Look("a voter has accepted a later epoch"));
            }
            // Too late to be heard: it gets the epoch as it is.
            self.propose_epoch_to(context, link);
            return Ok(());
        }
        let learner = &self.learners[&link];
        let votes = |&server: &ServerId| context.members.electorate.insert(&mut self.contacts, server);
        let is_voter = learner.server.as_ref().is_some_and(votes);
        // Only voters decide the epoch, but a follower without a vote must not have accepted a higher one either.
        if is_voter || learner.voter().is_some() {
            self.epoch = self.epoch.max(accepted);
        }
        self.advance(context)
    }

    /// The new epoch is higher than any that a quorum has accepted.
    pub(super) fn propose_epoch(&mut self, context: &mut Context<'_>) -> Result<(), GiveUp> {
        let next = self.epoch.get().checked_add(1).filter(|&next| next <= i32::MAX as u32);
        self.epoch = Epoch::new(next.ok_or(GiveUp::Look("there are no epochs left"))?);
        self.phase = Phase::Promise;
        context.store_accepted(self.epoch);
        self.name_first_membership(context);
        context.members.electorate.insert(&mut self.promised, context.settings.me);
        for link in self.links(|learner| learner.stage == Stage::Introduced) {
            self.propose_epoch_to(context, link);
        }
        Ok(())
    }

    pub(super) fn propose_epoch_to(&mut self, context: &mut Context<'_>, link: LinkId) {
        if let Some(learner) = self.learners.get_mut(&link) {
            learner.stage = Stage::Promising;
            let message = FromLeader::LeaderInfo { epoch: self.epoch };
            context.out.push(Action::ToLearner { link, message });
        }
    }

    /// A learner has accepted the epoch, and says how far its history goes.
    pub(super) fn on_ack_epoch(
        &mut self,
        context: &mut Context<'_>,
        link: LinkId,
        last_zxid: Zxid,
        current: Option<Epoch>,
    ) -> Result<(), GiveUp> {
        let Some(learner) = self.learners.get_mut(&link) else { return Ok(()) };
        learner.stage = Stage::Promised;
        learner.last_zxid = last_zxid;
        // Who has been in sync with somebody and has nothing wants it all.
        learner.needs_tree = last_zxid == Zxid::ZERO && current != Some(Epoch::new(0));
        if self.phase > Phase::Promise {
            self.synchronize(context, link);
            return Ok(());
        }
        // No epoch: it had accepted this one before and does not count.
        let counted = current.or(context.makes(Breakage::CountSecondPromise).then(Epoch::default));
        let Some(current) = counted else { return Ok(()) };
        // What only those have who are to vote in a membership that is not in force was never committed.
        let votes =
            learner.server.is_some_and(|server| context.members.electorate.is_committed_voter(server));
        let here = context.epochs.current;
        let knows_more = current > here || current == here && votes && last_zxid > self.inherited;
        if knows_more && !context.makes(Breakage::LeadBehind) {
            return self.turn_away(context, link, "it knows more than the leader");
        }
        if let Some(server) = learner.server {
            context.members.electorate.insert(&mut self.promised, server);
        }
        self.advance(context)
    }
}
