//! What several tests need: made-up transactions, a state that remembers what it got, a server's folders.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::snapshot::{NodeRecord, ZxidDigest};
use protocol::txn::{Transaction, TxnBody, TxnHeader};
use protocol::{AclSlice, OpCode, Reader, SessionId, StatPersisted, Zxid};

use crate::directory::{DataFolders, MissingFolders};
use crate::disk::Disk;
use crate::memory_disk::MemoryDisk;
use crate::recovery::{Recovered, RecoveryError, RecoveryOptions, RecoveryTarget, recover};
use crate::snapshot::{
    Compression, ReceivedSnapshot, Refusal, SnapshotChunk, SnapshotHead, SnapshotSink, write_received,
    write_snapshot,
};
use crate::txn_log::{TxnLog, TxnLogOptions};

pub(crate) fn zxid(value: i64) -> Zxid {
    Zxid::from_wire(value)
}

/// A transaction whose bytes depend on its zxid, with `size` bytes of data.
pub(crate) fn envelope(zxid: Zxid, size: usize) -> Vec<u8> {
    let data: Vec<u8> = (0..size).map(|i| (i as i64 * 7 + zxid.to_wire()) as u8 | 1).collect();
    let header = TxnHeader {
        session: SessionId::new(0x1234_5678),
        cxid: 3,
        zxid,
        time_ms: 1_790_000_000_000,
        kind: OpCode::SetData.to_wire(),
    };
    let body = TxnBody::SetData { path: "/a".into(), data: Some(&data), version: 1, reconfig: false };
    let mut out = Vec::new();
    Transaction { header, body, digest: None }.write(&mut out);
    out
}

/// Remembers everything.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct Recorder {
    pub(crate) sessions: Vec<(SessionId, i32)>,
    pub(crate) acls: BTreeMap<i64, Vec<u8>>,
    pub(crate) nodes: Vec<(String, Option<Vec<u8>>, i64, StatPersisted)>,
    pub(crate) loaded: Option<(Zxid, Option<ZxidDigest>)>,
    pub(crate) replayed: Vec<Vec<u8>>,
}

impl Recorder {
    pub(crate) fn zxids(&self) -> Vec<Zxid> {
        let zxid = |envelope: &Vec<u8>| TxnHeader::read(&mut Reader::new(envelope)).unwrap().zxid;
        self.replayed.iter().map(zxid).collect()
    }
}

impl SnapshotSink for Recorder {
    fn reset(&mut self) {
        *self = Recorder::default();
    }

    fn session(&mut self, session: SessionId, timeout_ms: i32) -> Result<(), Refusal> {
        self.sessions.push((session, timeout_ms));
        Ok(())
    }

    fn acl(&mut self, id: i64, acl: AclSlice<'_>) -> Result<(), Refusal> {
        self.acls.insert(id, acl.as_bytes().to_vec());
        Ok(())
    }

    fn node(&mut self, node: &NodeRecord<'_>) -> Result<(), Refusal> {
        if let Some((parent, _)) = node.path.rsplit_once('/')
            && !self.nodes.iter().any(|(path, ..)| path == parent)
        {
            return Err("it has no parent".into());
        }
        self.nodes.push((node.path.to_string(), node.data.map(<[u8]>::to_vec), node.acl_id, node.stat));
        Ok(())
    }
}

impl RecoveryTarget for Recorder {
    fn snapshot_loaded(&mut self, zxid: Zxid, digest: Option<ZxidDigest>) -> Result<(), Refusal> {
        self.loaded = Some((zxid, digest));
        Ok(())
    }

    fn replay(&mut self, envelope: &[u8]) -> Result<(), Refusal> {
        self.replayed.push(envelope.to_vec());
        Ok(())
    }
}

/// A data folder on a disk in memory.
pub(crate) fn data_dir() -> PathBuf {
    PathBuf::from("/data")
}

pub(crate) fn version_dir() -> PathBuf {
    data_dir().join("version-2")
}

pub(crate) fn folders(disk: &MemoryDisk) -> DataFolders {
    DataFolders::open(disk.shared(), &data_dir(), &data_dir(), MissingFolders::Create).unwrap()
}

pub(crate) fn recover_from(disk: &MemoryDisk) -> Result<(Recovered, Recorder), RecoveryError> {
    recover_with(disk, &RecoveryOptions::default())
}

pub(crate) fn recover_with(
    disk: &MemoryDisk,
    options: &RecoveryOptions,
) -> Result<(Recovered, Recorder), RecoveryError> {
    let mut recorder = Recorder::default();
    let recovered = recover(&folders(disk), options, &mut recorder)?;
    Ok((recovered, recorder))
}

/// Small steps of preallocation, so that tests are fast.
pub(crate) fn small_log_options() -> TxnLogOptions {
    TxnLogOptions { preallocate_bytes: 1024, ..TxnLogOptions::default() }
}

/// A log behind `last` on a disk in memory.
pub(crate) fn open_log(disk: &MemoryDisk, last: Zxid) -> TxnLog {
    TxnLog::open(disk.shared(), &version_dir(), last, small_log_options())
}

/// Writes a snapshot of a root and `nodes` children that were changed at `zxid`.
pub(crate) fn small_snapshot(
    disk: &dyn Disk,
    folder: &Path,
    zxid: Zxid,
    compression: Compression,
    nodes: usize,
) {
    write_snapshot(disk, folder, &small_head(zxid), compression, small_nodes(zxid, nodes)).unwrap();
}

/// The same, as it came from a leader.
pub(crate) fn received_snapshot(disk: &dyn Disk, zxid: Zxid, nodes: usize) -> ReceivedSnapshot {
    let (head, chunks) = (small_head(zxid), small_nodes(zxid, nodes));
    write_received(disk, &version_dir(), &head, Compression::None, chunks).unwrap()
}

fn small_head(zxid: Zxid) -> SnapshotHead {
    SnapshotHead {
        zxid,
        digest: Some(0x1234_5678_9abc),
        sessions: vec![(SessionId::new(7), 4_000), (SessionId::new(9), 30_000)],
        acls: vec![(1, AclSlice::OPEN.as_bytes().to_vec())],
    }
}

fn small_nodes(zxid: Zxid, nodes: usize) -> impl FnMut(&mut Vec<u8>) -> SnapshotChunk {
    let mut left = nodes + 1;
    move |out| {
        let path = if left == nodes + 1 { String::new() } else { format!("/n{left}") };
        let stat = StatPersisted { mzxid: zxid, ..StatPersisted::default() };
        let data = path.repeat(3);
        NodeRecord { path: path.into(), data: Some(data.as_bytes()), acl_id: 1, stat }.write(out);
        left -= 1;
        if left == 0 { SnapshotChunk::Last } else { SnapshotChunk::More }
    }
}

/// `snapshot.0` on a fresh disk in memory.
pub(crate) fn fresh_disk() -> MemoryDisk {
    let disk = MemoryDisk::default();
    small_snapshot(&disk, &version_dir(), Zxid::ZERO, Compression::None, 0);
    disk
}

/// Appends `zxids` as one batch.
pub(crate) fn append_batch(log: &mut TxnLog, zxids: impl IntoIterator<Item = i64>, size: usize) {
    for value in zxids {
        log.append(zxid(value), &envelope(zxid(value), size)).unwrap();
    }
    log.sync().unwrap();
}

/// Where the files written by Java are.
pub(crate) fn java_folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name)
}

/// A disk in memory that holds what Java left, for a server to recover.
pub(crate) fn java_disk() -> MemoryDisk {
    let disk = MemoryDisk::default();
    for entry in std::fs::read_dir(java_folder("java-3.8.0")).unwrap() {
        let entry = entry.unwrap();
        disk.put(&version_dir().join(entry.file_name()), &std::fs::read(entry.path()).unwrap());
    }
    disk
}

/// A shared handle on the real disk.
pub(crate) fn real() -> Arc<dyn Disk> {
    Arc::new(crate::real_disk::RealDisk)
}
