//! What was called, and what the client has said of it: results in the order of the calls, each once, and true.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ferrokeeper_client::session::State;
use ferrokeeper_client::{Error, Fate};
use protocol::client::connect::ReplyHeader;
use protocol::client::request::Request;
use protocol::client::response::Response;
use protocol::{ErrorCode, OpCode, Reader, SessionId, Xid, Zxid};

use super::figures::Tally;
use crate::checkers::origin::Sent;
use crate::checkers::{Verdict, Violation, ensure, linearizable, real_time};
use crate::model::{Model, Who};

const ORDER: &str = "results in the order of the calls";
const TRUE: &str = "results are true";
const WIRE: &str = "what is sent is what was called";

/// A call.
#[derive(Clone, Debug)]
pub struct Called {
    /// Its operation.
    pub op: OpCode,
    body: Vec<u8>,
    /// Its number on the wire, once it was sent.
    xid: Option<Xid>,
    /// What any client had seen when it was sent.
    seen: Zxid,
    /// What came back.
    answer: Option<(ReplyHeader, Vec<u8>)>,
}

impl Called {
    /// The request.
    pub fn request(&self) -> Request<'_> {
        Request::read(self.op, &self.body).expect("applications call what can be read")
    }

    /// When it was answered.
    pub fn answered_at(&self) -> Zxid {
        self.answer.as_ref().map_or(Zxid::ZERO, |(header, _)| Zxid::from_wire(header.zxid))
    }
}

/// What was said of a write without an answer, to be held against what has happened in the end.
#[derive(Debug)]
struct Said {
    session: SessionId,
    xid: Xid,
    error: Error,
}

/// A frame that has come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Came {
    /// The answer to the watches of a new connection, as of this zxid.
    WatchesSet(Zxid),
    /// The answer to a request, as of this zxid.
    Answer(Zxid),
    /// Anything else.
    Other,
}

/// All calls of a session, and what went over its connections.
#[derive(Debug, Default)]
pub struct Book {
    calls: BTreeMap<u64, Called>,
    /// Called and without a result, oldest first.
    open: VecDeque<u64>,
    /// Called and not seen on a connection, oldest first.
    unsent: VecDeque<u64>,
    /// Sent on this connection and not answered; those that no caller waits for have no token.
    due: VecDeque<(Xid, Option<u64>)>,
    /// Writes whose time was up before they went out, and that may go out all the same.
    late: BTreeMap<u64, Error>,
    credentials: BTreeSet<u64>,
    said: Vec<Said>,
    last_xid: i32,
    /// The highest zxid that has come in an answer or an event.
    seen: i64,
}

impl Book {
    /// Another session: what was said of writes in the one before still counts.
    pub fn turn_the_page(&mut self) {
        let said = std::mem::take(&mut self.said);
        *self = Book { said, ..Book::default() };
    }

    /// Whether every call has its result.
    pub fn is_settled(&self) -> bool {
        self.open.is_empty()
    }

    /// How many calls have no result.
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// The number that the next request can have.
    pub fn next_xid(&self) -> i32 {
        self.last_xid + 1
    }

    /// The highest zxid that was seen.
    pub fn seen(&self) -> i64 {
        self.seen
    }

    /// Something is called.
    pub fn on_called(&mut self, token: u64, op: OpCode, body: Vec<u8>) {
        self.calls.insert(token, Called { op, body, xid: None, seen: Zxid::ZERO, answer: None });
        self.open.push_back(token);
        self.unsent.push_back(token);
    }

    /// The client did not take it up.
    pub fn on_not_taken(&mut self, token: u64) {
        self.calls.remove(&token);
        self.open.retain(|&open| open != token);
        self.unsent.retain(|&unsent| unsent != token);
    }

    /// Credentials were added.
    pub fn on_credentials(&mut self, token: u64) {
        self.credentials.insert(token);
    }

    /// A request goes out: it is the next call, or one of the client's own.
    pub fn on_sent(
        &mut self,
        session: SessionId,
        (xid, op): (Xid, OpCode),
        body: &[u8],
        window: usize,
        seen: Zxid,
    ) -> Result<Option<Sent>, Violation> {
        ensure(xid.get() > self.last_xid, WIRE, || format!("request {xid} comes behind {}", self.last_xid))?;
        self.last_xid = xid.get();
        let next = self.unsent.front().copied();
        let is_next = |called: &Called| called.op == op && called.body == body;
        let token = next.filter(|token| is_next(&self.calls[token]));
        match token {
            Some(token) => {
                self.unsent.pop_front();
                let called = self.calls.get_mut(&token).expect("it was just found");
                (called.xid, called.seen) = (Some(xid), seen);
                if let Some(error) = self.late.remove(&token) {
                    self.said.push(Said { session, xid, error });
                }
            }
            // Watches that nobody wants any more are removed unasked.
            None => ensure(op == OpCode::RemoveWatches, WIRE, || {
                format!("{op:?} is sent as {xid}, and the next call is {next:?}")
            })?,
        }
        self.due.push_back((xid, token));
        ensure(self.due.len() <= window, WIRE, || {
            format!("{} requests wait for answers, and {window} may", self.due.len())
        })?;
        let sent = Sent { op: op.to_wire(), body: body.to_vec(), who: Who::Anyone, seen };
        Ok(op.is_write().then_some(sent))
    }

    /// What a handshake must say.
    pub fn check_handshake(&self, last_zxid_seen: i64) -> Verdict {
        ensure(last_zxid_seen == self.seen, "what was seen is presented", || {
            format!("the handshake says {last_zxid_seen:#x}, and {:#x} was seen", self.seen)
        })
    }

    /// A frame comes, but for the handshake's.
    pub fn on_frame(&mut self, header: &ReplyHeader, body: &[u8]) -> Result<Came, Violation> {
        match header.xid {
            Xid::PING | Xid::AUTH => Ok(Came::Other),
            Xid::SET_WATCHES => Ok(Came::WatchesSet(Zxid::from_wire(header.zxid))),
            Xid::WATCH_EVENT => {
                self.on_zxid(header.zxid)?;
                Ok(Came::Other)
            }
            xid => {
                let due = self.due.pop_front();
                let (_, token) = due.filter(|(due, _)| *due == xid).ok_or_else(|| {
                    Violation::new("session order", format!("{xid} is answered, and {due:?} is due"))
                })?;
                self.on_zxid(header.zxid)?;
                if let Some(called) = token.and_then(|token| self.calls.get_mut(&token)) {
                    called.answer = Some((*header, body.to_vec()));
                }
                Ok(Came::Answer(Zxid::from_wire(header.zxid)))
            }
        }
    }

    /// Nothing that a session sees goes back, from server to server. 0 and -1 stand for no zxid.
    fn on_zxid(&mut self, zxid: i64) -> Verdict {
        if zxid <= 0 {
            return Ok(());
        }
        ensure(zxid >= self.seen, "nothing goes back", || {
            format!("{zxid:#x} came, and {:#x} was seen before", self.seen)
        })?;
        self.seen = zxid;
        Ok(())
    }

    /// The connection is gone. Returns how many answers were due.
    pub fn on_connection_lost(&mut self) -> usize {
        for late in std::mem::take(&mut self.late).into_keys() {
            self.calls.remove(&late);
            self.unsent.retain(|&unsent| unsent != late);
        }
        std::mem::take(&mut self.due).len()
    }

    /// A call has its result. Returns the call, unless credentials have it.
    pub fn on_completed(
        &mut self,
        (model, session, token): (&Model, SessionId, u64),
        result: &Result<Response, Error>,
        tally: &mut Tally,
    ) -> Result<Option<Called>, Violation> {
        if self.credentials.remove(&token) {
            tally.note_if(result.is_ok(), "credentials accepted");
            return Ok(None);
        }
        let place = self.open.iter().position(|&open| open == token).ok_or_else(|| {
            Violation::new(ORDER, format!("call {token} has a result, and waits for none: {result:?}"))
        })?;
        let is_late = matches!(result, Err(Error::TimedOut(_)));
        ensure(place == 0 || is_late, ORDER, || {
            format!("call {token} has a result before {:?}: {result:?}", self.open.front())
        })?;
        self.open.remove(place);
        let called = self.calls.remove(&token).expect("calls without a result are kept");
        if called.xid.is_none() {
            match result {
                Err(error @ Error::TimedOut(Fate::MaybeApplied)) => {
                    self.late.insert(token, error.clone());
                    self.calls.insert(token, called.clone());
                }
                // What failed before it was sent is never sent.
                _ => self.unsent.retain(|&unsent| unsent != token),
            }
        }
        match result {
            Ok(_) | Err(Error::Refused(_)) => check_answer(model, session, &called, result, tally)?,
            Err(error) => self.on_failed(session, &called, error, tally)?,
        }
        Ok(Some(called))
    }

    fn on_failed(
        &mut self,
        session: SessionId,
        called: &Called,
        error: &Error,
        tally: &mut Tally,
    ) -> Verdict {
        let known = matches!(
            error,
            Error::ConnectionLost(_) | Error::TimedOut(_) | Error::SessionExpired | Error::Closed
        );
        ensure(known, TRUE, || format!("{:?} failed with {error:?}", called.op))?;
        tally.note_if(matches!(error, Error::TimedOut(_)), "call timed out");
        tally.note_if(called.xid.is_none(), "call failed that was never sent");
        match (called.op.is_write(), called.xid) {
            (true, Some(xid)) => self.said.push(Said { session, xid, error: error.clone() }),
            (true, None) => {}
            (false, _) => {
                let changes = matches!(
                    error,
                    Error::ConnectionLost(Fate::MaybeApplied) | Error::TimedOut(Fate::MaybeApplied)
                );
                ensure(!changes, TRUE, || format!("a read is said to have changed something: {error}"))?;
            }
        }
        Ok(())
    }

    /// Everything that was said of writes without an answer, against the whole history.
    pub fn judge(&self, model: &Model, tally: &mut Tally) -> Verdict {
        let done: BTreeSet<(SessionId, i32)> = model
            .records_between(Zxid::ZERO, model.last())
            .iter()
            .map(|record| (record.session, record.cxid))
            .collect();
        for Said { session, xid, error } in &self.said {
            let was_done = done.contains(&(*session, xid.get()));
            tally.note(if was_done { "lost write was done" } else { "lost write was not done" });
            ensure(error.may_have_happened() || !was_done, TRUE, || {
                format!("write {xid} of session {session} was done, and its caller was told: {error}")
            })?;
        }
        Ok(())
    }
}

/// A result is what the server's answer to this very call says, and that is what the history says.
fn check_answer(
    model: &Model,
    session: SessionId,
    called: &Called,
    result: &Result<Response, Error>,
    tally: &mut Tally,
) -> Verdict {
    let (op, xid) = (called.op, called.xid);
    if op == OpCode::CloseSession && session == SessionId::NONE {
        // There was nothing to close.
        return Ok(());
    }
    let Some((header, body)) = &called.answer else {
        return Err(Violation::new(TRUE, format!("{op:?}, sent as {xid:?}, has no answer, but: {result:?}")));
    };
    let code = ErrorCode::from_wire(header.error);
    let expected = match code {
        Some(code) => Err(Error::Refused(code)),
        None => Ok(Response::read(op, &mut Reader::new(body))
            .map_err(|error| Violation::new("frames", error.to_string()))?),
    };
    ensure(*result == expected, TRUE, || {
        format!("{op:?}, sent as {xid:?}, was answered with {expected:?}, and its caller was told {result:?}")
    })?;
    tally.figures.answers += 1;
    tally.note_if(op == OpCode::Sync, "sync answered");
    if code == Some(ErrorCode::SessionExpired) {
        return Ok(());
    }
    if op.is_write() {
        tally.note_if(header.error != 0, "write refused");
        return linearizable::check_write(model, session, header, body);
    }
    if op == OpCode::Sync {
        real_time::check_sync(called.seen, Zxid::from_wire(header.zxid))?;
    }
    let caller = (session, Who::Anyone);
    linearizable::check_read(model, caller, op, &called.request(), header, body).map(drop)
}

/// Whether one state may follow another.
pub fn check_states(before: State, after: State) -> Verdict {
    let legal = match (before, after) {
        (State::Connecting | State::Suspended { .. }, State::Connected) => true,
        (State::Connected, State::Suspended { overdue: false }) => true,
        (State::Suspended { overdue: false }, State::Suspended { overdue: true }) => true,
        (before, after) => !before.is_final() && after.is_final(),
    };
    ensure(legal, "states", || format!("{before:?} became {after:?}"))
}
