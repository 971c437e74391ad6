//! The fault atlas: which bytes of a log may rot without anybody being able to hide it.
//!
//! On one machine there is no second copy, so rot is survivable only where something else tells that data is
//! missing. A record in the middle is guarded by its checksum and by what follows it. The last batch of the newest
//! log is not: when it is damaged it looks like one that a crash cut before anybody was told. Two things push that
//! border back: the mark behind a batch says that everything before the batch was durable, and `durable.zxid` says
//! so for everything up to its zxid.

use protocol::Zxid;
use protocol::log::{LOG_HEADER_LENGTH, RECORD_HEAD_LENGTH};

/// What a mark behind a batch starts with, behind twelve zeros.
const MARK_MAGIC: &[u8] = b"FKSYNC\0\x01";

/// The places where records end, with their zxids, as far as these follow each other: what stands behind may be what a
/// crash left of a batch.
fn records(bytes: &[u8]) -> impl Iterator<Item = (u64, Zxid)> + '_ {
    let mut at = LOG_HEADER_LENGTH;
    let mut last: Option<Zxid> = None;
    std::iter::from_fn(move || {
        let head = bytes.get(at..at + RECORD_HEAD_LENGTH)?;
        let length = u32::from_be_bytes(*head.last_chunk::<4>()?) as usize;
        let envelope = bytes.get(at + RECORD_HEAD_LENGTH..)?.get(..length)?;
        let zxid = Zxid::from_wire(i64::from_be_bytes(*envelope.get(12..20)?.first_chunk::<8>()?));
        if last.is_some_and(|last| last.next() != Some(zxid)) {
            return None;
        }
        last = Some(zxid);
        at += RECORD_HEAD_LENGTH + length + 1;
        Some((at as u64, zxid))
    })
}

/// Whether there is a record at all.
pub(super) fn has_records(bytes: &[u8]) -> bool {
    records(bytes).next().is_some()
}

/// The first transaction, to put logs into their order.
pub(super) fn first_zxid(bytes: &[u8]) -> Zxid {
    records(bytes).next().map_or(Zxid::ZERO, |(_, zxid)| zxid)
}

/// The end of the last record; 0 if there is none.
pub(super) fn end_of_records(bytes: &[u8]) -> u64 {
    records(bytes).last().map_or(0, |(end, _)| end)
}

/// Up to where the newest log is guarded.
pub(super) fn end_in_newest(bytes: &[u8], mark: Zxid) -> u64 {
    let by_durable_mark = records(bytes).filter(|(_, zxid)| *zxid <= mark).last().map_or(0, |(end, _)| end);
    by_durable_mark.max(batch_start(bytes).unwrap_or(0))
}

/// Where the last batch starts, if the mark behind it is whole:
/// `magic (8) · batch start (8) · batch end (8) · last zxid (8) · CRC-32 of these (4)`.
fn batch_start(bytes: &[u8]) -> Option<u64> {
    let end = end_of_records(bytes);
    let mark = bytes.get(end as usize + RECORD_HEAD_LENGTH..)?.get(..36)?;
    let number = |at: usize| u64::from_be_bytes(*mark[at..].first_chunk::<8>().expect("eight bytes"));
    let checksum = u32::from_be_bytes(*mark.last_chunk::<4>()?);
    let whole = mark.starts_with(MARK_MAGIC) && number(16) == end && checksum == crc32(&mark[..32]);
    whole.then(|| number(8))
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(
            crc ^ u32::from(byte),
            |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 },
        )
    })
}
