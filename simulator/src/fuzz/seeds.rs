//! Inputs to start from: frames captured from ZooKeeper 3.9.5, and one well-formed value of everything else.

use std::borrow::Cow;

use protocol::client::multi::{MultiHeader, MultiOp, write_op};
use protocol::client::op_code::OpCode;
use protocol::client::request::{CreateFlags, CreateRequest, Request, SetWatches};
use protocol::snapshot::{NodeRecord, OPEN_ACL_ID, ZxidDigest};
use protocol::txn::{CreateTxn, DIGEST_VERSION, Transaction, TxnBody, TxnDigest, TxnHeader};
use protocol::{AclSlice, JuteWrite, SessionId, Stat, StatPersisted, Zxid};

/// What a client sent, without the length in front.
const CAPTURED_REQUESTS: &[&str] = &[
    "0000000100000001000000032f6878000000026162000000010000001f00000005776f726c6400000006616e796f6e6500000000",
    "0000000200000004000000032f687801",
    "0000000300000003000000052f6e6f6e6500",
    "0000000400000005000000032f68780000000163ffffffff",
    "fffffffe0000000b",
    "fffffffc00000064000000000000000664696765737400000006626f623a7077",
    "000000050000006a000000032f687800000001",
    "000000060000000e0000000d00ffffffff000000032f6878000000010000000200ffffffff000000032f687800000001ffffffff01ffffffff",
    "00000007fffffff5",
];

const CAPTURED_HANDSHAKES: &[&str] = &[
    "000000000000000000000000000075300000000000000000000000100000000000000000000000000000000000",
    "00000000000075300100 0026bde8000300000010979477584ffb0e3ea3761cf67d55824e00",
];

/// Replies, behind the operation that they answer.
const CAPTURED_REPLIES: &[(OpCode, &str)] = &[
    (OpCode::Create, "00000001000000000000008a00000000000000032f6878"),
    (
        OpCode::GetData,
        "00000002000000000000008a00000000000000026162000000000000008a000000000000008a000001a200c837de000001a200c837de00000000000000000000000000000000000000000000000200000000000000000000008a",
    ),
    (OpCode::Exists, "00000003000000000000008affffff9b"),
    (OpCode::SetData, "ffffffff000000000000008b000000000000000300000003000000032f6878"),
    (
        OpCode::SetData,
        "00000004000000000000008b00000000000000000000008a000000000000008b000001a200c837de000001a200c837e500000001000000000000000000000000000000000000000100000000000000000000008a",
    ),
    (OpCode::Ping, "fffffffe000000000000008b00000000"),
    (OpCode::AddWatch, "00000005000000000000008b0000000000000000"),
    (OpCode::Multi, "00000006000000000000008c000000000000000d0000000000000000020000000000ffffffff01ffffffff"),
];

const CAPTURED_TRANSACTIONS: &[&str] = &[
    "0100000e57fa0000 00000000 0000000100000001 000001a200b04c7c fffffff6 00000fa0 00000002 0000000051c6d660",
    "0100000e57fa0000 00000007 0000000100000009 000001a200b04c7c fffffff5 00000002 00000005 2f612f6532 00000004 2f612f65 00000002 0000000248bc019a",
    "0100000e57fa0000 00000007 0000000100000009 000001a200b04c7c fffffff5 00000002 0000000248bc019a",
    "0100000e57fa0000 00000007 0000000100000009 000001a200b04c7c ffffffff ffffff92",
];

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let value = |digit: u8| (digit as char).to_digit(16).expect("only digits are left") as u8;
    digits.chunks_exact(2).map(|pair| value(pair[0]) << 4 | value(pair[1])).collect()
}

/// Payloads of request frames, one at least of every operation.
pub fn requests() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = CAPTURED_REQUESTS.iter().map(|hex| bytes(hex)).collect();
    for &op in OpCode::ALL {
        let mut frame = Vec::new();
        frame.put_i32(1);
        frame.put_i32(op.to_wire());
        if let Some(request) = example(op) {
            request.write(&mut frame);
        }
        seeds.push(frame);
    }
    seeds
}

fn example(op: OpCode) -> Option<Request<'static>> {
    let path = Cow::Borrowed("/app/node");
    Some(match op {
        OpCode::Create | OpCode::Create2 | OpCode::CreateContainer | OpCode::CreateTtl => {
            Request::Create(example_create(op))
        }
        OpCode::Delete => Request::Delete { path, version: -1 },
        OpCode::Exists => Request::Exists { path, watch: true },
        OpCode::GetData => Request::GetData { path, watch: false },
        OpCode::SetData => Request::SetData { path, data: Some(b"value"), version: 3 },
        OpCode::GetAcl => Request::GetAcl { path },
        OpCode::SetAcl => Request::SetAcl { path, acl: AclSlice::OPEN, version: 0 },
        OpCode::GetChildren => Request::GetChildren { path, watch: true },
        OpCode::GetChildren2 => Request::GetChildren2 { path, watch: false },
        OpCode::Sync => Request::Sync { path: Some(path) },
        OpCode::Multi => Request::Multi(example_writes()),
        OpCode::MultiRead => {
            Request::MultiRead(vec![MultiOp::GetData { path: path.clone() }, MultiOp::GetChildren { path }])
        }
        OpCode::Reconfig => Request::Reconfig {
            joining: Some("server.4=host:2888:3888;2181".into()),
            leaving: None,
            new_members: None,
            config_version: -1,
        },
        OpCode::CheckWatches => Request::CheckWatches { path, kind: 3 },
        OpCode::RemoveWatches => Request::RemoveWatches { path, kind: 1 },
        OpCode::SetWatches | OpCode::SetWatches2 => Request::SetWatches(Box::new(SetWatches {
            relative_zxid: 7,
            data: vec![path.clone()],
            exist: vec!["/none".into()],
            child: vec![path.clone()],
            persistent: vec![path.clone()],
            persistent_recursive: vec![path],
        })),
        OpCode::AddWatch => Request::AddWatch { path, mode: 1 },
        OpCode::GetEphemerals => Request::GetEphemerals { prefix: Some("/app".into()) },
        OpCode::GetAllChildrenNumber => Request::GetAllChildrenNumber { path },
        _ => return None,
    })
}

fn example_create(op: OpCode) -> CreateRequest<'static> {
    let flags = match op {
        OpCode::CreateContainer => CreateFlags::Container,
        OpCode::CreateTtl => CreateFlags::PersistentSequentialWithTtl,
        _ => CreateFlags::EphemeralSequential,
    };
    let ttl_ms = if op == OpCode::CreateTtl { 1000 } else { -1 };
    CreateRequest {
        op,
        path: "/app/node-".into(),
        data: Some(b"value"),
        acl: AclSlice::OPEN,
        flags: flags as i32,
        ttl_ms,
    }
}

fn example_writes() -> Vec<MultiOp<'static>> {
    let path = Cow::Borrowed("/app/node");
    let mut ops: Vec<MultiOp<'static>> =
        [OpCode::Create, OpCode::Create2, OpCode::CreateContainer, OpCode::CreateTtl]
            .into_iter()
            .map(|op| MultiOp::Create(example_create(op)))
            .collect();
    ops.push(MultiOp::Delete { path: path.clone(), version: 2 });
    ops.push(MultiOp::SetData { path: path.clone(), data: None, version: -1 });
    ops.push(MultiOp::Check { path, version: 0 });
    ops
}

/// Lists of operations.
pub fn multis() -> Vec<Vec<u8>> {
    let reads = vec![MultiOp::GetData { path: "/app".into() }, MultiOp::GetChildren { path: "/app".into() }];
    let mut seeds = Vec::new();
    for ops in [Vec::new(), example_writes(), reads] {
        let mut list = Vec::new();
        for op in &ops {
            write_op(&mut list, op);
        }
        MultiHeader::END.write(&mut list);
        seeds.push(list);
    }
    seeds.push(bytes(CAPTURED_REQUESTS[7])[8..].to_vec());
    seeds
}

/// First frames.
pub fn handshakes() -> Vec<Vec<u8>> {
    CAPTURED_HANDSHAKES.iter().map(|hex| bytes(hex)).collect()
}

/// Payloads of reply frames behind the place of their operation in [`OpCode::ALL`].
pub fn responses() -> Vec<Vec<u8>> {
    let place =
        |op: OpCode| OpCode::ALL.iter().position(|&o| o == op).expect("every operation is there") as u8;
    let mut seeds: Vec<Vec<u8>> =
        CAPTURED_REPLIES.iter().map(|(op, hex)| [&[place(*op)][..], &bytes(hex)].concat()).collect();
    let with_body = |op: OpCode, body: &dyn Fn(&mut Vec<u8>)| {
        let mut seed = vec![place(op)];
        seed.put_bytes(&bytes("00000002000000000000008a00000000"));
        body(&mut seed);
        seed
    };
    let stat = Stat::default();
    seeds.push(with_body(OpCode::GetChildren2, &|out| {
        out.put_strings(&["a", "b"]);
        stat.write(out);
    }));
    seeds.push(with_body(OpCode::GetAcl, &|out| {
        out.put_bytes(AclSlice::OPEN.as_bytes());
        stat.write(out);
    }));
    seeds.push(with_body(OpCode::Create2, &|out| {
        out.put_str("/app/node-0000000001");
        stat.write(out);
    }));
    seeds.push(with_body(OpCode::GetEphemerals, &|out| out.put_strings(&["/a", "/b"])));
    seeds.push(with_body(OpCode::WhoAmI, &|out| {
        out.put_length(1);
        out.put_str("ip");
        out.put_str("127.0.0.1");
    }));
    seeds.push(with_body(OpCode::MultiRead, &|out| {
        MultiHeader { kind: OpCode::GetData.to_wire(), done: false, error: 0 }.write(out);
        out.put_buffer(Some(b"value"));
        stat.write(out);
        MultiHeader { kind: -1, done: false, error: -101 }.write(out);
        out.put_i32(-101);
        MultiHeader::END.write(out);
    }));
    seeds
}

/// Envelopes, one at least of every kind of transaction.
pub fn transactions() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = CAPTURED_TRANSACTIONS.iter().map(|hex| bytes(hex)).collect();
    let create = |op, ttl_ms| {
        TxnBody::Create(CreateTxn {
            op,
            path: "/app/node".into(),
            data: Some(b"value"),
            acl: AclSlice::OPEN,
            ephemeral: op == OpCode::Create2,
            parent_cversion: 4,
            ttl_ms,
        })
    };
    let path = Cow::Borrowed("/app/node");
    let set = |reconfig| TxnBody::SetData { path: path.clone(), data: Some(b"value"), version: 4, reconfig };
    let mut bodies = vec![
        create(OpCode::Create, -1),
        create(OpCode::Create2, -1),
        create(OpCode::CreateContainer, -1),
        create(OpCode::CreateTtl, 1000),
        TxnBody::Delete { path: path.clone(), container: false },
        TxnBody::Delete { path: path.clone(), container: true },
        set(false),
        set(true),
        TxnBody::SetAcl { path: path.clone(), acl: AclSlice::OPEN, version: 1 },
        TxnBody::CloseSession { paths: Some(vec![path.clone()]) },
    ];
    let mut subs = bodies[..7].to_vec();
    subs.push(TxnBody::Check { path: path.clone(), version: 2 });
    bodies.push(TxnBody::Multi(subs));
    bodies.push(TxnBody::Multi(vec![TxnBody::Error { code: 0 }, TxnBody::Error { code: -101 }]));
    for (counter, body) in bodies.into_iter().enumerate() {
        seeds.push(envelope(counter as i64 + 1, body));
    }
    seeds
}

/// A whole transaction.
pub fn envelope(zxid: i64, body: TxnBody<'_>) -> Vec<u8> {
    let header = TxnHeader {
        session: SessionId::new(0x0100_000e_57fa_0000),
        cxid: 7,
        zxid: Zxid::from_wire(zxid),
        time_ms: 1_790_000_000_000,
        kind: body.kind(),
    };
    let digest = Some(TxnDigest { version: DIGEST_VERSION, tree_digest: 0x2_48bc_019a });
    let mut out = Vec::new();
    Transaction { header, body, digest }.write(&mut out);
    out
}

/// Lists of ACLs.
pub fn acls() -> Vec<Vec<u8>> {
    let mut two = Vec::new();
    two.put_length(2);
    for (perms, scheme, id) in [(31, "digest", "bob:ikIaKsbtGweaHnb/jKn7OHqbunM="), (1, "ip", "10.0.0.0/8")] {
        two.put_i32(perms);
        two.put_str(scheme);
        two.put_str(id);
    }
    vec![AclSlice::OPEN.as_bytes().to_vec(), two, vec![0xff; 4]]
}

/// Paths and records of snapshots.
pub fn paths() -> Vec<Vec<u8>> {
    let mut record = Vec::new();
    NodeRecord {
        path: "/app".into(),
        data: Some(b"value"),
        acl_id: OPEN_ACL_ID,
        stat: StatPersisted::default(),
    }
    .write(&mut record);
    let mut digest = Vec::new();
    ZxidDigest::write(&mut digest, Zxid::from_wire(9), 12_345);
    vec![b"/".to_vec(), b"/app/node".to_vec(), "/é/\u{200b}".into(), b"/a/../b".to_vec(), record, digest]
}

/// A history that fits together: transactions with their zxids, from 1 on.
pub fn numbered_transactions() -> Vec<(Zxid, Vec<u8>)> {
    let create = |path: &'static str, parent_cversion, ephemeral| {
        TxnBody::Create(CreateTxn {
            op: OpCode::Create2,
            path: path.into(),
            data: Some(b"value"),
            acl: AclSlice::OPEN,
            ephemeral,
            parent_cversion,
            ttl_ms: -1,
        })
    };
    let bodies = vec![
        TxnBody::CreateSession { timeout_ms: 4000 },
        create("/app", 1, false),
        create("/app/a", 1, false),
        create("/app/b", 2, true),
        TxnBody::SetData { path: "/app/a".into(), data: Some(b"more"), version: 1, reconfig: false },
        TxnBody::Error { code: -110 },
        TxnBody::Delete { path: "/app/a".into(), container: false },
        create("/zookeeper/quota/app", 1, false),
        create("/zookeeper/quota/app/zookeeper_limits", 1, false),
    ];
    let numbered = bodies.into_iter().enumerate().map(|(at, body)| (at as i64 + 1, body));
    numbered.map(|(zxid, body)| (Zxid::from_wire(zxid), envelope(zxid, body))).collect()
}

/// Configuration files.
pub fn configs() -> Vec<Vec<u8>> {
    [
        "tickTime=2000\ndataDir=/var/lib/zookeeper\nclientPort=2181\ninitLimit=5\nsyncLimit=2\n",
        "# comment\n! another\nautopurge.snapRetainCount=3\nautopurge.purgeInterval=1\n\
         4lw.commands.whitelist=stat, ruok\nmaxClientCnxns=0\n",
        "server.1=zoo1:2888:3888;2181\nserver.2=zoo2:2888:3888:observer\nmyid=1\n",
        "a\\=b = c\\\n  d\\u0041\nkey : value\nkey2 value2\n",
        "minSessionTimeout=4000\nmaxSessionTimeout=40000\nsnapCount=1000\npreAllocSize=64\nadmin.enableServer=false\n\
         extendedTypesEnabled=true\nsnapshot.compression.method=gz\nlargeRequestThreshold=100\n",
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .collect()
}
