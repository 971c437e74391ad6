//! Receiving: the link hands over chunks, a thread parses the tree and says where it ended.

use std::io::{self, BufRead, Read};

use bytes::{Buf, Bytes};
use tokio::sync::{mpsc, oneshot};

use crate::peer_port::limits::INCOMING_CHUNKS;

/// What was received behind the tree and goes back to the link, in order.
pub(in crate::peer_port) type GivenBack = Vec<Bytes>;

/// A raw tree that arrives on a link, to be read by a thread of its own: reading blocks while nothing is there.
/// Nobody else knows where the tree ends, so it never reports an end by itself: if the link ends inside, reading
/// fails.
///
/// To be ended with [`IncomingSnapshot::finish`] exactly behind the last byte; it is a [`BufRead`] so that nobody need
/// put a buffer in front of it, which would swallow what follows. Dropping it unfinished closes the link.
pub struct IncomingSnapshot {
    current: Bytes,
    chunks: mpsc::Receiver<Bytes>,
    finished: oneshot::Sender<GivenBack>,
}

/// Both ends of the way that an arriving tree takes.
pub(in crate::peer_port) fn incoming() -> (IncomingSnapshot, mpsc::Sender<Bytes>, oneshot::Receiver<GivenBack>)
{
    let (sender, chunks) = mpsc::channel(INCOMING_CHUNKS);
    let (finished, given_back) = oneshot::channel();
    (IncomingSnapshot { current: Bytes::new(), chunks, finished }, sender, given_back)
}

impl IncomingSnapshot {
    /// Puts bytes back that were read too many.
    pub fn put_back(&mut self, unread: &[u8]) {
        if !unread.is_empty() {
            self.current = [unread, &self.current[..]].concat().into();
        }
    }

    /// Says that everything up to here was the tree. What has arrived behind it goes back to the link, which then
    /// continues with packets.
    pub fn finish(mut self) {
        // After this the link can add no more chunks, but it may be just about to put in one for which it has got
        // room already; receiving waits for that.
        self.chunks.close();
        let mut unread = Vec::new();
        if !self.current.is_empty() {
            unread.push(self.current);
        }
        while let Some(chunk) = self.chunks.blocking_recv() {
            unread.push(chunk);
        }
        // If the link has ended meanwhile, that has been reported and what is left does not matter.
        let _ = self.finished.send(unread);
    }
}

impl BufRead for IncomingSnapshot {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.current.is_empty() {
            self.current = self.chunks.blocking_recv().ok_or_else(|| {
                io::Error::new(io::ErrorKind::ConnectionAborted, "the link ended inside a snapshot")
            })?;
        }
        Ok(&self.current)
    }

    fn consume(&mut self, count: usize) {
        self.current.advance(count);
    }
}

impl Read for IncomingSnapshot {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        if target.is_empty() {
            return Ok(0);
        }
        let available = self.fill_buf()?;
        let count = available.len().min(target.len());
        target[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}
