//! One life of a member: the product's replica, log, snapshots and recovery, with a shell around them that does what
//! the production shell does.
//!
//! The core works in batches: it takes in what has come, carries out what the replica wants after every step, gives
//! the log its time, and tells the replica how far it is durable. Meanwhile connections are read and answered.

mod clients;
mod links;
mod log_transfer;
mod members;
mod mesh;
mod outputs;
mod snapshots;
mod start;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use protocol::peer::{FromLeader, ServerState};
use protocol::{Id, ServerId, Xid, Zxid};
use replica::status::ServerRole;
use replica::{Delivery, Fact, Input, Now, Outputs, PeerInput, Replica, Shared};
use storage::directory::DataFolders;
use storage::durable_mark::DurableMark;
use storage::epoch_files::EpochFiles;
use storage::retention::Retention;
use storage::txn_log::{TxnLog, TxnLogError};
use tree::{SnapshotStart, Tree};
use zab::{LinkId, Role};

use self::clients::ClientPort;
use self::links::Link;
use self::log_transfer::LogTransfers;
use self::members::KnownMembers;
use self::mesh::Mesh;
use self::snapshots::Transfer;
pub use self::start::StartError;
use super::bugs::Bug;
use super::clock::Clock;
use super::network::{Arrival, ConnectionId, Packet, Port};
use super::scene::Scene;
use super::schedule::{Event, Life};
use crate::checkers::Violation;
use crate::server::{Trouble, purge, tick_interval_ms};

/// Where one end of a connection is.
type EndOf = (ConnectionId, usize);

/// An event on its way to the core.
enum Item {
    Connect {
        connection: replica::ConnectionId,
        payload: Vec<u8>,
        ids: Arc<[Id]>,
    },
    Request {
        connection: replica::ConnectionId,
        xid: Xid,
        op: i32,
        body: Vec<u8>,
        received_ms: u64,
    },
    Relay {
        connection: replica::ConnectionId,
        frame: Vec<u8>,
        close: bool,
        received_ms: u64,
    },
    Authenticated {
        connection: replica::ConnectionId,
        ids: Arc<[Id]>,
    },
    Disconnected {
        connection: replica::ConnectionId,
    },
    SnapshotEnded,
    Peer(PeerInput),
    /// A leader's tree is read and in a file.
    Received {
        link: LinkId,
        tree: Box<Tree>,
        received: storage::snapshot::ReceivedSnapshot,
        history: Arc<Vec<(Zxid, Bytes)>>,
    },
}

/// What the replica says, until it is taken where it belongs.
#[derive(Default)]
struct Mail {
    bytes: Vec<u8>,
    deliveries: Vec<Delivery>,
    facts: Vec<Fact>,
}

/// A running server.
pub struct Member {
    life: Life,
    me: ServerId,
    clock: Clock,
    shared: Arc<Shared>,
    replica: Replica,
    log: TxnLog,
    folders: DataFolders,
    epochs: EpochFiles,
    members: KnownMembers,
    /// Whether it led when it served last.
    led: bool,
    mark: DurableMark,
    retention: Retention,
    mail: Mail,
    intake: VecDeque<Item>,
    /// The disk is at work for a batch.
    syncing: bool,
    /// A bug: the replica was told before the disk was done.
    told_early: bool,
    /// A bug: an epoch that was promised and is not written.
    unwritten_accepted: Option<protocol::Epoch>,
    next_tick_ms: u64,
    wake_at_us: u64,
    mesh: Mesh,
    links: BTreeMap<LinkId, Link>,
    last_link: u64,
    clients: ClientPort,
    file_snapshot: Option<SnapshotStart>,
    transfer: Option<Transfer>,
    log_transfers: LogTransfers,
}

impl Member {
    fn now(&self, scene: &Scene) -> Now {
        self.clock.now(scene.schedule.now_us())
    }

    /// What the server is to its ensemble.
    pub fn role(&self) -> ServerRole {
        self.shared.status.role()
    }

    /// Whether it was elected, and leads or tries to.
    pub fn is_elected(&self) -> bool {
        self.replica.peer().state() == ServerState::Leading
    }

    /// Whether clients are served.
    pub fn is_serving(&self) -> bool {
        matches!(self.role(), ServerRole::Leader | ServerRole::Follower | ServerRole::Observer)
    }

    /// What readers see.
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// In words, for a run that does not come to an end.
    pub fn describe(&self) -> String {
        let peer = self.replica.peer();
        format!(
            "server {} is {:?} ({:?}), {:?}, members {:x?}, log to {}, committed {}, applied {}, {} in progress",
            self.me,
            self.role(),
            peer.state(),
            peer.epochs(),
            self.members.stored(),
            peer.history().last(),
            peer.history().committed(),
            self.shared.tree().last_zxid(),
            self.replica.in_progress(),
        )
    }

    /// The first steps of a server that was just put together.
    pub fn begin(&mut self, scene: &mut Scene) -> Result<(), Trouble> {
        scene.network.machine_serves(self.life.host, self.life.life);
        self.carry_out(scene)?;
        self.wake_within(scene, 0);
        scene.schedule.after(1_000_000, Event::KeepHouse(self.life));
        Ok(())
    }

    /// Looks for work in at most so many microseconds.
    fn wake_within(&mut self, scene: &mut Scene, delay_us: u64) {
        let at_us = scene.schedule.now_us() + delay_us;
        if at_us < self.wake_at_us {
            self.wake_at_us = at_us;
            scene.schedule.at(at_us, Event::Wake(self.life));
        }
    }

    fn push(&mut self, scene: &mut Scene, item: Item) {
        self.intake.push_back(item);
        let delay_us = scene.random.below(300);
        self.wake_within(scene, delay_us);
    }

    /// Takes in a batch, if there is one and the core is free.
    pub fn wake(&mut self, scene: &mut Scene) -> Result<(), Trouble> {
        if scene.schedule.now_us() < self.wake_at_us {
            // An earlier plan, from before a later one replaced it.
            return Ok(());
        }
        self.wake_at_us = u64::MAX;
        if self.syncing {
            return Ok(());
        }
        for item in std::mem::take(&mut self.intake) {
            self.take_in(scene, item)?;
        }
        let now = self.now(scene);
        let due = self.replica.deadline_ms().is_some_and(|deadline_ms| deadline_ms <= now.monotonic_ms);
        if due || now.monotonic_ms >= self.next_tick_ms {
            self.step(scene, Input::Tick)?;
            self.next_tick_ms = now.monotonic_ms + tick_interval_ms(scene.options.replica.tick_ms);
        }
        self.end_batch(scene)
    }

    /// One step of the replica, and what it wants done for the ensemble.
    fn step(&mut self, scene: &mut Scene, input: Input<'_>) -> Result<(), Trouble> {
        self.step_only(scene, input);
        self.carry_out(scene)
    }

    fn step_only(&mut self, scene: &Scene, input: Input<'_>) {
        let now = self.now(scene);
        let Member { replica, mail, .. } = self;
        replica.step(now, input, &mut |outputs: &mut Outputs| mail.take(outputs));
    }

    fn take_in(&mut self, scene: &mut Scene, item: Item) -> Result<(), Trouble> {
        match item {
            Item::Connect { connection, payload, ids } => {
                self.step(scene, Input::Connect { connection, payload: &payload, ids })
            }
            Item::Request { connection, xid, op, body, received_ms } => {
                self.step(scene, Input::Request { connection, xid, op, body: &body, received_ms })
            }
            Item::Relay { connection, frame, close, received_ms } => {
                self.step(scene, Input::Relay { connection, frame: &frame, close, received_ms })
            }
            Item::Authenticated { connection, ids } => {
                self.step(scene, Input::Authenticated { connection, ids })
            }
            Item::Disconnected { connection } => self.step(scene, Input::Disconnected { connection }),
            Item::SnapshotEnded => self.step(scene, Input::SnapshotEnded),
            Item::Peer(input) => {
                scene.note(|| format!("{} takes in {}", self.me, brief(&input)));
                self.before_input(scene, &input)?;
                self.step(scene, Input::Peer(input))
            }
            Item::Received { link, tree, received, history } => {
                self.install(scene, link, *tree, received, &history)
            }
        }
    }

    /// The moment in which a history changes hands: an ambush may wait here, and a planted bug.
    fn before_input(&mut self, scene: &mut Scene, input: &PeerInput) -> Result<(), Trouble> {
        let PeerInput::FromLeader(_, FromLeader::NewLeader { epoch, .. }) = input else { return Ok(()) };
        if scene.options.bug == Some(Bug::EpochBeforeHistory) {
            self.epochs.set_current(*epoch).map_err(must_stop)?;
        }
        if std::mem::take(&mut scene.ambush) {
            let delay_us = scene.random.below(scene.options.sync_us_max);
            scene.schedule.after(delay_us, Event::Ambush(self.life));
        }
        Ok(())
    }

    /// Logs what is new; then the disk has its time.
    fn end_batch(&mut self, scene: &mut Scene) -> Result<(), Trouble> {
        self.append_new(scene)?;
        if !self.more_to_log() {
            return self.let_out(scene);
        }
        if scene.options.bug == Some(Bug::SyncedBeforeSync) {
            self.told_early = true;
            let up_to = self.log.last_appended();
            self.tell_synced(scene, up_to)?;
        }
        // While the disk is at work the tree can be read: a new leader has applied what it inherits.
        self.observe(scene)?;
        self.syncing = true;
        let takes_us = scene.random.below(scene.options.sync_us_max) + 1;
        scene.schedule.after(takes_us, Event::Synced(self.life));
        Ok(())
    }

    /// Logs what the replica has ordered since.
    fn append_new(&mut self, scene: &mut Scene) -> Result<(), Trouble> {
        while let Some((zxid, envelope)) = self.replica.next_unlogged() {
            let envelope = Bytes::copy_from_slice(envelope);
            self.append(scene, zxid, envelope)?;
        }
        Ok(())
    }

    fn append(&mut self, scene: &mut Scene, zxid: Zxid, envelope: Bytes) -> Result<(), Trouble> {
        scene.note(|| format!("{} appends {zxid}", self.me));
        self.log.append(zxid, &envelope).map_err(log_trouble)?;
        scene.oracle.on_appended(self.life.host, zxid, envelope);
        Ok(())
    }

    /// The disk has done what the batch asked for.
    pub fn on_disk_done(&mut self, scene: &mut Scene) -> Result<(), Trouble> {
        if !std::mem::take(&mut self.syncing) {
            return Ok(());
        }
        self.sync(scene)?;
        self.let_out(scene)
    }

    fn sync(&mut self, scene: &mut Scene) -> Result<(), Trouble> {
        let up_to = self.log.sync().map_err(log_trouble)?;
        scene.oracle.on_synced(self.life.host, up_to);
        Ok(())
    }

    /// Lets out what waited for the log.
    fn let_out(&mut self, scene: &mut Scene) -> Result<(), Trouble> {
        if !std::mem::take(&mut self.told_early) {
            let up_to = self.log.last_synced();
            self.tell_synced(scene, up_to)?;
        }
        if self.more_to_log() {
            return self.end_batch(scene);
        }
        let delay_us = self.until_deadline_us(scene);
        self.wake_within(scene, if self.intake.is_empty() { delay_us } else { 0 });
        Ok(())
    }

    fn more_to_log(&self) -> bool {
        self.log.last_appended() != self.log.last_synced()
    }

    fn tell_synced(&mut self, scene: &mut Scene, up_to: Zxid) -> Result<(), Trouble> {
        self.step(scene, Input::Synced { up_to })?;
        // What this step has ordered is logged with the next batch, at once.
        self.append_new(scene)?;
        self.observe(scene)?;
        self.deliver(scene)?;
        self.take_facts(scene)
    }

    fn until_deadline_us(&self, scene: &Scene) -> u64 {
        let tick_us = self.clock.true_us(self.next_tick_ms);
        let deadline_us = self.replica.deadline_ms().map_or(u64::MAX, |at_ms| self.clock.true_us(at_ms));
        tick_us.min(deadline_us).saturating_sub(scene.schedule.now_us()).max(1)
    }

    /// Holds what is there against what is promised.
    fn observe(&mut self, scene: &mut Scene) -> Result<(), Trouble> {
        let tree = self.shared.tree();
        scene.oracle.check_digest(self.life.host, &tree)?;
        if self.is_serving() {
            if self.role() == ServerRole::Leader {
                scene.oracle.on_leading(self.replica.peer().epochs().current, self.me)?;
            }
            scene.oracle.on_serving(self.life.host, tree.last_zxid())?;
        }
        Ok(())
    }

    fn take_facts(&mut self, scene: &mut Scene) -> Result<(), Trouble> {
        for fact in std::mem::take(&mut self.mail.facts) {
            match &fact {
                Fact::SnapshotDue(start) => {
                    scene.note(|| format!("{} is due for snapshot {}", self.me, start.zxid));
                }
                fact => scene.note(|| format!("{} says {fact:?}", self.me)),
            }
            match fact {
                Fact::SnapshotDue(start) => self.plan_snapshot(scene, *start)?,
                Fact::DigestMismatch { zxid, expected, found } => {
                    let detail = format!("server {} finds {found:#x} for {expected:#x} at {zxid}", self.me);
                    return Err(Violation::new("digest", detail).into());
                }
                Fact::BadPeer { why, .. } => {
                    let detail = format!("server {} complains of another: {why}", self.me);
                    return Err(Violation::new("peers", detail).into());
                }
                Fact::BadHandshake { connection } => {
                    let detail = format!("server {} did not understand {connection:?}", self.me);
                    return Err(Violation::new("handshake", detail).into());
                }
                Fact::RoleChanged(role) => self.note_role(scene, role)?,
                Fact::EpochBegan(_) => scene.oracle.tally.note("leader went on in another epoch"),
                Fact::ClientAhead { .. } => {
                    scene.oracle.tally.note("client sent on to a server that is not behind")
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn note_role(&mut self, scene: &mut Scene, role: Role) -> Result<(), Trouble> {
        scene.oracle.tally.note_role(role, self.led);
        match role {
            Role::Leading { epoch } => {
                self.led = true;
                scene.leader = Some(self.me);
                let version = self.replica.peer().membership().version;
                scene.oracle.memberships.on_established(epoch, self.me, version)?;
            }
            Role::Learning { .. } => self.led = false,
            Role::Looking { .. } | Role::Preparing | Role::Joining { .. } => {}
        }
        Ok(())
    }

    /// Notes how far the log is durable, and removes what is not needed any more.
    pub fn keep_house(&mut self, scene: &mut Scene) {
        let _ = self.mark.note_durable(self.log.last_synced());
        self.watch_over_trees(scene);
        if scene.random.chance(1, 10) {
            let any = purge(&mut self.retention, &self.folders);
            scene.oracle.tally.note_if(any, "old files purged");
        }
        scene.schedule.after(1_000_000, Event::KeepHouse(self.life));
    }

    /// Something has come over a connection, or that is gone.
    pub fn on_arrival(
        &mut self,
        scene: &mut Scene,
        end: EndOf,
        port: Port,
        arrival: Arrival,
    ) -> Result<(), Trouble> {
        match (port, arrival) {
            (Port::Election, arrival) => self.on_mesh_arrival(scene, end, arrival),
            (Port::Quorum { .. } | Port::Observers { .. }, Arrival::Packet(packet)) => {
                return self.on_link_packet(scene, end, packet);
            }
            (Port::Quorum { .. } | Port::Observers { .. }, Arrival::Closed) => self.on_link_gone(scene, end),
            (Port::Client, Arrival::Packet(Packet::Frame(frame))) => return self.on_frame(scene, end, frame),
            (Port::Client, _) => self.on_client_gone(scene, end),
        }
        Ok(())
    }

    /// A connection stands: this server has dialed it, or accepted it.
    pub fn on_connected(&mut self, scene: &mut Scene, end: EndOf, port: Port, other: Option<usize>) {
        match port {
            Port::Election => self.on_mesh_connected(scene, end, other),
            Port::Quorum { link } => {
                self.on_link_connected(scene, end, link, PeerInput::LearnerConnected);
            }
            Port::Observers { link } => {
                self.on_link_connected(scene, end, link, PeerInput::ObserverConnected);
            }
            Port::Client => self.on_client_connected(end),
        }
    }

    /// A dial has failed.
    pub fn on_dial_failed(&mut self, scene: &mut Scene, to: usize, port: Port) {
        match port {
            Port::Election => self.mesh.on_dial_failed(to),
            Port::Quorum { link } | Port::Observers { link } => {
                let link = LinkId::new(link);
                if self.links.remove(&link).is_some() {
                    self.push(scene, Item::Peer(PeerInput::LinkClosed(link)));
                }
            }
            Port::Client => {}
        }
    }
}

impl Mail {
    fn take(&mut self, outputs: &mut Outputs) {
        self.facts.append(&mut outputs.facts);
        let shift = self.bytes.len();
        self.bytes.extend_from_slice(&outputs.bytes);
        for delivery in outputs.deliveries.drain(..) {
            self.deliveries.push(match delivery {
                Delivery::Bytes { connection, range, completed, latency_sum_ms, latency_max_ms } => {
                    let range = range.start + shift..range.end + shift;
                    Delivery::Bytes { connection, range, completed, latency_sum_ms, latency_max_ms }
                }
                other => other,
            });
        }
    }
}

fn must_stop(error: impl std::fmt::Display) -> Trouble {
    Trouble::MustStop(error.to_string())
}

/// A disk that fails stops the server; an order that the log refuses should never have been given.
fn log_trouble(error: TxnLogError) -> Trouble {
    match error {
        TxnLogError::Disk(_) => must_stop(error),
        other => Violation::new("log", other.to_string()).into(),
    }
}

/// An input without the bytes that it carries.
fn brief(input: &PeerInput) -> String {
    use protocol::peer::FromLeader::{Inform, Proposal};
    match input {
        PeerInput::FromLeader(link, Proposal { zxid, .. }) => format!("link {link}: PROPOSAL {zxid}"),
        PeerInput::FromLeader(link, Inform { zxid, .. }) => format!("link {link}: INFORM {zxid}"),
        PeerInput::Notification { from, notification } => {
            let (state, vote, round) = (notification.state, notification.vote, notification.round);
            format!("from {from}: {state:?} {vote:?} round {round}")
        }
        other => format!("{other:?}"),
    }
}
