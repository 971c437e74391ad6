//! Requests that wait to be sent, and requests that wait for their answers.

use std::collections::VecDeque;

use protocol::{OpCode, Xid};

use super::settings::Limits;
use super::watches::{Registration, WatchScope};

/// What the answer to a request changes besides telling the caller.
#[derive(Debug)]
pub enum Effect<W> {
    /// Nothing.
    None,
    /// A watch is set, if the answer says so.
    Watch(Box<Registration<W>>),
    /// The watches of a path are removed.
    Unwatch(Box<(String, WatchScope)>),
    /// The session is closed.
    Close,
}

/// A request, sent or not.
#[derive(Debug)]
pub struct Pending<T, W> {
    /// Its number, once it is sent.
    pub xid: Xid,
    /// The operation.
    pub op: OpCode,
    /// Whose; `None` when nobody waits for the answer (any more).
    pub token: Option<T>,
    /// When the caller's patience ends; `u64::MAX` for never.
    pub deadline_ms: u64,
    /// See there.
    pub effect: Effect<W>,
    /// Length of the frame.
    pub bytes: usize,
    /// Where it begins in what was sent on this connection.
    pub begins_at: u64,
}

/// Both queues. Order is kept throughout: what was called first is sent and answered first.
#[derive(Debug)]
pub struct Line<T, W> {
    /// Sent, oldest first.
    pub in_flight: VecDeque<Pending<T, W>>,
    in_flight_bytes: usize,
    /// Not sent, oldest first, each with its frame; the xid in it is put in when it is sent.
    pub waiting: VecDeque<(Pending<T, W>, Vec<u8>)>,
    waiting_bytes: usize,
    /// Not later than the earliest deadline in both.
    earliest_deadline_ms: u64,
    limits: Limits,
}

impl<T, W> Line<T, W> {
    pub fn new(limits: Limits) -> Line<T, W> {
        Line {
            in_flight: VecDeque::new(),
            in_flight_bytes: 0,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            earliest_deadline_ms: u64::MAX,
            limits,
        }
    }

    /// Whether a request may be sent now.
    pub fn window_is_open(&self) -> bool {
        self.in_flight.len() < self.limits.in_flight_requests
            && self.in_flight_bytes < self.limits.in_flight_bytes
    }

    /// Whether a request may wait.
    pub fn has_room(&self) -> bool {
        self.waiting.len() < self.limits.waiting_requests && self.waiting_bytes < self.limits.waiting_bytes
    }

    /// Keeps a request that was just sent.
    pub fn push_sent(&mut self, pending: Pending<T, W>) {
        self.earliest_deadline_ms = self.earliest_deadline_ms.min(pending.deadline_ms);
        self.in_flight_bytes += pending.bytes;
        self.in_flight.push_back(pending);
    }

    /// Lets a request wait behind all others.
    pub fn push_waiting(&mut self, pending: Pending<T, W>, frame: Vec<u8>) {
        self.earliest_deadline_ms = self.earliest_deadline_ms.min(pending.deadline_ms);
        self.waiting_bytes += frame.len();
        self.waiting.push_back((pending, frame));
    }

    /// The next request that may be sent.
    pub fn pop_waiting(&mut self) -> Option<(Pending<T, W>, Vec<u8>)> {
        if !self.window_is_open() {
            return None;
        }
        let (pending, frame) = self.waiting.pop_front()?;
        self.waiting_bytes -= frame.len();
        Some((pending, frame))
    }

    /// The request that the next answer belongs to.
    pub fn pop_answered(&mut self, xid: Xid) -> Option<Pending<T, W>> {
        let pending = self.in_flight.pop_front_if(|oldest| oldest.xid == xid)?;
        self.in_flight_bytes -= pending.bytes;
        Some(pending)
    }

    /// Everything that was sent, oldest first.
    pub fn take_in_flight(&mut self) -> VecDeque<Pending<T, W>> {
        self.in_flight_bytes = 0;
        std::mem::take(&mut self.in_flight)
    }

    /// Everything that was not, oldest first.
    pub fn take_waiting(&mut self) -> VecDeque<(Pending<T, W>, Vec<u8>)> {
        self.waiting_bytes = 0;
        std::mem::take(&mut self.waiting)
    }

    /// When [`Line::expire`] is to be called.
    pub fn next_deadline_ms(&self) -> u64 {
        self.earliest_deadline_ms
    }

    /// Gives up the requests whose time is up: those that were sent lose their caller but keep their place, the
    /// others go. Returns both kinds: tokens, and whole requests.
    pub fn expire(&mut self, now_ms: u64) -> Expired<T, W> {
        let mut expired = Expired { sent: Vec::new(), unsent: Vec::new() };
        if now_ms < self.earliest_deadline_ms {
            return expired;
        }
        let mut earliest = u64::MAX;
        for pending in &mut self.in_flight {
            if pending.deadline_ms <= now_ms {
                pending.deadline_ms = u64::MAX;
                expired.sent.extend(pending.token.take().map(|token| (token, pending.op)));
            }
            earliest = earliest.min(pending.deadline_ms);
        }
        let mut kept = VecDeque::with_capacity(self.waiting.len());
        for (pending, frame) in self.waiting.drain(..) {
            if pending.deadline_ms <= now_ms {
                self.waiting_bytes -= frame.len();
                expired.unsent.push(pending);
            } else {
                earliest = earliest.min(pending.deadline_ms);
                kept.push_back((pending, frame));
            }
        }
        self.waiting = kept;
        self.earliest_deadline_ms = earliest;
        expired
    }
}

/// What [`Line::expire`] gave up.
pub struct Expired<T, W> {
    /// Sent.
    pub sent: Vec<(T, OpCode)>,
    /// Not sent.
    pub unsent: Vec<Pending<T, W>>,
}
