//! Taking in what a link sends: packets, and the raw tree behind a SNAP.

use std::sync::atomic::Ordering;

use bytes::{BufMut, Bytes, BytesMut};
use protocol::Zxid;
use protocol::peer::{FromLeader, FromLearner, FromPacket, PacketReader, PeerError};
use tokio::io::AsyncReadExt;
use tokio::net::tcp::ReadHalf;
use tokio::sync::{mpsc, oneshot};

use super::Link;
use crate::peer_port::limits::{FIRST_PACKET_BYTES_MAX, READ_BYTES, READ_BYTES_FIRST};
use crate::peer_port::snapshot_transfer::{GivenBack, incoming};
use crate::peer_port::{LinkId, PeerSink};

/// Why nothing more is received.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReceiveError {
    #[error("the other end closed it")]
    Closed,
    #[error("cannot receive: {0}")]
    Socket(#[from] std::io::Error),
    #[error("bad packet: {0}")]
    BadPacket(#[from] PeerError),
    #[error("its first packet is longer than {FIRST_PACKET_BYTES_MAX} bytes")]
    LongFirstPacket,
    #[error("the snapshot that arrived on it was not read to its end")]
    SnapshotGivenUp,
}

/// What can arrive, by who sends it.
pub(super) trait Message: FromPacket {
    /// Whether a raw tree follows, as of which zxid.
    fn snapshot(&self) -> Option<Zxid>;

    /// Whether the other end must say who it is before it may send much.
    const IS_STRANGER: bool;

    fn hand_over(sink: &dyn PeerSink, link: LinkId, messages: Vec<Self>, bytes: usize);
}

impl Message for FromLeader {
    fn snapshot(&self) -> Option<Zxid> {
        match self {
            FromLeader::Snapshot { zxid } => Some(*zxid),
            _ => None,
        }
    }

    const IS_STRANGER: bool = false;

    fn hand_over(sink: &dyn PeerSink, link: LinkId, messages: Vec<FromLeader>, bytes: usize) {
        sink.from_leader(link, messages, bytes);
    }
}

impl Message for FromLearner {
    fn snapshot(&self) -> Option<Zxid> {
        None
    }

    const IS_STRANGER: bool = true;

    fn hand_over(sink: &dyn PeerSink, link: LinkId, messages: Vec<FromLearner>, bytes: usize) {
        sink.from_learner(link, messages, bytes);
    }
}

/// The reading half of a link.
pub(super) struct Receiver<'a> {
    link: &'a Link,
    socket: ReadHalf<'a>,
    sink: &'a dyn PeerSink,
    packets: PacketReader,
    /// Received and not yet understood.
    buffer: BytesMut,
    /// How much room the next read gets. Bodies of packets are slices of the buffer and keep all of it in memory, so
    /// it is large only while it is filled.
    room: usize,
}

impl<'a> Receiver<'a> {
    pub fn new(
        link: &'a Link,
        socket: ReadHalf<'a>,
        sink: &'a dyn PeerSink,
        packet_bytes_max: usize,
    ) -> Receiver<'a> {
        let packets = PacketReader::new(packet_bytes_max);
        Receiver { link, socket, sink, packets, buffer: BytesMut::new(), room: READ_BYTES_FIRST }
    }

    /// Reads until the link cannot go on, and says why.
    pub async fn run<M: Message>(&mut self) -> ReceiveError {
        loop {
            let result = match self.take_packets::<M>() {
                Ok(Some(zxid)) => self.pass_snapshot(zxid).await,
                Ok(None) => {
                    self.link.wait_for_room().await;
                    self.read().await
                }
                Err(error) => Err(error),
            };
            if let Err(error) = result {
                return error;
            }
        }
    }

    /// Hands over all packets that are there, up to a SNAP.
    fn take_packets<M: Message>(&mut self) -> Result<Option<Zxid>, ReceiveError> {
        let received = self.buffer.len();
        let mut messages = Vec::new();
        let mut snapshot = None;
        // What is before a bad packet is good.
        let mut outcome = Ok(());
        while snapshot.is_none() {
            match self.packets.next::<M>(&mut self.buffer) {
                Ok(Some(message)) => match message.snapshot() {
                    Some(zxid) => snapshot = Some(zxid),
                    None => messages.push(message),
                },
                Ok(None) => break,
                Err(error) => {
                    outcome = Err(ReceiveError::BadPacket(error));
                    break;
                }
            }
        }
        if snapshot.is_some() || !messages.is_empty() {
            self.link.spoken.store(true, Ordering::Relaxed);
        }
        if !messages.is_empty() {
            // The smallest packets are smaller than what they become.
            let bytes = (received - self.buffer.len()).max(messages.len() * size_of::<M>());
            self.link.handed_over(bytes);
            M::hand_over(self.sink, self.link.id(), messages, bytes);
        }
        outcome?;
        if M::IS_STRANGER && !self.link.has_spoken() && self.buffer.len() > FIRST_PACKET_BYTES_MAX {
            return Err(ReceiveError::LongFirstPacket);
        }
        Ok(snapshot)
    }

    /// Reads once. Cancel safe.
    async fn read(&mut self) -> Result<(), ReceiveError> {
        // Room for the rest of a packet that has begun to arrive, but no more than has arrived already: a length
        // may lie.
        let missing = self.packets.wanted().saturating_sub(self.buffer.len()).min(self.buffer.len());
        let room = self.room.max(missing);
        self.buffer.reserve(room);
        let count = self.socket.read_buf(&mut (&mut self.buffer).limit(room)).await?;
        if count == 0 {
            return Err(ReceiveError::Closed);
        }
        self.link.alive();
        if count >= self.room {
            self.room = (self.room * 2).min(READ_BYTES);
        } else if count < self.room / 4 {
            self.room = (self.room / 2).max(READ_BYTES_FIRST);
        }
        Ok(())
    }

    /// Hands over raw bytes until the reader of the tree says that it has all, and takes back what it did not want.
    async fn pass_snapshot(&mut self, zxid: Zxid) -> Result<(), ReceiveError> {
        let (stream, chunks, given_back) = incoming();
        self.sink.snapshot_arriving(self.link.id(), zxid, stream);
        let given_back = self.pass_chunks(chunks, given_back).await?;
        let mut buffer = BytesMut::with_capacity(given_back.iter().map(Bytes::len).sum::<usize>());
        for chunk in given_back {
            buffer.extend_from_slice(&chunk);
        }
        // What was received but found no more room in the channel comes behind what had.
        buffer.extend_from_slice(&self.buffer);
        self.buffer = buffer;
        Ok(())
    }

    async fn pass_chunks(
        &mut self,
        chunks: mpsc::Sender<Bytes>,
        mut given_back: oneshot::Receiver<GivenBack>,
    ) -> Result<GivenBack, ReceiveError> {
        loop {
            if self.buffer.is_empty() {
                tokio::select! {
                    biased;
                    unread = &mut given_back => return unread.map_err(|_| ReceiveError::SnapshotGivenUp),
                    read = self.read() => read?,
                }
            }
            self.link.pause();
            let room = tokio::select! {
                biased;
                unread = &mut given_back => {
                    self.link.resumed();
                    return unread.map_err(|_| ReceiveError::SnapshotGivenUp);
                }
                room = chunks.reserve() => room,
            };
            match room {
                // No await between getting room and filling it: `IncomingSnapshot::finish` waits for this.
                Ok(room) => room.send(self.buffer.split().freeze()),
                // The reader does not want any more, and is about to say what it has left.
                Err(_) => {
                    let unread = given_back.await.map_err(|_| ReceiveError::SnapshotGivenUp);
                    self.link.resumed();
                    return unread;
                }
            }
            self.link.resumed();
        }
    }
}
