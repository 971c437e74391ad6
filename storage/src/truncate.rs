//! Giving history up on a leader's order: cutting it behind a zxid, or replacing it by a whole snapshot.
//!
//! Java keeps a record too many when the zxid itself is missing, and leaves newer snapshots lying (ZOOKEEPER-4837);
//! here a transaction that was cut never comes back. Every step leaves a state that recovery accepts, and steps
//! are ordered by syncs: the durable mark is lowered, newer snapshots go, newer logs go, newest first, and last the
//! log in which the cut lies.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::Zxid;

use crate::directory::{DataFolders, LogFile, SnapshotFile};
use crate::disk::{About, Disk, DiskError};
use crate::durable_mark::DurableMark;
use crate::snapshot::{ReceivedSnapshot, SnapshotError, verify_snapshot};
use crate::txn_log::{LogReadError, LogReader, LogRecord, RecordPlace, Repair};

/// Why history cannot be cut there. Nothing was changed, unless the disk failed.
#[derive(Debug, thiserror::Error)]
pub enum TruncateError {
    /// The disk said no.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The log cannot be read up to there.
    #[error(transparent)]
    Log(#[from] LogReadError),
    /// No valid snapshot at or before the zxid is there, so no state could be rebuilt: take a whole snapshot from
    /// the leader instead.
    #[error("{} has no snapshot from which zxid {zxid} can be reached", .folder.display())]
    NoSnapshot {
        /// Where the snapshots are.
        folder: PathBuf,
        /// The zxid to cut behind.
        zxid: Zxid,
    },
    /// The log ends before the zxid.
    #[error("history ends at {last}, before zxid {zxid}")]
    EndsBefore {
        /// The zxid to cut behind.
        zxid: Zxid,
        /// The last transaction.
        last: Zxid,
    },
}

/// Cuts everything behind `zxid`. The log must not be open for writing; afterwards the state is recovered anew, and
/// the next transaction goes to a new file.
///
/// Gives the last transaction that is left. It is below `zxid` if that one is not in the log: then this server's
/// history is not a part of the leader's, and a whole snapshot is needed.
pub fn truncate(
    folders: &DataFolders,
    zxid: Zxid,
    record_bytes_max: usize,
    durable_mark: &mut DurableMark,
) -> Result<Zxid, TruncateError> {
    let disk: &dyn Disk = &**folders.disk();
    let Some((base, newer)) = split_snapshots(folders, zxid, record_bytes_max)? else {
        return Err(TruncateError::NoSnapshot { folder: folders.snapshots().to_owned(), zxid });
    };
    let landmarks = newer.iter().map(|snapshot| snapshot.zxid).filter(|landmark| *landmark <= zxid);
    let (last, cut) = find_cut(folders, base, zxid, landmarks, record_bytes_max)?;
    durable_mark.lower_to(last)?;
    for snapshot in newer {
        remove(disk, &snapshot.path)?;
    }
    let Some(cut) = cut else {
        return Ok(last);
    };
    let mut logs = LogFile::list(disk, folders.logs())?;
    while let Some(log) = logs.pop().filter(|log| log.path != cut.path) {
        remove(disk, &log.path)?;
    }
    // A file in which nothing would be left carries the name of a transaction that is gone.
    let Place { path, length } = cut;
    let is_empty = length == protocol::log::LOG_HEADER_LENGTH as u64;
    let repair = if is_empty { Repair::Remove { path } } else { Repair::Cut { path, length } };
    repair.carry_out(disk)?;
    Ok(last)
}

/// Makes a leader's snapshot the only history. The log must not be open for writing.
///
/// What this server has acknowledged up to the snapshot's zxid may rest on its copy, so a crash on the way must leave
/// either that or the snapshot, and never a mixture of the two: first everything behind the zxid goes, as in
/// [`truncate`], then the snapshot counts, then the logs that it replaces go.
pub fn adopt_snapshot(
    folders: &DataFolders,
    received: ReceivedSnapshot,
    record_bytes_max: usize,
    durable_mark: &mut DurableMark,
) -> Result<(), TruncateError> {
    let disk: &dyn Disk = &**folders.disk();
    let zxid = received.zxid;
    match truncate(folders, zxid, record_bytes_max, durable_mark) {
        Ok(_) | Err(TruncateError::EndsBefore { .. }) => {}
        // There is only a newer state, which recovery prefers until it is gone, its logs before it.
        Err(TruncateError::NoSnapshot { .. }) => durable_mark.lower_to(zxid)?,
        // Logs that cannot be read hold nothing that could be kept.
        Err(TruncateError::Log(_)) => durable_mark.lower_to(Zxid::ZERO)?,
        Err(error @ TruncateError::Disk(_)) => return Err(error),
    }
    received.publish(disk)?;
    for log in LogFile::list(disk, folders.logs())?.into_iter().rev() {
        remove(disk, &log.path)?;
    }
    // Newest first, as they are listed. Older ones lead nowhere without their logs.
    for snapshot in SnapshotFile::list(disk, folders.snapshots())? {
        if snapshot.zxid != zxid {
            remove(disk, &snapshot.path)?;
        }
    }
    Ok(durable_mark.note_durable(zxid)?)
}

/// The zxid of the newest valid snapshot without a change newer than `zxid`, and all snapshots before it in the list
/// (newer ones, invalid ones, and those of Java's whose content goes beyond their name).
fn split_snapshots(
    folders: &DataFolders,
    zxid: Zxid,
    record_bytes_max: usize,
) -> Result<Option<(Zxid, Vec<SnapshotFile>)>, DiskError> {
    let disk: &dyn Disk = &**folders.disk();
    let mut newer = Vec::new();
    for snapshot in SnapshotFile::list(disk, folders.snapshots())? {
        if snapshot.zxid <= zxid {
            match verify_snapshot(disk, &snapshot, record_bytes_max).map_err(SnapshotError::into_disk_error) {
                Ok(summary) if summary.content <= zxid => return Ok(Some((snapshot.zxid, newer))),
                // The file may be whole, and what it holds be needed.
                Err(Ok(disk_error)) => return Err(disk_error),
                Ok(_) | Err(Err(_)) => {}
            }
        }
        newer.push(snapshot);
    }
    Ok(None)
}

/// Where a log is cut.
struct Place {
    path: PathBuf,
    length: u64,
}

/// The last transaction up to `zxid`, and where to cut; `None` if there is nothing to cut. The landmarks must be on the
/// way. What stands behind `zxid` may be damaged: it is not looked at.
fn find_cut(
    folders: &DataFolders,
    base: Zxid,
    zxid: Zxid,
    landmarks: impl IntoIterator<Item = Zxid>,
    record_bytes_max: usize,
) -> Result<(Zxid, Option<Place>), TruncateError> {
    let mut log = LogReader::open(Arc::clone(folders.disk()), folders.logs(), base, record_bytes_max)?;
    log.must_hold(landmarks);
    let mut last = base;
    while let Some(LogRecord { zxid: found, .. }) = log.next()? {
        let RecordPlace { path, offset, end } = log.place().expect("a record was read");
        if found > zxid {
            return Ok((last, Some(Place { path, length: offset })));
        }
        last = found;
        if found == zxid {
            return Ok((last, Some(Place { path, length: end })));
        }
    }
    if last < zxid { Err(TruncateError::EndsBefore { zxid, last }) } else { Ok((last, None)) }
}

fn remove(disk: &dyn Disk, path: &Path) -> Result<(), DiskError> {
    disk.remove(path).about("remove", path)?;
    let folder = path.parent().expect("a data file is in a folder");
    disk.sync_dir(folder).about("sync", folder)
}

#[cfg(test)]
mod tests;
