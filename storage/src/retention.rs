//! What is kept of the past (`autopurge`): some snapshots that were checked, and every log needed behind the oldest.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use protocol::Zxid;

use crate::directory::{DataFolders, LogFile, SnapshotFile};
use crate::disk::{About, Access, Disk, DiskError};
use crate::snapshot::verify_snapshot;

/// The fewest snapshots that may be kept (`autopurge.snapRetainCount`).
pub const SNAPSHOTS_KEPT_MIN: usize = 3;
/// What names of files start with that are being removed. Java does not look at them.
pub const REMOVED_PREFIX: &str = "tmp.removed.";
/// Removing 200 MB at once stops the log's fdatasync for 50 ms on a file system that discards freed blocks; in steps
/// of this size for 2 ms.
const REMOVE_STEP_BYTES: u64 = 4 * 1024 * 1024;

/// Removes old files. Remembers which snapshots it has checked, so that each is read once.
#[derive(Debug, Default)]
pub struct Retention {
    checked: BTreeSet<(PathBuf, u64)>,
}

/// What was removed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Purged {
    /// Snapshots, oldest first.
    pub snapshots: Vec<PathBuf>,
    /// Logs, oldest first.
    pub logs: Vec<PathBuf>,
}

impl Retention {
    /// Keeps the newest `keep` valid snapshots (at least [`SNAPSHOTS_KEPT_MIN`]) and the logs from the newest that
    /// starts at or before the oldest of them. Removes nothing while there are fewer: unlike Java, a snapshot counts
    /// only when every byte of it was checked (ZOOKEEPER-3231). Damaged snapshots newer than the oldest kept stay
    /// for inspection.
    pub fn purge(
        &mut self,
        folders: &DataFolders,
        keep: usize,
        record_bytes_max: usize,
    ) -> Result<Purged, DiskError> {
        let disk: &dyn Disk = &**folders.disk();
        let snapshots = SnapshotFile::list(disk, folders.snapshots())?;
        let Some(oldest) = self.oldest_kept(disk, &snapshots, keep.max(SNAPSHOTS_KEPT_MIN), record_bytes_max)
        else {
            return Ok(Purged::default());
        };
        let mut purged = Purged::default();
        for snapshot in snapshots.into_iter().rev().take_while(|snapshot| snapshot.zxid < oldest) {
            remove_gently(disk, &snapshot.path)?;
            purged.snapshots.push(snapshot.path);
        }
        let logs = LogFile::list(disk, folders.logs())?;
        // The newest log that starts at or before the oldest snapshot may go on behind it.
        let needed = logs.iter().rposition(|log| log.first <= oldest).unwrap_or(0);
        for log in logs.into_iter().take(needed) {
            remove_gently(disk, &log.path)?;
            purged.logs.push(log.path);
        }
        Ok(purged)
    }

    fn oldest_kept(
        &mut self,
        disk: &dyn Disk,
        newest_first: &[SnapshotFile],
        keep: usize,
        record_bytes_max: usize,
    ) -> Option<Zxid> {
        let mut kept = BTreeSet::new();
        let mut checked = BTreeSet::new();
        for snapshot in newest_first {
            let key = (snapshot.path.clone(), snapshot.length);
            if self.checked.contains(&key) || verify_snapshot(disk, snapshot, record_bytes_max).is_ok() {
                checked.insert(key);
                // The same snapshot in two compressions counts once.
                kept.insert(snapshot.zxid);
                if kept.len() == keep {
                    break;
                }
            }
        }
        self.checked = checked;
        (kept.len() == keep).then(|| *kept.first().expect("at least one is kept"))
    }
}

/// Removes a file in steps that do not hold up the log. Its name goes first, so that a crash leaves nothing that
/// looks like a damaged file.
fn remove_gently(disk: &dyn Disk, path: &Path) -> Result<(), DiskError> {
    let folder = path.parent().expect("a data file is in a folder");
    let name = path.file_name().expect("a data file has a name").to_string_lossy();
    let doomed = folder.join(format!("{REMOVED_PREFIX}{name}"));
    disk.rename(path, &doomed).about("rename", path)?;
    disk.sync_dir(folder).about("sync", folder)?;
    let file = disk.open(&doomed, Access::Write).about("open", &doomed)?;
    let mut length = file.length().about("measure", &doomed)?;
    while length > REMOVE_STEP_BYTES {
        length -= REMOVE_STEP_BYTES;
        file.set_length(length).about("cut", &doomed)?;
        file.sync_all().about("sync", &doomed)?;
    }
    drop(file);
    disk.remove(&doomed).about("remove", &doomed)
}

#[cfg(test)]
mod tests;
