//! Power losses at every step, and damage to every byte.

use std::path::Path;

use protocol::Zxid;

use super::TxnLog;
use crate::disk::DiskError;
use crate::memory_disk::{Dice, Fault, MemoryDisk};
use crate::recovery::{Recovered, RecoveryError};
use crate::test_data::*;

/// Data of a transaction: some fill many sectors, some share one.
fn size(value: i64) -> usize {
    (value * 37 % 11 * 23) as usize
}

fn history(recorder: &Recorder) -> Vec<Vec<u8>> {
    recorder.replayed.clone()
}

fn expected(last: Zxid) -> Vec<Vec<u8>> {
    (1..=last.to_wire()).map(|value| envelope(zxid(value), size(value))).collect()
}

/// Recovers and writes until the machine stops; raises `acknowledged` as clients see it.
fn run(disk: &MemoryDisk, dice: &mut Dice, acknowledged: &mut Zxid) {
    let Ok((Recovered { last_zxid, mut durable_mark, .. }, _)) = recover_from(disk) else {
        return;
    };
    let mut last = last_zxid.unwrap().to_wire();
    let mut log = open_log(disk, zxid(last));
    for _ in 0..6 {
        for _ in 0..=dice.roll() % 5 {
            last += 1;
            if log.append(zxid(last), &envelope(zxid(last), size(last))).is_err() {
                return;
            }
        }
        let result = if dice.roll().is_multiple_of(4) { log.roll() } else { log.sync() };
        let Ok(synced) = result else {
            return;
        };
        *acknowledged = synced;
        let noted: Result<(), DiskError> =
            if dice.roll().is_multiple_of(3) { durable_mark.note_durable(synced) } else { Ok(()) };
        if noted.is_err() {
            return;
        }
    }
}

#[test]
fn a_power_loss_at_any_step_loses_nothing_that_was_acknowledged() {
    let mut torn = 0;
    let mut stopped_at_the_end = false;
    for step in 0.. {
        for seed in 1..=60 {
            let mut dice = Dice(seed * 0x9e37_79b9 + step as u64 + 1);
            let mut disk = fresh_disk();
            let mut acknowledged = Zxid::ZERO;
            // Three lives, so that crashes meet what earlier crashes left.
            for life in 0..3 {
                let from = disk.changes() + if life == 0 { step } else { dice.roll() as usize % 60 };
                disk.add_fault(Fault::Off { from });
                run(&disk, &mut dice, &mut acknowledged);
                stopped_at_the_end = life == 0 && disk.changes() < from || stopped_at_the_end;
                let odds = dice.roll() % 4 + 1;
                disk = disk.crash(&mut || !dice.roll().is_multiple_of(odds));
                let (recovered, recorder) = recover_from(&disk.copy())
                    .unwrap_or_else(|error| panic!("step {step} seed {seed} life {life}: {error}"));
                let last = recovered.last_zxid.unwrap();
                assert!(last >= acknowledged, "step {step} seed {seed}: {last} is before {acknowledged}");
                assert!(history(&recorder) == expected(last), "step {step} seed {seed}");
                torn += recovered.warnings.len();
                // What survived counts as acknowledged: a reader may have seen it.
                acknowledged = last;
            }
        }
        if stopped_at_the_end {
            break;
        }
    }
    assert!(torn > 500, "crashes did tear batches: {torn}");
}

/// What was read, or `None` if the damage was noticed.
fn read(disk: &MemoryDisk) -> Option<Vec<Vec<u8>>> {
    match recover_from(&disk.copy()) {
        Ok((_, recorder)) => Some(history(&recorder)),
        Err(RecoveryError::Disk(error)) => panic!("{error}"),
        Err(_) => None,
    }
}

/// Damages each byte of a file in several ways and tells what can be read afterwards.
fn for_each_damage(disk: &MemoryDisk, path: &Path, mut check: impl FnMut(&str, usize, Option<Vec<Vec<u8>>>)) {
    let good = disk.read(path);
    for at in 0..good.len() {
        for (what, byte) in [("flipped", good[at] ^ 0xff), ("one bit", good[at] ^ 1), ("zeroed", 0)] {
            let mut bytes = good.clone();
            bytes[at] = byte;
            disk.put(path, &bytes);
            check(what, at, read(disk));
        }
        let mut bytes = good.clone();
        bytes[at..(at + 64).min(good.len())].fill(0);
        disk.put(path, &bytes);
        check("64 zeroed", at, read(disk));
        disk.put(path, &good[..at]);
        check("cut", at, read(disk));
    }
    disk.put(path, &good);
}

fn three_batches_in_two_files() -> MemoryDisk {
    let disk = fresh_disk();
    let mut log: TxnLog = open_log(&disk, Zxid::ZERO);
    append_batch(&mut log, 1..=3, 20);
    log.roll().unwrap();
    append_batch(&mut log, 4..=6, 20);
    append_batch(&mut log, 7..=8, 20);
    disk
}

#[test]
fn damage_below_the_durable_mark_is_always_noticed_or_harmless() {
    let disk = three_batches_in_two_files();
    let (mut recovered, recorder) = recover_from(&disk).unwrap();
    recovered.durable_mark.note_durable(zxid(8)).unwrap();
    let whole = history(&recorder);
    assert_eq!(whole.len(), 8);
    for name in ["log.1", "log.4"] {
        let mut noticed = 0;
        for_each_damage(&disk, &version_dir().join(name), |what, at, found| match found {
            None => noticed += 1,
            Some(found) => assert!(found == whole, "{name} {what} at {at}"),
        });
        assert!(noticed > 1000, "{name}: {noticed}");
    }
}

#[test]
fn damage_above_the_durable_mark_costs_the_last_batch_at_most() {
    let disk = three_batches_in_two_files();
    let whole = read(&disk).unwrap();
    for_each_damage(&disk, &version_dir().join("log.1"), |what, at, found| {
        assert!(found.is_none_or(|found| found == whole), "{what} at {at}");
    });
    let mut shortened = 0;
    for_each_damage(&disk, &version_dir().join("log.4"), |what, at, found| {
        let Some(found) = found else { return };
        assert!(whole.starts_with(&found), "{what} at {at}");
        // A file that was cut, or whose last mark went with it, cannot say where its last batch began.
        if what != "cut" && what != "64 zeroed" {
            assert!(found.len() >= 6, "{what} at {at}: {}", found.len());
        }
        shortened += usize::from(found.len() < whole.len());
    });
    assert!(shortened > 100, "{shortened}");
}

#[test]
fn damage_to_javas_log_is_noticed_or_costs_the_last_record() {
    let disk = java_disk();
    let whole = read(&disk).unwrap();
    assert_eq!(whole.len(), 3, "snapshot.47 holds the rest");
    for_each_damage(&disk, &version_dir().join("log.48"), |what, at, found| {
        let Some(found) = found else { return };
        assert!(whole.starts_with(&found), "{what} at {at}");
        if what != "cut" && what != "64 zeroed" {
            assert!(found.len() + 1 >= whole.len(), "{what} at {at}: {}", found.len());
        }
    });
}

#[test]
fn a_log_that_is_gone_is_noticed() {
    let disk = three_batches_in_two_files();
    disk.put(&version_dir().join("durable.zxid"), &[]);
    let without = |name: &str| {
        let copy = disk.copy();
        crate::disk::Disk::remove(&copy, &version_dir().join(name)).unwrap();
        read(&copy)
    };
    assert_eq!(without("log.1"), None);
    assert_eq!(without("log.4").map(|found| found.len()), Some(3), "nothing says that there was more");
    let recovered = recover_from(&disk).unwrap().0;
    assert_eq!(recovered.durable_mark.zxid(), Some(zxid(8)), "recovery says how far it found the log");
    assert_eq!(without("log.4"), None);
}
