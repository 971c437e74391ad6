//! What must be done now and then and nobody waits for.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use protocol::Zxid;
use storage::directory::DataFolders;
use storage::durable_mark::DurableMark;
use storage::retention::{Purged, Retention};
use tracing::{info, warn};

use crate::context::ServerContext;

/// How often the durable mark is written; what it lags behind costs nothing but sharpness of a diagnosis.
const MARK_INTERVAL: Duration = Duration::from_millis(500);

/// Runs until the server stops, and writes the durable mark once more then.
pub fn run(server: &ServerContext, folders: &DataFolders, mark: &Mutex<DurableMark>) {
    let interval =
        server.settings.storage.retention.map(|retention| Duration::from_millis(retention.interval_ms));
    let mut next_purge = interval.map(|interval| Instant::now() + interval);
    let mut retention = Retention::default();
    let mut warned = false;
    loop {
        let stopping = server.stopping.load(Ordering::SeqCst);
        if !stopping {
            std::thread::park_timeout(MARK_INTERVAL);
        }
        let mut mark = mark.lock();
        // Under the lock: whoever shortens the log lowers both.
        let durable = Zxid::from_wire(server.durable_zxid.load(Ordering::SeqCst));
        let noted = mark.note_durable(durable);
        drop(mark);
        if let Err(error) = noted
            && !std::mem::replace(&mut warned, true)
        {
            warn!(%error, "cannot note how far the log is durable: a lost end of it may look like a torn one");
        }
        if stopping {
            return;
        }
        if next_purge.is_some_and(|at| Instant::now() >= at) {
            purge(&mut retention, folders, server);
            next_purge = interval.map(|interval| Instant::now() + interval);
        }
    }
}

/// Removes snapshots and logs that recovery does not need.
fn purge(retention: &mut Retention, folders: &DataFolders, server: &ServerContext) {
    let Some(settings) = server.settings.storage.retention else { return };
    let record_bytes_max = server.settings.limits.record_bytes_max as usize;
    match retention.purge(folders, settings.snapshots_kept as usize, record_bytes_max) {
        Ok(Purged { snapshots, logs }) if snapshots.is_empty() && logs.is_empty() => {}
        Ok(Purged { snapshots, logs }) => {
            info!(snapshots = snapshots.len(), logs = logs.len(), "old snapshots and logs removed");
        }
        Err(error) => warn!(%error, "cannot remove old snapshots and logs"),
    }
}
