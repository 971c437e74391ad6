//! Changes of the ensemble as clients of its leader see them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/shell.rs"]
mod shell;

use protocol::client::op_code::OpCode;
use protocol::client::request::Request;
use protocol::client::response::Response;
use protocol::peer::{FromLeader, FromLearner, LearnerKind};
use protocol::{ErrorCode, ServerId, Zxid};
use replica::{Fact, Input, PeerInput, membership_of};
use shell::*;
use tree::{AuthRules, Rules};
use zab::Action;

fn rules() -> Rules {
    Rules {
        reconfig_enabled: true,
        auth: AuthRules { skip_acl: true, ..AuthRules::default() },
        ..Rules::default()
    }
}

/// The only member of an ensemble, which leads it, with a client.
fn leader(rules: Rules) -> Shell {
    let mut shell = Shell::member(settings(rules), FIRST);
    shell.tick_at(10_300);
    shell.open(A);
    shell
}

fn reconfig<'a>(
    joining: Option<&'a str>,
    leaving: Option<&'a str>,
    whole: Option<&'a str>,
    version: i64,
) -> Request<'a> {
    Request::Reconfig {
        joining: joining.map(Into::into),
        leaving: leaving.map(Into::into),
        new_members: whole.map(Into::into),
        config_version: version,
    }
}

/// Asks, and waits for the answer: the text of the new membership, or what is wrong.
fn ask(shell: &mut Shell, request: &Request<'_>) -> Result<String, ErrorCode> {
    shell.request(A, 1, OpCode::Reconfig, request);
    let got = shell.sync();
    let [(_, Got::Frame(frame))] = &got[..] else { panic!("{got:?}") };
    answer(frame)
}

fn answer(frame: &[u8]) -> Result<String, ErrorCode> {
    match header(frame).error {
        0 => match body(frame, OpCode::Reconfig) {
            Response::Data(Some(data), stat) => {
                assert_eq!(stat.version, -1);
                Ok(String::from_utf8(data.to_vec()).unwrap())
            }
            other => panic!("{other:?}"),
        },
        code => Err(ErrorCode::from_wire(code).unwrap()),
    }
}

const OBSERVER: &str = "server.2=127.0.0.2:2888:3888:observer;2181";
const VOTER: &str = "server.2=127.0.0.2:2888:3888:participant;2181";

#[test]
fn the_first_leader_gives_the_membership_a_version() {
    let shell = leader(rules());
    let tree = shell.shared.tree();
    let config = tree.find("/zookeeper/config").unwrap();
    assert_eq!(std::str::from_utf8(config.data().unwrap()).unwrap(), format!("{FIRST}version=100000000"));
}

#[test]
fn a_change_is_refused_for_the_reasons_that_java_has() {
    let mut shell = leader(rules());
    let refused = [
        (reconfig(Some(OBSERVER), None, None, 7), ErrorCode::BadVersion),
        (reconfig(Some("server.2=nonsense"), None, None, -1), ErrorCode::BadArguments),
        (reconfig(None, Some("one"), None, -1), ErrorCode::BadArguments),
        // Two voters are the least, unless standaloneEnabled=false.
        (reconfig(Some(OBSERVER), None, None, -1), ErrorCode::BadArguments),
        (reconfig(None, Some("1"), None, -1), ErrorCode::BadArguments),
        // Server 2 is not there.
        (reconfig(Some(VOTER), None, None, -1), ErrorCode::NewConfigNoQuorum),
        (reconfig(None, None, Some(VOTER), 0x1_0000_0000), ErrorCode::BadArguments),
    ];
    for (request, code) in refused {
        assert_eq!(ask(&mut shell, &request), Err(code), "{request:?}");
    }
    let reasons = shell.facts.iter().filter(|fact| matches!(fact, Fact::ReconfigRefused { .. })).count();
    assert_eq!(reasons, 5, "{:?}", shell.facts);
    assert_eq!(
        ask(&mut leader(Rules { reconfig_enabled: false, ..rules() }), &reconfig(None, None, None, -1)),
        Err(ErrorCode::ReconfigDisabled)
    );
}

#[test]
fn only_who_may_write_the_node_changes_the_ensemble() {
    let mut shell = leader(Rules { reconfig_enabled: true, ..Rules::default() });
    learner(&mut shell, 2, LearnerKind::Follower);
    assert_eq!(ask(&mut shell, &reconfig(Some(VOTER), None, None, -1)), Err(ErrorCode::NoAuth));
}

#[test]
fn a_change_is_answered_when_both_quorums_have_it_and_one_is_enough_at_a_time() {
    let mut shell = leader(rules());
    let link = learner(&mut shell, 2, LearnerKind::Follower);
    shell.open(B);
    shell.request(A, 1, OpCode::Reconfig, &reconfig(Some(VOTER), None, None, 0x1_0000_0000));
    assert_eq!(shell.sync(), [], "server 2 has a say, and has not acknowledged it");
    shell.request(B, 2, OpCode::Reconfig, &reconfig(None, Some("2"), None, -1));
    let proposals: Vec<Zxid> = told(&mut shell, link)
        .iter()
        .filter_map(|message| match message {
            FromLeader::Proposal { zxid, .. } => Some(*zxid),
            _ => None,
        })
        .collect();
    for zxid in &proposals {
        shell.step(Input::Peer(PeerInput::FromLearner(link, FromLearner::Ack { zxid: *zxid })));
    }
    let got = shell.sync();
    let frames: Vec<_> = got
        .iter()
        .map(|(connection, got)| match got {
            Got::Frame(frame) => (*connection, answer(frame)),
            other => panic!("{other:?}"),
        })
        .collect();
    let [.., at, _] = proposals[..] else { panic!("{proposals:?}") };
    let text =
        format!("{FIRST}server.2=127.0.0.2:2888:3888:participant;0.0.0.0:2181\nversion={:x}", at.to_wire());
    assert_eq!(frames, [(A, Ok(text)), (B, Err(ErrorCode::ReconfigInProgress))]);
    let activates = FromLeader::CommitAndActivate { zxid: at, leader: ServerId::new(1) };
    assert!(told(&mut shell, link).contains(&activates));
}

#[test]
fn a_membership_that_came_with_a_tree_has_a_say() {
    let two = format!("{FIRST}server.2=127.0.0.2:2888:3888;2181\n");
    let later = format!("{two}server.3=127.0.0.3:2888:3888;2181\nversion=100000007");
    let mut shell = Shell::member_with_config(settings(rules()), &two, &later);
    assert_eq!(shell.replica.peer().proposed_membership(), None, "a start goes by the configuration");
    let found = membership_of(&shell.shared.tree()).unwrap();
    shell.step(Input::Peer(PeerInput::SnapshotRead(found)));
    let stored = shell.actions.iter().find_map(|action| match action {
        Action::StoreProposed(membership) => Some(membership.version),
        _ => None,
    });
    assert_eq!(stored, Some(0x1_0000_0007), "{:?}", shell.actions);
}
