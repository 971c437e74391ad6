//! The tree: its state, its look-ups, and the counters that operators ask for.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use protocol::txn::{DIGEST_VERSION, TxnDigest};
use protocol::{SessionId, Zxid};

use crate::acl_table::{AclList, AclTable};
use crate::index::PathIndex;
use crate::lifetime::Lifetimes;
use crate::quota::QuotaPrefixes;
use crate::read::NodeRef;
use crate::slab::{NodeId, Slab};
use crate::snapshot::RunningSnapshot;
use crate::znode;

/// The node that everything lives below.
pub(crate) const ZOOKEEPER: &str = "/zookeeper";
/// Where quotas are kept.
pub(crate) const QUOTA: &str = "/zookeeper/quota";
/// Where the ensemble's membership is kept.
pub const CONFIG_PATH: &str = "/zookeeper/config";

/// A digest is remembered for every zxid that this divides (`DataTree.DIGEST_LOG_INTERVAL`).
const DIGEST_HISTORY_INTERVAL: u32 = 128;
/// How many are remembered, 16 bytes each; the oldest goes first (`DataTree.DIGEST_LOG_LIMIT`).
const DIGEST_HISTORY_MAX: usize = 1024;

/// The replicated state: nodes, ACL lists and sessions, as of one zxid.
///
/// One thread changes it, through [`Tree::apply`]; any number may read meanwhile, under a lock that is not in
/// here. The same transactions give the same tree on every server.
#[derive(Clone)]
pub struct Tree {
    pub(crate) slab: Slab,
    pub(crate) index: PathIndex,
    pub(crate) acls: AclTable,
    pub(crate) sessions: BTreeMap<SessionId, i32>,
    pub(crate) lifetimes: Lifetimes,
    pub(crate) quota_prefixes: QuotaPrefixes,
    pub(crate) snapshot: Option<RunningSnapshot>,
    pub(crate) snapshots_begun: u64,
    pub(crate) last_zxid: Zxid,
    pub(crate) digest: u64,
    pub(crate) digest_history: VecDeque<(Zxid, u64)>,
    pub(crate) approximate_data_size: u64,
}

impl Tree {
    /// A tree at zxid 0 with the nodes that always exist: `/`, `/zookeeper`, `/zookeeper/quota` and
    /// `/zookeeper/config`. The seed places entries in hash tables; nothing that can be observed depends on it.
    pub fn new(hash_seed: u64) -> Tree {
        let mut tree = Tree::bare(hash_seed);
        tree.add_missing_reserved_nodes();
        tree
    }

    /// The last transaction that was applied completely.
    pub fn last_zxid(&self) -> Zxid {
        self.last_zxid
    }

    /// The digest of all nodes outside `/zookeeper/`, version 2.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// Whether the tree is what the leader says it is after the same transaction; a digest of another version
    /// cannot be compared and agrees.
    pub fn agrees_with(&self, expected: TxnDigest) -> bool {
        expected.version != DIGEST_VERSION || expected.tree_digest == self.digest
    }

    /// Digests at every 128th zxid, oldest first; 1024 at most. For the four-letter word `hash`.
    pub fn digest_history(&self) -> impl ExactSizeIterator<Item = (Zxid, u64)> + '_ {
        self.digest_history.iter().copied()
    }

    /// How many nodes there are, by Java's count: the root is counted twice.
    pub fn node_count(&self) -> usize {
        self.slab.len() + 1
    }

    /// Java's idea of the size of the data: for every node the length of its path in UTF-16 units and of its data
    /// in bytes; the root counts twice, as `""` and as `/`.
    pub fn approximate_data_size(&self) -> u64 {
        self.approximate_data_size
    }

    /// The node with this path; `""` and `/` are the root. The path is taken literally: one that no node can have
    /// is simply not there.
    pub fn find(&self, path: &str) -> Option<NodeRef<'_>> {
        self.lookup(path).map(|id| NodeRef::new(self, id))
    }

    /// The interned ACL list with exactly this encoding, if some node has it.
    pub fn acl_by_bytes(&self, bytes: &[u8]) -> Option<Arc<AclList>> {
        self.acls.by_bytes(bytes).cloned()
    }

    /// The timeout of an open session, milliseconds.
    pub fn session_timeout_ms(&self, session: SessionId) -> Option<i32> {
        self.sessions.get(&session).copied()
    }

    /// All open sessions with their timeouts in milliseconds, by id.
    pub fn sessions(&self) -> impl ExactSizeIterator<Item = (SessionId, i32)> + '_ {
        self.sessions.iter().map(|(&session, &timeout_ms)| (session, timeout_ms))
    }

    /// The paths of a session's ephemeral nodes, in no particular order.
    pub fn ephemerals(&self, session: SessionId) -> impl Iterator<Item = String> + '_ {
        self.lifetimes.of_session(session).map(|id| self.path_of(id))
    }

    /// How many ephemeral nodes there are.
    pub fn ephemerals_count(&self) -> usize {
        self.lifetimes.ephemerals_count()
    }

    /// The sessions that own ephemeral nodes, by id; their number, and each with the number of its nodes. For the
    /// four-letter word `dump`, together with [`Tree::ephemerals`].
    pub fn ephemeral_owners(&self) -> impl ExactSizeIterator<Item = (SessionId, usize)> + '_ {
        self.lifetimes.owners()
    }

    /// A tree with nothing but a root.
    pub(crate) fn bare(hash_seed: u64) -> Tree {
        let root = crate::edit::built_in_meta();
        Tree {
            slab: Slab::new(znode::build(b"", &root, Some(b""))),
            index: PathIndex::new(hash_seed),
            acls: AclTable::new(hash_seed),
            sessions: BTreeMap::new(),
            lifetimes: Lifetimes::default(),
            quota_prefixes: QuotaPrefixes::default(),
            snapshot: None,
            snapshots_begun: 0,
            last_zxid: Zxid::ZERO,
            digest: protocol::txn::node_digest("", Some(b""), &root.stat),
            digest_history: VecDeque::new(),
            approximate_data_size: 1,
        }
    }

    pub(crate) fn lookup(&self, path: &str) -> Option<NodeId> {
        if path.is_empty() || path == "/" {
            return Some(NodeId::ROOT);
        }
        self.index.find(&self.slab, self.index.hash(path), path)
    }

    /// The path of a node; `""` for the root.
    pub(crate) fn path_of(&self, id: NodeId) -> String {
        let mut names = Vec::new();
        let mut slot = self.slab.get(id);
        while let Some(parent) = slot.parent {
            names.push(text(znode::name(&slot.block)));
            slot = self.slab.get(parent);
        }
        let mut path = String::with_capacity(names.iter().map(|name| name.len() + 1).sum());
        for name in names.into_iter().rev() {
            path.push('/');
            path.push_str(name);
        }
        path
    }

    /// Moves on to a zxid, never back, and remembers the digest now and then.
    pub(crate) fn advance(&mut self, zxid: Zxid) {
        if zxid <= self.last_zxid {
            return;
        }
        self.last_zxid = zxid;
        if zxid.counter().is_multiple_of(DIGEST_HISTORY_INTERVAL) {
            if self.digest_history.len() == DIGEST_HISTORY_MAX {
                self.digest_history.pop_front();
            }
            self.digest_history.push_back((zxid, self.digest));
        }
    }
}

/// Names enter the tree as parts of strings, so they are always UTF-8.
pub(crate) fn text(name: &[u8]) -> &str {
    std::str::from_utf8(name).expect("a node's name is UTF-8")
}
