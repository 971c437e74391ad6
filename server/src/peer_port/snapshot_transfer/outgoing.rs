//! Sending: a thread serializes the tree, the link takes it chunk by chunk.

use std::io::{self, Write};

use tokio::sync::mpsc;

use crate::peer_port::limits::{OUTGOING_CHUNKS, SNAPSHOT_CHUNK_BYTES};

/// A piece of the stream.
pub(in crate::peer_port) enum OutgoingChunk {
    Bytes(Vec<u8>),
    /// Packets may follow. A stream that ends without it was given up.
    End,
}

/// The link's end.
pub(in crate::peer_port) type OutgoingChunks = mpsc::Receiver<OutgoingChunk>;

/// Writes what is too long for an outbox, a raw tree or a part of the log, to a link, from a thread of its own: a write
/// blocks while 1 MiB waits to be sent, and fails once the link has ended.
///
/// To be ended with [`StreamWriter::finish`]. Dropping it unfinished closes the link, because a learner cannot tell
/// half of it from all.
pub struct StreamWriter {
    chunk: Vec<u8>,
    chunks: mpsc::Sender<OutgoingChunk>,
}

impl StreamWriter {
    pub(in crate::peer_port) fn new() -> (StreamWriter, OutgoingChunks) {
        let (sender, receiver) = mpsc::channel(OUTGOING_CHUNKS);
        (StreamWriter { chunk: Vec::new(), chunks: sender }, receiver)
    }

    /// Lets the packets that were written to the link meanwhile follow. Returns when the rest of the stream is on its
    /// way to the peer thread, not when it is sent.
    ///
    /// # Errors
    ///
    /// The link has ended.
    pub fn finish(mut self) -> io::Result<()> {
        self.flush()?;
        self.send(OutgoingChunk::End)
    }

    fn send(&mut self, chunk: OutgoingChunk) -> io::Result<()> {
        let ended = |_| io::Error::new(io::ErrorKind::BrokenPipe, "the link has ended");
        self.chunks.blocking_send(chunk).map_err(ended)
    }
}

impl Write for StreamWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.chunk.capacity() == 0 {
            self.chunk.reserve_exact(SNAPSHOT_CHUNK_BYTES);
        }
        let count = bytes.len().min(SNAPSHOT_CHUNK_BYTES - self.chunk.len());
        self.chunk.extend_from_slice(&bytes[..count]);
        if self.chunk.len() == SNAPSHOT_CHUNK_BYTES {
            self.flush()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::take(&mut self.chunk);
        self.send(OutgoingChunk::Bytes(chunk))
    }
}
