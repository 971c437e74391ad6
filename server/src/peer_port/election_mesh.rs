//! The election mesh: one connection for each pair of servers, made by the one with the larger number
//! (`QuorumCnxManager`).
//!
//! Who dials does not know whether the other has dialed already, so the larger number decides: a server that is
//! dialed by a smaller one closes that connection and dials back. Nothing here dials by itself: the election asks for
//! it, with every message for a server that there is no connection to.

mod connection;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use protocol::ServerId;
use protocol::peer::InitialMessage;
use protocol::peer::election::{AddressForm, InitialMessageError};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, info, warn};

use super::dial::{HostAndPort, connect_any};
use super::driver::tasks::{Ended, Tasks, contain};
use super::handle::Members;
use super::limits::{CROSSING, REDIAL_PAUSE, STRANGER_MAX, STRANGERS_MAX};
use super::{PeerPortSettings, PeerSink};
pub(super) use connection::{Introduction, introduction};

/// The state of the mesh. Belongs to the driver.
pub(super) struct Mesh {
    settings: Arc<PeerPortSettings>,
    sink: Arc<dyn PeerSink>,
    /// What opens a connection.
    introduction: Bytes,
    /// Members, and strangers that are connected or being dialed back. Not this server.
    peers: BTreeMap<ServerId, Peer>,
    /// Tells connections and dials from those before them.
    last_number: u64,
}

#[derive(Default)]
struct Peer {
    /// Where the membership says it is; nothing for a stranger.
    configured: Vec<HostAndPort>,
    /// What is to be said as soon as it is connected. What was said over a connection that is gone is not said again: by
    /// now it may be wrong, and old votes for a leader of before would elect it. Whoever has lost something asks again.
    unsent: Option<Bytes>,
    connection: Option<Connection>,
    dial: Option<Dial>,
    /// When it may be dialed again.
    dial_not_before: Option<Instant>,
    /// Whether it has been logged that it cannot be reached, since it was last.
    is_reported_unreachable: bool,
}

struct Connection {
    number: u64,
    since: Instant,
    messages: watch::Sender<Option<Bytes>>,
    task: AbortHandle,
    /// Where to dial should it turn out that the other end was not trying to connect while we were, but has lost this
    /// connection.
    crossed: Option<Vec<HostAndPort>>,
}

struct Dial {
    number: u64,
    task: AbortHandle,
    /// Whether it goes to where the membership says that the server is.
    is_to_configured: bool,
}

impl Peer {
    fn is_idle(&self) -> bool {
        self.configured.is_empty() && self.connection.is_none() && self.dial.is_none()
    }
}

impl Mesh {
    pub fn new(
        settings: Arc<PeerPortSettings>,
        sink: Arc<dyn PeerSink>,
    ) -> Result<Mesh, InitialMessageError> {
        let introduction = introduction_of(&settings)?;
        Ok(Mesh { settings, sink, introduction, peers: BTreeMap::new(), last_number: 0 })
    }

    /// This server is elsewhere from now on: what it says when it dials tells so. Connections that stand are as good as
    /// before.
    pub fn on_moved(&mut self, settings: Arc<PeerPortSettings>) -> Result<(), InitialMessageError> {
        self.introduction = introduction_of(&settings)?;
        self.settings = settings;
        Ok(())
    }

    fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    /// Replaces the addresses. A dial to where a server is no more starts again.
    pub fn on_members(&mut self, members: Members, tasks: &mut Tasks) {
        let mut configured: BTreeMap<ServerId, Vec<HostAndPort>> = BTreeMap::new();
        for (server, addresses) in members {
            let addresses = addresses.into_iter().map(|address| (address.host, address.election_port));
            configured.insert(server, addresses.collect());
        }
        configured.remove(&self.settings.me);
        for server in configured.keys() {
            self.peers.entry(*server).or_default();
        }
        let mut moved = Vec::new();
        for (server, peer) in &mut self.peers {
            let addresses = configured.remove(server).unwrap_or_default();
            if addresses == peer.configured {
                continue;
            }
            peer.configured = addresses;
            if let Some(dial) = peer.dial.take_if(|dial| dial.is_to_configured) {
                dial.task.abort();
                moved.push(*server);
            }
        }
        self.peers.retain(|_, peer| !peer.is_idle());
        for server in moved {
            self.dial(server, Vec::new(), tasks);
        }
    }

    /// Sends a message, or dials so that it can be sent.
    pub fn on_message(&mut self, to: ServerId, message: Bytes, tasks: &mut Tasks) {
        let Some(peer) = self.peers.get_mut(&to) else {
            debug!(peer = %to, "nothing is known of where to send a notification");
            return;
        };
        match &peer.connection {
            Some(connection) => drop(connection.messages.send_replace(Some(message))),
            None => {
                peer.unsent = Some(message);
                self.dial(to, Vec::new(), tasks);
            }
        }
    }

    /// Dials every member that is not connected.
    pub fn on_connect_all(&mut self, tasks: &mut Tasks) {
        let absent = self.peers.iter().filter(|(_, peer)| peer.connection.is_none());
        for server in absent.map(|(server, _)| *server).collect::<Vec<_>>() {
            self.dial(server, Vec::new(), tasks);
        }
    }

    /// Somebody has dialed and said who it is.
    pub fn on_introduced(&mut self, socket: TcpStream, introduction: Introduction, tasks: &mut Tasks) {
        let server = introduction.message.server;
        let me = self.settings.me;
        if server == me {
            warn!(%server, "closed a connection on the election port from a server with our own number");
            return;
        }
        if !self.peers.contains_key(&server) && !self.has_room_for_stranger(server) {
            return;
        }
        if server > me {
            self.adopt(server, socket, introduction.received, tasks);
        } else {
            drop(socket);
            self.dial_back(server, introduction.message.addresses, tasks);
        }
    }

    /// Whether a server that is no member may connect. It may be about to become one, or want to know who leads.
    fn has_room_for_stranger(&self, server: ServerId) -> bool {
        let strangers = self.peers.values().filter(|peer| peer.configured.is_empty()).count();
        let is_possible = (0..=STRANGER_MAX).contains(&server.get());
        if !is_possible {
            warn!(%server, "closed a connection on the election port from a server with an impossible number");
        } else if strangers >= STRANGERS_MAX {
            warn!(%server, strangers, "closed a connection on the election port: too many servers are no members");
        }
        is_possible && strangers < STRANGERS_MAX
    }

    /// A smaller server wants a connection.
    fn dial_back(&mut self, server: ServerId, announced: Vec<HostAndPort>, tasks: &mut Tasks) {
        let peer = self.peers.entry(server).or_default();
        if let Some(connection) = &mut peer.connection
            && connection.since.elapsed() < CROSSING
        {
            connection.crossed = Some(announced);
            return;
        }
        self.disconnect(server, "it connects anew");
        self.dial(server, announced, tasks);
    }

    /// Gives up a connection, if there is one.
    fn disconnect(&mut self, server: ServerId, why: &str) {
        if let Some(connection) = self.peers.get_mut(&server).and_then(|peer| peer.connection.take()) {
            connection.task.abort();
            info!(peer = %server, why, "election connection replaced");
            self.sink.peer_disconnected(server);
        }
    }

    /// Makes a connection the one to a server.
    fn adopt(&mut self, server: ServerId, socket: TcpStream, received: BytesMut, tasks: &mut Tasks) {
        self.disconnect(server, "there is a newer one");
        let number = self.next_number();
        let peer = self.peers.entry(server).or_default();
        if let Some(dial) = peer.dial.take() {
            dial.task.abort();
        }
        peer.is_reported_unreachable = false;
        peer.dial_not_before = None;
        let limit = self.settings.answer_timeout();
        // Left to itself, TCP tries again later and later: a network that is whole again would find out after as long as
        // it was broken.
        #[cfg(target_os = "linux")]
        if let Err(error) = socket2::SockRef::from(&socket).set_tcp_user_timeout(Some(limit)) {
            warn!(peer = %server, %error, "a broken election connection may go unnoticed for long");
        }
        let (messages, receiver) = watch::channel(peer.unsent.take());
        debug!(peer = %server, "election connection established");
        self.sink.peer_connected(server);
        let sink = Arc::clone(&self.sink);
        let task = tasks.spawn(async move {
            let connection = connection::run(server, socket, received, receiver, &*sink, limit);
            let why = contain(connection).await.unwrap_or_else(|panicked| panicked.to_string());
            Ended::PeerConnection { server, number, why }
        });
        peer.connection = Some(Connection { number, since: Instant::now(), messages, task, crossed: None });
    }

    /// A connection has broken.
    pub fn on_disconnected(&mut self, server: ServerId, number: u64, why: &str, tasks: &mut Tasks) {
        let Some(peer) = self.peers.get_mut(&server) else { return };
        let Some(connection) = peer.connection.take_if(|connection| connection.number == number) else {
            return;
        };
        info!(peer = %server, why, "election connection lost");
        self.sink.peer_disconnected(server);
        match connection.crossed {
            Some(announced) => self.dial(server, announced, tasks),
            None => self.peers.retain(|_, peer| !peer.is_idle()),
        }
    }

    /// Dials a server where it says that it is, else where the membership says so, unless that is under way.
    fn dial(&mut self, server: ServerId, announced: Vec<HostAndPort>, tasks: &mut Tasks) {
        let number = self.next_number();
        let Some(peer) = self.peers.get_mut(&server) else { return };
        if peer.dial.is_some() {
            return;
        }
        let is_to_configured = announced.is_empty();
        let addresses = if is_to_configured { peer.configured.clone() } else { announced };
        let dialing = DialTask {
            addresses,
            not_before: peer.dial_not_before,
            introduction: self.introduction.clone(),
            is_larger: server > self.settings.me,
            settings: Arc::clone(&self.settings),
        };
        let task = tasks.spawn(async move {
            let outcome = dialing.run().await;
            Ended::PeerDial { server, number, outcome }
        });
        peer.dial = Some(Dial { number, task, is_to_configured });
    }

    /// A dial has come to its end.
    pub fn on_dialed(
        &mut self,
        server: ServerId,
        number: u64,
        outcome: Result<Option<TcpStream>, String>,
        tasks: &mut Tasks,
    ) {
        let Some(peer) = self.peers.get_mut(&server) else { return };
        if peer.dial.take_if(|dial| dial.number == number).is_none() {
            return;
        }
        peer.dial_not_before = Some(Instant::now() + REDIAL_PAUSE);
        match outcome {
            Ok(Some(socket)) => return self.adopt(server, socket, BytesMut::new(), tasks),
            Ok(None) => debug!(peer = %server, "asked a larger server to connect"),
            Err(why) if std::mem::replace(&mut peer.is_reported_unreachable, true) => {
                debug!(peer = %server, why, "cannot reach a server on its election port");
            }
            Err(why) => warn!(peer = %server, why, "cannot reach a server on its election port"),
        }
        self.peers.retain(|_, peer| !peer.is_idle());
    }
}

fn introduction_of(settings: &PeerPortSettings) -> Result<Bytes, InitialMessageError> {
    let form = if settings.own.addresses.len() > 1 { AddressForm::All } else { AddressForm::One };
    let mut introduction = Vec::new();
    InitialMessage::of(settings.me, &settings.own).write(form, &mut introduction)?;
    Ok(introduction.into())
}

/// What it takes to dial a server.
struct DialTask {
    addresses: Vec<HostAndPort>,
    not_before: Option<Instant>,
    introduction: Bytes,
    /// Whether its number is larger than ours.
    is_larger: bool,
    settings: Arc<PeerPortSettings>,
}

impl DialTask {
    /// Connects and says who we are. `None` if the other is to dial back now.
    async fn run(self) -> Result<Option<TcpStream>, String> {
        if let Some(not_before) = self.not_before {
            sleep_until(not_before).await;
        }
        let mut socket = connect_any(&self.addresses, self.settings.connect_timeout()).await?;
        // In one write: Java takes a message that arrives in pieces for an error.
        match timeout(self.settings.answer_timeout(), socket.write_all(&self.introduction)).await {
            Ok(Ok(())) => Ok((!self.is_larger).then_some(socket)),
            Ok(Err(error)) => Err(format!("cannot send: {error}")),
            Err(_) => Err("it does not read".into()),
        }
    }
}
