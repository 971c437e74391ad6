//! From what is on the disk to a server that runs.

use std::path::Path;
use std::sync::Arc;

use ::server::TreeTarget;
use protocol::Zxid;
use replica::{Now, Replica, ReplicaSettings, Shared};
use storage::directory::{DataFolders, DirectoryError, MissingFolders};
use storage::disk::Disk;
use storage::durable_mark::DurableMark;
use storage::epoch_files::EpochError;
use storage::recovery::{RecoveryError, RecoveryOptions, recover};
use storage::retention::Retention;
use storage::snapshot::{Compression, SnapshotChunk, SnapshotWriteError, write_snapshot};
use storage::txn_log::{Durability, TxnLog, TxnLogOptions};
use storage::warning::Warning;
use tree::Rules;

use super::office::Office;
use super::snapshot_job::head;
use super::{Phase, Server};
use crate::bugs::Bug;
use crate::checkers::{Violation, ensure};
use crate::disk::LyingDisk;
use crate::oracle::Oracle;
use crate::random::Random;
use crate::trace::Trace;

/// Where everything is.
pub(crate) const DATA_DIR: &str = "/data";

/// How a server is started.
#[derive(Clone)]
pub struct StartOptions {
    /// The replica's part.
    pub replica: ReplicaSettings,
    /// The log's part.
    pub log: TxnLogOptions,
    /// Nodes per chunk of a snapshot.
    pub snapshot_chunk_nodes: usize,
    /// A bug of the shell.
    pub bug: Option<Bug>,
}

/// Draws how the log is kept.
pub(crate) fn log_options(random: &mut Random) -> TxnLogOptions {
    TxnLogOptions {
        preallocate_bytes: *random.pick(&[0, 4096, 16_384]),
        size_limit_bytes: *random.pick(&[0, 0, 3000]),
        record_bytes_max: storage::RECORD_BYTES_MAX,
        durability: Durability::PowerLoss,
    }
}

/// What every simulated tree allows.
pub(crate) fn tree_rules() -> Rules {
    Rules { ttl_nodes: true, ..Rules::default() }
}

/// Why a server did not start.
#[derive(Debug)]
pub enum StartError {
    /// A promise was not kept.
    Violation(Violation),
    /// The disk failed; it may go better next time.
    Disk(String),
    /// What is stored is damaged, and recovery says so.
    Refused(String),
}

impl From<Violation> for StartError {
    fn from(violation: Violation) -> StartError {
        StartError::Violation(violation)
    }
}

impl From<DirectoryError> for StartError {
    fn from(error: DirectoryError) -> StartError {
        match error {
            DirectoryError::Disk(error) => StartError::Disk(error.to_string()),
            other => StartError::Refused(other.to_string()),
        }
    }
}

impl From<RecoveryError> for StartError {
    fn from(error: RecoveryError) -> StartError {
        match error {
            RecoveryError::Disk(error) | RecoveryError::Epochs(EpochError::Disk(error)) => {
                StartError::Disk(error.to_string())
            }
            other => StartError::Refused(other.to_string()),
        }
    }
}

impl Server {
    /// What the durable mark of a stopped server says.
    pub fn stored_mark(disk: &LyingDisk) -> Zxid {
        let logs = Path::new(DATA_DIR).join(storage::directory::VERSION_FOLDER);
        let mark = DurableMark::load(Arc::new(disk.clone()), &logs);
        mark.ok().and_then(|mark| mark.zxid()).unwrap_or(Zxid::ZERO)
    }

    /// Recovers, lets the oracle compare, and starts.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(
        disk: &LyingDisk,
        options: &StartOptions,
        oracle: &mut Oracle,
        now: Now,
        trace: &Trace,
    ) -> Result<Server, StartError> {
        let data_dir = Path::new(DATA_DIR);
        let shared_disk: Arc<dyn Disk> = Arc::new(disk.clone());
        let folders =
            DataFolders::open(Arc::clone(&shared_disk), data_dir, data_dir, MissingFolders::Create)?;
        let mut target = TreeTarget::empty();
        let recovered = recover(&folders, &RecoveryOptions::default(), &mut target)?;
        trace.note(|| format!("recovered {recovered:?}"));
        let last = recovered.last_zxid.ok_or_else(|| {
            Violation::new(
                "recovered state",
                "empty folders are trusted, and the state is said to be untrusted",
            )
        })?;
        for warning in &recovered.warnings {
            count_warning(warning, oracle);
        }
        ensure(target.digest_mismatches() == 0, "digest", || {
            format!("{} digests differ in the replay up to {last}", target.digest_mismatches())
        })?;
        let mut tree = target.into_tree();
        ensure(tree.last_zxid() == last, "recovered state", || {
            format!("recovery says {last}, and the tree is at {}", tree.last_zxid())
        })?;
        oracle.on_recovered(&tree, now)?;
        match recovered.snapshot_zxid {
            Some(zxid) if zxid > Zxid::ZERO => oracle.tally.note("recovery from a snapshot and log"),
            Some(_) if recovered.replayed > 0 => {
                oracle.tally.note("recovery from log alone behind the first snapshot");
            }
            _ => {}
        }
        tree.remove_strays();
        if recovered.snapshot_zxid.is_none() && last == Zxid::ZERO {
            first_snapshot(&folders, &mut tree)?;
        }
        let log = TxnLog::open(shared_disk, folders.logs(), last, options.log.clone());
        let rules = options.replica.rules.clone();
        let shared = Arc::new(Shared::new(tree, rules, options.replica.tick_ms));
        let mut replica = Replica::new(Arc::clone(&shared), options.replica.clone(), now);
        replica.set_log_length(recovered.replayed);
        let mut office = Office::new(trace.clone());
        office.lose_every = if options.bug == Some(Bug::LoseMail) { 20 } else { 0 };
        Ok(Server {
            shared,
            replica,
            log,
            folders: Arc::new(folders),
            mark: recovered.durable_mark,
            retention: Retention::default(),
            disk: disk.clone(),
            options: options.clone(),
            trace: trace.clone(),
            bug: options.bug,
            office,
            places: Vec::new(),
            outgoing: Default::default(),
            intake: Vec::new(),
            phase: Phase::Idle,
            snapshot: None,
            next_tick_ms: now.monotonic_ms,
        })
    }
}

/// A new server writes its empty tree down before anything else, so that a log without a snapshot can only mean a
/// loss.
pub(crate) fn first_snapshot(folders: &DataFolders, tree: &mut tree::Tree) -> Result<(), StartError> {
    let start = tree.begin_snapshot();
    let mut cursor = start.cursor.clone();
    let written =
        write_snapshot(&**folders.disk(), folders.snapshots(), &head(&start), Compression::None, |out| {
            if tree.snapshot_chunk(&mut cursor, usize::MAX, out) {
                SnapshotChunk::More
            } else {
                SnapshotChunk::Last
            }
        });
    drop(tree.end_snapshot());
    match written {
        Ok(_) => folders.remove_initialize_marker().map_err(|error| StartError::Disk(error.to_string())),
        Err(SnapshotWriteError::Disk(error)) => Err(StartError::Disk(error.to_string())),
        Err(error) => Err(StartError::Refused(error.to_string())),
    }
}

fn count_warning(warning: &Warning, oracle: &mut Oracle) {
    match warning {
        Warning::TornTail { .. } => oracle.tally.note("torn tail repaired"),
        Warning::EmptyLog { .. } => oracle.tally.note("empty log removed"),
        Warning::Leftover { .. } => oracle.tally.note("leftover of a snapshot removed"),
        _ => {}
    }
}
