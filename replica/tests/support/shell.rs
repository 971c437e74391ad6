//! What drives a replica in tests.

#![allow(dead_code, reason = "not every test needs everything")]

use std::sync::Arc;

use protocol::acl::AclSlice;
use protocol::client::connect::{ConnectRequest, ConnectResponse, ReplyHeader};
use protocol::client::op_code::OpCode;
use protocol::client::request::{CreateFlags, CreateRequest, Request};
use protocol::client::response::Response;
use protocol::peer::message::PROTOCOL_VERSION;
use protocol::peer::{FromLeader, FromLearner, LearnerKind, Membership};
use protocol::{Epoch, Id, Reader, ServerId, SessionId, Xid, Zxid};
use replica::{
    ConnectionId, Delivery, Fact, Input, Now, Outputs, PeerInput, PeerOutput, Replica, ReplicaSettings,
    Shared,
};
use tree::{Rules, Tree};
use zab::{Action, Epochs, LinkId, Peer, PeerSettings};

/// A shell with a perfect log that is synced when the test says so.
pub struct Shell {
    pub replica: Replica,
    pub shared: Arc<Shared>,
    pub now: Now,
    pub delivered: Vec<(ConnectionId, Got)>,
    pub facts: Vec<Fact>,
    /// What the replica wanted of other servers and of the disk.
    pub actions: Vec<Action>,
}

#[derive(Clone, PartialEq, Debug)]
pub enum Got {
    Frame(Vec<u8>),
    Opened(SessionId),
    Closed,
}

/// An ensemble of one.
pub const FIRST: &str = "server.1=127.0.0.1:2888:3888:participant;127.0.0.1:2181\n";

pub const A: ConnectionId = conn(0);
pub const B: ConnectionId = conn(1);

pub const fn conn(place: u32) -> ConnectionId {
    ConnectionId::new(place, 1)
}

impl Shell {
    /// A server that is alone.
    pub fn new() -> Shell {
        let now = Now { monotonic_ms: 10_000, wall_ms: 1_700_000_000_000 };
        Shell::around(now, settings(Rules::default()), Tree::new(7), |shared, settings| {
            Replica::new(shared, settings, now)
        })
    }

    /// Server 1 of an ensemble, which looks for a leader.
    pub fn member(settings: ReplicaSettings, membership: &str) -> Shell {
        Shell::member_with_tree(settings, membership, Tree::new(7))
    }

    /// The same with this text in `/zookeeper/config`.
    pub fn member_with_config(settings: ReplicaSettings, membership: &str, config: &str) -> Shell {
        let mut tree = Tree::new(7);
        tree.set_config(config.as_bytes(), Zxid::ZERO, 0);
        Shell::member_with_tree(settings, membership, tree)
    }

    fn member_with_tree(settings: ReplicaSettings, membership: &str, tree: Tree) -> Shell {
        let reconfig_enabled = settings.rules.reconfig_enabled;
        let peer_settings =
            PeerSettings { reconfig_enabled, tick_ms: 1000, ..PeerSettings::new(settings.server) };
        let membership = Membership::parse(membership).unwrap();
        let peer = Peer::member(peer_settings, membership, None, Epochs::default(), Zxid::ZERO).unwrap();
        let now = Now { monotonic_ms: 10_000, wall_ms: 1_700_000_000_000 };
        Shell::around(now, settings, tree, |shared, settings| Replica::member(shared, settings, peer, now))
    }

    fn around(
        now: Now,
        settings: ReplicaSettings,
        tree: Tree,
        replica: impl FnOnce(Arc<Shared>, ReplicaSettings) -> Replica,
    ) -> Shell {
        let shared = Arc::new(Shared::new(tree, settings.rules.clone(), settings.tick_ms));
        let replica = replica(Arc::clone(&shared), settings);
        Shell { replica, shared, now, delivered: Vec::new(), facts: Vec::new(), actions: Vec::new() }
    }

    pub fn step(&mut self, input: Input<'_>) {
        let Shell { replica, now, delivered, facts, .. } = self;
        let mut outlet = |outputs: &mut Outputs| {
            facts.append(&mut outputs.facts);
            for delivery in &outputs.deliveries {
                let got = match delivery {
                    Delivery::Bytes { range, .. } => {
                        let mut bytes = &outputs.bytes[range.clone()];
                        while !bytes.is_empty() {
                            let length = u32::from_be_bytes(bytes[..4].try_into().unwrap()) as usize;
                            delivered
                                .push((delivery.connection(), Got::Frame(bytes[4..4 + length].to_vec())));
                            bytes = &bytes[4 + length..];
                        }
                        continue;
                    }
                    Delivery::Opened { session, .. } => Got::Opened(*session),
                    Delivery::Close { .. } => Got::Closed,
                };
                delivered.push((delivery.connection(), got));
            }
        };
        replica.step(*now, input, &mut outlet);
        let mut outputs = Vec::new();
        replica.take_peer_outputs(&mut outputs);
        self.actions.extend(outputs.into_iter().map(|output| match output {
            PeerOutput::Do(action) => action,
            other => panic!("no test needs {other:?}"),
        }));
    }

    /// Logs and syncs everything, and takes what comes out.
    pub fn sync(&mut self) -> Vec<(ConnectionId, Got)> {
        let mut up_to = self.replica.durable();
        for action in &self.actions {
            if let Action::Append { zxid, .. } = action {
                up_to = up_to.max(*zxid);
            }
        }
        while let Some((zxid, _)) = self.replica.next_unlogged() {
            up_to = zxid;
        }
        self.step(Input::Synced { up_to });
        std::mem::take(&mut self.delivered)
    }

    pub fn connect(
        &mut self,
        connection: ConnectionId,
        request: ConnectRequest<'_>,
    ) -> Vec<(ConnectionId, Got)> {
        let mut payload = Vec::new();
        request.write(&mut payload);
        self.step(Input::Connect {
            connection,
            payload: &payload,
            ids: Arc::from([Id::new("ip", "127.0.0.1")]),
        });
        self.sync()
    }

    pub fn open(&mut self, connection: ConnectionId) -> SessionId {
        let got = self.connect(connection, new_session());
        let [(_, Got::Frame(frame)), (_, Got::Opened(session))] = &got[..] else { panic!("{got:?}") };
        assert_eq!(ConnectResponse::read(frame).unwrap().session, *session);
        *session
    }

    pub fn request(&mut self, connection: ConnectionId, xid: i32, op: OpCode, request: &Request<'_>) {
        let mut body = Vec::new();
        request.write(&mut body);
        let received_ms = self.now.monotonic_ms;
        self.step(Input::Request {
            connection,
            xid: Xid::new(xid),
            op: op.to_wire(),
            body: &body,
            received_ms,
        });
    }

    pub fn tick_at(&mut self, monotonic_ms: u64) -> Vec<(ConnectionId, Got)> {
        self.now.monotonic_ms = monotonic_ms;
        self.step(Input::Tick);
        self.sync()
    }
}

pub fn settings(rules: Rules) -> ReplicaSettings {
    ReplicaSettings {
        tick_ms: 1000,
        session_timeout_min_ms: 2000,
        session_timeout_max_ms: 20_000,
        snapshot_transactions: 1_000_000,
        snapshot_bytes: 0,
        container_check_interval_ms: 1000,
        container_never_used_max_ms: 0,
        rules: Rules { ttl_nodes: true, ..rules },
        ..ReplicaSettings::default()
    }
}

pub fn new_session() -> ConnectRequest<'static> {
    ConnectRequest {
        last_zxid_seen: 0,
        timeout_ms: 4000,
        session: SessionId::NONE,
        password: &[0; 16],
        read_only: Some(false),
    }
}

pub fn create(path: &str, flags: CreateFlags) -> Request<'_> {
    Request::Create(CreateRequest::plain(path, Some(b"x"), AclSlice::OPEN, flags))
}

pub fn header(frame: &[u8]) -> ReplyHeader {
    ReplyHeader::read(&mut Reader::new(frame)).unwrap()
}

pub fn body(frame: &[u8], op: OpCode) -> Response {
    let mut reader = Reader::new(frame);
    assert_eq!(ReplyHeader::read(&mut reader).unwrap().error, 0);
    Response::read(op, &mut reader).unwrap()
}

/// A server that connects to the leader and takes over its history.
pub fn learner(shell: &mut Shell, server: i64, kind: LearnerKind) -> LinkId {
    let link = LinkId::new(server as u64);
    shell.step(Input::Peer(PeerInput::LearnerConnected(link)));
    let says = |shell: &mut Shell, message| shell.step(Input::Peer(PeerInput::FromLearner(link, message)));
    let info = FromLearner::Info {
        kind,
        accepted_epoch: Epoch::new(0),
        server: Some(ServerId::new(server)),
        protocol_version: PROTOCOL_VERSION,
        membership_version: 0,
        late_syncs: true,
        turns_epochs: true,
    };
    says(shell, info);
    let last_zxid = shell.replica.peer().history().last();
    says(shell, FromLearner::AckEpoch { last_zxid, current_epoch: Some(Epoch::new(0)) });
    says(shell, FromLearner::Ack { zxid: Zxid::new(Epoch::new(1), 0) });
    assert!(told(shell, link).contains(&FromLeader::UpToDate), "{:?}", shell.actions);
    link
}

/// What the leader has said to a learner since it was last asked.
pub fn told(shell: &mut Shell, to: LinkId) -> Vec<FromLeader> {
    let said = |action: &Action| match action {
        Action::ToLearner { link, message } if *link == to => Some(message.clone()),
        _ => None,
    };
    let messages = shell.actions.iter().filter_map(said).collect();
    shell.actions.retain(|action| said(action).is_none());
    messages
}
