//! What can be read about one node.

use std::sync::Arc;

use protocol::txn::{NodeKind, node_digest_prefix};
use protocol::{Stat, StatPersisted};

use crate::acl_table::AclList;
use crate::slab::NodeId;
use crate::tree::{Tree, text};
use crate::znode::{self, Znode};

/// A node of the tree, for as long as the tree stays unchanged.
#[derive(Clone, Copy)]
pub struct NodeRef<'t> {
    tree: &'t Tree,
    id: NodeId,
    node: Znode<'t>,
}

impl<'t> NodeRef<'t> {
    pub(crate) fn new(tree: &'t Tree, id: NodeId) -> NodeRef<'t> {
        NodeRef { tree, id, node: znode::decode(&tree.slab.get(id).block) }
    }

    /// The last part of the path; empty for the root.
    pub fn name(&self) -> &'t str {
        text(self.node.name)
    }

    /// The stat as it is stored.
    pub fn stat(&self) -> StatPersisted {
        self.node.meta.stat
    }

    /// The stat as clients see it.
    pub fn client_stat(&self) -> Stat {
        self.node.meta.stat.for_client(self.data().map_or(0, <[u8]>::len), self.child_count())
    }

    /// The data; null and empty differ.
    pub fn data(&self) -> Option<&'t [u8]> {
        self.node.data
    }

    /// The ACL.
    pub fn acl(&self) -> &'t Arc<AclList> {
        self.tree.acls.get(self.node.meta.acl)
    }

    /// Whether the node is persistent, ephemeral, a container or has a time to live.
    pub fn kind(&self) -> NodeKind {
        NodeKind::from_owner(self.node.meta.stat.ephemeral_owner)
    }

    /// How many children the node has.
    pub fn child_count(&self) -> usize {
        self.tree.slab.get(self.id).child_count as usize
    }

    /// The names of the children, in order of creation.
    pub fn children(&self) -> Children<'t> {
        let slot = self.tree.slab.get(self.id);
        Children { tree: self.tree, next: slot.first_child, left: slot.child_count as usize }
    }

    /// How many nodes there are below this one, at any depth. Takes time in proportion, but for the root.
    pub fn descendant_count(&self) -> usize {
        if self.id == NodeId::ROOT {
            return self.tree.slab.len() - 1;
        }
        self.tree.subtree(self.id).count() - 1
    }

    /// The part of the node's digest that does not depend on its stat, see
    /// [`node_digest_prefix`](protocol::txn::node_digest_prefix()). `path` is the path of this node: the caller has
    /// it at hand, while here it would have to be put together.
    pub fn digest_prefix(&self, path: &str) -> Option<u32> {
        self.node.meta.digest_prefix.or_else(|| node_digest_prefix(path, self.node.data))
    }
}

/// The names of a node's children.
#[derive(Clone)]
pub struct Children<'t> {
    tree: &'t Tree,
    next: Option<NodeId>,
    left: usize,
}

impl<'t> Iterator for Children<'t> {
    type Item = &'t str;

    fn next(&mut self) -> Option<&'t str> {
        let slot = self.tree.slab.get(self.next?);
        self.next = slot.next_sibling;
        self.left -= 1;
        Some(text(znode::name(&slot.block)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Children<'_> {}

/// A node and everything below it, parents before children.
pub(crate) struct Subtree<'t> {
    tree: &'t Tree,
    top: NodeId,
    next: Option<NodeId>,
}

impl Tree {
    pub(crate) fn subtree(&self, top: NodeId) -> Subtree<'_> {
        Subtree { tree: self, top, next: Some(top) }
    }
}

impl Iterator for Subtree<'_> {
    type Item = NodeId;

    fn next(&mut self) -> Option<NodeId> {
        let here = self.next?;
        let slab = &self.tree.slab;
        self.next = slab.get(here).first_child;
        let mut climber = here;
        while self.next.is_none() && climber != self.top {
            let slot = slab.get(climber);
            self.next = slot.next_sibling;
            climber = slot.parent.unwrap_or(self.top);
        }
        Some(here)
    }
}
