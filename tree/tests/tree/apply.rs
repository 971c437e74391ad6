//! The effects of transactions, one by one and against the model.

use proptest::prelude::*;
use protocol::txn::{CreateTxn, NodeKind, Transaction, TxnBody, TxnDigest, TxnHeader};
use protocol::{AclSlice, Epoch, ErrorCode, OpCode, SessionId, Zxid};
use tree::{Change, ChangeObserver, Outcome, Tree};

use super::model::{Dump, Model};
use super::ops::{Numbering, ops};

proptest! {
    #[test]
    fn tree_does_what_the_model_does(ops in ops(false, 1..60)) {
        let mut model = Model::new();
        let mut tree = Tree::new(1);
        let mut numbering = Numbering::new();
        for op in &ops {
            let envelope = numbering.envelope(op, &model);
            let fitted = model.apply(&envelope.read());
            let outcome = tree.apply(&envelope.read(), &mut ());
            prop_assert_eq!(outcome.code() == 0, fitted, "{:?} of {:?}", outcome, op);
            prop_assert_eq!(Dump::of(&tree).without_usage(), model.dump().without_usage());
            prop_assert_eq!(tree.check_invariants(), Ok(()));
        }
    }

    #[test]
    fn the_hash_seed_cannot_be_seen(ops in ops(false, 1..60)) {
        let mut model = Model::new();
        let mut numbering = Numbering::new();
        let (mut one, mut other) = (Tree::new(1), Tree::new(2));
        for op in &ops {
            let envelope = numbering.envelope(op, &model);
            model.apply(&envelope.read());
            let mut heard = (Heard::default(), Heard::default());
            let outcome = one.apply(&envelope.read(), &mut heard.0);
            prop_assert_eq!(outcome, other.apply(&envelope.read(), &mut heard.1));
            prop_assert_eq!(heard.0.0, heard.1.0);
        }
        let order = |tree: &Tree| -> Vec<Vec<String>> {
            let nodes = Dump::of(tree).nodes.into_keys();
            nodes.map(|path| tree.find(&path).unwrap().children().map(str::to_owned).collect()).collect()
        };
        prop_assert_eq!(order(&one), order(&other));
        prop_assert_eq!(Dump::of(&one), Dump::of(&other));
    }
}

/// Writes changes down.
#[derive(Default)]
pub struct Heard(pub Vec<String>);

impl ChangeObserver for Heard {
    fn on_change(&mut self, zxid: Zxid, change: Change<'_>) {
        let zxid = zxid.counter();
        self.0.push(match change {
            Change::Created { path, parent, .. } => format!("{zxid} created {path} in {parent}"),
            Change::Deleted { path, parent, .. } => format!("{zxid} deleted {path} in {parent}"),
            Change::DataChanged { path, .. } => format!("{zxid} set {path}"),
        });
    }
}

const SESSION: SessionId = SessionId::new(0x100_0000_0007);

/// A tree and the next zxid.
pub struct Bench {
    pub tree: Tree,
    pub heard: Heard,
    counter: u32,
}

impl Bench {
    pub fn new() -> Bench {
        Bench { tree: Tree::new(0), heard: Heard::default(), counter: 0 }
    }

    pub fn apply(&mut self, body: TxnBody<'_>) -> Outcome {
        self.counter += 1;
        self.apply_at(self.counter, body)
    }

    pub fn apply_at(&mut self, counter: u32, body: TxnBody<'_>) -> Outcome {
        let header = TxnHeader {
            session: SESSION,
            cxid: 1,
            zxid: Zxid::new(Epoch::new(0), counter),
            time_ms: 1_000 + i64::from(counter),
            kind: body.kind(),
        };
        self.tree.apply(&Transaction { header, body, digest: None }, &mut self.heard)
    }

    pub fn create(&mut self, path: &str) -> Outcome {
        self.apply(create(path, OpCode::Create, false))
    }

    fn cversion(&self, path: &str) -> (i32, i32, u32) {
        let node = self.tree.find(path).expect("the node is there");
        (node.stat().cversion, node.client_stat().cversion, node.stat().pzxid.counter())
    }
}

pub fn create(path: &str, op: OpCode, ephemeral: bool) -> TxnBody<'_> {
    TxnBody::Create(CreateTxn {
        op,
        path: path.into(),
        data: Some(b"ab"),
        acl: AclSlice::OPEN,
        ephemeral,
        parent_cversion: -1,
        ttl_ms: if op == OpCode::CreateTtl { 5_000 } else { -1 },
    })
}

fn delete(path: &str) -> TxnBody<'_> {
    TxnBody::Delete { path: path.into(), container: false }
}

#[test]
fn a_new_tree_is_javas() {
    let tree = Tree::new(9);
    assert_eq!(tree.node_count(), 5);
    assert_eq!(tree.digest(), 1_371_985_504);
    assert_eq!(tree.find("").unwrap().client_stat().cversion, -1);
    assert_eq!(tree.find("/zookeeper").unwrap().client_stat().cversion, -2);
    let config = tree.find("/zookeeper/config").unwrap();
    assert_eq!((config.data(), config.stat().aversion), (Some(&b""[..]), -1));
    assert_eq!(config.acl().entries, [protocol::Acl::read_only()]);
    assert_eq!(tree.approximate_data_size(), 1 + 10 + 16 + 17);
    assert_eq!(tree.check_invariants(), Ok(()));
}

#[test]
fn the_digest_is_what_a_java_leader_computed() {
    // Captured from 3.8.0: the first create after a session began, with the leader's digest.
    let mut tree = Tree::new(0);
    let header = TxnHeader {
        session: SessionId::new(0x0100_000e_57fa_0000),
        cxid: 1,
        zxid: Zxid::from_wire(0x1_0000_0002),
        time_ms: 0x1a2_00b0_4cb5,
        kind: OpCode::Create.to_wire(),
    };
    let TxnBody::Create(mut body) = create("/a", OpCode::Create, false) else { unreachable!() };
    (body.data, body.parent_cversion) = (Some(&b"hello"[..]), 1);
    let expected = TxnDigest { version: 2, tree_digest: 0x2_313e_1c9b };
    assert!(!tree.agrees_with(expected));
    tree.apply(&Transaction { header, body: TxnBody::Create(body), digest: Some(expected) }, &mut ());
    assert!(tree.agrees_with(expected));
    assert!(tree.agrees_with(TxnDigest { version: 1, tree_digest: 0 }), "not comparable");
}

#[test]
fn stats_follow_the_rules() {
    let mut bench = Bench::new();
    bench.create("/a");
    bench.create("/a/b");
    bench.create("/a/c");
    bench.apply(delete("/a/b"));
    // Creates count once as stored and deletes not at all; clients see both.
    assert_eq!(bench.cversion("/a"), (2, 3, 4));
    let set = TxnBody::SetData { path: "/a".into(), data: None, version: 1, reconfig: false };
    let Outcome::DataSet { stat } = bench.apply(set) else { panic!("the node is there") };
    assert_eq!((stat.version, stat.mzxid.counter(), stat.mtime_ms, stat.ctime_ms), (1, 5, 1_005, 1_001));
    assert_eq!((stat.data_length, stat.children, stat.pzxid.counter()), (0, 1, 4));
    let set = TxnBody::SetAcl { path: "/a".into(), acl: AclSlice::OPEN, version: 1 };
    let Outcome::AclSet { stat } = bench.apply(set) else { panic!("the node is there") };
    assert_eq!((stat.aversion, stat.mzxid.counter(), stat.version), (1, 5, 1));
    assert_eq!(
        bench.heard.0,
        [
            "1 created /a in /",
            "2 created /a/b in /a",
            "3 created /a/c in /a",
            "4 deleted /a/b in /a",
            "5 set /a",
        ]
    );
}

#[test]
fn a_multi_is_all_or_nothing() {
    let mut bench = Bench::new();
    let refused = TxnBody::Multi(vec![
        create("/a", OpCode::Create, false),
        TxnBody::Error { code: ErrorCode::BadVersion.to_wire() },
        create("/b", OpCode::Create, false),
    ]);
    let outcome = bench.apply(refused);
    assert_eq!(outcome, Outcome::Multi(vec![Outcome::Failed(0), Outcome::Failed(-103), Outcome::Failed(-2)]));
    assert_eq!(outcome.code(), -103);
    assert!(bench.tree.find("/a").is_none());
    assert_eq!(bench.tree.last_zxid().counter(), 1);

    let done = TxnBody::Multi(vec![
        create("/a", OpCode::Create, false),
        create("/a/b", OpCode::Create, false),
        TxnBody::Check { path: "/a".into(), version: 1 },
        delete("/a/b"),
    ]);
    let Outcome::Multi(outcomes) = bench.apply(done) else { panic!("a multi has many outcomes") };
    let Outcome::Created { stat } = outcomes[0] else { panic!("the node is new") };
    assert_eq!((stat.cversion, stat.children), (0, 0), "the state right after the operation");
    assert_eq!(bench.cversion("/a"), (1, 2, 2));
    assert_eq!(bench.heard.0.len(), 3);
}

#[test]
fn a_session_takes_its_ephemerals_along() {
    let mut bench = Bench::new();
    bench.apply(TxnBody::CreateSession { timeout_ms: 4_000 });
    assert_eq!(bench.tree.session_timeout_ms(SESSION), Some(4_000));
    for path in ["/x", "/y", "/z"] {
        bench.apply(create(path, OpCode::Create2, true));
    }
    assert_eq!(bench.tree.find("/x").unwrap().kind(), NodeKind::Ephemeral(SESSION));
    assert_eq!(bench.tree.ephemerals(SESSION).collect::<Vec<_>>(), ["/x", "/y", "/z"]);
    assert_eq!(bench.tree.ephemerals_count(), 3);
    bench.heard.0.clear();
    let paths = vec!["/y".into(), "/gone".into()];
    bench.apply(TxnBody::CloseSession { paths: Some(paths) });
    assert_eq!(bench.heard.0, ["5 deleted /y in /", "5 deleted /x in /", "5 deleted /z in /"]);
    assert_eq!(bench.cversion("/"), (3, 5, 5));
    assert_eq!(bench.tree.sessions().len(), 0);
    assert_eq!(bench.tree.ephemerals_count(), 0);
    assert_eq!(bench.tree.check_invariants(), Ok(()));
}

#[test]
fn containers_and_ttl_nodes_are_reaped_when_due() {
    let mut bench = Bench::new();
    for (path, op) in
        [("/c", OpCode::CreateContainer), ("/n", OpCode::CreateContainer), ("/t", OpCode::CreateTtl)]
    {
        bench.apply(create(path, op, false));
    }
    assert_eq!(bench.tree.find("/t").unwrap().kind(), NodeKind::Ttl(5_000));
    assert_eq!(bench.tree.find("/t").unwrap().client_stat().ephemeral_owner, 0);
    bench.create("/c/x");
    assert_eq!(bench.tree.reap_candidates(6_003, 0), [""; 0]);
    bench.apply(delete("/c/x"));
    assert_eq!(bench.tree.reap_candidates(6_003, 0), ["/c"]);
    assert_eq!(bench.tree.reap_candidates(6_004, 0), ["/c", "/t"]);
    assert_eq!(bench.tree.reap_candidates(6_003, 4_000), ["/c", "/n"]);
}

#[test]
fn a_poisonous_ttl_makes_a_persistent_node() {
    let mut bench = Bench::new();
    let TxnBody::Create(mut poison) = create("/p", OpCode::CreateTtl, false) else { unreachable!() };
    poison.ttl_ms = -1;
    assert!(matches!(bench.apply(TxnBody::Create(poison)), Outcome::Created { .. }));
    assert_eq!(bench.tree.find("/p").unwrap().kind(), NodeKind::Persistent);
}

#[test]
fn creating_a_node_again_replaces_its_acl_and_moves_its_parent() {
    for op in [OpCode::Create, OpCode::Create2, OpCode::CreateContainer, OpCode::CreateTtl] {
        let mut bench = Bench::new();
        bench.create("/a");
        let config_acl = bench.tree.find("/zookeeper/config").unwrap().acl().as_bytes().to_vec();
        let TxnBody::Create(mut again) = create("/a", op, false) else { unreachable!() };
        again.data = None;
        again.parent_cversion = 7;
        again.acl = AclSlice::read(&mut protocol::Reader::new(&config_acl)).unwrap();
        assert_eq!(bench.apply(TxnBody::Create(again)), Outcome::Failed(-110));
        let node = bench.tree.find("/a").unwrap();
        assert_eq!((node.data(), node.acl().as_bytes()), (Some(&b"ab"[..]), &config_acl[..]));
        assert_eq!(bench.cversion("/"), (7, 12, 2));
        assert_eq!(bench.tree.check_invariants(), Ok(()));
    }
}

#[test]
fn a_parents_counters_never_move_back() {
    let mut bench = Bench::new();
    bench.apply_at(9, create("/a", OpCode::Create, false));
    let TxnBody::Create(mut old) = create("/b", OpCode::Create, false) else { unreachable!() };
    old.parent_cversion = 0;
    bench.apply_at(3, TxnBody::Create(old));
    assert_eq!(bench.cversion("/"), (1, -1, 9));
    assert_eq!(bench.apply_at(4, delete("/none")), Outcome::Failed(-101));
    assert_eq!(bench.cversion("/").2, 9);
    assert_eq!(bench.apply_at(11, delete("/none")), Outcome::Failed(-101));
    assert_eq!(bench.cversion("/").2, 11, "a missing node still counts as a change of the parent");
    assert_eq!(bench.tree.last_zxid().counter(), 11);
    bench.apply_at(10, TxnBody::Error { code: -1 });
    assert_eq!(bench.tree.last_zxid().counter(), 11);
}

#[test]
fn paths_that_cannot_be_are_refused_and_change_nothing() {
    let mut bench = Bench::new();
    bench.create("/a");
    let digest = bench.tree.digest();
    for path in ["", "/", "x", "//x", "/a/", "/a//b", "x/y", "/none/b"] {
        assert!(bench.create(path).code() != 0, "{path:?}");
        assert!(bench.apply(delete(path)).code() != 0, "{path:?}");
    }
    assert_eq!((bench.tree.digest(), bench.tree.node_count()), (digest, 6));
    for path in ["//", "a", "/a/", "//a", "/A"] {
        assert!(bench.tree.find(path).is_none(), "{path:?}");
    }
}

#[test]
fn strays_are_found_and_removed() {
    let mut bench = Bench::new();
    bench.apply(create("/e", OpCode::Create, true));
    bench.apply(TxnBody::CreateSession { timeout_ms: 4_000 });
    assert_eq!(bench.tree.stray_ephemerals(), [""; 0]);
    let mut bench = Bench::new();
    bench.apply(create("/e", OpCode::Create, true));
    bench.create("/f");
    assert_eq!(bench.tree.stray_ephemerals(), ["/e"]);
    assert_eq!(bench.tree.remove_strays(), 1);
    assert!(bench.tree.find("/e").is_none());
    assert_eq!(bench.cversion("/"), (2, 2, 2));
    assert_eq!(bench.tree.check_invariants(), Ok(()));
}

#[test]
fn the_configuration_is_set_without_a_transaction() {
    let mut bench = Bench::new();
    let digest = bench.tree.digest();
    bench.tree.set_config(b"version=0", Zxid::from_wire(0x1_0000_0002), 77);
    let config = bench.tree.find(tree::CONFIG_PATH).unwrap();
    assert_eq!(config.data(), Some(&b"version=0"[..]));
    assert_eq!(
        (config.stat().version, config.stat().mzxid.to_wire(), config.stat().mtime_ms),
        (-1, 0x1_0000_0002, 77)
    );
    assert_eq!(bench.tree.digest(), digest);
}

#[test]
fn digests_are_remembered_at_every_128th_zxid() {
    let mut bench = Bench::new();
    for _ in 0..300 {
        bench.apply(TxnBody::CreateSession { timeout_ms: 1 });
    }
    let history: Vec<u32> = bench.tree.digest_history().map(|(zxid, _)| zxid.counter()).collect();
    assert_eq!(history, [128, 256]);
}
