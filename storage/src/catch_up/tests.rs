use protocol::Epoch;

use super::*;
use crate::RECORD_BYTES_MAX;
use crate::directory::LogFile;
use crate::memory_disk::MemoryDisk;
use crate::snapshot::Compression;
use crate::test_data::{append_batch, folders, fresh_disk, open_log, small_snapshot, version_dir, zxid};

/// The wire form of a zxid.
fn at(epoch: u32, counter: u32) -> i64 {
    Zxid::new(Epoch::new(epoch), counter).to_wire()
}

/// A log of these batches behind `snapshot.0`; each is in a file of its own.
fn disk_with(batches: &[std::ops::RangeInclusive<i64>]) -> MemoryDisk {
    let disk = fresh_disk();
    for batch in batches {
        append_batch(&mut open_log(&disk, zxid(batch.start() - 1)), batch.clone(), 20);
    }
    disk
}

fn snapshot_at(disk: &MemoryDisk, value: i64, nodes: usize) {
    small_snapshot(disk, &version_dir(), zxid(value), Compression::None, nodes);
}

fn find(disk: &MemoryDisk, last: i64, up_to: i64) -> Result<Zxid, CatchUpError> {
    find_meeting(&folders(disk), zxid(last), zxid(up_to), LengthMax::Unlimited, RECORD_BYTES_MAX)
}

fn missed(disk: &MemoryDisk, after: i64, up_to: i64) -> Result<Vec<i64>, CatchUpError> {
    let mut missed = Missed::open(&folders(disk), zxid(after), zxid(up_to), RECORD_BYTES_MAX)?;
    let mut zxids = Vec::new();
    while let Some(record) = missed.next()? {
        zxids.push(record.zxid.to_wire());
    }
    Ok(zxids)
}

#[track_caller]
fn check_refused(found: Result<Zxid, CatchUpError>, part: &str) {
    let error = found.map_or_else(|error| error.to_string(), |zxid| format!("it meets at {zxid}"));
    assert!(error.contains(part), "{error}");
}

#[test]
fn a_log_meets_a_history_that_is_its_beginning_where_that_ends() {
    let disk = disk_with(&[1..=3, 4..=6, 7..=9]);
    for last in 1..=7 {
        assert_eq!(find(&disk, last, 8).unwrap(), zxid(last));
        assert_eq!(missed(&disk, last, 8).unwrap(), (last + 1..=8).collect::<Vec<_>>());
    }
}

#[test]
fn a_log_meets_another_history_at_the_last_transaction_before_it() {
    let disk = disk_with(&[at(1, 1)..=at(1, 5), at(2, 1)..=at(2, 3)]);
    for (last, before) in [(at(1, 9), at(1, 5)), (at(2, 0), at(1, 5)), (at(1, 4), at(1, 4))] {
        assert_eq!(find(&disk, last, at(2, 2)).unwrap(), zxid(before));
    }
    assert_eq!(missed(&disk, at(1, 5), at(2, 2)).unwrap(), [at(2, 1), at(2, 2)]);
}

#[test]
fn what_was_appended_and_is_not_asked_for_does_not_matter() {
    let disk = disk_with(&[1..=3]);
    let mut log = open_log(&disk, zxid(3));
    append_batch(&mut log, 4..=6, 20);
    // A batch that is being written: half of it is there.
    let path = version_dir().join(LogFile::name(zxid(4)));
    let mut bytes = disk.read(&path);
    let end = log.bytes_in_file() as usize;
    bytes[end..end + 30].fill(7);
    disk.put(&path, &bytes);
    assert_eq!(find(&disk, 2, 6).unwrap(), zxid(2));
    assert_eq!(missed(&disk, 2, 6).unwrap(), [3, 4, 5, 6]);
}

#[test]
fn a_log_that_begins_later_is_not_used() {
    let disk = disk_with(&[4..=6]);
    check_refused(find(&disk, 2, 6), "does not reach back");
    // It may be that of another history before the oldest snapshot.
    let disk = disk_with(&[1..=3, 4..=6]);
    snapshot_at(&disk, 4, 1);
    assert_eq!(find(&disk, 3, 6).unwrap(), zxid(3));
    disk.shared().remove(&version_dir().join("snapshot.0")).unwrap();
    check_refused(find(&disk, 3, 6), "does not reach back");
    assert_eq!(find(&disk, 4, 6).unwrap(), zxid(4));
}

#[test]
fn a_log_that_is_longer_than_its_share_of_the_newest_snapshot_is_not_used() {
    let disk = disk_with(&[1..=9]);
    snapshot_at(&disk, 5, 50);
    let snapshot_bytes = disk.read(&version_dir().join("snapshot.5")).len() as u64;
    let mut log_bytes = 0;
    let mut reader = Missed::open(&folders(&disk), zxid(2), zxid(8), RECORD_BYTES_MAX).unwrap();
    while let Some(record) = reader.next().unwrap() {
        log_bytes += (RECORD_HEAD_LENGTH + record.envelope.len() + 1) as u64;
    }
    let find = |millionths| {
        let length_max = LengthMax::Share { millionths };
        find_meeting(&folders(&disk), zxid(2), zxid(8), length_max, RECORD_BYTES_MAX)
    };
    let just_enough = (log_bytes * 1_000_000).div_ceil(snapshot_bytes) as u32;
    assert_eq!(find(just_enough).unwrap(), zxid(2));
    check_refused(find(just_enough - 1), "more than");
}

#[test]
fn a_gap_shows_also_where_an_epoch_ends() {
    let disk = disk_with(&[1..=3, 5..=6]);
    check_refused(find(&disk, 2, 6), "are missing");
    // What stood behind 1:5 gave way to a snapshot.
    let disk = disk_with(&[at(1, 1)..=at(1, 5), at(2, 1)..=at(2, 3)]);
    assert_eq!(find(&disk, at(1, 4), at(2, 3)).unwrap(), zxid(at(1, 4)));
    snapshot_at(&disk, at(1, 7), 1);
    for last in [at(1, 4), at(1, 6), at(1, 9), at(2, 0)] {
        check_refused(find(&disk, last, at(2, 3)), "are missing");
    }
    assert_eq!(find(&disk, at(2, 1), at(2, 3)).unwrap(), zxid(at(2, 1)));
}

#[test]
fn a_log_that_ends_early_or_goes_while_it_is_read_is_an_error() {
    let disk = disk_with(&[1..=3, 4..=6]);
    check_refused(find(&disk, 2, 7), "ends at");
    let mut reader = Missed::open(&folders(&disk), zxid(1), zxid(6), RECORD_BYTES_MAX).unwrap();
    assert_eq!(reader.next().unwrap().unwrap().zxid, zxid(2));
    disk.shared().remove(&version_dir().join(LogFile::name(zxid(4)))).unwrap();
    assert_eq!(reader.next().unwrap().unwrap().zxid, zxid(3));
    assert!(reader.next().is_err());
}

/// Retention may come between the search and the reading. A new epoch follows anything, so the hole shows nowhere else.
#[test]
fn a_log_that_lost_its_beginning_since_it_was_searched_is_an_error() {
    let disk = disk_with(&[at(1, 1)..=at(1, 5), at(2, 1)..=at(2, 3), at(3, 1)..=at(3, 3)]);
    assert_eq!(find(&disk, at(1, 5), at(3, 3)).unwrap(), zxid(at(1, 5)));
    assert_eq!(missed(&disk, at(1, 5), at(3, 3)).unwrap().len(), 6);
    for batch in [at(1, 1), at(2, 1)] {
        snapshot_at(&disk, batch + 2, 1);
        disk.shared().remove(&version_dir().join(LogFile::name(zxid(batch)))).unwrap();
        let error = missed(&disk, at(1, 5), at(3, 3)).unwrap_err().to_string();
        assert!(error.contains("are missing"), "{error}");
    }
}
