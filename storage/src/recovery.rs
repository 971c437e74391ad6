//! From what is on disk to the state of before: the newest valid snapshot, then every newer transaction of the log.
//!
//! A crash may cut the last batch of the log; it was never acknowledged and is dropped. Everything else that is
//! missing or damaged may have been acknowledged, so recovery refuses and changes nothing. Above all it never takes
//! missing data for an empty tree.

mod replay;

use std::path::PathBuf;
use std::sync::Arc;

use protocol::snapshot::ZxidDigest;
use protocol::{Epoch, Zxid};

use crate::corruption::{Corruption, Damage, Evidence};
use crate::directory::{DataFolders, LogFile, SnapshotFile, TEMPORARY_SNAPSHOT_PREFIX};
use crate::disk::{About, Access, Disk, DiskError, read_full_at};
use crate::durable_mark::DurableMark;
use crate::epoch_files::{EpochError, EpochFiles, Epochs};
use crate::retention::REMOVED_PREFIX;
use crate::snapshot::{LoadError, Loaded, Refusal, SnapshotSink, load_newest};
use crate::txn_log::{LogReadError, RecordPlace};
use crate::warning::Warning;

use self::replay::{Doubtful, Replayed, replay};

/// The state that recovery fills: first from a snapshot, then by replay.
pub trait RecoveryTarget: SnapshotSink {
    /// The snapshot at `zxid` is complete; `digest` is what its writer computed over the tree, perhaps at a later
    /// zxid. A refusal stops recovery. Not called if there is no snapshot.
    fn snapshot_loaded(&mut self, zxid: Zxid, digest: Option<ZxidDigest>) -> Result<(), Refusal>;
    /// Applies one transaction. Its zxid follows the one before. A refusal stops recovery.
    fn replay(&mut self, envelope: &[u8]) -> Result<(), Refusal>;
}

/// What recovery may do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecoveryOptions {
    /// The largest record that is read; see [`crate::RECORD_BYTES_MAX`].
    pub record_bytes_max: usize,
    /// Logs without a snapshot (`zookeeper.snapshot.trust.empty`, for data of 3.5.3 and older).
    pub logs_without_snapshot: LogsWithoutSnapshot,
    /// Empty folders without the marker `initialize` (`zookeeper.db.autocreate`).
    pub empty_folders: EmptyFolders,
}

/// What logs without a snapshot mean.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogsWithoutSnapshot {
    /// The snapshots are lost: refuse.
    Refuse,
    /// There never was one: replay over an empty tree.
    Trust,
}

/// What empty folders mean when the operator left no marker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EmptyFolders {
    /// A new server: start empty.
    Trust,
    /// Possibly lost data: start without a say until synchronized by a leader.
    Distrust,
}

impl Default for RecoveryOptions {
    fn default() -> RecoveryOptions {
        RecoveryOptions {
            record_bytes_max: crate::RECORD_BYTES_MAX,
            logs_without_snapshot: LogsWithoutSnapshot::Refuse,
            empty_folders: EmptyFolders::Trust,
        }
    }
}

/// What was recovered.
#[derive(Debug)]
pub struct Recovered {
    /// The last transaction of the state; `None` if nothing is there and that cannot be trusted: this server must
    /// not vote until a leader has synchronized it.
    pub last_zxid: Option<Zxid>,
    /// The snapshot that was loaded; `None` if there was none. With `last_zxid` of 0 the caller then writes
    /// `snapshot.0` before anything else, and removes the marker ([`DataFolders::remove_initialize_marker`]).
    pub snapshot_zxid: Option<Zxid>,
    /// Transactions replayed.
    pub replayed: u64,
    /// The epoch of the last leader followed.
    pub current_epoch: Epoch,
    /// The highest epoch promised.
    pub accepted_epoch: Epoch,
    /// The durable mark, for the housekeeping.
    pub durable_mark: DurableMark,
    /// What an operator should read.
    pub warnings: Vec<Warning>,
}

/// Why there is no state.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// The disk said no.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Acknowledged data may be lost.
    #[error(transparent)]
    Corrupt(#[from] Corruption),
    /// There are snapshots, and none can be used.
    #[error(transparent)]
    Snapshots(LoadError),
    /// There are no snapshots, and something says that there were.
    #[error(
        "{} has no snapshot, but {evidence}: the data is lost, not empty. Restore it from a backup; or, to start \
         anew, move the version-2 folders away as a whole",
        .folder.display()
    )]
    SnapshotsMissing {
        /// Where they should be.
        folder: PathBuf,
        /// What says so.
        evidence: String,
    },
    /// The epoch files cannot be used.
    #[error(transparent)]
    Epochs(#[from] EpochError),
    /// The state refused the snapshot or a transaction.
    #[error("{} cannot be applied (byte {offset}): {reason}", .path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// Why.
        reason: Refusal,
    },
}

impl From<LogReadError> for RecoveryError {
    fn from(error: LogReadError) -> RecoveryError {
        match error {
            LogReadError::Disk(error) => error.into(),
            LogReadError::Corrupt(corruption) => corruption.into(),
        }
    }
}

impl From<LoadError> for RecoveryError {
    fn from(error: LoadError) -> RecoveryError {
        match error {
            LoadError::Disk(error) => error.into(),
            invalid => RecoveryError::Snapshots(invalid),
        }
    }
}

/// Fills `target`, which must be empty, from the folders.
///
/// Changes nothing on disk before everything was checked. Then it cuts a torn tail, removes what a crash left, and
/// writes missing epoch files.
pub fn recover(
    folders: &DataFolders,
    options: &RecoveryOptions,
    target: &mut dyn RecoveryTarget,
) -> Result<Recovered, RecoveryError> {
    let disk = folders.disk();
    let mut durable_mark = DurableMark::load(Arc::clone(disk), folders.logs())?;
    let max = options.record_bytes_max;
    let mut warnings = Vec::new();
    if durable_mark.is_unreadable() {
        warnings.push(Warning::DurableMarkUnreadable { path: durable_mark.path().to_owned() });
    }
    let loaded = load_newest(&**disk, folders.snapshots(), max, &mut *target)?;
    let Some(base) = base(folders, options, loaded.as_ref(), &durable_mark, target)? else {
        return untrusted(folders, durable_mark, warnings);
    };
    let Replayed { log, count: replayed, last_place, doubtful } =
        replay(folders, base, max, durable_mark.zxid(), target)?;
    check_end(folders, loaded.as_ref(), &durable_mark, log.last, last_place)?;
    let epoch_files = EpochFiles::new(Arc::clone(disk), folders.snapshots());
    let (epochs, epoch_warning) = epoch_files.load(log.last)?;

    for repair in &log.repairs {
        repair.carry_out(&**disk)?;
    }
    make_durable(folders, &doubtful)?;
    // The batch that says so itself may have been the torn one that was cut.
    durable_mark.note_durable(log.last)?;
    epoch_files.save(epochs)?;
    let snapshot_zxid = loaded.as_ref().map(|loaded| loaded.summary.zxid);
    if snapshot_zxid.is_some() {
        folders.remove_initialize_marker()?;
    } else if replayed > 0 {
        warnings.push(Warning::TrustedEmptySnapshot);
    }
    warnings.extend(loaded.into_iter().flat_map(|loaded| loaded.passed_over));
    warnings.extend(log.warnings);
    warnings.extend(epoch_warning);
    warnings.extend(remove_leftovers(folders)?);
    Ok(Recovered {
        last_zxid: Some(log.last),
        snapshot_zxid,
        replayed,
        current_epoch: epochs.current,
        accepted_epoch: epochs.accepted,
        durable_mark,
        warnings,
    })
}

/// Where replay starts: at the snapshot, or at 0 if the absence of one can be trusted; `None` if it cannot.
fn base(
    folders: &DataFolders,
    options: &RecoveryOptions,
    loaded: Option<&Loaded>,
    durable_mark: &DurableMark,
    target: &mut dyn RecoveryTarget,
) -> Result<Option<Zxid>, RecoveryError> {
    if let Some(Loaded { file, summary, .. }) = loaded {
        target.snapshot_loaded(summary.zxid, summary.digest.clone()).map_err(|reason| {
            RecoveryError::Refused { path: file.path.clone(), offset: file.length, reason }
        })?;
        return Ok(Some(summary.zxid));
    }
    let disk = folders.disk();
    let logs = LogFile::list(&**disk, folders.logs())?;
    let log = logs.iter().find(|log| log.length > 0);
    if let Some(log) = log
        && options.logs_without_snapshot == LogsWithoutSnapshot::Refuse
    {
        return Err(missing(folders, format!("there is a log, {}", log.path.display())));
    }
    if log.is_some() {
        return Ok(Some(Zxid::ZERO));
    }
    let marker = folders.initialize_marker();
    let trusted =
        options.empty_folders == EmptyFolders::Trust || disk.exists(&marker).about("look for", &marker)?;
    if !trusted {
        return Ok(None);
    }
    refuse_lost_data(folders, durable_mark)?;
    Ok(Some(Zxid::ZERO))
}

/// Refuses empty folders that show traces of a state. A marker does not outweigh them: they tell that this server
/// has promised something.
fn refuse_lost_data(folders: &DataFolders, durable_mark: &DurableMark) -> Result<(), RecoveryError> {
    let disk = folders.disk();
    if let Some(zxid) = durable_mark.zxid().filter(|zxid| *zxid > Zxid::ZERO) {
        return Err(missing(folders, format!("durable.zxid says that {zxid} was durable")));
    }
    let (current, accepted) = EpochFiles::new(Arc::clone(disk), folders.snapshots()).read()?;
    if let Some(epoch) = current.max(accepted).filter(|epoch| epoch.get() > 0) {
        return Err(missing(folders, format!("the epoch files say that epoch {epoch} was reached")));
    }
    let empty = SnapshotFile::list(&**disk, folders.snapshots())?;
    if let Some(file) = empty.iter().find(|file| file.zxid > Zxid::ZERO) {
        return Err(missing(folders, format!("there is an empty one, {}", file.path.display())));
    }
    Ok(())
}

fn missing(folders: &DataFolders, evidence: String) -> RecoveryError {
    RecoveryError::SnapshotsMissing { folder: folders.snapshots().to_owned(), evidence }
}

/// A process that ended between a write and its sync, or whose sync failed, leaves records that can be read and that
/// the next power loss takes back. The state is built on them from now on, and the next log file continues behind
/// them, so they are made durable first. They are written again, not just synced: after a failed sync a file system
/// takes its pages for clean and has nothing to write. Names may be as volatile, so both folders are synced; and so may
/// the length of the last log file: what was cut off it must not come back between its end and the next file.
fn make_durable(folders: &DataFolders, doubtful: &[Doubtful]) -> Result<(), DiskError> {
    const PIECE_BYTES: u64 = 1 << 20;
    let disk = &**folders.disk();
    for Doubtful { path, start, end } in doubtful {
        let file = disk.open(path, Access::Write).about("open", path)?;
        let mut offset = *start;
        while offset < *end {
            let mut piece = vec![0; PIECE_BYTES.min(end - offset) as usize];
            let length = read_full_at(&*file, &mut piece, offset).about("read", path)?;
            if length == 0 {
                break;
            }
            file.write_at(&piece[..length], offset).about("write", path)?;
            offset += length as u64;
        }
        file.sync_all().about("sync", path)?;
    }
    if let Some(LogFile { path, .. }) = LogFile::list(disk, folders.logs())?.pop() {
        let file = disk.open(&path, Access::Write).about("open", &path)?;
        let length = file.length().about("measure", &path)?;
        // There and back, so that there is something to sync.
        file.set_length(length + 1).about("extend", &path)?;
        file.set_length(length).about("cut", &path)?;
        file.sync_all().about("sync", &path)?;
    }
    for folder in [folders.snapshots(), folders.logs()] {
        disk.sync_dir(folder).about("sync", folder)?;
    }
    Ok(())
}

/// Compares the end of the history with everything that says how far it must reach.
fn check_end(
    folders: &DataFolders,
    loaded: Option<&Loaded>,
    durable_mark: &DurableMark,
    last: Zxid,
    last_place: Option<RecordPlace>,
) -> Result<(), RecoveryError> {
    let refuse = |expected, evidence| {
        let (path, offset) = match &last_place {
            Some(place) => (place.path.clone(), place.end),
            None => (folders.logs().to_owned(), 0),
        };
        let damage = Damage::EndsEarly { expected, found: last, evidence };
        Err(Corruption { path, offset, damage }.into())
    };
    if let Some(expected) = durable_mark.zxid().filter(|zxid| *zxid > last) {
        return refuse(expected, Evidence::DurableMark);
    }
    if let Some(loaded) = loaded
        && loaded.summary.content > last
    {
        return refuse(loaded.summary.content, Evidence::SnapshotContent);
    }
    // A snapshot is started only when its zxid is in the log. Counter 0 names the start of an epoch, which is not.
    for snapshot in SnapshotFile::list(&**folders.disk(), folders.snapshots())? {
        if snapshot.zxid > last && snapshot.zxid.counter() != 0 {
            return refuse(snapshot.zxid, Evidence::SnapshotName);
        }
    }
    Ok(())
}

fn untrusted(
    folders: &DataFolders,
    durable_mark: DurableMark,
    mut warnings: Vec<Warning>,
) -> Result<Recovered, RecoveryError> {
    let files = EpochFiles::new(Arc::clone(folders.disk()), folders.snapshots());
    let (Epochs { current, accepted }, _) = files.load(Zxid::ZERO)?;
    warnings.extend(remove_leftovers(folders)?);
    Ok(Recovered {
        last_zxid: None,
        snapshot_zxid: None,
        replayed: 0,
        current_epoch: current,
        accepted_epoch: accepted,
        durable_mark,
        warnings,
    })
}

/// Removes unfinished snapshots, half removed files, and the empty snapshots of a disk that was full.
fn remove_leftovers(folders: &DataFolders) -> Result<Vec<Warning>, DiskError> {
    let disk: &dyn Disk = &**folders.disk();
    let empty = SnapshotFile::list(disk, folders.snapshots())?.into_iter().filter(|file| file.length == 0);
    let mut leftovers: Vec<PathBuf> = empty.map(|file| file.path).collect();
    for folder in [folders.snapshots(), folders.logs()] {
        for entry in disk.list(folder).about("list", folder)? {
            if entry.name.starts_with(TEMPORARY_SNAPSHOT_PREFIX) || entry.name.starts_with(REMOVED_PREFIX) {
                leftovers.push(folder.join(entry.name));
            }
        }
    }
    leftovers.sort();
    leftovers.dedup();
    for path in &leftovers {
        disk.remove(path).about("remove", path)?;
    }
    Ok(leftovers.into_iter().map(|path| Warning::Leftover { path }).collect())
}

#[cfg(test)]
mod tests;
