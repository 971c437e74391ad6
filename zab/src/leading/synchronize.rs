//! Bringing a learner in sync (`LearnerHandler.syncFollower`): with what is in memory, with the log on disk before that, or
//! with a whole tree.

use protocol::Zxid;
use protocol::peer::{FromLeader, LearnerKind};

use super::{LEARNERS_MAX, Leading, Stage};
use crate::action::Action;
use crate::breakage::Breakage;
use crate::context::{Context, GiveUp};
use crate::link::LinkId;
use crate::synchronization::plan::{Plan, meet, plan};
use crate::synchronization::send::send;

impl Leading {
    /// Brings the learner in sync, at once unless the log on disk is to be asked first.
    pub(super) fn synchronize(&mut self, context: &mut Context<'_>, link: LinkId) {
        let Some(learner) = self.learners.get_mut(&link) else { return };
        let plan = match learner.needs_tree {
            true => Plan::Snapshot,
            false => plan(context.history, learner.last_zxid),
        };
        if plan != Plan::ConsultLog {
            return self.carry_out_plan(context, link, plan);
        }
        let failed = learner.server.is_some_and(|server| self.log_failed.remove(&server));
        let up_to = context.history.base();
        if failed || up_to > context.durable {
            return self.carry_out_plan(context, link, Plan::Snapshot);
        }
        (learner.stage, learner.asked_ms) = (Stage::Consulting, context.now_ms);
        context.out.push(Action::ConsultLog { link, last: learner.last_zxid, up_to });
    }

    /// The log was asked for a learner. `before` is the last transaction in it that the learner's last one does not come
    /// before; `None` if it is not to be used. What memory holds may begin later by now.
    pub fn on_log_consulted(&mut self, context: &mut Context<'_>, link: LinkId, before: Option<Zxid>) {
        let asked = |stage| stage == Stage::Consulting;
        let Some(learner) = self.learners.get(&link).filter(|learner| asked(learner.stage)) else { return };
        let plan = match before {
            Some(before) if context.history.base() <= context.durable => meet(before, learner.last_zxid),
            _ => Plan::Snapshot,
        };
        self.carry_out_plan(context, link, plan);
    }

    /// What stands in the log could not be sent to its end. The learner keeps what it got, and comes again.
    pub fn on_log_failed(&mut self, context: &mut Context<'_>, link: LinkId) -> Result<(), GiveUp> {
        let Some(learner) = self.learners.get(&link) else { return Ok(()) };
        if let Some(server) = learner.server
            && self.log_failed.len() < LEARNERS_MAX
        {
            self.log_failed.insert(server);
        }
        self.turn_away(context, link, "the log on disk could not be sent to it")
    }

    /// A disk that does not answer must not keep a learner waiting for longer than it has patience.
    pub(super) fn give_up_log(&mut self, context: &mut Context<'_>) {
        let (now_ms, patience_ms) = (context.now_ms, context.settings.init_ms() / 4);
        for link in self
            .links(|learner| learner.stage == Stage::Consulting && now_ms >= learner.asked_ms + patience_ms)
        {
            self.carry_out_plan(context, link, Plan::Snapshot);
        }
    }

    /// Brings the learner's log to this one's, and makes it hear of everything from then on. The decision and the
    /// beginning of forwarding are one step, so that nothing is left out or sent twice.
    fn carry_out_plan(&mut self, context: &mut Context<'_>, link: LinkId, plan: Plan) {
        let Some(learner) = self.learners.get_mut(&link) else { return };
        learner.takes_long = send(context, link, plan);
        // What it has acknowledged over an earlier connection may just have been cut off.
        if let Some(server) = learner.voter().filter(|_| !context.makes(Breakage::KeepCutAcks)) {
            for proposal in &mut self.pending {
                proposal.take_back_ack(context, server);
            }
        }
        learner.stage = Stage::Synchronizing;
        let (kind, membership) = (learner.kind, Some(self.membership_text(context)));
        let say = |context: &mut Context<'_>, message| context.out.push(Action::ToLearner { link, message });
        say(context, FromLeader::NewLeader { epoch: self.epoch, membership });
        // Behind NEWLEADER: what is only proposed is no part of the history that it ends, and some Java learners fail if
        // a proposal from before it is committed after it (ZOOKEEPER-4394).
        if kind == LearnerKind::Follower {
            let outstanding: Vec<_> = context.history.uncommitted().cloned().collect();
            for entry in outstanding {
                say(context, FromLeader::Proposal { zxid: entry.zxid, envelope: entry.envelope });
            }
        }
    }
}
