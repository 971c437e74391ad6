//! Cutting history and replacing it, with power losses at every step.

use protocol::Epoch;

use super::*;
use crate::RECORD_BYTES_MAX;
use crate::corruption::Damage;
use crate::epoch_files::{EpochFiles, Epochs};
use crate::memory_disk::{Dice, Fault, MemoryDisk};
use crate::snapshot::Compression;
use crate::test_data::*;

/// Snapshots at 0, 4 and 9; logs 1-3, 4-6, 7-10.
fn history() -> MemoryDisk {
    let disk = fresh_disk();
    let mut log = open_log(&disk, Zxid::ZERO);
    for (from, to) in [(1, 3), (4, 6), (7, 10)] {
        append_batch(&mut log, from..=to, 30);
        log.roll().unwrap();
    }
    drop(log);
    small_snapshot(&disk, &version_dir(), zxid(4), Compression::None, 2);
    small_snapshot(&disk, &version_dir(), zxid(9), Compression::None, 2);
    disk.copy()
}

fn cut(disk: &MemoryDisk, to: i64) -> Result<Zxid, TruncateError> {
    let mut mark = DurableMark::load(disk.shared(), &version_dir()).unwrap();
    truncate(&folders(disk), zxid(to), RECORD_BYTES_MAX, &mut mark)
}

fn last(disk: &MemoryDisk) -> i64 {
    recover_from(disk).unwrap().0.last_zxid.unwrap().to_wire()
}

#[test]
fn everything_behind_the_zxid_is_gone_and_everything_before_it_stays() {
    for to in 0..=10 {
        let disk = history();
        let mut mark = DurableMark::load(disk.shared(), &version_dir()).unwrap();
        mark.note_durable(zxid(10)).unwrap();
        assert_eq!(cut(&disk, to).unwrap(), zxid(to));
        let (recovered, recorder) = recover_from(&disk).unwrap();
        assert_eq!(recovered.last_zxid, Some(zxid(to)));
        let snapshot = if to >= 9 {
            9
        } else if to >= 4 {
            4
        } else {
            0
        };
        assert_eq!(recovered.snapshot_zxid, Some(zxid(snapshot)));
        assert_eq!(recorder.zxids(), (snapshot + 1..=to).map(zxid).collect::<Vec<_>>());
        assert_eq!(recovered.warnings, [], "cut to {to}");
        // History goes on with another leader, and what was cut does not come back.
        let new = (1 << 32) + 1;
        let epoch = Epoch::new(1);
        EpochFiles::new(disk.shared(), &version_dir())
            .save(Epochs { current: epoch, accepted: epoch })
            .unwrap();
        append_batch(&mut open_log(&disk, zxid(to)), [new], 30);
        assert_eq!(last(&disk), new);
    }
}

#[test]
fn a_power_loss_at_any_step_leaves_a_history_between_old_and_new() {
    for to in [1, 3, 5, 8] {
        for step in 0.. {
            let disk = history();
            let mut mark = DurableMark::load(disk.shared(), &version_dir()).unwrap();
            mark.note_durable(zxid(10)).unwrap();
            disk.add_fault(Fault::Off { from: disk.changes() + step });
            let done = cut(&disk, to).is_ok();
            for seed in 1..6 {
                let mut dice = Dice(seed * 77 + step as u64);
                let crashed = disk.crash(&mut || !dice.roll().is_multiple_of(3));
                let last = last(&crashed);
                assert!((to..=10).contains(&last), "to {to} step {step}: {last}");
                assert!(!done || last == to, "to {to} step {step}: {last}");
                // The leader says so again.
                assert_eq!(cut(&crashed, to).unwrap(), zxid(to));
            }
            if done {
                break;
            }
        }
    }
}

#[test]
fn what_was_cut_does_not_come_back_when_the_cut_failed_and_the_power_goes_later() {
    let new = (1 << 32) + 1;
    for to in [1, 3, 5, 8] {
        let mut failed = 0;
        for step in 0.. {
            let disk = history();
            let mut mark = DurableMark::load(disk.shared(), &version_dir()).unwrap();
            mark.note_durable(zxid(10)).unwrap();
            disk.add_fault(Fault::Fail { change: disk.changes() + step, kind: std::io::ErrorKind::Other });
            if cut(&disk, to).is_ok() {
                break;
            }
            failed += 1;
            // The server stops, and starts again while the machine runs. Then another leader goes on.
            let (recovered, recorder) = recover_from(&disk).unwrap();
            let before = recorder.zxids();
            let epoch = Epoch::new(1);
            EpochFiles::new(disk.shared(), &version_dir())
                .save(Epochs { current: epoch, accepted: epoch })
                .unwrap();
            append_batch(&mut open_log(&disk, recovered.last_zxid.unwrap()), [new], 30);
            let crashed = disk.crash(&mut || false);
            let (_, recorder) = recover_from(&crashed).unwrap();
            let expected: Vec<Zxid> = before.into_iter().chain([zxid(new)]).collect();
            assert_eq!(recorder.zxids(), expected, "to {to}, step {step}");
        }
        assert!(failed >= 3, "to {to}: only {failed} steps failed");
    }
}

#[test]
fn damage_behind_the_zxid_does_not_matter() {
    let disk = history();
    let path = version_dir().join("log.7");
    let mut bytes = disk.read(&path);
    bytes[30] ^= 1;
    disk.put(&path, &bytes);
    assert!(cut(&disk, 7).is_err());
    assert_eq!(cut(&disk, 6).unwrap(), zxid(6));
    assert_eq!(last(&disk), 6);
}

#[test]
fn a_zxid_that_is_not_in_the_log_leaves_the_one_before() {
    let disk = fresh_disk();
    let mut log = open_log(&disk, Zxid::ZERO);
    append_batch(&mut log, 1..=3, 30);
    append_batch(&mut log, [(2 << 32) + 1], 30);
    drop(log);
    // Java would keep the record of epoch 2.
    assert_eq!(cut(&disk, (1 << 32) + 5).unwrap(), zxid(3));
    assert_eq!(last(&disk), 3);
}

#[test]
fn a_snapshot_whose_content_is_newer_does_not_survive() {
    let disk = fresh_disk();
    let mut log = open_log(&disk, Zxid::ZERO);
    append_batch(&mut log, 1..=9, 30);
    drop(log);
    // A fuzzy one, as Java writes them: named 5, with changes of 8.
    small_snapshot(&disk, &version_dir(), zxid(8), Compression::None, 2);
    let bytes = disk.read(&version_dir().join("snapshot.8"));
    Disk::remove(&disk, &version_dir().join("snapshot.8")).unwrap();
    disk.put(&version_dir().join("snapshot.5"), &bytes);
    assert_eq!(cut(&disk, 6).unwrap(), zxid(6));
    let (recovered, _) = recover_from(&disk).unwrap();
    assert_eq!((recovered.snapshot_zxid, recovered.last_zxid), (Some(Zxid::ZERO), Some(zxid(6))));
}

#[test]
fn a_snapshot_that_the_disk_does_not_give_now_is_not_taken_for_an_invalid_one() {
    let mut failed = 0;
    for step in 0.. {
        let disk = history();
        disk.add_fault(Fault::Unread { read: disk.reads() + step });
        let result = cut(&disk, 9);
        let (recovered, _) = recover_from(&disk.copy()).unwrap();
        assert_eq!(recovered.snapshot_zxid, Some(zxid(9)), "step {step}");
        match result {
            Ok(_) => {
                assert_eq!(recovered.last_zxid, Some(zxid(9)));
                break;
            }
            Err(error) => {
                assert!(matches!(error, TruncateError::Disk(_) | TruncateError::Log(LogReadError::Disk(_))));
                assert_eq!(recovered.last_zxid, Some(zxid(10)), "step {step}");
                failed += 1;
            }
        }
    }
    assert!(failed >= 4, "only {failed} reads failed");
}

#[test]
fn nothing_is_cut_over_a_gap_that_a_damaged_snapshot_shows() {
    let disk = fresh_disk();
    append_batch(&mut open_log(&disk, Zxid::ZERO), 1..=3, 30);
    let new = 1 << 32;
    append_batch(&mut open_log(&disk, zxid(3)), new + 1..=new + 4, 30);
    disk.put(&version_dir().join("snapshot.5"), b"damaged");
    let result = cut(&disk, new + 2);
    let Err(TruncateError::Log(LogReadError::Corrupt(corruption))) = result else { panic!("{result:?}") };
    assert_eq!(corruption.damage, Damage::Gap { previous: zxid(3), found: zxid(new + 1) });
    // Before the gap it may be.
    assert_eq!(cut(&disk, 2).unwrap(), zxid(2));
}

#[test]
fn what_cannot_be_cut_is_left_alone() {
    let disk = history();
    assert!(matches!(cut(&disk, 11), Err(TruncateError::EndsBefore { .. })));
    assert_eq!(last(&disk), 10);
    Disk::remove(&disk, &version_dir().join("snapshot.0")).unwrap();
    assert!(matches!(cut(&disk, 2), Err(TruncateError::NoSnapshot { .. })));
    assert_eq!(last(&disk), 10);
}

#[test]
fn a_snapshot_from_the_leader_replaces_everything() {
    for zxid_of_leader in [5, 8, 12] {
        for step in 0.. {
            let disk = history();
            let mut mark = DurableMark::load(disk.shared(), &version_dir()).unwrap();
            mark.note_durable(zxid(10)).unwrap();
            let received = received_snapshot(&disk, zxid(zxid_of_leader), 4);
            disk.add_fault(Fault::Off { from: disk.changes() + step });
            let done = adopt_snapshot(&folders(&disk), received, RECORD_BYTES_MAX, &mut mark).is_ok();
            let crashed = disk.crash(&mut || step % 2 == 0);
            let last = last(&crashed);
            // Either the leader's history, or ours at least as far as that: others may count on it. Never ours on top of
            // the leader's.
            assert!(last >= zxid_of_leader.min(10), "step {step}: {last}");
            let snapshot = recover_from(&crashed).unwrap().0.snapshot_zxid;
            if snapshot == Some(zxid(zxid_of_leader)) {
                assert_eq!(last, zxid_of_leader, "step {step}");
            }
            if done {
                assert_eq!(last, zxid_of_leader);
                assert_eq!(mark.zxid(), Some(zxid(zxid_of_leader)));
                append_batch(&mut open_log(&crashed, zxid(last)), [last + 1], 30);
                assert_eq!(recover_from(&crashed).unwrap().0.last_zxid, Some(zxid(last + 1)));
                // No state of before is left that could be taken for this one's beginning.
                let snapshots = SnapshotFile::list(&crashed, &version_dir()).unwrap();
                let zxids: Vec<Zxid> = snapshots.iter().map(|snapshot| snapshot.zxid).collect();
                assert_eq!(zxids, [zxid(zxid_of_leader)]);
                break;
            }
        }
    }
}
