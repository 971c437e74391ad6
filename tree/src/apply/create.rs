//! What a create changes (`DataTree.createNode`).

use protocol::txn::{CreateTxn, NodeKind, TTL_MS_MAX, TxnHeader};
use protocol::{ErrorCode, OpCode, StatPersisted, Zxid};

use crate::change::{Change, ChangeObserver, Outcome};
use crate::slab::NodeId;
use crate::tree::Tree;
use crate::znode::Meta;

use super::{shown, split};

impl Tree {
    pub(super) fn create(
        &mut self,
        header: &TxnHeader,
        txn: &CreateTxn<'_>,
        observer: &mut dyn ChangeObserver,
    ) -> Outcome {
        let path = &*txn.path;
        let (parent_path, name) = match split(path) {
            Ok(parts) => parts,
            Err(code) => return Outcome::refused(code),
        };
        let Some(parent) = self.lookup(parent_path) else {
            return Outcome::refused(ErrorCode::NoNode);
        };
        let Ok(acl) = self.acls.intern(txn.acl) else {
            return Outcome::refused(ErrorCode::MarshallingError);
        };
        let hash = self.index.hash(path);
        if let Some(existing) = self.index.find_child(&self.slab, hash, parent, name) {
            // A fuzzy snapshot holds the node already, perhaps with an ACL id that its table does not have
            // (ZOOKEEPER-4846), and perhaps with a parent that was written before.
            self.change_acl(existing, acl);
            self.raise_cversion(parent, parent_path, txn.parent_cversion, header.zxid);
            return Outcome::refused(ErrorCode::NodeExists);
        }
        let parent_acl = self.raise_cversion(parent, parent_path, txn.parent_cversion, header.zxid).acl;
        let stat = StatPersisted {
            czxid: header.zxid,
            mzxid: header.zxid,
            pzxid: header.zxid,
            ctime_ms: header.time_ms,
            mtime_ms: header.time_ms,
            ephemeral_owner: owner(header, txn),
            ..StatPersisted::default()
        };
        let meta = Meta { stat, acl, has_data: txn.data.is_some(), digest_prefix: None };
        self.insert_node(parent, path, name, hash, meta, txn.data);
        let data_length = txn.data.map_or(0, <[u8]>::len);
        self.quota_on_create(path, parent_path, name, data_length as u64);
        let (acl, parent_acl) = (self.acls.get(acl), self.acls.get(parent_acl));
        let change = Change::Created { path, acl, parent: shown(parent_path), parent_acl };
        observer.on_change(header.zxid, change);
        Outcome::Created { stat: stat.for_client(data_length, 0) }
    }

    /// Creates of children only ever raise the parent's cversion: a parent from a fuzzy snapshot may be ahead.
    fn raise_cversion(&mut self, parent: NodeId, path: &str, cversion: i32, zxid: Zxid) -> Meta {
        self.change_stat(parent, path, |stat| {
            // Very old logs do not say.
            let cversion = if cversion == -1 { stat.cversion.wrapping_add(1) } else { cversion };
            if cversion > stat.cversion {
                stat.cversion = cversion;
                stat.pzxid = zxid;
            }
        })
    }
}

/// What is stored follows the operation. A time to live out of range, which Java's leader lets through and dies of
/// when it applies it, makes a plain persistent node.
fn owner(header: &TxnHeader, txn: &CreateTxn<'_>) -> i64 {
    match txn.op {
        OpCode::CreateContainer => NodeKind::Container.to_owner(),
        OpCode::CreateTtl if (1..=TTL_MS_MAX).contains(&txn.ttl_ms) => NodeKind::Ttl(txn.ttl_ms).to_owner(),
        OpCode::CreateTtl => 0,
        _ if txn.ephemeral => header.session.get(),
        _ => 0,
    }
}
