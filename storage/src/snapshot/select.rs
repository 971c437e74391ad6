//! Which snapshot is loaded: the newest that is valid from its first byte to its last.

use std::path::Path;

use super::reader::read_snapshot_ahead;
use super::{SnapshotError, SnapshotSink, SnapshotSummary};
use crate::directory::SnapshotFile;
use crate::disk::{Disk, DiskError};
use crate::warning::Warning;

/// Why no snapshot was loaded although there are some.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The disk said no.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// None of the files is valid.
    #[error(
        "none of the {count} snapshots can be used; the newest fails because {newest}. Restore one from a backup, \
         or, in an ensemble, move this server's version-2 folders away (keep myid) to have it synchronized from \
         the leader"
    )]
    AllInvalid {
        /// How many there are.
        count: usize,
        /// What is wrong with the newest.
        newest: Box<SnapshotError>,
    },
}

/// A snapshot that was loaded.
#[derive(Debug)]
pub struct Loaded {
    /// The file.
    pub file: SnapshotFile,
    /// What it says.
    pub summary: SnapshotSummary,
    /// Newer ones that were passed over.
    pub passed_over: Vec<Warning>,
}

/// Loads the newest valid snapshot of a folder; `None` if there is not one snapshot.
///
/// Empty files count as missing: a full disk leaves them behind when Java starts a snapshot.
pub fn load_newest(
    disk: &dyn Disk,
    folder: &Path,
    record_bytes_max: usize,
    sink: &mut dyn SnapshotSink,
) -> Result<Option<Loaded>, LoadError> {
    let candidates = SnapshotFile::list(disk, folder)?;
    let mut passed_over = Vec::new();
    let mut newest = None;
    let mut count = 0;
    for file in candidates {
        if file.length == 0 {
            let reason = "it is empty".to_owned();
            passed_over.push(Warning::SnapshotPassedOver { path: file.path, reason });
            continue;
        }
        count += 1;
        match read_snapshot_ahead(disk, &file, record_bytes_max, sink) {
            Ok(summary) => return Ok(Some(Loaded { file, summary, passed_over })),
            Err(error) => {
                // The file may be whole: an older one, or a refusal, would be the wrong answer to a disk that fails
                // now.
                let error = match error.into_disk_error() {
                    Ok(disk_error) => return Err(disk_error.into()),
                    Err(invalid) => invalid,
                };
                sink.reset();
                let reason = error.error.to_string();
                passed_over.push(Warning::SnapshotPassedOver { path: file.path, reason });
                newest.get_or_insert(error);
            }
        }
    }
    match newest {
        None => Ok(None),
        Some(newest) => Err(LoadError::AllInvalid { count, newest: Box::new(newest) }),
    }
}
