//! Reading a snapshot: one pass, record by record, everything checked.

use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

use protocol::snapshot::{NodeRecord, SNAPSHOT_MAGIC, ZxidDigest, read_session};
use protocol::{Reader, Zxid};

use super::batch::{Batch, Record};
use super::source::Source;
use super::stream::{Problem, RecordStream, StreamError};
use super::{Discard, Refusal, SnapshotSink};
use crate::directory::SnapshotFile;
use crate::disk::{Access, Disk, DiskError};
use crate::read_ahead::read_ahead;

const HEADER_BYTES: usize = 16;
const SEAL_BYTES: usize = 13;
/// More than the two sections behind the first seal can have.
const SECTIONS_BYTES_MAX: usize = 4096;

/// Why a snapshot cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {error}", .path.display())]
pub struct SnapshotError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    #[source]
    pub error: StreamError,
}

impl SnapshotError {
    /// What the disk said when it did not give the file's bytes, which may be in order; or the error again if the bytes
    /// are what is wrong.
    pub fn into_disk_error(self) -> Result<DiskError, SnapshotError> {
        match self.error.problem {
            Problem::Read(source) if !is_about_content(&source) => {
                Ok(DiskError { action: "read", path: self.path, source: Arc::new(source) })
            }
            _ => Err(self),
        }
    }
}

/// Whether decompression failed rather than the disk.
fn is_about_content(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    matches!(error.kind(), InvalidData | InvalidInput | UnexpectedEof)
}

/// What a snapshot says about itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SnapshotSummary {
    /// The zxid in its name: everything up to there is in it.
    pub zxid: Zxid,
    /// The digest of the tree, if the file has the section and the writer computed it.
    pub digest: Option<ZxidDigest>,
    /// The newest change found in it. Above `zxid` if the tree was written while it changed (Java does that): then
    /// it is a consistent tree only once the log was replayed up to here.
    pub content: Zxid,
    /// How many nodes it has.
    pub nodes: u64,
}

/// Reads a snapshot into `sink`. What the sink got before an error is to be thrown away.
pub fn read_snapshot(
    disk: &dyn Disk,
    snapshot: &SnapshotFile,
    record_bytes_max: usize,
    sink: &mut dyn SnapshotSink,
) -> Result<SnapshotSummary, SnapshotError> {
    let at = |error| SnapshotError { path: snapshot.path.clone(), error };
    let mut stream = open(disk, snapshot, record_bytes_max).map_err(at)?;
    read_sealed(&mut stream, snapshot.zxid, &mut |_, record| record.give_to(sink)).map_err(at)
}

/// Likewise, but reads and checks on a thread of its own while the sink is at work.
pub(super) fn read_snapshot_ahead(
    disk: &dyn Disk,
    snapshot: &SnapshotFile,
    record_bytes_max: usize,
    sink: &mut dyn SnapshotSink,
) -> Result<SnapshotSummary, SnapshotError> {
    let at = |error| SnapshotError { path: snapshot.path.clone(), error };
    let mut stream = open(disk, snapshot, record_bytes_max).map_err(at)?;
    let produce = |send: &mut dyn FnMut(Batch)| {
        let mut batch = Batch::new();
        let summary = read_sealed(&mut stream, snapshot.zxid, &mut |offset, record| {
            batch.push(offset, &record);
            if batch.is_full() {
                send(std::mem::replace(&mut batch, Batch::new()));
            }
            Ok(())
        });
        send(batch);
        summary
    };
    let mut refused = None;
    let summary = read_ahead(produce, |batch| {
        if refused.is_none() {
            refused = batch.give_to(sink).err();
        }
    });
    let summary = summary.map_err(|error| at(StreamError { offset: 0, problem: Problem::Read(error) }))?;
    // What was refused stands before anything that could not be read.
    match refused {
        Some((offset, refusal)) => Err(at(StreamError { offset, problem: Problem::Refused(refusal) })),
        None => summary.map_err(at),
    }
}

fn open(
    disk: &dyn Disk,
    snapshot: &SnapshotFile,
    record_bytes_max: usize,
) -> Result<RecordStream<Source>, StreamError> {
    let file = disk
        .open(&snapshot.path, Access::Read)
        .map_err(|error| StreamError { offset: 0, problem: Problem::Read(error) })?;
    Ok(RecordStream::new(Source::new(file, snapshot.compression), record_bytes_max))
}

/// Checks a snapshot from its first byte to its last.
pub fn verify_snapshot(
    disk: &dyn Disk,
    snapshot: &SnapshotFile,
    record_bytes_max: usize,
) -> Result<SnapshotSummary, SnapshotError> {
    read_snapshot(disk, snapshot, record_bytes_max, &mut Discard)
}

/// Reads what stands between header and seal: sessions, ACL lists, nodes, "/". A leader sends exactly this to a
/// learner that takes a whole snapshot. Gives back what it has read from the source beyond the end.
pub fn read_tree(
    source: impl Read,
    record_bytes_max: usize,
    sink: &mut dyn SnapshotSink,
) -> Result<Vec<u8>, StreamError> {
    let mut stream = RecordStream::new(source, record_bytes_max);
    read_records(&mut stream, &mut |_, record| record.give_to(sink))?;
    Ok(stream.into_unread())
}

/// Takes a record and its offset.
type Accept<'a> = &'a mut dyn FnMut(u64, Record<'_>) -> Result<(), Refusal>;

fn read_sealed(
    stream: &mut RecordStream<Source>,
    zxid: Zxid,
    accept: Accept<'_>,
) -> Result<SnapshotSummary, StreamError> {
    let header = stream.peek(HEADER_BYTES)?;
    if header[..4] != SNAPSHOT_MAGIC.to_be_bytes() {
        let found = format!("{:02x?}", &header[..4]);
        return Err(stream.error(Problem::Header { found }));
    }
    stream.take(HEADER_BYTES);
    let (newest_change, nodes) = read_records(stream, accept)?;
    stream.seal()?;
    let digest = read_sections(stream)?;
    if !stream.source_mut().is_at_end().map_err(|error| stream.error(Problem::Read(error)))? {
        return Err(stream.error(Problem::Trailing));
    }
    let digest_zxid = digest.as_ref().map_or(zxid, |digest| digest.zxid);
    Ok(SnapshotSummary { zxid, digest, content: newest_change.max(zxid).max(digest_zxid), nodes })
}

/// Gives the newest change of a node and the number of nodes.
fn read_records<R: Read>(
    stream: &mut RecordStream<R>,
    accept: Accept<'_>,
) -> Result<(Zxid, u64), StreamError> {
    for _ in 0..stream.count("number of sessions")? {
        let (session, timeout_ms) = stream.fixed(12, read_session)?;
        accept(stream.offset(), Record::Session(session, timeout_ms))
            .map_err(|error| stream.error(Problem::Refused(error)))?;
    }
    for _ in 0..stream.count("number of ACL lists")? {
        stream.acl_entry(|offset, id, acl| accept(offset, Record::Acl(id, acl)))?;
    }
    let mut newest_change = Zxid::ZERO;
    let mut nodes = 0;
    while let Some(size) = stream.node_size()? {
        let offset = stream.offset();
        let record = stream.peek(size)?;
        let problem = match NodeRecord::read(&mut Reader::new(record)) {
            Ok(Some(node)) => {
                newest_change = newest_change.max(change_of(&node));
                accept(offset, Record::Node(node)).err().map(Problem::Refused)
            }
            Ok(None) => Some(Problem::SealEnd),
            Err(error) => Some(error.into()),
        };
        if let Some(problem) = problem {
            return Err(stream.error(problem));
        }
        stream.take(size);
        nodes += 1;
    }
    accept(stream.offset(), Record::NodesEnd).map_err(|error| stream.error(Problem::Refused(error)))?;
    stream.take(5);
    Ok((newest_change, nodes))
}

/// The newest transaction that the node shows. Java sets what is below `/zookeeper` outside of transactions, with
/// numbers that are not zxids of the log.
fn change_of(node: &NodeRecord<'_>) -> Zxid {
    if node.path.starts_with("/zookeeper") {
        return Zxid::ZERO;
    }
    node.stat.czxid.max(node.stat.mzxid).max(node.stat.pzxid)
}

/// Reads the sections behind the first seal. Which there are shows in how many bytes are left, because the settings
/// of the server that wrote the file are unknown.
fn read_sections<R: Read>(stream: &mut RecordStream<R>) -> Result<Option<ZxidDigest>, StreamError> {
    const ZXID_SECTION_BYTES: usize = 8 + SEAL_BYTES;
    let mut digest = None;
    let mut left = stream.fill(SECTIONS_BYTES_MAX + 1)?;
    if left > SECTIONS_BYTES_MAX {
        return Err(stream.error(Problem::Trailing));
    }
    if left != 0 && left != ZXID_SECTION_BYTES {
        let mut reader = Reader::new(stream.peek(left)?);
        let section = ZxidDigest::read(&mut reader);
        let size = reader.offset();
        let section = section.map_err(|error| stream.error(error))?;
        stream.take(size);
        stream.seal()?;
        left -= size + SEAL_BYTES;
        // A writer without a digest leaves zeros.
        digest = Some(section).filter(|section| section.zxid != Zxid::ZERO || section.digest != Some(0));
    }
    if left == ZXID_SECTION_BYTES {
        // The zxid of the last change that may be in the file; Java overrides it by the one in the name.
        stream.take(8);
        stream.seal()?;
        left = 0;
    }
    if left != 0 { Err(stream.error(Problem::Trailing)) } else { Ok(digest) }
}
