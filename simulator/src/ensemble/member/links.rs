//! Connections on the quorum port, to the leader and from learners.

use bytes::BytesMut;
use protocol::ServerId;
use protocol::Zxid;
use protocol::peer::{FromLeader, FromLearner, FromPacket, LearnerKind, PacketReader};
use replica::PeerInput;
use zab::LinkId;

use super::{EndOf, Item, Member};
use crate::ensemble::network::{DIALER, Packet, Place, Port};
use crate::ensemble::scene::Scene;
use crate::server::Trouble;

/// One connection.
#[derive(Default)]
pub(super) struct Link {
    /// None while it is being dialed.
    end: Option<EndOf>,
    /// What must wait for a snapshot, or a part of the log, to be sent.
    held: Option<Vec<FromLeader>>,
    /// A tree that is on its way.
    arriving: Option<Arriving>,
}

/// A tree that is on its way from the leader.
struct Arriving {
    zxid: Zxid,
    bytes: Vec<u8>,
    /// When the last part of it came.
    heard_us: u64,
}

impl Member {
    pub(super) fn dial_leader(
        &mut self,
        scene: &mut Scene,
        link: LinkId,
        (leader, kind): (ServerId, LearnerKind),
        within_ms: u64,
        failed_before: u32,
    ) {
        self.links.insert(link, Link::default());
        if kind == LearnerKind::Observer
            && scene.options.observer_masters
            && let Some(master) = self.choose_master(scene, leader, failed_before)
        {
            let from = (Place::Host(self.life.host), self.life.life);
            let port = Port::Observers { link: link.get() };
            // One attempt: there are others.
            return scene.network.dial(&mut scene.schedule, from, (master.get() - 1) as usize, port, 0);
        }
        if !self.knows_place_of((leader.get() - 1) as usize) {
            self.links.remove(&link);
            return self.push(scene, Item::Peer(PeerInput::LinkClosed(link)));
        }
        let from = (Place::Host(self.life.host), self.life.life);
        let port = Port::Quorum { link: link.get() };
        scene.network.dial(&mut scene.schedule, from, (leader.get() - 1) as usize, port, within_ms);
    }

    /// A voter that does not lead; now and then the leader all the same, which must turn observers away at that port.
    /// `None` if the others were tried in vain.
    fn choose_master(&self, scene: &mut Scene, leader: ServerId, failed_before: u32) -> Option<ServerId> {
        let voters: Vec<ServerId> = self.members.committed.voters().collect();
        if zab::leaders_turn(failed_before) || voters.iter().all(|&voter| voter == leader) {
            return None;
        }
        let others = voters.into_iter().filter(|&voter| voter != leader || scene.random.chance(1, 8));
        let others: Vec<ServerId> = others.collect();
        scene.oracle.tally.note("observer goes to a follower");
        Some(*scene.random.pick(&others))
    }

    /// `accepted` is what somebody who has dialed this server is to it.
    pub(super) fn on_link_connected(
        &mut self,
        scene: &mut Scene,
        end: EndOf,
        dialed: u64,
        accepted: impl FnOnce(LinkId) -> PeerInput,
    ) {
        let (link, input) = if end.1 == DIALER {
            let link = LinkId::new(dialed);
            if !self.links.contains_key(&link) {
                // It was given up meanwhile.
                return scene.network.close(&mut scene.schedule, end.0, end.1);
            }
            (link, PeerInput::LeaderConnected(link))
        } else {
            self.last_link += 1;
            let link = LinkId::new(self.last_link);
            (link, accepted(link))
        };
        self.links.insert(link, Link { end: Some(end), ..Link::default() });
        self.push(scene, Item::Peer(input));
    }

    fn link_at(&self, end: EndOf) -> Option<LinkId> {
        self.links.iter().find(|(_, link)| link.end == Some(end)).map(|(&link, _)| link)
    }

    pub(super) fn on_link_gone(&mut self, scene: &mut Scene, end: EndOf) {
        let Some(link) = self.link_at(end) else { return };
        self.links.remove(&link);
        self.push(scene, Item::Peer(PeerInput::LinkClosed(link)));
    }

    pub(super) fn on_link_packet(
        &mut self,
        scene: &mut Scene,
        end: EndOf,
        packet: Packet,
    ) -> Result<(), Trouble> {
        let Some(link) = self.link_at(end) else { return Ok(()) };
        match packet {
            Packet::FromLearner(message) => {
                self.push(scene, Item::Peer(PeerInput::FromLearner(link, message)));
            }
            Packet::FromLeader(FromLeader::Snapshot { zxid }) => {
                let heard_us = scene.schedule.now_us();
                if let Some(link) = self.links.get_mut(&link) {
                    link.arriving = Some(Arriving { zxid, bytes: Vec::new(), heard_us });
                }
                self.push(scene, Item::Peer(PeerInput::SnapshotArriving(link)));
            }
            Packet::FromLeader(message) => {
                self.push(scene, Item::Peer(PeerInput::FromLeader(link, message)));
            }
            Packet::Tree { bytes, whole } => {
                let Some(Link { arriving, .. }) = self.links.get_mut(&link) else { return Ok(()) };
                if let Some(arriving) = arriving {
                    arriving.bytes.extend_from_slice(&bytes);
                    arriving.heard_us = scene.schedule.now_us();
                }
                if let Some(history) = whole
                    && let Some(Arriving { zxid, bytes, .. }) = arriving.take()
                {
                    return self.receive_tree(scene, (link, end), zxid, &bytes, history);
                }
            }
            Packet::Notification(_) | Packet::Frame(_) | Packet::End => {}
        }
        Ok(())
    }

    /// Gives up leaders that have begun to send a tree and do not go on.
    pub(super) fn watch_over_trees(&mut self, scene: &mut Scene) {
        let patience_us = scene.options.peer.init_ms() * 1000;
        let now_us = scene.schedule.now_us();
        let stuck =
            |link: &Link| link.arriving.as_ref().is_some_and(|tree| now_us > tree.heard_us + patience_us);
        let given_up: Vec<_> = self
            .links
            .iter()
            .filter(|(_, link)| stuck(link))
            .filter_map(|(&id, link)| Some((id, link.end?)))
            .collect();
        for link in given_up {
            scene.oracle.tally.note("snapshot got stuck on its way");
            self.give_up_link(scene, link);
        }
    }

    /// Closes a link over a snapshot that cannot be used.
    pub(super) fn give_up_link(&mut self, scene: &mut Scene, (link, end): (LinkId, EndOf)) {
        self.links.remove(&link);
        scene.network.close(&mut scene.schedule, end.0, end.1);
        self.push(scene, Item::Peer(PeerInput::LinkClosed(link)));
    }

    pub(super) fn send_to_learner(&mut self, scene: &mut Scene, link: LinkId, message: FromLeader) {
        match self.links.get_mut(&link) {
            Some(Link { held: Some(held), .. }) => held.push(message),
            _ => self.put_on_link(scene, link, &message),
        }
    }

    /// Sends at once, whatever waits.
    pub(super) fn put_on_link(&self, scene: &mut Scene, link: LinkId, message: &FromLeader) {
        if let Some((connection, end)) = self.end_of(link) {
            let mut bytes = Vec::new();
            message.encode(&mut bytes);
            let packet = Packet::FromLeader(through_the_wire(message, &bytes));
            scene.network.send(&mut scene.schedule, connection, end, packet);
        }
    }

    pub(super) fn send_to_leader(&mut self, scene: &mut Scene, link: LinkId, message: &FromLearner) {
        if let Some(Link { end: Some((connection, end)), .. }) = self.links.get(&link) {
            let mut bytes = Vec::new();
            message.encode(&mut bytes);
            let packet = Packet::FromLearner(through_the_wire(message, &bytes));
            scene.network.send(&mut scene.schedule, *connection, *end, packet);
        }
    }

    pub(super) fn close_link(&mut self, scene: &mut Scene, link: LinkId) {
        if let Some(Link { end: Some((connection, end)), .. }) = self.links.remove(&link) {
            scene.network.close(&mut scene.schedule, connection, end);
        }
    }

    /// From now on everything for the learner waits for a snapshot, or a part of the log.
    pub(super) fn hold_link(&mut self, link: LinkId) {
        if let Some(link) = self.links.get_mut(&link) {
            link.held = Some(Vec::new());
        }
    }

    /// That is sent: what waited follows it.
    pub(super) fn release_link(&mut self, scene: &mut Scene, link: LinkId) {
        let held = self.links.get_mut(&link).and_then(|link| link.held.take());
        for message in held.into_iter().flatten() {
            self.send_to_learner(scene, link, message);
        }
    }

    /// The connection of a link, if it stands.
    pub(super) fn end_of(&self, link: LinkId) -> Option<EndOf> {
        self.links.get(&link)?.end
    }
}

/// What the other side reads when it gets these bytes.
fn through_the_wire<M: FromPacket + PartialEq + std::fmt::Debug>(message: &M, bytes: &[u8]) -> M {
    let mut buffer = BytesMut::from(bytes);
    let read = PacketReader::new(storage::RECORD_BYTES_MAX).next::<M>(&mut buffer);
    let read = read.ok().flatten().filter(|_| buffer.is_empty());
    let read = read.expect("what one server writes another one reads");
    assert_eq!(read, *message, "a message survives the wire");
    read
}
