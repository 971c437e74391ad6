//! From a path to its node, without storing a single path.
//!
//! The index holds ids only, placed by a seeded hash of the whole path; 32 bits of the hash stay in the slot, so
//! that growing needs no path. Two paths are compared by names, from the end of the path up the parents. The
//! table is cut into shards, each of which grows on its own: no single create pays for moving all entries.

use std::hash::Hasher;

use foldhash::SharedSeed;
use foldhash::quality::FoldHasher;
use hashbrown::HashTable;

use crate::slab::{NodeId, Slab};
use crate::znode;

const SHARD_BITS: u32 = 8;
const SHARDS: usize = 1 << SHARD_BITS;

/// The index over all nodes but the root.
#[derive(Clone)]
pub(crate) struct PathIndex {
    seed: u64,
    shared_seed: SharedSeed,
    shards: Vec<HashTable<NodeId>>,
}

impl PathIndex {
    pub(crate) fn new(seed: u64) -> PathIndex {
        let shards = (0..SHARDS).map(|_| HashTable::new()).collect();
        PathIndex { seed, shared_seed: SharedSeed::from_u64(seed), shards }
    }

    /// The 32 bits that are kept of a path's hash.
    pub(crate) fn hash(&self, path: &str) -> u32 {
        let mut hasher = FoldHasher::with_seed(self.seed, &self.shared_seed);
        hasher.write(path.as_bytes());
        hasher.finish() as u32
    }

    /// The node with this path, which must not be the root's.
    pub(crate) fn find(&self, slab: &Slab, hash: u32, path: &str) -> Option<NodeId> {
        let table = &self.shards[shard(hash)];
        table.find(spread(hash), |&id| slab.get(id).hash == hash && has_path(slab, id, path)).copied()
    }

    /// The child of `parent` with this name, if the hash is that of its path.
    pub(crate) fn find_child(&self, slab: &Slab, hash: u32, parent: NodeId, name: &str) -> Option<NodeId> {
        let is_it = |&id: &NodeId| {
            let slot = slab.get(id);
            slot.hash == hash && slot.parent == Some(parent) && znode::name(&slot.block) == name.as_bytes()
        };
        self.shards[shard(hash)].find(spread(hash), is_it).copied()
    }

    /// Adds a node; its hash is in its slot.
    pub(crate) fn insert(&mut self, slab: &Slab, id: NodeId) {
        let hash = slab.get(id).hash;
        self.shards[shard(hash)].insert_unique(spread(hash), id, |&id| spread(slab.get(id).hash));
    }

    /// Adds many nodes, given with their hashes; if two nodes have the same path, gives the second one (that with
    /// the lowest id, if there are several). Takes them shard by shard, so that the tables stay in the cache and are
    /// grown at most once.
    pub(crate) fn insert_all(&mut self, slab: &Slab, nodes: &mut Vec<(u32, NodeId)>) -> Option<NodeId> {
        // Stable, so that the one that came first is taken for the first one.
        let mut ends = [0; SHARDS];
        for (hash, _) in nodes.iter() {
            ends[shard(*hash)] += 1;
        }
        let mut end = 0;
        let mut next = ends.map(|count| {
            end += count;
            end - count
        });
        let mut sorted = vec![(0, NodeId::ROOT); nodes.len()];
        for node in nodes.drain(..) {
            let at = &mut next[shard(node.0)];
            sorted[*at] = node;
            *at += 1;
        }
        let mut twice = None;
        let mut rest = &sorted[..];
        for (table, count) in self.shards.iter_mut().zip(ends) {
            let (nodes, others) = rest.split_at(count);
            rest = others;
            table.reserve(count, |&id| spread(slab.get(id).hash));
            for &(hash, id) in nodes {
                let is_twin = |&other: &NodeId| {
                    let (one, other) = (slab.get(id), slab.get(other));
                    one.hash == other.hash
                        && one.parent == other.parent
                        && znode::name(&one.block) == znode::name(&other.block)
                };
                if table.find(spread(hash), is_twin).is_some() {
                    twice = twice.into_iter().chain([id]).min();
                }
                table.insert_unique(spread(hash), id, |&id| spread(slab.get(id).hash));
            }
        }
        twice
    }

    /// Takes a node out; its slot must still be filled.
    pub(crate) fn remove(&mut self, slab: &Slab, id: NodeId) {
        let hash = slab.get(id).hash;
        let entry = self.shards[shard(hash)].find_entry(spread(hash), |&found| found == id);
        entry.expect("a linked node is in the index").remove();
    }

    /// How many nodes the index knows.
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(HashTable::len).sum()
    }
}

/// The top bits choose the shard; the table places by the low ones.
fn shard(hash: u32) -> usize {
    (hash >> (u32::BITS - SHARD_BITS)) as usize
}

/// A 64-bit hash from the 32 bits that were kept: the table takes its position from the low bits, which stay
/// distinct, and its tag from the top bits, which depend on all of them.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn has_path(slab: &Slab, id: NodeId, path: &str) -> bool {
    let mut rest = path.as_bytes();
    let mut slot = slab.get(id);
    loop {
        let Some(parent) = slot.parent else {
            return rest.is_empty();
        };
        let Some(front) = rest.strip_suffix(znode::name(&slot.block)) else {
            return false;
        };
        let [front @ .., b'/'] = front else {
            return false;
        };
        rest = front;
        slot = slab.get(parent);
    }
}
