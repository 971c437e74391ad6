//! Sessions that only their own server knows, and serving reads without a leader.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/shell.rs"]
mod shell;

use protocol::client::connect::{ConnectRequest, ConnectResponse};
use protocol::client::op_code::OpCode;
use protocol::client::request::{CreateFlags, Request};
use protocol::client::response::Response;
use protocol::peer::{Notification, ServerState, Vote};
use protocol::{ErrorCode, ServerId, SessionId, Zxid};
use replica::status::ServerRole;
use replica::{Input, PeerInput, ReplicaSettings};
use shell::*;
use tree::Rules;

fn leader(upgrade: bool) -> Shell {
    let settings = ReplicaSettings {
        local_sessions: true,
        local_sessions_upgrade: upgrade,
        ..settings(Rules::default())
    };
    let mut shell = Shell::member(settings, FIRST);
    shell.tick_at(10_300);
    shell
}

fn last(shell: &Shell) -> Zxid {
    shell.shared.tree().last_zxid()
}

/// Asks for one thing and takes the error of the answer, 0 for none.
fn ask(shell: &mut Shell, op: OpCode, request: &Request<'_>) -> i32 {
    shell.request(A, 1, op, request);
    let got = shell.sync();
    let Some((_, Got::Frame(frame))) = got.first() else { panic!("{got:?}") };
    header(frame).error
}

#[test]
fn a_local_session_costs_no_transaction_and_writes_what_lasts() {
    let mut shell = leader(false);
    let before = last(&shell);
    let session = shell.open(A);
    assert_eq!(last(&shell), before);
    assert_eq!(shell.shared.tree().session_timeout_ms(session), None);
    assert_eq!(ask(&mut shell, OpCode::Create, &create("/a", CreateFlags::Persistent)), 0);
    assert_eq!(ask(&mut shell, OpCode::SetData, &set("/a")), 0);
    let before = last(&shell);
    assert_eq!(ask(&mut shell, OpCode::CloseSession, &Request::CloseSession), 0);
    assert_eq!(last(&shell), before);
    assert!(shell.shared.sessions.lock().get(session).is_none());
}

#[test]
fn a_local_session_has_no_ephemeral_nodes() {
    let mut shell = leader(false);
    shell.open(A);
    let refused = ErrorCode::EphemeralOnLocalSession.to_wire();
    assert_eq!(ask(&mut shell, OpCode::Create, &create("/a", CreateFlags::Ephemeral)), refused);
    let multi = Request::Multi(vec![protocol::client::multi::MultiOp::Create(
        match create("/a", CreateFlags::Ephemeral) {
            Request::Create(create) => create,
            other => panic!("{other:?}"),
        },
    )]);
    assert_eq!(ask(&mut shell, OpCode::Multi, &multi), refused);
    assert!(shell.shared.tree().find("/a").is_none());
}

#[test]
fn a_local_session_becomes_everybodys_for_an_ephemeral_node() {
    let mut shell = leader(true);
    let session = shell.open(A);
    assert_eq!(ask(&mut shell, OpCode::Create, &create("/a", CreateFlags::Ephemeral)), 0);
    assert_eq!(shell.shared.tree().session_timeout_ms(session), Some(4000));
    assert_eq!(ask(&mut shell, OpCode::CloseSession, &Request::CloseSession), 0);
    assert_eq!(shell.shared.tree().session_timeout_ms(session), None);
    assert!(shell.shared.tree().find("/a").is_none());
}

#[test]
fn a_silent_local_session_ends_with_its_connection_and_without_a_transaction() {
    let mut shell = leader(false);
    let session = shell.open(A);
    let before = last(&shell);
    assert_eq!(shell.tick_at(14_000), []);
    assert_eq!(shell.tick_at(16_000), [(A, Got::Closed)]);
    assert!(shell.shared.sessions.lock().get(session).is_none());
    assert_eq!(last(&shell), before);
}

#[test]
fn a_local_session_is_taken_up_again_at_its_own_server() {
    let mut shell = leader(false);
    let session = shell.open(A);
    let password = session.password();
    let got = shell.connect(B, ConnectRequest { session, password: &password, ..new_session() });
    assert_eq!(got[0], (A, Got::Closed));
    assert_eq!(got[2], (B, Got::Opened(session)));
}

const THREE: &str = "server.1=127.0.0.1:1:2;3\nserver.2=127.0.0.1:4:5;6\nserver.3=127.0.0.1:7:8;9\n";

/// One of three, and the others are not there.
fn cut_off() -> Shell {
    let settings = ReplicaSettings { read_only_after_ms: Some(2000), ..settings(Rules::default()) };
    Shell::member(settings, THREE)
}

fn content_with_reads() -> ConnectRequest<'static> {
    ConnectRequest { read_only: Some(true), ..new_session() }
}

#[test]
fn a_server_that_is_cut_off_serves_reads_to_those_who_are_content_with_them() {
    let mut shell = cut_off();
    assert_eq!(shell.connect(A, content_with_reads()), [(A, Got::Closed)], "it still hopes for a leader");
    shell.tick_at(11_900);
    assert_eq!(shell.shared.status.role(), ServerRole::Looking);
    shell.tick_at(12_000);
    assert_eq!(shell.shared.status.role(), ServerRole::ReadOnly);
    assert_eq!(shell.connect(B, new_session()), [(B, Got::Closed)]);

    let got = shell.connect(A, content_with_reads());
    let (_, Got::Frame(frame)) = &got[0] else { panic!("{got:?}") };
    let response = ConnectResponse::read(frame).unwrap();
    assert_eq!(response.read_only, Some(true));
    assert_ne!(response.session, SessionId::NONE);
    let before = last(&shell);
    let refused = ErrorCode::NotReadOnly.to_wire();
    assert_eq!(ask(&mut shell, OpCode::Create, &create("/a", CreateFlags::Persistent)), refused);
    assert_eq!(ask(&mut shell, OpCode::SetData, &set("/a")), refused);
    assert_eq!(ask(&mut shell, OpCode::Sync, &Request::Sync { path: Some("/".into()) }), refused);
    shell.request(A, 2, OpCode::GetChildren, &Request::GetChildren { path: "/".into(), watch: true });
    let got = shell.sync();
    let (_, Got::Frame(frame)) = &got[0] else { panic!("{got:?}") };
    assert!(matches!(body(frame, OpCode::GetChildren), Response::Names(names) if names == ["zookeeper"]));
    assert_eq!(last(&shell), before);
    // Its session ends like any other.
    assert_eq!(shell.tick_at(18_000), [(A, Got::Closed)]);
}

#[test]
fn a_session_of_the_ensemble_is_sent_away_and_not_told_that_it_is_over() {
    let mut shell = cut_off();
    shell.tick_at(12_000);
    let session = SessionId::new(77);
    let password = session.password();
    let again = ConnectRequest { session, password: &password, ..content_with_reads() };
    assert_eq!(shell.connect(A, again), [(A, Got::Closed)]);
}

#[test]
fn nobody_is_served_any_more_when_there_is_a_leader_to_join() {
    let mut shell = cut_off();
    shell.tick_at(12_000);
    shell.connect(A, content_with_reads());
    let vote = Some(Vote { leader: ServerId::new(3), zxid: Zxid::ZERO, peer_epoch: 0 });
    for (from, state) in [(2, ServerState::Following), (3, ServerState::Leading)] {
        let notification = Notification { state, vote, round: 1, membership: None };
        shell.step(Input::Peer(PeerInput::Notification { from: ServerId::new(from), notification }));
    }
    assert_eq!(shell.sync(), [(A, Got::Closed)]);
    assert_eq!(shell.shared.status.role(), ServerRole::Looking);
    assert_eq!(shell.connect(B, content_with_reads()), [(B, Got::Closed)]);
}

fn set(path: &str) -> Request<'_> {
    Request::SetData { path: path.into(), data: Some(b"y"), version: -1 }
}
