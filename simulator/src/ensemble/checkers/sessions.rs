//! A session is served over one connection at a time. It is only said to be over if its end was proposed or done, and to have moved if its client has tried to take
//! it elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use protocol::{ErrorCode, SessionId, Zxid};

use crate::checkers::{Verdict, ensure};
use crate::model::Model;

const PROMISE: &str = "sessions";

/// What has happened to sessions that the committed history does not show.
#[derive(Default)]
pub struct Sessions {
    /// Some leader has asked for their end.
    ending: BTreeSet<SessionId>,
    /// Their clients have connected with them again.
    taken_up: BTreeSet<SessionId>,
    /// What came over which connection: see [`Sessions::on_resumed`].
    resumed: BTreeMap<SessionId, Vec<(i32, Zxid)>>,
}

impl Sessions {
    /// A leader has written a transaction that ends a session; it may get lost.
    pub fn on_ending(&mut self, session: SessionId) {
        self.ending.insert(session);
    }

    /// A client connects with a session.
    pub fn on_taken_up(&mut self, session: SessionId) {
        self.taken_up.insert(session);
    }

    /// A client was told that its session is over. Also a leader that was deposed and has not noticed must not say so of
    /// a session that was opened since.
    pub fn check_told_over(&self, model: &Model, session: SessionId) -> Verdict {
        let open = model.session_at(session, model.last()).is_some();
        ensure(!open || self.ending.contains(&session), PROMISE, || {
            format!("a client was told that its session {session} is over, and nobody has ended it")
        })
    }

    /// A client has its session on another connection; `next_xid` is the first request that it will send there, and
    /// `proposed` the last transaction that any leader has proposed by now.
    pub fn on_resumed(&mut self, session: SessionId, next_xid: i32, proposed: Zxid) {
        self.resumed.entry(session).or_default().push((next_xid, proposed));
    }

    /// A write of a session has its place, and was not refused for what the session is: it came over the connection that
    /// the session had then.
    pub fn check_place(&self, session: SessionId, xid: i32, zxid: Zxid) -> Verdict {
        let resumed = self.resumed.get(&session).into_iter().flatten();
        let later = resumed.clone().find(|(next_xid, _)| *next_xid > xid);
        ensure(later.is_none_or(|(_, proposed)| zxid <= *proposed), PROMISE, || {
            format!(
                "request {xid} of session {session} is done at {zxid}, and the session had moved on: {later:?}"
            )
        })
    }

    /// A write was refused for what its session is.
    pub fn check_refused(&self, model: &Model, session: SessionId, code: ErrorCode) -> Verdict {
        let (holds, what) = match code {
            // A follower that serves observers has the leader refuse what it cannot refuse itself; what cannot be read is
            // refused without a transaction otherwise.
            ErrorCode::SessionMoved | ErrorCode::MarshallingError => {
                (self.taken_up.contains(&session), "nobody has taken it elsewhere")
            }
            _ => {
                let over = model.session_at(session, model.last()).is_none();
                (over || self.ending.contains(&session), "nobody has ended it")
            }
        };
        ensure(holds, PROMISE, || {
            format!("a write of session {session} was refused with {code:?}, and {what}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_without_a_reason_is_seen() {
        let (model, session) = (Model::new(), SessionId::new(1));
        let mut sessions = Sessions::default();
        assert!(sessions.check_refused(&model, session, ErrorCode::SessionExpired).is_ok(), "it is not open");
        assert!(sessions.check_refused(&model, session, ErrorCode::SessionMoved).is_err());
        assert!(sessions.check_refused(&model, session, ErrorCode::MarshallingError).is_err());
        sessions.on_taken_up(session);
        assert!(sessions.check_refused(&model, session, ErrorCode::SessionMoved).is_ok());
    }

    #[test]
    fn a_request_over_an_earlier_connection_is_seen() {
        let (mut sessions, session, zxid) = (Sessions::default(), SessionId::new(1), Zxid::from_wire);
        sessions.on_resumed(session, 5, zxid(20));
        sessions.on_resumed(session, 9, zxid(30));
        assert!(sessions.check_place(session, 4, zxid(20)).is_ok());
        assert!(sessions.check_place(session, 4, zxid(21)).is_err());
        assert!(sessions.check_place(session, 5, zxid(21)).is_ok());
        assert!(sessions.check_place(session, 8, zxid(31)).is_err());
        assert!(sessions.check_place(session, 9, zxid(31)).is_ok());
    }
}
