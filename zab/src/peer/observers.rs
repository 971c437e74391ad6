//! A peer that follows, seen by the observers that it serves.

use protocol::peer::{FromLearner, LearnerKind};

use super::{Peer, State};
use crate::action::Action;
use crate::link::LinkId;

impl Peer {
    /// Somebody has connected to the port for observers (`observerMasterPort`).
    pub fn on_observer_connected(&mut self, now_ms: u64, link: LinkId, out: &mut Vec<Action>) {
        match &mut self.state {
            State::Learning(learning)
                if self.ground.members.kind() == LearnerKind::Follower
                    && learning.may_serve_observers(&self.ground.history) =>
            {
                learning.observers.on_connected(&mut self.ground.context(now_ms, out), link);
            }
            _ => out.push(Action::Close { link, why: "this server does not serve observers now" }),
        }
    }

    pub(super) fn on_observer_message(
        &mut self,
        now_ms: u64,
        link: LinkId,
        message: FromLearner,
        out: &mut Vec<Action>,
    ) {
        if let State::Learning(learning) = &mut self.state {
            let epoch = learning.epoch();
            learning.observers.on_message(&mut self.ground.context(now_ms, out), epoch, link, message);
        }
    }

    /// Whether answers to syncs may come to this observer behind commits of its later requests.
    pub fn takes_late_syncs(&self, link: LinkId) -> bool {
        matches!(&self.state, State::Learning(learning) if learning.observers.takes_late_syncs(link))
    }

    /// How many observers this follower has brought in sync; `None` if it does not follow.
    pub fn observers_served(&self) -> Option<usize> {
        match &self.state {
            State::Learning(learning) if learning.is_serving() => Some(learning.observers.active()),
            _ => None,
        }
    }
}
