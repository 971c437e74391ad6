//! How long a sync of the log takes while a snapshot is written beside it.
//!
//! `cargo run --release -p storage --example snapshot_vs_log [folder] [snapshot MB] [bytes per batch]`
//!
//! Appends and syncs batches in a loop, first alone, then while another thread writes a snapshot, then while old
//! snapshots are purged, and prints the latencies. The folder must be on the disk of interest; what is written
//! there is removed.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use protocol::snapshot::NodeRecord;
use protocol::txn::{Transaction, TxnBody, TxnHeader};
use protocol::{OpCode, SessionId, StatPersisted, Zxid};
use storage::RECORD_BYTES_MAX;
use storage::directory::{DataFolders, MissingFolders};
use storage::real_disk::RealDisk;
use storage::retention::Retention;
use storage::snapshot::{Compression, SnapshotChunk, SnapshotHead, write_snapshot};
use storage::txn_log::{TxnLog, TxnLogOptions};

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let root = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from).join("snapshot_vs_log");
    let megabytes: usize = arguments.next().map_or(Ok(200), |text| text.parse())?;
    let batch_bytes: usize = arguments.next().map_or(Ok(6_000), |text| text.parse())?;
    let folders = DataFolders::open(Arc::new(RealDisk), &root, &root, MissingFolders::Create)?;
    let mut bench = Bench { folders: &folders, last: Zxid::ZERO, batch_bytes };

    bench.run("alone", || {
        std::thread::sleep(Duration::from_secs(2));
        Ok(())
    })?;
    for (round, compression) in
        [Compression::None, Compression::None, Compression::Gz, Compression::Snappy].into_iter().enumerate()
    {
        let zxid = Zxid::from_wire(round as i64 + 1);
        bench.run(&format!("beside a snapshot ({compression:?})"), || {
            snapshot(folders.snapshots(), zxid, compression, megabytes)
        })?;
    }
    bench.run("beside a purge", || {
        Retention::default().purge(&folders, 3, RECORD_BYTES_MAX)?;
        Ok(())
    })?;
    drop(folders);
    std::fs::remove_dir_all(root)?;
    Ok(())
}

struct Bench<'a> {
    folders: &'a DataFolders,
    last: Zxid,
    batch_bytes: usize,
}

impl Bench<'_> {
    /// Syncs batches for as long as `beside` runs in another thread.
    fn run(
        &mut self,
        name: &str,
        beside: impl FnOnce() -> Result<(), Failure> + Send,
    ) -> Result<(), Failure> {
        let disk = Arc::clone(self.folders.disk());
        let mut log = TxnLog::open(disk, self.folders.logs(), self.last, TxnLogOptions::default());
        let done = AtomicBool::new(false);
        let mut latencies = Vec::new();
        let beside_s = std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let start = Instant::now();
                let result = beside();
                done.store(true, Ordering::Release);
                result.map(|()| start.elapsed().as_secs_f64())
            });
            while !done.load(Ordering::Acquire) {
                let zxid = self.last.next().ok_or("out of zxids")?;
                let envelope = envelope(zxid, self.batch_bytes);
                let start = Instant::now();
                log.append(zxid, &envelope)?;
                self.last = log.sync()?;
                latencies.push(start.elapsed());
            }
            thread.join().map_err(|_| "the other thread panicked")?
        })?;
        latencies.sort();
        let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize].as_micros();
        println!(
            "{name:32} {beside_s:6.2} s, {:6} syncs: p50 {:5} us, p99 {:6} us, p99.9 {:6} us, max {:6} us",
            latencies.len(),
            at(0.5),
            at(0.99),
            at(0.999),
            at(1.0),
        );
        Ok(())
    }
}

fn envelope(zxid: Zxid, size: usize) -> Vec<u8> {
    let data = vec![7; size];
    let session = SessionId::new(1);
    let header = TxnHeader { session, cxid: 0, zxid, time_ms: 0, kind: OpCode::SetData.to_wire() };
    let body = TxnBody::SetData { path: "/a".into(), data: Some(&data), version: 1, reconfig: false };
    let mut out = Vec::new();
    Transaction { header, body, digest: None }.write(&mut out);
    out
}

/// Nodes of 200 bytes until there are enough megabytes.
fn snapshot(folder: &Path, zxid: Zxid, compression: Compression, megabytes: usize) -> Result<(), Failure> {
    let head = SnapshotHead { zxid, digest: None, sessions: Vec::new(), acls: Vec::new() };
    let stat = StatPersisted::default();
    let (mut number, mut bytes) = (0_u64, 0);
    let mut data = [0_u8; 96];
    write_snapshot(&RealDisk, folder, &head, compression, |out| {
        for _ in 0..500 {
            let path = if number == 0 { String::new() } else { format!("/node-{number:012}") };
            // Half of it does not compress.
            for word in data[..48].chunks_exact_mut(8) {
                number = number.wrapping_add(1);
                word.copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
            }
            NodeRecord { path: path.into(), data: Some(&data), acl_id: -1, stat }.write(out);
        }
        bytes += out.len();
        if bytes < megabytes << 20 { SnapshotChunk::More } else { SnapshotChunk::Last }
    })?;
    Ok(())
}
