//! Writer and reader together, on a real folder and on a disk in memory.

use std::io;

use protocol::log::{file_header, write_record};
use protocol::{Epoch, Zxid};

use super::*;
use crate::corruption::Damage;
use crate::memory_disk::{Fault, MemoryDisk};
use crate::test_data::*;
use crate::warning::Warning;
use crate::{RECORD_BYTES_MAX, real_disk::RealDisk};

type Found = Result<(Vec<Zxid>, LogEnd), LogReadError>;

fn read_from(disk: &MemoryDisk, after: i64) -> Found {
    let mut reader = LogReader::open(disk.shared(), &version_dir(), zxid(after), RECORD_BYTES_MAX)?;
    let mut zxids = Vec::new();
    while let Some(record) = reader.next()? {
        zxids.push(record.zxid);
    }
    Ok((zxids, reader.finish()))
}

fn read(disk: &MemoryDisk) -> Found {
    read_from(disk, 0)
}

fn damage(found: Found) -> Damage {
    match found {
        Err(LogReadError::Corrupt(corruption)) => corruption.damage,
        other => panic!("expected damage, got {other:?}"),
    }
}

fn range(from: i64, to: i64) -> Vec<Zxid> {
    (from..=to).map(zxid).collect()
}

/// A log as Java writes it, with zeros at its end.
fn java_log(disk: &MemoryDisk, zxids: &[i64]) {
    put_log(disk, zxids[0], zxids, 64);
}

fn put_log(disk: &MemoryDisk, name: i64, zxids: &[i64], zeros: usize) {
    let mut bytes = file_header().to_vec();
    for value in zxids {
        write_record(&mut bytes, &envelope(zxid(*value), 20));
    }
    bytes.resize(bytes.len() + zeros, 0);
    disk.put(&log_path(name), &bytes);
}

fn log_path(first: i64) -> std::path::PathBuf {
    version_dir().join(format!("log.{first:x}"))
}

#[test]
fn a_history_has_no_gaps_but_between_epochs() {
    let zxid = |epoch, counter| Zxid::new(Epoch::new(epoch), counter);
    assert!(follows(Zxid::ZERO, zxid(0, 1)));
    assert!(follows(zxid(1, 7), zxid(1, 8)));
    assert!(follows(zxid(1, 7), zxid(2, 1)));
    assert!(follows(zxid(2, 0), zxid(2, 1)));
    assert!(!follows(zxid(1, 7), zxid(1, 9)));
    assert!(!follows(zxid(1, 7), zxid(1, 7)));
    assert!(!follows(zxid(1, 7), zxid(2, 2)));
    assert!(!follows(zxid(2, 7), zxid(1, 8)));
    assert!(!follows(zxid(1, u32::MAX), zxid(1, 0)));
}

#[test]
fn what_was_synced_is_read_back_over_several_files() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = TxnLog::open(real(), folder.path(), Zxid::ZERO, TxnLogOptions::default());
    append_batch(&mut log, 1..=3, 10);
    append_batch(&mut log, 4..=400, 2_000);
    log.roll().unwrap();
    append_batch(&mut log, 401..=402, 10);
    assert_eq!(log.last_synced(), zxid(402));
    drop(log);
    let mut reader = LogReader::open(real(), folder.path(), zxid(2), RECORD_BYTES_MAX).unwrap();
    let mut expected = 3;
    while let Some(record) = reader.next().unwrap() {
        let size = if (4..=400).contains(&expected) { 2_000 } else { 10 };
        assert_eq!(record.envelope, envelope(zxid(expected), size));
        expected += 1;
    }
    assert_eq!(expected, 403);
    let end = reader.finish();
    assert_eq!((end.repairs, end.warnings), (vec![], vec![]));
    // A file gives its unused space back when it is closed.
    for file in crate::directory::LogFile::list(&RealDisk, folder.path()).unwrap() {
        assert!(file.length < 2_000_000, "{file:?}");
    }
}

#[test]
fn a_file_is_preallocated_and_looks_to_java_like_its_own() {
    let disk = MemoryDisk::default();
    let mut log = open_log(&disk, Zxid::ZERO);
    append_batch(&mut log, 1..=2, 20);
    let bytes = disk.read(&log_path(1));
    assert_eq!(bytes.len(), 16 + 1024);
    let mut expected = file_header().to_vec();
    for value in 1..=2 {
        write_record(&mut expected, &envelope(zxid(value), 20));
    }
    // Magic and version, then records, then a record of no length.
    assert_eq!(bytes[..8], expected[..8]);
    assert_eq!(bytes[16..expected.len()], expected[16..]);
    assert_eq!(bytes[expected.len()..expected.len() + 12], [0; 12]);
}

#[test]
fn a_range_ends_where_it_was_asked_to() {
    let disk = MemoryDisk::default();
    let mut log = open_log(&disk, Zxid::ZERO);
    append_batch(&mut log, 1..=9, 20);
    let mut reader =
        LogReader::open_range(disk.shared(), &version_dir(), zxid(3), zxid(6), RECORD_BYTES_MAX).unwrap();
    let mut zxids = Vec::new();
    while let Some(record) = reader.next().unwrap() {
        zxids.push(record.zxid);
    }
    assert_eq!(zxids, range(4, 6));
}

#[test]
fn javas_log_is_read() {
    let (zxids, end) = read(&java_disk()).unwrap();
    assert_eq!(zxids, range(1, 0x4a));
    assert_eq!((end.repairs, end.warnings), (vec![], vec![]));
}

#[test]
fn a_restarted_server_never_appends_to_an_old_file() {
    let disk = MemoryDisk::default();
    append_batch(&mut open_log(&disk, Zxid::ZERO), 1..=3, 20);
    let before = disk.read(&log_path(1));
    append_batch(&mut open_log(&disk, zxid(3)), 4..=5, 20);
    assert_eq!(disk.read(&log_path(1)), before);
    assert_eq!(read(&disk).unwrap().0, range(1, 5));
}

#[test]
fn a_file_of_the_same_name_is_replaced_only_if_nothing_is_in_it() {
    let disk = MemoryDisk::default();
    for content in [&b""[..], &[0; 100], &file_header(), &[&file_header()[..], &[7; 40]].concat()] {
        disk.put(&log_path(1), content);
        append_batch(&mut open_log(&disk, Zxid::ZERO), 1..=2, 20);
        assert_eq!(read(&disk).unwrap().0, range(1, 2));
    }
    let mut log = open_log(&disk, Zxid::ZERO);
    log.append(zxid(1), &envelope(zxid(1), 20)).unwrap();
    assert!(matches!(log.sync(), Err(TxnLogError::FileInUse { .. })));
    assert!(matches!(log.append(zxid(2), &envelope(zxid(2), 20)), Err(TxnLogError::FileInUse { .. })));
}

#[test]
fn what_cannot_be_read_back_is_not_appended_and_the_log_goes_on() {
    let disk = MemoryDisk::default();
    let mut log = open_log(&disk, Zxid::ZERO);
    append_batch(&mut log, 1..=2, 20);
    for wrong in [0, 2, 4, 1 << 33] {
        let result = log.append(zxid(wrong), &envelope(zxid(wrong), 20));
        assert!(matches!(result, Err(TxnLogError::OutOfOrder { .. })), "{wrong}");
    }
    for bytes in [vec![], vec![0; 31], envelope(zxid(4), 20), envelope(zxid(3), RECORD_BYTES_MAX)] {
        assert!(matches!(log.append(zxid(3), &bytes), Err(TxnLogError::BadEnvelope { .. })));
    }
    append_batch(&mut log, 3..=3, 20);
    append_batch(&mut log, [(1 << 32) + 1], 20);
    assert_eq!(read(&disk).unwrap().0, [range(1, 3), vec![zxid((1 << 32) + 1)]].concat());
}

#[test]
fn after_any_disk_error_the_log_repeats_it_and_touches_nothing() {
    for kind in [io::ErrorKind::StorageFull, io::ErrorKind::BrokenPipe] {
        for failing in 0..40 {
            let disk = fresh_disk();
            disk.add_fault(Fault::Fail { change: disk.changes() + failing, kind });
            let mut log = open_log(&disk, Zxid::ZERO);
            let mut acknowledged = 0;
            for value in 1..=8 {
                log.append(zxid(value), &envelope(zxid(value), 90 * value as usize)).unwrap();
                if value == 5 && log.roll().is_err() || log.sync().is_err() {
                    break;
                }
                acknowledged = value;
            }
            let changes = disk.changes();
            if acknowledged < 8 {
                let next = zxid(acknowledged + 2);
                assert!(matches!(log.sync(), Err(TxnLogError::Disk(error)) if error.kind() == kind));
                assert!(matches!(log.append(next, &envelope(next, 1)), Err(TxnLogError::Disk(_))));
                assert!(matches!(log.roll(), Err(TxnLogError::Disk(_))));
                drop(log);
                assert_eq!(disk.changes(), changes);
            }
            let (recovered, _) = recover_from(&disk.crash(&mut || true)).unwrap();
            assert!(recovered.last_zxid.unwrap() >= zxid(acknowledged), "change {failing}");
        }
    }
}

#[test]
fn a_disk_without_room_for_a_step_still_takes_what_fits() {
    let disk = MemoryDisk::default();
    // The third change is the allocation, behind the creation and the header.
    disk.add_fault(Fault::Fail { change: 2, kind: io::ErrorKind::StorageFull });
    append_batch(&mut open_log(&disk, Zxid::ZERO), 1..=3, 20);
    assert_eq!(read(&disk).unwrap().0, range(1, 3));
}

#[test]
fn a_file_above_the_size_limit_is_followed_by_a_new_one() {
    let disk = MemoryDisk::default();
    let options = TxnLogOptions { size_limit_bytes: 300, ..small_log_options() };
    let mut log = TxnLog::open(disk.shared(), &version_dir(), Zxid::ZERO, options);
    for value in 1..=9 {
        append_batch(&mut log, [value], 60);
    }
    drop(log);
    assert_eq!(disk.paths(), [log_path(1), log_path(4), log_path(7)]);
    assert_eq!(read(&disk).unwrap().0, range(1, 9));
}

#[test]
fn a_torn_record_at_the_end_of_javas_log_is_cut_off() {
    for cut in 1..100 {
        let disk = MemoryDisk::default();
        java_log(&disk, &[1, 2, 3]);
        let whole = disk.read(&log_path(1));
        let end = whole.len() - 64;
        let record = (end - 16) / 3;
        if cut > record {
            break;
        }
        // The last bytes never arrived; once as zeros, once as a shorter file.
        for zeros in [true, false] {
            let mut bytes = whole[..end - cut].to_vec();
            if zeros {
                bytes.resize(whole.len(), 0);
            }
            disk.put(&log_path(1), &bytes);
            let (zxids, log_end) = read(&disk).unwrap();
            assert_eq!(zxids, range(1, 2), "cut {cut}");
            // What is left of the record is not all zeros.
            if cut < record - 8 {
                let length = (end - record) as u64;
                assert_eq!(log_end.repairs, [Repair::Cut { path: log_path(1), length }]);
                log_end.repairs[0].carry_out(&disk).unwrap();
                assert_eq!(read(&disk).unwrap().1.warnings, []);
            }
        }
    }
}

#[test]
fn zeros_with_data_behind_them_are_damage_and_not_an_end() {
    let disk = MemoryDisk::default();
    java_log(&disk, &[1, 2, 3]);
    let mut bytes = disk.read(&log_path(1));
    let record = (bytes.len() - 64 - 16) / 3;
    bytes[16 + record..16 + 2 * record].fill(0);
    disk.put(&log_path(1), &bytes);
    assert!(matches!(damage(read(&disk)), Damage::Hole { .. }));
}

#[test]
fn lengths_that_lie_are_damage() {
    for length in [-1, i32::MIN, i32::MAX, RECORD_BYTES_MAX as i32 + 1] {
        let disk = MemoryDisk::default();
        java_log(&disk, &[1, 2]);
        let mut bytes = disk.read(&log_path(1));
        bytes[24..28].copy_from_slice(&length.to_be_bytes());
        disk.put(&log_path(1), &bytes);
        assert!(matches!(damage(read(&disk)), Damage::Length { found, .. } if found == length));
    }
}

#[test]
fn missing_and_misplaced_transactions_are_damage() {
    let found = |logs: &[&[i64]]| {
        let disk = MemoryDisk::default();
        logs.iter().for_each(|zxids| java_log(&disk, zxids));
        read(&disk)
    };
    let epoch = 1 << 32;
    assert!(found(&[&[1, 2], &[3], &[epoch + 1]]).is_ok());
    assert!(matches!(damage(found(&[&[2, 3]])), Damage::Gap { .. }));
    assert!(matches!(damage(found(&[&[1, 2], &[4]])), Damage::Gap { .. }));
    assert!(matches!(damage(found(&[&[1, 3]])), Damage::Gap { .. }));
    assert!(matches!(damage(found(&[&[1], &[epoch + 2]])), Damage::Gap { .. }));
    assert!(matches!(damage(found(&[&[1, 1]])), Damage::Order { .. }));
    assert!(matches!(damage(found(&[&[1, 2, 3], &[2]])), Damage::Order { .. }));
    let disk = MemoryDisk::default();
    put_log(&disk, 2, &[1, 2], 0);
    assert!(matches!(damage(read(&disk)), Damage::FileName { .. }));
}

#[test]
fn transactions_older_than_asked_for_may_be_anything_that_is_whole() {
    let disk = MemoryDisk::default();
    java_log(&disk, &[1, 2, 3]);
    java_log(&disk, &[7, 8, 9]);
    assert_eq!(read_from(&disk, 8).unwrap().0, range(9, 9));
    // Without the second file, 8 is followed by nothing.
    let disk = MemoryDisk::default();
    java_log(&disk, &[1, 2, 3]);
    assert_eq!(read_from(&disk, 8).unwrap().0, []);
}

#[test]
fn a_torn_file_is_no_harm_if_the_next_one_continues_it() {
    let torn = |next: &[i64]| {
        let disk = MemoryDisk::default();
        java_log(&disk, &[1, 2, 3]);
        let bytes = disk.read(&log_path(1));
        disk.put(&log_path(1), &bytes[..bytes.len() - 64 - 5]);
        java_log(&disk, next);
        disk
    };
    let (zxids, end) = read(&torn(&[3, 4])).unwrap();
    assert_eq!(zxids, range(1, 4));
    assert!(matches!(end.warnings[..], [Warning::HarmlessDamage(_)]));
    assert!(matches!(damage(read(&torn(&[4]))), Damage::CutRecord { .. }));
    // A new epoch proves nothing.
    assert!(matches!(damage(read(&torn(&[(1 << 32) + 1]))), Damage::CutRecord { .. }));
    // What is lost is older than what is asked for.
    assert_eq!(read_from(&torn(&[5, 6]), 5).unwrap().0, range(6, 6));
}

#[test]
fn blank_files_are_dropped_at_the_end_and_damage_elsewhere() {
    for blank in [&b""[..], &[0; 9], &[0; 500], &file_header()[..15]] {
        let disk = MemoryDisk::default();
        java_log(&disk, &[1, 2]);
        disk.put(&log_path(3), blank);
        let (zxids, end) = read(&disk).unwrap();
        assert_eq!(zxids, range(1, 2));
        assert_eq!(end.repairs, [Repair::Remove { path: log_path(3) }]);
        java_log(&disk, &[4]);
        assert!(matches!(damage(read(&disk)), Damage::LogHeader { .. }));
    }
    for foreign in [&[1; 40][..], &[&[0; 16][..], &[1; 40]].concat()] {
        let disk = MemoryDisk::default();
        java_log(&disk, &[1, 2]);
        disk.put(&log_path(3), foreign);
        assert!(matches!(damage(read(&disk)), Damage::LogHeader { .. }));
    }
}

#[test]
fn an_error_names_the_file_the_place_and_what_can_be_done() {
    let disk = MemoryDisk::default();
    java_log(&disk, &[1, 2]);
    java_log(&disk, &[4]);
    let text = read(&disk).unwrap_err().to_string();
    for part in ["/data/version-2/log.4", "byte 16", "0x2", "0x4", "backup", "leader"] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn appending_does_not_write_until_the_batch_is_large() {
    let disk = MemoryDisk::default();
    let mut log = open_log(&disk, Zxid::ZERO);
    let size = 1_000_000;
    let mut value = 0;
    while log.last_synced() == Zxid::ZERO {
        value += 1;
        assert!(value < 100);
        log.append(zxid(value), &envelope(zxid(value), size)).unwrap();
        assert!(log.bytes_unsynced() <= LOG_BATCH_BYTES_MAX + size);
    }
    assert_eq!(value as usize, LOG_BATCH_BYTES_MAX / (size + 100) + 1);
    log.sync().unwrap();
    assert_eq!(read(&disk).unwrap().0, range(1, value));
}
