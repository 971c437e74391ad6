//! Snapshots at exactly one zxid, taken while transactions go on.
//!
//! ```text
//! begin_snapshot ── one clear bit per slot; nothing is copied
//!      │   write: first change of a node ── its old block and links go into the side table, its bit is set
//! snapshot_chunk ── walks depth-first through "side table if the bit is set, else slab"
//! end_snapshot ─── drops the side table
//! ```
//!
//! A node that is created meanwhile is never seen: it can only be reached through a link, and every link that
//! changes belongs to a node whose old version was put aside before. That holds for slots that are used again,
//! too: whoever reaches such a slot through an old link finds its bit set and the old node in the side table.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::snapshot::NodeRecord;
use protocol::{SessionId, Zxid};

use crate::acl_table::AclList;
use crate::slab::{NodeId, Slab};
use crate::tree::{Tree, text};
use crate::znode;

/// A chunk ends early when it has grown by this much: large nodes must not keep the lock for long.
const CHUNK_BYTES_MAX: usize = 256 * 1024;

/// What a snapshot holds beside the nodes, and where the walk over them begins.
#[derive(Clone, Debug)]
pub struct SnapshotStart {
    /// The transaction after which the tree is as the snapshot says.
    pub zxid: Zxid,
    /// The tree's digest at that point.
    pub digest: u64,
    /// The open sessions with their timeouts in milliseconds, by id.
    pub sessions: Vec<(SessionId, i32)>,
    /// The ACL lists that nodes refer to, by id.
    pub acls: Vec<(i64, Arc<AclList>)>,
    /// How many nodes there are.
    pub nodes: usize,
    /// For [`Tree::snapshot_chunk`].
    pub cursor: SnapshotCursor,
}

/// How far the walk over the nodes has come.
#[derive(Clone, Debug)]
pub struct SnapshotCursor {
    snapshot: u64,
    next: Option<NodeId>,
    /// The path of the parent of `next`.
    path: String,
    /// For every ancestor of `next` but the root: its next sibling, and the length of its parent's path.
    ancestors: Vec<(Option<NodeId>, usize)>,
}

/// What [`Tree::end_snapshot`] leaves to be freed: hundreds of megabytes if much was written meanwhile, so drop it
/// without holding the tree's lock.
#[derive(Debug)]
#[must_use = "drop this after letting go of the lock"]
pub struct SnapshotRemains(#[expect(dead_code, reason = "kept only to be dropped later")] RunningSnapshot);

#[derive(Clone, Debug)]
struct OldNode {
    block: Box<[u8]>,
    first_child: Option<NodeId>,
    next_sibling: Option<NodeId>,
}

/// The side table of the snapshot that is being taken.
#[derive(Clone, Debug)]
pub(crate) struct RunningSnapshot {
    number: u64,
    /// Slots from here on did not exist.
    end: usize,
    /// One bit per slot: set if the slot no longer tells what was in it when the snapshot began.
    changed: Vec<u64>,
    /// A B-tree because its growth never pauses.
    old: BTreeMap<NodeId, OldNode>,
}

impl RunningSnapshot {
    fn new(number: u64, slab: &Slab) -> RunningSnapshot {
        let end = slab.end();
        RunningSnapshot { number, end, changed: vec![0; end.div_ceil(64)], old: BTreeMap::new() }
    }

    /// Whether the node in this slot must be put aside before it changes.
    pub(crate) fn needs(&self, id: NodeId) -> bool {
        id.index() < self.end && !self.is_changed(id)
    }

    /// Puts a node's old version aside, if the snapshot needs it.
    pub(crate) fn keep(
        &mut self,
        id: NodeId,
        block: Box<[u8]>,
        first_child: Option<NodeId>,
        next_sibling: Option<NodeId>,
    ) {
        if self.needs(id) {
            self.exclude(id);
            self.old.insert(id, OldNode { block, first_child, next_sibling });
        }
    }

    /// Notes that the node in this slot is new: its versions need not be put aside.
    pub(crate) fn exclude(&mut self, id: NodeId) {
        if id.index() < self.end {
            self.changed[id.index() / 64] |= 1 << (id.index() % 64);
        }
    }

    fn is_changed(&self, id: NodeId) -> bool {
        self.changed[id.index() / 64] & 1 << (id.index() % 64) != 0
    }

    /// A node as it was: its block, first child and next sibling.
    fn view<'a>(&'a self, slab: &'a Slab, id: NodeId) -> (&'a [u8], Option<NodeId>, Option<NodeId>) {
        if self.is_changed(id) {
            let old = self.old.get(&id).expect("a changed node that a snapshot reaches was put aside");
            return (&old.block, old.first_child, old.next_sibling);
        }
        let slot = slab.get(id);
        (&slot.block, slot.first_child, slot.next_sibling)
    }
}

impl Tree {
    /// Starts a snapshot of the tree as it is now. Takes microseconds, plus the copying of the lists of sessions
    /// and ACLs. One snapshot at a time: a second one is a bug of the caller.
    pub fn begin_snapshot(&mut self) -> SnapshotStart {
        assert!(self.snapshot.is_none(), "a snapshot is being taken already");
        self.snapshots_begun += 1;
        self.snapshot = Some(RunningSnapshot::new(self.snapshots_begun, &self.slab));
        SnapshotStart {
            zxid: self.last_zxid,
            digest: self.digest,
            sessions: self.sessions().collect(),
            acls: self
                .acls
                .sorted()
                .iter()
                .map(|(id, list, _)| (id.snapshot_id(), Arc::clone(list)))
                .collect(),
            nodes: self.slab.len(),
            cursor: SnapshotCursor {
                snapshot: self.snapshots_begun,
                next: Some(NodeId::ROOT),
                path: String::new(),
                ancestors: Vec::new(),
            },
        }
    }

    /// Appends the records of up to `nodes_max` more nodes to `out`, parents before children, and says whether
    /// there are more. A chunk also ends after 256 KiB. The end marker is for the caller to write.
    pub fn snapshot_chunk(&self, cursor: &mut SnapshotCursor, nodes_max: usize, out: &mut Vec<u8>) -> bool {
        let snapshot = self.snapshot.as_ref().expect("a chunk is asked for while a snapshot is being taken");
        assert_eq!(snapshot.number, cursor.snapshot, "the cursor belongs to the snapshot being taken");
        let out_max = out.len() + CHUNK_BYTES_MAX;
        let mut nodes = 0;
        while let Some(id) = cursor.next {
            if nodes == nodes_max || out.len() >= out_max {
                return true;
            }
            nodes += 1;
            let (block, first_child, next_sibling) = snapshot.view(&self.slab, id);
            cursor.write(block, first_child, next_sibling, out);
        }
        false
    }

    /// Ends the snapshot that is being taken, whether it is complete or not; `None` if there is none.
    pub fn end_snapshot(&mut self) -> Option<SnapshotRemains> {
        self.snapshot.take().map(SnapshotRemains)
    }

    /// Whether a snapshot is being taken.
    pub fn is_snapshot_running(&self) -> bool {
        self.snapshot.is_some()
    }
}

impl SnapshotCursor {
    /// Writes the record of the node at the cursor and moves on.
    fn write(
        &mut self,
        block: &[u8],
        first_child: Option<NodeId>,
        next_sibling: Option<NodeId>,
        out: &mut Vec<u8>,
    ) {
        let node = znode::decode(block);
        let parent_length = self.path.len();
        if !node.name.is_empty() {
            self.path.push('/');
            self.path.push_str(text(node.name));
        }
        let record = NodeRecord {
            path: Cow::Borrowed(&self.path),
            data: node.data,
            acl_id: node.meta.acl.snapshot_id(),
            stat: node.meta.stat,
        };
        record.write(out);
        if first_child.is_some() {
            self.ancestors.push((next_sibling, parent_length));
            self.next = first_child;
            return;
        }
        self.path.truncate(parent_length);
        self.next = next_sibling;
        while self.next.is_none() {
            let Some((sibling, parent_length)) = self.ancestors.pop() else {
                return;
            };
            self.path.truncate(parent_length);
            self.next = sibling;
        }
    }
}
