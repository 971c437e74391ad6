//! The election mesh among well-behaved servers.

use std::io::Read;
use std::net::TcpListener;

use super::node::{Node, introduction, members, notification, server};
use super::recorder::Event;

/// How often a node was connected to a peer.
fn connections(node: &Node, peer: &Node) -> usize {
    node.heard.count(|event| *event == Event::PeerConnected(peer.id))
}

#[test]
fn two_servers_that_dial_at_once_connect_once() {
    let nodes = Node::all(2);
    let [one, two] = &nodes[..] else { unreachable!() };
    one.handle.notify(two.id, &notification(1));
    two.handle.notify(one.id, &notification(2));
    assert_eq!(one.heard.wait_notification(two.id, 0), notification(2));
    assert_eq!(two.heard.wait_notification(one.id, 0), notification(1));
    one.handle.notify(two.id, &notification(3));
    two.handle.notify(one.id, &notification(4));
    assert_eq!(one.heard.wait_notification(two.id, 1), notification(4));
    assert_eq!(two.heard.wait_notification(one.id, 1), notification(3));
    assert_eq!((connections(one, two), connections(two, one)), (1, 1));
}

#[test]
fn three_servers_connect_once_for_each_pair() {
    let nodes = Node::all(3);
    for node in &nodes {
        node.handle.connect_all();
    }
    for node in &nodes {
        for peer in nodes.iter().filter(|peer| peer.id != node.id) {
            node.handle.notify(peer.id, &notification(node.id.get()));
        }
    }
    for node in &nodes {
        for peer in nodes.iter().filter(|peer| peer.id != node.id) {
            assert_eq!(node.heard.wait_notification(peer.id, 0), notification(peer.id.get()));
            assert_eq!(connections(node, peer), 1, "{} to {}", node.id, peer.id);
        }
    }
}

#[test]
fn a_smaller_server_is_dialed_back() {
    let nodes = Node::all(2);
    let [one, two] = &nodes[..] else { unreachable!() };
    one.handle.notify(two.id, &notification(1));
    assert_eq!(two.heard.wait_notification(one.id, 0), notification(1));
    assert_eq!(connections(two, one), 1);
}

#[test]
fn a_server_that_comes_up_hears_only_the_newest_message() {
    let members = members(2);
    let two = Node::start(&members, 2);
    for round in 1..=3 {
        two.handle.notify(server(1), &notification(round));
    }
    let one = Node::start(&members, 1);
    one.handle.connect_all();
    assert_eq!(one.heard.wait_notification(two.id, 0), notification(3));
}

#[test]
fn a_restarted_server_is_noticed_and_hears_nothing_that_was_said_before() {
    for restarted in [1, 2] {
        let members = members(2);
        let kept = Node::start(&members, 3 - restarted);
        let other = Node::start(&members, restarted);
        kept.handle.notify(other.id, &notification(7));
        assert_eq!(other.heard.wait_notification(kept.id, 0), notification(7));
        other.port.stop();
        kept.heard.wait_event(&Event::PeerDisconnected(other.id));

        let again = Node::start(&members, restarted);
        again.handle.connect_all();
        again.heard.wait_event(&Event::PeerConnected(kept.id));
        again.handle.notify(kept.id, &notification(8));
        assert_eq!(kept.heard.wait_notification(again.id, 0), notification(8));
        kept.handle.notify(again.id, &notification(9));
        assert_eq!(again.heard.wait_notification(kept.id, 0), notification(9), "not the 7th again");
    }
}

#[test]
fn a_name_that_does_not_resolve_stops_nothing() {
    let mut members = members(3);
    members[2].1[0].host = "no-such-host.invalid".into();
    let one = Node::start(&members, 1);
    let two = Node::start(&members, 2);
    for node in [&one, &two] {
        node.handle.notify(server(3), &notification(0));
        node.handle.connect_all();
    }
    one.handle.notify(two.id, &notification(1));
    assert_eq!(two.heard.wait_notification(one.id, 0), notification(1));
    one.handle.notify(server(3), &notification(2));
    one.port.stop();
}

#[test]
fn a_member_that_moved_is_dialed_where_it_is_now() {
    let mut members = members(2);
    let two = Node::start(&members, 2);
    two.handle.notify(server(1), &notification(1));
    members[0].1[0] = super::node::address();
    let one = Node::start(&members, 1);
    two.handle.set_members(members);
    two.handle.connect_all();
    assert_eq!(one.heard.wait_notification(two.id, 0), notification(1));
}

#[test]
fn a_smaller_server_is_dialed_where_it_says_it_is() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let nodes = Node::all(2);
    let two = &nodes[1];
    let announced = ("127.0.0.1", listener.local_addr().unwrap().port());
    super::node::expect_closed(two.dial_as(0, announced));
    let (mut back, _) = listener.accept().unwrap();
    let mut received = introduction(2, ("127.0.0.1", two.address.election_port));
    let expected = received.clone();
    back.read_exact(&mut received).unwrap();
    assert_eq!(received, expected);
    two.heard.wait_event(&Event::PeerConnected(server(0)));
}

#[test]
fn a_smaller_server_that_announces_a_wildcard_is_dialed_where_it_is_known_to_be() {
    let members = members(2);
    let one = TcpListener::bind(("127.0.0.1", members[0].1[0].election_port)).unwrap();
    let two = Node::start(&members, 2);
    super::node::expect_closed(two.dial_as(1, ("0.0.0.0", 1)));
    one.accept().unwrap();
    two.heard.wait_event(&Event::PeerConnected(server(1)));
}
