//! Links on the quorum port: packets in both directions, and their bounds.

use std::io::{ErrorKind, Write};
use std::time::Duration;

use bytes::Bytes;
use protocol::peer::{FromLeader, FromLearner};
use protocol::{SessionId, Zxid};

use super::node::{Node, expect_closed, free_port, link};
use super::recorder::{Event, from_learner};
use crate::peer_port::limits::{OUTBOX_BYTES_MAX, UNPROCESSED_PAUSE_BYTES};

fn zxid(number: usize) -> Zxid {
    Zxid::from_wire(number as i64)
}

/// A transaction of some length: session, cxid, zxid, and whatever follows.
fn envelope(number: usize) -> Bytes {
    let mut bytes = vec![number as u8; 32 + number % 6_000];
    bytes[12..20].copy_from_slice(&zxid(number).to_wire().to_be_bytes());
    bytes.into()
}

#[test]
fn packets_travel_in_both_directions_in_order_and_in_batches() {
    const COUNT: usize = 20_000;
    let nodes = Node::all(2);
    let [leader, learner] = &nodes[..] else { unreachable!() };
    let (at_leader, at_learner) = link(leader, learner);
    let down: Vec<_> = (0..COUNT)
        .map(|number| match number % 2 {
            0 => FromLeader::Proposal { zxid: zxid(number), envelope: envelope(number) },
            _ => FromLeader::Commit { zxid: zxid(number - 1) },
        })
        .collect();
    let up: Vec<_> = (0..COUNT).map(|number| FromLearner::Ack { zxid: zxid(number) }).collect();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for messages in down.chunks(100) {
                for message in messages {
                    leader.handle.write(at_leader, |out| message.encode(out));
                }
                leader.handle.flush();
            }
        });
        for messages in up.chunks(100) {
            for message in messages {
                learner.handle.write(at_learner, |out| message.encode(out));
            }
            learner.handle.flush();
        }
    });
    let mut given_back = 0;
    let received = learner.heard.wait("all messages of the leader", |events| {
        let batches = events.iter().filter_map(|event| match event {
            Event::FromLeader(_, messages, bytes) => Some((messages, *bytes)),
            _ => None,
        });
        // What was handed over must be given back, or the link pauses.
        let bytes: usize = batches.clone().map(|(_, bytes)| bytes).sum();
        learner.handle.received_processed(at_learner, bytes - given_back);
        given_back = bytes;
        let count: usize = batches.clone().map(|(messages, _)| messages.len()).sum();
        (count >= COUNT).then(|| batches.flat_map(|(messages, _)| messages.clone()).collect::<Vec<_>>())
    });
    assert!(received == down);
    assert!(leader.heard.wait_from_learner(at_leader, COUNT) == up);
    let batches = leader.heard.count(|event| matches!(event, Event::FromLearner(..)));
    assert!(batches <= COUNT / 50, "{batches} batches");
}

#[test]
fn what_is_written_before_the_link_stands_is_sent_first() {
    let nodes = Node::all(2);
    let [leader, learner] = &nodes[..] else { unreachable!() };
    let id = learner.handle.new_link();
    learner.handle.connect_leader(id, vec![leader.quorum_address()], 10_000);
    let ack = FromLearner::Ack { zxid: zxid(1) };
    learner.handle.write(id, |out| ack.encode(out));
    learner.handle.flush();
    let at_leader = leader.heard.wait_learner();
    assert_eq!(leader.heard.wait_from_learner(at_leader, 1), [ack]);
}

#[test]
fn any_address_of_a_leader_will_do() {
    let nodes = Node::all(2);
    let [leader, learner] = &nodes[..] else { unreachable!() };
    let id = learner.handle.new_link();
    let addresses = vec![
        ("127.0.0.1".to_owned(), free_port()),
        ("no-such-host.invalid".to_owned(), 1),
        leader.quorum_address(),
    ];
    learner.handle.connect_leader(id, addresses, 10_000);
    learner.heard.wait_event(&Event::LeaderConnected(id));
}

#[test]
fn a_leader_that_is_not_there_is_reported() {
    let nodes = Node::all(1);
    let unreachable = |addresses| {
        let id = nodes[0].handle.new_link();
        nodes[0].handle.connect_leader(id, addresses, 10_000);
        nodes[0].heard.wait("the failure", |events| {
            events.iter().find_map(|event| match event {
                Event::LeaderUnreachable(link, why) if *link == id => Some(why.clone()),
                _ => None,
            })
        })
    };
    let why = unreachable(vec![("127.0.0.1".into(), free_port())]);
    assert!(why.contains("(5 attempts)"), "{why}");
    assert!(unreachable(Vec::new()).contains("no address"));
}

#[test]
fn a_dial_that_is_closed_is_given_up() {
    let nodes = Node::all(1);
    let id = nodes[0].handle.new_link();
    nodes[0].handle.connect_leader(id, Vec::new(), 10_000);
    nodes[0].handle.close(id, "changed our mind");
    nodes[0].heard.wait("the failure", |events| {
        events
            .iter()
            .any(|event| matches!(event, Event::LeaderUnreachable(link, _) if *link == id))
            .then_some(())
    });
}

#[test]
fn both_ends_hear_once_that_a_link_is_closed() {
    let nodes = Node::all(2);
    let [leader, learner] = &nodes[..] else { unreachable!() };
    let (at_leader, at_learner) = link(leader, learner);
    leader.handle.close(at_leader, "enough");
    assert_eq!(leader.heard.wait_closed(at_leader), "enough");
    learner.heard.wait_closed(at_learner);
    leader.handle.close(at_leader, "again");
    leader.handle.write(at_leader, |out| out.push(0));
    leader.handle.flush();
    // Something that must come after a second report, if there were one.
    let id = learner.handle.new_link();
    learner.handle.connect_leader(id, vec![leader.quorum_address()], 10_000);
    leader.heard.wait("another learner", |events| {
        let learners = events.iter().filter(|event| matches!(event, Event::LearnerConnected(_)));
        (learners.count() == 2).then_some(())
    });
    assert_eq!(leader.heard.count(|event| matches!(event, Event::LinkClosed(..))), 1);
}

#[test]
fn a_link_whose_messages_are_not_processed_is_not_read() {
    const REQUESTS: usize = 700;
    let nodes = Node::all(1);
    let node = &nodes[0];
    let mut socket = node.dial_quorum();
    socket.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut request = Vec::new();
    let body = Bytes::from(vec![7; 100 << 10]);
    FromLearner::Request { session: SessionId::new(1), cxid: 1, op: 5, body, ids: [].into() }
        .encode(&mut request);
    let requests = request.repeat(REQUESTS);
    let mut left = &requests[..];
    // The first packet of a stranger must be short.
    let mut hello = Vec::new();
    FromLearner::Ack { zxid: zxid(0) }.encode(&mut hello);
    socket.write_all(&hello).unwrap();
    let link = node.heard.wait_learner();
    node.heard.wait_from_learner(link, 1);

    let mut given_back = 0;
    let mut stalled = false;
    let mut most_out = 0;
    while !left.is_empty() {
        match socket.write(left) {
            Ok(count) => left = &left[count..],
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                stalled = true;
                let handed_over = node.heard.wait("messages", |events| Some(handed_over(events)));
                most_out = most_out.max(handed_over - given_back);
                node.handle.received_processed(link, handed_over - given_back);
                given_back = handed_over;
            }
            Err(error) => panic!("{error}"),
        }
    }
    node.heard.wait("all requests", |events| {
        let handed_over = handed_over(events);
        node.handle.received_processed(link, handed_over - given_back);
        given_back = handed_over;
        (from_learner(events, link).count() > REQUESTS).then_some(())
    });
    assert!(stalled, "70 MiB were read at once");
    // One read may pass the limit.
    assert!(most_out <= UNPROCESSED_PAUSE_BYTES + (1 << 20), "{most_out}");
}

fn handed_over(events: &[Event]) -> usize {
    let bytes = events.iter().map(|event| match event {
        Event::FromLearner(_, _, bytes) => *bytes,
        _ => 0,
    });
    bytes.sum()
}

#[test]
fn a_link_that_does_not_read_is_closed() {
    let nodes = Node::all(1);
    let socket = nodes[0].dial_quorum();
    let link = nodes[0].heard.wait_learner();
    let chunk = vec![0; 16 << 20];
    // Twice the limit: what the system takes of it does not count.
    for _ in 0..2 * OUTBOX_BYTES_MAX / chunk.len() {
        nodes[0].handle.write(link, |out| out.extend_from_slice(&chunk));
        nodes[0].handle.flush();
    }
    let why = nodes[0].heard.wait_closed(link);
    assert!(why.contains("does not read"), "{why}");
    expect_closed(socket);
}
