//! The socket as an operating system gives it: bytes, not frames, some of them now and some later.

use ferrokeeper_client::session::Link;

use crate::ensemble::network::ConnectionId;
use crate::random::Random;

/// Where an attempt stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wire {
    /// There is none.
    None,
    /// Under way.
    Dialing,
    /// It came to nothing, and the client has not been told.
    Failed,
    /// It succeeded, and the client has not been told.
    New(ConnectionId),
    /// The client knows of it.
    Up(ConnectionId),
}

/// One connection of the client, or the attempt to get one.
#[derive(Debug)]
pub struct Edge {
    /// What the client calls it.
    pub link: Link,
    /// Where it stands.
    pub wire: Wire,
    /// What the client wants to send, and how much of it the system has taken.
    pub sending: Vec<u8>,
    sent: usize,
    /// Taken by the system, and not yet a whole frame.
    on_its_way: Vec<u8>,
    received: Vec<u8>,
    /// What was read of a frame whose end was not.
    begun: Vec<u8>,
    /// Nothing more will be received.
    pub closed: bool,
    /// The handshake is on its way.
    pub hello_sent: bool,
    /// It was answered.
    pub hello_heard: bool,
}

impl Edge {
    /// No connection.
    pub fn none(link: Link) -> Edge {
        Edge {
            link,
            wire: Wire::None,
            sending: Vec::new(),
            sent: 0,
            on_its_way: Vec::new(),
            received: Vec::new(),
            begun: Vec::new(),
            closed: false,
            hello_sent: false,
            hello_heard: false,
        }
    }

    /// The connection, once there is one.
    pub fn connection(&self) -> Option<ConnectionId> {
        match self.wire {
            Wire::New(connection) | Wire::Up(connection) => Some(connection),
            Wire::None | Wire::Dialing | Wire::Failed => None,
        }
    }

    /// How much the system has not taken of what the client gave.
    pub fn unsent(&self) -> usize {
        self.sending.len() - self.sent
    }

    /// Whether a part of a frame was taken.
    pub fn is_in_the_middle(&self) -> bool {
        !self.on_its_way.is_empty()
    }

    /// Whether there is something to read.
    pub fn has_input(&self) -> bool {
        !self.received.is_empty()
    }

    /// A frame arrives, given without its length.
    pub fn receive(&mut self, frame: &[u8]) {
        self.received.extend((frame.len() as u32).to_be_bytes());
        self.received.extend(frame);
    }

    /// The connection is reset: what was not read is lost from somewhere on. Returns whether that was anything.
    pub fn reset(&mut self, random: &mut Random) -> bool {
        let keep = random.index(self.received.len() + 1);
        let lost = keep < self.received.len();
        self.received.truncate(keep);
        lost
    }

    /// The system takes some of what is to be sent; returns whole frames, without their lengths.
    pub fn send(&mut self, bytes: usize) -> Vec<Vec<u8>> {
        let end = self.sending.len().min(self.sent.saturating_add(bytes));
        self.on_its_way.extend_from_slice(&self.sending[self.sent..end]);
        self.sent = end;
        if self.sent == self.sending.len() {
            self.sending.clear();
            self.sent = 0;
        }
        let mut frames = Vec::new();
        while let Some((length, rest)) = self.on_its_way.split_first_chunk::<4>() {
            let length = u32::from_be_bytes(*length) as usize;
            let Some(frame) = rest.get(..length) else { break };
            frames.push(frame.to_vec());
            self.on_its_way.drain(..4 + length);
        }
        frames
    }

    /// Reads up to so many bytes, and at most to the end of a frame. With them comes the frame that they complete,
    /// without its length.
    pub fn read(&mut self, most: usize) -> (Vec<u8>, Option<Vec<u8>>) {
        let length: Vec<u8> = self.begun.iter().chain(&self.received).take(4).copied().collect();
        let whole =
            <[u8; 4]>::try_from(length).map_or(usize::MAX, |length| 4 + u32::from_be_bytes(length) as usize);
        let bytes = most.min(self.received.len()).min(whole - self.begun.len());
        let read: Vec<u8> = self.received.drain(..bytes).collect();
        self.begun.extend(&read);
        let is_whole = self.begun.len() == whole;
        (read, is_whole.then(|| std::mem::take(&mut self.begun).split_off(4)))
    }
}
