//! The leader begins another epoch while this server follows it; see `leading/next_epoch.rs`.

use protocol::peer::FromLearner;
use protocol::{Epoch, Zxid};

use super::{Learning, Stage};
use crate::action::Action;
use crate::breakage::Breakage;
use crate::context::{Context, GiveUp};
use crate::history::History;

impl Learning {
    /// The leader asks for the promise that this server follows nobody else into that epoch.
    pub(super) fn promise_next_epoch(
        &mut self,
        context: &mut Context<'_>,
        epoch: Epoch,
    ) -> Result<(), GiveUp> {
        if epoch <= context.epochs.accepted {
            return Err(GiveUp::Look("the leader's next epoch is not later than one that was accepted"));
        }
        context.store_accepted(epoch);
        let (last_zxid, current_epoch) = (context.history.last(), Some(context.epochs.current));
        let message = FromLearner::AckEpoch { last_zxid, current_epoch };
        context.out.push(Action::ToLeader { link: self.link, message });
        Ok(())
    }

    /// A quorum has promised, and the history of the old epoch ends here.
    pub(super) fn on_next_epoch(&mut self, context: &mut Context<'_>, epoch: Epoch) -> Result<(), GiveUp> {
        if epoch <= self.epoch || epoch > context.epochs.accepted {
            return Err(GiveUp::Look("the leader announced another epoch than it had proposed"));
        }
        self.epoch = epoch;
        self.history_end = context.history.last();
        self.observers.close_all(context, "another epoch has begun");
        self.on_synced(context);
        Ok(())
    }

    /// Whether observers can be brought in sync: what they are told is the history that this epoch begins with must be
    /// committed, as they hear of nothing else.
    pub fn may_serve_observers(&self, history: &History) -> bool {
        self.is_serving() && history.committed() >= self.history_end
    }

    /// Stores the epoch once all that comes before it is on stable storage.
    pub(super) fn take_over_next_epoch(&mut self, context: &mut Context<'_>) {
        let stored = context.durable >= self.history_end || context.makes(Breakage::EpochBeforeHistory);
        if self.stage == Stage::Serving && context.epochs.current < self.epoch && stored {
            context.store_current(self.epoch);
            self.acknowledge(context, Zxid::new(self.epoch, 0));
        }
    }
}
