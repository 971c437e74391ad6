//! Starting and stopping a server: every thread is started and joined here.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use bytes::Bytes;
use mio::net::TcpListener;
use mio::{Poll, Waker};
use parking_lot::{Mutex, RwLock};
use protocol::peer::{LearnerKind, MemberRole};
use protocol::{ServerId, Zxid};
use replica::{Replica, ReplicaSettings, Shared};
use storage::directory::{DataFolders, DirectoryError, MissingFolders};
use storage::durable_mark::DurableMark;
use storage::real_disk::RealDisk;
use storage::recovery::{
    EmptyFolders, LogsWithoutSnapshot, Recovered, RecoveryError, RecoveryOptions, recover,
};
use storage::snapshot::{Compression, SnapshotWriteError, write_snapshot};
use storage::txn_log::{Durability, TxnLog, TxnLogOptions};
use tracing::{info, warn};
use tree::{AuthRules, DigestAlgorithm, Rules, Tree};
use zab::quorum::QuorumError;
use zab::{Epochs, Peer, PeerSettings};

use crate::client_port::door::{Door, ListenError, listen};
use crate::client_port::io_thread::{BELL, IoThread};
use crate::client_port::registry::Registry;
use crate::clock::Clock;
use crate::config::{EnsembleSettings, Settings, SnapshotCompression};
use crate::context::{ClientLimits, ServerContext, Standing};
use crate::driver::{self, Driver, Fatal};
use crate::dynamic_config::{DynamicConfig, DynamicConfigError};
use crate::ensemble::{Ensemble, EnsembleStorage, Gate, Members, Notices};
use crate::housekeeping;
use crate::intake::Intake;
use crate::mailbox::Mailbox;
use crate::peer_port::{PeerPort, PeerPortSettings};
use crate::post_office::PostOffice;
use crate::recovery_target::TreeTarget;
use crate::snapshots::{Snapshots, head, next_chunk};
use crate::stats::ServerStats;

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The port is not to be had.
    #[error("{0}; is another server running there? --port or clientPort chooses another port")]
    Listen(#[from] ListenError),
    /// The data cannot be used.
    #[error(transparent)]
    Storage(#[from] RecoveryError),
    /// A folder cannot be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// There is no data, and the operator has not said that a new server is meant.
    #[error(
        "{} has no data and db.autocreate is off: restore the data, or put an empty file named initialize into the \
         data folder to begin with an empty tree",
        .folder.display()
    )]
    NoData {
        /// Where the snapshots should be.
        folder: std::path::PathBuf,
    },
    /// The first snapshot cannot be written.
    #[error("cannot write the first snapshot: {0}")]
    FirstSnapshot(SnapshotWriteError),
    /// The ports for other servers are not to be had.
    #[error("cannot open the ports for other servers, {addresses}: {source}")]
    PeerPort {
        /// Which.
        addresses: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// The members cannot be counted.
    #[error(transparent)]
    Quorum(#[from] QuorumError),
    /// Members can change, and that could not be kept.
    #[error(transparent)]
    DynamicConfig(#[from] DynamicConfigError),
    /// The operating system refuses something else.
    #[error("cannot {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
}

/// A running server.
pub struct Server {
    context: Arc<ServerContext>,
    core: Option<JoinHandle<()>>,
    others: Vec<JoinHandle<()>>,
    mailboxes: Vec<Arc<Mailbox>>,
    failures: Receiver<Failure>,
    failure_sender: Sender<Failure>,
    recovered: Zxid,
}

/// What ended a server that was not told to stop.
#[derive(Debug)]
pub enum Failure {
    /// The core gave up.
    Core(Fatal),
    /// An I/O thread gave up.
    Io(io::Error),
    /// A thread panicked: a bug, and nothing that it owned can be trusted.
    Panic(&'static str),
    /// Nothing failed: somebody asked through [`Server::stopper`].
    Asked,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Core(error) => write!(f, "{error}"),
            Failure::Io(error) => write!(f, "an I/O thread failed: {error}"),
            Failure::Panic(thread) => write!(f, "the {thread} thread met a bug in Ferrokeeper and ended"),
            Failure::Asked => write!(f, "asked to stop"),
        }
    }
}

/// Asks a server to stop, from any thread.
#[derive(Clone)]
pub struct Stopper(Sender<Failure>);

impl Stopper {
    /// [`Server::wait`] returns.
    pub fn stop(&self) {
        let _ = self.0.send(Failure::Asked);
    }
}

impl Server {
    /// Recovers the data, opens the port, starts the threads.
    pub fn start(settings: Settings) -> Result<Server, RunError> {
        let clock = Clock::start();
        let listener = listen(&settings.client_port)?;
        let client_address = listener.local_addr().map_err(system("read the address of the client port"))?;
        let folders = Arc::new(open_folders(&settings)?);
        let (tree, recovered, tail) = recover_tree(&folders, &settings)?;
        let last =
            recovered.last_zxid.ok_or_else(|| RunError::NoData { folder: folders.snapshots().into() })?;
        let disk = Arc::clone(folders.disk());
        let log = TxnLog::open(disk, folders.logs(), last, log_options(&settings));

        let rules = rules(&settings);
        let replica_settings = replica_settings(&settings, rules.clone());
        let shared = Arc::new(Shared::new(tree, rules, replica_settings.tick_ms));
        let context =
            Arc::new(context(settings, Arc::clone(&shared), clock, client_address, Arc::clone(&folders)));
        context.durable_zxid.store(last.to_wire(), Ordering::Relaxed);
        let mark = Arc::new(Mutex::new(recovered.durable_mark));
        let epochs = Epochs { accepted: recovered.accepted_epoch, current: recovered.current_epoch };
        let now = context.clock.now();
        let (mut replica, ensemble) = match &context.settings.ensemble {
            None => (Replica::new(shared, replica_settings, now), None),
            Some(settings) => {
                let EnsembleSettings { membership, proposed, .. } = settings.clone();
                let mut peer = Peer::member(peer_settings(settings), membership, proposed, epochs, last)?;
                peer.preload(tail);
                let ensemble = join_ensemble(&context, settings, Arc::clone(&mark))?;
                (Replica::member(shared, replica_settings, peer, now), Some(ensemble))
            }
        };
        replica.set_log_length(recovered.replayed);
        let snapshots = Snapshots::new(Arc::clone(&folders), compression(&context.settings));

        let mut server = {
            let (failure_sender, failures) = channel();
            Server {
                context,
                core: None,
                others: Vec::new(),
                mailboxes: Vec::new(),
                failures,
                failure_sender,
                recovered: last,
            }
        };
        if let Err(source) =
            server.start_threads(listener, (replica, log, snapshots, ensemble), folders, mark)
        {
            server.stop();
            return Err(RunError::System { what: "start the threads", source });
        }
        Ok(server)
    }

    fn start_threads(
        &mut self,
        listener: TcpListener,
        (replica, log, snapshots, ensemble): (Replica, TxnLog, Snapshots, Option<Ensemble>),
        folders: Arc<DataFolders>,
        mark: Arc<Mutex<DurableMark>>,
    ) -> io::Result<()> {
        let threads = self.context.settings.io_threads.get();
        let mut polls = Vec::new();
        let mut mailboxes = Vec::new();
        for _ in 0..threads {
            let poll = Poll::new()?;
            mailboxes.push(Arc::new(Mailbox::new(Waker::new(poll.registry(), BELL)?)));
            polls.push(poll);
        }
        let office = PostOffice::new(mailboxes.clone());
        self.mailboxes = mailboxes.clone();
        let driver = Driver::new(replica, log, office, Arc::clone(&self.context), snapshots, ensemble);
        self.core = Some(self.spawn("core", move || driver.run().map_err(Failure::Core))?);
        let context = Arc::clone(&self.context);
        let housekeeper = self.spawn("housekeeper", move || {
            housekeeping::run(&context, &folders, &mark);
            Ok(())
        })?;
        self.others.push(housekeeper);
        let mut listener = Some(listener);
        for (index, poll) in polls.into_iter().enumerate() {
            let thread =
                IoThread::new(index, poll, listener.take(), mailboxes.clone(), Arc::clone(&self.context))?;
            let handle = self.spawn("I/O", move || thread.run().map_err(Failure::Io))?;
            self.others.push(handle);
        }
        Ok(())
    }

    fn spawn(
        &self,
        name: &'static str,
        work: impl FnOnce() -> Result<(), Failure> + Send + 'static,
    ) -> io::Result<JoinHandle<()>> {
        let failures = self.failure_sender.clone();
        std::thread::Builder::new().name(name.into()).spawn(move || {
            // A panic must not leave a server that answers pings and does nothing else.
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
            match result {
                Ok(Ok(())) => {}
                Ok(Err(failure)) => drop(failures.send(failure)),
                Err(_) => drop(failures.send(Failure::Panic(name))),
            }
        })
    }

    /// Where clients connect.
    pub fn client_address(&self) -> SocketAddr {
        self.context.door.address()
    }

    /// Which server of its ensemble this is, and how many there are; `None` if it is alone.
    pub fn membership(&self) -> Option<(ServerId, usize)> {
        let me = self.context.settings.ensemble.as_ref()?.me;
        Some((me, self.context.standing.as_ref()?.read().membership.members.len()))
    }

    /// The last transaction found on the disk.
    pub fn recovered(&self) -> Zxid {
        self.recovered
    }

    /// How many znodes there are, as Java counts.
    pub fn node_count(&self) -> usize {
        self.context.shared.tree().node_count()
    }

    /// For the thread that hears of signals.
    pub fn stopper(&self) -> Stopper {
        Stopper(self.failure_sender.clone())
    }

    /// Waits until the server fails or is asked to stop.
    pub fn wait(&self) -> Failure {
        self.failures.recv().expect("the server itself holds a sender")
    }

    /// Ends all threads. What was acknowledged is durable anyway; what is in progress is finished first.
    pub fn stop(&mut self) {
        driver::stop(&self.context);
        if let Some(core) = self.core.take() {
            let _ = core.join();
        }
        for mailbox in &self.mailboxes {
            mailbox.ring();
        }
        for thread in self.others.drain(..) {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

fn system(what: &'static str) -> impl FnOnce(io::Error) -> RunError {
    move |source| RunError::System { what, source }
}

fn open_folders(settings: &Settings) -> Result<DataFolders, DirectoryError> {
    let missing =
        if settings.storage.create_directories { MissingFolders::Create } else { MissingFolders::Refuse };
    DataFolders::open(Arc::new(RealDisk), &settings.storage.data_dir, &settings.storage.data_log_dir, missing)
}

/// The end of a log: transactions with their zxids.
type LogTail = VecDeque<(Zxid, Bytes)>;

fn recover_tree(folders: &DataFolders, settings: &Settings) -> Result<(Tree, Recovered, LogTail), RunError> {
    let mut target = TreeTarget::empty();
    if let Some(ensemble) = &settings.ensemble {
        let entries_max = ensemble.commit_log_count.max(HISTORY_ENTRIES_LEAST) as usize;
        target = target.keep_tail(entries_max, HISTORY_BYTES_MAX);
    }
    let recovered = recover(folders, &recovery_options(settings), &mut target)?;
    for warning in &recovered.warnings {
        warn!("{warning}");
    }
    if target.digest_mismatches() > 0 {
        warn!(
            states = target.digest_mismatches(),
            "the recovered tree differs from the digests on the disk: was it written with other settings?"
        );
    }
    let tail = target.take_tail();
    let mut tree = target.into_tree();
    // In an ensemble nobody changes its tree alone: the leader has strays removed by a transaction.
    let strays = if settings.ensemble.is_none() { tree.remove_strays() } else { 0 };
    if strays > 0 {
        info!(nodes = strays, "ephemeral nodes of sessions that do not exist removed");
    }
    if recovered.snapshot_zxid.is_none() && recovered.last_zxid.is_some() {
        write_first_snapshot(folders, settings, &mut tree).map_err(RunError::FirstSnapshot)?;
        folders.remove_initialize_marker().map_err(RecoveryError::from)?;
    }
    Ok((tree, recovered, tail))
}

/// Nothing can be recovered from a log alone: there must be a snapshot before anything is logged.
fn write_first_snapshot(
    folders: &DataFolders,
    settings: &Settings,
    tree: &mut Tree,
) -> Result<(), SnapshotWriteError> {
    let start = tree.begin_snapshot();
    let mut cursor = start.cursor.clone();
    let head = head(&start, settings.tree.digest);
    let folder = folders.snapshots();
    write_snapshot(&**folders.disk(), folder, &head, compression(settings), |out| {
        next_chunk(tree, &mut cursor, out)
    })?;
    tree.end_snapshot();
    Ok(())
}

fn context(
    settings: Settings,
    shared: Arc<Shared>,
    clock: Clock,
    client_address: SocketAddr,
    folders: Arc<DataFolders>,
) -> ServerContext {
    let limits = &settings.limits;
    let registry = Registry::new(
        limits.connections_per_address_max.map_or(0, |most| most as usize),
        limits.connections_max.map_or(0, |most| most as usize),
    );
    let limits = ClientLimits {
        frame_bytes_max: limits.frame_bytes_max as usize,
        outstanding_max: limits.outstanding_requests_max as usize,
        sessionless_timeout_ms: u64::from(limits.handshake_timeout_ms),
    };
    let standing = settings.ensemble.as_ref().map(|EnsembleSettings { me, membership, .. }| {
        let own = membership.member(*me).expect("the configuration was checked for it").clone();
        RwLock::new(Standing { membership: Arc::new(membership.clone()), own })
    });
    ServerContext {
        door: Door::new(settings.client_port.clone(), client_address),
        standing,
        shared,
        intake: Arc::new(Intake::default()),
        registry,
        stats: ServerStats { last_snapshot_zxid: AtomicI64::new(-1), ..ServerStats::default() },
        clock,
        settings,
        limits,
        folders,
        durable_zxid: AtomicI64::new(0),
        stopping: AtomicBool::new(false),
        trace_mask: AtomicI64::new(crate::context::TRACE_MASK_DEFAULT),
    }
}

/// Committed transactions that are kept for learners that were away, if they fit [`HISTORY_BYTES_MAX`]; more than
/// `commitLogCount` asks for, because the alternative is the log on disk or a whole snapshot.
const HISTORY_ENTRIES_LEAST: u32 = 200_000;

/// What they may take: about 200,000 small ones.
const HISTORY_BYTES_MAX: usize = 32 << 20;

/// How long a quorum's choice waits for a better one (`FastLeaderElection.finalizeWait`).
const FINALIZE_WAIT_MS: u64 = 200;

/// See [`PeerSettings::join_pause_ms`]: up to a second.
const JOIN_PAUSE_MS: u64 = 50;

fn peer_settings(settings: &EnsembleSettings) -> PeerSettings {
    PeerSettings {
        me: settings.me,
        kind: match settings.role {
            MemberRole::Participant => LearnerKind::Follower,
            MemberRole::Observer => LearnerKind::Observer,
        },
        reconfig_enabled: settings.reconfig_enabled,
        tick_ms: u64::from(settings.tick_ms),
        init_limit: u64::from(settings.init_limit),
        sync_limit: u64::from(settings.sync_limit),
        finalize_wait_ms: FINALIZE_WAIT_MS,
        notification_interval_min_ms: u64::from(settings.notification_interval_min_ms),
        notification_interval_max_ms: u64::from(settings.notification_interval_max_ms),
        join_pause_ms: JOIN_PAUSE_MS,
        history_entries_max: settings.commit_log_count.max(HISTORY_ENTRIES_LEAST) as usize,
        history_bytes_max: HISTORY_BYTES_MAX,
        counter_max: settings.epoch_transactions_max,
    }
}

/// A transaction's two packets while an observer is brought in sync, apart from the transaction.
const SYNC_PACKETS_BYTES: usize = 64;

/// What is known of the history may wait for an observer at once, while it is brought in sync; and then as much as
/// `observerMaster.sizeLimit` says.
fn observer_outbox_bytes_max(settings: &EnsembleSettings) -> usize {
    let PeerSettings { history_entries_max, history_bytes_max, .. } = peer_settings(settings);
    history_bytes_max
        + history_entries_max * SYNC_PACKETS_BYTES
        + settings.observer_master_size_limit as usize
}

/// How often a learner dials its leader before it looks again (`Learner.connectToLeader`).
const LEARNER_CONNECT_ATTEMPTS: u32 = 5;

/// Opens the ports for other servers.
fn join_ensemble(
    context: &Arc<ServerContext>,
    settings: &EnsembleSettings,
    mark: Arc<Mutex<DurableMark>>,
) -> Result<Ensemble, RunError> {
    let files = match &context.settings.config_file {
        Some(file) if settings.reconfig_enabled => {
            let proposed = settings.proposed.as_ref().map(|proposed| proposed.version);
            Some(DynamicConfig::open(file, settings.me, proposed)?)
        }
        _ => None,
    };
    let members = Members::new(settings.me, settings.membership.clone(), settings.proposed.clone(), files);
    let own = members.own().clone();
    let addresses = own.to_string();
    let port_settings = PeerPortSettings {
        me: settings.me,
        own,
        listen_on_all: settings.listen_on_all_ips,
        election_bind_retries: settings.election_bind_retries.unwrap_or(0),
        connect_timeout_ms: settings.connection_timeout_ms,
        tick_ms: settings.tick_ms,
        init_limit: settings.init_limit,
        sync_limit: settings.sync_limit,
        observer_master_port: settings.observer_master_port,
        observer_outbox_bytes_max: observer_outbox_bytes_max(settings),
        learner_connect_attempts: LEARNER_CONNECT_ATTEMPTS,
        learner_connect_delay_ms: settings.learner_connect_delay_ms,
        packet_bytes_max: context.settings.limits.record_bytes_max as usize,
    };
    let notices = Arc::new(Notices::default());
    let gate = Arc::new(Gate::new(Arc::clone(context), Arc::clone(&notices)));
    let port = PeerPort::start(port_settings, members.addresses(), gate)
        .map_err(|source| RunError::PeerPort { addresses, source })?;
    let storage = EnsembleStorage {
        folders: Arc::clone(&context.folders),
        log_options: log_options(&context.settings),
        recovery_options: recovery_options(&context.settings),
        mark,
    };
    Ok(Ensemble::new(Arc::clone(context), storage, members, notices, port))
}

fn rules(settings: &Settings) -> Rules {
    let digest = settings.digest_auth.as_ref();
    Rules {
        auth: AuthRules {
            skip_acl: settings.tree.skip_acl,
            super_digest: digest
                .and_then(|digest| digest.super_digest.as_ref())
                .map(|digest| digest.as_str().into()),
            digest_enabled: digest.is_some(),
            digest_algorithm: digest.map_or(DigestAlgorithm::Sha1, |digest| digest.algorithm),
        },
        ttl_nodes: settings.tree.ttl_nodes,
        enforce_quota: settings.tree.enforce_quota,
        txn_digest: settings.tree.digest,
        close_session_paths: settings.tree.close_session_lists_nodes,
        reconfig_enabled: settings.tree.reconfig_enabled,
    }
}

/// How long a server looks for a leader before it serves reads, or a tick if that is longer (`QuorumPeer.run`).
const READ_ONLY_AFTER_MS: u64 = 2_000;

fn replica_settings(settings: &Settings, rules: Rules) -> ReplicaSettings {
    let sessions = &settings.sessions;
    ReplicaSettings {
        server: settings.ensemble.as_ref().map_or(ServerId::new(1), |ensemble| ensemble.me),
        tick_ms: u64::from(sessions.tick_ms),
        session_timeout_min_ms: i32::try_from(sessions.timeout_min_ms).unwrap_or(i32::MAX),
        session_timeout_max_ms: i32::try_from(sessions.timeout_max_ms).unwrap_or(i32::MAX),
        snapshot_transactions: u64::from(settings.storage.snapshot_after_transactions),
        snapshot_waits_for_growth: settings.storage.snapshot_waits_for_growth,
        snapshot_bytes: settings.storage.snapshot_after_log_bytes.unwrap_or(0),
        container_check_interval_ms: u64::from(settings.tree.reaper_interval_ms),
        container_never_used_max_ms: settings
            .tree
            .container_unused_ms_max
            .map_or(0, |most| i64::try_from(most).unwrap_or(i64::MAX)),
        containers_per_minute: u64::from(settings.tree.reaper_nodes_per_minute_max),
        local_sessions: settings.ensemble.as_ref().is_some_and(|ensemble| ensemble.local_sessions),
        local_sessions_upgrade: settings
            .ensemble
            .as_ref()
            .is_some_and(|ensemble| ensemble.local_sessions_upgrade),
        read_only_after_ms: settings.read_only_mode.then(|| READ_ONLY_AFTER_MS.max(sessions.tick_ms.into())),
        seed: getrandom::u64().unwrap_or(1),
        rules,
        // One that votes would be a server alone, which is none of an ensemble.
        voters_min: settings
            .ensemble
            .as_ref()
            .map_or(1, |ensemble| 1 + usize::from(ensemble.standalone_enabled)),
    }
}

/// How new snapshots are compressed.
pub(crate) fn compression(settings: &Settings) -> Compression {
    match settings.storage.compression {
        SnapshotCompression::None => Compression::None,
        SnapshotCompression::Gzip => Compression::Gz,
        SnapshotCompression::Snappy => Compression::Snappy,
    }
}

fn recovery_options(settings: &Settings) -> RecoveryOptions {
    let storage = &settings.storage;
    RecoveryOptions {
        record_bytes_max: settings.limits.record_bytes_max as usize,
        logs_without_snapshot: if storage.trust_missing_snapshot {
            LogsWithoutSnapshot::Trust
        } else {
            LogsWithoutSnapshot::Refuse
        },
        empty_folders: if storage.create_database { EmptyFolders::Trust } else { EmptyFolders::Distrust },
    }
}

fn log_options(settings: &Settings) -> TxnLogOptions {
    let storage = &settings.storage;
    TxnLogOptions {
        preallocate_bytes: storage.log_preallocation_bytes.unwrap_or(0),
        size_limit_bytes: storage.log_file_bytes_max.unwrap_or(0),
        record_bytes_max: settings.limits.record_bytes_max as usize,
        durability: if storage.sync_before_ack { Durability::PowerLoss } else { Durability::ProcessEnd },
    }
}
