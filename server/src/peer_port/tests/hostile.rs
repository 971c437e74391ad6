//! Sockets that do not keep to the protocol: they lose their own connection and harm no other.

use std::io::Write;
use std::net::TcpStream;
use std::time::Instant;

use protocol::Zxid;
use protocol::peer::FromLearner;

use super::node::{Node, expect_closed, notification, server};
use super::recorder::Event;
use crate::peer_port::limits::{INTRODUCTIONS_MAX, NOTIFICATION_WINDOW};

fn frame(round: i64) -> Vec<u8> {
    let mut frame = Vec::new();
    notification(round).encode(&mut frame);
    frame
}

/// Makes sure that two servers still find each other and can make a link.
fn assert_in_order(one: &Node, two: &Node) {
    one.handle.notify(two.id, &notification(99));
    assert_eq!(two.heard.wait_notification(one.id, 0), notification(99));
    let id = two.handle.new_link();
    two.handle.connect_leader(id, vec![one.quorum_address()], 10_000);
    let ack = FromLearner::Ack { zxid: Zxid::from_wire(0x77) };
    two.handle.write(id, |out| ack.encode(out));
    two.handle.flush();
    // Others may have connected before it.
    one.heard.wait("the acknowledgement", |events| {
        let received =
            |event: &Event| matches!(event, Event::FromLearner(_, batch, _) if batch.contains(&ack));
        events.iter().any(received).then_some(())
    });
    assert_eq!(one.heard.count(|event| *event == Event::Failed), 0);
}

#[test]
fn a_malformed_notification_is_skipped() {
    let nodes = Node::all(2);
    let mut socket = nodes[0].dial_as(9, ("127.0.0.1", 1));
    socket.write_all(&[0, 0, 0, 5, 1, 2, 3, 4, 5]).unwrap();
    socket.write_all(&frame(3)).unwrap();
    assert_eq!(nodes[0].heard.wait_notification(server(9), 0), notification(3));
}

#[test]
fn what_comes_in_one_piece_with_the_introduction_is_not_lost() {
    let nodes = Node::all(1);
    let mut socket = nodes[0].dial_election();
    let mut bytes = super::node::introduction(9, ("127.0.0.1", 1));
    bytes.extend(frame(1));
    bytes.extend(frame(2));
    socket.write_all(&bytes).unwrap();
    assert_eq!(nodes[0].heard.wait_notification(server(9), 1), notification(2));
}

#[test]
fn a_flood_of_notifications_is_taken_in_slowly_and_in_order() {
    let nodes = Node::all(1);
    let mut socket = nodes[0].dial_as(9, ("127.0.0.1", 1));
    let begun = Instant::now();
    let flood: Vec<u8> = (0..=500).flat_map(frame).collect();
    socket.write_all(&flood).unwrap();
    assert_eq!(nodes[0].heard.wait_notification(server(9), 500), notification(500));
    assert!(begun.elapsed() >= 4 * NOTIFICATION_WINDOW, "{:?}", begun.elapsed());
}

#[test]
fn a_lying_length_ends_the_connection() {
    for length in [-1i32, 0, i32::MAX, 524_289] {
        let nodes = Node::all(2);
        let mut socket = nodes[0].dial_as(9, ("127.0.0.1", 1));
        nodes[0].heard.wait_event(&Event::PeerConnected(server(9)));
        socket.write_all(&length.to_be_bytes()).unwrap();
        expect_closed(socket);
        nodes[0].heard.wait_event(&Event::PeerDisconnected(server(9)));
        assert_in_order(&nodes[0], &nodes[1]);
    }
}

#[test]
fn garbage_on_either_port_ends_its_connection_alone() {
    let nodes = Node::all(2);
    // A web browser, an initial message of no known version, impossible numbers and lengths.
    let mut browser = b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n".to_vec();
    browser.resize(200, b'x');
    let own_number = super::node::introduction(1, ("127.0.0.1", 1));
    let mut lying = super::node::introduction(9, ("127.0.0.1", 1));
    lying[16] = 0x7f;
    let election = [&browser[..], &[0xff; 64], &[0x7f; 8], &own_number, &lying];
    for bytes in election {
        let mut socket = nodes[0].dial_election();
        socket.write_all(bytes).unwrap();
        expect_closed(socket);
    }
    for bytes in [&browser[..], &[0xff; 64], &[0; 11], &[0x7f; 8192]] {
        let mut socket = nodes[0].dial_quorum();
        socket.write_all(bytes).unwrap();
        socket.shutdown(std::net::Shutdown::Write).unwrap();
        expect_closed(socket);
    }
    assert_in_order(&nodes[0], &nodes[1]);
}

#[test]
fn a_bad_packet_ends_its_link_behind_the_good_ones() {
    let nodes = Node::all(1);
    let mut socket = nodes[0].dial_quorum();
    let ack = FromLearner::Ack { zxid: Zxid::from_wire(5) };
    let mut bytes = Vec::new();
    ack.encode(&mut bytes);
    bytes.extend([0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff]);
    socket.write_all(&bytes).unwrap();
    let link = nodes[0].heard.wait_learner();
    assert_eq!(nodes[0].heard.wait_from_learner(link, 1), [ack]);
    let why = nodes[0].heard.wait_closed(link);
    assert!(why.contains("bad packet"), "{why}");
    expect_closed(socket);
}

#[test]
fn a_first_packet_that_does_not_end_is_not_collected() {
    let nodes = Node::all(1);
    let mut socket = nodes[0].dial_quorum();
    // FOLLOWERINFO with a megabyte of data.
    let mut bytes = vec![0, 0, 0, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0];
    bytes.resize(64 << 10, 0);
    // It may be closed while we write.
    let _ = socket.write_all(&bytes);
    let why = nodes[0].heard.wait_closed(nodes[0].heard.wait_learner());
    assert!(why.contains("first packet"), "{why}");
}

#[test]
fn silent_dialers_block_nobody() {
    let nodes = Node::all(2);
    let silent: Vec<TcpStream> = nodes
        .iter()
        .flat_map(|node| (0..10).flat_map(|_| [node.dial_election(), node.dial_quorum()]))
        .collect();
    assert_in_order(&nodes[0], &nodes[1]);
    drop(silent);
}

#[test]
fn the_oldest_silent_dialer_makes_room() {
    let nodes = Node::all(2);
    let mut silent: Vec<TcpStream> = (0..=INTRODUCTIONS_MAX).map(|_| nodes[0].dial_election()).collect();
    expect_closed(silent.remove(0));
    assert_in_order(&nodes[0], &nodes[1]);
}

#[test]
fn a_link_that_says_nothing_is_closed() {
    let members = super::node::members(1);
    let node = Node::start_with(&members, 1, |settings| settings.tick_ms = 10);
    let socket = node.dial_quorum();
    let why = node.heard.wait_closed(node.heard.wait_learner());
    assert!(why.contains("nothing was heard"), "{why}");
    expect_closed(socket);
}
