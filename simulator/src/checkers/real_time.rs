//! Writes are linearizable, and so are reads behind a sync: whoever asks after somebody has seen a transaction is
//! ordered behind it.
//!
//! Replies carry zxids, so that no search is needed: the servers say themselves in which order everything happened,
//! other checkers hold them to it, and here it is compared with the order in which clients asked and were answered.

use protocol::Zxid;

use super::origin::Sent;
use super::{Verdict, ensure};

const PROMISE: &str = "linearizable";

/// A write was given its place.
pub fn check_write(sent: &Sent, zxid: Zxid) -> Verdict {
    let seen = sent.seen;
    ensure(zxid > seen, PROMISE, || {
        format!("a write became {zxid}, and was asked for when {seen} had been seen already")
    })
}

/// A sync was answered; it was asked for when some client had seen `seen`.
pub fn check_sync(seen: Zxid, zxid: Zxid) -> Verdict {
    ensure(zxid >= seen, PROMISE, || {
        format!("a sync that was asked for when {seen} had been seen was answered at {zxid}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Who;

    #[test]
    fn a_write_before_what_was_seen_and_a_stale_sync_are_seen() {
        let zxid = Zxid::from_wire;
        let sent = Sent { op: 1, body: Vec::new(), who: Who::Anyone, seen: zxid(5) };
        assert!(check_write(&sent, zxid(6)).is_ok());
        assert!(check_write(&sent, zxid(5)).is_err());
        assert!(check_sync(zxid(5), zxid(5)).is_ok());
        assert!(check_sync(zxid(5), zxid(4)).is_err());
    }
}
