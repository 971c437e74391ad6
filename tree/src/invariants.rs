//! Everything that the tree keeps twice, computed again from the nodes and compared. For tests and the simulator:
//! it takes time in proportion to the tree.

use std::collections::{BTreeMap, BTreeSet};

use protocol::txn::{node_digest, node_digest_prefix};

use crate::edit::{kept, utf16_length};
use crate::lifetime::Lifetimes;
use crate::quota::{QuotaValues, quota_prefix};
use crate::slab::NodeId;
use crate::tree::Tree;
use crate::znode;

/// What the nodes alone say.
#[derive(Default)]
struct Recomputed {
    nodes: usize,
    digest: u64,
    data_size: u64,
    lifetimes: Lifetimes,
    acl_uses: BTreeMap<u32, u64>,
    quota_prefixes: BTreeSet<String>,
}

fn ensure(holds: bool, complaint: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(complaint()) }
}

impl Tree {
    /// Checks that links, index, counters, digest, sets of nodes with a limited lifetime, uses of ACL lists and
    /// registered quotas are what the nodes say. The error says what is wrong and where.
    pub fn check_invariants(&self) -> Result<(), String> {
        let mut found = Recomputed { data_size: 1, ..Recomputed::default() };
        for id in self.subtree(NodeId::ROOT) {
            found.nodes += 1;
            // A broken link could lead in a circle.
            ensure(found.nodes <= self.slab.len(), || "more nodes are linked than there are".to_owned())?;
            self.check_links(id)?;
            self.check_node(id, &mut found)?;
        }
        let compare = |what: &str, kept: u64, counted: u64| {
            ensure(kept == counted, || format!("{what}: {kept} kept, {counted} counted"))
        };
        compare("nodes", self.slab.len() as u64, found.nodes as u64)?;
        compare("entries of the index", self.index.len() as u64 + 1, found.nodes as u64)?;
        compare("digest", self.digest, found.digest)?;
        compare("approximate data size", self.approximate_data_size, found.data_size)?;
        ensure(self.lifetimes == found.lifetimes, || {
            format!("limited lifetimes: {:?} kept, {:?} found", self.lifetimes, found.lifetimes)
        })?;
        let kept_uses: BTreeMap<u32, u64> =
            self.acls.sorted().iter().map(|(id, _, uses)| (id.0, *uses)).collect();
        ensure(kept_uses == found.acl_uses, || {
            format!("uses of ACL lists: {kept_uses:?} kept, {:?} found", found.acl_uses)
        })?;
        for (id, list, _) in self.acls.sorted() {
            let same = self.acls.by_bytes(list.as_bytes()).is_some_and(|found| found == list);
            ensure(same, || format!("ACL list {id:?} is not found by its bytes"))?;
        }
        let kept_prefixes: BTreeSet<String> = self.quota_prefixes.iter().map(str::to_owned).collect();
        ensure(kept_prefixes == found.quota_prefixes, || {
            format!("quotas: {kept_prefixes:?} registered, {:?} found", found.quota_prefixes)
        })
    }

    /// Checks that the usage of every quota is what counting gives. Holds as long as nobody writes a usage by hand,
    /// the usage node is created after the limits, and no quota lies below another one (whose changes only it
    /// counts).
    pub fn check_quota_usage(&self) -> Result<(), String> {
        for quota in self.quotas() {
            let (count, bytes) = self.measure(quota.prefix);
            let usage = quota.usage.unwrap_or_else(QuotaValues::default);
            ensure((usage.count(), usage.bytes()) == (count, bytes), || {
                format!("usage below {}: {usage:?} kept, {count} nodes and {bytes} bytes", quota.prefix)
            })?;
        }
        Ok(())
    }

    fn check_links(&self, id: NodeId) -> Result<(), String> {
        let slot = self.slab.get(id);
        let complain = |what: &str| format!("{what} at {:?}", self.path_of(id));
        let mut elder = None;
        let mut next = slot.first_child;
        let mut children = 0;
        while let Some(child) = next {
            let child_slot = self.slab.get(child);
            children += 1;
            ensure(children <= slot.child_count, || complain("more children than counted"))?;
            ensure(child_slot.parent == Some(id), || complain("a child that names another parent"))?;
            ensure(self.slab.elder(child) == elder, || complain("a child that names another sibling"))?;
            elder = Some(child);
            next = child_slot.next_sibling;
        }
        ensure(self.slab.last_child(id) == elder, || complain("another last child"))?;
        ensure(children == slot.child_count, || complain("fewer children than counted"))
    }

    fn check_node(&self, id: NodeId, found: &mut Recomputed) -> Result<(), String> {
        let slot = self.slab.get(id);
        let node = znode::decode(&slot.block);
        let path = self.path_of(id);
        ensure(self.lookup(&path) == Some(id), || format!("{path:?} is not found by its path"))?;
        let prefix = kept(node_digest_prefix(&path, node.data), node.data);
        ensure(node.meta.digest_prefix == prefix, || format!("{path:?} keeps a wrong part of its digest"))?;
        let digest = node_digest(&path, node.data, &node.meta.stat);
        found.digest = found.digest.wrapping_add(digest);
        let data_length = node.data.map_or(0, <[u8]>::len) as u64;
        let names = if id == NodeId::ROOT { 2 } else { 1 };
        found.data_size += utf16_length(&path) + names * data_length;
        if node.meta.acl.0 != 0 {
            *found.acl_uses.entry(node.meta.acl.0).or_default() += 1;
        }
        if id == NodeId::ROOT {
            return Ok(());
        }
        ensure(slot.hash == self.index.hash(&path), || format!("{path:?} keeps a wrong hash"))?;
        found.lifetimes.add(node.meta.stat.ephemeral_owner, id);
        if let Some((parent, "zookeeper_limits")) = protocol::path::split(&path)
            && let Some(prefix) = quota_prefix(parent)
        {
            found.quota_prefixes.insert(prefix.to_owned());
        }
        Ok(())
    }
}
