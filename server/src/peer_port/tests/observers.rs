//! The port where a follower serves observers.

use std::io::Write;
use std::net::TcpStream;

use bytes::Bytes;
use protocol::Zxid;
use protocol::peer::message::PROTOCOL_VERSION;
use protocol::peer::{FromLeader, FromLearner, LearnerKind, MemberRole};

use super::node::{Node, RAW_PATIENCE, expect_closed, free_port, members, server};
use super::recorder::Event;
use crate::peer_port::LinkId;
use crate::peer_port::limits::FIRST_PACKET_BYTES_MAX;

/// A server alone that serves observers, and at which port.
fn master() -> (Node, u16) {
    let port = free_port();
    let node = Node::start_with(&members(1), 1, |settings| settings.observer_master_port = Some(port));
    (node, port)
}

fn dial(port: u16) -> TcpStream {
    let socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    socket.set_read_timeout(Some(RAW_PATIENCE)).unwrap();
    socket
}

fn introduction() -> FromLearner {
    FromLearner::Info {
        kind: LearnerKind::Observer,
        accepted_epoch: Default::default(),
        server: Some(server(2)),
        protocol_version: PROTOCOL_VERSION,
        membership_version: 0,
        late_syncs: true,
        turns_epochs: false,
    }
}

fn wait_observer(node: &Node) -> LinkId {
    node.heard.wait("an observer", |events| {
        events.iter().find_map(|event| match event {
            Event::ObserverConnected(link) => Some(*link),
            _ => None,
        })
    })
}

#[test]
fn whoever_connects_to_the_port_for_observers_is_told_from_the_leaders_learners() {
    let (node, port) = master();
    let members = members(2);
    let observer = Node::start(&members, 2);
    let dialed = observer.handle.new_link();
    observer.handle.connect_observer_master(dialed, vec![("127.0.0.1".into(), port)], 10_000);
    observer.heard.wait_event(&Event::LeaderConnected(dialed));
    let link = wait_observer(&node);
    observer.handle.write(dialed, |out| introduction().encode(out));
    observer.handle.flush();
    assert_eq!(node.heard.wait_from_learner(link, 1), [introduction()]);
    node.handle.write(link, |out| FromLeader::UpToDate.encode(out));
    node.handle.flush();
    assert_eq!(observer.heard.wait_from_leader(dialed, 1), [FromLeader::UpToDate]);
    assert_eq!(node.heard.count(|event| matches!(event, Event::LearnerConnected(_))), 0);
}

#[test]
fn only_who_votes_opens_that_port() {
    let port = free_port();
    let node = Node::start_with(&members(1), 1, |settings| {
        settings.observer_master_port = Some(port);
        settings.own.role = MemberRole::Observer;
    });
    // The other ports are open.
    drop(node.dial_quorum());
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
}

#[test]
fn two_addresses_of_one_host_open_that_port_once() {
    let port = free_port();
    let node = Node::start_with(&members(1), 1, |settings| {
        settings.observer_master_port = Some(port);
        settings.own.addresses.push(super::node::address());
    });
    drop(dial(port));
    wait_observer(&node);
}

#[test]
fn an_observer_that_does_not_keep_up_is_parted_with_sooner_than_a_follower() {
    let (node, port) = master();
    let socket = dial(port);
    let link = wait_observer(&node);
    let inform = FromLeader::Inform { zxid: Zxid::from_wire(1), envelope: Bytes::from(vec![0; 1 << 20]) };
    // Eight MiB may wait in these tests; what the system takes does not count.
    for _ in 0..64 {
        node.handle.write(link, |out| inform.encode(out));
        node.handle.flush();
    }
    let why = node.heard.wait_closed(link);
    assert!(why.contains(&format!("at most {} may", 8 << 20)), "{why}");
    expect_closed(socket);
}

#[test]
fn a_long_first_packet_is_not_taken_in() {
    let (node, port) = master();
    let mut socket = dial(port);
    let mut packet = Vec::new();
    let body = Bytes::from(vec![0; 2 * FIRST_PACKET_BYTES_MAX]);
    let request = FromLearner::Request { session: Default::default(), cxid: 1, op: 5, body, ids: [].into() };
    request.encode(&mut packet);
    let link = wait_observer(&node);
    // All but the end of it.
    socket.write_all(&packet[..packet.len() - 1]).unwrap();
    let why = node.heard.wait_closed(link);
    assert!(why.contains("first packet"), "{why}");
    expect_closed(socket);
}

#[test]
fn a_follower_that_is_not_there_is_tried_once() {
    let node = Node::start(&members(1), 1);
    let link = node.handle.new_link();
    node.handle.connect_observer_master(link, vec![("127.0.0.1".into(), free_port())], 10_000);
    let why = node.heard.wait("the failure", |events| {
        events.iter().find_map(|event| match event {
            Event::LeaderUnreachable(failed, why) if *failed == link => Some(why.clone()),
            _ => None,
        })
    });
    assert!(why.contains("(1 attempts)"), "{why}");
}
