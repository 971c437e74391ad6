//! Another epoch without another election, for when the zxids of the present one come to their end.
//!
//! Java's leader steps down then (ZOOKEEPER-1277), and clients wait for an election. Here the leader does with the
//! learners that are in sync what it did when it began, while it goes on proposing: LEADERINFO asks them to promise
//! themselves to the next epoch; when a quorum has, NEWLEADER follows the last proposal of the old one, and the first
//! proposal of the new one follows that. A learner stores the new epoch when everything before is on its stable storage,
//! and acknowledges nothing of the new epoch before that. So what a quorum acknowledges there rests on a quorum that has
//! taken over the whole history, as after an election.
//!
//! Learners must know that this can happen. Ferrokeeper's say so; if there are others, all is as in Java.

use protocol::peer::{FromLeader, LearnerKind};
use protocol::{Epoch, Zxid};

use super::{Leading, Phase, Stage};
use crate::action::Action;
use crate::breakage::Breakage;
use crate::context::{Context, GiveUp};
use crate::link::LinkId;
use crate::quorum::{Electorate, VoterSet};

/// Learners are asked to promise themselves to this epoch.
#[derive(Clone, Copy, Hash, Debug)]
pub(super) struct NextEpoch {
    epoch: Epoch,
    promised: VoterSet,
}

impl NextEpoch {
    /// The voters are others now.
    pub fn carry_over(&mut self, electorate: &Electorate, before: &Electorate) {
        self.promised = electorate.carry_over(self.promised, before);
    }
}

/// What is left to do for the present epoch because it began while its leader served.
#[derive(Clone, Copy, Hash, Debug, Default)]
pub(super) struct Turn {
    /// The history that it began with is not on stable storage here, so this server has not stored the epoch.
    pub unstored: bool,
    /// That history is not committed: observers, who only hear of commits, do not know of the epoch, and newcomers wait,
    /// because NEWLEADER would end a history for them that lacks its last transactions.
    pub uncommitted: bool,
}

/// The counter from which on the next epoch is prepared: three quarters, so that there is time to try again and again.
fn counter_to_turn_at(counter_max: u32) -> u32 {
    counter_max - counter_max.div_ceil(4)
}

/// The counter from which on learners that are being brought in sync are not waited for.
fn counter_to_hurry_at(counter_max: u32) -> u32 {
    counter_max - counter_max / 16
}

impl Leading {
    /// Asks for promises if it is time to.
    pub(super) fn prepare_next_epoch(&mut self, context: &mut Context<'_>) {
        if !self.is_time_to_prepare(context) {
            return;
        }
        let Some(epoch) = self.epoch.get().checked_add(1).filter(|&next| next <= i32::MAX as u32) else {
            return;
        };
        let mut next = NextEpoch { epoch: Epoch::new(epoch), promised: VoterSet::default() };
        context.store_accepted(next.epoch);
        context.members.electorate.insert(&mut next.promised, context.settings.me);
        self.next_epoch = Some(next);
        for link in self.links(|learner| learner.stage == Stage::Active) {
            self.ask_for_promise(context, link);
        }
        self.turn_if_promised(context);
    }

    fn is_time_to_prepare(&self, context: &Context<'_>) -> bool {
        let counter = self.last_proposed.counter();
        let counter_max = context.settings.counter_max;
        if self.is_alone
            || self.phase != Phase::Broadcast
            || counter < counter_to_turn_at(counter_max)
            || self.next_epoch.is_some()
            || self.turn.uncommitted
            || self.turn.unstored
            || self.hand_over.is_some()
        {
            return false;
        }
        let hurries = counter >= counter_to_hurry_at(counter_max);
        self.learners.values().all(|learner| match learner.stage {
            Stage::Connected => true,
            Stage::Active => learner.turns_epochs,
            _ => learner.turns_epochs && hurries,
        })
    }

    /// A learner that is in sync is to promise itself to the next epoch, if there is to be one.
    pub(super) fn ask_for_promise(&mut self, context: &mut Context<'_>, link: LinkId) {
        if let Some(NextEpoch { epoch, .. }) = self.next_epoch
            && let Some(learner) = self.learners.get_mut(&link).filter(|learner| learner.turns_epochs)
        {
            learner.promises_awaited += 1;
            context.out.push(Action::ToLearner { link, message: FromLeader::LeaderInfo { epoch } });
        }
    }

    /// A learner in sync has promised itself to the epoch that it was asked for.
    pub(super) fn on_promise(
        &mut self,
        context: &mut Context<'_>,
        link: LinkId,
        current: Option<Epoch>,
    ) -> Result<(), GiveUp> {
        let Some(learner) = self.learners.get_mut(&link) else { return Ok(()) };
        let Some(left) = learner.promises_awaited.checked_sub(1) else {
            return self.turn_away(context, link, "it accepts an epoch that nobody proposed to it");
        };
        learner.promises_awaited = left;
        let voter = learner.voter();
        // As long as there are others to come, this one answers a question about an earlier epoch.
        if left == 0
            && current.is_some()
            && let (Some(server), Some(next)) = (voter, &mut self.next_epoch)
        {
            context.members.electorate.insert(&mut next.promised, server);
            self.turn_if_promised(context);
        }
        Ok(())
    }

    /// Begins the next epoch if a quorum has promised itself to it.
    pub(super) fn turn_if_promised(&mut self, context: &mut Context<'_>) {
        let Some(NextEpoch { epoch, promised }) = self.next_epoch else { return };
        // A change of the members may come to nothing with this leader, but not with half of its quorums.
        let is_free = self.reconfiguration.is_none() && self.hand_over.is_none();
        if !is_free || !context.members.electorate.decides(promised) {
            return;
        }
        self.next_epoch = None;
        (self.epoch, self.inherited) = (epoch, self.last_proposed);
        self.last_proposed = Zxid::new(epoch, 0);
        self.turn = Turn { unstored: true, uncommitted: true };
        context.out.push(Action::EpochBegan { epoch });
        self.store_turn(context);
        // They are being brought to the end of an epoch that is no longer the present one, or would not understand.
        let half_way = |stage| stage > Stage::Introduced && stage < Stage::Active;
        for link in self.links(|learner| {
            half_way(learner.stage) || learner.stage == Stage::Active && !learner.turns_epochs
        }) {
            self.learners.remove(&link);
            context.out.push(Action::Close { link, why: "another epoch has begun" });
        }
        self.announce_epoch(context, LearnerKind::Follower);
        self.finish_turn(context);
    }

    fn announce_epoch(&mut self, context: &mut Context<'_>, kind: LearnerKind) {
        let epoch = self.epoch;
        for (&link, learner) in &mut self.learners {
            if learner.stage == Stage::Active && learner.kind == kind {
                learner.await_ack(Zxid::new(epoch, 0), context.now_ms);
                let message = FromLeader::NewLeader { epoch, membership: None };
                context.out.push(Action::ToLearner { link, message });
            }
        }
    }

    /// Stores the epoch once the history that it began with is on stable storage: with the epoch but without that this
    /// server would win elections and lose what others have.
    pub(super) fn store_turn(&mut self, context: &mut Context<'_>) {
        let stored = context.durable >= self.inherited || context.makes(Breakage::LeaderEpochBeforeHistory);
        if self.turn.unstored && stored {
            self.turn.unstored = false;
            context.store_current(self.epoch);
        }
    }

    /// Lets everybody know of the epoch once the history that it began with is committed.
    pub(super) fn finish_turn(&mut self, context: &mut Context<'_>) {
        let is_committed = self.pending.front().is_none_or(|oldest| oldest.zxid > self.inherited);
        if self.turn.uncommitted && is_committed {
            self.turn.uncommitted = false;
            self.announce_epoch(context, LearnerKind::Observer);
            for link in self.links(|learner| learner.stage == Stage::Introduced) {
                self.propose_epoch_to(context, link);
            }
        }
    }

    /// Whether a newcomer that has accepted this epoch has to wait: the present epoch is not ready for it, or it has
    /// promised itself to the next one already.
    pub(super) fn keeps_waiting(&self, accepted: Epoch) -> bool {
        self.turn.uncommitted || self.next_epoch.is_some_and(|next| next.epoch == accepted)
    }
}
