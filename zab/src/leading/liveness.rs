//! Who is still there (`Leader.lead`'s loop, `LearnerHandler.ping`).

use protocol::peer::FromLeader;

use super::learner::PingFor;
use super::{Leading, Phase, Stage};
use crate::action::Action;
use crate::context::{Context, GiveUp};
use crate::quorum::VoterSet;

impl Leading {
    /// Time has passed.
    pub fn on_tick(&mut self, context: &mut Context<'_>) -> Result<(), GiveUp> {
        let now_ms = context.now_ms;
        self.hand_over_if_due(context)?;
        if self.phase != Phase::Broadcast && now_ms >= self.started_ms + context.settings.init_ms() {
            return Err(GiveUp::Look("no quorum came within initLimit"));
        }
        if now_ms >= self.next_ping_ms {
            self.next_ping_ms = now_ms + context.settings.tick_ms / 2;
            self.part_with_the_silent(context);
            self.prepare_next_epoch(context);
            self.turn_if_promised(context);
            self.give_up_log(context);
            let zxid = self.last_proposed;
            // A follower that has connected again since the round began was not asked, or its answer was lost.
            let purpose = self.barrier.round_under_way().map_or(PingFor::Life, PingFor::Round);
            for (&link, learner) in self.learners.iter_mut().filter(|(_, learner)| learner.is_forwarded_to())
            {
                // During synchronization learners hear pings and do not answer them.
                if learner.stage == Stage::Active {
                    learner.pings.push_back(purpose);
                }
                context.out.push(Action::ToLearner { link, message: FromLeader::Ping { zxid } });
            }
        }
        if now_ms >= self.next_check_ms {
            self.next_check_ms = now_ms + context.settings.tick_ms;
            if self.phase == Phase::Broadcast && !context.members.electorate.decides(self.alive(context)) {
                return Err(GiveUp::Look("a quorum of followers is gone"));
            }
            self.check_former(context)?;
        }
        Ok(())
    }

    /// When [`Leading::on_tick`] has something to do next.
    pub fn deadline_ms(&self) -> u64 {
        let regular_ms = self.next_ping_ms.min(self.next_check_ms);
        self.hand_over_deadline_ms().map_or(regular_ms, |deadline_ms| deadline_ms.min(regular_ms))
    }

    fn alive(&self, context: &Context<'_>) -> VoterSet {
        let mut alive = VoterSet::default();
        context.members.electorate.insert(&mut alive, context.settings.me);
        for learner in self.learners.values().filter(|learner| learner.stage == Stage::Active) {
            if let Some(server) = learner.voter()
                && context.now_ms < learner.heard_ms + context.settings.sync_ms()
            {
                context.members.electorate.insert(&mut alive, server);
            }
        }
        alive
    }

    /// Closes connections that say nothing, and those of followers that acknowledge nothing.
    fn part_with_the_silent(&mut self, context: &mut Context<'_>) {
        let (init_ms, sync_ms) = (context.settings.init_ms(), context.settings.sync_ms());
        let mut silent = Vec::new();
        for (&link, learner) in &self.learners {
            // In discovery the learner waits for us, not we for it.
            let patience_ms = if learner.stage == Stage::Active { sync_ms } else { init_ms + sync_ms };
            // A whole tree takes its time, and so does a part of the log; the port watches whether it moves.
            let takes_long = learner.stage == Stage::Synchronizing && learner.takes_long;
            let waits_for_us =
                matches!(learner.stage, Stage::Introduced | Stage::Promised | Stage::Consulting)
                    || takes_long;
            if !waits_for_us && context.now_ms > learner.heard_ms + patience_ms {
                silent.push((link, "it says nothing"));
            } else if learner.stage == Stage::Active
                && learner.awaited.is_some_and(|(_, since_ms)| context.now_ms > since_ms + sync_ms)
            {
                silent.push((link, "it does not acknowledge proposals"));
            }
        }
        for (link, why) in silent {
            self.learners.remove(&link);
            context.out.push(Action::Close { link, why });
        }
    }
}
