//! Clients that lie, flood, stall and cut: they lose their connection, nobody else notices.

use std::io::{ErrorKind, Write};
use std::time::{Duration, Instant};

use protocol::acl::AclSlice;
use protocol::client::connect::RequestHeader;
use protocol::client::multi::MultiOp;
use protocol::client::op_code::OpCode;
use protocol::client::request::{CreateFlags, CreateRequest, Request};
use protocol::{ErrorCode, JuteWrite, SessionId, Xid};

use crate::wire::{Running, Wire, framed, start};

/// Somebody else's session still works.
fn check_service(server: &Running) {
    let mut wire = Wire::open(server.address);
    let (header, _) = wire.ask(OpCode::Exists, &Request::Exists { path: "/".into(), watch: false });
    assert_eq!(header.error, 0);
}

fn request(xid: i32, op: i32, body: &[u8]) -> Vec<u8> {
    let mut payload = Vec::new();
    RequestHeader { xid: Xid::new(xid), op }.write(&mut payload);
    payload.extend_from_slice(body);
    framed(&payload)
}

#[test]
fn frames_with_impossible_lengths_end_the_connection() {
    let server = start(&[]);
    for length in [-1_i32, i32::MIN, 1_048_576, i32::MAX] {
        for opened in [false, true] {
            let mut wire = if opened { Wire::open(server.address) } else { Wire::silent(server.address) };
            wire.send(&length.to_be_bytes());
            assert_eq!(wire.frame(), None, "length {length}, with a session: {opened}");
        }
    }
    check_service(&server);
}

#[test]
fn a_frame_of_the_longest_length_is_served() {
    let server = start(&[]);
    let mut wire = Wire::open(server.address);
    // Header, path length, path, data length, data, ACL, flags: 1,048,575 bytes together.
    let overhead = 8 + 4 + 2 + 4 + AclSlice::OPEN.as_bytes().len() + 4;
    let data = vec![7; 1_048_575 - overhead];
    let create =
        Request::Create(CreateRequest::plain("/x", Some(&data), AclSlice::OPEN, CreateFlags::Persistent));
    let (_, frame) = wire.encode(OpCode::Create, &create);
    assert_eq!(frame.len(), 4 + 1_048_575);
    // In pieces, as a network delivers it.
    for piece in frame.chunks(100_000) {
        wire.send(piece);
    }
    assert_eq!(wire.reply().0.error, 0);
    let (header, body) = wire.ask(OpCode::GetData, &Request::GetData { path: "/x".into(), watch: false });
    assert_eq!((header.error, body.len()), (0, 4 + data.len() + 68));
}

#[test]
fn frames_too_short_for_a_header_end_the_connection() {
    let server = start(&[]);
    for length in 0..8 {
        let mut wire = Wire::open(server.address);
        wire.send(&framed(&vec![0; length]));
        assert_eq!(wire.frame(), None, "{length} bytes");
    }
    let mut wire = Wire::silent(server.address);
    wire.send(&framed(&[0; 20]));
    assert_eq!(wire.frame(), None, "a connect request that is too short");
    check_service(&server);
}

#[test]
fn bodies_that_lie_are_refused_and_the_connection_goes_on() {
    let server = start(&[]);
    let mut wire = Wire::open(server.address);
    let lies: &[&[u8]] =
        &[b"", &[0xff; 4], &[0x7f, 0xff, 0xff, 0xff], &[0xff, 0xff, 0xff, 0xfe], &[0, 0, 0, 9, b'/']];
    for op in OpCode::ALL {
        if matches!(
            op,
            OpCode::Ping
                | OpCode::WhoAmI
                | OpCode::CloseSession
                | OpCode::CreateSession
                | OpCode::Check
                | OpCode::DeleteContainer
                | OpCode::Auth
                | OpCode::Sasl
                | OpCode::Sync
                | OpCode::GetEphemerals
        ) {
            continue;
        }
        for (xid, lie) in (1..).zip(lies) {
            wire.send(&request(xid, op.to_wire(), lie));
            let (header, body) = wire.reply();
            assert_eq!((header.xid.get(), header.error), (xid, -5), "{op:?} with {lie:?}");
            assert_eq!(body, []);
        }
    }
    check_service(&server);
}

#[test]
fn unknown_operations_are_refused_and_end_the_connection() {
    let server = start(&[]);
    for op in [0, -1, 10, 13, 99, 500, i32::MIN, OpCode::CreateSession.to_wire()] {
        let mut wire = Wire::open(server.address);
        wire.send(&request(5, op, b""));
        let (header, _) = wire.reply();
        assert_eq!((header.xid.get(), header.zxid, header.error), (5, -1, -6), "operation {op}");
        assert_eq!(wire.frame(), None);
    }
}

#[test]
fn wrong_credentials_end_the_connection_after_the_reply() {
    let server = start(&[]);
    for (scheme, auth) in [("nobody", "x"), ("world", "anyone"), ("super", ""), ("sasl", "x")] {
        let mut wire = Wire::open(server.address);
        let mut body = Vec::new();
        body.put_i32(0);
        body.put_str(scheme);
        body.put_str(auth);
        wire.send(&request(-4, OpCode::Auth.to_wire(), &body));
        assert_eq!(wire.reply().0.error, ErrorCode::AuthFailed.to_wire(), "{scheme}");
        assert_eq!(wire.frame(), None);
    }
}

#[test]
fn connections_beyond_the_limit_are_closed_at_once() {
    let server = start(&[("maxClientCnxns", "3")]);
    let mut inside: Vec<Wire> = (0..3).map(|_| Wire::open(server.address)).collect();
    let mut outside = Wire::silent(server.address);
    assert_eq!(outside.frame(), None);
    let (header, _) = inside[0].ask(OpCode::Exists, &Request::Exists { path: "/".into(), watch: false });
    assert_eq!(header.error, 0);
    // A place is free again as soon as the server has seen that somebody left.
    drop(inside.pop());
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let mut wire = Wire::silent(server.address);
        let mut hello = vec![0, 0, 0, 44];
        hello.extend([0; 44]);
        // The connection may already be closed: then the next one tries.
        if wire.socket.write_all(&hello).is_ok() && wire.frame().is_some() {
            break;
        }
        assert!(Instant::now() < deadline, "the place of a closed connection is not given away");
    }
}

#[test]
fn a_silent_connection_is_closed_after_its_time() {
    let server = start(&[("nio.sessionlessCnxnTimeout", "1")]);
    let mut wire = Wire::silent(server.address);
    // A frame that is announced and never completed does not count as having said anything.
    wire.send(&[0, 0, 0, 44, 0, 0]);
    assert_eq!(wire.frame(), None);
}

#[test]
fn a_client_that_asks_and_never_reads_does_not_fill_the_memory() {
    let server = start(&[]);
    let mut wire = Wire::open(server.address);
    let data = vec![1; 1_000_000];
    let create =
        Request::Create(CreateRequest::plain("/big", Some(&data), AclSlice::OPEN, CreateFlags::Persistent));
    assert_eq!(wire.ask(OpCode::Create, &create).0.error, 0);
    wire.socket.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let before = resident_bytes();
    let mut asked = 0_u64;
    // Each request is 20 bytes, each answer a megabyte: the server must stop reading long before the end.
    for _ in 0..2_000_000 {
        let (_, frame) =
            wire.encode(OpCode::GetData, &Request::GetData { path: "/big".into(), watch: false });
        match wire.socket.write_all(&frame) {
            Ok(()) => asked += 1,
            Err(error) => {
                let stalled = [ErrorKind::WouldBlock, ErrorKind::TimedOut, ErrorKind::ConnectionReset];
                assert!(stalled.contains(&error.kind()), "{error}");
                break;
            }
        }
    }
    assert!(asked < 2_000_000, "the server took every request of a client that reads nothing");
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 200 << 20, "{grown} bytes for {asked} requests");
    check_service(&server);
}

#[test]
fn a_giant_multi_is_all_or_nothing() {
    let server = start(&[]);
    let mut wire = Wire::open(server.address);
    let paths: Vec<String> = (0..15_000).map(|n| format!("/m{n}")).collect();
    let mut ops: Vec<MultiOp<'_>> = paths
        .iter()
        .map(|path| {
            MultiOp::Create(CreateRequest::plain(path, None, AclSlice::OPEN, CreateFlags::Persistent))
        })
        .collect();
    ops.push(MultiOp::Check { path: "/none".into(), version: 0 });
    assert_eq!(wire.ask(OpCode::Multi, &Request::Multi(ops.clone())).0.error, 0);
    let count = Request::GetAllChildrenNumber { path: "/".into() };
    let nodes = wire.ask(OpCode::GetAllChildrenNumber, &count).1;
    assert_eq!(nodes, [0, 0, 0, 3]);
    ops.pop();
    assert_eq!(wire.ask(OpCode::Multi, &Request::Multi(ops)).0.error, 0);
    let nodes = wire.ask(OpCode::GetAllChildrenNumber, &count).1;
    assert_eq!(u32::from_be_bytes(nodes.try_into().unwrap()), 15_003);
}

#[test]
fn a_wrong_password_does_not_disturb_the_session_it_aims_at() {
    let server = start(&[]);
    let mut owner = Wire::silent(server.address);
    let session = owner.connect(SessionId::NONE, &[0; 16]).session;
    let mut thief = Wire::silent(server.address);
    assert_eq!(thief.connect(session, &[9; 16]).timeout_ms, 0);
    assert_eq!(thief.frame(), None);
    let (header, _) = owner.ask(OpCode::Exists, &Request::Exists { path: "/".into(), watch: false });
    assert_eq!(header.error, 0);
}

#[test]
fn deep_paths_and_long_names_are_served() {
    let server = start(&[]);
    let mut wire = Wire::open(server.address);
    let mut path = String::new();
    for _ in 0..300 {
        path.push_str("/d");
        let create =
            Request::Create(CreateRequest::plain(&path, None, AclSlice::OPEN, CreateFlags::Persistent));
        assert_eq!(wire.ask(OpCode::Create, &create).0.error, 0);
    }
    let long = format!("/{}", "n".repeat(500_000));
    let create = Request::Create(CreateRequest::plain(&long, None, AclSlice::OPEN, CreateFlags::Persistent));
    assert_eq!(wire.ask(OpCode::Create, &create).0.error, 0);
    let exists = Request::Exists { path: long.as_str().into(), watch: true };
    assert_eq!(wire.ask(OpCode::Exists, &exists).0.error, 0);
}

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}
