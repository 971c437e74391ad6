//! Writer, reader and choice together; Java's files; damage to every byte.

use std::path::{Path, PathBuf};

use protocol::snapshot::ZxidDigest;
use protocol::{AclSlice, Zxid};

use super::*;
use crate::RECORD_BYTES_MAX;
use crate::directory::SnapshotFile;
use crate::disk::Disk;
use crate::memory_disk::{Dice, Fault, MemoryDisk};
use crate::real_disk::RealDisk;
use crate::test_data::*;
use crate::warning::Warning;

const COMPRESSIONS: [Compression; 3] = [Compression::None, Compression::Gz, Compression::Snappy];

fn load(disk: &dyn Disk, folder: &Path) -> Result<(Option<Loaded>, Recorder), LoadError> {
    let mut recorder = Recorder::default();
    let loaded = load_newest(disk, folder, RECORD_BYTES_MAX, &mut recorder)?;
    Ok((loaded, recorder))
}

fn snapshot_path(disk: &MemoryDisk) -> PathBuf {
    disk.paths().into_iter().find(|path| path.to_str().unwrap().contains("snapshot")).unwrap()
}

#[test]
fn what_was_written_is_read_back_in_every_compression() {
    let mut all = Vec::new();
    for compression in COMPRESSIONS {
        let folder = tempfile::tempdir().unwrap();
        small_snapshot(&RealDisk, folder.path(), zxid(0x1f), compression, 500);
        let (loaded, recorder) = load(&RealDisk, folder.path()).unwrap();
        let loaded = loaded.unwrap();
        assert_eq!(loaded.file.path, folder.path().join(format!("snapshot.1f{}", compression.suffix())));
        assert_eq!(loaded.file.length, std::fs::metadata(&loaded.file.path).unwrap().len());
        let digest = ZxidDigest { zxid: zxid(0x1f), version: 2, digest: Some(0x1234_5678_9abc) };
        assert_eq!(loaded.summary.digest, Some(digest));
        assert_eq!((loaded.summary.zxid, loaded.summary.content), (zxid(0x1f), zxid(0x1f)));
        assert_eq!((loaded.summary.nodes, recorder.nodes.len()), (501, 501));
        assert_eq!(recorder.sessions.len(), 2);
        assert_eq!(recorder.acls[&1], AclSlice::OPEN.as_bytes());
        all.push(recorder);
    }
    assert!(all[0] == all[1] && all[1] == all[2]);
}

#[test]
fn a_snapshot_without_digest_says_so() {
    let disk = MemoryDisk::default();
    let head = SnapshotHead { zxid: zxid(5), digest: None, sessions: vec![], acls: vec![] };
    write_snapshot(&disk, &version_dir(), &head, Compression::None, |_| SnapshotChunk::Last).unwrap();
    let (loaded, _) = load(&disk, &version_dir()).unwrap();
    assert_eq!(loaded.unwrap().summary.digest, None);
    // Its end is what Java's quick check looks for.
    assert!(disk.read(&snapshot_path(&disk)).ends_with(&[0, 0, 0, 1, b'/']));
}

#[test]
fn javas_snapshots_are_read() {
    let (loaded, recorder) = load(&RealDisk, &java_folder("java-3.8.0")).unwrap();
    let loaded = loaded.unwrap();
    assert_eq!((loaded.summary.zxid, loaded.summary.nodes), (zxid(0x47), 19));
    assert_eq!(loaded.summary.digest.unwrap().zxid, zxid(0x47));
    let node = |path: &str| recorder.nodes.iter().find(|node| node.0 == path);
    assert_eq!(node("/m").unwrap().1.as_deref(), Some(&b"39"[..]));
    assert_eq!(node("/uni-é中").unwrap().1.as_deref(), Some(&b"\xff\x00"[..]));
    assert!(node("/app/n-0000000003").is_none());
    assert_eq!(recorder.nodes[0].0, "");
    for node in &recorder.nodes {
        assert!(node.2 == -1 || recorder.acls.contains_key(&node.2), "{node:?}");
    }
}

#[test]
fn javas_compressed_snapshots_are_read() {
    let mut paths = Vec::new();
    let (_, plain) = load(&RealDisk, &java_folder("java-3.8.0")).unwrap();
    for file in SnapshotFile::list(&RealDisk, &java_folder("java-3.8.0-compressed")).unwrap() {
        let mut recorder = Recorder::default();
        read_snapshot(&RealDisk, &file, RECORD_BYTES_MAX, &mut recorder).unwrap();
        let mut found: Vec<String> = recorder.nodes.iter().map(|node| node.0.clone()).collect();
        found.sort();
        paths.push(found);
    }
    let mut expected: Vec<String> = plain.nodes.iter().map(|node| node.0.clone()).collect();
    expected.sort();
    assert_eq!(paths, [expected.clone(), expected]);
}

#[test]
fn sections_are_told_by_what_is_left() {
    let disk = java_disk();
    let path = version_dir().join("snapshot.47");
    let whole = disk.read(&path);
    let file = SnapshotFile::list(&disk, &version_dir()).unwrap().remove(0);
    let verify = |bytes: &[u8]| {
        disk.put(&path, bytes);
        verify_snapshot(&disk, &file, RECORD_BYTES_MAX)
    };
    // 3.5 writes nothing behind the first seal.
    let plain = &whole[..whole.len() - 33];
    assert_eq!(verify(plain).unwrap().digest, None);
    // 3.9 without digests writes the last zxid only.
    let mut with_zxid = plain.to_vec();
    with_zxid.extend_from_slice(&0x47_i64.to_be_bytes());
    seal(&mut with_zxid);
    assert_eq!(verify(&with_zxid).unwrap().digest, None);
    // And with digests both.
    let mut both = whole.clone();
    both.extend_from_slice(&0x47_i64.to_be_bytes());
    seal(&mut both);
    assert!(verify(&both).unwrap().digest.is_some());
    // Digests before version 2 are text.
    let mut old = plain.to_vec();
    old.extend_from_slice(&0x47_i64.to_be_bytes());
    old.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 2, b'a', b'b']);
    seal(&mut old);
    assert_eq!(verify(&old).unwrap().digest.unwrap().digest, None);
    both.push(0);
    assert!(verify(&both).is_err());
}

fn seal(bytes: &mut Vec<u8>) {
    let checksum = i64::from(simd_adler32::adler32(&&bytes[..]));
    bytes.extend_from_slice(&checksum.to_be_bytes());
    bytes.extend_from_slice(&[0, 0, 0, 1, b'/']);
}

#[test]
fn damage_to_any_byte_is_noticed_or_harmless() {
    for compression in COMPRESSIONS {
        let disk = MemoryDisk::default();
        small_snapshot(&disk, &version_dir(), zxid(9), compression, 12);
        let path = snapshot_path(&disk);
        let good = disk.read(&path);
        let (_, whole) = load(&disk, &version_dir()).unwrap();
        let mut noticed = 0;
        let mut check = |bytes: &[u8], what: &str| {
            disk.put(&path, bytes);
            match load(&disk, &version_dir()) {
                Err(LoadError::AllInvalid { .. }) | Ok((None, _)) => noticed += 1,
                Err(error) => panic!("{error}"),
                Ok((Some(_), found)) => assert!(found == whole, "{compression:?} {what}"),
            }
        };
        for at in 0..good.len() {
            for byte in [good[at] ^ 0xff, good[at] ^ 1, 0] {
                let mut bytes = good.clone();
                bytes[at] = byte;
                check(&bytes, &format!("byte {at} := {byte}"));
            }
            let mut bytes = good.clone();
            bytes[at..(at + 64).min(good.len())].fill(0);
            check(&bytes, &format!("zeros at {at}"));
            check(&good[..at], &format!("cut at {at}"));
        }
        let mut longer = good.clone();
        longer.push(0);
        check(&longer, "longer");
        assert!(noticed > good.len() * 3, "{noticed}");
    }
}

#[test]
fn a_damaged_snapshot_is_passed_over_for_an_older_one() {
    let disk = java_disk();
    for name in ["snapshot.47", "snapshot.3c"] {
        let path = version_dir().join(name);
        let mut bytes = disk.read(&path);
        let middle = bytes.len() / 2;
        bytes[middle] ^= 4;
        disk.put(&path, &bytes);
    }
    let (loaded, recorder) = load(&disk, &version_dir()).unwrap();
    let loaded = loaded.unwrap();
    assert_eq!(loaded.summary.zxid, zxid(0x23));
    assert_eq!(loaded.passed_over.len(), 2);
    // Nothing of the damaged ones is left in the state.
    assert_eq!(recorder.nodes.len() as u64, loaded.summary.nodes);
}

#[test]
fn a_node_without_parent_makes_a_snapshot_invalid() {
    let disk = MemoryDisk::default();
    let head = SnapshotHead { zxid: zxid(5), digest: None, sessions: vec![], acls: vec![] };
    write_snapshot(&disk, &version_dir(), &head, Compression::None, |out| {
        let node = NodeRecord { path: "/a/b".into(), data: None, acl_id: 1, stat: Default::default() };
        node.write(out);
        SnapshotChunk::Last
    })
    .unwrap();
    assert!(matches!(load(&disk, &version_dir()), Err(LoadError::AllInvalid { count: 1, .. })));
}

#[test]
fn lengths_that_lie_are_refused_without_memory() {
    let header = b"ZKSN\0\0\0\x02\xff\xff\xff\xff\xff\xff\xff\xff";
    let lies: [&[u8]; 6] = [
        &[0x7f, 0xff, 0xff, 0xff],
        &[0xff, 0xff, 0xff, 0xff],
        &[0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff],
        &[0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 0xff, 0xff, 0xff],
        &[0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff],
        &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x1f, 0xff, 0xfe],
    ];
    for lie in lies {
        let disk = MemoryDisk::default();
        disk.put(&version_dir().join("snapshot.1"), &[&header[..], lie].concat());
        assert!(matches!(load(&disk, &version_dir()), Err(LoadError::AllInvalid { .. })), "{lie:?}");
    }
}

#[test]
fn a_tree_from_a_leader_is_read_without_header_and_seal() {
    let disk = java_disk();
    let bytes = disk.read(&version_dir().join("snapshot.47"));
    let tree = &bytes[16..bytes.len() - 33 - 13];
    let mut recorder = Recorder::default();
    read_tree(tree, RECORD_BYTES_MAX, &mut recorder).unwrap();
    assert!(recorder == load(&disk, &version_dir()).unwrap().1);
    assert!(read_tree(&tree[..tree.len() - 1], RECORD_BYTES_MAX, &mut recorder).is_err());
}

#[test]
fn a_power_loss_leaves_the_old_snapshots_or_the_new_one_whole() {
    for step in 0.. {
        let disk = fresh_disk();
        let start = disk.changes();
        disk.add_fault(Fault::Off { from: start + step });
        let head = SnapshotHead { zxid: zxid(9), digest: None, sessions: vec![], acls: vec![] };
        let mut chunks = 0;
        let written = write_snapshot(&disk, &version_dir(), &head, Compression::None, |out| {
            let path = if chunks == 0 { String::new() } else { format!("/n{chunks}") };
            let data = vec![7; 400_000];
            let node =
                NodeRecord { path: path.into(), data: Some(&data), acl_id: 1, stat: Default::default() };
            node.write(out);
            chunks += 1;
            if chunks == 6 { SnapshotChunk::Last } else { SnapshotChunk::More }
        });
        for seed in 1..4 {
            let mut dice = Dice(seed + step as u64);
            let (loaded, _) =
                load(&disk.crash(&mut || !dice.roll().is_multiple_of(8)), &version_dir()).unwrap();
            let loaded = loaded.unwrap();
            assert_eq!(loaded.passed_over, [], "step {step}");
            assert!(written.is_err() || loaded.summary.zxid == zxid(9), "step {step}");
        }
        if written.is_ok() {
            assert!(step > 5);
            break;
        }
    }
}

#[test]
fn nothing_is_left_of_a_snapshot_that_failed_or_was_abandoned() {
    let head = SnapshotHead { zxid: zxid(9), digest: None, sessions: vec![], acls: vec![] };
    let disk = fresh_disk();
    let before = disk.paths();
    let result = write_snapshot(&disk, &version_dir(), &head, Compression::Gz, |_| SnapshotChunk::Abandon);
    assert!(matches!(result, Err(SnapshotWriteError::Abandoned)));
    assert_eq!(disk.paths(), before);
    disk.add_fault(Fault::Fail { change: disk.changes() + 1, kind: std::io::ErrorKind::StorageFull });
    let result = write_snapshot(&disk, &version_dir(), &head, Compression::Snappy, |_| SnapshotChunk::Last);
    assert!(matches!(result, Err(SnapshotWriteError::Disk(_))));
    assert_eq!(disk.paths(), before);
}

#[test]
fn an_empty_snapshot_counts_as_missing() {
    let disk = MemoryDisk::default();
    disk.put(&version_dir().join("snapshot.0"), &[]);
    assert!(load(&disk, &version_dir()).unwrap().0.is_none());
    small_snapshot(&disk, &version_dir(), Zxid::ZERO, Compression::Gz, 1);
    let (loaded, _) = load(&disk, &version_dir()).unwrap();
    let loaded = loaded.unwrap();
    assert!(loaded.passed_over.iter().all(|warning| matches!(warning, Warning::SnapshotPassedOver { .. })));
}

/// Refuses the node that comes after so many.
struct Choosy(usize);

impl SnapshotSink for Choosy {
    fn reset(&mut self) {}

    fn session(&mut self, _: SessionId, _: i32) -> Result<(), Refusal> {
        Ok(())
    }

    fn acl(&mut self, _: i64, _: AclSlice<'_>) -> Result<(), Refusal> {
        Ok(())
    }

    fn node(&mut self, _: &NodeRecord<'_>) -> Result<(), Refusal> {
        self.0 = self.0.checked_sub(1).ok_or("no more")?;
        Ok(())
    }

    fn nodes_end(&mut self) -> Result<(), Refusal> {
        if self.0 == 0 { Err("too few".into()) } else { Ok(()) }
    }
}

#[test]
fn reading_ahead_finds_the_same_as_reading_in_step() {
    const NODES: usize = 20_000;
    let disk = MemoryDisk::default();
    small_snapshot(&disk, &version_dir(), zxid(0x1f), Compression::None, NODES - 1);
    let path = snapshot_path(&disk);
    let whole = disk.read(&path);
    assert!(whole.len() > 4 * crate::read_ahead::BATCH_BYTES);
    let mut rotten = whole.clone();
    rotten[whole.len() / 2] ^= 0xff;
    let file = SnapshotFile::list(&disk, &version_dir()).unwrap().remove(0);
    for bytes in [&whole[..], &rotten, &whole[..whole.len() / 3]] {
        disk.put(&path, bytes);
        for accepted in [0, 1, NODES / 4, NODES / 2, NODES - 1, NODES, NODES + 1] {
            let show = |result: Result<SnapshotSummary, SnapshotError>| match result {
                Ok(summary) => format!("{summary:?}"),
                Err(error) => error.to_string(),
            };
            let in_step = read_snapshot(&disk, &file, RECORD_BYTES_MAX, &mut Choosy(accepted));
            let ahead = reader::read_snapshot_ahead(&disk, &file, RECORD_BYTES_MAX, &mut Choosy(accepted));
            assert_eq!(show(ahead), show(in_step), "{accepted} accepted of {} bytes", bytes.len());
        }
    }
}
