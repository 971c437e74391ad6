//! The bytes of [`Notification`] (`FastLeaderElection.Messenger`).

use bytes::{Buf, BytesMut};

use crate::jute::{FrameStart, JuteWrite, Reader};
use crate::{DecodeError, ServerId, Zxid};

use super::{Notification, ServerState, Vote};

/// Bytes of a frame, at most; Java closes the connection over a longer one.
pub const FRAME_BYTES_MAX: usize = 524_288;

/// The form that has a membership, sent by every release since 3.5.
const VERSION_WITH_MEMBERSHIP: i32 = 2;
/// The last form without.
const VERSION_WITHOUT_MEMBERSHIP: i32 = 1;
/// Without the epoch of the vote and all that follows; from before 3.4.
const LENGTH_WITHOUT_EPOCH: usize = 28;
/// Taken for the form without a version, whatever stands where the version would be.
const LENGTH_WITHOUT_VERSION: usize = 40;
/// Everything before the text of the membership.
const LENGTH_BEFORE_MEMBERSHIP: usize = 44;

/// What Java writes for a vote of somebody who has no say.
const NO_VOTE: i64 = i64::MIN;

/// Why a frame was not a notification.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotificationError {
    /// The length of the frame is out of bounds: nothing that follows can be read. Close the connection.
    #[error("a notification says {length} for its length; 1 to {FRAME_BYTES_MAX} is allowed")]
    FrameLength {
        /// The length as written.
        length: i32,
    },
    /// The frame holds something else. It has been taken off the buffer: read on, the sender may have better to say
    /// (ZOOKEEPER-3769).
    #[error("a frame of {length} bytes is no notification: {problem}")]
    Malformed {
        /// Bytes of the frame.
        length: usize,
        /// What is wrong with them.
        problem: DecodeError,
    },
}

impl NotificationError {
    /// Whether the connection can go on.
    pub fn is_skippable(&self) -> bool {
        matches!(self, NotificationError::Malformed { .. })
    }
}

impl Notification {
    /// Takes the next notification off the front of `buffer`; `None` if it is not all there yet. Reserves nothing on
    /// the word of the sender.
    ///
    /// # Errors
    /// [`NotificationError::Malformed`] for a frame that is to be skipped, and has been: call again.
    /// [`NotificationError::FrameLength`] if the connection must be closed.
    pub fn next(buffer: &mut BytesMut) -> Result<Option<Notification>, NotificationError> {
        let Some(length) = buffer.first_chunk().map(|length| i32::from_be_bytes(*length)) else {
            return Ok(None);
        };
        let end = match usize::try_from(length) {
            Ok(length @ 1..=FRAME_BYTES_MAX) => 4 + length,
            _ => return Err(NotificationError::FrameLength { length }),
        };
        let Some(body) = buffer.get(4..end) else {
            return Ok(None);
        };
        let notification = Notification::decode(body);
        buffer.advance(end);
        notification.map(Some).map_err(|problem| NotificationError::Malformed { length: end - 4, problem })
    }

    /// Reads the content of a frame, in every form that Java accepts.
    ///
    /// # Errors
    /// Bytes that Java would skip.
    pub fn decode(body: &[u8]) -> Result<Notification, DecodeError> {
        let mut reader = Reader::new(body);
        let state = state_from_wire(reader.i32()?)?;
        let leader = reader.i64()?;
        let zxid = reader.i64()?;
        let round = reader.i64()?;
        let peer_epoch = match body.len() {
            LENGTH_WITHOUT_EPOCH => zxid >> 32,
            _ => reader.i64()?,
        };
        let version = match body.len() {
            LENGTH_WITHOUT_EPOCH | LENGTH_WITHOUT_VERSION => 0,
            _ => reader.i32()?,
        };
        let membership =
            if version >= VERSION_WITH_MEMBERSHIP { Some(membership(&mut reader)?) } else { None };
        // Java compares zxids as signed numbers, so that a negative one loses to everything; to `Zxid` it would win.
        let has_say = leader >= 0 && zxid >= 0;
        let vote = Vote { leader: ServerId::new(leader), zxid: Zxid::from_wire(zxid), peer_epoch };
        Ok(Notification { state, vote: has_say.then_some(vote), round, membership })
    }

    /// Appends the frame, in the form that every release since 3.5 sends. Without a membership it is the last form
    /// before that: an empty membership can end the thread that receives notifications in Java.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let frame = FrameStart::open(out);
        out.put_i32(state_to_wire(self.state));
        out.put_i64(self.vote.map_or(NO_VOTE, |vote| vote.leader.get()));
        out.put_i64(self.vote.map_or(NO_VOTE, |vote| vote.zxid.to_wire()));
        out.put_i64(self.round);
        out.put_i64(self.vote.map_or(NO_VOTE, |vote| vote.peer_epoch));
        let fits = |text: &&String| text.len() <= FRAME_BYTES_MAX - LENGTH_BEFORE_MEMBERSHIP;
        match self.membership.as_ref().filter(fits) {
            Some(text) => {
                out.put_i32(VERSION_WITH_MEMBERSHIP);
                out.put_buffer(Some(text.as_bytes()));
            }
            None => out.put_i32(VERSION_WITHOUT_MEMBERSHIP),
        }
        frame.close(out);
    }
}

/// The text, which must not be null; bytes behind it are left alone, as in Java.
fn membership(reader: &mut Reader<'_>) -> Result<String, DecodeError> {
    let offset = reader.offset();
    let text = reader.buffer()?.ok_or(DecodeError::UnexpectedNull { offset })?;
    Ok(String::from_utf8_lossy(text).into_owned())
}

fn state_to_wire(state: ServerState) -> i32 {
    match state {
        ServerState::Looking => 0,
        ServerState::Following => 1,
        ServerState::Leading => 2,
        ServerState::Observing => 3,
    }
}

fn state_from_wire(number: i32) -> Result<ServerState, DecodeError> {
    Ok(match number {
        0 => ServerState::Looking,
        1 => ServerState::Following,
        2 => ServerState::Leading,
        3 => ServerState::Observing,
        other => return Err(DecodeError::UnknownValue { what: "server state", value: other.into() }),
    })
}
