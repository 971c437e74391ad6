//! Proposing and committing (`Leader.propose`, `processAck`, `tryToCommit`).

use bytes::Bytes;
use protocol::peer::{FromLeader, LearnerKind};
use protocol::{ServerId, Zxid};

use super::Leading;
use crate::action::Action;
use crate::breakage::Breakage;
use crate::context::Context;
use crate::quorum::{Electorate, VoterSet};

/// A transaction that waits for a quorum.
#[derive(Clone, Copy, Hash, Debug)]
pub(super) struct Proposal {
    pub zxid: Zxid,
    acks: VoterSet,
}

impl Proposal {
    pub fn is_acknowledged_by(&self, context: &Context<'_>, server: ServerId) -> bool {
        context.members.electorate.contains(self.acks, server)
    }

    /// The voters are others now.
    pub fn carry_over(&mut self, electorate: &Electorate, before: &Electorate) {
        self.acks = electorate.carry_over(self.acks, before);
    }

    pub fn take_back_ack(&mut self, context: &Context<'_>, server: ServerId) {
        context.members.electorate.remove(&mut self.acks, server);
    }
}

impl Leading {
    /// The zxid of the next transaction; `None` when the epoch's are used up and another epoch must begin.
    pub fn next_zxid(&self) -> Option<Zxid> {
        self.last_proposed.next()
    }

    /// Transactions proposed and not committed.
    pub fn outstanding(&self) -> usize {
        self.pending.len()
    }

    /// Gives the transaction to all followers. Whoever calls this appends it to this server's log.
    pub fn propose(&mut self, context: &mut Context<'_>, zxid: Zxid, envelope: Bytes) {
        assert_eq!(Some(zxid), self.next_zxid(), "proposals have no holes");
        self.last_proposed = zxid;
        self.note_reconfiguration(context, zxid, &envelope);
        self.pending.push_back(Proposal { zxid, acks: VoterSet::default() });
        for (&link, learner) in &mut self.learners {
            if learner.is_forwarded_to() && learner.kind == LearnerKind::Follower {
                learner.await_ack(zxid, context.now_ms);
                let message = FromLeader::Proposal { zxid, envelope: envelope.clone() };
                context.out.push(Action::ToLearner { link, message });
            }
        }
        context.history.append(zxid, envelope);
        self.prepare_next_epoch(context);
    }

    /// This server's own log has reached stable storage.
    pub(super) fn acknowledge_own(&mut self, context: &mut Context<'_>) {
        // First, as what belongs to an epoch counts once the epoch is stored, here as on a learner.
        self.store_turn(context);
        let durable = context.durable;
        let first = self.pending.partition_point(|proposal| proposal.zxid <= self.own_ack);
        for proposal in self.pending.range_mut(first..).take_while(|proposal| proposal.zxid <= durable) {
            context.members.electorate.insert(&mut proposal.acks, context.settings.me);
            self.own_ack = proposal.zxid;
        }
        self.commit_decided(context);
    }

    /// An acknowledgement is for one transaction, not for those before it.
    pub(super) fn count_ack(&mut self, context: &Context<'_>, server: ServerId, zxid: Zxid) {
        let Some(oldest) = self.pending.front().map(|oldest| oldest.zxid).filter(|&oldest| oldest <= zxid)
        else {
            return;
        };
        let place = if zxid.epoch() == oldest.epoch() {
            (zxid.counter() - oldest.counter()) as usize
        } else {
            self.pending.partition_point(|proposal| proposal.zxid < zxid)
        };
        if let Some(proposal) = self.pending.get_mut(place).filter(|proposal| proposal.zxid == zxid) {
            context.members.electorate.insert(&mut proposal.acks, server);
        }
    }

    /// Commits, in order, whatever a quorum has.
    pub(super) fn commit_decided(&mut self, context: &mut Context<'_>) {
        while self.commit_some(context) {}
    }

    /// Commits what is decided up to the next place where learners must hear something in between; a reconfiguration by
    /// itself. Whether there was anything.
    fn commit_some(&mut self, context: &mut Context<'_>) -> bool {
        if self.hand_over.is_some() {
            return false;
        }
        let (prompt, reconfiguration) = (self.next_prompt(), self.reconfiguration);
        let epoch_end = self.turn.uncommitted.then_some(self.inherited);
        let mut count = 0;
        let mut last = Proposal { zxid: Zxid::ZERO, acks: VoterSet::default() };
        while let Some(&oldest) = self.pending.front()
            && (self.is_decided(context, oldest.zxid, oldest.acks)
                || !oldest.acks.is_empty() && context.makes(Breakage::CommitWithoutQuorum))
        {
            let stands_alone = Some(oldest.zxid) == reconfiguration;
            if stands_alone && count > 0 {
                break;
            }
            last = oldest;
            self.pending.pop_front();
            count += 1;
            if stands_alone || [prompt, epoch_end].contains(&Some(oldest.zxid)) {
                break;
            }
        }
        if count == 0 {
            return false;
        }
        let up_to = last.zxid;
        let next_leader =
            (Some(up_to) == reconfiguration).then(|| self.activate_proposed(context, up_to, last.acks));
        for (&link, learner) in self.learners.iter().filter(|(_, learner)| learner.is_forwarded_to()) {
            for entry in context.history.uncommitted().take(count) {
                let (zxid, envelope) = (entry.zxid, || entry.envelope.clone());
                let message = match (learner.kind, next_leader) {
                    (LearnerKind::Follower, None) => FromLeader::Commit { zxid },
                    (LearnerKind::Follower, Some(leader)) => FromLeader::CommitAndActivate { zxid, leader },
                    (LearnerKind::Observer, None) => FromLeader::Inform { zxid, envelope: envelope() },
                    (LearnerKind::Observer, Some(leader)) => {
                        FromLeader::InformAndActivate { zxid, leader, envelope: envelope() }
                    }
                };
                context.out.push(Action::ToLearner { link, message });
            }
        }
        context.history.commit(up_to);
        context.out.push(Action::Committed { up_to });
        if next_leader == Some(context.settings.me) {
            self.take_leave_of_former(context);
        }
        if next_leader.is_some() {
            self.recount_round(context);
        }
        self.release_prompt(context);
        self.release_barriers(context);
        self.finish_turn(context);
        true
    }
}
