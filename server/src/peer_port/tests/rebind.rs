//! A server whose line says that it is elsewhere from now on.

use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use protocol::peer::membership::PeerAddress;
use protocol::peer::{Member, MemberRole};

use super::node::{Node, address, link, notification};

const PATIENCE: Duration = Duration::from_secs(30);

fn member(address: &PeerAddress) -> Member {
    Member {
        addresses: vec![address.clone()],
        role: MemberRole::Participant,
        client: None,
        secure_client: None,
    }
}

fn answers(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

#[track_caller]
fn wait(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn both_ports_move_and_connections_stay() {
    let mut nodes = Node::all(2);
    let (one, two) = nodes.split_at_mut(1);
    let (one, two) = (&mut one[0], &two[0]);
    one.handle.notify(two.id, &notification(1));
    assert_eq!(two.heard.wait_notification(one.id, 0), notification(1));
    let (_, at_two) = link(one, two);

    let (old, new) = (one.address.clone(), address());
    one.handle.rebind(member(&new));
    wait("the new ports are open", || answers(new.election_port) && answers(new.quorum_port));
    wait("the old ports are closed", || !answers(old.election_port) && !answers(old.quorum_port));
    one.handle.notify(two.id, &notification(2));
    assert_eq!(two.heard.wait_notification(one.id, 1), notification(2), "on the connection that stood");
    assert_eq!(
        two.heard.count(
            |event| matches!(event, super::recorder::Event::LinkClosed(closed, _) if *closed == at_two)
        ),
        0
    );
    one.address = new;
    link(one, two);
}

#[test]
fn one_port_of_the_two_may_stay() {
    let nodes = Node::all(1);
    let old = nodes[0].address.clone();
    let new = PeerAddress { election_port: address().election_port, ..old.clone() };
    nodes[0].handle.rebind(member(&new));
    wait("the new port is open", || answers(new.election_port));
    wait("the port that stays is open", || answers(old.quorum_port));
    wait("the old port is closed", || !answers(old.election_port));
}

#[test]
fn an_address_that_is_taken_is_tried_until_it_is_free() {
    let nodes = Node::all(1);
    let old = nodes[0].address.clone();
    let new = address();
    let taken = TcpListener::bind(("127.0.0.1", new.election_port)).unwrap();
    nodes[0].handle.rebind(member(&new));
    wait("the old ports are closed", || !answers(old.election_port) && !answers(old.quorum_port));
    drop(taken);
    wait("the new ports are open", || answers(new.election_port) && answers(new.quorum_port));
}

#[test]
fn the_newest_of_two_moves_counts() {
    let nodes = Node::all(1);
    let (first, second) = (address(), address());
    nodes[0].handle.rebind(member(&first));
    nodes[0].handle.rebind(member(&second));
    wait("the last ports are open", || answers(second.election_port) && answers(second.quorum_port));
    wait("the ports between are closed", || !answers(first.election_port) && !answers(first.quorum_port));
}
