//! The rules of recovery, one by one, on a disk in memory.

use std::path::Path;

use super::*;
use crate::memory_disk::{Fault, MemoryDisk};
use crate::snapshot::Compression;
use crate::test_data::*;
use crate::txn_log::LogReader;

fn remove(disk: &MemoryDisk, name: &str) {
    disk.remove(&version_dir().join(name)).unwrap();
}

fn put(disk: &MemoryDisk, name: &str, bytes: &[u8]) {
    disk.put(&version_dir().join(name), bytes);
}

fn damage(disk: &MemoryDisk, name: &str) {
    let path = version_dir().join(name);
    let mut bytes = disk.read(&path);
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    disk.put(&path, &bytes);
}

fn range(from: i64, to: i64) -> Vec<Zxid> {
    (from..=to).map(zxid).collect()
}

fn early(result: Result<(Recovered, Recorder), RecoveryError>) -> (Zxid, Evidence) {
    match result {
        Err(RecoveryError::Corrupt(Corruption {
            damage: Damage::EndsEarly { expected, evidence, .. },
            ..
        })) => (expected, evidence),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_new_server_starts_empty_and_says_that_it_needs_a_first_snapshot() {
    let disk = MemoryDisk::default();
    let (recovered, recorder) = recover_from(&disk).unwrap();
    assert_eq!((recovered.last_zxid, recovered.snapshot_zxid), (Some(Zxid::ZERO), None));
    assert_eq!(recorder, Recorder::default());
    // A crash before that snapshot changes nothing.
    assert_eq!(recover_from(&disk.copy()).unwrap().0.last_zxid, Some(Zxid::ZERO));
}

#[test]
fn an_empty_folder_is_not_trusted_without_the_operators_word() {
    let options = RecoveryOptions { empty_folders: EmptyFolders::Distrust, ..RecoveryOptions::default() };
    let disk = MemoryDisk::default();
    assert_eq!(recover_with(&disk, &options).unwrap().0.last_zxid, None);
    let marker = data_dir().join("initialize");
    disk.put(&marker, b"");
    assert_eq!(recover_with(&disk, &options).unwrap().0.last_zxid, Some(Zxid::ZERO));
    // It stays until the first snapshot is there.
    assert!(disk.exists(&marker).unwrap());
    small_snapshot(&disk, &version_dir(), Zxid::ZERO, Compression::None, 0);
    assert_eq!(recover_with(&disk, &options).unwrap().0.snapshot_zxid, Some(Zxid::ZERO));
    assert!(!disk.exists(&marker).unwrap());
}

#[test]
fn javas_folder_is_recovered() {
    let disk = java_disk();
    let (recovered, recorder) = recover_from(&disk).unwrap();
    assert_eq!((recovered.last_zxid, recovered.snapshot_zxid), (Some(zxid(0x4a)), Some(zxid(0x47))));
    assert_eq!(recorder.zxids(), range(0x48, 0x4a));
    assert_eq!(recovered.replayed, 3);
    assert_eq!(recovered.warnings, []);
    let (loaded_at, digest) = recorder.loaded.unwrap();
    assert_eq!((loaded_at, digest.unwrap().zxid), (zxid(0x47), zxid(0x47)));
}

#[test]
fn a_log_that_begins_behind_a_fuzzy_snapshot_is_joined_by_the_one_before() {
    let disk = java_disk();
    // snapshot.23 is followed by log.25; 24 stands at the end of log.1.
    for name in ["snapshot.3c", "snapshot.47"] {
        remove(&disk, name);
    }
    let (recovered, recorder) = recover_from(&disk).unwrap();
    assert_eq!(recovered.snapshot_zxid, Some(zxid(0x23)));
    assert_eq!(recorder.zxids(), range(0x24, 0x4a));
    remove(&disk, "log.1");
    assert!(matches!(
        recover_from(&disk),
        Err(RecoveryError::Corrupt(Corruption { damage: Damage::Gap { .. }, .. }))
    ));
}

#[test]
fn a_damaged_snapshot_is_made_up_for_by_the_log_behind_an_older_one() {
    let disk = java_disk();
    damage(&disk, "snapshot.47");
    let (recovered, recorder) = recover_from(&disk).unwrap();
    assert_eq!(recovered.snapshot_zxid, Some(zxid(0x3c)));
    assert_eq!(recorder.zxids(), range(0x3d, 0x4a));
    assert!(matches!(recovered.warnings[..], [Warning::SnapshotPassedOver { .. }]));
    for name in ["snapshot.3c", "snapshot.23", "snapshot.0"] {
        damage(&disk, name);
    }
    let result = recover_from(&disk);
    assert!(matches!(result, Err(RecoveryError::Snapshots(LoadError::AllInvalid { count: 4, .. }))));
}

#[test]
fn a_damaged_snapshot_without_the_log_to_make_up_for_it_is_refused() {
    let disk = java_disk();
    damage(&disk, "snapshot.47");
    remove(&disk, "log.48");
    remove(&disk, "log.3e");
    // The log that is left ends before the damaged snapshot.
    assert_eq!(early(recover_from(&disk)), (zxid(0x47), Evidence::SnapshotName));
}

#[test]
fn a_damaged_snapshot_that_took_the_place_of_an_epochs_end_is_not_passed_over() {
    // Java keeps its old files when a leader's snapshot replaces what they say.
    let disk = fresh_disk();
    append_batch(&mut open_log(&disk, Zxid::ZERO), 1..=3, 30);
    small_snapshot(&disk, &version_dir(), zxid(5), Compression::None, 2);
    let new = 1 << 32;
    append_batch(&mut open_log(&disk, zxid(5)), new + 1..=new + 2, 30);
    for name in ["currentEpoch", "acceptedEpoch"] {
        put(&disk, name, b"1");
    }
    let (recovered, recorder) = recover_from(&disk.copy()).unwrap();
    assert_eq!(recovered.snapshot_zxid, Some(zxid(5)));
    assert_eq!(recorder.zxids(), range(new + 1, new + 2));

    damage(&disk, "snapshot.5");
    let Err(RecoveryError::Corrupt(corruption)) = recover_from(&disk) else { panic!("it was passed over") };
    assert_eq!(corruption.damage, Damage::Gap { previous: zxid(3), found: zxid(new + 1) });
    // With the epoch's end in the log, the snapshot is not needed.
    append_batch(&mut open_log(&disk, zxid(3)), 4..=5, 30);
    assert_eq!(recover_from(&disk).unwrap().1.zxids(), [range(1, 5), range(new + 1, new + 2)].concat());
}

#[test]
fn logs_without_snapshot_are_refused_unless_they_are_all_there_ever_was() {
    let disk = java_disk();
    for name in ["snapshot.0", "snapshot.23", "snapshot.3c", "snapshot.47"] {
        remove(&disk, name);
    }
    assert!(matches!(recover_from(&disk), Err(RecoveryError::SnapshotsMissing { .. })));
    let options =
        RecoveryOptions { logs_without_snapshot: LogsWithoutSnapshot::Trust, ..RecoveryOptions::default() };
    let (recovered, recorder) = recover_with(&disk, &options).unwrap();
    assert_eq!((recovered.last_zxid, recovered.snapshot_zxid), (Some(zxid(0x4a)), None));
    assert_eq!(recorder.zxids(), range(1, 0x4a));
    // But not if the log does not reach back to the beginning.
    remove(&disk, "log.1");
    assert!(matches!(recover_with(&disk, &options), Err(RecoveryError::Corrupt(_))));
}

#[test]
fn folders_with_traces_of_a_state_are_not_taken_for_empty_ones() {
    let refused = |prepare: &dyn Fn(&MemoryDisk)| {
        let disk = MemoryDisk::default();
        disk.put(&data_dir().join("initialize"), b"");
        prepare(&disk);
        matches!(recover_from(&disk), Err(RecoveryError::SnapshotsMissing { .. }))
    };
    assert!(refused(&|disk| put(disk, "currentEpoch", b"1")));
    assert!(refused(&|disk| put(disk, "acceptedEpoch", b"3")));
    assert!(refused(&|disk| put(disk, "snapshot.5", b"")));
    assert!(refused(&|disk| put(disk, "log.1", &[0; 100])));
    assert!(refused(&|disk| {
        let mut mark = DurableMark::load(disk.shared(), &version_dir()).unwrap();
        mark.note_durable(zxid(1)).unwrap();
    }));
    // What a crash during the first start leaves is no trace.
    assert!(!refused(&|disk| put(disk, "acceptedEpoch", b"0")));
    assert!(!refused(&|disk| put(disk, "snapshot.0", b"")));
    assert!(!refused(&|disk| put(disk, "log.1", b"")));
}

#[test]
fn history_that_ends_before_the_durable_mark_is_refused() {
    let disk = java_disk();
    let mut mark = recover_from(&disk).unwrap().0.durable_mark;
    mark.note_durable(zxid(0x4a)).unwrap();
    recover_from(&disk).unwrap();
    let path = version_dir().join("log.48");
    let bytes = disk.read(&path);
    disk.put(&path, &bytes[..bytes.len() - 1]);
    assert_eq!(early(recover_from(&disk)), (zxid(0x4a), Evidence::DurableMark));
    // Refusing changed nothing.
    assert_eq!(disk.read(&path).len(), bytes.len() - 1);
    remove(&disk, "durable.zxid");
    let (recovered, _) = recover_from(&disk).unwrap();
    assert_eq!(recovered.last_zxid, Some(zxid(0x49)));
    assert!(matches!(recovered.warnings[..], [Warning::TornTail { .. }]));
    assert_eq!(recover_from(&disk).unwrap().0.warnings, []);
}

#[test]
fn a_snapshot_that_holds_more_than_the_log_is_refused() {
    let disk = MemoryDisk::default();
    // As Java leaves it when the log loses its end behind a fuzzy snapshot.
    small_snapshot(&disk, &version_dir(), zxid(9), Compression::None, 3);
    let bytes = disk.read(&version_dir().join("snapshot.9"));
    remove(&disk, "snapshot.9");
    put(&disk, "snapshot.5", &bytes);
    assert_eq!(early(recover_from(&disk)), (zxid(9), Evidence::SnapshotContent));
}

#[test]
fn both_copies_of_the_mark_damaged_is_only_a_warning() {
    let disk = java_disk();
    put(&disk, "durable.zxid", &[1; 5000]);
    let warnings = recover_from(&disk).unwrap().0.warnings;
    assert!(matches!(warnings[..], [Warning::DurableMarkUnreadable { .. }]));
}

#[test]
fn leftovers_of_crashes_are_removed() {
    let disk = java_disk();
    for name in ["tmp.snapshot.50", "tmp.removed.log.1", "snapshot.48"] {
        put(&disk, name, b"");
    }
    let warnings = recover_from(&disk).unwrap().0.warnings;
    assert_eq!(warnings.iter().filter(|warning| matches!(warning, Warning::Leftover { .. })).count(), 3);
    assert_eq!(recover_from(&disk).unwrap().0.warnings, []);
}

#[test]
fn missing_epoch_files_are_written_and_wrong_ones_refused() {
    let disk = java_disk();
    recover_from(&disk).unwrap();
    assert_eq!(disk.read(&version_dir().join("currentEpoch")), b"0");
    put(&disk, "currentEpoch", b"2");
    assert!(matches!(
        recover_from(&disk),
        Err(RecoveryError::Epochs(EpochError::AcceptedBehindCurrent { .. }))
    ));
    put(&disk, "acceptedEpoch", b"3");
    let (recovered, _) = recover_from(&disk).unwrap();
    assert_eq!((recovered.current_epoch.get(), recovered.accepted_epoch.get()), (2, 3));
}

/// Refuses the transaction that comes after so many.
struct Stubborn(Recorder, usize);

impl SnapshotSink for Stubborn {
    fn reset(&mut self) {
        self.0.reset();
    }
    fn session(&mut self, session: protocol::SessionId, timeout_ms: i32) -> Result<(), Refusal> {
        self.0.session(session, timeout_ms)
    }
    fn acl(&mut self, id: i64, acl: protocol::AclSlice<'_>) -> Result<(), Refusal> {
        self.0.acl(id, acl)
    }
    fn node(&mut self, node: &protocol::snapshot::NodeRecord<'_>) -> Result<(), Refusal> {
        self.0.node(node)
    }
}

impl RecoveryTarget for Stubborn {
    fn snapshot_loaded(&mut self, _: Zxid, _: Option<ZxidDigest>) -> Result<(), Refusal> {
        Ok(())
    }
    fn replay(&mut self, _: &[u8]) -> Result<(), Refusal> {
        self.1 = self.1.checked_sub(1).ok_or("no")?;
        Ok(())
    }
}

#[test]
fn a_state_that_refuses_a_transaction_stops_recovery() {
    let disk = java_disk();
    let mut target = Stubborn(Recorder::default(), 0);
    let result = recover(&folders(&disk), &RecoveryOptions::default(), &mut target);
    match result {
        Err(RecoveryError::Refused { path, offset: 16, .. }) => {
            assert_eq!(path, version_dir().join("log.48"))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_refusal_names_the_place_wherever_it_is_in_a_long_log() {
    const RECORDS: i64 = 3_000;
    let disk = fresh_disk();
    for start in [1, 1_001, 2_001] {
        // Every opening starts a file.
        let mut log = open_log(&disk, zxid(start - 1));
        append_batch(&mut log, start..start + 1_000, 700);
    }
    let mut reader =
        LogReader::open(disk.shared(), &version_dir(), Zxid::ZERO, crate::RECORD_BYTES_MAX).unwrap();
    for accepted in 0..RECORDS {
        assert!(reader.next().unwrap().is_some());
        if accepted % 137 != 0 && accepted + 1 != RECORDS {
            continue;
        }
        let place = reader.place().unwrap();
        let mut target = Stubborn(Recorder::default(), accepted as usize);
        match recover(&folders(&disk), &RecoveryOptions::default(), &mut target) {
            Err(RecoveryError::Refused { path, offset, .. }) => {
                assert_eq!((path, offset), (place.path, place.offset), "{accepted}");
            }
            other => panic!("{other:?}"),
        }
    }
    let mut target = Stubborn(Recorder::default(), RECORDS as usize);
    let recovered = recover(&folders(&disk), &RecoveryOptions::default(), &mut target).unwrap();
    assert_eq!((recovered.replayed, recovered.last_zxid), (RECORDS as u64, Some(zxid(RECORDS))));
}

#[test]
fn a_disk_that_fails_during_repair_does_no_harm() {
    for failing in 0..30 {
        let disk = java_disk();
        let path = version_dir().join("log.48");
        let bytes = disk.read(&path);
        disk.put(&path, &bytes[..bytes.len() - 1]);
        disk.add_fault(Fault::Off { from: disk.changes() + failing });
        let first = recover_from(&disk);
        assert!(matches!(first, Ok(_) | Err(RecoveryError::Disk(_)) | Err(RecoveryError::Epochs(_))));
        for keep in [true, false] {
            let (recovered, _) = recover_from(&disk.crash(&mut || keep)).unwrap();
            assert_eq!(recovered.last_zxid, Some(zxid(0x49)), "{failing}");
        }
    }
}

#[test]
fn snapshots_and_logs_may_live_apart() {
    let disk = MemoryDisk::default();
    let java = java_disk();
    for path in java.paths() {
        let name = path.file_name().unwrap().to_str().unwrap();
        let root = if name.starts_with("log") { "/logs" } else { "/data" };
        disk.put(&Path::new(root).join("version-2").join(name), &java.read(&path));
    }
    let folders = DataFolders::open(
        disk.shared(),
        Path::new("/data"),
        Path::new("/logs"),
        crate::directory::MissingFolders::Create,
    )
    .unwrap();
    let mut recorder = Recorder::default();
    let recovered = recover(&folders, &RecoveryOptions::default(), &mut recorder).unwrap();
    assert_eq!(recovered.last_zxid, Some(zxid(0x4a)));
}
