//! What a loader meets: old files, fuzzy files, damaged files.

use std::borrow::Cow;

use protocol::snapshot::NodeRecord;
use protocol::{Acl, AclSlice, Perms, SessionId, StatPersisted, Zxid};
use tree::{LoadError, Tree, TreeBuilder};

fn record<'a>(path: &'a str, acl_id: i64) -> NodeRecord<'a> {
    NodeRecord { path: Cow::Borrowed(path), data: Some(b"x"), acl_id, stat: StatPersisted::default() }
}

fn build(paths: &[&str]) -> Result<Tree, LoadError> {
    let mut builder = TreeBuilder::new(0);
    for path in paths {
        builder.node(&record(path, -1))?;
    }
    builder.finish(Zxid::from_wire(7))
}

#[test]
fn records_that_make_no_tree_are_refused() {
    let path = |path: &str| path.to_owned();
    let missing = LoadError::MissingParent { path: path("/a/b") };
    assert_eq!(build(&["", "/a/b"]).err(), Some(missing));
    assert_eq!(build(&["", "/a", "/a"]).err(), Some(LoadError::DuplicateNode { path: path("/a") }));
    assert_eq!(build(&["", ""]).err(), Some(LoadError::DuplicateNode { path: path("/") }));
    assert_eq!(build(&["/a"]).err(), Some(LoadError::NoRoot));
    assert_eq!(build(&[]).err(), Some(LoadError::NoRoot));
    for bad in ["x", "/a/", "//b"] {
        assert_eq!(build(&["", "/a", bad]).err(), Some(LoadError::BadPath { path: path(bad) }));
    }
    assert_eq!(build(&["", "/a", "/a//b"]).err(), Some(LoadError::MissingParent { path: path("/a//b") }));
}

#[test]
fn a_node_that_comes_twice_is_found_wherever_it_stands() {
    let twice = |path: &str| Some(LoadError::DuplicateNode { path: path.to_owned() });
    assert_eq!(build(&["", "/a", "/a/b", "/c", "/a"]).err(), twice("/a"));
    assert_eq!(build(&["", "/a", "/a/b", "/c", "/a/b"]).err(), twice("/a/b"));
    assert_eq!(build(&["", "/a", "/b", "/b", "/a"]).err(), twice("/b"), "the first one in the file");
    let mut builder = TreeBuilder::new(0);
    for path in ["", "/a", "/b", "/a"] {
        builder.node(&record(path, -1)).unwrap();
    }
    assert_eq!(builder.check().err(), twice("/a"));
}

#[test]
fn parents_are_found_in_every_order_that_has_them_first() {
    let depth_first = ["", "/a", "/a/b", "/a/b/c", "/a/bb", "/ab", "/ab/b", "/é", "/é/b", "/z"];
    let mut breadth_first = depth_first;
    breadth_first.sort_by_key(|path| path.matches('/').count());
    let mut backwards = breadth_first;
    backwards.sort_by_key(|path| (path.matches('/').count(), std::cmp::Reverse(*path)));
    for order in [depth_first, breadth_first, backwards] {
        let tree = build(&order).unwrap();
        assert_eq!(tree.check_invariants(), Ok(()));
        assert!(order.iter().all(|path| tree.find(path).is_some()), "{order:?}");
        assert_eq!(tree.find("/a").unwrap().child_count(), 2);
    }
}

#[test]
fn nodes_that_every_tree_has_are_added_to_an_old_file() {
    let tree = build(&["", "/zookeeper", "/zookeeper/quota"]).unwrap();
    let config = tree.find(tree::CONFIG_PATH).unwrap();
    assert_eq!((config.stat().aversion, config.acl().entries.clone()), (-1, vec![Acl::read_only()]));
    assert_eq!(tree.last_zxid(), Zxid::from_wire(7));
    assert_eq!(tree.find("/").unwrap().data(), Some(&b"x"[..]));
    assert_eq!(tree.check_invariants(), Ok(()));
}

#[test]
fn a_node_with_an_unknown_acl_permits_nothing() {
    let mut builder = TreeBuilder::new(0);
    builder.acl(5, AclSlice::OPEN).unwrap();
    builder.acl(6, AclSlice::OPEN).unwrap();
    for (path, acl) in [("", -1), ("/a", 5), ("/b", 6), ("/c", 77)] {
        builder.node(&record(path, acl)).unwrap();
    }
    assert_eq!(builder.unknown_acls(), 1);
    let tree = builder.finish(Zxid::ZERO).unwrap();
    let acl = |path: &str| tree.find(path).unwrap().acl().clone();
    assert!(std::sync::Arc::ptr_eq(&acl("/a"), &acl("/b")), "equal lists become one");
    assert!(acl("/").is_open() && acl("/a").is_open());
    assert!(!acl("/c").entries.is_empty(), "an empty list would permit everything");
    assert!(acl("/c").entries.iter().all(|acl| acl.perms == Perms::from_bits(0)));
    assert_eq!(tree.check_invariants(), Ok(()));
}

#[test]
fn lists_that_no_node_uses_are_dropped() {
    let mut builder = TreeBuilder::new(0);
    builder.acl(1, AclSlice::OPEN).unwrap();
    builder.node(&record("", -1)).unwrap();
    let tree = builder.finish(Zxid::ZERO).unwrap();
    assert!(tree.acl_by_bytes(AclSlice::OPEN.as_bytes()).is_none());
}

#[test]
fn ephemerals_are_known_by_their_owner() {
    let mut builder = TreeBuilder::new(0);
    builder.session(SessionId::new(3), 4_000);
    builder.node(&record("", -1)).unwrap();
    for (path, owner) in [("/a", 3), ("/b", 4)] {
        let mut record = record(path, -1);
        record.stat.ephemeral_owner = owner;
        builder.node(&record).unwrap();
    }
    let mut tree = builder.finish(Zxid::from_wire(9)).unwrap();
    assert_eq!(tree.ephemerals(SessionId::new(3)).collect::<Vec<_>>(), ["/a"]);
    assert_eq!(tree.stray_ephemerals(), ["/b"]);
    assert_eq!(tree.remove_strays(), 1);
    assert_eq!(tree.find("/").unwrap().stat().pzxid, Zxid::from_wire(9));
}
