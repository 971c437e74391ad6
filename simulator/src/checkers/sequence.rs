//! Sequential names are unique and increasing for as long as their parent lives.

use std::collections::BTreeMap;

use protocol::client::multi::MultiOp;
use protocol::client::request::{CreateFlags, CreateRequest, Request};
use protocol::txn::TxnBody;
use protocol::{Zxid, path as znode_path};

use super::{Verdict, Violation, ensure};
use crate::model::Model;

const PROMISE: &str = "sequential names";

/// The last number given out below each parent, with the transaction that gave it.
#[derive(Default)]
pub struct Sequence {
    last: BTreeMap<(String, Zxid), (Zxid, i32)>,
}

impl Sequence {
    /// A request became a transaction, which the model has not applied yet. Says how many sequential nodes it creates.
    pub fn on_transaction(
        &mut self,
        model: &Model,
        request: &Request<'_>,
        body: &TxnBody<'_>,
        zxid: Zxid,
    ) -> Result<u64, Violation> {
        let mut named = Vec::new();
        match (request, body) {
            (Request::Create(create), TxnBody::Create(done)) if is_sequential(create) => {
                named.push(&done.path);
            }
            (Request::Multi(ops), TxnBody::Multi(subs)) => {
                // If one of them fails, all are errors.
                for pair in ops.iter().zip(subs) {
                    if let (MultiOp::Create(create), TxnBody::Create(done)) = pair
                        && is_sequential(create)
                    {
                        named.push(&done.path);
                    }
                }
            }
            _ => {}
        }
        for path in &named {
            let parent = znode_path::parent(path).unwrap_or("/");
            // A parent created by the same multi has that multi's zxid.
            let parent_czxid = model.node_at(parent, zxid).map_or(zxid, |node| node.stat.czxid);
            self.on_created(path, parent_czxid, zxid)?;
        }
        Ok(named.len() as u64)
    }

    /// A sequential node was created; its parent was created at `parent_czxid`.
    fn on_created(&mut self, path: &str, parent_czxid: Zxid, zxid: Zxid) -> Verdict {
        let parent = znode_path::parent(path).unwrap_or("/").to_owned();
        let digits = path.len().checked_sub(10).and_then(|at| path.get(at..));
        let number: i32 = digits
            .and_then(|digits| digits.parse().ok())
            .ok_or_else(|| Violation::new(PROMISE, format!("{path} does not end with ten digits")))?;
        let key = (parent, parent_czxid);
        if let Some(&(earlier, last)) = self.last.get(&key) {
            // Several names of one multi share a zxid and come in order.
            ensure(zxid < earlier || number > last, PROMISE, || {
                format!("{path} at {zxid} follows number {last} at {earlier}")
            })?;
        }
        self.last.insert(key, (zxid, number));
        Ok(())
    }

    /// A crash took every transaction behind a zxid.
    pub fn on_recovered(&mut self, recovered: Zxid) {
        self.last.retain(|_, (zxid, _)| *zxid <= recovered);
    }
}

fn is_sequential(create: &CreateRequest<'_>) -> bool {
    CreateFlags::from_wire(create.flags).is_some_and(CreateFlags::is_sequential)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_number_is_seen() {
        let mut sequence = Sequence::default();
        let zxid = Zxid::from_wire;
        assert!(sequence.on_created("/a/s-0000000004", zxid(1), zxid(5)).is_ok());
        assert!(sequence.on_created("/a/s-0000000006", zxid(1), zxid(6)).is_ok());
        assert!(sequence.on_created("/a/t-0000000006", zxid(1), zxid(7)).is_err());
        assert!(sequence.on_created("/a/s-0000000000", zxid(9), zxid(10)).is_ok());
        assert!(sequence.on_created("/a/s", zxid(9), zxid(11)).is_err());
    }
}
