//! The core thread's hands towards the ensemble: carries out what the replica wants of the disk and of other servers.

mod gate;
mod log_transfer;
mod members;
mod observer_masters;
mod transfer;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;
use protocol::peer::membership::ClientEndpoint;
use protocol::peer::{LearnerKind, Membership, Notification};
use protocol::{ServerId, Zxid};
use replica::{Input, Outlet, PeerInput, PeerOutput, Replica};
use storage::directory::DataFolders;
use storage::disk::DiskError;
use storage::durable_mark::DurableMark;
use storage::epoch_files::EpochFiles;
use storage::recovery::{RecoveryError, RecoveryOptions, recover};
use storage::snapshot::ReceivedSnapshot;
use storage::truncate::{TruncateError, adopt_snapshot, truncate};
use storage::txn_log::{TxnLog, TxnLogError, TxnLogOptions};
use tracing::{info, warn};
use tree::Tree;
use zab::{Action, LinkId};

pub use self::gate::{Gate, Notices};
use self::log_transfer::LogTransfer;
pub use self::members::{Change, Members};
use self::observer_masters::ObserverMasters;
use crate::client_port::door;
use crate::context::{ServerContext, Standing};
use crate::dynamic_config::DynamicConfigError;
use crate::peer_port::{PeerHandle, PeerPort, StreamWriter};
use crate::recovery_target::TreeTarget;

/// What this server can not go on without.
#[derive(Debug, thiserror::Error)]
pub enum EnsembleError {
    /// The log cannot be written.
    #[error(transparent)]
    Log(#[from] TxnLogError),
    /// An epoch cannot be written, so nothing can be promised or acknowledged.
    #[error("cannot write an epoch file: {0}")]
    Epoch(DiskError),
    /// The leader wants the end of the log to go, and that failed.
    #[error("cannot cut the log behind {to} as the leader wants: {source}")]
    Truncate {
        /// What is to stay.
        to: Zxid,
        /// Why.
        source: TruncateError,
    },
    /// What is left on the disk cannot be read.
    #[error("cannot recover after cutting the log: {0}")]
    Recover(#[from] RecoveryError),
    /// The snapshot that the leader sent cannot take the place of everything else.
    #[error("cannot put the leader's snapshot into effect: {0}")]
    Adopt(TruncateError),
    /// The members change, and this server would not know it after a restart. It must not go on: a membership that
    /// it has acknowledged counts on it, and one that it has forgotten could elect a second leader.
    #[error("the members of the ensemble change, and this server cannot keep that: {0}")]
    Members(#[from] DynamicConfigError),
}

/// What storage work of the ensemble needs.
pub struct EnsembleStorage {
    /// The folders.
    pub folders: Arc<DataFolders>,
    /// How the log is opened again.
    pub log_options: TxnLogOptions,
    /// How data is recovered again.
    pub recovery_options: RecoveryOptions,
    /// How far the log is known to be durable; the housekeeper writes it too.
    pub mark: Arc<Mutex<DurableMark>>,
}

/// One per member, owned by the core thread.
pub struct Ensemble {
    server: Arc<ServerContext>,
    storage: EnsembleStorage,
    epochs: EpochFiles,
    members: Members,
    /// Keeps the sockets open.
    _port: PeerPort,
    handle: PeerHandle,
    notices: Arc<Notices>,
    /// Packets of this turn, by link: each goes to its link in one piece.
    outgoing: BTreeMap<LinkId, Vec<u8>>,
    /// Where followers serve observers; none in an ensemble where they do not.
    masters: Option<ObserverMasters>,
    /// Links that wait for a snapshot to begin.
    writers: BTreeMap<LinkId, StreamWriter>,
    log_transfer: LogTransfer,
    outputs: Vec<PeerOutput>,
}

impl Ensemble {
    /// Puts the parts together.
    pub fn new(
        server: Arc<ServerContext>,
        storage: EnsembleStorage,
        members: Members,
        notices: Arc<Notices>,
        (port, handle): (PeerPort, PeerHandle),
    ) -> Ensemble {
        let port_for_observers =
            server.settings.ensemble.as_ref().and_then(|ensemble| ensemble.observer_master_port);
        let epochs = EpochFiles::new(Arc::clone(storage.folders.disk()), storage.folders.snapshots());
        let log_transfer = LogTransfer::new(Arc::clone(&server));
        Ensemble {
            server,
            storage,
            epochs,
            members,
            _port: port,
            handle,
            notices,
            outgoing: BTreeMap::new(),
            masters: port_for_observers.map(ObserverMasters::new),
            writers: BTreeMap::new(),
            log_transfer,
            outputs: Vec::new(),
        }
    }

    /// The newest that a server has said on the election port.
    pub fn notice(&self, from: ServerId) -> Option<Notification> {
        self.notices.take(from)
    }

    /// Messages of so many bytes have been taken from a link.
    pub fn processed(&self, link: LinkId, bytes: usize) {
        self.handle.received_processed(link, bytes);
    }

    /// Carries out everything that the replica wants, in order. Whether there was anything.
    pub fn carry_out(
        &mut self,
        replica: &mut Replica,
        log: &mut TxnLog,
        outlet: &mut dyn Outlet,
    ) -> Result<bool, EnsembleError> {
        let mut any = false;
        loop {
            let mut outputs = std::mem::take(&mut self.outputs);
            replica.take_peer_outputs(&mut outputs);
            if outputs.is_empty() {
                self.outputs = outputs;
                return Ok(any);
            }
            any = true;
            for output in outputs.drain(..) {
                match output {
                    PeerOutput::Do(action) => {
                        let now = self.server.clock.now();
                        match self.act(action, log)? {
                            After::Nothing => {}
                            After::Reloaded => replica.step(now, Input::Peer(PeerInput::Reloaded), outlet),
                            After::TruncateFailed => {
                                replica.step(now, Input::Peer(PeerInput::TruncateFailed), outlet);
                            }
                        }
                    }
                    PeerOutput::AwaitSnapshot { link } => {
                        self.pass_to_link(link);
                        self.writers.insert(link, self.handle.send_stream(link));
                    }
                    PeerOutput::SendSnapshot { link, start } => {
                        let writer = self.writers.remove(&link);
                        transfer::send(&self.server, link, writer, *start);
                    }
                }
            }
            self.outputs = outputs;
        }
    }

    /// Lets everything that was said leave.
    pub fn flush(&mut self) {
        for (&link, packets) in &mut self.outgoing {
            if !packets.is_empty() {
                self.handle.write(link, |out| out.append(packets));
            }
        }
        self.handle.flush();
    }

    fn act(&mut self, action: Action, log: &mut TxnLog) -> Result<After, EnsembleError> {
        match action {
            Action::StoreAcceptedEpoch(epoch) => {
                self.epochs.set_accepted(epoch).map_err(EnsembleError::Epoch)?;
            }
            Action::StoreCurrentEpoch(epoch) => {
                self.epochs.set_current(epoch).map_err(EnsembleError::Epoch)?;
            }
            Action::Append { zxid, envelope } => log.append(zxid, &envelope)?,
            Action::Truncate { to, reload } => {
                if !self.truncate(to, log)? {
                    return Ok(After::TruncateFailed);
                }
                if reload {
                    self.reload()?;
                    return Ok(After::Reloaded);
                }
            }
            Action::StoreProposed(membership) => {
                self.members.propose(membership)?;
                self.handle.set_members(self.members.addresses());
            }
            Action::ForgetProposed => {
                self.members.forget_proposed()?;
                self.handle.set_members(self.members.addresses());
            }
            Action::Activate(membership) => self.activate(membership)?,
            Action::Notify { to, notification } => self.handle.notify(to, &notification),
            Action::ConnectPeers => self.handle.connect_all(),
            Action::ConnectLeader { link, leader, kind, within_ms, failed_before } => {
                self.connect(link, (leader, kind), within_ms.min(self.connect_ms()), failed_before);
            }
            Action::ToLearner { link, message } => message.encode(self.outgoing.entry(link).or_default()),
            Action::ToLeader { link, message } => message.encode(self.outgoing.entry(link).or_default()),
            Action::ConsultLog { link, last, up_to } => self.log_transfer.consult(link, last, up_to),
            Action::SendLog { link, after, up_to } => {
                self.pass_to_link(link);
                let writer = self.handle.send_stream(link);
                self.log_transfer.send(link, writer, after, up_to);
            }
            Action::Close { link, why } => {
                self.forget(link);
                self.handle.close(link, why);
            }
            Action::Committed { .. }
            | Action::SendSnapshot { .. }
            | Action::SyncDone { .. }
            | Action::EpochBegan { .. }
            | Action::Became(_) => {
                unreachable!("the replica keeps these to itself")
            }
        }
        Ok(After::Nothing)
    }

    /// Dials the leader, or, for an observer in an ensemble whose followers serve those, the next follower.
    fn connect(
        &mut self,
        link: LinkId,
        (leader, kind): (ServerId, LearnerKind),
        within_ms: u64,
        failed_before: u32,
    ) {
        let masters = self.masters.as_mut().filter(|_| kind == LearnerKind::Observer);
        let master = masters.and_then(|masters| masters.next(self.members.in_force(), leader, failed_before));
        let learns_from = master.as_ref().map_or(leader, |(master, _)| *master);
        self.server.stats.learns_from.store(learns_from.get(), Ordering::Relaxed);
        if let Some((master, addresses)) = master {
            info!(%master, %leader, "this observer goes to a follower");
            return self.handle.connect_observer_master(link, addresses, within_ms);
        }
        let member = self.members.find(leader);
        let addresses = member.map_or(&[][..], |member| &member.addresses);
        let addresses = addresses.iter().map(|address| (address.host.clone(), address.quorum_port));
        self.handle.connect_leader(link, addresses.collect(), within_ms);
    }

    /// Other members count from now on, and they and this server itself may be elsewhere.
    fn activate(&mut self, membership: Arc<Membership>) -> Result<(), EnsembleError> {
        let version = membership.version;
        let change = self.members.activate(membership)?;
        let in_force = self.members.in_force();
        info!(
            version = format!("{version:x}"),
            members = in_force.members.len(),
            "these are the members from now on"
        );
        if let Some(standing) = &self.server.standing {
            let own = self.members.own().clone();
            *standing.write() = Standing { membership: Arc::clone(in_force), own };
        }
        self.handle.set_members(self.members.addresses());
        let Change { before, after } = change;
        let Some(after) = after else {
            warn!(
                "this server is not among the members: it follows without a vote, and does not start again before \
                 reconfig makes it a member; stop it if it was taken out for good"
            );
            return Ok(());
        };
        // Who votes serves observers.
        let serves = self.masters.is_some() && after.role != before.role;
        if after.addresses != before.addresses || serves {
            self.handle.rebind(after.clone());
        }
        if after.client != before.client {
            self.move_client_port(version, after.client);
        }
        if after.secure_client != before.secure_client && after.secure_client.is_some() {
            warn!("the line of this server has a TLS port for clients, which is not opened in this release");
        }
        Ok(())
    }

    fn move_client_port(&self, version: i64, to: Option<ClientEndpoint>) {
        match to {
            Some(to) => door::move_to(&self.server, version, to),
            None => warn!(
                "the line of this server has no address for clients any more: they are served where they were until \
                 it is started again, and then it needs a clientPort in its configuration file"
            ),
        }
    }

    /// How long connecting to a leader may take (`connectToLearnerMasterLimit`).
    fn connect_ms(&self) -> u64 {
        let settings = self.server.settings.ensemble.as_ref();
        settings.map_or(u64::MAX, |ensemble| {
            u64::from(ensemble.tick_ms) * u64::from(ensemble.connect_to_learner_master_limit)
        })
    }

    /// The link is gone: nothing more is kept for it.
    pub fn forget(&mut self, link: LinkId) {
        self.outgoing.remove(&link);
        self.writers.remove(&link);
    }

    fn pass_to_link(&mut self, link: LinkId) {
        if let Some(packets) = self.outgoing.get_mut(&link).filter(|packets| !packets.is_empty()) {
            self.handle.write(link, |out| out.append(packets));
        }
    }

    /// Opens the log anew behind `last`, after what was in it has changed.
    fn reopen(&self, last: Zxid, log: &mut TxnLog) {
        let folders = &self.storage.folders;
        let options = self.storage.log_options.clone();
        *log = TxnLog::open(Arc::clone(folders.disk()), folders.logs(), last, options);
        self.server.durable_zxid.store(last.to_wire(), Ordering::SeqCst);
    }

    /// Whether the log ends at `to` now.
    fn truncate(&mut self, to: Zxid, log: &mut TxnLog) -> Result<bool, EnsembleError> {
        log.sync()?;
        let mut mark = self.storage.mark.lock();
        let max = self.server.settings.limits.record_bytes_max as usize;
        match truncate(&self.storage.folders, to, max, &mut mark) {
            Ok(last) => {
                self.reopen(last, log);
                info!(%to, %last, "the end of the log was cut as the leader wants: it was never committed");
                Ok(last == to)
            }
            Err(source @ TruncateError::Disk(_)) => Err(EnsembleError::Truncate { to, source }),
            Err(error) => {
                warn!(%to, %error, "cannot cut the log as the leader wants; a whole snapshot will take its place");
                Ok(false)
            }
        }
    }

    /// A leader's tree has come too late.
    pub fn discard(&self, received: ReceivedSnapshot) {
        if let Err(error) = received.discard(&**self.storage.folders.disk()) {
            warn!(%error, "cannot remove a snapshot that is not wanted any more; the next start will");
        }
    }

    fn reload(&mut self) -> Result<(), EnsembleError> {
        let mut target = TreeTarget::empty();
        let recovered = recover(&self.storage.folders, &self.storage.recovery_options, &mut target)?;
        for warning in &recovered.warnings {
            warn!("{warning}");
        }
        self.server.shared.replace_tree(target.into_tree());
        Ok(())
    }

    /// The tree that a leader sent takes the place of everything else.
    pub fn adopt(
        &mut self,
        tree: Tree,
        received: ReceivedSnapshot,
        log: &mut TxnLog,
    ) -> Result<(), EnsembleError> {
        let zxid = tree.last_zxid();
        log.sync()?;
        let max = self.server.settings.limits.record_bytes_max as usize;
        let mut mark = self.storage.mark.lock();
        adopt_snapshot(&self.storage.folders, received, max, &mut mark).map_err(EnsembleError::Adopt)?;
        self.reopen(zxid, log);
        drop(mark);
        self.server.stats.last_snapshot_zxid.store(zxid.to_wire(), Ordering::Relaxed);
        self.server.shared.replace_tree(tree);
        Ok(())
    }
}

/// What an action leaves to be told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    Nothing,
    /// The tree is another one.
    Reloaded,
    /// The log could not be cut.
    TruncateFailed,
}
