//! Snapshots that are taken while transactions go on show exactly the tree at their beginning.

use std::collections::BTreeMap;

use proptest::prelude::*;
use protocol::snapshot::NodeRecord;
use protocol::{Reader, SessionId};
use tree::{LoadError, SnapshotStart, Tree, TreeBuilder};

use super::model::{Dump, Model};
use super::ops::{Numbering, Op, ops};

/// Applies operations one after the other.
struct Driver {
    model: Model,
    numbering: Numbering,
}

impl Driver {
    fn new() -> Driver {
        Driver { model: Model::new(), numbering: Numbering::new() }
    }

    fn apply(&mut self, tree: &mut Tree, op: &Op) {
        let envelope = self.numbering.envelope(op, &self.model);
        self.model.apply(&envelope.read());
        tree.apply(&envelope.read(), &mut ());
    }
}

/// The bytes of all nodes, with operations between the chunks.
fn take(
    tree: &mut Tree,
    start: &mut SnapshotStart,
    nodes_max: usize,
    mut between: impl FnMut(&mut Tree),
) -> Vec<u8> {
    let mut out = Vec::new();
    while tree.snapshot_chunk(&mut start.cursor, nodes_max, &mut out) {
        between(tree);
    }
    drop(tree.end_snapshot());
    out
}

/// A tree from what a snapshot holds.
pub fn load(
    sessions: &[(SessionId, i32)],
    acls: &[(i64, std::sync::Arc<tree::AclList>)],
    zxid: protocol::Zxid,
    nodes: &[u8],
) -> Result<Tree, LoadError> {
    let mut builder = TreeBuilder::new(99);
    for (session, timeout_ms) in sessions {
        builder.session(*session, *timeout_ms);
    }
    for (id, list) in acls {
        builder.acl(*id, list.as_slice())?;
    }
    let mut nodes = nodes.to_vec();
    protocol::snapshot::write_end(&mut nodes);
    let mut reader = Reader::new(&nodes);
    while let Some(record) = NodeRecord::read(&mut reader).expect("what was written can be read") {
        builder.node(&record)?;
    }
    assert_eq!(reader.left(), 0, "the end marker is the caller's");
    builder.finish(zxid)
}

/// The child lists in order, by path.
fn child_order(tree: &Tree) -> BTreeMap<String, Vec<String>> {
    let paths = Dump::of(tree).nodes.into_keys();
    let children = |path: &String| {
        let node = tree.find(path).expect("a path of the dump");
        node.children().map(str::to_owned).collect()
    };
    paths.map(|path| (path.clone(), children(&path))).collect()
}

proptest! {
    #[test]
    fn a_snapshot_shows_the_tree_at_its_beginning(
        before in ops(true, 0..60),
        during in ops(true, 0..80),
        nodes_max in 1..5_usize,
        writes_per_chunk in 0..6_usize,
    ) {
        let mut tree = Tree::new(1);
        let mut driver = Driver::new();
        for op in &before {
            driver.apply(&mut tree, op);
        }
        let expected = Dump::of(&tree);
        let order = child_order(&tree);
        let mut start = tree.begin_snapshot();
        prop_assert_eq!((start.zxid, start.digest, start.nodes), (expected.last_zxid, expected.digest, expected.nodes.len()));
        let mut rest = during.iter();
        let nodes = take(&mut tree, &mut start, nodes_max, |tree| {
            for op in rest.by_ref().take(writes_per_chunk) {
                driver.apply(tree, op);
            }
        });
        let loaded = load(&start.sessions, &start.acls, start.zxid, &nodes).unwrap();
        prop_assert_eq!(Dump::of(&loaded).without_usage(), expected.without_usage());
        prop_assert_eq!(child_order(&loaded), order);
        prop_assert_eq!(loaded.check_invariants(), Ok(()));
        // The tree went on as if nothing had been.
        prop_assert_eq!(Dump::of(&tree).without_usage(), driver.model.dump().without_usage());
        prop_assert_eq!(tree.check_invariants(), Ok(()));
    }

    #[test]
    fn one_snapshot_after_the_other_is_right(rounds in prop::collection::vec(ops(true, 0..30), 1..5)) {
        let mut tree = Tree::new(1);
        let mut driver = Driver::new();
        for ops in &rounds {
            let expected = Dump::of(&tree);
            let mut start = tree.begin_snapshot();
            let mut rest = ops.iter();
            let nodes = take(&mut tree, &mut start, 2, |tree| {
                for op in rest.by_ref().take(3) {
                    driver.apply(tree, op);
                }
            });
            let loaded = load(&start.sessions, &start.acls, start.zxid, &nodes).unwrap();
            prop_assert_eq!(Dump::of(&loaded).without_usage(), expected.without_usage());
            for op in rest {
                driver.apply(&mut tree, op);
            }
        }
    }
}

#[test]
fn the_snapshot_of_a_new_tree_is_javas() {
    let mut tree = Tree::new(0);
    let mut start = tree.begin_snapshot();
    let acls: Vec<i64> = start.acls.iter().map(|(id, _)| *id).collect();
    assert_eq!((start.sessions.len(), acls), (0, vec![1]));
    let nodes = take(&mut tree, &mut start, 250, |_| ());
    let mut reader = Reader::new(&nodes);
    let mut seen = Vec::new();
    while reader.left() > 0 {
        let record = NodeRecord::read(&mut reader).unwrap().unwrap();
        seen.push((record.path.to_string(), record.acl_id, record.data.map(<[u8]>::len)));
    }
    let expected = [("", -1), ("/zookeeper", -1), ("/zookeeper/quota", -1), ("/zookeeper/config", 1)];
    assert_eq!(seen, expected.map(|(path, acl)| (path.to_owned(), acl, Some(0))));
}

#[test]
fn a_chunk_ends_early_when_nodes_are_large() {
    let mut bench = super::apply::Bench::new();
    let data = vec![1; 100_000];
    for path in ["/a", "/b", "/c", "/d", "/e"] {
        bench.create(path);
        let set = protocol::txn::TxnBody::SetData {
            path: path.into(),
            data: Some(&data),
            version: 1,
            reconfig: false,
        };
        bench.apply(set);
    }
    let mut cursor = bench.tree.begin_snapshot().cursor;
    let mut out = Vec::new();
    assert!(bench.tree.snapshot_chunk(&mut cursor, 1_000, &mut out));
    assert!(out.len() < 400_000);
}

#[test]
#[should_panic(expected = "the cursor belongs to the snapshot being taken")]
fn a_cursor_of_an_abandoned_snapshot_is_not_used() {
    let mut tree = Tree::new(0);
    let mut old = tree.begin_snapshot().cursor;
    drop(tree.end_snapshot());
    tree.begin_snapshot();
    tree.snapshot_chunk(&mut old, 1, &mut Vec::new());
}
