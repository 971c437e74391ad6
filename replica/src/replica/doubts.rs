//! Sessions that a leader does not know: whether they are over.
//!
//! A leader that was deposed and has not noticed knows nothing of the sessions that others have opened since. Java's tells
//! their clients that they are over. Here the leader first makes sure, as for `sync`, that it still leads.

use std::collections::VecDeque;

use protocol::SessionId;
use protocol::peer::FromLeader;
use zab::{Action, LinkId};

use super::{Replica, Standing};
use crate::input::{ConnectionId, Now};

/// Who wants to know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Asker {
    /// A client of this server, which wants the session with this timeout.
    Client { connection: ConnectionId, timeout_ms: i32 },
    /// A learner, for a client of its own.
    Learner(LinkId),
}

/// Questions whose answers wait for a sync, oldest first. At most one for each connection, and for each session of a
/// learner's client that connects.
#[derive(Default)]
pub(super) struct Doubts(VecDeque<(u64, SessionId, Asker)>);

impl Doubts {
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

impl Replica {
    /// The session is not known here. `None` if that is the last word already, because nobody else could know it.
    pub(super) fn doubt(&mut self, now: Now, session: SessionId, asker: Asker) -> Option<()> {
        if self.standing != (Standing::Leading { alone: false }) {
            return None;
        }
        self.syncs += 1;
        self.doubts.0.push_back((self.syncs, session, asker));
        self.peer.sync(now.monotonic_ms, self.syncs, &mut self.actions);
        Some(())
    }

    /// Answers what can be answered, once everything committed is applied. Whether there was anything.
    pub(super) fn resolve_doubts(&mut self, now: Now) -> bool {
        let mut any = false;
        while let Some(&(sync, session, asker)) = self.doubts.0.front()
            && sync <= self.progress.syncs
        {
            self.doubts.0.pop_front();
            any = true;
            let alive = self.is_alive(session);
            match asker {
                Asker::Client { connection, timeout_ms } if alive => {
                    self.take_up_session(now, connection, session, timeout_ms);
                }
                Asker::Client { connection, .. } => self.refuse_session(connection, session),
                Asker::Learner(link) if alive => self.hand_to_learner(now, link, session),
                Asker::Learner(link) => {
                    self.emit(Action::ToLearner {
                        link,
                        message: FromLeader::Revalidate { session, valid: false },
                    });
                }
            }
        }
        any
    }

    /// Whether the session is open and not at its end, as far as this server knows.
    pub(super) fn is_alive(&self, session: SessionId) -> bool {
        self.shared.sessions.lock().get(session).is_some_and(|tracked| !tracked.closing)
    }
}
