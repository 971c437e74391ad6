//! Snapshots, written by a thread of their own while writes go on.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use storage::directory::DataFolders;
use storage::snapshot::{Compression, SnapshotChunk, SnapshotHead, write_snapshot};
use tracing::{error, info};
use tree::{SnapshotCursor, SnapshotStart, Tree};

use crate::context::ServerContext;
use crate::intake::Item;
use crate::stats::count;

/// Nodes encoded while the tree's lock is held shared: about 50 µs, so that no write waits longer for it.
const CHUNK_NODES: usize = 250;

/// Bytes gathered before they are given to the writer.
const CHUNK_BYTES: usize = 256 << 10;

/// Starts snapshots.
pub struct Snapshots {
    folders: Arc<DataFolders>,
    compression: Compression,
}

impl Snapshots {
    /// Snapshots go into the data folder.
    pub fn new(folders: Arc<DataFolders>, compression: Compression) -> Snapshots {
        Snapshots { folders, compression }
    }

    /// Writes a snapshot in the background; the core hears [`Item::SnapshotEnded`] in the end, whatever happened.
    pub fn start(&self, server: &Arc<ServerContext>, start: SnapshotStart) {
        let folders = Arc::clone(&self.folders);
        let compression = self.compression;
        let at_work = Arc::clone(server);
        let thread = std::thread::Builder::new()
            .name("snapshot".into())
            .spawn(move || write(&at_work, &folders, compression, start));
        if let Err(error) = thread {
            count(&server.stats.snapshot_errors, 1);
            error!(%error, "no thread for a snapshot");
            server.intake.push(Item::SnapshotEnded);
        }
    }
}

fn write(server: &ServerContext, folders: &DataFolders, compression: Compression, start: SnapshotStart) {
    let began = Instant::now();
    let zxid = start.zxid;
    let head = head(&start, server.settings.tree.digest);
    let mut chunks = Chunks::new(server, &start);
    let folder = folders.snapshots();
    let written = write_snapshot(&**folders.disk(), folder, &head, compression, |out| chunks.next(out));
    let took_ms = began.elapsed().as_millis() as u64;
    match written {
        Ok(_) => {
            server.stats.snapshot.add(1, took_ms, took_ms);
            server.stats.last_snapshot_zxid.store(zxid.to_wire(), Ordering::Relaxed);
            info!(%zxid, took_ms, "snapshot written");
        }
        Err(error) => {
            count(&server.stats.snapshot_errors, 1);
            error!(%zxid, %error, "snapshot failed; the transaction log keeps everything meanwhile");
        }
    }
    server.intake.push(Item::SnapshotEnded);
}

/// The nodes of a snapshot of the running server, piece by piece.
pub struct Chunks<'a> {
    server: &'a ServerContext,
    cursor: SnapshotCursor,
}

impl<'a> Chunks<'a> {
    /// From the first node on.
    pub fn new(server: &'a ServerContext, start: &SnapshotStart) -> Chunks<'a> {
        Chunks { server, cursor: start.cursor.clone() }
    }

    /// Appends some hundred KiB of nodes.
    pub fn next(&mut self, out: &mut Vec<u8>) -> SnapshotChunk {
        if self.server.stopping.load(Ordering::Relaxed) {
            return SnapshotChunk::Abandon;
        }
        while out.len() < CHUNK_BYTES {
            let tree = self.server.shared.tree();
            if !tree.is_snapshot_running() {
                // A leader has put another tree in its place.
                return SnapshotChunk::Abandon;
            }
            if !tree.snapshot_chunk(&mut self.cursor, CHUNK_NODES, out) {
                return SnapshotChunk::Last;
            }
        }
        SnapshotChunk::More
    }
}

/// What stands in front of the nodes.
pub fn head(start: &SnapshotStart, digest: bool) -> SnapshotHead {
    SnapshotHead {
        zxid: start.zxid,
        digest: digest.then_some(start.digest),
        sessions: start.sessions.clone(),
        acls: start.acls.iter().map(|(id, list)| (*id, list.as_slice().as_bytes().to_vec())).collect(),
    }
}

/// Appends some hundred KiB of nodes of a tree that nobody else has yet.
pub fn next_chunk(tree: &Tree, cursor: &mut SnapshotCursor, out: &mut Vec<u8>) -> SnapshotChunk {
    while out.len() < CHUNK_BYTES {
        if !tree.snapshot_chunk(cursor, CHUNK_NODES, out) {
            return SnapshotChunk::Last;
        }
    }
    SnapshotChunk::More
}
