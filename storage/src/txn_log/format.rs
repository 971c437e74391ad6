//! What our log files hold beyond Java's: a mark behind every batch.
//!
//! Records of one batch are written together and synced together, and the next batch is written only when the sync
//! came back. After a power loss any pages of the last batch may be missing while later ones are there, which looks
//! like rot in the middle of acknowledged data. The mark tells them apart: it says where the last batch starts, and
//! everything before that is known to have been durable.
//!
//! ```text
//! … record record │ 12 zeros │ magic (8) │ batch start (8) │ batch end (8) │ last zxid (8) │ CRC-32 (4) │ zeros …
//!                 └ batch end
//! ```
//!
//! The zeros make Java, and every reader of its format, see the end of the log there. The next batch overwrites the
//! mark. Files that have marks say so in the header's database id, which nobody else looks at.

use flate2::Crc;
use protocol::Zxid;
use protocol::log::{LOG_HEADER_LENGTH, LOG_MAGIC, RECORD_HEAD_LENGTH, file_header};

/// The database id in the header of files whose batches have marks: `FKMARKS1`.
const MARKED_DATABASE_ID: u64 = 0x464b_4d41_524b_5331;
const MARK_MAGIC: [u8; 8] = *b"FKSYNC\0\x01";
/// Bytes of a mark with the zeros in front.
pub(crate) const MARK_LENGTH: usize = RECORD_HEAD_LENGTH + 36;

/// The header of a file whose batches have marks.
pub(super) fn marked_header() -> [u8; LOG_HEADER_LENGTH] {
    let mut header = file_header();
    header[8..16].copy_from_slice(&MARKED_DATABASE_ID.to_be_bytes());
    header
}

/// What a file's header says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum FileHeader {
    /// Fewer bytes than a header, or nothing but zeros.
    Missing,
    /// A log as Java writes it.
    Plain,
    /// A log of ours.
    Marked,
    /// Something else.
    Foreign,
}

impl FileHeader {
    /// Judges the first bytes of a file (fewer than 16 if the file is shorter).
    pub(super) fn of(bytes: &[u8]) -> FileHeader {
        if bytes.len() < LOG_HEADER_LENGTH || bytes.iter().all(|b| *b == 0) {
            FileHeader::Missing
        } else if bytes[..4] != LOG_MAGIC.to_be_bytes() {
            FileHeader::Foreign
        } else if bytes[8..16] == MARKED_DATABASE_ID.to_be_bytes() {
            FileHeader::Marked
        } else {
            FileHeader::Plain
        }
    }
}

/// Ends a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct SyncMark {
    /// Where the batch starts; what is before it was durable when the batch was written.
    pub(super) batch_start: u64,
    /// Where its last record ends.
    pub(super) batch_end: u64,
    /// The zxid of that record.
    pub(super) last_zxid: Zxid,
}

impl SyncMark {
    /// Appends the zeros and the mark.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[0; RECORD_HEAD_LENGTH]);
        let start = out.len();
        out.extend_from_slice(&MARK_MAGIC);
        out.extend_from_slice(&self.batch_start.to_be_bytes());
        out.extend_from_slice(&self.batch_end.to_be_bytes());
        out.extend_from_slice(&self.last_zxid.to_wire().to_be_bytes());
        let checksum = crc32(&out[start..]);
        out.extend_from_slice(&checksum.to_be_bytes());
    }

    /// Reads a mark with its zeros; `None` if it is not exactly that.
    pub(super) fn read(bytes: &[u8]) -> Option<SyncMark> {
        let (zeros, mark) = bytes.get(..MARK_LENGTH)?.split_at(RECORD_HEAD_LENGTH);
        if zeros.iter().any(|b| *b != 0) || mark[..8] != MARK_MAGIC {
            return None;
        }
        let number = |at: usize| u64::from_be_bytes(mark[at..at + 8].try_into().expect("eight bytes"));
        let checksum = u32::from_be_bytes(mark[32..36].try_into().expect("four bytes"));
        (checksum == crc32(&mark[..32])).then(|| SyncMark {
            batch_start: number(8),
            batch_end: number(16),
            last_zxid: Zxid::from_wire(number(24) as i64),
        })
    }

    /// All marks in `window`, whose first byte stands at `offset` of the file, that stand where they say. The zeros in
    /// front may be overwritten by the start of the next batch.
    pub(super) fn find_any(window: &[u8], offset: u64) -> impl Iterator<Item = SyncMark> + '_ {
        (0..=window.len().saturating_sub(MARK_LENGTH)).filter_map(move |at| {
            let bytes = window.get(at..at + MARK_LENGTH)?;
            if bytes[RECORD_HEAD_LENGTH..RECORD_HEAD_LENGTH + 8] != MARK_MAGIC {
                return None;
            }
            let mut mark = [0; MARK_LENGTH];
            mark[RECORD_HEAD_LENGTH..].copy_from_slice(&bytes[RECORD_HEAD_LENGTH..]);
            SyncMark::read(&mark).filter(|mark| mark.batch_end == offset + at as u64)
        })
    }

    /// Looks for the last mark in `window`, whose first byte stands at `offset` of the file. A mark counts only if
    /// it stands where it says.
    pub(super) fn find_last(window: &[u8], offset: u64) -> Option<SyncMark> {
        (0..window.len().checked_sub(MARK_LENGTH)? + 1).rev().find_map(|at| {
            let mark = SyncMark::read(&window[at..])?;
            (mark.batch_end == offset + at as u64).then_some(mark)
        })
    }
}

pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_found_only_where_it_belongs() {
        let mark = SyncMark { batch_start: 16, batch_end: 103, last_zxid: Zxid::from_wire(7) };
        let mut window = vec![0x42; 3];
        mark.write(&mut window);
        window.extend_from_slice(&[0; 40]);
        assert_eq!(window.len(), 3 + MARK_LENGTH + 40);
        assert_eq!(SyncMark::find_last(&window, 100), Some(mark));
        assert_eq!(SyncMark::find_last(&window, 101), None);
        for at in 3..3 + MARK_LENGTH {
            let mut broken = window.clone();
            broken[at] ^= 1;
            assert_eq!(SyncMark::find_last(&broken, 100), None, "byte {at}");
        }
    }

    #[test]
    fn headers_are_told_apart() {
        assert_eq!(FileHeader::of(&file_header()), FileHeader::Plain);
        assert_eq!(FileHeader::of(&marked_header()), FileHeader::Marked);
        assert_eq!(FileHeader::of(&file_header()[..15]), FileHeader::Missing);
        assert_eq!(FileHeader::of(&[0; 16]), FileHeader::Missing);
        assert_eq!(FileHeader::of(&[1; 16]), FileHeader::Foreign);
    }
}
