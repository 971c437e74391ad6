//! Nothing happens that nobody asked for, and nothing twice: every transaction of a client is the one that its
//! request must become.

use std::collections::BTreeMap;

use protocol::txn::TxnBody;
use protocol::{SessionId, Zxid};

use super::{Verdict, Violation, ensure};
use crate::model::Who;

const PROMISE: &str = "origin";

/// A write that a client has sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sent {
    /// Its operation.
    pub op: i32,
    /// Its body.
    pub body: Vec<u8>,
    /// On whose behalf.
    pub who: Who,
    /// What any client had seen by then.
    pub seen: Zxid,
}

/// All writes that were sent.
#[derive(Default)]
pub struct Origin {
    sent: BTreeMap<(SessionId, i32), Sent>,
}

impl Origin {
    /// A client sends a write.
    pub fn on_sent(&mut self, session: SessionId, xid: i32, sent: Sent) {
        self.sent.insert((session, xid), sent);
    }

    /// A transaction says that it comes from this request. It can say so once only.
    pub fn claim(&mut self, session: SessionId, xid: i32, zxid: Zxid) -> Result<Sent, Violation> {
        self.sent.remove(&(session, xid)).ok_or_else(|| {
            let detail = format!("transaction {zxid} answers request {xid} of session {session}, which was never sent, or twice");
            Violation::new(PROMISE, detail)
        })
    }
}

/// A transaction is what its request must become.
pub fn check_body(zxid: Zxid, found: &TxnBody<'_>, expected: &TxnBody<'_>) -> Verdict {
    let same = match (found, expected) {
        // The order in which ephemerals go is nobody's business.
        (TxnBody::CloseSession { paths: Some(found) }, TxnBody::CloseSession { paths: Some(expected) }) => {
            let mut found = found.clone();
            found.sort();
            found == *expected
        }
        (found, expected) => found == expected,
    };
    ensure(same, PROMISE, || format!("transaction {zxid} is {found:?}, and should be {expected:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_is_done_once() {
        let mut origin = Origin::default();
        let session = SessionId::new(1);
        let sent = Sent { op: 1, body: Vec::new(), who: Who::Anyone, seen: Zxid::ZERO };
        origin.on_sent(session, 7, sent);
        assert!(origin.claim(session, 7, Zxid::from_wire(3)).is_ok());
        assert!(origin.claim(session, 7, Zxid::from_wire(4)).is_err());
        assert!(origin.claim(session, 8, Zxid::from_wire(4)).is_err());
    }
}
