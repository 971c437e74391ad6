//! Writes are linearizable, and so are reads behind a sync: whoever asks after somebody has seen a transaction is
//! ordered behind it.
//!
//! Replies carry zxids, so that no search is needed: the servers say themselves in which order everything happened,
//! other checkers hold them to it, and here it is compared with the order in which clients asked and were answered.

use std::collections::BTreeMap;

use protocol::{SessionId, Zxid};

use crate::checkers::{Verdict, ensure};

const PROMISE: &str = "linearizable";

/// What clients had seen when they asked.
#[derive(Default)]
pub struct RealTime {
    seen: Zxid,
    asked: BTreeMap<(SessionId, i32), Zxid>,
}

impl RealTime {
    /// A client, any of them, has got a frame with this zxid.
    pub fn on_seen(&mut self, zxid: Zxid) {
        self.seen = self.seen.max(zxid);
    }

    /// What some client has seen by now: a sync that begins now must reach that far.
    pub fn seen(&self) -> Zxid {
        self.seen
    }

    /// A client asks for a write.
    pub fn on_asked(&mut self, session: SessionId, xid: i32) {
        self.asked.insert((session, xid), self.seen);
    }

    /// The write was given its place.
    pub fn on_ordered(&mut self, session: SessionId, xid: i32, zxid: Zxid) -> Verdict {
        let Some(seen) = self.asked.remove(&(session, xid)) else { return Ok(()) };
        ensure(zxid > seen, PROMISE, || {
            format!(
                "request {xid} of {session} became {zxid}, and was asked when {seen} had been seen already"
            )
        })
    }

    /// A sync was answered; it was asked when `seen` had been seen.
    pub fn on_synced(&self, seen: Zxid, zxid: Zxid) -> Verdict {
        ensure(zxid >= seen, PROMISE, || {
            format!("a sync that was asked when {seen} had been seen was answered at {zxid}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_before_what_was_seen_and_a_stale_sync_are_seen() {
        let mut times = RealTime::default();
        let session = SessionId::new(1);
        times.on_asked(session, 1);
        times.on_seen(Zxid::from_wire(5));
        times.on_asked(session, 2);
        assert!(times.on_ordered(session, 1, Zxid::from_wire(4)).is_ok());
        assert!(times.on_ordered(session, 2, Zxid::from_wire(5)).is_err());
        assert!(times.on_synced(Zxid::from_wire(5), Zxid::from_wire(5)).is_ok());
        assert!(times.on_synced(Zxid::from_wire(5), Zxid::from_wire(4)).is_err());
    }
}
