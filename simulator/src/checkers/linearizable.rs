//! Every reply is what the state at the reply's zxid says: writes by what their transaction did, reads by the whole
//! tree as of that moment.

use protocol::client::connect::ReplyHeader;
use protocol::client::request::Request;
use protocol::client::response::Response;
use protocol::{ErrorCode, OpCode, Reader, SessionId, Zxid};

use super::{Verdict, Violation, ensure};
use crate::model::read::{expected_answer, sorted};
use crate::model::{Model, Who};

const PROMISE: &str = "linearizable";

/// A reply to a write: its zxid is that of the write's own transaction, and it says what that did.
pub fn check_write(model: &Model, session: SessionId, header: &ReplyHeader, body: &[u8]) -> Verdict {
    let zxid = Zxid::from_wire(header.zxid);
    let own =
        model.record(zxid).filter(|record| record.session == session && record.cxid == header.xid.get());
    let Some(record) = own else {
        let detail =
            format!("the reply to {} of {session} says {zxid}, which is not its transaction", header.xid);
        return Err(Violation::new(PROMISE, detail));
    };
    ensure(header.error == record.error, PROMISE, || {
        format!("transaction {zxid} was answered with {}, and should be with {}", header.error, record.error)
    })?;
    ensure(body == record.reply, PROMISE, || {
        format!("transaction {zxid} was answered with {body:02x?}, and should be with {:02x?}", record.reply)
    })
}

/// A reply to a read: what the state at its zxid says. `true` if there was something to compare.
pub fn check_read(
    model: &Model,
    (session, who): (SessionId, Who),
    op: OpCode,
    request: &Request<'_>,
    header: &ReplyHeader,
    body: &[u8],
) -> Result<Option<Response>, Violation> {
    let at = Zxid::from_wire(header.zxid);
    let Some(expected) = expected_answer(model, session, who, request, at) else { return Ok(None) };
    let complain = |found: String| {
        Violation::new(
            PROMISE,
            format!("{request:?} at {at} was answered with {found}, and should be with {expected:?}"),
        )
    };
    if header.error != 0 {
        let found = ErrorCode::from_wire(header.error);
        return match (&expected, found) {
            (Err(code), Some(found)) if *code == found => Ok(None),
            _ => Err(complain(format!("error {}", header.error))),
        };
    }
    let found = Response::read(op, &mut Reader::new(body)).map_err(|error| complain(error.to_string()))?;
    let found = sorted(found);
    match &expected {
        Ok(expected) if *expected == found => Ok(Some(found)),
        _ => Err(complain(format!("{found:?}"))),
    }
}
