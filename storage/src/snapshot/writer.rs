//! Writing a snapshot beside a busy log.
//!
//! The file appears under its name only when it is complete and durable. While it is written, every piece of 1 MiB
//! is synced at once: 200 MB of unsynced pages would make one fdatasync of the log wait 50 to 130 ms, this way it
//! waits 2 ms at most (`examples/snapshot_vs_log.rs`), and the snapshot takes hardly longer.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use flate2::write::GzEncoder;
use protocol::jute::JuteWrite;
use protocol::snapshot::{ZxidDigest, write_end, write_file_header, write_session};
use protocol::{SessionId, Zxid};
use simd_adler32::Adler32;

use super::Compression;
use super::xerial::XerialWriter;
use crate::directory::{SnapshotFile, TEMPORARY_SNAPSHOT_PREFIX};
use crate::disk::{About, Access, Disk, DiskError, DiskFile};

/// What is written and synced at once.
const PIECE_BYTES: usize = 1024 * 1024;

/// What stands in front of the nodes, and what is known about all of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SnapshotHead {
    /// The last transaction in the snapshot, and no later one is; names the file.
    pub zxid: Zxid,
    /// The digest of the tree at that zxid; `None` if digests are off.
    pub digest: Option<u64>,
    /// The sessions and their timeouts in milliseconds.
    pub sessions: Vec<(SessionId, i32)>,
    /// The ACL lists that nodes refer to, by id, each encoded with its count.
    pub acls: Vec<(i64, Vec<u8>)>,
}

/// What a source of nodes says after it appended some.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SnapshotChunk {
    /// There are more.
    More,
    /// These were the last.
    Last,
    /// The snapshot is not wanted any more.
    Abandon,
}

/// Why there is no snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotWriteError {
    /// The disk said no.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The source of nodes gave up.
    #[error("the snapshot was abandoned")]
    Abandoned,
}

/// Writes a snapshot. `next_chunk` appends nodes (`NodeRecord::write`), parents before children, to an empty buffer;
/// some hundred KiB at a time are good. Nothing is left behind after an error, unless the disk refuses that too.
pub fn write_snapshot(
    disk: &dyn Disk,
    folder: &Path,
    head: &SnapshotHead,
    compression: Compression,
    mut next_chunk: impl FnMut(&mut Vec<u8>) -> SnapshotChunk,
) -> Result<SnapshotFile, SnapshotWriteError> {
    let name = SnapshotFile::name(head.zxid, compression);
    let zxid = name.strip_prefix("snapshot.").expect("a snapshot's name");
    let temporary = folder.join(format!("{TEMPORARY_SNAPSHOT_PREFIX}{zxid}"));
    let path = folder.join(&name);
    let length = write_or_remove(disk, &temporary, head, compression, &mut next_chunk)?;
    publish(disk, &temporary, &path)?;
    Ok(SnapshotFile { zxid: head.zxid, compression, path, length })
}

/// Gives the written file its name.
fn publish(disk: &dyn Disk, temporary: &Path, path: &Path) -> Result<(), DiskError> {
    let renamed = disk.rename(temporary, path).about("rename to", path);
    if renamed.is_err() {
        // Best effort: recovery removes it as well.
        let _ = disk.remove(temporary);
    }
    renamed?;
    let folder = path.parent().expect("a snapshot is in a folder");
    disk.sync_dir(folder).about("sync", folder)
}

fn write_or_remove(
    disk: &dyn Disk,
    temporary: &Path,
    head: &SnapshotHead,
    compression: Compression,
    next_chunk: &mut dyn FnMut(&mut Vec<u8>) -> SnapshotChunk,
) -> Result<u64, SnapshotWriteError> {
    write_temporary(disk, temporary, head, compression, next_chunk).inspect_err(|_| {
        // Best effort: recovery removes it as well.
        let _ = disk.remove(temporary);
    })
}

/// A leader's snapshot, whole and on stable storage under a name that recovery does not read but removes: it belongs to
/// another history than what lies beside it, until [`crate::truncate::adopt_snapshot`] puts it in the place of that.
#[derive(Debug)]
#[must_use = "adopt it or discard it"]
pub struct ReceivedSnapshot {
    /// The last transaction in it.
    pub zxid: Zxid,
    temporary: PathBuf,
    path: PathBuf,
}

impl ReceivedSnapshot {
    /// It is not wanted after all.
    pub fn discard(self, disk: &dyn Disk) -> Result<(), DiskError> {
        disk.remove(&self.temporary).about("remove", &self.temporary)
    }

    pub(crate) fn publish(self, disk: &dyn Disk) -> Result<(), DiskError> {
        publish(disk, &self.temporary, &self.path)
    }
}

/// Writes a snapshot that a leader has sent, as [`write_snapshot`] does, but does not let it count yet.
pub fn write_received(
    disk: &dyn Disk,
    folder: &Path,
    head: &SnapshotHead,
    compression: Compression,
    mut next_chunk: impl FnMut(&mut Vec<u8>) -> SnapshotChunk,
) -> Result<ReceivedSnapshot, SnapshotWriteError> {
    let name = SnapshotFile::name(head.zxid, compression);
    // Not the name under which a snapshot of this server's own may be on its way.
    let temporary = folder.join(format!("{TEMPORARY_SNAPSHOT_PREFIX}received"));
    write_or_remove(disk, &temporary, head, compression, &mut next_chunk)?;
    Ok(ReceivedSnapshot { zxid: head.zxid, temporary, path: folder.join(name) })
}

/// Gives the length of the file.
fn write_temporary(
    disk: &dyn Disk,
    temporary: &Path,
    head: &SnapshotHead,
    compression: Compression,
    next_chunk: &mut dyn FnMut(&mut Vec<u8>) -> SnapshotChunk,
) -> Result<u64, SnapshotWriteError> {
    if disk.exists(temporary).about("look for", temporary)? {
        disk.remove(temporary).about("remove", temporary)?;
    }
    let file = disk.open(temporary, Access::CreateNew).about("create", temporary)?;
    let sink = PacedFile { file, piece: Vec::new(), offset: 0 };
    let on_write = |error| DiskError::about_write(error, temporary);
    let mut out = SealedWriter::new(sink, compression).map_err(on_write)?;
    let mut chunk = Vec::new();
    encode_head(head, &mut chunk);
    out.write(&chunk).map_err(on_write)?;
    loop {
        chunk.clear();
        let state = next_chunk(&mut chunk);
        if state == SnapshotChunk::Abandon {
            return Err(SnapshotWriteError::Abandoned);
        }
        out.write(&chunk).map_err(on_write)?;
        if state == SnapshotChunk::Last {
            break;
        }
    }
    chunk.clear();
    write_end(&mut chunk);
    out.write(&chunk).map_err(on_write)?;
    out.seal().map_err(on_write)?;
    chunk.clear();
    // Zeros say that there is no digest. Without the section, some versions of Java would misread the next one.
    let digest_zxid = if head.digest.is_some() { head.zxid } else { Zxid::ZERO };
    ZxidDigest::write(&mut chunk, digest_zxid, head.digest.unwrap_or(0));
    out.write(&chunk).map_err(on_write)?;
    out.seal().map_err(on_write)?;
    out.write(&head.zxid.to_wire().to_be_bytes()).map_err(on_write)?;
    out.seal().map_err(on_write)?;
    let sink = out.finish().map_err(on_write)?;
    sink.file.sync_all().about("sync", temporary)?;
    Ok(sink.offset)
}

/// Writes what [`super::read_tree`] reads: what a leader sends to a learner that takes a whole snapshot. `false` if the
/// source of nodes gave up.
pub fn write_tree(
    out: &mut dyn Write,
    head: &SnapshotHead,
    mut next_chunk: impl FnMut(&mut Vec<u8>) -> SnapshotChunk,
) -> io::Result<bool> {
    let mut chunk = Vec::new();
    encode_sessions_and_acls(head, &mut chunk);
    out.write_all(&chunk)?;
    loop {
        chunk.clear();
        let state = next_chunk(&mut chunk);
        if state == SnapshotChunk::Abandon {
            return Ok(false);
        }
        out.write_all(&chunk)?;
        if state == SnapshotChunk::Last {
            break;
        }
    }
    chunk.clear();
    write_end(&mut chunk);
    out.write_all(&chunk)?;
    Ok(true)
}

fn encode_head(head: &SnapshotHead, out: &mut Vec<u8>) {
    write_file_header(out);
    encode_sessions_and_acls(head, out);
}

fn encode_sessions_and_acls(head: &SnapshotHead, out: &mut Vec<u8>) {
    out.put_length(head.sessions.len());
    for (session, timeout_ms) in &head.sessions {
        write_session(out, *session, *timeout_ms);
    }
    out.put_length(head.acls.len());
    for (id, encoded) in &head.acls {
        out.put_i64(*id);
        out.put_bytes(encoded);
    }
}

impl DiskError {
    fn about_write(error: io::Error, path: &Path) -> DiskError {
        DiskError { action: "write", path: path.to_owned(), source: std::sync::Arc::new(error) }
    }
}

/// Compresses and keeps the running checksum of what is written.
struct SealedWriter {
    out: Compressor,
    adler: Adler32,
}

enum Compressor {
    Plain(PacedFile),
    Gz(Box<GzEncoder<PacedFile>>),
    Snappy(Box<XerialWriter<PacedFile>>),
}

impl SealedWriter {
    fn new(sink: PacedFile, compression: Compression) -> io::Result<SealedWriter> {
        let out = match compression {
            Compression::None => Compressor::Plain(sink),
            // The fast level: a snapshot shares the machine with the server.
            Compression::Gz => Compressor::Gz(Box::new(GzEncoder::new(sink, flate2::Compression::fast()))),
            Compression::Snappy => Compressor::Snappy(Box::new(XerialWriter::new(sink)?)),
        };
        Ok(SealedWriter { out, adler: Adler32::new() })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.adler.write(bytes);
        match &mut self.out {
            Compressor::Plain(sink) => sink.write_all(bytes),
            Compressor::Gz(sink) => sink.write_all(bytes),
            Compressor::Snappy(sink) => sink.write_all(bytes),
        }
    }

    fn seal(&mut self) -> io::Result<()> {
        let mut seal = Vec::with_capacity(13);
        seal.put_i64(self.adler.finish().into());
        write_end(&mut seal);
        self.write(&seal)
    }

    fn finish(self) -> io::Result<PacedFile> {
        let mut sink = match self.out {
            Compressor::Plain(sink) => sink,
            Compressor::Gz(encoder) => encoder.finish()?,
            Compressor::Snappy(writer) => writer.finish()?,
        };
        sink.flush()?;
        Ok(sink)
    }
}

/// A file that is written in pieces, each synced before the next.
struct PacedFile {
    file: Box<dyn DiskFile>,
    piece: Vec<u8>,
    offset: u64,
}

impl Write for PacedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(PIECE_BYTES - self.piece.len());
        self.piece.extend_from_slice(&bytes[..count]);
        if self.piece.len() == PIECE_BYTES {
            self.flush()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.piece.is_empty() {
            self.file.write_at(&self.piece, self.offset)?;
            self.file.sync_data()?;
            self.offset += self.piece.len() as u64;
            self.piece.clear();
        }
        Ok(())
    }
}
