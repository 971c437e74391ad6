//! Java writes snapshots while transactions are applied. The replay of the log from the snapshot's zxid must lead
//! to the tree that a server has which was there all along: nodes, stats, ACLs, sessions and digest (the bugs
//! ZOOKEEPER-3127, 3145, 3249, 3124, 3144, 3306, 4846 and 4689).

use std::borrow::Cow;
use std::sync::Arc;

use proptest::prelude::*;
use protocol::snapshot::NodeRecord;
use protocol::{AclSlice, Reader};
use tree::{AclList, Tree};

use super::model::{Dump, Model};
use super::ops::{Envelope, Numbering, Op, ops};
use super::snapshot::load;

/// Java's ACL table: ids count up as lists appear.
#[derive(Clone, Default)]
struct JavaAcls(Vec<Vec<u8>>);

impl JavaAcls {
    fn id(&mut self, bytes: &[u8]) -> i64 {
        let at = self.0.iter().position(|known| known == bytes).unwrap_or_else(|| {
            self.0.push(bytes.to_vec());
            self.0.len() - 1
        });
        at as i64 + 1
    }

    fn table(&self) -> Vec<(i64, Arc<AclList>)> {
        let list = |bytes: &Vec<u8>| {
            let slice = AclSlice::read(&mut Reader::new(bytes)).expect("a list");
            Arc::new(AclList::parse(slice).expect("a list"))
        };
        self.0.iter().enumerate().map(|(at, bytes)| (at as i64 + 1, list(bytes))).collect()
    }
}

/// `DataTree.serializeNode`: a node's record is written before its children are visited, by the names that it had
/// at that moment; whoever is gone by then is skipped.
struct JavaWriter {
    todo: Vec<String>,
    out: Vec<u8>,
}

impl JavaWriter {
    fn step(&mut self, model: &Model, acls: &mut JavaAcls) -> bool {
        let Some(path) = self.todo.pop() else {
            return false;
        };
        if let Some(node) = model.nodes.get(&path) {
            let record = NodeRecord {
                path: Cow::Borrowed(&path),
                data: node.data.as_deref(),
                acl_id: acls.id(&node.acl),
                stat: node.stat,
            };
            record.write(&mut self.out);
            self.todo.extend(model.children(&path).iter().map(|name| format!("{path}/{name}")));
        }
        true
    }
}

/// Applies what a leader would let through.
fn log(model: &mut Model, numbering: &mut Numbering, op: &Op) -> Option<Envelope> {
    let envelope = numbering.envelope(op, model);
    let mut trial = model.clone();
    let txn = envelope.read();
    let has_children = |path: &str| !model.children(path).is_empty();
    let deletes_parent = |body: &protocol::txn::TxnBody<'_>| matches!(body, protocol::txn::TxnBody::Delete { path, .. } if has_children(path));
    let refused = match &txn.body {
        // What the multi does to itself is not looked into: parents are not deleted in it.
        protocol::txn::TxnBody::Multi(subs) => {
            subs.iter().any(|sub| matches!(sub, protocol::txn::TxnBody::Delete { .. }) || deletes_parent(sub))
        }
        body => deletes_parent(body),
    };
    let is_error = matches!(op, Op::Error | Op::Multi { refused: true, .. });
    if refused || (!trial.apply(&txn) && !is_error) {
        return None;
    }
    *model = trial;
    Some(envelope)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn replay_over_a_fuzzy_snapshot_leads_to_the_same_tree(
        before in ops(true, 0..60),
        during in ops(true, 0..100),
        txns_per_node in 0..12_usize,
    ) {
        let mut model = Model::new();
        let mut numbering = Numbering::new();
        for op in &before {
            log(&mut model, &mut numbering, op);
        }

        let zxid = model.last_zxid;
        let mut acls = JavaAcls::default();
        for node in model.nodes.values() {
            acls.id(&node.acl);
        }
        let table = acls.table();
        let sessions: Vec<_> = model.sessions.iter().map(|(id, timeout)| (*id, *timeout)).collect();
        let mut writer = JavaWriter { todo: vec![String::new()], out: Vec::new() };
        let mut envelopes = Vec::new();
        let mut rest = during.iter();
        while writer.step(&model, &mut acls) {
            for op in rest.by_ref().take(txns_per_node) {
                envelopes.extend(log(&mut model, &mut numbering, op));
            }
        }
        for op in rest {
            envelopes.extend(log(&mut model, &mut numbering, op));
        }

        let mut tree: Tree = load(&sessions, &table, zxid, &writer.out).unwrap();
        for envelope in &envelopes {
            tree.apply(&envelope.read(), &mut ());
        }
        prop_assert_eq!(Dump::of(&tree).without_usage(), model.dump().without_usage());
        prop_assert_eq!(tree.check_invariants(), Ok(()));
    }
}
