//! A leader that does not know a session first makes sure that it still leads.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/shell.rs"]
mod shell;

use protocol::client::connect::{ConnectRequest, ConnectResponse};
use protocol::client::op_code::OpCode;
use protocol::client::request::Request;
use protocol::peer::{FromLeader, FromLearner, LearnerKind};
use protocol::{SessionId, Zxid};
use replica::{Input, PeerInput};
use shell::*;
use tree::{AuthRules, Rules};
use zab::LinkId;

const STRANGER: SessionId = SessionId::new(0x0200_0000_0000_0077);

/// The leader of two voters, and the link of the other.
fn leader_of_two() -> (Shell, LinkId) {
    let auth = AuthRules { skip_acl: true, ..AuthRules::default() };
    let rules = Rules { reconfig_enabled: true, auth, ..Rules::default() };
    let mut shell = Shell::member(settings(rules), FIRST);
    shell.tick_at(10_300);
    let link = learner(&mut shell, 2, LearnerKind::Follower);
    shell.open(B);
    let joining = Some("server.2=127.0.0.2:2888:3888:participant;2181".into());
    let reconfig = Request::Reconfig { joining, leaving: None, new_members: None, config_version: -1 };
    shell.request(B, 1, OpCode::Reconfig, &reconfig);
    shell.sync();
    acknowledge(&mut shell, link);
    assert_eq!(shell.replica.peer().membership().voters().count(), 2);
    // Who votes now and did not before is asked whether it knows.
    answer_pings(&mut shell, link);
    shell.sync();
    (shell, link)
}

fn acknowledge(shell: &mut Shell, link: LinkId) {
    for message in told(shell, link) {
        if let FromLeader::Proposal { zxid, .. } = message {
            says(shell, link, FromLearner::Ack { zxid });
        }
    }
    shell.sync();
}

fn says(shell: &mut Shell, link: LinkId, message: FromLearner) {
    shell.step(Input::Peer(PeerInput::FromLearner(link, message)));
}

/// The follower answers every ping that it has got.
fn answer_pings(shell: &mut Shell, link: LinkId) {
    let pings = told(shell, link).iter().filter(|said| matches!(said, FromLeader::Ping { .. })).count();
    assert!(pings > 0, "a leader in doubt asks");
    for _ in 0..pings {
        says(shell, link, FromLearner::Ping { zxid: Zxid::ZERO, sessions: Vec::new() });
    }
}

#[test]
fn a_client_hears_that_its_session_is_over_when_a_quorum_has_confirmed_the_leader() {
    let (mut shell, link) = leader_of_two();
    let password = STRANGER.password();
    let again = ConnectRequest { session: STRANGER, password: &password, ..new_session() };
    assert_eq!(shell.connect(A, again), [], "somebody else may lead, and have opened it");
    answer_pings(&mut shell, link);
    let got = shell.sync();
    let [(A, Got::Frame(frame)), (A, Got::Closed)] = &got[..] else { panic!("{got:?}") };
    assert_eq!(ConnectResponse::read(frame).unwrap().session, SessionId::NONE);
}

#[test]
fn a_learner_hears_it_then_too() {
    let (mut shell, link) = leader_of_two();
    told(&mut shell, link);
    says(&mut shell, link, FromLearner::Revalidate { session: STRANGER, timeout_ms: 4000 });
    shell.sync();
    let answer = FromLeader::Revalidate { session: STRANGER, valid: false };
    assert!(!shell.actions.iter().any(|action| format!("{action:?}").contains("Revalidate")));
    answer_pings(&mut shell, link);
    shell.sync();
    assert!(told(&mut shell, link).contains(&answer));
}

/// The session is opened after all, by a learner's client, and the leader is confirmed.
fn open_stranger(shell: &mut Shell, link: LinkId) {
    let (op, body) = (OpCode::CreateSession.to_wire(), 4000_i32.to_be_bytes().to_vec().into());
    says(shell, link, FromLearner::Request { session: STRANGER, cxid: 0, op, body, ids: [].into() });
    let said = told(shell, link);
    let pings = said.iter().filter(|said| matches!(said, FromLeader::Ping { .. })).count();
    for message in said {
        if let FromLeader::Proposal { zxid, .. } = message {
            says(shell, link, FromLearner::Ack { zxid });
        }
    }
    shell.sync();
    for _ in 0..pings {
        says(shell, link, FromLearner::Ping { zxid: Zxid::ZERO, sessions: Vec::new() });
    }
    shell.sync();
}

#[test]
fn a_session_that_was_opened_meanwhile_is_taken_up() {
    let (mut shell, link) = leader_of_two();
    told(&mut shell, link);
    says(&mut shell, link, FromLearner::Revalidate { session: STRANGER, timeout_ms: 4000 });
    open_stranger(&mut shell, link);
    assert!(told(&mut shell, link).contains(&FromLeader::Revalidate { session: STRANGER, valid: true }));
}

#[test]
fn a_client_that_has_gone_meanwhile_does_not_take_its_session_up() {
    let (mut shell, link) = leader_of_two();
    told(&mut shell, link);
    let password = STRANGER.password();
    shell.connect(A, ConnectRequest { session: STRANGER, password: &password, ..new_session() });
    shell.step(Input::Disconnected { connection: A });
    open_stranger(&mut shell, link);
    assert_eq!(shell.shared.sessions.lock().get(STRANGER).map(|tracked| tracked.connection), Some(None));
}

#[test]
fn a_leader_that_steps_down_has_said_nothing() {
    let (mut shell, _) = leader_of_two();
    let password = STRANGER.password();
    let again = ConnectRequest { session: STRANGER, password: &password, ..new_session() };
    assert_eq!(shell.connect(A, again), []);
    let got = shell.tick_at(60_000);
    assert!(got.contains(&(A, Got::Closed)), "{got:?}");
    assert!(!got.iter().any(|(_, got)| matches!(got, Got::Frame(_))), "{got:?}");
}
