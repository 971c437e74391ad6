//! Whole trees between servers, on threads of their own.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Instant;

use protocol::Zxid;
use protocol::peer::FromLeader;
use storage::snapshot::{ReceivedSnapshot, read_tree, write_received, write_tree};
use tracing::{error, info, warn};
use tree::{SnapshotStart, Tree};
use zab::LinkId;

use crate::context::ServerContext;
use crate::intake::Item;
use crate::peer_port::{IncomingSnapshot, StreamWriter};
use crate::recovery_target::TreeTarget;
use crate::snapshots::{Chunks, head, next_chunk};

/// What stands behind the tree, so that a learner knows it has all (`LearnerHandler`).
const SIGNATURE: &[u8] = b"\0\0\0\x0aBenWasHere";

/// The largest record that is read: whatever fits a packet fits a node.
fn record_bytes_max(server: &ServerContext) -> usize {
    server.settings.limits.record_bytes_max as usize
}

/// Sends SNAP and the tree; the core hears [`Item::SnapshotEnded`] in the end, whatever happened.
pub fn send(server: &Arc<ServerContext>, link: LinkId, writer: Option<StreamWriter>, start: SnapshotStart) {
    let at_work = Arc::clone(server);
    let thread = std::thread::Builder::new().name("snapshot-out".into()).spawn(move || {
        if let Some(writer) = writer {
            let began = Instant::now();
            let zxid = start.zxid;
            match write(&at_work, writer, start) {
                Ok(true) => {
                    let took_ms = began.elapsed().as_millis() as u64;
                    info!(%link, %zxid, took_ms, "snapshot sent to a learner");
                }
                Ok(false) => info!(%link, %zxid, "snapshot for a learner abandoned"),
                Err(error) => warn!(%link, %zxid, %error, "snapshot for a learner failed"),
            }
        }
        at_work.intake.push(Item::SnapshotEnded);
    });
    if let Err(error) = thread {
        // Without its writer the link closes, and the learner comes again.
        error!(%error, "no thread for a snapshot");
        server.intake.push(Item::SnapshotEnded);
    }
}

fn write(server: &ServerContext, mut writer: StreamWriter, start: SnapshotStart) -> std::io::Result<bool> {
    let mut packet = Vec::new();
    FromLeader::Snapshot { zxid: start.zxid }.encode(&mut packet);
    writer.write_all(&packet)?;
    let mut chunks = Chunks::new(server, &start);
    let whole = write_tree(&mut writer, &head(&start, false), |out| chunks.next(out))?;
    if whole {
        writer.write_all(SIGNATURE)?;
        writer.finish()?;
    }
    Ok(whole)
}

/// Reads the tree that a leader sends and makes it durable in a file; the core then hears
/// [`Item::SnapshotReceived`], before anything else that comes on the link. If that fails the link is closed.
pub fn receive(server: &Arc<ServerContext>, link: LinkId, zxid: Zxid, stream: IncomingSnapshot) {
    let at_work = Arc::clone(server);
    let thread = std::thread::Builder::new().name("snapshot-in".into()).spawn(move || {
        let began = Instant::now();
        match read(&at_work, zxid, stream) {
            Ok((tree, received, stream)) => {
                let took_ms = began.elapsed().as_millis() as u64;
                info!(%link, %zxid, took_ms, nodes = tree.node_count(), "snapshot received from the leader");
                at_work.intake.push(Item::SnapshotReceived { link, tree: Box::new(tree), received });
                stream.finish();
            }
            // The stream is dropped, which closes the link.
            Err(error) => warn!(%link, %zxid, "the leader's snapshot cannot be used: {error:#}"),
        }
    });
    if let Err(error) = thread {
        error!(%error, "no thread for a snapshot");
    }
}

fn read(
    server: &ServerContext,
    zxid: Zxid,
    mut stream: IncomingSnapshot,
) -> Result<(Tree, ReceivedSnapshot, IncomingSnapshot), ReceiveError> {
    use storage::recovery::RecoveryTarget;
    let mut target = TreeTarget::empty();
    let unread = read_tree(&mut stream, record_bytes_max(server), &mut target)?;
    stream.put_back(&unread);
    let mut signature = [0; SIGNATURE.len()];
    stream.read_exact(&mut signature).map_err(ReceiveError::End)?;
    if signature != SIGNATURE {
        return Err(ReceiveError::Signature);
    }
    target.snapshot_loaded(zxid, None).map_err(ReceiveError::Refused)?;
    let mut tree = target.into_tree();
    let folders = &server.folders;
    let start = tree.begin_snapshot();
    let mut cursor = start.cursor.clone();
    let compression = crate::run::compression(&server.settings);
    let head = head(&start, server.settings.tree.digest);
    let received = write_received(&**folders.disk(), folders.snapshots(), &head, compression, |out| {
        next_chunk(&tree, &mut cursor, out)
    })?;
    drop(tree.end_snapshot());
    Ok((tree, received, stream))
}

/// Why a leader's snapshot cannot be used.
#[derive(Debug, thiserror::Error)]
enum ReceiveError {
    #[error(transparent)]
    Stream(#[from] storage::snapshot::StreamError),
    #[error("it ends early: {0}")]
    End(std::io::Error),
    #[error("it does not end with the signature that it should have")]
    Signature,
    #[error("it is no tree: {0}")]
    Refused(storage::snapshot::Refusal),
    #[error("it cannot be written: {0}")]
    Write(#[from] storage::snapshot::SnapshotWriteError),
}
