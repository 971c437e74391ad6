//! The readers of log and snapshot files, on a disk in memory.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::server::TreeTarget;
use protocol::Zxid;
use storage::directory::{LogFile, SnapshotFile};
use storage::disk::Disk;
use storage::recovery::RecoveryTarget;
use storage::snapshot::{Compression, SnapshotChunk, SnapshotHead, read_snapshot, write_snapshot};
use storage::txn_log::{Durability, LogReadError, LogReader, TxnLog, TxnLogOptions};
use tree::Tree;

use super::seeds;
use crate::disk::LyingDisk;
use crate::random::Random;
use crate::trace::Trace;

const FOLDER: &str = "/fuzz";
/// The largest record that is read here: small, so that a reader which believes a length shows it.
const RECORD_BYTES_MAX: usize = 1 << 20;

fn empty_disk() -> LyingDisk {
    let disk = LyingDisk::new(Random::new(1), Trace::off());
    disk.create_dir(Path::new(FOLDER)).expect("nothing is armed");
    disk
}

/// A log file that starts with transaction 1. What the reader accepts it accepts again after its own repairs.
pub fn log_file(input: &[u8]) {
    let disk = empty_disk();
    let path = Path::new(FOLDER).join(LogFile::name(Zxid::from_wire(1)));
    disk.put(&path, input);
    let disk: Arc<dyn Disk> = Arc::new(disk);
    let Some(accepted) = read_log(&disk) else { return };
    assert_eq!(read_log(&disk), Some(accepted), "what was accepted and repaired is accepted again");
}

/// The records of the log, after its repairs are carried out; `None` if it is corrupt.
fn read_log(disk: &Arc<dyn Disk>) -> Option<Vec<Vec<u8>>> {
    let reader = LogReader::open(Arc::clone(disk), Path::new(FOLDER), Zxid::ZERO, RECORD_BYTES_MAX);
    let mut reader = match reader {
        Err(LogReadError::Corrupt(_)) => return None,
        other => other.expect("this disk does not fail"),
    };
    let mut records = Vec::new();
    let mut last = Zxid::ZERO;
    loop {
        match reader.next() {
            Ok(Some(record)) => {
                assert!(record.zxid > last, "zxids grow");
                last = record.zxid;
                records.push(record.envelope.to_vec());
            }
            Ok(None) => break,
            Err(LogReadError::Corrupt(_)) => return None,
            Err(LogReadError::Disk(error)) => panic!("this disk does not fail: {error}"),
        }
    }
    for repair in reader.finish().repairs {
        repair.carry_out(&**disk).expect("this disk does not fail");
    }
    Some(records)
}

/// A snapshot file behind one byte that says how it is compressed. What is accepted makes a sound tree.
pub fn snapshot_file(input: &[u8]) {
    let Some((&selector, content)) = input.split_first() else { return };
    let disk = empty_disk();
    let compression = [Compression::None, Compression::Gz, Compression::Snappy][selector as usize % 3];
    let zxid = Zxid::from_wire(9);
    let path = PathBuf::from(FOLDER).join(SnapshotFile::name(zxid, compression));
    disk.put(&path, content);
    let snapshot = SnapshotFile { zxid, compression, path, length: content.len() as u64 };
    let mut target = TreeTarget::empty();
    let Ok(summary) = read_snapshot(&disk, &snapshot, RECORD_BYTES_MAX, &mut target) else { return };
    if target.snapshot_loaded(summary.zxid, summary.digest).is_ok() {
        check(&target.into_tree());
    }
}

/// Envelopes, each behind two bytes of length, replayed over an empty tree as recovery does.
pub fn replay(input: &[u8]) {
    let mut target = TreeTarget::empty();
    let mut rest = input;
    while let Some((length, behind)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes(*length)).min(behind.len());
        let (envelope, behind) = behind.split_at(length);
        rest = behind;
        // A refusal is an answer, too.
        let _ = target.replay(envelope);
    }
    check(&target.into_tree());
}

fn check(tree: &Tree) {
    if let Err(complaint) = tree.check_invariants() {
        panic!("a tree that was built is sound: {complaint}");
    }
}

/// Logs as they are written: one batch, several, and nothing.
pub fn log_seeds() -> Vec<Vec<u8>> {
    let write = |batches: &[usize], preallocate_bytes| {
        let disk = empty_disk();
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let options = TxnLogOptions {
            preallocate_bytes,
            size_limit_bytes: 0,
            record_bytes_max: RECORD_BYTES_MAX,
            durability: Durability::PowerLoss,
        };
        let mut log = TxnLog::open(shared, Path::new(FOLDER), Zxid::ZERO, options);
        let mut envelopes = seeds::numbered_transactions().into_iter();
        for &count in batches {
            for (zxid, envelope) in envelopes.by_ref().take(count) {
                log.append(zxid, &envelope).expect("the envelopes are in order");
            }
            log.sync().expect("this disk does not fail");
        }
        drop(log);
        disk.content(&Path::new(FOLDER).join(LogFile::name(Zxid::from_wire(1)))).unwrap_or_default()
    };
    vec![write(&[1], 0), write(&[3], 0), write(&[2, 1, 4], 0), write(&[2, 2], 2048), Vec::new(), vec![0; 100]]
}

/// Snapshots as they are written, in every form of compression.
pub fn snapshot_seeds() -> Vec<Vec<u8>> {
    let mut target = TreeTarget::empty();
    for (_, envelope) in seeds::numbered_transactions() {
        let _ = target.replay(&envelope);
    }
    let mut tree = target.into_tree();
    let mut seeds = Vec::new();
    for (selector, compression) in
        [Compression::None, Compression::Gz, Compression::Snappy].into_iter().enumerate()
    {
        let disk = empty_disk();
        let start = tree.begin_snapshot();
        let head = SnapshotHead {
            zxid: Zxid::from_wire(9),
            digest: Some(start.digest),
            sessions: start.sessions.clone(),
            acls: start.acls.iter().map(|(id, list)| (*id, list.as_slice().as_bytes().to_vec())).collect(),
        };
        let mut cursor = start.cursor;
        let file = write_snapshot(&disk, Path::new(FOLDER), &head, compression, |out| {
            if tree.snapshot_chunk(&mut cursor, 100, out) { SnapshotChunk::More } else { SnapshotChunk::Last }
        })
        .expect("this disk does not fail");
        drop(tree.end_snapshot());
        let content = disk.content(&file.path).expect("just written");
        seeds.push([&[selector as u8][..], &content].concat());
    }
    seeds
}

/// Histories for [`replay`].
pub fn replay_seeds() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let mut each = Vec::new();
    for envelope in seeds::transactions() {
        let framed = [&(envelope.len() as u16).to_be_bytes()[..], &envelope].concat();
        all.extend_from_slice(&framed);
        each.push(framed);
    }
    each.push(all);
    each
}
