//! Builds a tree out of what recovery finds on the disk.

use std::collections::VecDeque;

use bytes::Bytes;
use protocol::acl::AclSlice;
use protocol::snapshot::{NodeRecord, ZxidDigest};
use protocol::txn::Transaction;
use protocol::{SessionId, Zxid};
use storage::recovery::RecoveryTarget;
use storage::snapshot::{Refusal, SnapshotSink};
use tree::{Tree, TreeBuilder};

/// Takes a snapshot, then the transactions after it.
pub struct TreeTarget {
    seed: u64,
    builder: Option<TreeBuilder>,
    tree: Option<Tree>,
    /// Before this zxid the tree is between two states: it came from a fuzzy snapshot.
    settled_at: Zxid,
    /// The newest transactions replayed, oldest first, for the members of an ensemble.
    tail: Option<Tail>,
    /// States that did not have the digest that snapshot or transaction say.
    digest_mismatches: u64,
}

impl TreeTarget {
    /// Nothing to begin with.
    pub fn empty() -> TreeTarget {
        // It goes into the hash of paths, so that nobody can choose colliding ones.
        TreeTarget::seeded(getrandom::u64().unwrap_or_else(|_| crate::clock::wall_ms() as u64))
    }

    fn seeded(seed: u64) -> TreeTarget {
        TreeTarget {
            seed,
            builder: None,
            tree: None,
            settled_at: Zxid::ZERO,
            tail: None,
            digest_mismatches: 0,
        }
    }

    /// Keeps the end of the log as well: so many transactions and bytes of it at most.
    pub fn keep_tail(mut self, entries_max: usize, bytes_max: usize) -> TreeTarget {
        self.tail = Some(Tail { entries: VecDeque::new(), bytes: 0, entries_max, bytes_max });
        self
    }

    /// The end of the log, taken out.
    pub fn take_tail(&mut self) -> VecDeque<(Zxid, Bytes)> {
        self.tail.as_mut().map(|tail| std::mem::take(&mut tail.entries)).unwrap_or_default()
    }

    /// What was built.
    pub fn into_tree(self) -> Tree {
        self.tree.unwrap_or_else(|| Tree::new(self.seed))
    }

    /// How many states did not have the digest that snapshot or transaction say.
    pub fn digest_mismatches(&self) -> u64 {
        self.digest_mismatches
    }

    fn builder(&mut self) -> &mut TreeBuilder {
        let seed = self.seed;
        self.builder.get_or_insert_with(|| TreeBuilder::new(seed))
    }
}

struct Tail {
    entries: VecDeque<(Zxid, Bytes)>,
    bytes: usize,
    entries_max: usize,
    bytes_max: usize,
}

impl Tail {
    fn push(&mut self, zxid: Zxid, envelope: &[u8]) {
        self.bytes += envelope.len();
        self.entries.push_back((zxid, Bytes::copy_from_slice(envelope)));
        while (self.entries.len() > self.entries_max || self.bytes > self.bytes_max)
            && let Some((_, oldest)) = self.entries.pop_front()
        {
            self.bytes -= oldest.len();
        }
    }
}

impl SnapshotSink for TreeTarget {
    fn reset(&mut self) {
        let tail = self.tail.take().map(|tail| Tail { entries: VecDeque::new(), bytes: 0, ..tail });
        *self = TreeTarget { tail, ..TreeTarget::seeded(self.seed) };
    }

    fn session(&mut self, session: SessionId, timeout_ms: i32) -> Result<(), Refusal> {
        self.builder().session(session, timeout_ms);
        Ok(())
    }

    fn acl(&mut self, id: i64, acl: AclSlice<'_>) -> Result<(), Refusal> {
        Ok(self.builder().acl(id, acl)?)
    }

    fn node(&mut self, node: &NodeRecord<'_>) -> Result<(), Refusal> {
        Ok(self.builder().node(node)?)
    }

    fn nodes_end(&mut self) -> Result<(), Refusal> {
        Ok(self.builder().check()?)
    }
}

impl RecoveryTarget for TreeTarget {
    fn snapshot_loaded(&mut self, zxid: Zxid, digest: Option<ZxidDigest>) -> Result<(), Refusal> {
        let builder = self.builder.take().unwrap_or_else(|| TreeBuilder::new(self.seed));
        let tree = builder.finish(zxid)?;
        if let Some(ZxidDigest { zxid: at, digest: Some(promised), .. }) = digest {
            self.settled_at = at;
            // Java writes no digest into the snapshot of an empty tree.
            if at == zxid && zxid != Zxid::ZERO && promised != tree.digest() {
                self.digest_mismatches += 1;
            }
        }
        self.tree = Some(tree);
        Ok(())
    }

    fn replay(&mut self, envelope: &[u8]) -> Result<(), Refusal> {
        let txn = Transaction::read(envelope)?;
        let seed = self.seed;
        let tree = self.tree.get_or_insert_with(|| Tree::new(seed));
        tree.replay(&txn);
        if let Some(tail) = &mut self.tail {
            tail.push(txn.header.zxid, envelope);
        }
        if let Some(digest) = txn.digest
            && txn.header.zxid >= self.settled_at
            && !tree.agrees_with(digest)
        {
            self.digest_mismatches += 1;
        }
        Ok(())
    }
}
