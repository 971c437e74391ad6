//! The closed loop: every connection keeps a fixed number of requests under way.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::time::{Duration, Instant};

use anyhow::Result;
use protocol::client::connect::ReplyHeader;
use protocol::{Reader, Xid};

use super::faults::{FaultKind, Faults};
use super::pool::{Handler, Outgoing, Pool};

/// How long one wait for sockets may last, so that deadlines are kept.
const WAIT_MAX: Duration = Duration::from_millis(50);

/// What the connections send, and what they make of the replies.
pub trait Script {
    /// What is remembered about a request until its reply comes.
    type Ticket: Copy + Debug;

    /// Writes the header and the body of the next request of a connection; `None` if it has nothing to send now
    /// (it is asked again after its next reply).
    fn next(&mut self, index: usize, xid: Xid, out: &mut Vec<u8>) -> Option<Self::Ticket>;

    /// Looks at a reply. Its xid and zxid were checked before.
    fn on_reply(&mut self, index: usize, ticket: Self::Ticket, reply: &Reply<'_>, faults: &mut Faults);
}

/// A reply to a request.
#[derive(Debug)]
pub struct Reply<'a> {
    /// From handing the request to the socket to reading the reply from it.
    pub latency_ns: u64,
    /// The zxid of the header.
    pub zxid: i64,
    /// 0, or an error code.
    pub error: i32,
    /// What follows the header.
    pub body: &'a [u8],
}

#[derive(Clone, Copy, Debug)]
struct Sent<T> {
    xid: Xid,
    at_ns: u64,
    ticket: T,
}

#[derive(Debug)]
struct Lane<T> {
    under_way: VecDeque<Sent<T>>,
    zxid_seen: i64,
}

/// A script being played on all connections of a pool.
#[derive(Debug)]
pub struct ClosedLoop<S: Script> {
    /// What is sent.
    pub script: S,
    /// What went wrong.
    pub faults: Faults,
    lanes: Vec<Lane<S::Ticket>>,
    pipeline: usize,
    under_way: usize,
    replies: u64,
    stopping: bool,
}

impl<S: Script> ClosedLoop<S> {
    /// Sends the first `pipeline` requests of every connection.
    pub fn start(pool: &mut Pool, pipeline: usize, script: S) -> ClosedLoop<S> {
        let lane = |_| Lane { under_way: VecDeque::with_capacity(pipeline), zxid_seen: i64::MIN };
        let lanes = (0..pool.len()).map(lane).collect();
        let faults = Faults::default();
        let mut this =
            ClosedLoop { script, faults, lanes, pipeline, under_way: 0, replies: 0, stopping: false };
        for index in 0..pool.len() {
            let now_ns = pool.now_ns();
            if let Some(outgoing) = pool.outgoing(index) {
                this.refill(now_ns, index, outgoing);
                pool.flush(index, &mut this);
            }
        }
        this
    }

    /// Sends one request more than the loop would by itself: with a pipeline of 0, nothing else is ever sent, and
    /// the caller decides when. `false` if the connection is gone or has nothing to send.
    pub fn send_one(&mut self, pool: &mut Pool, index: usize) -> bool {
        let now_ns = pool.now_ns();
        let Some(outgoing) = pool.outgoing(index) else { return false };
        let sent = self.send(now_ns, index, outgoing);
        pool.flush(index, self);
        sent
    }

    /// Plays until `end`.
    pub fn run_until(&mut self, pool: &mut Pool, end: Instant) -> Result<()> {
        while self.under_way > 0 {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            pool.turn(left.min(WAIT_MAX), self)?;
        }
        Ok(())
    }

    /// Sends nothing more and waits for the replies that are still to come, for at most `limit`.
    pub fn drain(&mut self, pool: &mut Pool, limit: Duration) -> Result<()> {
        self.stopping = true;
        self.finish(pool, limit)
    }

    /// Plays until the script has nothing more to send and every reply is there. Gives up when nothing at all
    /// happens for `limit`.
    pub fn finish(&mut self, pool: &mut Pool, limit: Duration) -> Result<()> {
        let mut progress = (Instant::now(), self.replies);
        while self.under_way > 0 {
            pool.turn(WAIT_MAX, self)?;
            if self.replies != progress.1 {
                progress = (Instant::now(), self.replies);
            } else if progress.0.elapsed() > limit {
                let count = self.under_way as u64;
                self.faults.add_many(FaultKind::Missing, count, || format!("no reply within {limit:?}"));
                break;
            }
        }
        Ok(())
    }

    fn refill(&mut self, now_ns: u64, index: usize, outgoing: &mut Outgoing) {
        while !self.stopping && self.lanes[index].under_way.len() < self.pipeline {
            if !self.send(now_ns, index, outgoing) {
                break;
            }
        }
    }

    fn send(&mut self, now_ns: u64, index: usize, outgoing: &mut Outgoing) -> bool {
        let Some((xid, ticket)) = outgoing.request(|xid, out| self.script.next(index, xid, out)) else {
            return false;
        };
        self.lanes[index].under_way.push_back(Sent { xid, at_ns: now_ns, ticket });
        self.under_way += 1;
        true
    }

    fn on_reply(&mut self, now_ns: u64, index: usize, header: ReplyHeader, body: &[u8]) {
        let lane = &mut self.lanes[index];
        let position = match lane.under_way.front() {
            Some(oldest) if oldest.xid == header.xid => Some(0),
            _ => lane.under_way.iter().position(|sent| sent.xid == header.xid),
        };
        let Some(sent) = lane.under_way.remove(position.unwrap_or_default()) else {
            return self.faults.add(FaultKind::Order, || format!("reply {} to no request", header.xid));
        };
        self.under_way -= 1;
        self.replies += 1;
        if position.is_none() {
            // The oldest request is taken as answered: otherwise its answer would be waited for in vain.
            let words = || format!("reply {} instead of {}: {:?}", header.xid, sent.xid, sent.ticket);
            return self.faults.add(FaultKind::Order, words);
        }
        if position != Some(0) {
            let overtaken = lane.under_way.front().map(|oldest| (oldest.xid, oldest.ticket));
            let words = || format!("reply {} {:?} overtook {overtaken:?}", sent.xid, sent.ticket);
            self.faults.add(FaultKind::Order, words);
        }
        // Early errors carry -1 instead of a zxid; the script counts them as refusals.
        if header.error == 0 {
            let seen = std::mem::replace(&mut lane.zxid_seen, header.zxid);
            if header.zxid < seen {
                let words = || format!("0x{:x} after 0x{seen:x}", header.zxid);
                self.faults.add(FaultKind::ZxidBackwards, words);
            }
        }
        let latency_ns = now_ns.saturating_sub(sent.at_ns);
        let reply = Reply { latency_ns, zxid: header.zxid, error: header.error, body };
        self.script.on_reply(index, sent.ticket, &reply, &mut self.faults);
    }
}

impl<S: Script> Handler for ClosedLoop<S> {
    fn on_frame(&mut self, now_ns: u64, index: usize, frame: &[u8], outgoing: &mut Outgoing) {
        let mut reader = Reader::new(frame);
        match ReplyHeader::read(&mut reader) {
            Err(error) => self.faults.add(FaultKind::Body, || format!("reply header: {error}")),
            Ok(header) if header.xid == Xid::WATCH_EVENT => {
                self.faults.add(FaultKind::UnexpectedEvent, || "nobody set a watch".to_owned());
            }
            Ok(header) => {
                self.on_reply(now_ns, index, header, reader.rest());
                self.refill(now_ns, index, outgoing);
            }
        }
    }

    fn on_closed(&mut self, index: usize, why: &str) {
        let lost = std::mem::take(&mut self.lanes[index].under_way).len();
        self.under_way -= lost;
        self.faults.add(FaultKind::Connection, || format!("{why} ({lost} requests under way)"));
    }
}
