//! The core thread: feeds the replica, writes the log, makes it durable, lets the answers go.
//!
//! Standalone, this one thread does all of it, because whoever learns that a batch is durable should apply it: a
//! second thread would only add a change of threads to every write. Everything that arrives while a sync runs
//! becomes the next batch; there is no timer.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use replica::{Fact, Input, Replica};
use storage::txn_log::{TxnLog, TxnLogError};
use tracing::{debug, error, info, warn};

use crate::context::ServerContext;
use crate::intake::{Batch, Item};
use crate::post_office::PostOffice;
use crate::snapshots::Snapshots;
use crate::stats::count;

/// Words about quotas are not said more often.
const QUOTA_LOG_INTERVAL: Duration = Duration::from_secs(5);

/// What ends a server.
#[derive(Debug, thiserror::Error)]
pub enum Fatal {
    /// The log cannot be written. What was not acknowledged may or may not be in it.
    #[error("the transaction log failed, so nothing more can be acknowledged: {0}")]
    Log(#[from] TxnLogError),
}

/// The core thread's loop and what it owns.
pub struct Driver {
    replica: Replica,
    log: TxnLog,
    office: PostOffice,
    server: Arc<ServerContext>,
    snapshots: Snapshots,
    next_quota_log: Instant,
    /// Requests taken from the intake that are not completed.
    in_core: usize,
    /// Bytes of the large ones among them.
    large_bytes_in_core: usize,
}

impl Driver {
    /// Puts the parts together.
    pub fn new(
        replica: Replica,
        log: TxnLog,
        office: PostOffice,
        server: Arc<ServerContext>,
        snapshots: Snapshots,
    ) -> Driver {
        let next_quota_log = Instant::now();
        Driver { next_quota_log, replica, log, office, server, snapshots, in_core: 0, large_bytes_in_core: 0 }
    }

    /// Runs until it is told to stop, then leaves everything durable.
    pub fn run(mut self) -> Result<(), Fatal> {
        self.server.intake.attach_core();
        let tick = tick_interval(self.server.settings.sessions.tick_ms);
        let mut next_tick = Instant::now() + tick;
        let mut batch = Batch::default();
        loop {
            self.server.intake.take(&mut batch, next_tick.saturating_duration_since(Instant::now()));
            let mut stop = false;
            let now = self.server.clock.now();
            self.in_core += batch.requests;
            self.large_bytes_in_core += batch.large_bytes;
            for item in batch.items.drain(..) {
                match item {
                    Item::Connect { connection, payload, ids, link } => {
                        self.office.add_link(link);
                        let payload = &batch.bytes[payload];
                        self.replica.step(now, Input::Connect { connection, payload, ids }, &mut self.office);
                    }
                    Item::Request { connection, xid, op, body, received_ms } => {
                        let body = &batch.bytes[body];
                        let input = Input::Request { connection, xid, op, body, received_ms };
                        self.replica.step(now, input, &mut self.office);
                    }
                    Item::Relay { connection, frame, close, received_ms } => {
                        let frame = &batch.bytes[frame];
                        let input = Input::Relay { connection, frame, close, received_ms };
                        self.replica.step(now, input, &mut self.office);
                    }
                    Item::Authenticated { connection, ids } => {
                        let input = Input::Authenticated { connection, ids };
                        self.replica.step(now, input, &mut self.office);
                    }
                    Item::Disconnected { connection } => {
                        self.office.remove_link(connection);
                        self.replica.step(now, Input::Disconnected { connection }, &mut self.office);
                    }
                    Item::SnapshotEnded => {
                        self.replica.step(now, Input::SnapshotEnded, &mut self.office);
                    }
                    Item::Stop => stop = true,
                }
            }
            batch.clear();
            if Instant::now() >= next_tick {
                self.replica.step(now, Input::Tick, &mut self.office);
                next_tick = Instant::now() + tick;
            }
            self.commit()?;
            if stop {
                return Ok(());
            }
        }
    }

    /// Logs what is new, makes it durable and lets out what waited for that.
    fn commit(&mut self) -> Result<(), Fatal> {
        let mut last = self.replica.durable();
        while let Some((zxid, envelope)) = self.replica.next_unlogged() {
            self.log.append(zxid, envelope)?;
            last = zxid;
        }
        if last > self.replica.durable() {
            let start = Instant::now();
            let durable = self.log.sync()?;
            self.server.durable_zxid.store(durable.to_wire(), Ordering::Relaxed);
            let sync_ms = start.elapsed().as_millis() as u64;
            self.server.stats.fsync.add(1, sync_ms, sync_ms);
            if sync_ms > self.server.settings.storage.slow_sync_ms {
                warn!(
                    sync_ms,
                    "the disk took long to make the transaction log durable; every write waits for it"
                );
            }
        }
        let now = self.server.clock.now();
        self.replica.step(now, Input::Synced { up_to: last }, &mut self.office);
        let left = self.replica.in_progress().min(self.in_core);
        self.server.intake.finished(self.in_core - left);
        self.in_core = left;
        if left == 0 {
            self.server.intake.finished_large(std::mem::take(&mut self.large_bytes_in_core));
        }
        for fact in std::mem::take(&mut self.office.facts) {
            self.on_fact(fact)?;
        }
        Ok(())
    }

    /// Quotas are exceeded by the thousand, and one line a while says it all.
    fn quota_log_is_due(&mut self) -> bool {
        let now = Instant::now();
        let due = now >= self.next_quota_log;
        if due {
            self.next_quota_log = now + QUOTA_LOG_INTERVAL;
        }
        due
    }

    fn on_fact(&mut self, fact: Fact) -> Result<(), Fatal> {
        match fact {
            Fact::SessionOpened { session, timeout_ms } => info!(%session, timeout_ms, "session opened"),
            Fact::SessionResumed { session } => info!(%session, "session resumed"),
            Fact::SessionRefused { session } => {
                info!(%session, "session refused: it has expired or the password is wrong");
            }
            Fact::SessionExpired { session, timeout_ms } => {
                count(&self.server.stats.sessions_expired, 1);
                info!(%session, timeout_ms, "session expired");
            }
            Fact::SessionClosed { session, zxid } => info!(%session, %zxid, "session closed"),
            Fact::ClientAhead { connection, seen, applied } => {
                warn!(
                    connection = connection.get(),
                    %seen, %applied,
                    "connection refused: the client has seen more than this server has, it must use another one"
                );
            }
            Fact::BadHandshake { connection } => {
                debug!(connection = connection.get(), "connection refused: not a connect request");
            }
            Fact::Reaping { path } => debug!(path, "unused container or TTL node deleted"),
            Fact::DigestMismatch { zxid, expected, found } => {
                error!(
                    %zxid, expected, found,
                    "the tree differs from what its transaction says: memory or software is broken"
                );
            }
            Fact::QuotaRefused { session } => {
                if self.quota_log_is_due() {
                    warn!(%session, "a write was refused because it exceeds a hard quota");
                }
            }
            Fact::SoftQuotaExceeded(excesses) => {
                if self.quota_log_is_due() {
                    for excess in excesses {
                        let (usage, limit) = (excess.usage, excess.limit);
                        warn!(path = excess.prefix, resource = ?excess.resource, usage, limit, "quota exceeded");
                    }
                }
            }
            Fact::SnapshotDue(start) => {
                self.log.roll()?;
                self.snapshots.start(&self.server, *start);
            }
        }
        Ok(())
    }
}

/// Ten looks at the clock per tick, but not more than fifty a second.
fn tick_interval(tick_ms: u32) -> Duration {
    Duration::from_millis(u64::from(tick_ms / 10).clamp(20, 200))
}

/// Tells every thread to end.
pub fn stop(server: &ServerContext) {
    server.stopping.store(true, Ordering::SeqCst);
    server.intake.push(Item::Stop);
}
