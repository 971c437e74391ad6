//! Building a tree from the records of a snapshot, ours or Java's.

mod ancestors;

use std::collections::BTreeMap;

use protocol::snapshot::{NodeRecord, OPEN_ACL_ID};
use protocol::{AclSlice, DecodeError, SessionId, Zxid};

use crate::acl_table::AclRef;
use crate::slab::NodeId;
use crate::tree::Tree;
use crate::znode::Meta;

use self::ancestors::Ancestors;

/// Why records do not make a tree. The file is damaged; an older one may be whole.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LoadError {
    /// A node stands before its parent, or without one.
    #[error("the parent of node {path:?} is missing")]
    MissingParent {
        /// The node.
        path: String,
    },
    /// A node occurs twice.
    #[error("node {path:?} occurs twice")]
    DuplicateNode {
        /// The node.
        path: String,
    },
    /// A path that no node can have.
    #[error("{path:?} is not the path of a node")]
    BadPath {
        /// What stands there.
        path: String,
    },
    /// There is no record of the root.
    #[error("the root is missing")]
    NoRoot,
    /// A list of ACLs cannot be read.
    #[error("ACL list {id} cannot be read: {source}")]
    BadAcl {
        /// Its id in the snapshot.
        id: i64,
        /// What is wrong with it.
        source: DecodeError,
    },
}

/// Takes a snapshot's records one by one, in their order: sessions, ACL lists, nodes.
///
/// Java's snapshots are fuzzy: they were written while transactions went on, and only the replay of the log from
/// their zxid makes them consistent. What that leads to is tolerated here: ephemerals without a session, and nodes
/// whose ACL id is not in the table. Such a node permits nothing to anybody until the replay brings its list.
///
/// The index of paths is built at the end, or before the first look-up in it: see [`TreeBuilder::check`].
pub struct TreeBuilder {
    tree: Tree,
    /// The ids of the file and ours. Every entry holds one use until the end, so that no list is dropped early.
    acls: BTreeMap<i64, AclRef>,
    has_root: bool,
    ancestors: Ancestors,
    /// The nodes that are not in the index yet, with their hashes.
    unindexed: Vec<(u32, NodeId)>,
    unknown_acls: usize,
}

impl TreeBuilder {
    /// Starts with nothing; the seed is that of [`Tree::new`].
    pub fn new(hash_seed: u64) -> TreeBuilder {
        TreeBuilder {
            tree: Tree::bare(hash_seed),
            acls: BTreeMap::new(),
            has_root: false,
            ancestors: Ancestors::new(),
            unindexed: Vec::new(),
            unknown_acls: 0,
        }
    }

    /// An open session with its timeout in milliseconds.
    pub fn session(&mut self, session: SessionId, timeout_ms: i32) {
        self.tree.sessions.insert(session, timeout_ms);
    }

    /// An entry of the table of ACL lists. The id is the file's; the tree gives out its own.
    pub fn acl(&mut self, id: i64, list: AclSlice<'_>) -> Result<(), LoadError> {
        let acl = self.tree.acls.intern(list).map_err(|source| LoadError::BadAcl { id, source })?;
        if let Some(replaced) = self.acls.insert(id, acl) {
            self.tree.acls.release(replaced);
        }
        Ok(())
    }

    /// A node; its parent must have come before. That it comes twice may show later: see [`TreeBuilder::check`].
    pub fn node(&mut self, record: &NodeRecord<'_>) -> Result<(), LoadError> {
        let path = &*record.path;
        if path.is_empty() {
            return self.root(record);
        }
        let bad_path = || LoadError::BadPath { path: path.to_owned() };
        let (parent_path, name) = protocol::path::split(path).ok_or_else(bad_path)?;
        if name.is_empty() || parent_path == "/" {
            return Err(bad_path());
        }
        let parent = self.parent(parent_path, path)?;
        let hash = self.tree.index.hash(path);
        let meta = self.meta(record);
        let id = self.tree.add_node(parent, path, name, hash, meta, record.data);
        self.unindexed.push((hash, id));
        self.ancestors.go_down_to(path, parent_path.len(), id);
        Ok(())
    }

    /// Whether no node came twice so far. Nodes are entered into the index all at once, shard by shard, which saves
    /// most of the cache misses that entering each when it comes would cost.
    pub fn check(&mut self) -> Result<(), LoadError> {
        let twice = self.tree.index.insert_all(&self.tree.slab, &mut self.unindexed);
        match twice {
            Some(id) => Err(LoadError::DuplicateNode { path: self.tree.path_of(id) }),
            None => Ok(()),
        }
    }

    /// How many nodes refer to ACL lists that the snapshot does not hold.
    pub fn unknown_acls(&self) -> usize {
        self.unknown_acls
    }

    /// The tree as of `zxid`: quotas are registered and their usage is counted anew. Nodes that every tree has are
    /// added if the snapshot is too old to have them.
    pub fn finish(mut self, zxid: Zxid) -> Result<Tree, LoadError> {
        if !self.has_root {
            return Err(LoadError::NoRoot);
        }
        self.check()?;
        for acl in self.acls.into_values() {
            self.tree.acls.release(acl);
        }
        self.tree.add_missing_reserved_nodes();
        self.tree.set_up_quotas();
        self.tree.last_zxid = zxid;
        Ok(self.tree)
    }

    fn root(&mut self, record: &NodeRecord<'_>) -> Result<(), LoadError> {
        if std::mem::replace(&mut self.has_root, true) {
            return Err(LoadError::DuplicateNode { path: "/".to_owned() });
        }
        let meta = self.meta(record);
        self.tree.change_acl(NodeId::ROOT, meta.acl);
        self.tree.change_data(NodeId::ROOT, "", record.data, |stat| *stat = meta.stat);
        Ok(())
    }

    fn parent(&mut self, parent_path: &str, path: &str) -> Result<NodeId, LoadError> {
        let parent = match self.ancestors.go_up_to(parent_path) {
            Some(parent) => parent,
            None => {
                self.check()?;
                let missing = || LoadError::MissingParent { path: path.to_owned() };
                let parent = self.tree.lookup(parent_path).ok_or_else(missing)?;
                self.ancestors.jump_to(parent_path, parent);
                parent
            }
        };
        if self.has_root { Ok(parent) } else { Err(LoadError::NoRoot) }
    }

    fn meta(&mut self, record: &NodeRecord<'_>) -> Meta {
        let acl = match self.acls.get(&record.acl_id) {
            _ if record.acl_id == OPEN_ACL_ID => AclRef::IMPLICIT_OPEN,
            Some(&acl) => {
                self.tree.acls.add_use(acl);
                acl
            }
            None => {
                self.unknown_acls += 1;
                self.tree.acls.intern_unknown()
            }
        };
        Meta { stat: record.stat, acl, has_data: record.data.is_some(), digest_prefix: None }
    }
}
