//! What is under way: ordered but not answered yet.

use std::collections::VecDeque;
use std::ops::Range;

use protocol::{ErrorCode, SessionId, Xid, Zxid};

use crate::input::ConnectionId;

/// What will complete an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Work {
    /// A transaction, complete when it is committed; its bytes are the envelope.
    Transaction(Zxid),
    /// A write that the leader was asked for, complete when its transaction comes back; no bytes.
    Forwarded,
    /// A sync, complete when so many of them are; its bytes are the request's body.
    Sync(u64),
    /// A request that changes nothing, complete when everything before it is; its bytes are the request's body.
    Read,
    /// A request that is refused without a transaction, in its turn.
    Refused(ErrorCode),
    /// An answer that was made elsewhere and only waits its turn; its bytes are the frame.
    Relay {
        /// Whether the connection ends with it.
        close: bool,
    },
    /// A session that only this server knows begins.
    OpenLocal {
        /// The negotiated timeout.
        timeout_ms: i32,
    },
    /// A session that only this server knows ends, as its client asked.
    CloseLocal,
    /// A session taken up again, once everything that it asked for on its old connection is done.
    Resume {
        /// The negotiated timeout.
        timeout_ms: i32,
    },
}

/// One entry.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Who is waiting, if anybody.
    pub connection: Option<ConnectionId>,
    pub session: SessionId,
    pub xid: Xid,
    /// The request's operation, which decides the form of the reply.
    pub op: i32,
    pub work: Work,
    pub received_ms: u64,
    bytes: Range<u64>,
}

/// How far things have come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Progress {
    /// Every transaction up to here may be applied.
    pub committed: Zxid,
    /// So many syncs are done; they end in the order in which they began.
    pub syncs: u64,
}

/// First in, first out. All bytes stand one after the other in one buffer, so that an entry costs no allocation.
#[derive(Default)]
pub(crate) struct Queue {
    entries: VecDeque<Entry>,
    /// How many entries at the front have been handed to the log.
    logged: usize,
    /// How many entries are forwarded writes.
    forwarded: usize,
    bytes: Vec<u8>,
    /// The position of `bytes[0]` in the endless stream of bytes.
    base: u64,
}

/// Consumed bytes at the front of the buffer beyond which it is worth moving the rest down.
const COMPACT_BYTES: usize = 4 << 20;

impl Queue {
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// The end of the buffer, to write an entry's bytes to before [`Queue::push`].
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Where the bytes of the next entry start; remember it before writing them.
    pub fn mark(&self) -> usize {
        self.bytes.len()
    }

    /// Adds an entry whose bytes are those written since `mark`.
    pub fn push(
        &mut self,
        mark: usize,
        work: Work,
        connection: Option<ConnectionId>,
        session: SessionId,
        (xid, op, received_ms): (Xid, i32, u64),
    ) {
        let bytes = self.base + mark as u64..self.base + self.bytes.len() as u64;
        self.forwarded += usize::from(work == Work::Forwarded);
        self.entries.push_back(Entry { connection, session, xid, op, work, received_ms, bytes });
    }

    /// The next transaction that has not been handed to the log.
    pub fn next_unlogged(&mut self) -> Option<(Zxid, &[u8])> {
        loop {
            let entry = self.entries.get(self.logged)?;
            self.logged += 1;
            if let Work::Transaction(zxid) = entry.work {
                let range = (entry.bytes.start - self.base) as usize..(entry.bytes.end - self.base) as usize;
                return Some((zxid, &self.bytes[range]));
            }
        }
    }

    /// The oldest entry and its bytes, if nothing keeps it from being completed. A forwarded write is completed by its
    /// transaction instead.
    pub fn ready(&self, progress: Progress) -> Option<(&Entry, &[u8])> {
        let (entry, bytes) = self.oldest()?;
        match entry.work {
            Work::Transaction(zxid) if zxid > progress.committed => None,
            Work::Sync(number) if number > progress.syncs => None,
            Work::Forwarded => None,
            _ => Some((entry, bytes)),
        }
    }

    /// The oldest entry and its bytes.
    pub fn oldest(&self) -> Option<(&Entry, &[u8])> {
        let entry = self.entries.front()?;
        let range = (entry.bytes.start - self.base) as usize..(entry.bytes.end - self.base) as usize;
        Some((entry, &self.bytes[range]))
    }

    /// The oldest forwarded write, and whether anything stands before it.
    pub fn oldest_forwarded(&self) -> Option<(&Entry, bool)> {
        if self.forwarded == 0 {
            return None;
        }
        let place = self.entries.iter().position(|entry| entry.work == Work::Forwarded)?;
        Some((&self.entries[place], place > 0))
    }

    /// Drops everything. `transaction` is told of each transaction, in order, and whether it was handed to the log.
    pub fn abandon(&mut self, mut transaction: impl FnMut(Zxid, &[u8], bool)) {
        for (place, entry) in self.entries.iter().enumerate() {
            if let Work::Transaction(zxid) = entry.work {
                let range = (entry.bytes.start - self.base) as usize..(entry.bytes.end - self.base) as usize;
                transaction(zxid, &self.bytes[range], place < self.logged);
            }
        }
        *self = Queue { base: self.base + self.bytes.len() as u64, ..Queue::default() };
    }

    /// Removes the oldest entry.
    pub fn pop(&mut self) {
        let entry = self.entries.pop_front().expect("only an entry that was looked at is removed");
        self.logged = self.logged.saturating_sub(1);
        self.forwarded -= usize::from(entry.work == Work::Forwarded);
        let consumed = (entry.bytes.end - self.base) as usize;
        if self.entries.is_empty() {
            self.base += self.bytes.len() as u64;
            self.bytes.clear();
            self.bytes.shrink_to(COMPACT_BYTES);
        } else if consumed > COMPACT_BYTES && consumed > self.bytes.len() / 2 {
            self.bytes.drain(..consumed);
            self.base += consumed as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(queue: &mut Queue, work: Work, bytes: &[u8]) {
        let mark = queue.mark();
        queue.buffer().extend_from_slice(bytes);
        queue.push(mark, work, None, SessionId::NONE, (Xid::new(0), 0, 0));
    }

    fn zxid(counter: i64) -> Zxid {
        Zxid::from_wire(counter)
    }

    fn up_to(counter: i64) -> Progress {
        Progress { committed: zxid(counter), syncs: 0 }
    }

    #[test]
    fn a_sync_waits_for_its_turn_and_a_forwarded_write_for_its_transaction() {
        let mut queue = Queue::default();
        push(&mut queue, Work::Sync(1), b"/");
        push(&mut queue, Work::Forwarded, b"");
        assert!(queue.ready(up_to(9)).is_none());
        assert!(queue.oldest_forwarded().unwrap().1);
        assert!(queue.ready(Progress { committed: zxid(9), syncs: 1 }).is_some());
        queue.pop();
        assert!(queue.ready(Progress { committed: zxid(9), syncs: 1 }).is_none());
        assert!(!queue.oldest_forwarded().unwrap().1);
        queue.pop();
        assert!(queue.oldest_forwarded().is_none());
    }

    #[test]
    fn reads_wait_for_the_transactions_before_them() {
        let mut queue = Queue::default();
        push(&mut queue, Work::Read, b"r0");
        push(&mut queue, Work::Transaction(zxid(1)), b"t1");
        push(&mut queue, Work::Read, b"r1");
        assert_eq!(queue.next_unlogged(), Some((zxid(1), &b"t1"[..])));
        assert_eq!(queue.next_unlogged(), None);
        assert_eq!(queue.ready(up_to(0)).unwrap().1, b"r0");
        queue.pop();
        assert!(queue.ready(up_to(0)).is_none());
        assert_eq!(queue.ready(up_to(1)).unwrap().1, b"t1");
        queue.pop();
        push(&mut queue, Work::Transaction(zxid(2)), b"t2");
        assert_eq!(queue.next_unlogged(), Some((zxid(2), &b"t2"[..])));
        assert_eq!(queue.ready(up_to(1)).unwrap().1, b"r1");
    }

    #[test]
    fn the_buffer_does_not_grow_while_the_queue_never_empties() {
        let mut queue = Queue::default();
        let megabyte = vec![7; 1 << 20];
        for counter in 1..64 {
            push(&mut queue, Work::Transaction(zxid(counter)), &megabyte);
            if counter > 2 {
                assert_eq!(queue.ready(up_to(counter)).unwrap().1, &megabyte[..]);
                queue.pop();
            }
        }
        assert!(queue.bytes.len() < 12 << 20, "{} bytes for {} entries", queue.bytes.len(), queue.len());
    }
}
