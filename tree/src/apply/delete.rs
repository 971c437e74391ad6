//! What a delete changes (`DataTree.deleteNode`).

use protocol::{ErrorCode, Zxid};

use crate::change::{Change, ChangeObserver, Outcome};
use crate::slab::NodeId;
use crate::tree::Tree;

use super::{raise_pzxid, shown, split};

impl Tree {
    pub(crate) fn delete(&mut self, zxid: Zxid, path: &str, observer: &mut dyn ChangeObserver) -> Outcome {
        let (parent_path, name) = match split(path) {
            Ok(parts) => parts,
            Err(code) => return Outcome::refused(code),
        };
        let Some(parent) = self.lookup(parent_path) else {
            return Outcome::refused(ErrorCode::NoNode);
        };
        // Even if the node is gone already: a fuzzy snapshot may hold the parent as it was before the delete and
        // not the node (ZOOKEEPER-3145). But the parent may also be ahead, so its pzxid never moves back.
        let parent_acl = self.change_stat(parent, parent_path, |stat| raise_pzxid(&mut stat.pzxid, zxid)).acl;
        let hash = self.index.hash(path);
        let Some(id) = self.index.find_child(&self.slab, hash, parent, name) else {
            return Outcome::refused(ErrorCode::NoNode);
        };
        self.remove_descendants(id);
        let removed = self.remove_node(id, path);
        self.quota_on_delete(path, parent_path, name, removed.data_length);
        let (acl, parent_acl) = (self.acls.get(removed.acl), self.acls.get(parent_acl));
        let change = Change::Deleted { path, acl, parent: shown(parent_path), parent_acl };
        observer.on_change(zxid, change);
        self.acls.release(removed.acl);
        Outcome::Deleted
    }

    /// Nodes with children are deleted only in a replay over a fuzzy snapshot: it already holds children of a node
    /// of the same name that was created later. They go, too, and come back when their own creates are replayed.
    /// Nobody watches a replay.
    fn remove_descendants(&mut self, top: NodeId) {
        if self.slab.get(top).child_count == 0 {
            return;
        }
        let nodes: Vec<NodeId> = self.subtree(top).skip(1).collect();
        for &id in nodes.iter().rev() {
            let path = self.path_of(id);
            let removed = self.remove_node(id, &path);
            if let Ok((parent, name)) = split(&path) {
                self.quota_on_delete(&path, parent, name, removed.data_length);
            }
            self.acls.release(removed.acl);
        }
    }
}
