//! The replica as its shell sees it: events in, deliveries out, nothing before it is durable.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use protocol::acl::AclSlice;
use protocol::client::connect::{ConnectRequest, ConnectResponse, ReplyHeader, RequestHeader};
use protocol::client::multi::MultiOp;
use protocol::client::op_code::OpCode;
use protocol::client::request::{CreateFlags, CreateRequest, Request};
use protocol::client::response::{MultiResult, Response};
use protocol::client::watch::{EventType, WatcherEvent};
use protocol::{ErrorCode, Reader, Xid, Zxid};
use replica::{ConnectionId, Fact, Input};

#[path = "support/shell.rs"]
mod shell;

use shell::*;

#[test]
fn nothing_is_answered_before_it_is_durable() {
    let mut shell = Shell::new();
    shell.open(A);
    shell.request(A, 1, OpCode::Create, &create("/a", CreateFlags::Persistent));
    let durable = shell.replica.durable();
    while shell.replica.next_unlogged().is_some() {}
    shell.step(Input::Synced { up_to: durable });
    assert_eq!(shell.delivered, []);
    assert!(shell.shared.tree().find("/a").is_none());
    shell.step(Input::Synced { up_to: durable.next().unwrap() });
    assert_eq!(shell.delivered.len(), 1);
    assert!(shell.shared.tree().find("/a").is_some());
}

#[test]
fn a_read_behind_a_write_sees_it_and_comes_after_it() {
    let mut shell = Shell::new();
    shell.open(A);
    shell.request(A, 1, OpCode::Create, &create("/a", CreateFlags::Persistent));
    shell.request(A, 2, OpCode::GetData, &Request::GetData { path: "/a".into(), watch: false });
    shell.request(A, 3, OpCode::Ping, &Request::Ping);
    let got = shell.sync();
    let xids: Vec<i32> = got
        .iter()
        .map(|(_, got)| match got {
            Got::Frame(frame) => header(frame).xid.get(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(xids, [1, 2, -2]);
    let Got::Frame(read) = &got[1].1 else { unreachable!() };
    assert!(matches!(body(read, OpCode::GetData), Response::Data(Some(data), _) if data == b"x"));
}

#[test]
fn a_watch_event_comes_before_the_reply_of_the_write_and_carries_its_zxid() {
    let mut shell = Shell::new();
    shell.open(A);
    shell.open(B);
    shell.request(A, 1, OpCode::Exists, &Request::Exists { path: "/a".into(), watch: true });
    shell.request(A, 2, OpCode::Create, &create("/a", CreateFlags::Persistent));
    shell.request(B, 1, OpCode::GetChildren, &Request::GetChildren { path: "/".into(), watch: true });
    shell.request(A, 3, OpCode::Create, &create("/b", CreateFlags::Persistent));
    let got = shell.sync();
    let frames: Vec<(ConnectionId, ReplyHeader)> = got
        .iter()
        .map(|(connection, got)| match got {
            Got::Frame(frame) => (*connection, header(frame)),
            other => panic!("{other:?}"),
        })
        .collect();
    let order: Vec<(ConnectionId, i32)> = frames.iter().map(|(c, header)| (*c, header.xid.get())).collect();
    assert_eq!(order, [(A, 1), (A, -1), (A, 2), (B, 1), (B, -1), (A, 3)]);
    assert_eq!(frames[1].1.zxid, frames[2].1.zxid);
    let Got::Frame(event) = &got[4].1 else { unreachable!() };
    let mut reader = Reader::new(event);
    ReplyHeader::read(&mut reader).unwrap();
    let event = WatcherEvent::read(&mut reader).unwrap();
    assert_eq!(event, WatcherEvent { event: EventType::NodeChildrenChanged, path: "/".into() });
}

#[test]
fn a_session_is_taken_up_again_with_its_password_only() {
    let mut shell = Shell::new();
    let session = shell.open(A);
    let wrong = ConnectRequest { session, password: &[1; 16], ..new_session() };
    let got = shell.connect(B, wrong);
    let [(_, Got::Frame(frame)), (B, Got::Closed)] = &got[..] else { panic!("{got:?}") };
    assert_eq!(ConnectResponse::read(frame).unwrap(), ConnectResponse::expired(Some(false)));
    // The session's own connection was not touched by that.
    let password = session.password();
    let got = shell.connect(conn(2), ConnectRequest { session, password: &password, ..new_session() });
    let [(A, Got::Closed), (_, Got::Frame(_)), (_, Got::Opened(opened))] = &got[..] else {
        panic!("{got:?}")
    };
    assert_eq!(*opened, session);
}

#[test]
fn the_answer_to_a_resumed_session_waits_for_the_writes_of_its_old_connection() {
    let mut shell = Shell::new();
    let session = shell.open(A);
    shell.request(A, 1, OpCode::Create, &create("/a", CreateFlags::Persistent));
    let mut payload = Vec::new();
    let password = session.password();
    ConnectRequest { session, password: &password, ..new_session() }.write(&mut payload);
    shell.step(Input::Connect { connection: B, payload: &payload, ids: Arc::from([]) });
    shell.step(Input::Synced { up_to: shell.replica.durable() });
    assert!(shell.delivered.iter().all(|(_, got)| matches!(got, Got::Closed)), "{:?}", shell.delivered);
    assert!(shell.sync().iter().any(|(c, got)| *c == B && matches!(got, Got::Opened(_))));
    assert!(shell.shared.tree().find("/a").is_some());
}

#[test]
fn a_client_that_has_seen_more_is_turned_away() {
    let mut shell = Shell::new();
    let got = shell.connect(A, ConnectRequest { last_zxid_seen: 5, ..new_session() });
    assert_eq!(got, [(A, Got::Closed)]);
    assert!(matches!(shell.facts[..], [Fact::ClientAhead { .. }]));
    assert_eq!(shell.connect(A, ConnectRequest { last_zxid_seen: -1, ..new_session() }).len(), 2);
}

#[test]
fn an_expired_session_takes_its_ephemerals_along_and_loses_its_connection() {
    let mut shell = Shell::new();
    let session = shell.open(A);
    shell.request(A, 1, OpCode::Create, &create("/e", CreateFlags::Ephemeral));
    shell.sync();
    assert_eq!(shell.tick_at(13_999), []);
    assert!(shell.shared.tree().find("/e").is_some());
    assert_eq!(shell.tick_at(15_000), [(A, Got::Closed)]);
    assert!(shell.shared.tree().find("/e").is_none());
    let password = session.password();
    let got = shell.connect(B, ConnectRequest { session, password: &password, ..new_session() });
    assert!(matches!(&got[..], [(B, Got::Frame(_)), (B, Got::Closed)]), "{got:?}");
}

#[test]
fn requests_behind_a_close_are_refused_as_expired() {
    let mut shell = Shell::new();
    shell.open(A);
    shell.request(A, 1, OpCode::CloseSession, &Request::CloseSession);
    shell.request(A, 2, OpCode::Create, &create("/late", CreateFlags::Persistent));
    let got = shell.sync();
    let [(A, Got::Frame(close)), (A, Got::Closed), (A, Got::Frame(late))] = &got[..] else {
        panic!("{got:?}")
    };
    assert_eq!((header(close).xid, header(close).error), (Xid::new(1), 0));
    assert_eq!(header(late).error, ErrorCode::SessionExpired.to_wire());
}

#[test]
fn clients_may_not_delete_containers_or_make_sessions() {
    let mut shell = Shell::new();
    shell.open(A);
    shell.request(A, 1, OpCode::Create, &create("/a", CreateFlags::Persistent));
    shell.request(A, 2, OpCode::DeleteContainer, &Request::GetAcl { path: "/a".into() });
    shell.request(A, 3, OpCode::CreateSession, &Request::Ping);
    let got = shell.sync();
    let [_, (_, Got::Frame(delete)), (_, Got::Frame(open)), (A, Got::Closed)] = &got[..] else {
        panic!("{got:?}")
    };
    assert_eq!(header(delete).error, ErrorCode::BadArguments.to_wire());
    assert_eq!((header(open).zxid, header(open).error), (-1, ErrorCode::Unimplemented.to_wire()));
    assert!(shell.shared.tree().find("/a").is_some());
}

#[test]
fn a_malformed_write_is_refused_without_a_zxid() {
    let mut shell = Shell::new();
    shell.open(A);
    let before = shell.shared.tree().last_zxid();
    let input = Input::Request {
        connection: A,
        xid: Xid::new(1),
        op: OpCode::SetData.to_wire(),
        body: &[0, 0, 0, 9, b'/'],
        received_ms: 0,
    };
    shell.step(input);
    let got = shell.sync();
    let [(A, Got::Frame(frame))] = &got[..] else { panic!("{got:?}") };
    assert_eq!(header(frame), ReplyHeader { xid: Xid::new(1), zxid: before.to_wire(), error: -5 });
}

#[test]
fn a_failed_multi_answers_for_each_operation_and_changes_nothing() {
    let mut shell = Shell::new();
    shell.open(A);
    let multi = Request::Multi(vec![
        MultiOp::Create(CreateRequest::plain("/m", None, AclSlice::OPEN, CreateFlags::Persistent)),
        MultiOp::Check { path: "/m".into(), version: 7 },
        MultiOp::Delete { path: "/m".into(), version: -1 },
    ]);
    shell.request(A, 1, OpCode::Multi, &multi);
    let got = shell.sync();
    let [(A, Got::Frame(frame))] = &got[..] else { panic!("{got:?}") };
    let Response::Multi(results) = body(frame, OpCode::Multi) else { unreachable!() };
    assert_eq!(results, [MultiResult::Error(0), MultiResult::Error(-103), MultiResult::Error(-2)]);
    assert!(shell.shared.tree().find("/m").is_none());
}

#[test]
fn a_gone_connection_is_not_answered_and_its_watches_are_gone() {
    let mut shell = Shell::new();
    shell.open(A);
    shell.open(B);
    shell.request(A, 1, OpCode::Exists, &Request::Exists { path: "/a".into(), watch: true });
    shell.sync();
    shell.request(A, 2, OpCode::Create, &create("/mine", CreateFlags::Persistent));
    shell.request(A, 3, OpCode::Exists, &Request::Exists { path: "/b".into(), watch: true });
    shell.step(Input::Disconnected { connection: A });
    shell.request(B, 1, OpCode::Create, &create("/a", CreateFlags::Persistent));
    shell.request(B, 2, OpCode::Create, &create("/b", CreateFlags::Persistent));
    assert!(shell.sync().iter().all(|(connection, _)| *connection == B));
    assert!(shell.shared.tree().find("/mine").is_some());
    assert_eq!(shell.shared.watches.lock().counts().data, 0);
}

#[test]
fn an_idle_container_is_reaped_after_its_last_child_is_gone() {
    let mut shell = Shell::new();
    shell.open(A);
    shell.request(A, 1, OpCode::CreateContainer, &{
        let mut request = CreateRequest::plain("/c", None, AclSlice::OPEN, CreateFlags::Container);
        request.op = OpCode::CreateContainer;
        Request::Create(request)
    });
    shell.request(A, 2, OpCode::Create, &create("/c/x", CreateFlags::Persistent));
    shell.sync();
    shell.tick_at(11_500);
    assert!(shell.shared.tree().find("/c").is_some());
    shell.request(A, 3, OpCode::Delete, &Request::Delete { path: "/c/x".into(), version: -1 });
    shell.sync();
    shell.tick_at(12_600);
    assert!(shell.shared.tree().find("/c").is_none());
}

#[test]
fn a_snapshot_is_due_after_enough_transactions_and_only_one_at_a_time() {
    let mut shell = Shell::new();
    shell.open(A);
    // The limit lies between half and all of it.
    let due = |shell: &Shell| shell.facts.iter().filter(|fact| matches!(fact, Fact::SnapshotDue(_))).count();
    let mut settings_limit = 0;
    while due(&shell) == 0 {
        settings_limit += 1;
        assert!(settings_limit <= 1_000_001, "no snapshot in a million transactions");
        for xid in 0..5_000 {
            let set = Request::SetData { path: "/".into(), data: None, version: -1 };
            shell.request(A, xid, OpCode::SetData, &set);
        }
        shell.sync();
    }
    assert!((100..=200).contains(&settings_limit), "{settings_limit}");
    let Some(Fact::SnapshotDue(start)) = shell.facts.pop() else { panic!("the fact is the last") };
    assert_eq!(start.zxid, shell.shared.tree().last_zxid().min(start.zxid));
    shell.step(Input::SnapshotEnded);
    assert!(!shell.shared.tree().is_snapshot_running());
    assert!(start.zxid > Zxid::ZERO);
}

#[test]
fn header_of_a_request_is_eight_bytes() {
    let mut out = Vec::new();
    RequestHeader { xid: Xid::new(1), op: 4 }.write(&mut out);
    assert_eq!(out, [0, 0, 0, 1, 0, 0, 0, 4]);
}
