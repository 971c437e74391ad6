//! The transactions of all log files behind a zxid, in order and without gaps, or the reason why not.

use std::collections::VecDeque;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::Zxid;

use super::file_reader::{FileReader, Step, Stop, Tail};
use super::follows;
use super::format::FileHeader;
use crate::corruption::{Corruption, Damage};
use crate::directory::LogFile;
use crate::disk::{About, Access, Disk, DiskError};
use crate::warning::Warning;

/// Why the log cannot be read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LogReadError {
    /// The disk said no.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Acknowledged data may be lost.
    #[error(transparent)]
    Corrupt(#[from] Corruption),
}

/// One transaction of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogRecord<'a> {
    /// Its zxid.
    pub zxid: Zxid,
    /// Its bytes: header, body, perhaps a digest.
    pub envelope: &'a [u8],
}

/// A change that makes the log end cleanly. Reading only notes it; who knows that nothing acknowledged is lost
/// carries it out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Repair {
    /// Cut a file.
    Cut {
        /// The file.
        path: PathBuf,
        /// Its new length.
        length: u64,
    },
    /// Remove a file.
    Remove {
        /// The file.
        path: PathBuf,
    },
}

impl Repair {
    /// Changes the file and makes the change durable.
    pub fn carry_out(&self, disk: &dyn Disk) -> Result<(), DiskError> {
        let (Repair::Cut { path, .. } | Repair::Remove { path }) = self;
        match self {
            Repair::Cut { path, length } => {
                let file = disk.open(path, Access::Write).about("open", path)?;
                file.set_length(*length).about("cut", path)?;
                file.sync_all().about("sync", path)?;
            }
            Repair::Remove { path } => disk.remove(path).about("remove", path)?,
        }
        let folder = path.parent().expect("a log file has a folder");
        disk.sync_dir(folder).about("sync", folder)
    }
}

/// What was found at the end of the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogEnd {
    /// The last zxid read, or where reading started if there was none.
    pub last: Zxid,
    /// What should be changed before the log is continued.
    pub repairs: Vec<Repair>,
    /// What was noticed.
    pub warnings: Vec<Warning>,
}

/// Where a record was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct RecordPlace {
    pub(crate) path: PathBuf,
    /// Its first byte.
    pub(crate) offset: u64,
    /// The byte behind it.
    pub(crate) end: u64,
}

/// Reads the log of a folder. Checks every checksum and that no transaction is missing.
pub struct LogReader {
    disk: Arc<dyn Disk>,
    record_bytes_max: usize,
    files: VecDeque<LogFile>,
    current: Option<Current>,
    after: Zxid,
    up_to: Option<Zxid>,
    last: Zxid,
    /// The last transaction that was passed over because it does not come behind `after`.
    passed_over: Option<Zxid>,
    /// Whether `after` must have been passed over.
    reaches_back: bool,
    /// Transactions behind `last` that are known to have been there, in order.
    landmarks: VecDeque<Zxid>,
    /// Damage in an earlier file, until a later one proves that nothing is missing.
    doubt: Option<Corruption>,
    record: (Zxid, u64, Range<usize>),
    /// Where the last record of the files that are done stands.
    last_place: Option<RecordPlace>,
    repairs: Vec<Repair>,
    warnings: Vec<Warning>,
}

struct Current {
    reader: FileReader,
    first: Zxid,
    records: u64,
    /// Where the last record stands that was handed out from here.
    last_accepted: Option<u64>,
}

impl LogReader {
    /// Starts right behind `after`; a transaction with that zxid need not be in the log.
    pub fn open(
        disk: Arc<dyn Disk>,
        folder: &Path,
        after: Zxid,
        record_bytes_max: usize,
    ) -> Result<LogReader, LogReadError> {
        let mut files: VecDeque<LogFile> = LogFile::list(&*disk, folder)?.into();
        // The newest file that starts at or before `after` may go on behind it.
        while files.get(1).is_some_and(|second| second.first <= after) {
            files.pop_front();
        }
        let mut reader = LogReader {
            disk,
            record_bytes_max,
            files,
            current: None,
            after,
            up_to: None,
            last: after,
            passed_over: None,
            reaches_back: false,
            landmarks: VecDeque::new(),
            doubt: None,
            record: (after, 0, 0..0),
            last_place: None,
            repairs: Vec::new(),
            warnings: Vec::new(),
        };
        reader.drop_blank_files_at_the_end()?;
        Ok(reader)
    }

    /// Likewise, but ends at `up_to` and does not judge what stands behind it: the log may be being written.
    pub fn open_range(
        disk: Arc<dyn Disk>,
        folder: &Path,
        after: Zxid,
        up_to: Zxid,
        record_bytes_max: usize,
    ) -> Result<LogReader, LogReadError> {
        let mut reader = LogReader::open(disk, folder, after, record_bytes_max)?;
        reader.up_to = Some(up_to);
        Ok(reader)
    }

    /// Names transactions that were once in this log. One that is skipped is a gap, even where an epoch ends, which
    /// shows in no other way.
    pub(crate) fn must_hold(&mut self, zxids: impl IntoIterator<Item = Zxid>) {
        // Counter 0 names the start of an epoch, which is not in the log.
        let missing = zxids.into_iter().filter(|zxid| *zxid > self.after && zxid.counter() != 0);
        let mut landmarks: Vec<Zxid> = missing.collect();
        landmarks.sort();
        self.landmarks = landmarks.into();
    }

    /// Where reading starts must be a transaction of the log. If it is not, what stood between it and the first one that
    /// is left may have been removed.
    pub(crate) fn must_reach_back(&mut self) {
        self.reaches_back = true;
    }

    /// A crash while a file is being created leaves it without header; nothing was ever in it.
    fn drop_blank_files_at_the_end(&mut self) -> Result<(), LogReadError> {
        while let Some(file) = self.files.back() {
            let reader = FileReader::open(&*self.disk, &file.path, self.record_bytes_max)?;
            let stub = file.length < protocol::log::LOG_HEADER_LENGTH as u64;
            if reader.header() != FileHeader::Missing || !(stub || reader.is_blank()?) {
                return Ok(());
            }
            self.repairs.push(Repair::Remove { path: file.path.clone() });
            self.warnings.push(Warning::EmptyLog { path: file.path.clone() });
            self.files.pop_back();
        }
        Ok(())
    }

    /// The next transaction; `None` at the end.
    #[expect(clippy::should_implement_trait, reason = "the record borrows from the reader")]
    pub fn next(&mut self) -> Result<Option<LogRecord<'_>>, LogReadError> {
        if !self.advance()? {
            return Ok(None);
        }
        let (zxid, _, envelope) = &self.record;
        let current = self.current.as_ref().expect("a record was read from an open file");
        Ok(Some(LogRecord { zxid: *zxid, envelope: current.reader.envelope(envelope) }))
    }

    /// Where the record stands that was read last; `None` before the first.
    pub(crate) fn place(&self) -> Option<RecordPlace> {
        match &self.current {
            Some(Current { reader, last_accepted: Some(offset), .. }) => {
                let (path, end) = (reader.path().to_owned(), reader.offset());
                Some(RecordPlace { path, offset: *offset, end })
            }
            _ => self.last_place.clone(),
        }
    }

    /// The file and the offset of the record that was read last.
    pub(crate) fn record_start(&self) -> Option<(&Path, u64)> {
        self.current.as_ref().map(|current| (current.reader.path(), self.record.1))
    }

    /// The last transaction that does not come behind where reading started, if the log has one; known once
    /// [`LogReader::next`] was called.
    pub(crate) fn passed_over(&self) -> Option<Zxid> {
        self.passed_over
    }

    /// The last zxid read, or where reading started.
    pub fn last(&self) -> Zxid {
        self.last
    }

    /// What is to be done and to be said. Complete only after [`LogReader::next`] gave `None`.
    pub fn finish(self) -> LogEnd {
        LogEnd { last: self.last, repairs: self.repairs, warnings: self.warnings }
    }

    fn advance(&mut self) -> Result<bool, LogReadError> {
        if self.up_to.is_some_and(|up_to| self.last >= up_to) {
            return Ok(false);
        }
        loop {
            let Some(current) = &mut self.current else {
                if self.open_next()? {
                    continue;
                }
                // A file behind the damaged one had records, all of them older than what was asked for.
                return match self.doubt.take() {
                    Some(doubt) => Err(doubt.into()),
                    None => Ok(false),
                };
            };
            match current.reader.step()? {
                Step::Record { zxid, offset, envelope } => {
                    self.record = (zxid, offset, envelope);
                    if self.accept()? {
                        return Ok(true);
                    }
                }
                Step::Stop(stop) => self.end_file(&stop)?,
            }
        }
    }

    /// Opens the next file; `false` if there is none.
    fn open_next(&mut self) -> Result<bool, LogReadError> {
        let Some(file) = self.files.pop_front() else {
            return Ok(false);
        };
        let reader = FileReader::open(&*self.disk, &file.path, self.record_bytes_max)?;
        if matches!(reader.header(), FileHeader::Missing | FileHeader::Foreign) {
            let found = match reader.header() {
                FileHeader::Missing => "no header",
                _ => "another magic number",
            };
            let damage = Damage::LogHeader { found: found.to_owned() };
            self.suspect(Corruption { path: file.path, offset: 0, damage })?;
            return Ok(true);
        }
        self.current = Some(Current { reader, first: file.first, records: 0, last_accepted: None });
        Ok(true)
    }

    /// Checks the order of a good record; `false` if it is older than what was asked for.
    fn accept(&mut self) -> Result<bool, LogReadError> {
        let current = self.current.as_mut().expect("a record was read from an open file");
        let (zxid, offset, _) = self.record;
        let corruption = |damage| Corruption { path: current.reader.path().to_owned(), offset, damage };
        if current.records == 0 && zxid != current.first {
            return Err(corruption(Damage::FileName { expected: current.first, found: zxid }).into());
        }
        current.records += 1;
        if zxid <= self.after && self.last == self.after {
            // Whatever an earlier file lost comes before this one, which is not asked for either.
            self.settle_doubt();
            self.passed_over = Some(zxid);
            return Ok(false);
        }
        if self.reaches_back && self.last == self.after && self.passed_over != Some(self.after) {
            return Err(corruption(Damage::Gap { previous: self.after, found: zxid }).into());
        }
        if !follows(self.last, zxid) {
            let previous = self.last;
            return Err(match self.doubt.take() {
                Some(doubt) => doubt.into(),
                None if zxid <= previous => corruption(Damage::Order { previous, found: zxid }).into(),
                None => corruption(Damage::Gap { previous, found: zxid }).into(),
            });
        }
        if zxid.epoch() != self.last.epoch() {
            // A new epoch may follow anything, so it proves nothing about what the old one lost.
            if let Some(doubt) = self.doubt.take() {
                return Err(doubt.into());
            }
        }
        while let Some(landmark) = self.landmarks.front()
            && *landmark <= zxid
        {
            if *landmark < zxid && *landmark > self.last {
                return Err(corruption(Damage::Gap { previous: self.last, found: zxid }).into());
            }
            self.landmarks.pop_front();
        }
        current.last_accepted = Some(offset);
        self.settle_doubt();
        self.last = zxid;
        Ok(true)
    }

    fn end_file(&mut self, stop: &Stop) -> Result<(), LogReadError> {
        self.last_place = self.place();
        let current = self.current.take().expect("a file is open");
        let path = current.reader.path().to_owned();
        let is_last = self.files.is_empty();
        let tail = current.reader.judge(stop)?;
        if is_last && current.records == 0 && !matches!(tail, Tail::Corrupt(_)) {
            self.repairs.push(Repair::Remove { path: path.clone() });
            self.warnings.push(Warning::EmptyLog { path });
            return Ok(());
        }
        match (tail, is_last) {
            (Tail::Clean, _) => Ok(()),
            (Tail::Torn(_), true) => {
                let offset = current.reader.offset();
                self.repairs.push(Repair::Cut { path: path.clone(), length: offset });
                self.warnings.push(Warning::TornTail { path, offset, last: self.last });
                Ok(())
            }
            (Tail::Torn(damage) | Tail::Corrupt(damage), _) => {
                self.suspect(current.reader.corruption(damage))
            }
        }
    }

    /// Damage in the last file cannot be proven harmless; elsewhere the next file shows whether anything is missing.
    fn suspect(&mut self, corruption: Corruption) -> Result<(), LogReadError> {
        if let Some(doubt) = self.doubt.take() {
            return Err(doubt.into());
        }
        if self.files.is_empty() {
            return Err(corruption.into());
        }
        self.doubt = Some(corruption);
        Ok(())
    }

    fn settle_doubt(&mut self) {
        if let Some(corruption) = self.doubt.take() {
            self.warnings.push(Warning::HarmlessDamage(corruption));
        }
    }
}
