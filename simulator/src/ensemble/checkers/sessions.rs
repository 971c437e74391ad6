//! A session is only said to be over if its end was proposed or done, and its number is never given again.

use std::collections::BTreeSet;

use protocol::{SessionId, Zxid};

use crate::checkers::{Verdict, ensure};
use crate::model::Model;

const PROMISE: &str = "sessions";

/// Sessions whose end some leader has asked for.
#[derive(Default)]
pub struct Sessions {
    ending: BTreeSet<SessionId>,
}

impl Sessions {
    /// A leader has written a transaction that ends a session; it may get lost.
    pub fn on_ending(&mut self, session: SessionId) {
        self.ending.insert(session);
    }

    /// A session opens, with a timeout.
    pub fn on_opened(
        &self,
        model: &Model,
        session: SessionId,
        timeout_ms: i32,
        limits_ms: (i32, i32),
    ) -> Verdict {
        ensure(!model.knew_session(session), PROMISE, || format!("session id {session} was used before"))?;
        ensure((limits_ms.0..=limits_ms.1).contains(&timeout_ms), PROMISE, || {
            format!("session {session} has the timeout {timeout_ms} ms")
        })
    }

    /// A client was told that its session is over; it had seen the state at `seen`.
    ///
    /// A leader that was deposed and has not noticed knows nothing of sessions that were opened since, and says so to a
    /// client that has seen nothing since either, as Java does. Whoever has seen more is sent away instead.
    pub fn on_told_over(&self, model: &Model, session: SessionId, seen: Zxid) -> Verdict {
        let open_at = |zxid| model.session_at(session, zxid).is_some();
        let open = open_at(model.last()) && open_at(seen);
        ensure(!open || self.ending.contains(&session), PROMISE, || {
            format!("a client was told that its session {session} is over, and nobody has ended it")
        })
    }
}
