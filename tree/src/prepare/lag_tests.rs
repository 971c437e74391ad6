//! How far applying lags behind preparing must not be seen: the same requests give the same transactions, byte for
//! byte, whether each is applied at once or a thousand are pending.

use std::collections::VecDeque;

use proptest::prelude::*;
use protocol::acl::write_acls;
use protocol::client::multi::MultiOp;
use protocol::client::request::{CreateRequest, Request};
use protocol::txn::Transaction;
use protocol::{Acl, AclSlice, ErrorCode, Id, OpCode, Perms, Reader, SessionId, Zxid};

use super::{Pending, PrepareContext, Rules};
use crate::authorize::AuthRules;
use crate::tree::Tree;

const PATHS: &[&str] = &["/", "/a", "/b", "/a/x", "/a/y", "/b/x", "/a/x/1", "/a/x/2", "/zookeeper/q"];

#[derive(Clone, Debug)]
enum Op {
    Create { path: usize, op: usize, flags: i32, length: usize, acl: usize },
    Delete { path: usize, version: i32 },
    Set { path: usize, length: usize, version: i32 },
    SetAcl { path: usize, acl: usize },
    Check { path: usize, version: i32 },
}

#[derive(Clone, Debug)]
enum Step {
    One { session: i64, op: Op },
    Multi { session: i64, ops: Vec<Op> },
    Open { session: i64 },
    Close { session: i64 },
    Reap { path: usize },
    Apply { count: usize },
}

fn op() -> impl Strategy<Value = Op> {
    let path = || 0..PATHS.len();
    // Versions that sometimes fit.
    let version = || prop_oneof![3 => Just(-1), 1 => 0..3_i32];
    let flags = prop_oneof![3 => Just(0), 3 => Just(1), 2 => 0..7_i32];
    prop_oneof![
        6 => (path(), 0..4_usize, flags, 0..600_usize, 0..5_usize)
            .prop_map(|(path, op, flags, length, acl)| Op::Create { path, op, flags, length, acl }),
        4 => (path(), version()).prop_map(|(path, version)| Op::Delete { path, version }),
        3 => (path(), 0..600_usize, version())
            .prop_map(|(path, length, version)| Op::Set { path, length, version }),
        1 => (path(), 0..5_usize).prop_map(|(path, acl)| Op::SetAcl { path, acl }),
        1 => (path(), version()).prop_map(|(path, version)| Op::Check { path, version }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let session = || 1..4_i64;
    prop_oneof![
        8 => (session(), op()).prop_map(|(session, op)| Step::One { session, op }),
        4 => (session(), prop::collection::vec(op(), 0..6))
            .prop_map(|(session, ops)| Step::Multi { session, ops }),
        1 => session().prop_map(|session| Step::Open { session }),
        1 => session().prop_map(|session| Step::Close { session }),
        1 => (0..PATHS.len()).prop_map(|path| Step::Reap { path }),
        3 => (1..6_usize).prop_map(|count| Step::Apply { count }),
    ]
}

/// Lists that shut some of the sessions out of something.
fn acls() -> Vec<Vec<u8>> {
    let entry =
        |perms: i32, scheme: &str, id: &str| Acl { perms: Perms::from_bits(perms), id: Id::new(scheme, id) };
    [
        vec![Acl::open()],
        vec![Acl::open()],
        vec![entry(1, "world", "anyone"), entry(31, "auth", "")],
        vec![entry(31, "digest", "user1:x"), entry(31, "digest", "user2:x")],
        vec![],
    ]
    .iter()
    .map(|list| {
        let mut bytes = Vec::new();
        write_acls(&mut bytes, list);
        bytes
    })
    .collect()
}

struct Server {
    tree: Tree,
    pending: Pending,
    waiting: VecDeque<Vec<u8>>,
    history: Vec<Vec<u8>>,
    rules: Rules,
    acls: Vec<Vec<u8>>,
    data: Vec<u8>,
    lags: bool,
}

impl Server {
    fn new(lags: bool) -> Server {
        Server {
            tree: Tree::new(3),
            pending: Pending::new(),
            waiting: VecDeque::new(),
            history: Vec::new(),
            rules: Rules { ttl_nodes: true, auth: AuthRules::default(), ..Rules::default() },
            acls: acls(),
            data: vec![b'x'; 600],
            lags,
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::One { session, op } => {
                let (acls, data) = (self.acls.clone(), self.data.clone());
                let request = match multi_op(op, &acls, &data) {
                    MultiOp::Create(create) => Request::Create(create),
                    MultiOp::Delete { path, version } => Request::Delete { path, version },
                    MultiOp::SetData { path, data, version } => match op {
                        Op::SetAcl { acl, .. } => {
                            let acl = AclSlice::read(&mut Reader::new(&acls[*acl])).unwrap();
                            Request::SetAcl { path, acl, version: -1 }
                        }
                        _ => Request::SetData { path, data, version },
                    },
                    _ => Request::Multi(vec![multi_op(op, &acls, &data)]),
                };
                self.prepare(*session, |pending, ctx, out| {
                    let _ = pending.prepare(ctx, &request, out);
                });
            }
            Step::Multi { session, ops } => {
                let (acls, data) = (self.acls.clone(), self.data.clone());
                let request = Request::Multi(ops.iter().map(|op| multi_op(op, &acls, &data)).collect());
                self.prepare(*session, |pending, ctx, out| {
                    let _ = pending.prepare(ctx, &request, out);
                });
            }
            Step::Open { session } => {
                self.prepare(*session, |pending, ctx, out| pending.prepare_create_session(ctx, 4_000, out));
            }
            Step::Close { session } => {
                self.prepare(*session, |pending, ctx, out| pending.prepare_close_session(ctx, out));
            }
            Step::Reap { path } => self.prepare(0, |pending, ctx, out| {
                let _ = pending.prepare_delete_container(ctx, PATHS[*path], out);
            }),
            Step::Apply { count } => self.apply(*count),
        }
        if !self.lags {
            self.apply(usize::MAX);
        }
    }

    fn prepare(&mut self, session: i64, write: impl FnOnce(&mut Pending, &PrepareContext<'_>, &mut Vec<u8>)) {
        let number = self.history.len() as i64 + 1;
        let ids = [Id::new("ip", "127.0.0.1"), Id::new("digest", format!("user{session}:x"))];
        let ctx = PrepareContext {
            tree: &self.tree,
            rules: &self.rules,
            session: SessionId::new(session),
            session_check: Ok(()),
            session_is_local: false,
            ids: &ids,
            cxid: 0,
            zxid: Zxid::from_wire(number),
            time_ms: number * 10,
        };
        let mut envelope = Vec::new();
        write(&mut self.pending, &ctx, &mut envelope);
        self.history.push(envelope.clone());
        self.waiting.push_back(envelope);
    }

    fn apply(&mut self, count: usize) {
        for envelope in self.waiting.drain(..count.min(self.waiting.len())) {
            let txn = Transaction::read(&envelope).unwrap();
            self.tree.apply(&txn, &mut ());
            if let Some(digest) = txn.digest {
                assert_eq!(digest.tree_digest, self.tree.digest(), "{txn:?}");
            }
            self.pending.applied(txn.header.zxid);
        }
        assert!(!self.waiting.is_empty() || self.pending.is_empty());
    }
}

fn multi_op<'a>(op: &Op, acls: &'a [Vec<u8>], data: &'a [u8]) -> MultiOp<'a> {
    match *op {
        Op::Create { path, op, flags, length, acl } => MultiOp::Create(CreateRequest {
            op: [OpCode::Create, OpCode::Create2, OpCode::CreateContainer, OpCode::CreateTtl][op],
            path: PATHS[path].into(),
            data: Some(&data[..length]),
            acl: AclSlice::read(&mut Reader::new(&acls[acl])).unwrap(),
            flags,
            ttl_ms: if op == 3 { 1_000 } else { -1 },
        }),
        Op::Delete { path, version } => MultiOp::Delete { path: PATHS[path].into(), version },
        Op::Set { path, length, version } => {
            MultiOp::SetData { path: PATHS[path].into(), data: Some(&data[..length]), version }
        }
        // A multi has no setACL.
        Op::SetAcl { path, .. } => MultiOp::SetData { path: PATHS[path].into(), data: None, version: -1 },
        Op::Check { path, version } => MultiOp::Check { path: PATHS[path].into(), version },
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn what_is_pending_counts_as_if_it_were_applied(steps in prop::collection::vec(step(), 1..120)) {
        let (mut prompt, mut lagging) = (Server::new(false), Server::new(true));
        for step in &steps {
            prompt.step(step);
            lagging.step(step);
            if prompt.history.last() != lagging.history.last() {
                let read = |server: &Server| {
                    server.history.last().map(|bytes| format!("{:?}", Transaction::read(bytes)))
                };
                prop_assert_eq!(read(&prompt), read(&lagging), "{:?}", step);
            }
        }
        lagging.apply(usize::MAX);
        prop_assert_eq!(prompt.tree.digest(), lagging.tree.digest());
        prop_assert_eq!(prompt.tree.check_invariants(), Ok(()));
        prop_assert_eq!(lagging.tree.check_invariants(), Ok(()));
    }
}

/// The steps above must not all be refused, or they show nothing.
#[test]
fn the_random_steps_reach_every_outcome() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::{Config, RngSeed, TestRunner};
    let mut runner = TestRunner::new(Config { rng_seed: RngSeed::Fixed(1), ..Config::default() });
    let mut server = Server::new(true);
    for _ in 0..3_000 {
        let step = step().new_tree(&mut runner).unwrap().current();
        server.step(&step);
    }
    let mut kinds = std::collections::BTreeSet::new();
    for envelope in &server.history {
        let txn = Transaction::read(envelope).unwrap();
        match txn.body {
            protocol::txn::TxnBody::Error { code } => {
                kinds.insert(format!("{:?}", ErrorCode::from_wire(code)))
            }
            _ => kinds.insert(txn.header.kind.to_string()),
        };
    }
    for kind in ["1", "2", "5", "7", "14", "15", "19", "20", "21", "-10", "-11"] {
        assert!(kinds.contains(kind), "{kind} is missing in {kinds:?}");
    }
    for code in [
        ErrorCode::NoNode,
        ErrorCode::NoAuth,
        ErrorCode::BadVersion,
        ErrorCode::NodeExists,
        ErrorCode::NotEmpty,
        ErrorCode::NoChildrenForEphemerals,
        ErrorCode::InvalidAcl,
        ErrorCode::BadArguments,
    ] {
        assert!(kinds.contains(&format!("{:?}", Some(code))), "{code} is missing in {kinds:?}");
    }
}
