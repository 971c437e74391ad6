//! The reply to a write, from what applying it did.

use protocol::client::connect::ReplyHeader;
use protocol::client::multi::MultiHeader;
use protocol::client::op_code::OpCode;
use protocol::client::response::write_header_frame;
use protocol::jute::FrameStart;
use protocol::txn::TxnBody;
use protocol::{ErrorCode, JuteWrite, Xid, Zxid};
use tree::Outcome;

/// Appends the reply frame of a transaction that was asked for with `op`.
pub(crate) fn write_reply(
    out: &mut Vec<u8>,
    xid: Xid,
    zxid: Zxid,
    op: i32,
    body: &TxnBody<'_>,
    outcome: &Outcome,
) {
    if let Outcome::Failed(code) = outcome {
        return write_header_frame(out, xid, zxid.to_wire(), *code);
    }
    let frame = FrameStart::open(out);
    ReplyHeader::ok(xid, zxid).write(out);
    match (body, outcome) {
        (TxnBody::Create(create), Outcome::Created { stat }) => {
            out.put_str(&create.path);
            if op != OpCode::Create.to_wire() {
                stat.write(out);
            }
        }
        (TxnBody::SetData { data, reconfig: true, .. }, Outcome::DataSet { stat }) => {
            out.put_buffer(*data);
            stat.write(out);
        }
        (_, Outcome::DataSet { stat } | Outcome::AclSet { stat }) => stat.write(out),
        (TxnBody::Multi(subs), Outcome::Multi(outcomes)) => write_results(out, subs, outcomes),
        _ => {}
    }
    frame.close(out);
}

fn write_results(out: &mut Vec<u8>, subs: &[TxnBody<'_>], outcomes: &[Outcome]) {
    let header = |kind: OpCode| MultiHeader { kind: kind.to_wire(), done: false, error: 0 };
    for (sub, outcome) in subs.iter().zip(outcomes) {
        match (sub, outcome) {
            (TxnBody::Create(create), Outcome::Created { stat }) => {
                let plain = create.op == OpCode::Create;
                header(if plain { OpCode::Create } else { OpCode::Create2 }).write(out);
                out.put_str(&create.path);
                if !plain {
                    stat.write(out);
                }
            }
            (_, Outcome::Deleted) => header(OpCode::Delete).write(out),
            (_, Outcome::DataSet { stat }) => {
                header(OpCode::SetData).write(out);
                stat.write(out);
            }
            (_, Outcome::Checked) => header(OpCode::Check).write(out),
            (_, other) => {
                let code = match other {
                    Outcome::Failed(code) => *code,
                    _ => ErrorCode::RuntimeInconsistency.to_wire(),
                };
                MultiHeader { kind: -1, done: false, error: code }.write(out);
                out.put_i32(code);
            }
        }
    }
    MultiHeader::END.write(out);
}
