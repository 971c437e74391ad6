//! Snapshot and log together give what was in memory: every node with every field, every session.

use protocol::Zxid;
use tree::Tree;

use super::{Verdict, Violation, ensure};
use crate::model::{Model, Node};

const PROMISE: &str = "recovered state";

/// Compares a tree with the model at the tree's zxid.
pub fn check_tree(tree: &Tree, model: &Model) -> Verdict {
    check_tree_but(tree, model, None)
}

/// Likewise, but one node may be as it likes: that with the membership, which every member of an ensemble writes into
/// its own tree.
pub fn check_tree_but(tree: &Tree, model: &Model, passed_over: Option<&str>) -> Verdict {
    let at = tree.last_zxid();
    let mut nodes = 0;
    for (path, expected) in model.nodes_at(at) {
        nodes += 1;
        if passed_over == Some(path) {
            continue;
        }
        check_node(tree, model, path, expected, at)?;
    }
    // Java counts the root twice, and so does the tree.
    ensure(tree.node_count() == nodes + 1, PROMISE, || {
        format!("{} nodes at {at}, and should be {nodes}", tree.node_count() - 1)
    })?;
    let found: Vec<_> = tree.sessions().collect();
    let expected = model.sessions_at(at);
    ensure(found == expected, PROMISE, || format!("sessions at {at}: {found:?}, and should be {expected:?}"))
}

fn check_node(tree: &Tree, model: &Model, path: &str, expected: &Node, at: Zxid) -> Verdict {
    let Some(found) = tree.find(path) else {
        return Err(Violation::new(PROMISE, format!("{path} is missing at {at}")));
    };
    let differs = |what: &str, found: String, expected: String| {
        Violation::new(PROMISE, format!("{what} of {path} at {at} is {found}, and should be {expected}"))
    };
    if found.stat() != expected.stat {
        return Err(differs("the stat", format!("{:?}", found.stat()), format!("{:?}", expected.stat)));
    }
    if found.data() != expected.data.as_deref() {
        return Err(differs("the data", format!("{:?}", found.data()), format!("{:?}", expected.data)));
    }
    if found.acl().as_slice().as_bytes() != expected.acl {
        return Err(differs("the ACL", format!("{:?}", found.acl()), format!("{:?}", expected.acl)));
    }
    let mut children: Vec<&str> = found.children().collect();
    children.sort_unstable();
    if children != model.children_at(path, at) || children.len() != found.child_count() {
        let expected = model.children_at(path, at);
        return Err(differs("the children", format!("{children:?}"), format!("{expected:?}")));
    }
    Ok(())
}
