//! What is removed, and above all what is not.

use super::*;
use crate::RECORD_BYTES_MAX;
use crate::memory_disk::{Fault, MemoryDisk};
use crate::snapshot::Compression;
use crate::test_data::*;

/// A snapshot every ten transactions, and a log from each of them on.
fn history() -> MemoryDisk {
    let disk = fresh_disk();
    let mut log = open_log(&disk, Zxid::ZERO);
    for round in 0..6 {
        append_batch(&mut log, round * 10 + 1..=round * 10 + 10, 30);
        log.roll().unwrap();
        let compression = if round % 2 == 0 { Compression::Gz } else { Compression::None };
        small_snapshot(&disk, &version_dir(), zxid(round * 10 + 10), compression, 2);
    }
    drop(log);
    disk.copy()
}

fn names(disk: &MemoryDisk) -> Vec<String> {
    let name = |path: PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    disk.paths().into_iter().map(name).filter(|name| name.contains('.')).collect()
}

fn purge(disk: &MemoryDisk, keep: usize) -> Purged {
    Retention::default().purge(&folders(disk), keep, RECORD_BYTES_MAX).unwrap()
}

#[test]
fn the_newest_snapshots_and_the_logs_behind_the_oldest_of_them_stay() {
    let disk = history();
    let purged = purge(&disk, 3);
    assert_eq!((purged.snapshots.len(), purged.logs.len()), (4, 3));
    assert_eq!(names(&disk), ["log.1f", "log.29", "log.33", "snapshot.28", "snapshot.32.gz", "snapshot.3c"]);
    assert_eq!(purge(&disk, 3), Purged::default());
    recover_from(&disk).unwrap();
}

#[test]
fn fewer_than_three_are_never_kept() {
    let disk = history();
    purge(&disk, 0);
    assert_eq!(names(&disk).iter().filter(|name| name.starts_with("snapshot")).count(), 3);
}

#[test]
fn damaged_snapshots_do_not_count() {
    let disk = history();
    for name in ["snapshot.3c", "snapshot.32.gz", "snapshot.28"] {
        let path = version_dir().join(name);
        let mut bytes = disk.read(&path);
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x55;
        disk.put(&path, &bytes);
    }
    purge(&disk, 3);
    let (recovered, recorder) = recover_from(&disk).unwrap();
    assert_eq!(recovered.snapshot_zxid, Some(zxid(0x1e)));
    assert_eq!((recovered.last_zxid, recorder.replayed.len()), (Some(zxid(60)), 30));
    // With only two good ones left, nothing goes.
    let disk = java_disk();
    for name in ["snapshot.47", "snapshot.3c"] {
        let bytes = disk.read(&version_dir().join(name));
        disk.put(&version_dir().join(name), &bytes[..bytes.len() - 1]);
    }
    assert_eq!(purge(&disk, 3), Purged::default());
}

#[test]
fn a_log_that_reaches_behind_a_fuzzy_snapshot_stays() {
    let disk = java_disk();
    let purged = purge(&disk, 3);
    // log.1 holds 24, which snapshot.23 need not.
    assert_eq!(purged.snapshots, [version_dir().join("snapshot.0")]);
    assert_eq!(purged.logs, [] as [PathBuf; 0]);
}

#[test]
fn a_power_loss_during_a_purge_is_harmless() {
    for step in 0.. {
        let disk = history();
        disk.add_fault(Fault::Off { from: disk.changes() + step });
        let done = Retention::default().purge(&folders(&disk), 3, RECORD_BYTES_MAX).is_ok();
        for keep in [true, false] {
            let crashed = disk.crash(&mut || keep);
            let (recovered, _) = recover_from(&crashed).unwrap();
            assert_eq!(recovered.last_zxid, Some(zxid(60)));
            purge(&crashed, 3);
            recover_from(&crashed).unwrap();
        }
        if done {
            break;
        }
    }
}

#[test]
fn a_large_file_goes_in_steps() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.1");
    std::fs::write(&path, vec![7; 9 * 1024 * 1024]).unwrap();
    remove_gently(&crate::real_disk::RealDisk, &path).unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
