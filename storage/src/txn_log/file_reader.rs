//! One log file, record by record, and the judgement of what stands behind the last good record.

use std::path::{Path, PathBuf};

use protocol::log::{LOG_HEADER_LENGTH, RECORD_END, RECORD_HEAD_LENGTH, record_checksum};
use protocol::txn::TxnHeader;
use protocol::{Reader, Zxid};

use super::format::{FileHeader, MARK_LENGTH, SyncMark};
use super::writer::LOG_BATCH_BYTES_MAX;
use crate::corruption::{Corruption, Damage};
use crate::disk::{About, Access, Disk, DiskError, DiskFile, read_full_at};

/// How much is read at once.
const CHUNK_BYTES: usize = 256 * 1024;

/// Reads one file.
pub(super) struct FileReader {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    header: FileHeader,
    record_bytes_max: usize,
    /// Bytes of the file from `buffer_offset` on.
    buffer: Vec<u8>,
    buffer_offset: u64,
    /// Where the next record starts.
    offset: u64,
    length: u64,
}

/// What stands at the reader's place.
pub(super) enum Step {
    /// A good record, which is now behind the reader.
    Record { zxid: Zxid, offset: u64, envelope: std::ops::Range<usize> },
    /// No good record.
    Stop(Stop),
}

/// Why there is no good record.
pub(super) enum Stop {
    /// The end of the file, or a length of 0.
    Nothing,
    /// A damaged record; `extent` is how many bytes it claims, or those of its head if that cannot be believed.
    Damaged { damage: Damage, extent: u64 },
}

/// The judgement of a file's end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Tail {
    /// Zeros only.
    Clean,
    /// What a crash leaves of a batch that was being written: nothing acknowledged is missing, if the disk kept
    /// what it had synced.
    Torn(Damage),
    /// Anything else.
    Corrupt(Damage),
}

impl FileReader {
    /// Opens the file and reads its header.
    pub(super) fn open(
        disk: &dyn Disk,
        path: &Path,
        record_bytes_max: usize,
    ) -> Result<FileReader, DiskError> {
        let file = disk.open(path, Access::Read).about("open", path)?;
        let length = file.length().about("measure", path)?;
        let mut header = [0; LOG_HEADER_LENGTH];
        let count = read_full_at(&*file, &mut header, 0).about("read", path)?;
        Ok(FileReader {
            file,
            path: path.to_owned(),
            header: FileHeader::of(&header[..count]),
            record_bytes_max,
            buffer: Vec::new(),
            buffer_offset: LOG_HEADER_LENGTH as u64,
            offset: LOG_HEADER_LENGTH as u64,
            length,
        })
    }

    /// What the header says.
    pub(super) fn header(&self) -> FileHeader {
        self.header
    }

    /// Where the file is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the next record starts; behind the last good one.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The bytes of the record that the last step gave.
    pub(super) fn envelope(&self, range: &std::ops::Range<usize>) -> &[u8] {
        &self.buffer[range.clone()]
    }

    /// Puts damage at the reader's place.
    pub(super) fn corruption(&self, damage: Damage) -> Corruption {
        Corruption { path: self.path.clone(), offset: self.offset, damage }
    }

    /// Whether nothing but zeros stands from the beginning on.
    pub(super) fn is_blank(&self) -> Result<bool, DiskError> {
        Ok(self.last_data_from(0)?.is_none())
    }

    /// Reads the next record.
    pub(super) fn step(&mut self) -> Result<Step, DiskError> {
        let head = self.window(RECORD_HEAD_LENGTH)?;
        if head.len() < RECORD_HEAD_LENGTH {
            if head.iter().all(|b| *b == 0) {
                return Ok(Step::Stop(Stop::Nothing));
            }
            let damage = Damage::CutRecord { needed: RECORD_HEAD_LENGTH as u64, found: head.len() as u64 };
            return Ok(Step::Stop(Stop::Damaged { damage, extent: RECORD_HEAD_LENGTH as u64 }));
        }
        let checksum = i64::from_be_bytes(head[..8].try_into().expect("eight bytes"));
        let length = i32::from_be_bytes(head[8..12].try_into().expect("four bytes"));
        if length == 0 {
            return Ok(Step::Stop(Stop::Nothing));
        }
        let max = self.record_bytes_max;
        let Some(envelope_length) = usize::try_from(length).ok().filter(|length| *length <= max) else {
            let damage = Damage::Length { max, found: length };
            return Ok(Step::Stop(Stop::Damaged { damage, extent: RECORD_HEAD_LENGTH as u64 }));
        };
        self.framed(checksum, envelope_length)
    }

    fn framed(&mut self, checksum: i64, length: usize) -> Result<Step, DiskError> {
        let size = RECORD_HEAD_LENGTH + length + 1;
        let extent = size as u64;
        let stop = |damage| Ok(Step::Stop(Stop::Damaged { damage, extent }));
        let bytes = self.window(size)?;
        if bytes.len() < size {
            return stop(Damage::CutRecord { needed: size as u64, found: bytes.len() as u64 });
        }
        let (envelope, end) = (&bytes[RECORD_HEAD_LENGTH..size - 1], bytes[size - 1]);
        let found = record_checksum(envelope);
        if found != checksum {
            return stop(Damage::Checksum { expected: checksum, found });
        }
        if end != RECORD_END {
            return stop(Damage::RecordEnd { found: end });
        }
        let Ok(header) = TxnHeader::read(&mut Reader::new(envelope)) else {
            return stop(Damage::Header { length });
        };
        let start = (self.offset - self.buffer_offset) as usize + RECORD_HEAD_LENGTH;
        let offset = self.offset;
        self.offset += size as u64;
        Ok(Step::Record { zxid: header.zxid, offset, envelope: start..start + length })
    }

    /// The next `wanted` bytes, or as many as the file has.
    fn window(&mut self, wanted: usize) -> Result<&[u8], DiskError> {
        let mut start = (self.offset - self.buffer_offset) as usize;
        if self.buffer.len() - start < wanted {
            self.buffer.drain(..start);
            self.buffer_offset = self.offset;
            start = 0;
            let have = self.buffer.len();
            let at = self.offset + have as u64;
            // What the file does not have is not reserved, whatever a length says.
            let left = usize::try_from(self.length.saturating_sub(at)).unwrap_or(usize::MAX);
            self.buffer.resize(have + left.min((wanted - have).max(CHUNK_BYTES)), 0);
            let count = read_full_at(&*self.file, &mut self.buffer[have..], at).about("read", &self.path)?;
            self.buffer.truncate(have + count);
        }
        let available = wanted.min(self.buffer.len() - start);
        Ok(&self.buffer[start..start + available])
    }

    /// Judges everything behind the last good record; see [`Tail`].
    pub(super) fn judge(&self, stop: &Stop) -> Result<Tail, DiskError> {
        let Some(data_until) = self.last_data_from(self.offset)? else {
            return Ok(Tail::Clean);
        };
        let damage = match stop {
            Stop::Nothing => Damage::Hole { data_until },
            Stop::Damaged { damage, .. } => damage.clone(),
        };
        if matches!(damage, Damage::Header { .. }) {
            // Its checksum is right, so no crash made it.
            return Ok(Tail::Corrupt(damage));
        }
        let torn = match self.header {
            FileHeader::Marked => match self.judge_by_marks(data_until)? {
                None => return Ok(Tail::Clean),
                Some(torn) => torn,
            },
            // Without marks only a single record can be called torn: all data lies within it, and no good record.
            _ => {
                let extent = match stop {
                    Stop::Nothing => RECORD_HEAD_LENGTH as u64,
                    Stop::Damaged { extent, .. } => *extent,
                };
                data_until < self.offset + extent && !self.holds_record(data_until)?
            }
        };
        Ok(if torn { Tail::Torn(damage) } else { Tail::Corrupt(damage) })
    }

    /// Whether a good record starts anywhere behind the reader's place: then a wrong length, not a crash, hides it.
    fn holds_record(&self, data_until: u64) -> Result<bool, DiskError> {
        let from = self.offset + 1;
        // Within the extent of one record, so this is bounded.
        let mut bytes = vec![0; (data_until + 1).saturating_sub(from) as usize];
        let count = read_full_at(&*self.file, &mut bytes, from).about("read", &self.path)?;
        Ok((0..count).any(|at| self.is_record(&bytes[at..count])))
    }

    fn is_record(&self, bytes: &[u8]) -> bool {
        // The upper half of a checksum is zero, which rules nearly every place out.
        let Some((head, rest)) = bytes.split_at_checked(RECORD_HEAD_LENGTH) else {
            return false;
        };
        let length = u32::from_be_bytes(head[8..].try_into().expect("four bytes")) as usize;
        head[..4] == [0; 4]
            && (TxnHeader::LENGTH..=self.record_bytes_max).contains(&length)
            && rest.get(length) == Some(&RECORD_END)
            && record_checksum(&rest[..length]).to_be_bytes() == head[..8]
    }

    /// `None` if the last batch is complete, else whether all damage lies within the last batch.
    fn judge_by_marks(&self, data_until: u64) -> Result<Option<bool>, DiskError> {
        let mut window = [0; 2 * MARK_LENGTH];
        let count = read_full_at(&*self.file, &mut window, self.offset).about("read", &self.path)?;
        let own =
            SyncMark::read(&window[..count.min(MARK_LENGTH)]).filter(|mark| mark.batch_end == self.offset);
        if own.is_some() && data_until < self.offset + MARK_LENGTH as u64 {
            return Ok(None);
        }
        // The last byte of a mark may be zero, so it may reach a little beyond the last data.
        let from = (data_until + 5).saturating_sub(2 * MARK_LENGTH as u64).max(self.offset);
        let count = read_full_at(&*self.file, &mut window, from).about("read", &self.path)?;
        Ok(Some(match SyncMark::find_last(&window[..count], from) {
            // A batch that was begun before this place is the last one: the damage is within it.
            Some(last) if last.batch_end > self.offset => last.batch_start <= self.offset,
            // The last mark is lost with its batch. Only one batch is ever unsynced, and what a crash left of it may
            // still show the mark of the one before, which then proves that this place was durable.
            _ if self.is_marked_durable(data_until)? => false,
            _ => {
                data_until - self.offset <= (LOG_BATCH_BYTES_MAX + self.record_bytes_max + MARK_LENGTH) as u64
            }
        }))
    }

    /// Whether a mark behind this place says that a batch was begun later: then this place was durable.
    fn is_marked_durable(&self, data_until: u64) -> Result<bool, DiskError> {
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut from = self.offset;
        while from <= data_until {
            let count = read_full_at(&*self.file, &mut chunk, from).about("read", &self.path)?;
            if SyncMark::find_any(&chunk[..count], from).any(|mark| mark.batch_start > self.offset) {
                return Ok(true);
            }
            from += (CHUNK_BYTES - MARK_LENGTH) as u64;
        }
        Ok(false)
    }

    /// Where the last byte at or behind `from` stands that is not zero.
    fn last_data_from(&self, from: u64) -> Result<Option<u64>, DiskError> {
        let mut chunk = vec![0; CHUNK_BYTES.min(self.length.saturating_sub(from) as usize)];
        let mut end = self.length;
        while end > from {
            let start = end.saturating_sub(CHUNK_BYTES as u64).max(from);
            let part = &mut chunk[..(end - start) as usize];
            let count = read_full_at(&*self.file, part, start).about("read", &self.path)?;
            let part = &part[..count];
            // The fold compiles to vector code; nearly every chunk is all zeros.
            if part.iter().fold(0, |any, b| any | b) != 0 {
                return Ok(part.iter().rposition(|b| *b != 0).map(|at| start + at as u64));
            }
            end = start;
        }
        Ok(None)
    }
}
