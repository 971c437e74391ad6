//! The session: a pure machine. It has no socket, no clock and no randomness of its own; it is told what arrives and
//! what time it is, and says what is to be sent and done.
//!
//! Inputs are the methods that take `now_ms`, a clock that never goes back. Whoever calls one carries out
//! [`Session::take_outputs`] in their order afterwards, sends [`Session::take_bytes`], and comes back at
//! [`Session::next_deadline_ms`] at the latest. `T` names a request, `W` a watcher; the core hands them back.
//!
//! Two promises shape it. **A prefix, never a gap**: when a connection is lost, everything called before fails, what
//! was sent as well as what was not, so that of a pipeline the beginning is applied or nothing. What is called after
//! the loss waits for the next connection. **Only a server ends a session**: silence makes it
//! [`State::Suspended`], first hopeful, then overdue, but never [`State::Expired`].
//!
//! Read next: `line` (requests), `watches` (who waits for what), `reply` (what servers say), `link` (connections),
//! `identifying` and `sasl` (who the client is).

mod credentials;
mod identifying;
mod line;
mod link;
mod output;
mod reply;
mod sasl;
mod settings;
#[cfg(test)]
mod tests;
mod watches;

use protocol::client::connect::RequestHeader;
use protocol::client::watch::AddWatchMode;
use protocol::jute::FrameStart;
use protocol::{OpCode, SessionId, Xid};

use crate::connect_string::Host;
use crate::error::{Error, Fate, InvalidRequest};
use crate::hosts::Hosts;
use crate::rng::Rng;

pub use line::Effect;
pub use output::{End, Heard, Link, NodeEvent, Note, Output, State, Ticket};
pub use sasl::SaslLogin;
pub use settings::{Limits, SessionSettings};
pub use watches::{Registration, WatchKind, WatchScope, WatcherId};

use credentials::Credentials;
use identifying::Identifying;
use line::{Line, Pending};
use link::Phase;
use watches::WatchTable;

/// A request without its body.
#[derive(Debug)]
pub struct Call<T, W> {
    /// The operation.
    pub op: OpCode,
    /// Whose.
    pub token: T,
    /// When the caller's patience ends; `u64::MAX` for never.
    pub deadline_ms: u64,
    /// What the answer changes.
    pub effect: Effect<W>,
}

/// See the [module](self).
#[derive(Debug)]
pub struct Session<T, W> {
    settings: SessionSettings,
    hosts: Hosts,
    rng: Rng,
    phase: Phase,
    link: Link,
    state: State,
    /// The session that a writable server gave us. What a read-only one gives is not worth coming back to.
    ticket: Option<Ticket>,
    /// The session of this connection or the last one.
    session: SessionId,
    timeout_ms: u64,
    /// The highest zxid of a reply: watches that are set again must tell of everything after it.
    ///
    /// Events do not count, because of one transaction's events only the first may have arrived. Nor do answers to
    /// setWatches, because later batches may have more to tell.
    zxid_replied: i64,
    /// The highest zxid of anything: no server that is behind it may serve us.
    zxid_seen: i64,
    last_heard_ms: u64,
    last_sent_ms: u64,
    next_xid: i32,
    line: Line<T, W>,
    watches: WatchTable<W>,
    credentials: Credentials<T>,
    /// When to stop waiting for a session that is being closed.
    closing_until_ms: Option<u64>,
    /// What is to be sent on this connection, and how much of it has been taken away.
    out: Vec<u8>,
    taken: u64,
    /// The beginning of a frame.
    input: Vec<u8>,
    outputs: Vec<Output<T, W>>,
    tells_heard: bool,
}

impl<T, W: Clone> Session<T, W> {
    /// A session that wants to be connected at once; the first [`Session::on_tick`] says where to.
    pub fn new(settings: SessionSettings, hosts: Vec<Host>, now_ms: u64) -> Session<T, W> {
        assert!(!hosts.is_empty(), "a session needs a server");
        let mut rng = Rng::new(settings.seed);
        Session {
            hosts: Hosts::new(hosts, &mut rng),
            rng,
            phase: Phase::Waiting { dial_at_ms: now_ms },
            link: Link(0),
            state: State::Connecting,
            ticket: settings.resume,
            session: settings.resume.map_or(SessionId::NONE, |ticket| ticket.session),
            timeout_ms: u64::from(settings.timeout_ms),
            zxid_replied: 0,
            zxid_seen: 0,
            last_heard_ms: now_ms,
            last_sent_ms: now_ms,
            next_xid: 1,
            line: Line::new(settings.limits),
            watches: WatchTable::new(),
            credentials: Credentials::new(),
            closing_until_ms: None,
            out: Vec::new(),
            taken: 0,
            input: Vec::new(),
            outputs: Vec::new(),
            tells_heard: false,
            settings,
        }
    }

    /// What the session is doing.
    pub fn state(&self) -> State {
        self.state
    }

    /// What it takes to come back to this session; `None` before there is one, and on a read-only server.
    pub fn ticket(&self) -> Option<Ticket> {
        self.ticket
    }

    /// The session of this connection or the last one; 0 before the first.
    pub fn session_id(&self) -> SessionId {
        self.session
    }

    /// The server that is connected, or was tried last.
    pub fn server(&self) -> Option<&Host> {
        self.hosts.current()
    }

    /// The session timeout: the negotiated one, or before that the one that is asked for.
    pub fn timeout_ms(&self) -> u64 {
        self.timeout_ms
    }

    /// From now on, what reaches the watches is also told by itself: [`Output::Heard`].
    pub fn tell_heard(&mut self) {
        self.tells_heard = true;
    }

    /// Appends what is to be done now, in this order.
    pub fn take_outputs(&mut self, outputs: &mut Vec<Output<T, W>>) {
        outputs.append(&mut self.outputs);
    }

    /// Whether [`Session::take_outputs`] or [`Session::take_bytes`] has something.
    pub fn has_work(&self) -> bool {
        !self.outputs.is_empty() || !self.out.is_empty()
    }

    /// Exchanges an empty buffer for the bytes that are to be sent on a connection. They count as sent, unless
    /// [`Session::on_closed`] says otherwise.
    pub fn take_bytes(&mut self, link: Link, buffer: &mut Vec<u8>) {
        debug_assert!(buffer.is_empty(), "what was taken before must be sent first");
        if link == self.link {
            self.taken += self.out.len() as u64;
            std::mem::swap(&mut self.out, buffer);
        }
    }

    /// Whether another request would be taken up.
    pub fn has_room(&self) -> bool {
        self.line.has_room()
    }

    /// Takes up a request: it is sent behind everything that was called before. `body` appends it.
    pub fn call(
        &mut self,
        now_ms: u64,
        call: Call<T, W>,
        body: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), Error> {
        if let Phase::Ended(end) = self.phase {
            return Err(end.error());
        }
        if self.closing_until_ms.is_some() {
            return Err(Error::Closed);
        }
        self.enqueue(now_ms, call.op, Some(call.token), call.deadline_ms, call.effect, body)
    }

    fn enqueue(
        &mut self,
        now_ms: u64,
        op: OpCode,
        token: Option<T>,
        deadline_ms: u64,
        effect: Effect<W>,
        body: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), Error> {
        let mut pending =
            Pending { xid: Xid::new(0), op, token, deadline_ms, effect, bytes: 0, begins_at: 0 };
        let at_once =
            self.phase.takes_requests() && self.line.waiting.is_empty() && self.line.window_is_open();
        if at_once {
            pending.xid = Xid::new(self.next_xid);
            pending.begins_at = self.taken + self.out.len() as u64;
            pending.bytes =
                append_frame(&mut self.out, pending.xid, op, self.settings.limits.request_bytes, body)?;
            self.next_xid = self.next_xid.checked_add(1).unwrap_or(1);
            self.last_sent_ms = now_ms;
            self.note_asked(&pending);
            self.line.push_sent(pending);
        } else {
            // The end of a session must not be kept out by those who wait.
            if !self.line.has_room() && !matches!(pending.effect, Effect::Close) {
                return Err(Error::LineFull);
            }
            let mut frame = Vec::new();
            pending.bytes =
                append_frame(&mut frame, pending.xid, op, self.settings.limits.request_bytes, body)?;
            self.note_asked(&pending);
            self.line.push_waiting(pending, frame);
        }
        Ok(())
    }

    fn note_asked(&mut self, pending: &Pending<T, W>) {
        if let Effect::Watch(registration) = &pending.effect {
            self.watches.on_asked(registration);
        }
    }

    fn take_xid(&mut self) -> Xid {
        let xid = Xid::new(self.next_xid);
        self.next_xid = self.next_xid.checked_add(1).unwrap_or(1);
        xid
    }

    /// Sends what waits, as far as the window allows.
    fn pump(&mut self, now_ms: u64) {
        while self.phase.takes_requests()
            && let Some((mut pending, frame)) = self.line.pop_waiting()
        {
            pending.xid = self.take_xid();
            pending.begins_at = self.taken + self.out.len() as u64;
            self.out.extend_from_slice(&frame);
            let xid_at = self.out.len() - frame.len() + 4;
            self.out[xid_at..xid_at + 4].copy_from_slice(&pending.xid.get().to_be_bytes());
            self.last_sent_ms = now_ms;
            self.line.push_sent(pending);
        }
    }

    /// Presents credentials, now and on every connection to come. Completes when a server has accepted them.
    pub fn add_credentials(
        &mut self,
        now_ms: u64,
        scheme: &str,
        auth: &[u8],
        token: T,
        deadline_ms: u64,
    ) -> Result<(), Error> {
        match &self.phase {
            Phase::Ended(end) => return Err(end.error()),
            _ if self.closing_until_ms.is_some() => return Err(Error::Closed),
            _ => {}
        }
        let limit = self.settings.limits.request_bytes;
        let bytes = scheme.len() + auth.len() + 20;
        if bytes > limit {
            return Err(InvalidRequest::TooLarge { bytes, limit }.into());
        }
        let index = self.credentials.add(scheme, auth, token, deadline_ms)?;
        if matches!(self.phase, Phase::Online(_)) {
            self.credentials.present(index, &mut self.out);
            self.last_sent_ms = now_ms;
        }
        Ok(())
    }

    /// Nobody wants a watch any more. If nobody else watches the path, the server is told, too.
    pub fn drop_watcher(&mut self, now_ms: u64, watcher: WatcherId, path: &str) {
        if self.watches.drop_watcher(watcher, path) {
            self.forget_on_server(now_ms, path);
        }
    }

    /// Takes a path's watches off the server. "Any" is the one scope that all versions understand alike, and nobody
    /// has a watch there. Should it not work, what comes of these watches is ignored, and the next connection does
    /// not set them.
    fn forget_on_server(&mut self, now_ms: u64, path: &str) {
        if !matches!(self.phase, Phase::Online(_)) || self.closing_until_ms.is_some() {
            return;
        }
        let request = protocol::client::request::Request::RemoveWatches {
            path: path.into(),
            kind: WatchScope::Any.to_wire(),
        };
        let _ = self
            .enqueue(now_ms, OpCode::RemoveWatches, None, u64::MAX, Effect::None, |out| request.write(out));
    }

    /// What calls fail with because the session is over; `None` before that.
    pub fn over(&self) -> Option<Error> {
        match self.phase {
            Phase::Ended(end) => Some(end.error()),
            _ => None,
        }
    }

    /// Closes the session behind everything that was called before; nothing more is taken up. Without a connection
    /// it ends at once, and the server finds out when the session times out.
    pub fn close(&mut self, now_ms: u64, token: Option<T>, patience_ms: u64) {
        if matches!(self.phase, Phase::Ended(_)) || self.closing_until_ms.is_some() {
            if let Some(token) = token {
                self.outputs.push(Output::Completed { token, result: Err(Error::Closed) });
            }
            return;
        }
        if !matches!(self.phase, Phase::Online(_)) {
            self.fail_calls(End::Closed);
            if let Some(token) = token {
                // Nothing can be left on a server if there never was a session.
                let result = match self.ticket {
                    None => Ok(protocol::client::response::Response::Empty),
                    Some(_) => Err(Error::ConnectionLost(Fate::NotApplied)),
                };
                self.outputs.push(Output::Completed { token, result });
            }
            return self.end(End::Closed);
        }
        let until_ms = now_ms + patience_ms;
        let queued = self.enqueue(now_ms, OpCode::CloseSession, token, until_ms, Effect::Close, |_| {});
        debug_assert!(queued.is_ok(), "an empty body is never too large, and a close is never kept out");
        self.closing_until_ms = Some(until_ms);
    }

    /// The shell is going away: everything that waits fails.
    pub fn abandon(&mut self) {
        if !matches!(self.phase, Phase::Ended(_)) {
            self.end(End::Closed);
        }
    }

    /// When [`Session::on_tick`] is to be called at the latest; `u64::MAX` for never.
    pub fn next_deadline_ms(&self) -> u64 {
        let phase = match &self.phase {
            Phase::Ended(_) => return u64::MAX,
            Phase::Waiting { dial_at_ms } => *dial_at_ms,
            Phase::Dialing { give_up_ms }
            | Phase::Handshaking { give_up_ms }
            | Phase::Identifying(Identifying { give_up_ms, .. }) => *give_up_ms,
            Phase::Online(online) => self.online_deadline_ms(online),
        };
        let overdue = match self.state {
            State::Suspended { overdue: false } => self.overdue_at_ms(),
            _ => u64::MAX,
        };
        phase
            .min(overdue)
            .min(self.line.next_deadline_ms())
            .min(self.credentials.next_deadline_ms())
            .min(self.closing_until_ms.unwrap_or(u64::MAX))
    }

    /// Time has passed.
    pub fn on_tick(&mut self, now_ms: u64) {
        if matches!(self.phase, Phase::Ended(_)) {
            return;
        }
        self.expire_requests(now_ms);
        if self.closing_until_ms.is_some_and(|until_ms| until_ms <= now_ms) {
            return self.end(End::Closed);
        }
        self.tick_link(now_ms);
        if self.state == (State::Suspended { overdue: false }) && now_ms >= self.overdue_at_ms() {
            self.enter(State::Suspended { overdue: true });
        }
    }

    /// Java's client gives a session up at this time (since 3.9.3). We only warn: a new leader may give all sessions
    /// a fresh timeout.
    fn overdue_at_ms(&self) -> u64 {
        self.last_heard_ms + self.timeout_ms * 4 / 3
    }

    fn expire_requests(&mut self, now_ms: u64) {
        let expired = self.line.expire(now_ms);
        for (token, op) in expired.sent {
            // It stays in the stream, also if it was not taken from here yet.
            let result = Err(Error::TimedOut(output::fate(op.is_write(), true)));
            self.outputs.push(Output::Completed { token, result });
        }
        for pending in expired.unsent {
            if let Effect::Watch(registration) = pending.effect {
                self.watches.on_answered(*registration, None);
            }
            if let Some(token) = pending.token {
                let result = Err(Error::TimedOut(Fate::NotApplied));
                self.outputs.push(Output::Completed { token, result });
            }
        }
        for token in self.credentials.expire(now_ms) {
            let result = Err(Error::TimedOut(Fate::NotApplied));
            self.outputs.push(Output::Completed { token, result });
        }
    }

    fn enter(&mut self, state: State) {
        if self.state != state {
            self.state = state;
            self.outputs.push(Output::State(state));
        }
    }

    /// The session is over: everybody hears it.
    fn end(&mut self, end: End) {
        self.outputs.push(Output::Hang);
        self.fail_calls(end);
        for sink in self.watches.take_all() {
            self.outputs.push(Output::Note { sink, note: Note::Ended(end) });
        }
        self.phase = Phase::Ended(end);
        self.closing_until_ms = None;
        self.out = Vec::new();
        self.input = Vec::new();
        self.enter(end.state());
    }

    /// Nothing that was called gets an answer any more. What is under way may still be carried out: that the session is
    /// over says nothing about it.
    fn fail_calls(&mut self, end: End) {
        for pending in self.line.take_in_flight() {
            if let Some(token) = pending.token {
                let error = match output::fate(pending.op.is_write(), pending.begins_at < self.taken) {
                    Fate::MaybeApplied => Error::ConnectionLost(Fate::MaybeApplied),
                    Fate::NotApplied => end.error(),
                };
                self.outputs.push(Output::Completed { token, result: Err(error) });
            }
        }
        let waiting = self.line.take_waiting().into_iter().filter_map(|(pending, _)| pending.token);
        for token in waiting.chain(self.credentials.take_waiting()) {
            self.outputs.push(Output::Completed { token, result: Err(end.error()) });
        }
    }
}

/// Appends a request's frame and returns its length; appends nothing if it is too long.
fn append_frame(
    out: &mut Vec<u8>,
    xid: Xid,
    op: OpCode,
    limit: usize,
    body: impl FnOnce(&mut Vec<u8>),
) -> Result<usize, Error> {
    let begin = out.len();
    let frame = FrameStart::open(out);
    RequestHeader { xid, op: op.to_wire() }.write(out);
    body(out);
    let bytes = out.len() - begin;
    if bytes - 4 > limit {
        frame.abandon(out);
        return Err(InvalidRequest::TooLarge { bytes: bytes - 4, limit }.into());
    }
    frame.close(out);
    Ok(bytes)
}

/// The kind of watch that an operation's answer sets.
fn kind_set(
    registration: WatchKind,
    op: OpCode,
    answer: Result<(), protocol::ErrorCode>,
) -> Option<WatchKind> {
    match (op, answer) {
        (_, Ok(())) => Some(registration),
        (OpCode::Exists, Err(protocol::ErrorCode::NoNode)) => Some(WatchKind::Exist),
        _ => None,
    }
}

impl WatchKind {
    /// The mode of addWatch; `None` for one-shot watches, which reads set.
    pub fn mode(self) -> Option<AddWatchMode> {
        match self {
            WatchKind::Persistent => Some(AddWatchMode::Persistent),
            WatchKind::Recursive => Some(AddWatchMode::PersistentRecursive),
            WatchKind::Data | WatchKind::Exist | WatchKind::Children => None,
        }
    }
}
