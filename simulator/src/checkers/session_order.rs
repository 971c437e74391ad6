//! Replies come in the order of the requests, and the zxids that a session sees never go down: on one connection, and
//! over a reconnection never below what the client then says it has seen. Java's client says that of replies alone.

use protocol::{Xid, Zxid};

use super::{Verdict, Violation, ensure};

const PROMISE: &str = "session order";

/// One session's view.
#[derive(Default)]
pub struct SessionOrder {
    last: Zxid,
}

impl SessionOrder {
    /// A reply came; `oldest` is the oldest request without a reply on this connection.
    pub fn on_reply(&mut self, oldest: Option<Xid>, xid: Xid, zxid: i64) -> Verdict {
        match oldest {
            None => return Err(Violation::new(PROMISE, format!("a reply to {xid} that nobody asked for"))),
            Some(oldest) => ensure(oldest == xid, PROMISE, || {
                format!("a reply to {xid} came before the one to {oldest}")
            })?,
        }
        self.on_zxid(zxid)
    }

    /// A connection begins, for which the client says that it has seen so much.
    pub fn on_connecting(&mut self, seen: i64) {
        self.last = Zxid::from_wire(seen);
    }

    /// A frame came with this zxid; -1 and 0 stand for none.
    pub fn on_zxid(&mut self, zxid: i64) -> Verdict {
        if zxid <= 0 {
            return Ok(());
        }
        let zxid = Zxid::from_wire(zxid);
        ensure(zxid >= self.last, PROMISE, || format!("zxid {zxid} was shown after {}", self.last))?;
        self.last = zxid;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overtaking_and_going_back_are_seen() {
        let mut order = SessionOrder::default();
        assert!(order.on_reply(Some(Xid::new(1)), Xid::new(1), 7).is_ok());
        assert!(order.on_reply(Some(Xid::new(2)), Xid::new(3), 8).is_err());
        assert!(order.on_reply(Some(Xid::new(2)), Xid::new(2), 6).is_err());
        assert!(order.on_reply(None, Xid::new(2), 9).is_err());
        assert!(order.on_zxid(-1).is_ok());
        order.on_connecting(7);
        assert!(order.on_zxid(6).is_err());
        assert!(order.on_zxid(7).is_ok());
    }
}
