//! Sessions that a leader does not know: whether they are over.
//!
//! A leader that was deposed and has not noticed knows nothing of the sessions that others have opened since. Java's tells
//! their clients that they are over. Here the leader first makes sure, as for `sync`, that it still leads.

use std::collections::VecDeque;

use protocol::SessionId;
use protocol::peer::FromLeader;
use zab::{Action, LinkId};

use super::{Replica, Standing, find_in};
use crate::input::{ConnectionId, Now};
use crate::limits;
use crate::output::Delivery;

/// Who wants to know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Asker {
    /// A client of this server, which wants the session with this timeout.
    Client { connection: ConnectionId, timeout_ms: i32 },
    /// A learner, for a client of its own.
    Learner(LinkId),
}

/// Questions whose answers wait for a sync, oldest first.
#[derive(Default)]
pub(super) struct Doubts(VecDeque<(u64, SessionId, Asker)>);

impl Doubts {
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

impl Replica {
    /// A session that is not known here is asked for.
    pub(super) fn ask_around(&mut self, now: Now, session: SessionId, asker: Asker) {
        if self.standing != (Standing::Leading { alone: false }) {
            // Nobody else could know it.
            return self.say_it_is_over(session, asker);
        }
        if self.doubts.0.len() >= limits::DOUBTS_MAX {
            // Whoever it is comes again. Of a learner's clients it is the learner that loses patience with us.
            if let Asker::Client { connection, .. } = asker {
                self.outputs.deliveries.push(Delivery::Close { connection });
                self.forget(connection);
            }
            return;
        }
        self.syncs += 1;
        self.doubts.0.push_back((self.syncs, session, asker));
        self.peer.sync(now.monotonic_ms, self.syncs, &mut self.actions);
    }

    fn say_it_is_over(&mut self, session: SessionId, asker: Asker) {
        match asker {
            Asker::Client { connection, .. } => self.refuse_session(connection, session),
            Asker::Learner(link) => {
                let message = FromLeader::Revalidate { session, valid: false };
                self.emit(Action::ToLearner { link, message });
            }
        }
    }

    /// Answers what can be answered, once everything committed is applied. Whether there was anything.
    pub(super) fn resolve_doubts(&mut self, now: Now) -> bool {
        let mut any = false;
        while let Some(&(sync, session, asker)) = self.doubts.0.front()
            && sync <= self.progress.syncs
        {
            self.doubts.0.pop_front();
            any = true;
            match asker {
                // The client has given up, and may be somewhere else.
                Asker::Client { connection, .. } if find_in(&self.connections, connection).is_none() => {}
                _ if !self.is_alive(session) => self.say_it_is_over(session, asker),
                Asker::Client { connection, timeout_ms } => {
                    self.take_up_session(now, connection, session, timeout_ms);
                }
                Asker::Learner(link) => self.hand_to_learner(now, link, session),
            }
        }
        any
    }

    /// Whether the session is open and not at its end, as far as this server knows.
    pub(super) fn is_alive(&self, session: SessionId) -> bool {
        self.shared.sessions.lock().get(session).is_some_and(|tracked| !tracked.closing)
    }
}
