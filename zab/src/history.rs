//! The newest part of the log, in memory: what learners may have missed, and what is logged but not committed.

use std::collections::VecDeque;

use bytes::Bytes;
use protocol::Zxid;

/// One logged transaction.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Entry {
    /// Its place in the order.
    pub zxid: Zxid,
    /// What stands in the log.
    pub envelope: Bytes,
}

/// Logged transactions in order, without a hole. The oldest committed ones are forgotten first; uncommitted ones stay.
#[derive(Clone, Hash, Debug)]
pub struct History {
    /// The transaction right before the first entry.
    base: Zxid,
    entries: VecDeque<Entry>,
    bytes: usize,
    committed: Zxid,
    last: Zxid,
    entries_max: usize,
    bytes_max: usize,
}

impl History {
    /// After recovery: everything in the log counts as committed until a leader says otherwise.
    pub fn new(last: Zxid, entries_max: usize, bytes_max: usize) -> History {
        History {
            base: last,
            entries: VecDeque::new(),
            bytes: 0,
            committed: last,
            last,
            entries_max,
            bytes_max,
        }
    }

    /// The last transaction in the log.
    pub fn last(&self) -> Zxid {
        self.last
    }

    /// The last transaction known to be committed.
    pub fn committed(&self) -> Zxid {
        self.committed
    }

    /// The transaction right before the oldest that is known.
    pub fn base(&self) -> Zxid {
        self.base
    }

    /// Whether `zxid` may come right after the last transaction: the next of the same epoch or the first of a later one.
    pub fn continues_with(&self, zxid: Zxid) -> bool {
        if zxid.epoch() == self.last.epoch() {
            self.last.counter().checked_add(1) == Some(zxid.counter())
        } else {
            zxid.epoch() > self.last.epoch() && zxid.counter() == 1
        }
    }

    /// A transaction was handed to the log. It must come right after the last one: a learner would take over any hole
    /// (ZOOKEEPER-4925).
    pub fn append(&mut self, zxid: Zxid, envelope: Bytes) {
        assert!(self.continues_with(zxid), "transaction {zxid} does not come right after {}", self.last);
        self.last = zxid;
        self.bytes += envelope.len();
        self.entries.push_back(Entry { zxid, envelope });
    }

    /// What recovery has found at the end of the log: the newest of it that has no hole is kept.
    pub fn preload(&mut self, entries: impl IntoIterator<Item = (Zxid, Bytes)>) {
        let last = self.last;
        self.reset(Zxid::ZERO);
        for (zxid, envelope) in entries {
            if self.last == Zxid::ZERO || !self.continues_with(zxid) {
                // Where the first one follows from is not known, so it only serves as the place to start from.
                self.reset(zxid);
            } else {
                self.append(zxid, envelope);
                self.commit(zxid);
            }
        }
        if self.last != last {
            self.reset(last);
        }
    }

    /// Everything up to here is committed.
    pub fn commit(&mut self, up_to: Zxid) {
        assert!(up_to >= self.committed && up_to <= self.last, "{up_to} cannot be committed");
        self.committed = up_to;
        self.shrink();
    }

    /// The log was cut.
    pub fn truncate(&mut self, to: Zxid) {
        while let Some(entry) = self.entries.back()
            && entry.zxid > to
        {
            self.bytes -= entry.envelope.len();
            self.entries.pop_back();
        }
        if to < self.base {
            self.base = to;
        }
        self.last = to;
        self.committed = self.committed.min(to);
    }

    /// A snapshot replaced the whole history.
    pub fn reset(&mut self, zxid: Zxid) {
        self.entries.clear();
        self.bytes = 0;
        self.base = zxid;
        self.last = zxid;
        self.committed = zxid;
    }

    /// The uncommitted transactions, oldest first.
    pub fn uncommitted(&self) -> impl Iterator<Item = &Entry> {
        let start = self.entries.partition_point(|entry| entry.zxid <= self.committed);
        self.entries.range(start..)
    }

    /// The committed transactions that are still known, oldest first.
    pub fn known_committed(&self) -> impl DoubleEndedIterator<Item = &Entry> + ExactSizeIterator {
        let end = self.entries.partition_point(|entry| entry.zxid <= self.committed);
        self.entries.range(..end)
    }

    fn shrink(&mut self) {
        while (self.entries.len() > self.entries_max || self.bytes > self.bytes_max)
            && self.entries.front().is_some_and(|entry| entry.zxid <= self.committed)
        {
            self.pop_front();
        }
    }

    fn pop_front(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.bytes -= entry.envelope.len();
            self.base = entry.zxid;
        }
    }
}
