//! A follower between a leader and observers: it asks for them, and hands answers to whom they are for.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/shell.rs"]
mod shell;

use bytes::Bytes;
use protocol::client::connect::ConnectRequest;
use protocol::client::op_code::OpCode;
use protocol::client::request::Request;
use protocol::peer::message::PROTOCOL_VERSION;
use protocol::peer::{FromLeader, FromLearner, LearnerKind, Notification, ServerState, Vote};
use protocol::txn::{Transaction, TxnBody, TxnHeader};
use protocol::{Epoch, ServerId, SessionId, Zxid};
use replica::{Input, PeerInput};
use shell::*;
use tree::Rules;
use zab::{Action, LinkId};

const MEMBERS: &str = "server.1=127.0.0.1:2888:3888\nserver.2=127.0.0.1:2889:3889\n\
                       server.5=127.0.0.1:2892:3892\nserver.3=127.0.0.1:2890:3890:observer\n\
                       server.4=127.0.0.1:2891:3891:observer";
const EPOCH: Epoch = Epoch::new(1);
const S: SessionId = SessionId::new(0x0300_0000_0000_0001);
const T: SessionId = SessionId::new(0x0300_0000_0000_0002);

/// A follower of server 2, and what goes between them.
struct Follower {
    shell: Shell,
    leader: LinkId,
    last: u32,
}

impl Follower {
    fn new() -> Follower {
        let mut shell = Shell::member(settings(Rules::default()), MEMBERS);
        let vote = Vote { leader: ServerId::new(2), zxid: Zxid::ZERO, peer_epoch: 0 };
        for (from, state) in [(2, ServerState::Leading), (5, ServerState::Following)] {
            let from = ServerId::new(from);
            let membership = Some(String::new());
            let notification = Notification { state, vote: Some(vote), round: 7, membership };
            shell.step(Input::Peer(PeerInput::Notification { from, notification }));
        }
        shell.tick_at(10_500);
        let dialed = shell.actions.iter().find_map(|action| match action {
            Action::ConnectLeader { link, leader, .. } if leader.get() == 2 => Some(*link),
            _ => None,
        });
        let leader = dialed.unwrap_or_else(|| panic!("{:?}", shell.actions));
        shell.step(Input::Peer(PeerInput::LeaderConnected(leader)));
        let mut follower = Follower { shell, leader, last: 0 };
        follower.leader_says(FromLeader::LeaderInfo { epoch: EPOCH });
        follower.leader_says(FromLeader::Diff { zxid: Zxid::ZERO });
        follower.leader_says(FromLeader::NewLeader { epoch: EPOCH, membership: None });
        follower.shell.sync();
        follower.leader_says(FromLeader::UpToDate);
        follower.asked();
        follower
    }

    fn leader_says(&mut self, message: FromLeader) {
        self.shell.step(Input::Peer(PeerInput::FromLeader(self.leader, message)));
    }

    fn says(&mut self, link: LinkId, message: FromLearner) {
        self.shell.step(Input::Peer(PeerInput::FromLearner(link, message)));
    }

    /// What the leader was asked since this was last called.
    fn asked(&mut self) -> Vec<FromLearner> {
        let asked = |action: &Action| match action {
            Action::ToLeader { message, .. } => Some(message.clone()),
            _ => None,
        };
        let messages = self.shell.actions.iter().filter_map(asked).collect();
        self.shell.actions.retain(|action| asked(action).is_none());
        messages
    }

    fn observer(&mut self, server: i64, late_syncs: bool) -> LinkId {
        let link = LinkId::new(server as u64);
        self.shell.step(Input::Peer(PeerInput::ObserverConnected(link)));
        self.says(
            link,
            FromLearner::Info {
                kind: LearnerKind::Observer,
                accepted_epoch: EPOCH,
                server: Some(ServerId::new(server)),
                protocol_version: PROTOCOL_VERSION,
                membership_version: 0,
                late_syncs,
                turns_epochs: false,
            },
        );
        let last_zxid = self.shell.replica.peer().history().last();
        self.says(link, FromLearner::AckEpoch { last_zxid, current_epoch: Some(Epoch::new(0)) });
        self.says(link, FromLearner::Ack { zxid: Zxid::new(EPOCH, 0) });
        assert!(told(&mut self.shell, link).contains(&FromLeader::UpToDate), "{:?}", self.shell.actions);
        link
    }

    /// The leader proposes and commits something; the follower logs and applies it.
    fn commit(&mut self, session: SessionId, body: TxnBody<'_>, op: OpCode) {
        self.last += 1;
        let zxid = Zxid::new(EPOCH, self.last);
        let header = TxnHeader { session, cxid: 0, zxid, time_ms: 0, kind: op.to_wire() };
        let mut envelope = Vec::new();
        Transaction { header, body, digest: None }.write(&mut envelope);
        self.leader_says(FromLeader::Proposal { zxid, envelope: envelope.into() });
        self.shell.sync();
        self.leader_says(FromLeader::Commit { zxid });
        self.shell.sync();
        self.asked();
    }

    fn open(&mut self, session: SessionId) {
        self.commit(session, TxnBody::CreateSession { timeout_ms: 4000 }, OpCode::CreateSession);
    }

    /// A client of this server's own takes the session up.
    fn take_up_here(&mut self, session: SessionId) {
        let password = session.password();
        self.shell.connect(A, ConnectRequest { session, password: &password, ..new_session() });
        self.leader_says(FromLeader::Revalidate { session, valid: true });
        let got = self.shell.sync();
        assert!(got.contains(&(A, Got::Opened(session))), "{got:?}");
        self.asked();
    }
}

fn request(session: SessionId, cxid: i32, op: OpCode, body: &'static [u8]) -> FromLearner {
    let body = Bytes::from_static(body);
    FromLearner::Request { session, cxid, op: op.to_wire(), body, ids: [].into() }
}

fn write(session: SessionId, cxid: i32) -> FromLearner {
    request(session, cxid, OpCode::Delete, b"\0\0\0\x02/a\xff\xff\xff\xff")
}

fn sync(session: SessionId) -> FromLearner {
    request(session, 7, OpCode::Sync, b"\0\0\0\x01/")
}

fn renewal(session: SessionId) -> FromLearner {
    FromLearner::Revalidate { session, timeout_ms: 4000 }
}

/// The same request as the leader must refuse it with a transaction: it cannot be read.
fn refused(session: SessionId, cxid: i32) -> FromLearner {
    request(session, cxid, OpCode::SetData, b"")
}

#[test]
fn requests_go_to_the_leader_as_they_are() {
    let mut follower = Follower::new();
    let observer = follower.observer(3, true);
    for message in [write(S, 1), write(T, 2), sync(S)] {
        follower.says(observer, message);
    }
    assert_eq!(follower.asked(), [write(S, 1), write(T, 2), sync(S)]);
}

#[test]
fn nothing_is_asked_for_an_observer_that_is_not_in_sync() {
    let mut follower = Follower::new();
    let link = LinkId::new(9);
    follower.shell.step(Input::Peer(PeerInput::ObserverConnected(link)));
    follower.says(link, write(S, 1));
    assert_eq!(follower.asked(), []);
    assert!(follower.shell.actions.iter().any(|action| matches!(action, Action::Close { .. })));
}

#[test]
fn answers_to_syncs_go_to_whoever_has_asked_in_that_order() {
    let mut follower = Follower::new();
    let (one, other) = (follower.observer(3, true), follower.observer(4, true));
    follower.open(S);
    follower.take_up_here(S);
    follower.says(one, sync(T));
    follower.shell.request(A, 1, OpCode::Sync, &Request::Sync { path: Some("/".into()) });
    follower.says(other, sync(T));
    follower.says(one, sync(T));
    assert_eq!(follower.asked().len(), 4);
    // Both have heard of the session.
    told(&mut follower.shell, one);
    told(&mut follower.shell, other);
    let mut answered = Vec::new();
    for _ in 0..4 {
        follower.leader_says(FromLeader::Sync);
        let here = !follower.shell.sync().is_empty();
        let (first, second) = (told(&mut follower.shell, one), told(&mut follower.shell, other));
        answered.push((first.len(), here, second.len()));
    }
    assert_eq!(answered, [(1, false, 0), (0, true, 0), (0, false, 1), (1, false, 0)]);
}

#[test]
fn an_observer_hears_of_everything_committed_before_its_sync_is_answered() {
    let mut follower = Follower::new();
    let observer = follower.observer(3, true);
    follower.says(observer, sync(T));
    follower.open(S);
    follower.leader_says(FromLeader::Sync);
    let said = told(&mut follower.shell, observer);
    assert!(
        matches!(said[..], [FromLeader::Inform { .. }, FromLeader::Sync]),
        "the commit came before the answer: {said:?}"
    );
}

#[test]
fn what_an_observer_of_javas_asks_behind_a_sync_waits_for_the_answer() {
    let mut follower = Follower::new();
    let java = follower.observer(3, false);
    for message in [write(T, 7), sync(S), write(S, 8), write(T, 9), sync(T), write(S, 10)] {
        follower.says(java, message);
    }
    assert_eq!(follower.asked(), [write(T, 7), sync(S)], "not even another session's request goes on");
    follower.leader_says(FromLeader::Sync);
    assert_eq!(follower.asked(), [write(S, 8), write(T, 9), sync(T)]);
    assert_eq!(told(&mut follower.shell, java), [FromLeader::Sync]);
    follower.leader_says(FromLeader::Sync);
    assert_eq!(follower.asked(), [write(S, 10)]);
    follower.says(java, write(S, 11));
    assert_eq!(follower.asked(), [write(S, 11)]);
}

#[test]
fn an_observer_for_which_too_much_waits_is_parted_with() {
    let mut follower = Follower::new();
    let java = follower.observer(3, false);
    follower.says(java, sync(S));
    let body = Bytes::from(vec![0; 1 << 20]);
    for cxid in 0..40 {
        let op = OpCode::SetData.to_wire();
        let large = FromLearner::Request { session: S, cxid, op, body: body.clone(), ids: [].into() };
        follower.says(java, large);
    }
    assert!(
        follower
            .shell
            .actions
            .iter()
            .any(|action| matches!(action, Action::Close { link, .. } if *link == java))
    );
    follower.asked();
    follower.leader_says(FromLeader::Sync);
    assert_eq!(follower.asked(), [], "what waited is gone with it");
}

#[test]
fn renewals_are_answered_to_whoever_asked_first_for_that_session() {
    let mut follower = Follower::new();
    let (one, other) = (follower.observer(3, true), follower.observer(4, true));
    follower.says(one, renewal(S));
    follower.says(other, renewal(T));
    follower.says(other, renewal(S));
    assert_eq!(follower.asked(), [renewal(S), renewal(T), renewal(S)]);
    follower.leader_says(FromLeader::Revalidate { session: T, valid: false });
    assert_eq!(told(&mut follower.shell, other), [FromLeader::Revalidate { session: T, valid: false }]);
    follower.leader_says(FromLeader::Revalidate { session: S, valid: true });
    assert_eq!(told(&mut follower.shell, one), [FromLeader::Revalidate { session: S, valid: true }]);
    assert_eq!(told(&mut follower.shell, other), []);
    follower.leader_says(FromLeader::Revalidate { session: S, valid: true });
    assert_eq!(told(&mut follower.shell, other), [FromLeader::Revalidate { session: S, valid: true }]);
}

#[test]
fn a_session_that_an_observer_takes_over_loses_its_connection_here() {
    let mut follower = Follower::new();
    let observer = follower.observer(3, true);
    follower.open(S);
    follower.take_up_here(S);
    follower.says(observer, renewal(S));
    assert_eq!(follower.shell.sync(), [(A, Got::Closed)]);
    follower.leader_says(FromLeader::Revalidate { session: S, valid: true });
    assert_eq!(
        told(&mut follower.shell, observer).last(),
        Some(&FromLeader::Revalidate { session: S, valid: true })
    );
}

/// What still comes on the old connection would reach the leader behind the new claim, and count as its.
#[test]
fn a_client_that_comes_back_loses_its_old_connection_before_the_leader_is_asked() {
    let mut follower = Follower::new();
    follower.open(S);
    follower.take_up_here(S);
    let password = S.password();
    let again = ConnectRequest { session: S, password: &password, ..new_session() };
    assert_eq!(follower.shell.connect(B, again), [(A, Got::Closed)]);
    assert!(matches!(follower.asked()[..], [FromLearner::Revalidate { session: S, .. }]));
    let set = Request::SetData { path: "/".into(), data: None, version: -1 };
    follower.shell.request(A, 1, OpCode::SetData, &set);
    assert_eq!(follower.asked(), []);
}

#[test]
fn a_late_request_of_a_session_that_has_moved_is_refused() {
    let mut follower = Follower::new();
    let (one, other) = (follower.observer(3, true), follower.observer(4, true));
    follower.open(S);
    follower.says(one, write(S, 1));
    follower.says(other, renewal(S));
    follower.asked();
    // Behind the question, although the answer is still to come.
    follower.says(one, write(S, 2));
    assert_eq!(follower.asked(), [refused(S, 2)]);
    follower.leader_says(FromLeader::Revalidate { session: S, valid: true });
    follower.says(one, write(S, 3));
    follower.says(other, write(S, 4));
    assert_eq!(follower.asked(), [refused(S, 3), write(S, 4)]);
    follower.take_up_here(S);
    follower.says(other, write(S, 5));
    assert_eq!(follower.asked(), [refused(S, 5)]);
}

#[test]
fn the_leader_hears_which_sessions_observers_have_heard() {
    let mut follower = Follower::new();
    let observer = follower.observer(3, true);
    let unknown = SessionId::new(99);
    follower.open(S);
    follower.open(T);
    follower.take_up_here(T);
    follower.says(observer, FromLearner::Ping { zxid: Zxid::ZERO, sessions: vec![(S, 1), (unknown, 4000)] });
    follower.asked();
    follower.shell.now.monotonic_ms += 1;
    let zxid = Zxid::new(EPOCH, 2);
    follower.leader_says(FromLeader::Ping { zxid });
    assert_eq!(follower.asked(), [FromLearner::Ping { zxid, sessions: vec![(S, 4000), (T, 4000)] }]);
    follower.leader_says(FromLeader::Ping { zxid });
    assert_eq!(follower.asked(), [FromLearner::Ping { zxid, sessions: Vec::new() }], "told once");
}

#[test]
fn observers_are_closed_when_the_leader_is_gone() {
    let mut follower = Follower::new();
    let observer = follower.observer(3, false);
    follower.says(observer, sync(S));
    follower.says(observer, write(S, 1));
    let leader = follower.leader;
    follower.shell.step(Input::Peer(PeerInput::LinkClosed(leader)));
    let closed = |action: &Action| matches!(action, Action::Close { link, .. } if *link == observer);
    assert!(follower.shell.actions.iter().any(closed));
    follower.asked();
    follower.says(observer, write(S, 2));
    assert_eq!(follower.asked(), []);
}
