//! Raw trees between the packets of a link.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpListener;

use protocol::peer::FromLeader;
use protocol::{Epoch, Zxid};

use super::node::{Node, link};
use super::recorder::Event;
use crate::peer_port::{IncomingSnapshot, LinkId, StreamWriter};

const ZXID: Zxid = Zxid::ZERO;
const LENGTH: usize = 50 << 20;
/// Not a divisor of any size in use, so that nothing lines up.
const PIECE: usize = 9_973;

/// The byte at a place of the stream.
fn byte(place: usize) -> u8 {
    (place.wrapping_mul(0x9e37_79b9) >> 13) as u8
}

fn write_tree(writer: &mut StreamWriter, length: usize) -> std::io::Result<()> {
    let mut place = 0;
    while place < length {
        let piece: Vec<u8> = (place..length.min(place + PIECE)).map(byte).collect();
        writer.write_all(&piece)?;
        place += piece.len();
    }
    Ok(())
}

fn read_tree(stream: &mut IncomingSnapshot, length: usize) {
    let mut place = 0;
    let mut piece = vec![0; PIECE];
    while place < length {
        let piece = &mut piece[..PIECE.min(length - place)];
        stream.read_exact(piece).unwrap();
        assert!(piece.iter().enumerate().all(|(index, found)| *found == byte(place + index)), "at {place}");
        place += piece.len();
    }
}

/// Sends SNAP from a leader and what comes before it.
fn begin(leader: &Node, at_leader: LinkId) -> StreamWriter {
    leader.handle.write(at_leader, |out| {
        FromLeader::LeaderInfo { epoch: Epoch::new(3) }.encode(out);
        FromLeader::Snapshot { zxid: ZXID }.encode(out);
    });
    leader.handle.send_stream(at_leader)
}

fn commits(from: i64, count: i64) -> Vec<FromLeader> {
    (from..from + count).map(|zxid| FromLeader::Commit { zxid: Zxid::from_wire(zxid) }).collect()
}

fn write(node: &Node, link: LinkId, messages: &[FromLeader]) {
    for message in messages {
        node.handle.write(link, |out| message.encode(out));
    }
    node.handle.flush();
}

#[test]
fn packets_follow_a_large_snapshot() {
    let nodes = Node::all(2);
    let [leader, learner] = &nodes[..] else { unreachable!() };
    let (at_leader, at_learner) = link(leader, learner);
    let mut writer = begin(leader, at_leader);
    write(leader, at_leader, &commits(1, 1_000));
    std::thread::scope(|scope| {
        scope.spawn(move || {
            write_tree(&mut writer, LENGTH).unwrap();
            writer.finish().unwrap();
        });
        let mut stream = learner.heard.wait_snapshot(at_learner, ZXID);
        read_tree(&mut stream, LENGTH);
        stream.finish();
    });
    write(leader, at_leader, &commits(1_001, 1_000));
    let received = learner.heard.wait_from_leader(at_learner, 2_001);
    assert_eq!(received[0], FromLeader::LeaderInfo { epoch: Epoch::new(3) });
    assert!(received[1..] == commits(1, 2_000));
}

#[test]
fn a_second_snapshot_follows_the_packets_behind_the_first() {
    let nodes = Node::all(2);
    let [leader, learner] = &nodes[..] else { unreachable!() };
    let (at_leader, at_learner) = link(leader, learner);
    for round in 0..3 {
        let length = 100_000 * round;
        let mut writer = begin(leader, at_leader);
        write_tree(&mut writer, length).unwrap();
        writer.finish().unwrap();
        write(leader, at_leader, &commits(1, 10));
        let mut stream = learner.heard.wait("the snapshot", |events| {
            let arrived = events.iter().filter(|event| matches!(event, Event::SnapshotArriving(..)));
            (arrived.count() > round).then(|| learner.heard.take_stream())
        });
        read_tree(&mut stream, length);
        stream.finish();
        learner.heard.wait_from_leader(at_learner, 11 * (round + 1));
    }
}

#[test]
fn what_comes_in_one_piece_with_a_snapshot_is_given_back() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let nodes = Node::all(1);
    let id = nodes[0].handle.new_link();
    let address = ("127.0.0.1".to_owned(), listener.local_addr().unwrap().port());
    nodes[0].handle.connect_leader(id, vec![address], 10_000);
    let (mut socket, _) = listener.accept().unwrap();
    let mut bytes = Vec::new();
    FromLeader::Snapshot { zxid: ZXID }.encode(&mut bytes);
    bytes.extend((0..1_000).map(byte));
    let behind = commits(1, 50_000);
    behind.iter().for_each(|message| message.encode(&mut bytes));
    let cut = bytes.len() - 7;
    let sender = std::thread::spawn(move || {
        socket.write_all(&bytes[..cut]).unwrap();
        socket.write_all(&bytes[cut..]).unwrap();
        socket
    });
    let mut stream = nodes[0].heard.wait_snapshot(id, ZXID);
    read_tree(&mut stream, 1_000);
    stream.finish();
    assert!(nodes[0].heard.wait_from_leader(id, 50_000) == behind);
    drop(sender.join().unwrap());
    nodes[0].heard.wait_closed(id);
}

#[test]
fn a_snapshot_whose_reader_gives_up_ends_the_link() {
    let nodes = Node::all(2);
    let [leader, learner] = &nodes[..] else { unreachable!() };
    let (at_leader, at_learner) = link(leader, learner);
    let mut writer = begin(leader, at_leader);
    let writing = std::thread::spawn(move || write_tree(&mut writer, LENGTH));
    let mut stream = learner.heard.wait_snapshot(at_learner, ZXID);
    read_tree(&mut stream, 1 << 20);
    drop(stream);
    let why = learner.heard.wait_closed(at_learner);
    assert!(why.contains("not read to its end"), "{why}");
    leader.heard.wait_closed(at_leader);
    assert_eq!(writing.join().unwrap().unwrap_err().kind(), ErrorKind::BrokenPipe);
}

#[test]
fn a_snapshot_whose_writer_gives_up_ends_the_link() {
    let nodes = Node::all(2);
    let [leader, learner] = &nodes[..] else { unreachable!() };
    let (at_leader, at_learner) = link(leader, learner);
    let mut writer = begin(leader, at_leader);
    write(leader, at_leader, &commits(1, 10));
    let writing = std::thread::spawn(move || write_tree(&mut writer, 4 << 20));
    let mut stream = learner.heard.wait_snapshot(at_learner, ZXID);
    let mut received = Vec::new();
    let error = stream.read_to_end(&mut received).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
    assert!(received.len() <= 4 << 20);
    writing.join().unwrap().unwrap();
    let why = leader.heard.wait_closed(at_leader);
    assert!(why.contains("given up"), "{why}");
    learner.heard.wait_closed(at_learner);
    stream.finish();
    assert_eq!(learner.heard.wait_from_leader(at_learner, 1).len(), 1);
}

#[test]
fn stopping_a_port_lets_go_of_threads_that_move_snapshots() {
    let mut nodes = Node::all(2);
    let (at_leader, at_learner) = link(&nodes[0], &nodes[1]);
    let mut writer = begin(&nodes[0], at_leader);
    let mut stream = nodes[1].heard.wait_snapshot(at_learner, ZXID);
    let writing = std::thread::spawn(move || write_tree(&mut writer, LENGTH));
    let reading = std::thread::spawn(move || stream.read_exact(&mut vec![0; LENGTH]));
    for node in nodes.drain(..) {
        node.port.stop();
    }
    // Unless it all went through before.
    if let Err(error) = writing.join().unwrap() {
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    }
    if let Err(error) = reading.join().unwrap() {
        assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
    }
}

#[test]
fn a_snapshot_for_a_link_that_has_ended_fails() {
    let nodes = Node::all(1);
    let mut writer = nodes[0].handle.send_stream(nodes[0].handle.new_link());
    assert!(write_tree(&mut writer, 1 << 20).is_err());
}
