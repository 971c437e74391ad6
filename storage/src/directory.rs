//! The folders of a server and the names in them.
//!
//! `dataDir/version-2` holds snapshots and the two epoch files, `dataLogDir/version-2` the transaction logs and
//! `durable.zxid`; they may be the same. Both parents get a lock file, and `dataLogDir/initialize` may stand there
//! as the operator's word that an empty folder is meant to be empty.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::Zxid;

use crate::disk::{About, Disk, DiskError, DiskLock};
use crate::snapshot::Compression;

/// The folder inside the data folder; the number is that of the file format.
pub const VERSION_FOLDER: &str = "version-2";
/// The file that keeps a second server out of a data folder.
pub const LOCK_FILE: &str = "ferrokeeper.lock";
/// The operator's word that this server may start empty.
pub const INITIALIZE_MARKER: &str = "initialize";
/// What names of unfinished snapshots start with. Java does not look at such files.
pub const TEMPORARY_SNAPSHOT_PREFIX: &str = "tmp.snapshot.";

/// Whether missing folders are created (`zookeeper.datadir.autocreate`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MissingFolders {
    /// Create them.
    Create,
    /// Refuse to start.
    Refuse,
}

/// Why the data folders cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// The disk said no.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Another process uses the folder.
    #[error("{} is in use by another server (its lock file {} is held)", .folder.display(), LOCK_FILE)]
    InUse {
        /// The data folder.
        folder: PathBuf,
    },
    /// A folder is missing and may not be created.
    #[error("{} does not exist, and zookeeper.datadir.autocreate is off", .folder.display())]
    Missing {
        /// The folder.
        folder: PathBuf,
    },
    /// A file of one kind is in the folder of the other kind (`FileTxnSnapLog.checkLogDir`, `checkSnapDir`).
    #[error(
        "{} does not belong there: snapshots and logs have different folders; check dataDir and dataLogDir",
        .path.display()
    )]
    WrongFolder {
        /// The file.
        path: PathBuf,
    },
}

/// The folders of one server, locked for as long as this lives.
pub struct DataFolders {
    disk: Arc<dyn Disk>,
    snapshots: PathBuf,
    logs: PathBuf,
    _locks: Vec<Box<dyn DiskLock>>,
}

impl DataFolders {
    /// Creates the folders if allowed, locks them and checks that no file lies in the wrong one.
    pub fn open(
        disk: Arc<dyn Disk>,
        data_dir: &Path,
        data_log_dir: &Path,
        missing: MissingFolders,
    ) -> Result<DataFolders, DirectoryError> {
        let snapshots = data_dir.join(VERSION_FOLDER);
        let logs = data_log_dir.join(VERSION_FOLDER);
        for folder in [&snapshots, &logs] {
            if !disk.exists(folder).about("look for", folder)? {
                if missing == MissingFolders::Refuse {
                    return Err(DirectoryError::Missing { folder: folder.clone() });
                }
                disk.create_dir(folder).about("create", folder)?;
            }
        }
        let mut locks = vec![lock(&*disk, data_dir)?];
        if logs != snapshots {
            locks.push(lock(&*disk, data_log_dir)?);
            check_kind(&*disk, &logs, "snapshot.")?;
            check_kind(&*disk, &snapshots, "log.")?;
        }
        Ok(DataFolders { disk, snapshots, logs, _locks: locks })
    }

    /// The disk that they are on.
    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// Where snapshots and epoch files are.
    pub fn snapshots(&self) -> &Path {
        &self.snapshots
    }

    /// Where the transaction logs are.
    pub fn logs(&self) -> &Path {
        &self.logs
    }

    /// Where the operator's marker may stand.
    pub fn initialize_marker(&self) -> PathBuf {
        self.logs.with_file_name(INITIALIZE_MARKER)
    }

    /// Removes the marker. To be called once the first snapshot is written; no error if there is none.
    pub fn remove_initialize_marker(&self) -> Result<(), DiskError> {
        let marker = self.initialize_marker();
        if self.disk.exists(&marker).about("look for", &marker)? {
            self.disk.remove(&marker).about("remove", &marker)?;
        }
        Ok(())
    }
}

impl std::fmt::Debug for DataFolders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DataFolders").field("snapshots", &self.snapshots).field("logs", &self.logs).finish()
    }
}

fn lock(disk: &dyn Disk, folder: &Path) -> Result<Box<dyn DiskLock>, DirectoryError> {
    let path = folder.join(LOCK_FILE);
    match disk.lock(&path) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(DirectoryError::InUse { folder: folder.to_owned() })
        }
        result => Ok(result.about("lock", &path)?),
    }
}

fn check_kind(disk: &dyn Disk, folder: &Path, wrong_prefix: &str) -> Result<(), DirectoryError> {
    let entries = disk.list(folder).about("list", folder)?;
    match entries.into_iter().find(|entry| entry.name.starts_with(wrong_prefix)) {
        Some(entry) => Err(DirectoryError::WrongFolder { path: folder.join(entry.name) }),
        None => Ok(()),
    }
}

/// A transaction log by its name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogFile {
    /// The zxid of its first transaction, from its name.
    pub first: Zxid,
    /// Where it is.
    pub path: PathBuf,
    /// Its length in bytes, zeros at the end included.
    pub length: u64,
}

impl LogFile {
    /// The name of the log whose first transaction is `first`.
    pub fn name(first: Zxid) -> String {
        format!("log.{:x}", first.to_wire())
    }

    /// All logs of a folder, oldest first. Other names are passed over.
    pub fn list(disk: &dyn Disk, folder: &Path) -> Result<Vec<LogFile>, DiskError> {
        let mut files: Vec<LogFile> = disk
            .list(folder)
            .about("list", folder)?
            .into_iter()
            .filter_map(|entry| {
                let first = parse_zxid(entry.name.strip_prefix("log.")?)?;
                Some(LogFile { first, path: folder.join(entry.name), length: entry.length })
            })
            .collect();
        files.sort_by_key(|file| file.first);
        Ok(files)
    }
}

/// A snapshot by its name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SnapshotFile {
    /// The last transaction that it holds completely, from its name.
    pub zxid: Zxid,
    /// How it is compressed, from its name.
    pub compression: Compression,
    /// Where it is.
    pub path: PathBuf,
    /// Its length in bytes.
    pub length: u64,
}

impl SnapshotFile {
    /// The name of the snapshot at `zxid`.
    pub fn name(zxid: Zxid, compression: Compression) -> String {
        format!("snapshot.{:x}{}", zxid.to_wire(), compression.suffix())
    }

    /// All snapshots of a folder, newest first. Other names are passed over.
    pub fn list(disk: &dyn Disk, folder: &Path) -> Result<Vec<SnapshotFile>, DiskError> {
        let mut files: Vec<SnapshotFile> = disk
            .list(folder)
            .about("list", folder)?
            .into_iter()
            .filter_map(|entry| {
                let (zxid, compression) = parse_snapshot_name(&entry.name)?;
                Some(SnapshotFile { zxid, compression, path: folder.join(entry.name), length: entry.length })
            })
            .collect();
        files.sort_by_key(|file| std::cmp::Reverse(file.zxid));
        Ok(files)
    }
}

fn parse_snapshot_name(name: &str) -> Option<(Zxid, Compression)> {
    let rest = name.strip_prefix("snapshot.")?;
    let (digits, compression) = match rest.split_once('.') {
        None => (rest, Compression::None),
        Some((digits, "gz")) => (digits, Compression::Gz),
        Some((digits, "snappy")) => (digits, Compression::Snappy),
        Some(_) => return None,
    };
    Some((parse_zxid(digits)?, compression))
}

fn parse_zxid(digits: &str) -> Option<Zxid> {
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    i64::from_str_radix(digits, 16).ok().map(Zxid::from_wire)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::real_disk::RealDisk;

    fn open(data: &Path, logs: &Path) -> Result<DataFolders, DirectoryError> {
        DataFolders::open(Arc::new(RealDisk), data, logs, MissingFolders::Create)
    }

    #[test]
    fn names_are_those_of_java() {
        assert_eq!(LogFile::name(Zxid::from_wire(0x1_0000_000a)), "log.10000000a");
        assert_eq!(SnapshotFile::name(Zxid::ZERO, Compression::Snappy), "snapshot.0.snappy");
        assert_eq!(parse_snapshot_name("snapshot.1F.gz"), Some((Zxid::from_wire(0x1f), Compression::Gz)));
        for other in
            ["snapshot.", "snapshot.5.tmp", "snapshot.5.gz.bak", "snapshot.+5", "tmp.snapshot.5", "x"]
        {
            assert_eq!(parse_snapshot_name(other), None, "{other}");
        }
        assert_eq!(parse_zxid("ffffffffffffffff"), None);
    }

    #[test]
    fn logs_sort_by_number_and_snapshots_newest_first() {
        let folder = tempfile::tempdir().unwrap();
        for name in
            ["log.a", "log.9", "log.100", "log.5.fixed", "snapshot.9", "snapshot.10.gz", "currentEpoch"]
        {
            std::fs::write(folder.path().join(name), b"x").unwrap();
        }
        let logs: Vec<_> = LogFile::list(&RealDisk, folder.path()).unwrap();
        assert_eq!(logs.iter().map(|f| f.first.to_wire()).collect::<Vec<_>>(), [9, 10, 256]);
        let snapshots: Vec<_> = SnapshotFile::list(&RealDisk, folder.path()).unwrap();
        assert_eq!(snapshots.iter().map(|f| f.zxid.to_wire()).collect::<Vec<_>>(), [16, 9]);
    }

    #[test]
    fn a_data_folder_has_one_owner_at_a_time() {
        let root = tempfile::tempdir().unwrap();
        let first = open(root.path(), root.path()).unwrap();
        assert!(matches!(open(root.path(), root.path()), Err(DirectoryError::InUse { .. })));
        drop(first);
        open(root.path(), root.path()).unwrap();
    }

    #[test]
    fn files_in_the_wrong_folder_are_refused() {
        let root = tempfile::tempdir().unwrap();
        let (data, logs) = (root.path().join("data"), root.path().join("logs"));
        drop(open(&data, &logs).unwrap());
        std::fs::write(data.join("version-2/log.1"), b"").unwrap();
        assert!(matches!(open(&data, &logs), Err(DirectoryError::WrongFolder { .. })));
        // One folder for both is fine.
        drop(open(&data, &data).unwrap());
    }

    #[test]
    fn missing_folders_are_refused_without_autocreate() {
        let root = tempfile::tempdir().unwrap();
        let result = DataFolders::open(Arc::new(RealDisk), root.path(), root.path(), MissingFolders::Refuse);
        assert!(matches!(result, Err(DirectoryError::Missing { .. })));
    }
}
