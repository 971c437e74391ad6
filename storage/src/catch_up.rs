//! The log for learners that were away: whether it has what they miss, and is shorter than a snapshot; and what they
//! miss. All of this reads a log that is being written.
//!
//! That the log is whole shows within an epoch, where its transactions are counted, but not where an epoch ends. There
//! the snapshots help: each is named after a transaction, which the log must have. A hole is only ever made where a
//! snapshot took the place of a part of the log, so behind the oldest snapshot every hole shows. Retention makes the
//! log begin later, also between two readings: what is read must begin at a transaction that is still there.

use std::sync::Arc;

use protocol::Zxid;
use protocol::log::RECORD_HEAD_LENGTH;

use crate::directory::{DataFolders, SnapshotFile};
use crate::disk::DiskError;
use crate::txn_log::{LogReadError, LogReader, LogRecord};

/// Why the log is not to be used.
#[derive(Debug, thiserror::Error)]
pub enum CatchUpError {
    /// It cannot be read.
    #[error(transparent)]
    Log(#[from] LogReadError),
    /// The log, or the oldest snapshot, begins later.
    #[error("the log does not reach back to {zxid}")]
    BeginsLater {
        /// What was looked for.
        zxid: Zxid,
    },
    /// The log ends too early, or files were removed while it was read.
    #[error("the log ends at {last}, before {up_to}")]
    EndsBefore {
        /// What it should reach to.
        up_to: Zxid,
        /// Where it ends.
        last: Zxid,
    },
    /// Something shorter is to be sent instead.
    #[error(
        "the log from there on has more than {bytes_max} bytes, and the newest snapshot has {snapshot_bytes}"
    )]
    TooLong {
        /// What it may have.
        bytes_max: u64,
        /// The size of the newest snapshot.
        snapshot_bytes: u64,
    },
}

impl From<DiskError> for CatchUpError {
    fn from(error: DiskError) -> CatchUpError {
        CatchUpError::Log(error.into())
    }
}

/// How long the log may be, beside the newest snapshot (`snapshotSizeFactor`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LengthMax {
    /// A part of the size of the snapshot.
    Share {
        /// Of a million bytes, so many.
        millionths: u32,
    },
    /// As long as it happens to be.
    Unlimited,
}

impl LengthMax {
    fn bytes(self, snapshot_bytes: u64) -> u64 {
        match self {
            LengthMax::Share { millionths } => {
                let bytes = u128::from(snapshot_bytes) * u128::from(millionths) / 1_000_000;
                u64::try_from(bytes).unwrap_or(u64::MAX)
            }
            LengthMax::Unlimited => u64::MAX,
        }
    }
}

/// The last transaction of the log that does not come behind `last`, where the history of a learner that ends there may
/// meet this one. Everything from there up to and including `up_to`, which must be durable, was read and is whole, and
/// not too long.
pub fn find_meeting(
    folders: &DataFolders,
    last: Zxid,
    up_to: Zxid,
    length_max: LengthMax,
    record_bytes_max: usize,
) -> Result<Zxid, CatchUpError> {
    let begins_later = CatchUpError::BeginsLater { zxid: last };
    let disk = folders.disk();
    // Before the logs are listed: retention removes the oldest snapshots first, and their logs only then.
    let snapshots = SnapshotFile::list(&**disk, folders.snapshots())?;
    let (Some(newest), Some(oldest)) = (snapshots.first(), snapshots.last()) else {
        return Err(begins_later);
    };
    if oldest.zxid > last {
        return Err(begins_later);
    }
    let mut log = LogReader::open_range(Arc::clone(disk), folders.logs(), last, up_to, record_bytes_max)?;
    let looked = log.next().map(|_| ());
    let before = log.passed_over().ok_or(begins_later)?;
    looked?;

    let (mut bytes, bytes_max) = (0, length_max.bytes(newest.length));
    let mut missed = Missed::open_beside(&snapshots, folders, before, up_to, record_bytes_max)?;
    while let Some(record) = missed.next()? {
        bytes += (RECORD_HEAD_LENGTH + record.envelope.len() + 1) as u64;
        if bytes > bytes_max {
            return Err(CatchUpError::TooLong { bytes_max, snapshot_bytes: newest.length });
        }
    }
    Ok(before)
}

/// What a learner misses, transaction by transaction.
pub struct Missed {
    log: LogReader,
    up_to: Zxid,
}

impl Missed {
    /// Everything behind `after`, which [`find_meeting`] has found, up to and including `up_to`, which must be durable.
    pub fn open(
        folders: &DataFolders,
        after: Zxid,
        up_to: Zxid,
        record_bytes_max: usize,
    ) -> Result<Missed, CatchUpError> {
        let snapshots = SnapshotFile::list(&**folders.disk(), folders.snapshots())?;
        Missed::open_beside(&snapshots, folders, after, up_to, record_bytes_max)
    }

    fn open_beside(
        snapshots: &[SnapshotFile],
        folders: &DataFolders,
        after: Zxid,
        up_to: Zxid,
        record_bytes_max: usize,
    ) -> Result<Missed, CatchUpError> {
        let disk = Arc::clone(folders.disk());
        let mut log = LogReader::open_range(disk, folders.logs(), after, up_to, record_bytes_max)?;
        log.must_reach_back();
        log.must_hold(snapshots.iter().map(|snapshot| snapshot.zxid));
        Ok(Missed { log, up_to })
    }

    /// The next transaction; `None` behind the last one.
    #[expect(clippy::should_implement_trait, reason = "the record borrows from the reader")]
    pub fn next(&mut self) -> Result<Option<LogRecord<'_>>, CatchUpError> {
        let (last, up_to) = (self.log.last(), self.up_to);
        match self.log.next()? {
            None if last < up_to => Err(CatchUpError::EndsBefore { up_to, last }),
            record => Ok(record),
        }
    }
}

#[cfg(test)]
mod tests;
