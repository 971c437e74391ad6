//! The client port: what an I/O thread does with frames and answers.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use protocol::client::connect::RequestHeader;
use protocol::client::request::AuthPacket;
use protocol::client::response::write_header_frame;
use protocol::{ErrorCode, Id, OpCode, Reader, SessionId, Xid};
use replica::pipeline::read::{After, Caller, Source};
use replica::{ConnectionId, Delivery, Route, SessionOrder};

use super::{EndOf, Item, Mail, Member};
use crate::ensemble::bugs::Bug;
use crate::ensemble::network::Packet;
use crate::ensemble::scene::Scene;
use crate::server::Trouble;

/// Requests under way beyond which a connection is not read.
const PENDING_MAX: u32 = 8;

enum Stage {
    Unknown,
    Connecting,
    Open { session: SessionId, heard_ms: Arc<AtomicU64> },
}

struct Connection {
    id: ConnectionId,
    end: EndOf,
    ids: Arc<[Id]>,
    stage: Stage,
    order: SessionOrder,
    inbox: VecDeque<Vec<u8>>,
}

#[derive(Default)]
struct Place {
    generation: u32,
    connection: Option<Connection>,
}

/// All client connections of one server.
#[derive(Default)]
pub(super) struct ClientPort {
    places: Vec<Place>,
}

impl ClientPort {
    fn place_at(&self, end: EndOf) -> Option<usize> {
        self.places.iter().position(|place| place.connection.as_ref().is_some_and(|c| c.end == end))
    }

    fn connection(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        let place = self.places.get_mut(id.place() as usize)?;
        place.connection.as_mut().filter(|connection| connection.id == id)
    }

    fn remove(&mut self, place: usize) -> Option<Connection> {
        self.places[place].generation += 1;
        self.places[place].connection.take()
    }
}

impl Connection {
    fn must_pause(&self) -> bool {
        match self.stage {
            Stage::Unknown => false,
            Stage::Connecting => true,
            Stage::Open { .. } => self.order.pending() >= PENDING_MAX,
        }
    }
}

impl Member {
    pub(super) fn on_client_connected(&mut self, end: EndOf) {
        let places = &mut self.clients.places;
        let free = places.iter().position(|place| place.connection.is_none());
        let place = free.unwrap_or(places.len());
        if place == places.len() {
            places.push(Place::default());
        }
        let id = ConnectionId::new(place as u32, places[place].generation);
        let ids = Arc::from([Id::new("ip", "127.0.0.1")]);
        let order = SessionOrder::default();
        places[place].connection =
            Some(Connection { id, end, ids, stage: Stage::Unknown, order, inbox: VecDeque::new() });
    }

    pub(super) fn on_client_gone(&mut self, scene: &mut Scene, end: EndOf) {
        if let Some(place) = self.clients.place_at(end) {
            self.drop_client(scene, place);
        }
    }

    fn drop_client(&mut self, scene: &mut Scene, place: usize) {
        let Some(Connection { id, stage, .. }) = self.clients.remove(place) else { return };
        if !matches!(stage, Stage::Unknown) {
            self.push(scene, Item::Disconnected { connection: id });
        }
    }

    pub(super) fn on_frame(&mut self, scene: &mut Scene, end: EndOf, frame: Vec<u8>) -> Result<(), Trouble> {
        // Mail comes before whatever is read of the tree: a role that has begun may have closed this connection.
        self.deliver(scene)?;
        self.receive(scene, end, frame);
        Ok(())
    }

    fn receive(&mut self, scene: &mut Scene, end: EndOf, frame: Vec<u8>) {
        let Some(place) = self.clients.place_at(end) else { return };
        let now_ms = self.now(scene).monotonic_ms;
        let Some(connection) = &mut self.clients.places[place].connection else { return };
        if let Stage::Open { heard_ms, .. } = &connection.stage {
            heard_ms.store(now_ms, Ordering::Relaxed);
        }
        connection.inbox.push_back(frame);
        self.read_on(scene, place);
    }

    /// Takes frames for as long as the connection need not wait for answers.
    fn read_on(&mut self, scene: &mut Scene, place: usize) {
        while let Some(connection) = &mut self.clients.places[place].connection
            && !connection.must_pause()
            && let Some(frame) = connection.inbox.pop_front()
        {
            self.take_frame(scene, place, &frame);
        }
    }

    fn take_frame(&mut self, scene: &mut Scene, place: usize, frame: &[u8]) {
        let received_ms = self.now(scene).monotonic_ms;
        let Some(connection) = &mut self.clients.places[place].connection else { return };
        let (id, end) = (connection.id, connection.end);
        let Stage::Open { session, .. } = connection.stage else {
            connection.stage = Stage::Connecting;
            let (payload, ids) = (frame.to_vec(), Arc::clone(&connection.ids));
            return self.push(scene, Item::Connect { connection: id, payload, ids });
        };
        let mut reader = Reader::new(frame);
        let Ok(RequestHeader { xid, op }) = RequestHeader::read(&mut reader) else {
            return self.close_client(scene, place);
        };
        let known = OpCode::from_wire(op);
        if known == Some(OpCode::Auth) {
            return self.authenticate(scene, place, xid, reader.rest());
        }
        let is_read = !known.is_some_and(|op| op.is_write() || op == OpCode::Sync);
        let mut route = connection.order.route(known);
        if scene.options.bug == Some(Bug::ReadsOvertakeWrites) && is_read && route == Route::SendAlong {
            connection.order.completed(1);
            route = Route::AnswerHere;
        }
        if route == Route::SendAlong {
            let body = reader.rest().to_vec();
            return self.push(scene, Item::Request { connection: id, xid, op, body, received_ms });
        }
        let tree = self.shared.tree();
        let source = Source { tree: &tree, watches: &self.shared.watches, rules: &self.shared.rules };
        let caller = Caller { watcher: id.watcher(), session, ids: &connection.ids };
        let mut out = Vec::new();
        let after = source.answer(caller, xid, op, reader.rest(), &mut out);
        drop(tree);
        send_frames(scene, end, &out);
        if after == After::Close {
            self.close_client(scene, place);
        }
    }

    /// Proved here; the core hears of it before anything else that the connection sends.
    fn authenticate(&mut self, scene: &mut Scene, place: usize, xid: Xid, body: &[u8]) {
        let received_ms = self.now(scene).monotonic_ms;
        let Some(connection) = &mut self.clients.places[place].connection else { return };
        let mut ids = connection.ids.to_vec();
        let verdict = match AuthPacket::read(body) {
            Ok(AuthPacket { scheme: Some(scheme), auth: Some(auth) }) => {
                self.shared.rules.auth.authenticate(&scheme, auth, &mut ids)
            }
            _ => Err(ErrorCode::AuthFailed),
        };
        let code = verdict.err().map_or(0, ErrorCode::to_wire);
        connection.ids = Arc::from(ids);
        connection.order.send_along();
        let (id, ids) = (connection.id, Arc::clone(&connection.ids));
        let mut frame = Vec::new();
        write_header_frame(&mut frame, xid, 0, code);
        self.push(scene, Item::Authenticated { connection: id, ids });
        self.push(scene, Item::Relay { connection: id, frame, close: code != 0, received_ms });
    }

    fn close_client(&mut self, scene: &mut Scene, place: usize) {
        if let Some(connection) = &self.clients.places[place].connection {
            let (connection, end) = connection.end;
            scene.network.close(&mut scene.schedule, connection, end);
        }
        self.drop_client(scene, place);
    }

    /// Brings what the replica has said to those whom it concerns.
    pub(super) fn deliver(&mut self, scene: &mut Scene) -> Result<(), Trouble> {
        let Mail { bytes, deliveries, facts } = std::mem::take(&mut self.mail);
        self.mail.facts = facts;
        let mut touched = Vec::new();
        for delivery in deliveries {
            let id = delivery.connection();
            touched.push(id);
            let Some(connection) = self.clients.connection(id) else { continue };
            match delivery {
                Delivery::Bytes { range, completed, .. } => {
                    connection.order.completed(completed);
                    let end = connection.end;
                    send_frames(scene, end, &bytes[range]);
                }
                Delivery::Opened { session, heard_ms, .. } => {
                    connection.stage = Stage::Open { session, heard_ms };
                }
                Delivery::Close { .. } => {
                    self.close_client(scene, id.place() as usize);
                }
            }
        }
        // Only now: an answer to what waits must not overtake anything that is delivered.
        for id in touched {
            if self.clients.connection(id).is_some() {
                self.read_on(scene, id.place() as usize);
            }
        }
        Ok(())
    }
}

/// Sends frames, each on its own.
fn send_frames(scene: &mut Scene, (connection, end): EndOf, mut bytes: &[u8]) {
    while let Some((head, rest)) = bytes.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*head) as usize;
        let (frame, rest) = rest.split_at(length.min(rest.len()));
        scene.network.send(&mut scene.schedule, connection, end, Packet::Frame(frame.to_vec()));
        bytes = rest;
    }
}
