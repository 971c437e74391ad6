//! Several writes at one zxid, all or none.

use protocol::client::multi::MultiOp;
use protocol::txn::TxnBody;
use protocol::{ErrorCode, JuteWrite, OpCode};

use super::{Pending, PrepareContext, Prepared, Sink};

impl Pending {
    /// Each operation is checked as if it came alone, after those before it. The first that fails takes everything
    /// back; the transaction then says what became of each operation and changes nothing.
    pub(super) fn multi(
        &mut self,
        ctx: &PrepareContext<'_>,
        ops: &[MultiOp<'_>],
        sink: &mut Sink<'_>,
    ) -> Result<Prepared, ErrorCode> {
        sink.put_header(ctx, OpCode::Multi.to_wire());
        sink.out.put_length(ops.len());
        let first_op_at = sink.out.len();
        let savepoint = self.changes.begin();
        let mut soft_quota = Vec::new();
        for (failed, op) in ops.iter().enumerate() {
            let code = match self.multi_op(ctx, op, &mut Sink::in_multi(sink.out)) {
                Ok(prepared) => {
                    soft_quota.extend(prepared.soft_quota);
                    continue;
                }
                Err(code) => code,
            };
            self.changes.roll_back(savepoint);
            if code == ErrorCode::MarshallingError {
                // Not a refusal of one operation: the request as a whole makes no sense.
                return Err(code);
            }
            sink.out.truncate(first_op_at);
            put_failure(ctx, ops.len(), failed, code, sink.out);
            return Ok(Prepared { multi_failure: Some((failed, code)), soft_quota: Vec::new() });
        }
        self.changes.keep();
        Ok(Prepared { multi_failure: None, soft_quota })
    }

    fn multi_op(
        &mut self,
        ctx: &PrepareContext<'_>,
        op: &MultiOp<'_>,
        sink: &mut Sink<'_>,
    ) -> Result<Prepared, ErrorCode> {
        match op {
            MultiOp::Create(create) => self.create(ctx, create, sink),
            MultiOp::Delete { path, version } => self.delete(ctx, path, *version, sink),
            MultiOp::SetData { path, data, version } => self.set_data(ctx, path, *data, *version, sink),
            MultiOp::Check { path, version } => self.check(ctx, path, *version, sink),
            MultiOp::GetData { .. } | MultiOp::GetChildren { .. } => Err(ErrorCode::MarshallingError),
        }
    }
}

/// What a failed multi logs: 0 for the operations before the one that failed, its code, and "runtime inconsistency"
/// for those after it.
fn put_failure(ctx: &PrepareContext<'_>, count: usize, failed: usize, code: ErrorCode, out: &mut Vec<u8>) {
    let mut sink = Sink::in_multi(out);
    for op in 0..count {
        let code = match op.cmp(&failed) {
            std::cmp::Ordering::Less => 0,
            std::cmp::Ordering::Equal => code.to_wire(),
            std::cmp::Ordering::Greater => ErrorCode::RuntimeInconsistency.to_wire(),
        };
        sink.put(ctx, &TxnBody::Error { code });
    }
}
