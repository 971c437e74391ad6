//! Where the parent of the next node is, without a look-up: snapshots list a tree depth-first, so it nearly always
//! is the last node or one of its ancestors.

use crate::slab::NodeId;

/// The way from the root to the node that was added last.
pub(super) struct Ancestors {
    /// Its path.
    path: String,
    /// The nodes on the way, without the root, each with the length of its path.
    nodes: Vec<(usize, NodeId)>,
}

impl Ancestors {
    pub(super) fn new() -> Ancestors {
        Ancestors { path: String::new(), nodes: Vec::new() }
    }

    /// The node with this path, if it is on the way; everything below it is forgotten.
    pub(super) fn go_up_to(&mut self, path: &str) -> Option<NodeId> {
        while self.nodes.last().is_some_and(|(length, _)| *length > path.len()) {
            self.nodes.pop();
        }
        if path.is_empty() {
            return Some(NodeId::ROOT);
        }
        let &(length, id) = self.nodes.last()?;
        (self.path.as_bytes()[..length] == *path.as_bytes()).then_some(id)
    }

    /// Starts anew at a node that was looked up.
    pub(super) fn jump_to(&mut self, path: &str, id: NodeId) {
        self.path.clear();
        self.path.push_str(path);
        self.nodes.clear();
        self.nodes.push((path.len(), id));
    }

    /// Goes on to a child of the node that was found last.
    pub(super) fn go_down_to(&mut self, path: &str, parent_length: usize, id: NodeId) {
        self.path.truncate(parent_length);
        self.path.push_str(&path[parent_length..]);
        self.nodes.push((path.len(), id));
    }
}
