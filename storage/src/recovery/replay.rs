//! The log behind the snapshot: one thread reads and checks it, this one has the target apply it.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::Zxid;

use super::{RecoveryError, RecoveryTarget};
use crate::directory::{DataFolders, SnapshotFile};
use crate::disk::About;
use crate::read_ahead::{BATCH_BYTES, read_ahead};
use crate::snapshot::Refusal;
use crate::txn_log::{LogEnd, LogReadError, LogReader, RecordPlace};

/// What replay found.
pub(super) struct Replayed {
    pub(super) log: LogEnd,
    pub(super) count: u64,
    pub(super) last_place: Option<RecordPlace>,
    pub(super) doubtful: Vec<Doubtful>,
}

/// Records that can be read but may not be on stable storage.
pub(super) struct Doubtful {
    pub(super) path: PathBuf,
    pub(super) start: u64,
    pub(super) end: u64,
}

/// Applies every transaction behind `base`. What is behind `durable` is doubtful.
pub(super) fn replay(
    folders: &DataFolders,
    base: Zxid,
    record_bytes_max: usize,
    durable: Option<Zxid>,
    target: &mut dyn RecoveryTarget,
) -> Result<Replayed, RecoveryError> {
    let mut log = LogReader::open(Arc::clone(folders.disk()), folders.logs(), base, record_bytes_max)?;
    // A snapshot is started only when its zxid is in the log.
    log.must_hold(SnapshotFile::list(&**folders.disk(), folders.snapshots())?.iter().map(|newer| newer.zxid));
    let mut refused = None;
    let replayed = read_ahead(
        |send| read(log, durable, send),
        |batch: Batch| {
            if refused.is_none() {
                refused = batch.replay(target).err();
            }
        },
    );
    let replayed = replayed.about("start a thread that reads", folders.logs())?;
    // What was refused stands before anything that could not be read.
    match refused {
        Some(refused) => Err(refused),
        None => Ok(replayed?),
    }
}

fn read(
    mut log: LogReader,
    durable: Option<Zxid>,
    send: &mut dyn FnMut(Batch),
) -> Result<Replayed, LogReadError> {
    let mut count = 0;
    let mut doubtful: Vec<Doubtful> = Vec::new();
    let mut batch = Batch::new();
    loop {
        let record = match log.next() {
            Ok(record) => record,
            Err(error) => {
                send(batch);
                return Err(error);
            }
        };
        let Some(record) = record else {
            break;
        };
        let zxid = record.zxid;
        let envelope = batch.keep(record.envelope);
        let (path, offset) = log.record_start().expect("a record was read");
        batch.push(path, offset, envelope);
        count += 1;
        if durable.is_none_or(|durable| zxid > durable) {
            let RecordPlace { path, offset, end } = log.place().expect("a record was read");
            match doubtful.last_mut() {
                Some(last) if last.path == path => last.end = end,
                _ => doubtful.push(Doubtful { path, start: offset, end }),
            }
        }
        if batch.bytes.len() >= BATCH_BYTES {
            send(std::mem::replace(&mut batch, Batch::new()));
        }
    }
    send(batch);
    let last_place = log.place();
    Ok(Replayed { log: log.finish(), count, last_place, doubtful })
}

/// Some transactions, copied out of the reader's buffer.
struct Batch {
    bytes: Vec<u8>,
    /// Where each transaction stands in the bytes, and where its record stood in the file.
    records: Vec<(Range<usize>, u64)>,
    /// The files, each with the index of its first record.
    files: Vec<(usize, PathBuf)>,
}

impl Batch {
    fn new() -> Batch {
        // Nearly every record is small, so nearly no batch grows.
        let bytes = Vec::with_capacity(BATCH_BYTES + BATCH_BYTES / 8);
        Batch { bytes, records: Vec::with_capacity(BATCH_BYTES / 128), files: Vec::new() }
    }

    fn keep(&mut self, envelope: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(envelope);
        start..self.bytes.len()
    }

    fn push(&mut self, path: &Path, offset: u64, envelope: Range<usize>) {
        if self.files.last().is_none_or(|(_, last)| last != path) {
            self.files.push((self.records.len(), path.to_owned()));
        }
        self.records.push((envelope, offset));
    }

    fn replay(&self, target: &mut dyn RecoveryTarget) -> Result<(), RecoveryError> {
        for (index, (envelope, _)) in self.records.iter().enumerate() {
            let replayed = target.replay(&self.bytes[envelope.clone()]);
            replayed.map_err(|reason| self.refusal(index, reason))?;
        }
        Ok(())
    }

    fn refusal(&self, index: usize, reason: Refusal) -> RecoveryError {
        let file = self.files.iter().rfind(|(first, _)| *first <= index);
        let path = file.expect("every record has a file").1.clone();
        let offset = self.records[index].1;
        RecoveryError::Refused { path, offset, reason }
    }
}
