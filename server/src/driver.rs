//! The core thread: feeds the replica, writes the log, makes it durable, lets the answers go.
//!
//! Standalone, this one thread does all of it, because whoever learns that a batch is durable should apply it: a
//! second thread would only add a change of threads to every write. Everything that arrives while a sync runs
//! becomes the next batch; there is no timer.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use protocol::peer::LearnerKind;
use replica::status::ServerRole;
use replica::{Delivery, Fact, Input, Now, Outlet, Outputs, PeerInput, Replica, membership_of};
use storage::snapshot::ReceivedSnapshot;
use storage::txn_log::{TxnLog, TxnLogError};
use tracing::{debug, error, info, warn};
use tree::Tree;
use zab::{LinkId, Role};

use crate::context::ServerContext;
use crate::ensemble::{Ensemble, EnsembleError};
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
    /// What the ensemble wants cannot be done.
    #[error(transparent)]
    Ensemble(#[from] EnsembleError),
    /// No other server can be reached any more.
    #[error("the thread that talks to other servers met a bug in Ferrokeeper and ended")]
    PeerPort,
}

/// The core thread's loop and what it owns.
pub struct Driver {
    replica: Replica,
    log: TxnLog,
    office: PostOffice,
    server: Arc<ServerContext>,
    snapshots: Snapshots,
    /// `None` for a server that is alone.
    ensemble: Option<Ensemble>,
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
        ensemble: Option<Ensemble>,
    ) -> Driver {
        let next_quota_log = Instant::now();
        Driver {
            next_quota_log,
            replica,
            log,
            office,
            server,
            snapshots,
            ensemble,
            in_core: 0,
            large_bytes_in_core: 0,
        }
    }

    /// Runs until it is told to stop, then leaves everything durable.
    pub fn run(mut self) -> Result<(), Fatal> {
        self.server.intake.attach_core();
        let tick = tick_interval(self.server.settings.sessions.tick_ms);
        let mut next_tick = Instant::now() + tick;
        let mut batch = Batch::default();
        // A member looks for a leader at once.
        self.commit()?;
        loop {
            self.server.intake.take(&mut batch, self.patience(next_tick));
            let mut stop = false;
            let now = self.server.clock.now();
            self.in_core += batch.requests;
            self.large_bytes_in_core += batch.large_bytes;
            for item in batch.items.drain(..) {
                if matches!(item, Item::Stop) {
                    stop = true;
                } else {
                    self.take_in(now, item, &batch.bytes)?;
                }
            }
            batch.clear();
            if Instant::now() >= next_tick
                || self.replica.deadline_ms().is_some_and(|at| now.monotonic_ms >= at)
            {
                self.step(now, Input::Tick)?;
                next_tick = Instant::now() + tick;
            }
            self.commit()?;
            if stop {
                return Ok(());
            }
        }
    }

    /// How long the core may sleep.
    fn patience(&self, next_tick: Instant) -> Duration {
        let tick = next_tick.saturating_duration_since(Instant::now());
        match self.replica.deadline_ms() {
            Some(at) => {
                let now_ms = self.server.clock.now().monotonic_ms;
                tick.min(Duration::from_millis(at.saturating_sub(now_ms)))
            }
            None => tick,
        }
    }

    fn take_in(&mut self, now: Now, item: Item, bytes: &[u8]) -> Result<(), Fatal> {
        match item {
            Item::Connect { connection, payload, ids, link } => {
                self.office.add_link(link);
                if self.leaves_clients_to_others() {
                    let deliveries = vec![Delivery::Close { connection }];
                    self.office.deliver(&mut Outputs { deliveries, ..Outputs::default() });
                    self.office.released();
                    return Ok(());
                }
                self.step(now, Input::Connect { connection, payload: &bytes[payload], ids })
            }
            Item::Request { connection, xid, op, body, received_ms } => {
                self.step(now, Input::Request { connection, xid, op, body: &bytes[body], received_ms })
            }
            Item::Relay { connection, frame, close, received_ms } => {
                self.step(now, Input::Relay { connection, frame: &bytes[frame], close, received_ms })
            }
            Item::Authenticated { connection, ids } => {
                self.step(now, Input::Authenticated { connection, ids })
            }
            Item::Disconnected { connection } => {
                self.office.remove_link(connection);
                self.step(now, Input::Disconnected { connection })
            }
            Item::SnapshotEnded => self.step(now, Input::SnapshotEnded),
            Item::Notified(from) => {
                let notification = self.ensemble.as_ref().and_then(|ensemble| ensemble.notice(from));
                match notification {
                    Some(notification) => {
                        self.step(now, Input::Peer(PeerInput::Notification { from, notification }))
                    }
                    None => Ok(()),
                }
            }
            Item::Peer(input) => {
                if let (PeerInput::LinkClosed(link), Some(ensemble)) = (&input, &mut self.ensemble) {
                    ensemble.forget(*link);
                }
                self.step(now, Input::Peer(input))
            }
            Item::FromLearner { link, messages, bytes } => {
                for message in messages {
                    self.step(now, Input::Peer(PeerInput::FromLearner(link, message)))?;
                }
                self.processed(link, bytes);
                Ok(())
            }
            Item::FromLeader { link, messages, bytes } => {
                for message in messages {
                    self.step(now, Input::Peer(PeerInput::FromLeader(link, message)))?;
                }
                self.processed(link, bytes);
                Ok(())
            }
            Item::SnapshotReceived { link, tree, received } => self.install(now, link, *tree, received),
            Item::PeerPortFailed => Err(Fatal::PeerPort),
            Item::Stop => Ok(()),
        }
    }

    /// `leaderServes=no`: while this server leads, clients go elsewhere.
    fn leaves_clients_to_others(&self) -> bool {
        let ensemble = self.server.settings.ensemble.as_ref();
        ensemble.is_some_and(|ensemble| !ensemble.leader_serves_clients)
            && self.server.shared.status.role() == ServerRole::Leader
    }

    fn processed(&self, link: LinkId, bytes: usize) {
        if let Some(ensemble) = &self.ensemble {
            ensemble.processed(link, bytes);
        }
    }

    /// Steps the replica and does what it wants done for the ensemble before anything else happens.
    fn step(&mut self, now: Now, input: Input<'_>) -> Result<(), Fatal> {
        self.replica.step(now, input, &mut self.office);
        self.carry_out()?;
        Ok(())
    }

    fn carry_out(&mut self) -> Result<bool, Fatal> {
        match &mut self.ensemble {
            Some(ensemble) => Ok(ensemble.carry_out(&mut self.replica, &mut self.log, &mut self.office)?),
            None => Ok(false),
        }
    }

    /// The leader's tree takes the place of everything that is here, unless the leader is given up already.
    fn install(
        &mut self,
        now: Now,
        link: LinkId,
        tree: Tree,
        received: ReceivedSnapshot,
    ) -> Result<(), Fatal> {
        if !self.replica.peer().awaits_snapshot(link) {
            if let Some(ensemble) = &self.ensemble {
                ensemble.discard(received);
            }
            return Ok(());
        }
        if let Some(membership) = membership_of(&tree) {
            // On stable storage before the tree is: a start would not look for it there.
            self.step(now, Input::Peer(PeerInput::SnapshotRead(membership)))?;
        }
        let Some(ensemble) = &mut self.ensemble else { return Ok(()) };
        let zxid = tree.last_zxid();
        ensemble.adopt(tree, received, &mut self.log)?;
        self.step(now, Input::Peer(PeerInput::SnapshotInstalled { link, zxid }))
    }

    /// Logs what is new, makes it durable and lets out what waited for that, until nothing is left to do.
    fn commit(&mut self) -> Result<(), Fatal> {
        loop {
            while let Some((zxid, envelope)) = self.replica.next_unlogged() {
                self.log.append(zxid, envelope)?;
            }
            // Proposals travel while the disk works.
            self.flush();
            self.sync()?;
            let now = self.server.clock.now();
            let up_to = self.log.last_synced();
            self.replica.step(now, Input::Synced { up_to }, &mut self.office);
            if !self.carry_out()? {
                break;
            }
        }
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

    fn flush(&mut self) {
        if let Some(ensemble) = &mut self.ensemble {
            ensemble.flush();
        }
    }

    fn sync(&mut self) -> Result<(), Fatal> {
        if self.log.last_appended() == self.log.last_synced() {
            return Ok(());
        }
        let start = Instant::now();
        let durable = self.log.sync()?;
        self.server.durable_zxid.store(durable.to_wire(), Ordering::SeqCst);
        let sync_ms = start.elapsed().as_millis() as u64;
        self.server.stats.fsync.add(1, sync_ms, sync_ms);
        if sync_ms > self.server.settings.storage.slow_sync_ms {
            warn!(
                sync_ms,
                "the disk took long to make the transaction log durable; every write waits for it"
            );
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
            Fact::ServesReads => {
                info!("still no leader: reads are served, to clients that are content with them");
            }
            Fact::ReconfigRefused { why } => {
                warn!(why, "a client's change of the ensemble was refused");
            }
            Fact::RoleChanged(role) => on_role(role),
            Fact::EpochBegan(epoch) => {
                info!(%epoch, "LEADING goes on in another epoch: the zxids of the last one end")
            }
            Fact::BadPeer { link, why } => {
                warn!(%link, why, "another server sent what cannot be; the connection is closed");
            }
            Fact::SnapshotDue(start) => {
                self.log.roll()?;
                self.snapshots.start(&self.server, *start);
            }
        }
        Ok(())
    }
}

/// One line for every change, in the words that operators of ZooKeeper look for.
fn on_role(role: Role) {
    match role {
        Role::Looking { why } => info!(why, "LOOKING: nobody is served until a leader is found"),
        Role::Preparing => info!("elected; a quorum has to agree to the next epoch"),
        Role::Joining { leader } => info!(%leader, "a leader was elected; synchronizing with it"),
        Role::Leading { epoch } => info!(%epoch, "LEADING"),
        Role::Learning { leader, epoch, kind: LearnerKind::Follower, .. } => {
            info!(%leader, %epoch, "FOLLOWING");
        }
        Role::Learning { leader, epoch, kind: LearnerKind::Observer, .. } => {
            info!(%leader, %epoch, "OBSERVING");
        }
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
