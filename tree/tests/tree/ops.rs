//! Random transactions over few paths, so that they meet.

use std::borrow::Cow;

use proptest::prelude::*;
use protocol::txn::{CreateTxn, Transaction, TxnBody, TxnHeader};
use protocol::{Acl, AclSlice, Epoch, Id, OpCode, Perms, SessionId, Zxid};
use tree::AclList;

use super::model::Model;

/// An operation before it becomes a transaction.
#[derive(Clone, Debug)]
pub enum Op {
    Create { path: String, kind: Kind, data: Data, acl: usize, session: i64, cversion: Cversion },
    Delete { path: String },
    SetData { path: String, data: Data },
    SetAcl { path: String, acl: usize },
    CreateSession { session: i64 },
    CloseSession { session: i64, listed: bool },
    Error,
    Multi { ops: Vec<Op>, refused: bool },
}

/// What is created.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Persistent,
    Ephemeral,
    Container,
    Ttl,
    /// What Java's leader lets through and dies of.
    PoisonTtl,
}

/// What the transaction says about the parent's cversion.
#[derive(Clone, Copy, Debug)]
pub enum Cversion {
    Next,
    Unsaid,
    Stale,
}

/// Null, or so many bytes of one kind.
#[derive(Clone, Copy, Debug)]
pub struct Data(Option<(u8, usize)>);

pub const SESSIONS: std::ops::Range<i64> = 0x100_0000..0x100_0003;

fn path() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec!["a", "b", "c", "é"]);
    let ordinary = prop::collection::vec(name, 1..4)
        .prop_map(|names| names.into_iter().fold(String::new(), |path, name| path + "/" + name));
    let quota = prop::sample::select(vec![
        "/zookeeper/quota/a",
        "/zookeeper/quota/a/zookeeper_limits",
        "/zookeeper/quota/a/zookeeper_stats",
    ]);
    prop_oneof![20 => ordinary, 1 => quota.prop_map(str::to_owned)]
}

fn data() -> impl Strategy<Value = Data> {
    let length = prop_oneof![8 => 0..40_usize, 1 => 500..530_usize];
    prop_oneof![
        1 => Just(Data(None)),
        6 => (any::<u8>(), length).prop_map(|(byte, length)| Data(Some((byte, length)))),
    ]
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        4 => Just(Kind::Persistent),
        3 => Just(Kind::Ephemeral),
        1 => Just(Kind::Container),
        1 => Just(Kind::Ttl),
        1 => Just(Kind::PoisonTtl),
    ]
}

fn single(strict: bool) -> impl Strategy<Value = Op> {
    let cversion = if strict {
        Just(Cversion::Next).boxed()
    } else {
        prop_oneof![8 => Just(Cversion::Next), 1 => Just(Cversion::Unsaid), 1 => Just(Cversion::Stale)]
            .boxed()
    };
    prop_oneof![
        8 => (path(), kind(), data(), 0..ACLS, SESSIONS, cversion).prop_map(
            |(path, kind, data, acl, session, cversion)| Op::Create { path, kind, data, acl, session, cversion }
        ),
        4 => path().prop_map(|path| Op::Delete { path }),
        3 => (prop_oneof![9 => path(), 1 => Just("/".to_owned())], data())
            .prop_map(|(path, data)| Op::SetData { path, data }),
        2 => (path(), 0..ACLS).prop_map(|(path, acl)| Op::SetAcl { path, acl }),
    ]
}

/// Operations as they could stand in a log; `strict` ones say the right cversion and list what a session takes
/// along, as leaders since 3.6 do.
pub fn ops(strict: bool, count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Op>> {
    let multi = (prop::collection::vec(single(strict), 0..4), prop::bool::weighted(0.2))
        .prop_map(|(ops, refused)| Op::Multi { ops, refused });
    let op = prop_oneof![
        16 => single(strict),
        2 => SESSIONS.prop_map(|session| Op::CreateSession { session }),
        2 => (SESSIONS, any::<bool>()).prop_map(move |(session, listed)| Op::CloseSession {
            session,
            listed: listed || strict,
        }),
        2 => multi,
        1 => Just(Op::Error),
    ];
    prop::collection::vec(op, count)
}

const ACLS: usize = 3;

fn acl_bytes(number: usize) -> Vec<u8> {
    let acls = match number {
        0 => vec![Acl::open()],
        1 => vec![Acl::read_only()],
        _ => vec![Acl { perms: Perms::ALL, id: Id::new("digest", "bob:x") }, Acl::read_only()],
    };
    AclList::new(acls).as_bytes().to_vec()
}

/// A transaction in its encoded form, as everything that is applied once was.
#[derive(Clone, Debug)]
pub struct Envelope(Vec<u8>);

impl Envelope {
    pub fn read(&self) -> Transaction<'_> {
        Transaction::read(&self.0).expect("what was written can be read")
    }
}

/// Numbers transactions.
#[derive(Clone, Debug)]
pub struct Numbering {
    zxid: Zxid,
    time_ms: i64,
}

impl Numbering {
    pub fn new() -> Numbering {
        Numbering { zxid: Zxid::new(Epoch::new(3), 100), time_ms: 1_795_307_668_457 }
    }

    /// Makes a transaction of an operation; what a leader looks up in its tree is looked up in the model.
    pub fn envelope(&mut self, op: &Op, model: &Model) -> Envelope {
        self.zxid = self.zxid.next().expect("a test has few transactions");
        self.time_ms += 7;
        let session = match op {
            Op::Create { session, .. } | Op::CreateSession { session } | Op::CloseSession { session, .. } => {
                *session
            }
            Op::Multi { .. } => SESSIONS.start,
            _ => 5,
        };
        let mut body = Vec::new();
        let kind = write_body(op, model, &mut body);
        let header = TxnHeader {
            session: SessionId::new(session),
            cxid: 9,
            zxid: self.zxid,
            time_ms: self.time_ms,
            kind,
        };
        let mut envelope = Vec::new();
        header.write(&mut envelope);
        envelope.extend(body);
        Envelope(envelope)
    }
}

fn write_body(op: &Op, model: &Model, out: &mut Vec<u8>) -> i32 {
    // Several sub-operations under one parent would each ask the model as it is before the multi; a leader asks
    // its pending changes, so a scratch copy moves along.
    let mut scratch = model.clone();
    let mut bytes = Vec::new();
    let subs: Vec<(i32, Vec<u8>)> = match op {
        Op::Multi { ops, refused } => ops
            .iter()
            .map(|sub| {
                bytes.clear();
                let kind = write_single(sub, &scratch, &mut bytes);
                let header =
                    TxnHeader { session: SessionId::NONE, cxid: 0, zxid: model.last_zxid, time_ms: 0, kind };
                let mut envelope = Vec::new();
                header.write(&mut envelope);
                envelope.extend_from_slice(&bytes);
                scratch.apply(&Envelope(envelope).read());
                (kind, bytes.clone())
            })
            .chain(refused.then(|| (-1, (-110_i32).to_be_bytes().to_vec())))
            .collect(),
        _ => return write_single(op, model, out),
    };
    let bodies = subs.iter().map(|(kind, bytes)| {
        TxnBody::read(*kind, &mut protocol::Reader::new(bytes)).expect("what was written can be read")
    });
    let multi = TxnBody::Multi(bodies.collect());
    multi.write(out);
    multi.kind()
}

fn write_single(op: &Op, model: &Model, out: &mut Vec<u8>) -> i32 {
    let (acl, data);
    let body = match op {
        Op::Create { path, kind, data: wanted, acl: number, cversion, .. } => {
            acl = acl_bytes(*number);
            data = wanted.bytes();
            let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
            let parent_cversion = model.nodes.get(parent).map_or(0, |node| node.stat.cversion);
            TxnBody::Create(CreateTxn {
                op: match kind {
                    Kind::Persistent => OpCode::Create,
                    Kind::Ephemeral => OpCode::Create2,
                    Kind::Container => OpCode::CreateContainer,
                    Kind::Ttl | Kind::PoisonTtl => OpCode::CreateTtl,
                },
                path: Cow::Borrowed(path),
                data: data.as_deref(),
                acl: slice(&acl),
                ephemeral: matches!(kind, Kind::Ephemeral),
                parent_cversion: match cversion {
                    Cversion::Next => parent_cversion + 1,
                    Cversion::Unsaid => -1,
                    Cversion::Stale => parent_cversion - 1,
                },
                ttl_ms: if matches!(kind, Kind::Ttl) { 5_000 } else { -1 },
            })
        }
        Op::Delete { path } => TxnBody::Delete { path: Cow::Borrowed(path), container: false },
        Op::SetData { path, data: wanted } => {
            data = wanted.bytes();
            let version = model.nodes.get(path.trim_end_matches('/')).map_or(0, |node| node.stat.version) + 1;
            TxnBody::SetData { path: Cow::Borrowed(path), data: data.as_deref(), version, reconfig: false }
        }
        Op::SetAcl { path, acl: number } => {
            acl = acl_bytes(*number);
            let version = model.nodes.get(path.as_str()).map_or(0, |node| node.stat.aversion) + 1;
            TxnBody::SetAcl { path: Cow::Borrowed(path), acl: slice(&acl), version }
        }
        Op::CreateSession { session } => TxnBody::CreateSession { timeout_ms: *session as i32 % 1000 },
        Op::CloseSession { session, listed } => {
            let owned = model.nodes.iter().filter(|(_, node)| node.stat.ephemeral_owner == *session);
            let paths = owned.map(|(path, _)| Cow::Owned(path.clone())).collect();
            TxnBody::CloseSession { paths: listed.then_some(paths) }
        }
        Op::Error | Op::Multi { .. } => TxnBody::Error { code: -101 },
    };
    body.write(out);
    body.kind()
}

fn slice(bytes: &[u8]) -> AclSlice<'_> {
    AclSlice::read(&mut protocol::Reader::new(bytes)).expect("an encoded list can be read")
}

impl Data {
    fn bytes(self) -> Option<Vec<u8>> {
        self.0.map(|(byte, length)| vec![byte; length])
    }
}
