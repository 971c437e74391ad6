//! Snapshots: to the own disk, to learners, and from a leader.

use std::sync::Arc;

use ::server::TreeTarget;
use bytes::Bytes;
use protocol::Zxid;
use protocol::peer::FromLeader;
use replica::{Input, PeerInput, membership_of};
use storage::recovery::RecoveryTarget;
use storage::snapshot::{
    Compression, ReceivedSnapshot, SnapshotChunk, SnapshotWriteError, read_tree, write_received,
    write_snapshot, write_tree,
};
use storage::truncate::adopt_snapshot;
use tree::{SnapshotStart, Tree};
use zab::LinkId;

use super::{EndOf, Item, Member, log_trouble, must_stop};
use crate::checkers::Violation;
use crate::ensemble::bugs::Bug;
use crate::ensemble::network::Packet;
use crate::ensemble::scene::Scene;
use crate::ensemble::schedule::Event;
use crate::server::{Trouble, snapshot_head};

/// A snapshot for a learner is sent in so many chunks at most.
const CHUNKS_MAX: usize = 8;

/// What stands behind the nodes: a path of one byte, "/".
const TREE_END_BYTES: usize = 5;

/// A snapshot on its way to a learner.
pub(super) struct Transfer {
    link: LinkId,
    start: SnapshotStart,
    end: Vec<u8>,
    history: Arc<Vec<(Zxid, Bytes)>>,
}

impl Member {
    /// The replica wants a snapshot to be written.
    pub(super) fn plan_snapshot(&mut self, scene: &mut Scene, start: SnapshotStart) -> Result<(), Trouble> {
        let up_to = self.log.roll().map_err(log_trouble)?;
        scene.oracle.on_synced(self.life.host, up_to);
        self.file_snapshot = Some(start);
        let delay_us = scene.random.below(500_000);
        scene.schedule.after(delay_us, Event::WriteSnapshot(self.life));
        Ok(())
    }

    /// Writes it, unless the tree is another one by now.
    pub fn write_snapshot(&mut self, scene: &mut Scene) -> Result<(), Trouble> {
        let Some(start) = self.file_snapshot.take() else { return Ok(()) };
        let mut cursor = start.cursor.clone();
        let head = snapshot_head(&start);
        let (shared, chunk_nodes) = (&self.shared, scene.options.snapshot_chunk_nodes);
        let (disk, folder) = (&**self.folders.disk(), self.folders.snapshots());
        let written = write_snapshot(disk, folder, &head, Compression::None, |out| {
            let tree = shared.tree();
            if !tree.is_snapshot_running() {
                SnapshotChunk::Abandon
            } else if tree.snapshot_chunk(&mut cursor, chunk_nodes, out) {
                SnapshotChunk::More
            } else {
                SnapshotChunk::Last
            }
        });
        scene.note(|| format!("{} wrote snapshot {}: {:?}", self.me, start.zxid, written.is_ok()));
        scene.oracle.tally.note(if written.is_ok() { "snapshot written" } else { "snapshot failed" });
        self.push(scene, Item::SnapshotEnded);
        Ok(())
    }

    /// A learner is to get a snapshot; it is sent bit by bit while transactions go on.
    pub(super) fn begin_transfer(
        &mut self,
        scene: &mut Scene,
        link: LinkId,
        start: SnapshotStart,
    ) -> Result<(), Trouble> {
        let zxid = start.zxid;
        let mut bytes = Vec::new();
        let whole = write_tree(&mut bytes, &snapshot_head(&start), |_| SnapshotChunk::Last);
        if !whole.map_err(must_stop)? {
            return Err(Violation::new("snapshots", "a tree without nodes was not written").into());
        }
        let end = bytes.split_off(bytes.len() - TREE_END_BYTES);
        let history = Arc::new(scene.oracle.servers[self.life.host].log.up_to(zxid));
        scene.oracle.tally.note("SNAP sent");
        scene.note(|| format!("{} sends snapshot {zxid} on link {link}", self.me));
        self.send_tree(scene, link, Packet::FromLeader(FromLeader::Snapshot { zxid }));
        self.send_tree(scene, link, Packet::Tree { bytes, whole: None });
        self.transfer = Some(Transfer { link, start, end, history });
        self.plan_chunk(scene);
        Ok(())
    }

    fn send_tree(&self, scene: &mut Scene, link: LinkId, packet: Packet) {
        if let Some((connection, end)) = self.end_of(link) {
            scene.network.send(&mut scene.schedule, connection, end, packet);
        }
    }

    fn plan_chunk(&self, scene: &mut Scene) {
        let delay_us = scene.random.below(scene.options.snapshot_chunk_us_max);
        scene.schedule.after(delay_us, Event::SendSnapshot(self.life));
    }

    /// The next chunk, and behind the last one what has been waiting.
    pub fn send_snapshot(&mut self, scene: &mut Scene) -> Result<(), Trouble> {
        let Some(mut transfer) = self.transfer.take() else { return Ok(()) };
        let tree = self.shared.tree();
        if !tree.is_snapshot_running() || self.end_of(transfer.link).is_none() {
            drop(tree);
            // The learner must not take what it has for all of it.
            self.close_link(scene, transfer.link);
            self.push(scene, Item::SnapshotEnded);
            return Ok(());
        }
        // A few chunks, whatever the size: some are small, so that the learner's patience is tried.
        let most = scene.options.snapshot_chunk_nodes.max(transfer.start.nodes.div_ceil(CHUNKS_MAX));
        let mut bytes = Vec::new();
        let more = tree.snapshot_chunk(&mut transfer.start.cursor, most, &mut bytes)
            && scene.options.bug != Some(Bug::HalfSnapshot);
        drop(tree);
        if more {
            self.send_tree(scene, transfer.link, Packet::Tree { bytes, whole: None });
            self.transfer = Some(transfer);
            self.plan_chunk(scene);
        } else {
            bytes.extend_from_slice(&transfer.end);
            let whole = Some(transfer.history);
            self.send_tree(scene, transfer.link, Packet::Tree { bytes, whole });
            self.release_link(scene, transfer.link);
            self.push(scene, Item::SnapshotEnded);
        }
        Ok(())
    }

    /// A leader's tree has arrived: it is read and put into a file; the core hears of it later.
    pub(super) fn receive_tree(
        &mut self,
        scene: &mut Scene,
        from: (LinkId, EndOf),
        zxid: Zxid,
        bytes: &[u8],
        history: Arc<Vec<(Zxid, Bytes)>>,
    ) -> Result<(), Trouble> {
        let mut target = TreeTarget::empty();
        let read = read_tree(bytes, storage::RECORD_BYTES_MAX, &mut target)
            .map_err(|error| error.to_string())
            .and_then(|_| target.snapshot_loaded(zxid, None).map_err(|error| error.to_string()));
        if let Err(error) = read {
            return Err(
                Violation::new("snapshots", format!("a leader's tree cannot be read: {error}")).into()
            );
        }
        let mut tree = target.into_tree();
        match self.write_received(&mut tree) {
            Ok(received) => {
                self.push(scene, Item::Received { link: from.0, tree: Box::new(tree), received, history });
            }
            Err(error) => {
                scene.note(|| format!("{} cannot keep snapshot {zxid}: {error}", self.me));
                self.give_up_link(scene, from);
            }
        }
        Ok(())
    }

    fn write_received(&self, tree: &mut Tree) -> Result<ReceivedSnapshot, SnapshotWriteError> {
        let start = tree.begin_snapshot();
        let mut cursor = start.cursor.clone();
        let (disk, folder) = (&**self.folders.disk(), self.folders.snapshots());
        let written = write_received(disk, folder, &snapshot_head(&start), Compression::None, |out| {
            if tree.snapshot_chunk(&mut cursor, usize::MAX, out) {
                SnapshotChunk::More
            } else {
                SnapshotChunk::Last
            }
        });
        drop(tree.end_snapshot());
        written
    }

    /// A leader's tree takes the place of everything, if it is still wanted.
    pub(super) fn install(
        &mut self,
        scene: &mut Scene,
        link: LinkId,
        tree: Tree,
        received: ReceivedSnapshot,
        history: &Arc<Vec<(Zxid, Bytes)>>,
    ) -> Result<(), Trouble> {
        if !self.replica.peer().awaits_snapshot(link) {
            scene.oracle.tally.note("snapshot came too late");
            // What stays behind is removed by the next start.
            let _ = received.discard(&**self.folders.disk());
            return Ok(());
        }
        if let Some(membership) = membership_of(&tree) {
            self.step(scene, Input::Peer(PeerInput::SnapshotRead(membership)))?;
        }
        let zxid = tree.last_zxid();
        scene.note(|| format!("{} takes over snapshot {zxid}", self.me));
        scene.oracle.tally.note("snapshot taken over");
        self.sync(scene)?;
        scene.oracle.servers[self.life.host].log.replace(history.to_vec());
        adopt_snapshot(&self.folders, received, storage::RECORD_BYTES_MAX, &mut self.mark)
            .map_err(must_stop)?;
        self.reopen(scene, zxid)?;
        self.shared.replace_tree(tree);
        self.step(scene, Input::Peer(PeerInput::SnapshotInstalled { link, zxid }))
    }
}
