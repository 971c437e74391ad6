//! A peer port with addresses of its own, and raw sockets that pretend to be one.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use protocol::peer::election::AddressForm;
use protocol::peer::membership::PeerAddress;
use protocol::peer::{InitialMessage, Member, MemberRole, Notification, ServerState, Vote};
use protocol::{ServerId, Zxid};

use super::recorder::{Event, Recorder};
use crate::peer_port::{LinkId, PeerHandle, PeerPort, PeerPortSettings};

/// How long a raw socket waits for what must come.
pub const RAW_PATIENCE: Duration = Duration::from_secs(30);

/// A port that nobody uses, below those that the system gives to sockets that dial.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let base = 12_000 + (std::process::id() % 190) as u16 * 100;
    loop {
        let port = base + NEXT.fetch_add(1, Ordering::Relaxed) % 1_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

pub fn address() -> PeerAddress {
    PeerAddress { host: "127.0.0.1".into(), quorum_port: free_port(), election_port: free_port() }
}

pub fn server(number: i64) -> ServerId {
    ServerId::new(number)
}

/// A notification that can be told from others by its round.
pub fn notification(round: i64) -> Notification {
    let vote = Vote { leader: server(1), zxid: Zxid::from_wire(7), peer_epoch: 0 };
    let membership = Some("version=0".to_owned());
    Notification { state: ServerState::Looking, vote: Some(vote), round, membership }
}

pub struct Node {
    pub id: ServerId,
    pub address: PeerAddress,
    pub heard: Arc<Recorder>,
    pub handle: PeerHandle,
    pub port: PeerPort,
}

pub type Members = Vec<(ServerId, Vec<PeerAddress>)>;

impl Node {
    pub fn start(members: &Members, number: i64) -> Node {
        Node::start_with(members, number, |_| ())
    }

    /// Starts one of the members, with settings changed by the test.
    pub fn start_with(members: &Members, number: i64, change: impl FnOnce(&mut PeerPortSettings)) -> Node {
        let id = server(number);
        let (_, addresses) = members.iter().find(|(member, _)| *member == id).expect("it is a member");
        let address = addresses[0].clone();
        let own = Member {
            addresses: addresses.clone(),
            role: MemberRole::Participant,
            client: None,
            secure_client: None,
        };
        let mut settings = PeerPortSettings {
            me: id,
            own,
            listen_on_all: false,
            election_bind_retries: 5,
            connect_timeout_ms: 5_000,
            tick_ms: 2_000,
            init_limit: 10,
            sync_limit: 5,
            observer_master_port: None,
            observer_outbox_bytes_max: 8 << 20,
            learner_connect_attempts: 5,
            learner_connect_delay_ms: 10,
            packet_bytes_max: 2 << 20,
        };
        change(&mut settings);
        let heard = Arc::new(Recorder::default());
        let (port, handle) = PeerPort::start(settings, members.clone(), Arc::clone(&heard) as _).unwrap();
        Node { id, address, heard, handle, port }
    }

    pub fn all(count: i64) -> Vec<Node> {
        let members = members(count);
        (1..=count).map(|number| Node::start(&members, number)).collect()
    }

    pub fn quorum_address(&self) -> (String, u16) {
        (self.address.host.clone(), self.address.quorum_port)
    }

    pub fn dial_election(&self) -> TcpStream {
        raw(self.address.election_port)
    }

    pub fn dial_quorum(&self) -> TcpStream {
        raw(self.address.quorum_port)
    }

    /// A raw connection that has introduced itself as a server.
    pub fn dial_as(&self, number: i64, announced: (&str, u16)) -> TcpStream {
        let mut socket = self.dial_election();
        socket.write_all(&introduction(number, announced)).unwrap();
        socket
    }
}

pub fn introduction(number: i64, announced: (&str, u16)) -> Vec<u8> {
    let addresses = vec![(announced.0.to_owned(), announced.1)];
    let mut message = Vec::new();
    InitialMessage { server: server(number), addresses }.write(AddressForm::One, &mut message).unwrap();
    message
}

pub fn members(count: i64) -> Members {
    (1..=count).map(|number| (server(number), vec![address()])).collect()
}

fn raw(port: u16) -> TcpStream {
    let socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    socket.set_read_timeout(Some(RAW_PATIENCE)).unwrap();
    socket
}

/// Waits until the other end closes a socket.
#[track_caller]
pub fn expect_closed(mut socket: TcpStream) {
    let mut rest = Vec::new();
    match socket.read_to_end(&mut rest) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("the connection was not closed: {error}"),
    }
}

/// A link that `learner` dialed, the first one at the leader: its name there, and at the learner.
pub fn link(leader: &Node, learner: &Node) -> (LinkId, LinkId) {
    let at_learner = learner.handle.new_link();
    learner.handle.connect_leader(at_learner, vec![leader.quorum_address()], 10_000);
    learner.heard.wait_event(&Event::LeaderConnected(at_learner));
    (leader.heard.wait_learner(), at_learner)
}
