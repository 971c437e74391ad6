//! The election mesh, as the production shell keeps it: one connection for each pair of servers, made by the one with
//! the larger number; a smaller one that wants a connection asks for it by dialing.

use std::collections::BTreeMap;

use protocol::ServerId;
use protocol::peer::Notification;
use replica::PeerInput;

use super::{EndOf, Item, Member};
use crate::ensemble::network::{Arrival, DIALER, Packet, Place, Port};
use crate::ensemble::scene::Scene;

/// A connection that is younger than this survives the other's own attempt to connect.
const CROSSING_US: u64 = 1_000_000;

#[derive(Default)]
struct Peer {
    /// What is to be said as soon as it is connected.
    unsent: Option<Notification>,
    connection: Option<EndOf>,
    since_us: u64,
    dialing: bool,
    /// It asked for a connection while this one was young.
    crossed: bool,
}

/// The mesh as one server sees it.
#[derive(Default)]
pub(super) struct Mesh {
    peers: BTreeMap<usize, Peer>,
}

impl Mesh {
    /// Nobody is connected yet.
    pub fn new(others: impl Iterator<Item = usize>) -> Mesh {
        Mesh { peers: others.map(|host| (host, Peer::default())).collect() }
    }

    pub fn on_dial_failed(&mut self, to: usize) {
        if let Some(peer) = self.peers.get_mut(&to) {
            peer.dialing = false;
        }
    }

    fn host_at(&self, end: EndOf) -> Option<usize> {
        self.peers.iter().find(|(_, peer)| peer.connection == Some(end)).map(|(&host, _)| host)
    }
}

fn server(host: usize) -> ServerId {
    ServerId::new(host as i64 + 1)
}

impl Member {
    /// Sends a message, or dials so that it can be sent.
    pub(super) fn notify(&mut self, scene: &mut Scene, to: ServerId, notification: Notification) {
        let host = (to.get() - 1) as usize;
        let known = self.knows_place_of(host);
        let Some(peer) = self.mesh.peers.get_mut(&host) else { return };
        if !known && peer.connection.is_none() {
            return;
        }
        match peer.connection {
            Some((connection, end)) => {
                let packet = Packet::Notification(notification);
                scene.network.send(&mut scene.schedule, connection, end, packet);
            }
            None => {
                peer.unsent = Some(notification);
                self.dial_peer(scene, host);
            }
        }
    }

    /// Dials every member that is not connected.
    pub(super) fn dial_peers(&mut self, scene: &mut Scene) {
        let absent = self.mesh.peers.iter().filter(|(_, peer)| peer.connection.is_none());
        let absent = absent.map(|(&host, _)| host).filter(|&host| self.knows_place_of(host));
        for host in absent.collect::<Vec<_>>() {
            self.dial_peer(scene, host);
        }
    }

    fn dial_peer(&mut self, scene: &mut Scene, host: usize) {
        let Some(peer) = self.mesh.peers.get_mut(&host) else { return };
        if !std::mem::replace(&mut peer.dialing, true) {
            let from = (Place::Host(self.life.host), self.life.life);
            scene.network.dial(&mut scene.schedule, from, host, Port::Election, 0);
        }
    }

    pub(super) fn on_mesh_connected(&mut self, scene: &mut Scene, end: EndOf, other: Option<usize>) {
        let Some(host) = other else { return };
        let larger = host > self.life.host;
        if end.1 == DIALER {
            self.mesh.on_dial_failed(host);
        }
        if larger == (end.1 == DIALER) {
            // The larger one dials back.
            scene.network.close(&mut scene.schedule, end.0, end.1);
            if !larger {
                self.dial_back(scene, host);
            }
            return;
        }
        self.disconnect_peer(scene, host);
        let now_us = scene.schedule.now_us();
        let Some(peer) = self.mesh.peers.get_mut(&host) else { return };
        peer.connection = Some(end);
        peer.since_us = now_us;
        peer.crossed = false;
        let unsent = peer.unsent.take();
        self.push(scene, Item::Peer(PeerInput::PeerConnected(server(host))));
        if let Some(notification) = unsent {
            let packet = Packet::Notification(notification);
            scene.network.send(&mut scene.schedule, end.0, end.1, packet);
        }
    }

    /// A smaller server wants a connection.
    fn dial_back(&mut self, scene: &mut Scene, host: usize) {
        let now_us = scene.schedule.now_us();
        let Some(peer) = self.mesh.peers.get_mut(&host) else { return };
        if peer.connection.is_some() && now_us < peer.since_us + CROSSING_US {
            peer.crossed = true;
            return;
        }
        self.disconnect_peer(scene, host);
        self.dial_peer(scene, host);
    }

    fn disconnect_peer(&mut self, scene: &mut Scene, host: usize) {
        let connection = self.mesh.peers.get_mut(&host).and_then(|peer| peer.connection.take());
        if let Some((connection, end)) = connection {
            scene.network.close(&mut scene.schedule, connection, end);
            self.push(scene, Item::Peer(PeerInput::PeerDisconnected(server(host))));
        }
    }

    pub(super) fn on_mesh_arrival(&mut self, scene: &mut Scene, end: EndOf, arrival: Arrival) {
        let Some(host) = self.mesh.host_at(end) else { return };
        match arrival {
            Arrival::Packet(Packet::Notification(notification)) => {
                let from = server(host);
                self.push(scene, Item::Peer(PeerInput::Notification { from, notification }));
            }
            Arrival::Packet(_) => {}
            Arrival::Closed => {
                let Some(peer) = self.mesh.peers.get_mut(&host) else { return };
                peer.connection = None;
                let crossed = std::mem::take(&mut peer.crossed);
                self.push(scene, Item::Peer(PeerInput::PeerDisconnected(server(host))));
                if crossed {
                    self.dial_peer(scene, host);
                }
            }
        }
    }
}
