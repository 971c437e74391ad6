//! A transaction is the one that is due in the newest state, and has the effects that it must have.

use protocol::client::request::Request;
use protocol::txn::{NodeKind, Transaction, TxnBody};
use protocol::{OpCode, SessionId, Zxid};

use super::origin::{Sent, check_body};
use super::{Verdict, Violation, digest, ensure, ephemerals};
use crate::model::judge::{expected_body, expected_reaping};
use crate::model::{Model, Who};

const PROMISE: &str = "transactions";

/// What is written in an envelope.
pub fn read(zxid: Zxid, envelope: &[u8]) -> Result<Transaction<'_>, Violation> {
    Transaction::read(envelope)
        .map_err(|error| Violation::new(PROMISE, format!("{zxid} cannot be read: {error}")))
}

/// A session opens: nobody has had its number before, and its timeout is within the limits.
pub fn check_opening(
    model: &Model,
    session: SessionId,
    timeout_ms: i32,
    (least_ms, most_ms): (i32, i32),
) -> Verdict {
    ensure(!model.knew_session(session), "sessions", || format!("session id {session} was used before"))?;
    ensure((least_ms..=most_ms).contains(&timeout_ms), "sessions", || {
        format!("session {session} has the timeout {timeout_ms} ms")
    })
}

/// A session expires: all its ephemeral nodes go.
pub fn check_expiry(model: &Model, txn: &Transaction<'_>) -> Verdict {
    let expected = expected_body(model, txn.header.session, Who::Anyone, &Request::CloseSession);
    check_body(txn.header.zxid, &txn.body, &expected)
}

/// The reaper removes a node, if it may. `false` if it was refused, and then it is not known what.
pub fn check_reaping(model: &Model, txn: &Transaction<'_>) -> Result<bool, Violation> {
    let TxnBody::Delete { path, .. } = &txn.body else { return Ok(false) };
    let kind = model.node_at(path, model.last()).map(|node| node.kind());
    ensure(matches!(kind, Some(NodeKind::Container | NodeKind::Ttl(_))), "reaping", || {
        format!("{path} is {kind:?} and is reaped at {}", txn.header.zxid)
    })?;
    check_body(txn.header.zxid, &txn.body, &expected_reaping(model, path))?;
    Ok(true)
}

/// A client's write: its request, which must become this.
pub fn check_write<'s>(
    model: &Model,
    txn: &Transaction<'_>,
    sent: &'s Sent,
) -> Result<Request<'s>, Violation> {
    let zxid = txn.header.zxid;
    let request = OpCode::from_wire(sent.op).and_then(|op| Request::read(op, &sent.body).ok());
    let request = request.ok_or_else(|| Violation::new("origin", format!("{zxid} answers no write")))?;
    check_body(zxid, &txn.body, &expected_body(model, txn.header.session, sent.who, &request))?;
    Ok(request)
}

/// Applies a transaction, which answers `op`, to the model. Says whether a session took ephemeral nodes with it.
pub fn apply(model: &mut Model, txn: &Transaction<'_>, op: i32) -> Result<bool, Violation> {
    let zxid = txn.header.zxid;
    let unfit = |complaint: String| Violation::new(PROMISE, format!("{zxid} does not fit: {complaint}"));
    model.apply(txn, op).map_err(unfit)?;
    digest::check_transaction(zxid, txn.digest, model)?;
    let TxnBody::CloseSession { paths } = &txn.body else { return Ok(false) };
    ephemerals::check_model(model, zxid)?;
    Ok(paths.as_ref().is_some_and(|paths| !paths.is_empty()))
}
