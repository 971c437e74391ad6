//! `sync` as a true barrier: it ends when everything proposed before it is committed and a quorum has confirmed, after
//! it came, that this server still leads.
//!
//! Java only waits for the first of the two, so that a leader that was cut off answers from the past. The confirmation is
//! a ping that a quorum answers, which Java's followers do too. But a Java learner must get its answer before any commit
//! of a later request, so for its clients there is no time to ask.

use std::collections::VecDeque;

use protocol::Zxid;
use protocol::peer::FromLeader;

use super::broadcast::Proposal;
use super::learner::PingFor;
use super::{Leading, Stage};
use crate::action::Action;
use crate::context::Context;
use crate::link::LinkId;
use crate::quorum::{Electorate, VoterSet};

/// Who waits for a barrier.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Waiting {
    /// A client of this server.
    Here { token: u64 },
    /// A client of a learner; learners match answers by their order.
    Learner { link: LinkId },
}

#[derive(Clone, Hash, Debug)]
struct Wait {
    who: Waiting,
    /// What must be committed.
    after: Zxid,
    /// The first round of confirmation that began after it came.
    round: u64,
}

/// All sync requests under way.
#[derive(Clone, Hash, Debug, Default)]
pub(super) struct Barrier {
    waits: VecDeque<Wait>,
    /// Those of Java's learners: what must be committed, and no more.
    prompt: VecDeque<(Zxid, LinkId)>,
    /// The round under way or the last one.
    round: u64,
    under_way: bool,
    confirmed_by: VoterSet,
    /// All rounds up to here are confirmed.
    confirmed: u64,
}

impl Barrier {
    /// The round that pings sent now can confirm.
    pub fn round_under_way(&self) -> Option<u64> {
        self.under_way.then_some(self.round)
    }

    /// The voters are others now.
    pub fn carry_over(&mut self, electorate: &Electorate, before: &Electorate) {
        self.confirmed_by = electorate.carry_over(self.confirmed_by, before);
    }

    /// How many wait.
    pub fn pending(&self) -> usize {
        self.waits.len() + self.prompt.len()
    }
}

impl Leading {
    /// Somebody wants to see everything that was committed before now.
    pub fn sync(&mut self, context: &mut Context<'_>, who: Waiting) {
        if let Waiting::Learner { link } = who
            && self.learners.get(&link).is_some_and(|learner| !learner.late_syncs)
        {
            self.barrier.prompt.push_back((self.last_proposed, link));
            return self.release_prompt(context);
        }
        let round = self.barrier.round + 1;
        self.barrier.waits.push_back(Wait { who, after: self.last_proposed, round });
        if !self.barrier.under_way {
            self.begin_round(context);
        }
        self.release_barriers(context);
    }

    fn begin_round(&mut self, context: &mut Context<'_>) {
        self.barrier.round += 1;
        self.barrier.under_way = true;
        self.barrier.confirmed_by = VoterSet::default();
        context.members.electorate.insert(&mut self.barrier.confirmed_by, context.settings.me);
        let (round, zxid) = (self.barrier.round, self.last_proposed);
        if !context.members.electorate.decides(self.barrier.confirmed_by) {
            for (&link, learner) in &mut self.learners {
                if learner.stage == Stage::Active && learner.voter().is_some() {
                    learner.pings.push_back(PingFor::Round(round));
                    context.out.push(Action::ToLearner { link, message: FromLeader::Ping { zxid } });
                }
            }
        }
        self.finish_round(context);
    }

    pub(super) fn on_ping_answered(&mut self, context: &mut Context<'_>, link: LinkId) {
        let Some(learner) = self.learners.get_mut(&link) else { return };
        let answered = learner.pings.pop_front();
        let voter = learner.voter();
        if answered == Some(PingFor::Former)
            && let Some(server) = learner.server
        {
            self.on_former_heard(context, server);
        }
        if self.barrier.under_way
            && answered == Some(PingFor::Round(self.barrier.round))
            && let Some(server) = voter
        {
            context.members.electorate.insert(&mut self.barrier.confirmed_by, server);
            self.finish_round(context);
        }
    }

    /// The voters are others now: those who have answered may be enough, and nobody else may be left who could.
    pub(super) fn recount_round(&mut self, context: &mut Context<'_>) {
        if self.barrier.under_way {
            self.finish_round(context);
        }
    }

    fn finish_round(&mut self, context: &mut Context<'_>) {
        if !context.members.electorate.decides(self.barrier.confirmed_by) {
            return;
        }
        self.barrier.under_way = false;
        self.barrier.confirmed = self.barrier.round;
        self.release_barriers(context);
        if self.barrier.waits.back().is_some_and(|wait| wait.round > self.barrier.round) {
            self.begin_round(context);
        }
    }

    /// Everything up to here is committed.
    fn committed(&self) -> Zxid {
        match self.pending.front() {
            Some(Proposal { zxid, .. }) => Zxid::new(zxid.epoch(), zxid.counter() - 1),
            None => self.last_proposed,
        }
    }

    /// The first transaction behind whose commit a Java learner waits for an answer, before it hears of any other commit.
    pub(super) fn next_prompt(&self) -> Option<Zxid> {
        self.barrier.prompt.front().map(|(after, _)| *after)
    }

    /// Answers the syncs of Java's learners that have waited for what is committed now.
    pub(super) fn release_prompt(&mut self, context: &mut Context<'_>) {
        let committed = self.committed();
        while let Some(&(after, link)) = self.barrier.prompt.front()
            && after <= committed
        {
            context.out.push(Action::ToLearner { link, message: FromLeader::Sync });
            self.barrier.prompt.pop_front();
        }
    }

    pub(super) fn release_barriers(&mut self, context: &mut Context<'_>) {
        let committed = self.committed();
        while let Some(wait) = self.barrier.waits.front()
            && wait.round <= self.barrier.confirmed
            && wait.after <= committed
        {
            context.out.push(match wait.who {
                Waiting::Here { token } => Action::SyncDone { token },
                Waiting::Learner { link } => Action::ToLearner { link, message: FromLeader::Sync },
            });
            self.barrier.waits.pop_front();
        }
    }
}
