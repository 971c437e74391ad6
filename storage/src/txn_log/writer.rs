//! Writing the log: one write and one sync per batch.
//!
//! Files are preallocated in large steps, and a little ahead of the records their space is overwritten with zeros,
//! in the same write as the records. Without that, every sync of a batch that touches a new block has a change of
//! the file's block map to write as well: with batches of 6 KB an fdatasync takes 110 us (sparse file or fallocate
//! alone), 65 us with zeros ahead. Zeroing a whole step at once would be as fast later but stops the log for 50 ms.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::Zxid;
use protocol::log::{LOG_HEADER_LENGTH, write_record};
use protocol::txn::TxnHeader;

use super::file_reader::{FileReader, Step};
use super::follows;
use super::format::{FileHeader, MARK_LENGTH, SyncMark, marked_header};
use crate::directory::LogFile;
use crate::disk::{About, Access, Disk, DiskError, DiskFile};

/// Unsynced bytes at which [`TxnLog::append`] syncs by itself, so that buffer and batch are bounded: a hundred
/// times what a busy server collects during one sync.
pub const LOG_BATCH_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How far ahead of the records the file is overwritten with zeros.
const ZEROS_AHEAD_BYTES: usize = 128 * 1024;
/// Batches of this size change the block map so rarely that zeros ahead would cost more than they save.
const LARGE_BATCH_BYTES: usize = 64 * 1024;

/// How the log is written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TxnLogOptions {
    /// Step in which files grow (`zookeeper.preAllocSize`); 0 for no preallocation.
    pub preallocate_bytes: u64,
    /// Size at which a new file is begun (`zookeeper.txnLogSizeLimitInKb`); 0 for no limit.
    pub size_limit_bytes: u64,
    /// The largest envelope that a reader accepts (`jute.maxbuffer` and its extra size).
    pub record_bytes_max: usize,
    /// Whether a batch is synced before it counts as durable (`zookeeper.forceSync`).
    pub durability: Durability,
}

/// What "durable" means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durability {
    /// It survives a power loss.
    PowerLoss,
    /// It survives the end of the process only. For throw-away data.
    ProcessEnd,
}

impl Default for TxnLogOptions {
    fn default() -> TxnLogOptions {
        TxnLogOptions {
            preallocate_bytes: 64 * 1024 * 1024,
            size_limit_bytes: 0,
            record_bytes_max: crate::RECORD_BYTES_MAX,
            durability: Durability::PowerLoss,
        }
    }
}

/// Why the log cannot take or keep a transaction.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TxnLogError {
    /// The disk failed. Which of the unsynced bytes are there is unknown, and trying again could report success
    /// for data that is lost, so the log refuses every later call with this same error.
    #[error("the transaction log has failed: {0}")]
    Disk(#[from] DiskError),
    /// A log of this name holds transactions that recovery did not know of. The log refuses every later call.
    #[error("{} already holds transactions", .path.display())]
    FileInUse {
        /// The file.
        path: PathBuf,
    },
    /// The zxid is not the one after the last. Nothing was appended; the log goes on.
    #[error("zxid {found} cannot follow {last} in the log")]
    OutOfOrder {
        /// The last zxid appended.
        last: Zxid,
        /// The zxid offered.
        found: Zxid,
    },
    /// The envelope is not one transaction with that zxid, or too large to be read back. Nothing was appended; the
    /// log goes on.
    #[error("an envelope of {length} bytes is not transaction {zxid}, or longer than {max} bytes")]
    BadEnvelope {
        /// The zxid it was offered under.
        zxid: Zxid,
        /// Its length.
        length: usize,
        /// The largest length.
        max: usize,
    },
}

/// The log of a server, open for writing.
///
/// Never appends to a file of an earlier run: a new file `log.<zxid>` is created when the first transaction is
/// synced.
pub struct TxnLog {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    options: TxnLogOptions,
    file: Option<OpenFile>,
    /// Records that are not written yet. Kept between batches so that appending allocates nothing.
    batch: Vec<u8>,
    /// The first record of the batch, which names the file if there is none.
    batch_first: Zxid,
    last_appended: Zxid,
    last_synced: Zxid,
    failed: Option<TxnLogError>,
}

struct OpenFile {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    /// Where the next record goes.
    end: u64,
    /// The file's length.
    allocated: u64,
    /// Up to here the file was written once, with records or with zeros.
    zeroed: u64,
}

impl TxnLog {
    /// Goes on behind `last`, the last transaction that recovery found (or the zxid of the snapshot just taken
    /// over). Touches no file yet.
    pub fn open(disk: Arc<dyn Disk>, folder: &Path, last: Zxid, options: TxnLogOptions) -> TxnLog {
        TxnLog {
            disk,
            folder: folder.to_owned(),
            options,
            file: None,
            batch: Vec::new(),
            batch_first: last,
            last_appended: last,
            last_synced: last,
            failed: None,
        }
    }

    /// Takes a transaction into the current batch. Durable only after [`TxnLog::sync`].
    pub fn append(&mut self, zxid: Zxid, envelope: &[u8]) -> Result<(), TxnLogError> {
        self.check()?;
        if !follows(self.last_appended, zxid) {
            return Err(TxnLogError::OutOfOrder { last: self.last_appended, found: zxid });
        }
        let max = self.options.record_bytes_max;
        // The zxid stands behind session (8) and cxid (4).
        let named = envelope.get(12..20) == Some(&zxid.to_wire().to_be_bytes());
        if !named || envelope.len() < TxnHeader::LENGTH || envelope.len() > max {
            return Err(TxnLogError::BadEnvelope { zxid, length: envelope.len(), max });
        }
        if self.batch.len() + envelope.len() > LOG_BATCH_BYTES_MAX {
            self.sync()?;
        }
        if self.batch.is_empty() {
            self.batch_first = zxid;
        }
        write_record(&mut self.batch, envelope);
        self.last_appended = zxid;
        Ok(())
    }

    /// Makes everything appended so far durable and gives the last zxid for which that is so.
    pub fn sync(&mut self) -> Result<Zxid, TxnLogError> {
        self.check()?;
        if self.batch.is_empty() {
            return Ok(self.last_synced);
        }
        let result = self.write_batch();
        self.note(result)?;
        self.last_synced = self.last_appended;
        let limit = self.options.size_limit_bytes;
        if limit > 0 && self.bytes_in_file() > limit {
            self.close_file();
        }
        Ok(self.last_synced)
    }

    /// Syncs and lets the next transaction begin a new file, as is done when a snapshot starts.
    pub fn roll(&mut self) -> Result<Zxid, TxnLogError> {
        let synced = self.sync()?;
        self.close_file();
        Ok(synced)
    }

    /// The last zxid appended; the next one must follow it.
    pub fn last_appended(&self) -> Zxid {
        self.last_appended
    }

    /// The last zxid known to be durable.
    pub fn last_synced(&self) -> Zxid {
        self.last_synced
    }

    /// Bytes of the current file that hold records, its header included.
    pub fn bytes_in_file(&self) -> u64 {
        self.file.as_ref().map_or(0, |file| file.end)
    }

    /// Bytes appended and not yet synced.
    pub fn bytes_unsynced(&self) -> usize {
        self.batch.len()
    }

    fn check(&self) -> Result<(), TxnLogError> {
        match &self.failed {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    fn note<T>(&mut self, result: Result<T, TxnLogError>) -> Result<T, TxnLogError> {
        if let Err(error) = &result {
            self.failed = Some(error.clone());
        }
        result
    }

    fn write_batch(&mut self) -> Result<(), TxnLogError> {
        if self.file.is_none() {
            self.file = Some(self.create_file()?);
        }
        let file = self.file.as_mut().expect("just opened");
        let end = file.end + self.batch.len() as u64;
        let mark = SyncMark { batch_start: file.end, batch_end: end, last_zxid: self.last_appended };
        mark.write(&mut self.batch);
        let written = end + MARK_LENGTH as u64;
        if written > file.allocated {
            file.allocate(written, self.options.preallocate_bytes);
        }
        if written > file.zeroed && self.batch.len() < LARGE_BATCH_BYTES {
            let ahead = (ZEROS_AHEAD_BYTES as u64).min(file.allocated.saturating_sub(written)) as usize;
            self.batch.resize(self.batch.len() + ahead, 0);
        }
        file.file.write_at(&self.batch, file.end).about("write", &file.path)?;
        if self.options.durability == Durability::PowerLoss {
            file.file.sync_data().about("sync", &file.path)?;
        }
        file.zeroed = file.zeroed.max(file.end + self.batch.len() as u64);
        file.allocated = file.allocated.max(written);
        file.end = end;
        self.batch.clear();
        Ok(())
    }

    /// Creates the file for the current batch. Its header and its name are durable before any record is written, so
    /// that a file with records but without header can only be damage.
    fn create_file(&self) -> Result<OpenFile, TxnLogError> {
        let path = self.folder.join(LogFile::name(self.batch_first));
        if self.disk.exists(&path).about("look for", &path)? {
            self.remove_empty(&path)?;
        }
        let file = self.disk.open(&path, Access::CreateNew).about("create", &path)?;
        let header_end = LOG_HEADER_LENGTH as u64;
        file.write_at(&marked_header(), 0).about("write", &path)?;
        let mut open = OpenFile { file, path, end: header_end, allocated: header_end, zeroed: header_end };
        open.allocate(header_end, self.options.preallocate_bytes);
        if self.options.durability == Durability::PowerLoss {
            open.file.sync_all().about("sync", &open.path)?;
            self.disk.sync_dir(&self.folder).about("sync", &self.folder)?;
        }
        Ok(open)
    }

    /// A file of the next name can only be one in which no transaction survived. Makes sure, and removes it.
    fn remove_empty(&self, path: &Path) -> Result<(), TxnLogError> {
        let mut reader = FileReader::open(&*self.disk, path, self.options.record_bytes_max)?;
        if reader.header() == FileHeader::Foreign || matches!(reader.step()?, Step::Record { .. }) {
            return Err(TxnLogError::FileInUse { path: path.to_owned() });
        }
        Ok(self.disk.remove(path).about("remove", path)?)
    }

    /// Gives the unused space of a file back. If that fails, zeros stay, which harm nobody.
    fn close_file(&mut self) {
        if let Some(file) = self.file.take()
            && let Err(error) = file.file.set_length(file.end + MARK_LENGTH as u64)
        {
            tracing::warn!(path = %file.path.display(), %error, "a log file keeps its unused space");
        }
    }
}

impl OpenFile {
    /// Makes room until `wanted` and beyond, in steps. A disk that is too full for a step may still have room for
    /// the batch, so this may fail; the write then decides.
    fn allocate(&mut self, wanted: u64, step_bytes: u64) {
        if step_bytes == 0 {
            return;
        }
        let header = LOG_HEADER_LENGTH as u64;
        let length = header + ((wanted - header) / step_bytes + 1) * step_bytes;
        match self.file.allocate(length) {
            Ok(()) => self.allocated = length,
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, length, "no space for a step of the log");
            }
        }
    }
}

impl Drop for TxnLog {
    /// Closes the file. What was not synced is not durable: nobody was promised that it is.
    fn drop(&mut self) {
        if self.failed.is_none() {
            self.close_file();
        }
    }
}
