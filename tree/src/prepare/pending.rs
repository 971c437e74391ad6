//! The nodes as they will be: what pending transactions change, above what the tree holds.

use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry as IndexEntry;
use protocol::txn::{NodeKind, node_digest_with_prefix};
use protocol::{StatPersisted, Zxid};

use crate::acl_table::AclList;
use crate::tree::Tree;

use super::PrepareContext;

/// Entries that are kept for reuse when nothing is pending; more is given back. About 600 KB.
const KEPT_WHEN_EMPTY: usize = 4_096;
/// The longest path whose memory an unused entry keeps, in bytes.
const KEPT_PATH_BYTES: usize = 256;

/// What the rules ask of a node.
#[derive(Clone)]
pub(super) struct NodeState {
    pub(super) stat: StatPersisted,
    pub(super) children: usize,
    pub(super) data_length: usize,
    pub(super) acl: Arc<AclList>,
    /// What path and data contribute to the node's share of the digest; `None` for a node without a share, and
    /// everywhere if no digests are wanted.
    pub(super) digest_prefix: Option<u32>,
}

impl NodeState {
    /// The node's share of the tree's digest.
    pub(super) fn share(&self) -> u64 {
        self.digest_prefix.map_or(0, |prefix| node_digest_with_prefix(prefix, &self.stat))
    }

    /// Whether the node may end by itself when it has no children.
    pub(super) fn is_reapable(&self) -> bool {
        matches!(NodeKind::from_owner(self.stat.ephemeral_owner), NodeKind::Container | NodeKind::Ttl(_))
    }

    pub(super) fn is_ephemeral(&self) -> bool {
        matches!(NodeKind::from_owner(self.stat.ephemeral_owner), NodeKind::Ephemeral(_))
    }
}

/// One touched path; `node` of `None` is a deleted one. The memory of the path is used again.
struct Entry {
    path: String,
    hash: u64,
    newest: Zxid,
    node: Option<NodeState>,
}

/// How an entry was before the running multi; `None`: it was not there.
struct Undo {
    slot: u32,
    before: Option<(Zxid, Option<NodeState>)>,
}

/// Where a multi began.
pub(super) struct Savepoint {
    touches: usize,
    digest: u64,
}

/// Entries by path, and a queue of who touched what, oldest first.
#[derive(Default)]
pub(super) struct Changes {
    /// Differs from run to run, so that nobody can choose paths that collide; nothing that can be seen depends on it.
    hasher: RandomState,
    index: HashTable<u32>,
    entries: Vec<Entry>,
    free: Vec<u32>,
    /// One for each transaction and path, so that an entry is forgotten with the last one that touched it.
    touches: VecDeque<(Zxid, u32)>,
    /// The tree's digest after everything pending; holds only while something is.
    digest: u64,
    undo: Option<Vec<Undo>>,
}

impl Changes {
    pub(super) fn is_empty(&self) -> bool {
        self.touches.is_empty()
    }

    /// The digest of the tree when everything pending is applied.
    pub(super) fn digest(&self, tree: &Tree) -> u64 {
        if self.is_empty() { tree.digest() } else { self.digest }
    }

    /// The node with this path, taken literally; `""` is the root.
    pub(super) fn find(&self, ctx: &PrepareContext<'_>, path: &str) -> Option<NodeState> {
        let path = key(path);
        if let Some(slot) = self.slot(path) {
            return self.entries[slot as usize].node.clone();
        }
        let node = ctx.tree.find(path)?;
        Some(NodeState {
            stat: node.stat(),
            children: node.child_count(),
            data_length: node.data().map_or(0, <[u8]>::len),
            acl: Arc::clone(node.acl()),
            digest_prefix: if ctx.rules.txn_digest { node.digest_prefix(path) } else { None },
        })
    }

    pub(super) fn exists(&self, ctx: &PrepareContext<'_>, path: &str) -> bool {
        match self.slot(key(path)) {
            Some(slot) => self.entries[slot as usize].node.is_some(),
            None => ctx.tree.find(path).is_some(),
        }
    }

    /// Records what becomes of a node, or with `None` that it goes. `share_before` is its share of the digest until
    /// now, 0 for a new node.
    pub(super) fn put(
        &mut self,
        ctx: &PrepareContext<'_>,
        path: &str,
        share_before: u64,
        node: Option<NodeState>,
    ) {
        let digest = self.digest(ctx.tree);
        let share = node.as_ref().map_or(0, NodeState::share);
        self.digest = digest.wrapping_sub(share_before).wrapping_add(share);
        let (slot, is_new) = self.slot_for(key(path));
        let entry = &mut self.entries[slot as usize];
        let before_node = std::mem::replace(&mut entry.node, node);
        let before = if is_new { None } else { Some((entry.newest, before_node)) };
        if is_new || entry.newest != ctx.zxid {
            entry.newest = ctx.zxid;
            self.touches.push_back((ctx.zxid, slot));
        }
        if let Some(undo) = &mut self.undo {
            undo.push(Undo { slot, before });
        }
    }

    /// From here on every change can be taken back, until [`Changes::roll_back`] or [`Changes::keep`].
    pub(super) fn begin(&mut self) -> Savepoint {
        self.undo = Some(Vec::new());
        Savepoint { touches: self.touches.len(), digest: self.digest }
    }

    /// Takes back every change since the savepoint.
    pub(super) fn roll_back(&mut self, savepoint: Savepoint) {
        for Undo { slot, before } in self.undo.take().unwrap_or_default().into_iter().rev() {
            match before {
                None => self.remove(slot),
                Some((newest, node)) => {
                    let entry = &mut self.entries[slot as usize];
                    (entry.newest, entry.node) = (newest, node);
                }
            }
        }
        self.touches.truncate(savepoint.touches);
        self.digest = savepoint.digest;
    }

    /// The changes since the savepoint stay.
    pub(super) fn keep(&mut self) {
        self.undo = None;
    }

    /// Forgets what only transactions up to `zxid` touched.
    pub(super) fn applied(&mut self, zxid: Zxid) {
        while let Some((touched_at, slot)) = self.touches.pop_front_if(|(touched_at, _)| *touched_at <= zxid)
        {
            if self.entries[slot as usize].newest == touched_at {
                self.remove(slot);
            }
        }
        if self.is_empty() && self.entries.len() > KEPT_WHEN_EMPTY {
            *self = Changes::default();
        }
    }

    /// Every pending path with what becomes of it, in no order that means anything.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, Option<&NodeState>)> {
        // A free entry has no zxid; a used one has, because zxids start at 1.
        let used = |entry: &&Entry| entry.newest != Zxid::ZERO;
        self.entries.iter().filter(used).map(|entry| (entry.path.as_str(), entry.node.as_ref()))
    }

    fn slot(&self, path: &str) -> Option<u32> {
        if self.index.is_empty() {
            return None;
        }
        let hash = self.hasher.hash_one(path);
        self.index.find(hash, |slot| self.entries[*slot as usize].path == path).copied()
    }

    /// The entry for a path, and whether it had to be made.
    fn slot_for(&mut self, path: &str) -> (u32, bool) {
        let hash = self.hasher.hash_one(path);
        let Changes { index, entries, free, .. } = self;
        let is_it = |slot: &u32| entries[*slot as usize].path == path;
        let vacant = match index.entry(hash, is_it, |slot| entries[*slot as usize].hash) {
            IndexEntry::Occupied(slot) => return (*slot.get(), false),
            IndexEntry::Vacant(vacant) => vacant,
        };
        let slot = free.pop().unwrap_or_else(|| {
            let slot = u32::try_from(entries.len()).expect("fewer than four billion changes are pending");
            entries.push(Entry { path: String::new(), hash, newest: Zxid::ZERO, node: None });
            slot
        });
        vacant.insert(slot);
        let entry = &mut entries[slot as usize];
        entry.path.push_str(path);
        entry.hash = hash;
        (slot, true)
    }

    fn remove(&mut self, slot: u32) {
        let entry = &mut self.entries[slot as usize];
        if let Ok(found) = self.index.find_entry(entry.hash, |candidate| *candidate == slot) {
            found.remove();
        }
        entry.node = None;
        entry.newest = Zxid::ZERO;
        entry.path.clear();
        entry.path.shrink_to(KEPT_PATH_BYTES);
        self.free.push(slot);
    }
}

/// The root has two names; entries know it as `/`.
fn key(path: &str) -> &str {
    if path.is_empty() { "/" } else { path }
}
