//! What a link is to send.

use std::collections::VecDeque;

use crate::peer_port::limits::OUTBOX_BYTES_KEPT;
use crate::peer_port::snapshot_transfer::OutgoingChunks;

/// Packets and raw streams in order. Filled by any thread, emptied by the link's task.
pub(super) struct Outbox {
    bytes_max: usize,
    segments: VecDeque<Segment>,
    /// Bytes of packets that wait or are being sent.
    packet_bytes: usize,
    /// Whether the task has been told of what is in here, or is about to be.
    announced: bool,
    closed: bool,
    /// Room for the next packets.
    spare: Vec<u8>,
}

enum Segment {
    Packets(Vec<u8>),
    Stream(OutgoingChunks),
}

/// What is to be sent next.
pub(super) enum Next {
    /// To be given back with [`Outbox::sent`].
    Packets(Vec<u8>),
    Stream(OutgoingChunks),
    Nothing,
}

/// More waits than may.
#[derive(Debug, thiserror::Error)]
#[error("it does not read: {waiting} bytes wait for it, and at most {most} may")]
pub(super) struct Full {
    waiting: usize,
    most: usize,
}

impl Outbox {
    /// At most so many bytes of packets may wait.
    pub fn new(bytes_max: usize) -> Outbox {
        Outbox {
            bytes_max,
            segments: VecDeque::new(),
            packet_bytes: 0,
            announced: false,
            closed: false,
            spare: Vec::new(),
        }
    }

    /// Appends packets. Says whether the task must be told.
    pub fn append(&mut self, encode: impl FnOnce(&mut Vec<u8>)) -> Result<bool, Full> {
        if self.closed {
            return Ok(false);
        }
        if !matches!(self.segments.back(), Some(Segment::Packets(_))) {
            let room = std::mem::take(&mut self.spare);
            self.segments.push_back(Segment::Packets(room));
        }
        let Some(Segment::Packets(bytes)) = self.segments.back_mut() else {
            unreachable!("the last segment holds packets");
        };
        let before = bytes.len();
        encode(bytes);
        self.packet_bytes += bytes.len() - before;
        if self.packet_bytes > self.bytes_max {
            return Err(Full { waiting: self.packet_bytes, most: self.bytes_max });
        }
        Ok(self.announce())
    }

    /// Appends a stream. Says whether the task must be told. In a closed outbox the stream's writer finds out.
    pub fn append_stream(&mut self, chunks: OutgoingChunks) -> bool {
        if self.closed {
            return false;
        }
        self.segments.push_back(Segment::Stream(chunks));
        self.announce()
    }

    fn announce(&mut self) -> bool {
        !std::mem::replace(&mut self.announced, true)
    }

    /// Takes what is to be sent next. After `Nothing` the task waits to be told.
    pub fn next(&mut self) -> Next {
        // A task that is told of what it has sent already looks once in vain; one that is not told waits for ever.
        self.announced = false;
        match self.segments.pop_front() {
            None => Next::Nothing,
            Some(Segment::Packets(bytes)) => Next::Packets(bytes),
            Some(Segment::Stream(chunks)) => Next::Stream(chunks),
        }
    }

    /// Notes that packets are sent.
    pub fn sent(&mut self, mut bytes: Vec<u8>) {
        self.packet_bytes -= bytes.len();
        bytes.clear();
        if bytes.capacity() <= OUTBOX_BYTES_KEPT && bytes.capacity() > self.spare.capacity() {
            self.spare = bytes;
        }
    }

    /// Drops everything, also what will be appended.
    pub fn close(&mut self) {
        self.closed = true;
        self.segments.clear();
        self.spare = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer_port::StreamWriter;

    const MAX: usize = 1 << 20;

    fn packets(outbox: &mut Outbox) -> Option<Vec<u8>> {
        match outbox.next() {
            Next::Packets(bytes) => Some(bytes),
            Next::Stream(_) | Next::Nothing => None,
        }
    }

    #[test]
    fn the_task_is_told_once_of_many_packets() {
        let mut outbox = Outbox::new(MAX);
        let mut told = |bytes: &[u8]| outbox.append(|out| out.extend_from_slice(bytes)).unwrap();
        assert_eq!([told(b"a"), told(b"b"), told(b"c")], [true, false, false]);
        assert_eq!(packets(&mut outbox), Some(b"abc".to_vec()));
        assert!(outbox.append(|out| out.push(b'd')).unwrap());
    }

    #[test]
    fn packets_stay_behind_the_stream_they_were_written_behind() {
        let mut outbox = Outbox::new(MAX);
        outbox.append(|out| out.push(1)).unwrap();
        let (_writer, chunks) = StreamWriter::new();
        outbox.append_stream(chunks);
        outbox.append(|out| out.push(2)).unwrap();
        assert_eq!(packets(&mut outbox), Some(vec![1]));
        assert!(matches!(outbox.next(), Next::Stream(_)));
        assert_eq!(packets(&mut outbox), Some(vec![2]));
        assert!(matches!(outbox.next(), Next::Nothing));
    }

    #[test]
    fn packets_being_sent_count_until_they_are() {
        let mut outbox = Outbox::new(MAX);
        let half = MAX / 2;
        outbox.append(|out| out.resize(half, 0)).unwrap();
        let sending = packets(&mut outbox).unwrap();
        outbox.append(|out| out.resize(half, 0)).unwrap();
        assert!(outbox.append(|out| out.push(0)).is_err());
        outbox.sent(sending);
        assert!(outbox.append(|out| out.push(0)).is_ok());
    }

    #[test]
    fn a_closed_outbox_keeps_nothing() {
        let mut outbox = Outbox::new(MAX);
        outbox.append(|out| out.push(1)).unwrap();
        outbox.close();
        assert!(!outbox.append(|out| out.push(2)).unwrap());
        assert!(matches!(outbox.next(), Next::Nothing));
    }
}
