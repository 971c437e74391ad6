//! `durable.zxid`: a lower bound of what was acknowledged, beside the log.
//!
//! A log that ends early looks the same whether a crash cut a batch that nobody was promised or the disk lost one
//! that was acknowledged. This file tells them apart for everything older than a moment: it is written now and then
//! by a housekeeping thread and at a clean shutdown, never on the way of an acknowledgement. Java ignores it.
//!
//! Two slots of 48 bytes at offsets 0 and 4096 are written in turn, so that a torn write spoils at most the newer:
//! `magic (8) · sequence (8) · zxid (8) · CRC-32 of these (4) · zeros`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::Zxid;

use crate::disk::{About, Access, Disk, DiskError, read_full_at};
use crate::txn_log::crc32;

/// The file's name, in the folder of the logs.
pub const DURABLE_MARK_FILE: &str = "durable.zxid";
const MAGIC: [u8; 8] = *b"FKDURBL\x01";
const SLOT_BYTES: usize = 48;
const SLOT_OFFSETS: [u64; 2] = [0, 4096];

/// The mark of one folder of logs.
pub struct DurableMark {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    newest: Option<Slot>,
    unreadable: bool,
    /// A write has failed, and may yet be found in the file.
    unsure: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Slot {
    sequence: u64,
    zxid: Zxid,
}

impl DurableMark {
    /// Reads the mark, if there is one.
    pub fn load(disk: Arc<dyn Disk>, logs: &Path) -> Result<DurableMark, DiskError> {
        let path = logs.join(DURABLE_MARK_FILE);
        let mut mark = DurableMark { disk, path, newest: None, unreadable: false, unsure: false };
        if mark.disk.exists(&mark.path).about("look for", &mark.path)? {
            let file = mark.disk.open(&mark.path, Access::Read).about("open", &mark.path)?;
            for offset in SLOT_OFFSETS {
                let mut bytes = [0; SLOT_BYTES];
                read_full_at(&*file, &mut bytes, offset).about("read", &mark.path)?;
                mark.newest = mark.newest.max_by_sequence(Slot::read(&bytes));
            }
            mark.unreadable = mark.newest.is_none();
        }
        Ok(mark)
    }

    /// Everything up to here was durable once; `None` if nothing is known.
    pub fn zxid(&self) -> Option<Zxid> {
        self.newest.map(|slot| slot.zxid)
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there is a file that says nothing because both slots are damaged.
    pub(crate) fn is_unreadable(&self) -> bool {
        self.unreadable
    }

    /// Notes that everything up to `zxid` is durable in the log. Does nothing if that is known already. Syncs: not
    /// for the thread that syncs the log.
    pub fn note_durable(&mut self, zxid: Zxid) -> Result<(), DiskError> {
        if self.zxid().is_some_and(|known| known >= zxid) {
            return Ok(());
        }
        self.write(zxid)
    }

    /// Takes the mark back, before history is given up on a leader's order: both slots, so that damage to one does
    /// not bring the higher mark back. Does nothing if the mark is not above `zxid`, and cannot be.
    pub fn lower_to(&mut self, zxid: Zxid) -> Result<(), DiskError> {
        if self.zxid().is_none_or(|known| known <= zxid) && !self.unreadable && !self.unsure {
            return Ok(());
        }
        self.write(zxid)?;
        self.write(zxid)
    }

    fn write(&mut self, zxid: Zxid) -> Result<(), DiskError> {
        self.unsure = true;
        let sequence = self.newest.map_or(0, |slot| slot.sequence + 1);
        let slot = Slot { sequence, zxid };
        let is_new = !self.disk.exists(&self.path).about("look for", &self.path)?;
        let access = if is_new { Access::CreateNew } else { Access::Write };
        let file = self.disk.open(&self.path, access).about("open", &self.path)?;
        let offset = SLOT_OFFSETS[(sequence % 2) as usize];
        file.write_at(&slot.bytes(), offset).about("write", &self.path)?;
        file.sync_data().about("sync", &self.path)?;
        if is_new {
            let folder = self.path.parent().expect("the mark is in a folder");
            self.disk.sync_dir(folder).about("sync", folder)?;
        }
        self.newest = Some(slot);
        (self.unreadable, self.unsure) = (false, false);
        Ok(())
    }
}

impl std::fmt::Debug for DurableMark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DurableMark").field("path", &self.path).field("zxid", &self.zxid()).finish()
    }
}

impl Slot {
    fn read(bytes: &[u8; SLOT_BYTES]) -> Option<Slot> {
        let number = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let checksum = u32::from_be_bytes(bytes[24..28].try_into().expect("four bytes"));
        (bytes[..8] == MAGIC && checksum == crc32(&bytes[..24]))
            .then(|| Slot { sequence: number(8), zxid: Zxid::from_wire(number(16) as i64) })
    }

    fn bytes(self) -> [u8; SLOT_BYTES] {
        let mut bytes = [0; SLOT_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..16].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[16..24].copy_from_slice(&self.zxid.to_wire().to_be_bytes());
        let checksum = crc32(&bytes[..24]);
        bytes[24..28].copy_from_slice(&checksum.to_be_bytes());
        bytes
    }
}

trait Newest {
    fn max_by_sequence(self, other: Option<Slot>) -> Self;
}

impl Newest for Option<Slot> {
    fn max_by_sequence(self, other: Option<Slot>) -> Option<Slot> {
        match (self, other) {
            (Some(a), Some(b)) => Some(if b.sequence > a.sequence { b } else { a }),
            (a, b) => a.or(b),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory_disk::{Fault, MemoryDisk};
    use crate::real_disk::RealDisk;

    fn load(folder: &Path) -> DurableMark {
        DurableMark::load(Arc::new(RealDisk), folder).unwrap()
    }

    fn zxid(value: i64) -> Zxid {
        Zxid::from_wire(value)
    }

    #[test]
    fn the_mark_only_grows_unless_it_is_lowered() {
        let folder = tempfile::tempdir().unwrap();
        let mut mark = load(folder.path());
        assert_eq!(mark.zxid(), None);
        mark.note_durable(zxid(5)).unwrap();
        mark.note_durable(zxid(4)).unwrap();
        assert_eq!(load(folder.path()).zxid(), Some(zxid(5)));
        mark.note_durable(zxid(9)).unwrap();
        assert_eq!(load(folder.path()).zxid(), Some(zxid(9)));
        mark.lower_to(zxid(7)).unwrap();
        assert_eq!(load(folder.path()).zxid(), Some(zxid(7)));
    }

    #[test]
    fn a_mark_that_could_not_be_written_does_not_come_back_when_it_is_lowered() {
        let disk = MemoryDisk::default();
        let folder = Path::new("/logs");
        let mut mark = DurableMark::load(disk.shared(), folder).unwrap();
        mark.note_durable(zxid(5)).unwrap();
        // The bytes are in the file, and only the sync behind them fails.
        disk.add_fault(Fault::Fail { change: disk.changes() + 1, kind: std::io::ErrorKind::Other });
        mark.note_durable(zxid(9)).unwrap_err();
        assert_eq!(DurableMark::load(disk.shared(), folder).unwrap().zxid(), Some(zxid(9)));
        mark.lower_to(zxid(7)).unwrap();
        assert_eq!(DurableMark::load(disk.shared(), folder).unwrap().zxid(), Some(zxid(7)));
    }

    #[test]
    fn one_damaged_slot_leaves_the_other_and_never_a_wrong_mark() {
        let folder = tempfile::tempdir().unwrap();
        let mut mark = load(folder.path());
        for value in [5, 9] {
            mark.note_durable(zxid(value)).unwrap();
        }
        let path = folder.path().join(DURABLE_MARK_FILE);
        let good = std::fs::read(&path).unwrap();
        for at in (0..60).chain(4090..good.len()) {
            let mut bytes = good.clone();
            bytes[at] ^= 0xff;
            std::fs::write(&path, &bytes).unwrap();
            assert!([Some(zxid(5)), Some(zxid(9))].contains(&load(folder.path()).zxid()), "byte {at}");
            std::fs::write(&path, &good[..at]).unwrap();
            assert!([None, Some(zxid(5)), Some(zxid(9))].contains(&load(folder.path()).zxid()), "cut {at}");
        }
        // Lowering survives the loss of either slot.
        std::fs::write(&path, &good).unwrap();
        mark.lower_to(zxid(2)).unwrap();
        let lowered = std::fs::read(&path).unwrap();
        for at in [0, 4096] {
            let mut bytes = lowered.clone();
            bytes[at] ^= 0xff;
            std::fs::write(&path, &bytes).unwrap();
            assert_eq!(load(folder.path()).zxid(), Some(zxid(2)));
        }
    }
}
