//! The steps that all changes are made of. Everything redundant (digest, index, sets, counters) is kept right
//! here, and whatever a running snapshot still needs is put aside here.

use protocol::txn::{node_digest_prefix, node_digest_with_prefix};
use protocol::{Acl, StatPersisted, Zxid};

use crate::acl_table::{AclList, AclRef};
use crate::slab::NodeId;
use crate::tree::{CONFIG_PATH, QUOTA, Tree, ZOOKEEPER};
use crate::znode::{self, DIGEST_PREFIX_KEPT_FROM, Meta};

/// A node with a stat of zeros, as the first start of a server makes them.
pub(crate) fn built_in_meta() -> Meta {
    Meta { stat: StatPersisted::default(), acl: AclRef::IMPLICIT_OPEN, has_data: true, digest_prefix: None }
}

/// The part of the digest that is kept with data that is long enough for it.
pub(crate) fn kept(prefix: Option<u32>, data: Option<&[u8]>) -> Option<u32> {
    prefix.filter(|_| data.is_some_and(|data| data.len() >= DIGEST_PREFIX_KEPT_FROM))
}

fn finished(prefix: Option<u32>, stat: &StatPersisted) -> u64 {
    prefix.map_or(0, |prefix| node_digest_with_prefix(prefix, stat))
}

/// The length of a string as Java counts it.
pub(crate) fn utf16_length(text: &str) -> u64 {
    if text.is_ascii() { text.len() as u64 } else { text.encode_utf16().count() as u64 }
}

impl Tree {
    pub(crate) fn stat_of(&self, id: NodeId) -> StatPersisted {
        znode::decode(&self.slab.get(id).block).meta.stat
    }

    pub(crate) fn meta_of(&self, id: NodeId) -> Meta {
        znode::decode(&self.slab.get(id).block).meta
    }

    /// Adds a node under `parent`; its path must be free and its hash that of the path. The caller has counted one
    /// use of `meta.acl`.
    pub(crate) fn insert_node(
        &mut self,
        parent: NodeId,
        path: &str,
        name: &str,
        hash: u32,
        meta: Meta,
        data: Option<&[u8]>,
    ) -> NodeId {
        let id = self.add_node(parent, path, name, hash, meta, data);
        self.index.insert(&self.slab, id);
        id
    }

    /// Likewise, but leaves it to the caller to enter the node into the index.
    pub(crate) fn add_node(
        &mut self,
        parent: NodeId,
        path: &str,
        name: &str,
        hash: u32,
        mut meta: Meta,
        data: Option<&[u8]>,
    ) -> NodeId {
        let prefix = node_digest_prefix(path, data);
        meta.digest_prefix = kept(prefix, data);
        self.digest = self.digest.wrapping_add(finished(prefix, &meta.stat));
        self.approximate_data_size += utf16_length(path) + length(data);
        let block = znode::build(name.as_bytes(), &meta, data);
        // The link to the new node will stand in its elder sibling, or in the parent.
        self.preserve(self.slab.last_child(parent).unwrap_or(parent));
        let id = self.slab.insert(block, hash);
        if let Some(snapshot) = &mut self.snapshot {
            snapshot.exclude(id);
        }
        self.slab.append_child(parent, id);
        self.lifetimes.add(meta.stat.ephemeral_owner, id);
        id
    }

    /// Takes a node without children out of the tree. Its ACL list keeps its use, for the caller to release.
    pub(crate) fn remove_node(&mut self, id: NodeId, path: &str) -> RemovedNode {
        let slot = self.slab.get(id);
        assert_eq!(slot.child_count, 0, "only nodes without children are removed");
        let parent = slot.parent.expect("the root is never removed");
        let node = znode::decode(&slot.block);
        let prefix = node.meta.digest_prefix.or_else(|| node_digest_prefix(path, node.data));
        let removed = RemovedNode { acl: node.meta.acl, data_length: length(node.data) };
        self.digest = self.digest.wrapping_sub(finished(prefix, &node.meta.stat));
        self.approximate_data_size -= utf16_length(path) + removed.data_length;
        self.lifetimes.remove(node.meta.stat.ephemeral_owner, id);
        self.preserve(self.slab.elder(id).unwrap_or(parent));
        self.index.remove(&self.slab, id);
        let next_sibling = self.slab.get(id).next_sibling;
        self.slab.unlink_child(id);
        let slot = self.slab.remove(id);
        if let Some(snapshot) = &mut self.snapshot {
            snapshot.keep(id, slot.block, None, next_sibling);
        }
        removed
    }

    /// Changes the stat of a node, and the digest with it.
    pub(crate) fn change_stat(
        &mut self,
        id: NodeId,
        path: &str,
        change: impl FnOnce(&mut StatPersisted),
    ) -> Meta {
        let node = znode::decode(&self.slab.get(id).block);
        let mut meta = node.meta;
        change(&mut meta.stat);
        if meta.stat == node.meta.stat {
            return meta;
        }
        let prefix = meta.digest_prefix.or_else(|| node_digest_prefix(path, node.data));
        let before = finished(prefix, &node.meta.stat);
        self.digest = self.digest.wrapping_sub(before).wrapping_add(finished(prefix, &meta.stat));
        self.rewrite(id, &meta, None);
        meta
    }

    /// Changes data and stat of a node, and the digest with them; hands out the new stat and the length of the
    /// data before.
    pub(crate) fn change_data(
        &mut self,
        id: NodeId,
        path: &str,
        data: Option<&[u8]>,
        change: impl FnOnce(&mut StatPersisted),
    ) -> (Meta, u64) {
        let node = znode::decode(&self.slab.get(id).block);
        let old_prefix = node.meta.digest_prefix.or_else(|| node_digest_prefix(path, node.data));
        let before = finished(old_prefix, &node.meta.stat);
        let old_length = length(node.data);
        let mut meta = node.meta;
        change(&mut meta.stat);
        let prefix = node_digest_prefix(path, data);
        meta.has_data = data.is_some();
        meta.digest_prefix = kept(prefix, data);
        self.digest = self.digest.wrapping_sub(before).wrapping_add(finished(prefix, &meta.stat));
        // Java knows the root by two names and counts it under both.
        let names = if id == NodeId::ROOT { 2 } else { 1 };
        self.approximate_data_size -= names * old_length;
        self.approximate_data_size += names * length(data);
        self.rewrite(id, &meta, Some(data));
        (meta, old_length)
    }

    /// Gives a node another ACL list, whose use is counted already, and releases the old one.
    pub(crate) fn change_acl(&mut self, id: NodeId, acl: AclRef) {
        let mut meta = self.meta_of(id);
        let old = std::mem::replace(&mut meta.acl, acl);
        if old != acl {
            self.rewrite(id, &meta, None);
        }
        self.acls.release(old);
    }

    /// Adds those of the nodes that every tree has which are not there.
    pub(crate) fn add_missing_reserved_nodes(&mut self) {
        for path in [ZOOKEEPER, QUOTA, CONFIG_PATH] {
            if self.lookup(path).is_some() {
                continue;
            }
            let mut meta = built_in_meta();
            if path == CONFIG_PATH {
                // Java sets the ACL at version -1 after making the node.
                meta.acl = self.acls.intern_list(AclList::new(vec![Acl::read_only()]));
                meta.stat.aversion = -1;
            }
            let (parent, name) = protocol::path::split(path).expect("reserved paths are absolute");
            let parent = self.lookup(parent).expect("parents come first");
            self.insert_node(parent, path, name, self.index.hash(path), meta, Some(b""));
        }
    }

    /// Sets the text of `/zookeeper/config` when a server starts, without a transaction: data version -1, the
    /// configuration's version as mzxid (`ZKDatabase.initConfigInZKDatabase`).
    pub fn set_config(&mut self, text: &[u8], version: Zxid, now_ms: i64) {
        self.add_missing_reserved_nodes();
        let id = self.lookup(CONFIG_PATH).expect("the config node was added if it was missing");
        self.change_data(id, CONFIG_PATH, Some(text), |stat| {
            stat.version = -1;
            stat.mzxid = version;
            stat.mtime_ms = now_ms;
        });
    }

    /// Puts the old version of a node aside if a running snapshot needs it and does not have it yet. Must come
    /// before every change of the links that a snapshot follows.
    fn preserve(&mut self, id: NodeId) {
        let Some(snapshot) = &mut self.snapshot else {
            return;
        };
        if snapshot.needs(id) {
            let slot = self.slab.get(id);
            snapshot.keep(id, slot.block.clone(), slot.first_child, slot.next_sibling);
        }
    }

    /// Writes a block anew, in place if it fits.
    fn rewrite(&mut self, id: NodeId, meta: &Meta, data: Option<Option<&[u8]>>) {
        let slot = self.slab.get_mut(id);
        let needed = self.snapshot.as_ref().is_some_and(|snapshot| snapshot.needs(id));
        if !needed && znode::overwrite(&mut slot.block, meta, data.map(Option::unwrap_or_default)) {
            return;
        }
        let old = znode::decode(&slot.block);
        let new = znode::build(old.name, meta, data.unwrap_or(old.data));
        let old = std::mem::replace(&mut slot.block, new);
        if let Some(snapshot) = self.snapshot.as_mut().filter(|_| needed) {
            snapshot.keep(id, old, slot.first_child, slot.next_sibling);
        }
    }
}

/// What is left of a node that was removed.
pub(crate) struct RemovedNode {
    pub(crate) acl: AclRef,
    pub(crate) data_length: u64,
}

fn length(data: Option<&[u8]>) -> u64 {
    data.map_or(0, |data| data.len() as u64)
}
